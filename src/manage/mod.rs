//! Managing permissions: granting, revoking and listing, for the commands and for the admin listener.
//!
//! ```text
//! BEGIN -> lock -> what is there? -> change -> what is there now? -> NOTIFY -> audit's line -> COMMIT
//! ```
//!
//! Idempotent: granting what is granted changes nothing and says so. A change that cannot be recorded is not made.
//! Who may ask for it is not decided here; see `admin`.

mod item;
mod known;
mod probe;
mod rows;
mod store;
mod tag;
mod tuple;

pub use item::{Held, Item, Kind, Until};
pub use known::Known;
pub use store::{Store, StoreSettings};
pub use tag::{TagChange, TagDefinition, TagDone, TagList};

use crate::audit::{AdminRecord, AuditLog, Decision, Outcome, RequestId};
use crate::error::Fault;
use serde::Serialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use store::Prepared;

/// Grant or revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A row that grants it is there, with this end.
    Grant,
    /// No row grants it.
    Revoke,
}

impl Action {
    /// As the audit writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Revoke => "revoke",
        }
    }
}

/// One change somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Grant or revoke.
    pub action: Action,
    /// What.
    pub item: Item,
    /// When a grant ends by itself; `None`: never.
    pub until: Option<Until>,
}

/// Who asks, as the audit names them.
#[derive(Debug, Clone)]
pub struct By {
    /// Names the request.
    pub request_id: RequestId,
    /// `command` or `http`.
    pub door: &'static str,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// Who opened the connection.
    pub login: String,
    /// Who it is.
    pub user_id: String,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Whether anything is different now.
    pub changed: bool,
    /// The rows that granted it before.
    pub before: Vec<Held>,
    /// The rows that grant it now.
    pub after: Vec<Held>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// What was asked for is wrong.
    #[error("{message}")]
    Invalid {
        /// One line, lower case.
        message: String,
        /// The next step.
        hint: &'static str,
    },
    /// There is no table for this kind of thing.
    #[error("{} are not managed here: admin.{} is not configured", .0.plural(), .0.plural())]
    NotManaged(Kind),
    /// A constraint of the table forbids the row.
    #[error("the table does not take this: constraint \"{0}\"")]
    Rejected(String),
    /// The connection was lost while committing.
    #[error("the change may or may not have been made: the database did not say")]
    Unclear,
    /// Ours.
    #[error(transparent)]
    Failed(#[from] Fault),
}

impl ManageError {
    fn invalid(message: impl Into<String>, hint: &'static str) -> Self {
        Self::Invalid {
            message: message.into(),
            hint,
        }
    }

    /// The stable word for the audit and for problem details.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_change",
            Self::NotManaged(_) => "not_managed",
            Self::Rejected(_) => "rejected_by_table",
            Self::Unclear => "outcome_unknown",
            Self::Failed(fault) => fault.kind.slug(),
        }
    }

    /// The next step, where there is one to tell.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { hint, .. } => Some(hint),
            Self::NotManaged(_) => Some("Name its table in [admin] of the configuration."),
            Self::Rejected(_) => Some("Look at what the table requires, such as a known user."),
            Self::Unclear => Some("Send it again: nothing is done twice."),
            Self::Failed(_) => None,
        }
    }
}

/// Changes and lists what the tables of `[admin]` hold.
pub struct Manager {
    store: Store,
    audit: Arc<AuditLog>,
}

impl Manager {
    /// A manager over these tables that writes to this audit.
    pub fn new(store: Store, audit: Arc<AuditLog>) -> Self {
        Self { store, audit }
    }

    /// The tables.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The audit log.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// Waits until the audit's lines are written, or failed to be.
    pub async fn flush(&self) {
        self.audit.flush().await;
    }

    /// Makes one change; leaves exactly one line in the audit, and one on how it ended if it was let through.
    ///
    /// # Errors
    /// [`ManageError`]; with all of them but [`ManageError::Unclear`] nothing has changed.
    pub async fn change(&self, by: &By, change: &Change) -> Result<Done, ManageError> {
        let started = Instant::now();
        let prepared = match change.check() {
            Ok(()) => self.store.prepare(change).await,
            Err(error) => Err(error),
        };
        let told = |done: &Done| (done.changed, json!(done.before), json!(done.after));
        let what = (change.action.word(), change.item.json(), started);
        self.finish(by, what, prepared, told).await
    }

    /// Records what was prepared, then commits it; or records that it was refused. `told` says whether anything is
    /// different, what was before, and what is after.
    async fn finish<T: Clone>(
        &self,
        by: &By,
        (action, item, started): (&'static str, Value, Instant),
        prepared: Result<Prepared<'_, T>, ManageError>,
        told: impl FnOnce(&T) -> (bool, Value, Value),
    ) -> Result<T, ManageError> {
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.refused(by, action, &item, error.slug()).await;
                return Err(error);
            }
        };
        let (changed, before, after) = told(&prepared.done);
        let record = AdminRecord {
            before: Some(&before),
            after: Some(&after),
            ..record(by, action, &item)
        };
        // Not written: what was prepared is dropped, and with it the transaction.
        self.audit.record_admin(&record).await?;
        let done = prepared.done.clone();
        let committed = self.store.commit(prepared).await;
        let sqlstate = match &committed {
            Ok(()) => None,
            Err(ManageError::Unclear) => Some("08007".to_owned()),
            Err(ManageError::Failed(fault)) => Some(fault.kind.sqlstate().to_owned()),
            Err(_) => Some("23000".to_owned()),
        };
        let outcome = Outcome {
            rows: u64::from(changed && committed.is_ok()),
            bytes: 0,
            duration: started.elapsed(),
            sqlstate,
            ..Outcome::default()
        };
        self.audit.outcome(by.request_id, &outcome);
        committed.map(|()| done)
    }

    /// What is granted, of one kind, narrowed to rows with these values in their first columns.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn list(&self, kind: Kind, keys: &[Option<&str>]) -> Result<Listed, ManageError> {
        self.store.list(kind, keys).await
    }

    /// Writes that somebody asked for what is there.
    ///
    /// # Errors
    /// [`crate::error::FaultKind::AuditUnavailable`]: then nothing may be told.
    pub async fn looked(&self, by: &By, action: &'static str, item: &Value) -> Result<(), Fault> {
        self.audit.record_admin(&record(by, action, item)).await
    }

    /// Writes that a request was refused.
    pub async fn refused(&self, by: &By, action: &'static str, item: &Value, reason: &str) {
        let record = AdminRecord {
            decision: Decision::Refuse,
            reason: Some(reason),
            ..record(by, action, item)
        };
        // Nothing was done, so a line that cannot be written changes nothing for the caller.
        if let Err(fault) = self.audit.record_admin(&record).await {
            let request_id = by.request_id;
            tracing::error!(cause = %fault.cause, %request_id, "refusal not recorded");
        }
    }
}

fn record<'a>(by: &'a By, action: &'static str, item: &'a Value) -> AdminRecord<'a> {
    AdminRecord {
        request_id: by.request_id,
        door: by.door,
        peer: by.peer,
        login: &by.login,
        user_id: &by.user_id,
        action,
        item,
        before: None,
        after: None,
        decision: Decision::Allow,
        reason: None,
    }
}

/// What is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Each grant, in the order of its names.
    pub rows: Vec<ListedRow>,
    /// There are more.
    pub truncated: bool,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedRow {
    /// The names, in the order of [`Kind::columns`].
    pub keys: Vec<String>,
    /// When it ends by itself.
    pub until: Option<String>,
}
