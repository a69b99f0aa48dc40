//! The two kinds of failure and the one table that maps each to an SQLSTATE.
//!
//! A [`Refusal`] is the caller's: it is told in full, with a hint that says what to send instead, and
//! names only what the caller may see. A [`Fault`] is ours: the caller gets a general sentence and a
//! request id, the log gets the cause.
//!
//! Texts follow PostgreSQL's error style guide (manual, section 56.3): the message is lower case,
//! one line, no full stop; the hint is one full sentence.

use std::fmt;

/// What a request ends with when it does not end with rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked for something this gate does not do.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something on our side failed; nothing was answered.
    #[error(transparent)]
    Failed(#[from] Fault),
}

/// Why a request is refused. Each has a stable slug (audit, metrics) and one SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Login, password, token or delegation was not accepted; one text for every cause.
    AuthenticationFailed,
    /// A cast to a type, or through a type, that is not on the list.
    CastNotAllowed,
    /// A column that is not among those the caller may read.
    ColumnUnknown,
    /// A statement this gate does not answer (SET of an unlisted name, COPY, EXPLAIN, ...).
    FeatureNotSupported,
    /// A function that is not on the list.
    FunctionNotAllowed,
    /// More than one statement where one was expected.
    MultipleStatements,
    /// The principal lacks a permission the gate, a view or a column requires.
    NotAuthorized,
    /// A statement that writes, locks or defines, also inside a CTE.
    NotARead,
    /// A type, schema, role, function or setting that is named and is unknown or not shown; the same answer for both.
    ObjectUnknown,
    /// An operator that is not on the list.
    OperatorNotAllowed,
    /// A parameter type that is not on the list.
    ParameterNotAllowed,
    /// A parameter that has no value: `$1` in a simple query.
    ParameterUnknown,
    /// The two parsers do not read the text alike, so its meaning is in doubt.
    ParsersDisagree,
    /// A frame, start-up packet or message sequence that breaks the protocol.
    ProtocolViolation,
    /// A relation that is unknown or not granted; the same answer for both.
    RelationUnknown,
    /// The text cannot be parsed.
    SyntaxError,
    /// Too deep, too many tokens, too many operators.
    TooComplex,
    /// Longer, wider or more than a limit allows.
    TooLarge,
    /// The session's transaction has failed; only ROLLBACK helps.
    TransactionFailed,
    /// The token that proved who the session acts for has expired.
    TokenExpired,
    /// Syntax PostgreSQL has and this gate does not let through (ctid, TABLESAMPLE, FOR UPDATE, ...).
    UnsupportedSyntax,
}

impl Reason {
    /// The stable slug; documented, never reworded.
    pub fn slug(self) -> &'static str {
        match self {
            Reason::AuthenticationFailed => "authentication_failed",
            Reason::CastNotAllowed => "cast_not_allowed",
            Reason::ColumnUnknown => "column_unknown",
            Reason::FeatureNotSupported => "feature_not_supported",
            Reason::FunctionNotAllowed => "function_not_allowed",
            Reason::MultipleStatements => "multiple_statements",
            Reason::NotAuthorized => "not_authorized",
            Reason::NotARead => "not_a_read",
            Reason::ObjectUnknown => "object_unknown",
            Reason::OperatorNotAllowed => "operator_not_allowed",
            Reason::ParameterNotAllowed => "parameter_not_allowed",
            Reason::ParameterUnknown => "parameter_unknown",
            Reason::ParsersDisagree => "parsers_disagree",
            Reason::ProtocolViolation => "protocol_violation",
            Reason::RelationUnknown => "relation_unknown",
            Reason::SyntaxError => "syntax_error",
            Reason::TooComplex => "too_complex",
            Reason::TooLarge => "too_large",
            Reason::TransactionFailed => "transaction_failed",
            Reason::TokenExpired => "token_expired",
            Reason::UnsupportedSyntax => "unsupported_syntax",
        }
    }

    /// The SQLSTATE (PostgreSQL manual, appendix A).
    pub fn sqlstate(self) -> &'static str {
        match self {
            Reason::AuthenticationFailed => "28P01",
            Reason::CastNotAllowed => "42501",
            Reason::ColumnUnknown => "42703",
            Reason::FeatureNotSupported => "0A000",
            Reason::FunctionNotAllowed => "42501",
            Reason::MultipleStatements => "42601",
            Reason::NotAuthorized => "28000",
            Reason::NotARead => "25006",
            Reason::ObjectUnknown => "42704",
            Reason::OperatorNotAllowed => "42501",
            Reason::ParameterNotAllowed => "42501",
            Reason::ParameterUnknown => "42P02",
            Reason::ParsersDisagree => "42601",
            Reason::ProtocolViolation => "08P01",
            Reason::RelationUnknown => "42P01",
            Reason::SyntaxError => "42601",
            Reason::TooComplex => "54001",
            Reason::TooLarge => "54000",
            Reason::TransactionFailed => "25P02",
            Reason::TokenExpired => "28000",
            Reason::UnsupportedSyntax => "0A000",
        }
    }
}

/// A refusal: the caller's error, told in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, as a closed set.
    pub reason: Reason,
    /// One line, lower case, facts only.
    pub message: String,
    /// The next step, a full sentence; names only what the caller may see.
    pub hint: Option<String>,
    /// Where in the caller's own text, in characters, 1-based (as the `P` field of ErrorResponse).
    pub position: Option<u32>,
}

impl Refusal {
    /// A refusal without hint or position.
    // What makes an error is `cold` here and below: the compiler then lays out of the way what leads to it.
    #[cold]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            hint: None,
            position: None,
        }
    }

    /// Adds the sentence that says what to send instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the 1-based character position in the caller's text.
    #[must_use]
    pub fn at(mut self, position: Option<u32>) -> Self {
        self.position = position;
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Refusal {}

/// What failed on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The audit sink cannot take the record.
    AuditUnavailable,
    /// A bug: a state the code calls impossible.
    Internal,
    /// No upstream connection became free in time.
    PoolExhausted,
    /// A provider of roles or permissions cannot answer.
    ProviderUnavailable,
    /// Too many client connections.
    TooManyClients,
    /// The database ended the connection or cannot be reached.
    UpstreamLost,
    /// A time limit ran out.
    UpstreamTimeout,
}

impl FaultKind {
    /// The stable slug for audit and metrics.
    pub fn slug(self) -> &'static str {
        match self {
            FaultKind::AuditUnavailable => "audit_unavailable",
            FaultKind::Internal => "internal",
            FaultKind::PoolExhausted => "pool_exhausted",
            FaultKind::ProviderUnavailable => "provider_unavailable",
            FaultKind::TooManyClients => "too_many_clients",
            FaultKind::UpstreamLost => "upstream_lost",
            FaultKind::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// The SQLSTATE (PostgreSQL manual, appendix A).
    pub fn sqlstate(self) -> &'static str {
        match self {
            FaultKind::AuditUnavailable | FaultKind::ProviderUnavailable => "58000",
            FaultKind::Internal => "XX000",
            FaultKind::PoolExhausted | FaultKind::TooManyClients => "53300",
            FaultKind::UpstreamLost => "08006",
            FaultKind::UpstreamTimeout => "57014",
        }
    }

    /// What the caller is told: nothing of the cause.
    pub fn message(self) -> &'static str {
        match self {
            FaultKind::AuditUnavailable => "the request could not be recorded, so it was not run",
            FaultKind::Internal => "internal error",
            FaultKind::PoolExhausted => "no database connection became free in time",
            FaultKind::ProviderUnavailable => "your permissions could not be determined",
            FaultKind::TooManyClients => "too many clients",
            FaultKind::UpstreamLost => "the connection to the database was lost",
            FaultKind::UpstreamTimeout => "the query was ended by a time limit",
        }
    }

    /// The next step for the caller.
    pub fn hint(self) -> &'static str {
        match self {
            FaultKind::Internal => "Report the request id to the operator.",
            FaultKind::UpstreamTimeout => "Ask for less: add a WHERE clause or an aggregate.",
            FaultKind::AuditUnavailable
            | FaultKind::PoolExhausted
            | FaultKind::ProviderUnavailable
            | FaultKind::TooManyClients
            | FaultKind::UpstreamLost => "Try again later; the request itself may be fine.",
        }
    }
}

/// A fault: ours. The cause is for the log only and must hold no secret.
#[derive(Debug, thiserror::Error)]
#[error("{}", kind.message())]
pub struct Fault {
    /// What failed.
    pub kind: FaultKind,
    /// The cause, for the log.
    #[source]
    pub cause: anyhow::Error,
}

impl Fault {
    /// A fault with its cause.
    #[cold]
    pub fn new(kind: FaultKind, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            cause: cause.into(),
        }
    }

    /// A fault whose cause is one sentence.
    #[cold]
    pub fn because(
        kind: FaultKind,
        cause: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            cause: anyhow::Error::msg(cause),
        }
    }
}
