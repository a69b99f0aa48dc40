//! What the client is told when something goes wrong: the fields of an ErrorResponse.

use crate::audit::RequestId;
use crate::error::{Error, Reason, Refusal};
use crate::upstream::{Failure, UpstreamError};
use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// An error as the client sees it (PostgreSQL manual, section 55.8). A pointer: nearly everything may return one, and
/// hardly anything does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told(Box<Fields>);

/// What a [`Told`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The SQLSTATE.
    pub sqlstate: Cow<'static, str>,
    /// One line.
    pub message: String,
    /// Which request it was, for the operator.
    pub detail: Option<String>,
    /// The next step.
    pub hint: Option<String>,
    /// In the caller's text, in characters, 1-based.
    pub position: Option<u32>,
    /// In the text Rowgate sent, as the database gave it; never told.
    pub final_position: Option<u32>,
    /// That text, where it is known; never told.
    pub final_text: Option<Arc<str>>,
    /// The session ends with it.
    pub fatal: bool,
    /// The stable slug of the audit.
    pub slug: &'static str,
    /// The audit has its line.
    pub recorded: bool,
}

impl Deref for Told {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

impl DerefMut for Told {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.0
    }
}

impl Told {
    /// An error of the session's own.
    #[cold]
    pub(super) fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            sqlstate: Cow::Borrowed(sqlstate),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            final_position: None,
            final_text: None,
            fatal: false,
            slug: Reason::FeatureNotSupported.slug(),
            recorded: false,
        }))
    }

    /// The same, under another SQLSTATE.
    #[must_use]
    pub fn sqlstate(self, sqlstate: &'static str) -> Self {
        self.with(|told| told.sqlstate = Cow::Borrowed(sqlstate))
    }

    /// The same, with what this changes in it.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Fields)) -> Self {
        change(&mut self);
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A message that breaks the protocol; the session ends.
    pub fn violation(message: impl Into<String>) -> Self {
        let reason = Reason::ProtocolViolation;
        Self::new(reason.sqlstate(), message).with(|told| {
            told.fatal = true;
            told.slug = reason.slug();
        })
    }

    /// A refusal that ends the connection, such as a failed login.
    pub fn fatal(error: &Error) -> Self {
        Self::of(error, None).with(|told| told.fatal = true)
    }

    /// The server goes down.
    pub fn shutting_down() -> Self {
        Self::new("57P01", "the gate is shutting down").with(|told| told.fatal = true)
    }

    pub(super) fn idle_in_transaction() -> Self {
        let message = "terminating connection due to idle-in-transaction timeout";
        Self::new("25P03", message).with(|told| told.fatal = true)
    }

    /// A refusal in full, or a fault in general with the request's id; the fault's cause is logged.
    #[cold]
    pub fn of(error: &Error, request_id: Option<RequestId>) -> Self {
        match error {
            Error::Refused(refusal) => Self::refused(refusal),
            Error::Failed(fault) => {
                let request_id = request_id.unwrap_or_else(RequestId::next);
                tracing::error!(%request_id, kind = fault.kind.slug(), cause = %fault.cause, "request failed");
                let told = Self::new(fault.kind.sqlstate(), fault.kind.message());
                told.hint(fault.kind.hint()).with(|told| {
                    told.detail = Some(format!("request id {request_id}"));
                    told.slug = fault.kind.slug();
                })
            }
        }
    }

    #[cold]
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let told = Self::new(refusal.reason.sqlstate(), refusal.message.clone());
        told.with(|told| {
            told.hint.clone_from(&refusal.hint);
            told.position = refusal.position;
            told.slug = refusal.reason.slug();
        })
    }

    fn upstream(error: UpstreamError) -> Self {
        let UpstreamError {
            sqlstate,
            message,
            hint,
            position,
            text,
            internal: _,
            fatal: _,
            original: _,
        } = error;
        Self::new("XX000", message).with(|told| {
            told.sqlstate = Cow::Owned(sqlstate);
            told.hint = hint;
            told.final_position = position;
            told.final_text = text;
            told.slug = "database_error";
        })
    }

    #[cold]
    pub(super) fn failure(failure: Failure, request_id: Option<RequestId>) -> Self {
        match failure {
            Failure::Upstream(error) => Self::upstream(error),
            // Only TimeZone can get here: the others' values are checked when they are set.
            Failure::Setting(_) => Self::new("22023", "invalid value for parameter \"TimeZone\"")
                .hint(
                    "The setting is back at its default; name a time zone such as Europe/Berlin.",
                ),
            Failure::Limit(refusal) | Failure::Changed(refusal) => Self::refused(&refusal),
            Failure::Fault(fault) => Self::of(&Error::Failed(fault), request_id),
        }
    }
}
