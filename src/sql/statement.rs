//! One text into statements, as PostgreSQL's own grammar divides it, and what each of them asks for.
//!
//! Only [`StatementKind::Query`] goes on to `admit`; the session answers the others itself, from the
//! fields here, and forwards none of their text.

use crate::error::Refusal;
use crate::limits::Limits;

/// One statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement alone, without its semicolon.
    pub text: String,
    /// Where it starts in the whole text, in characters, 0-based.
    pub offset_chars: u32,
    /// What it asks for.
    pub kind: StatementKind,
}

/// A transaction isolation level (PostgreSQL manual, section 13.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `READ UNCOMMITTED`; PostgreSQL treats it as read committed.
    ReadUncommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`.
    Serializable,
}

/// What `SET name = ...` gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// `DEFAULT`.
    Default,
    /// One or more values, as text.
    Values(Vec<String>),
}

/// What a statement asks for. Names of settings are folded to lower case; names of savepoints and
/// prepared statements are as PostgreSQL folds identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE or WITH: goes to `admit`.
    Query,
    /// `BEGIN` or `START TRANSACTION`.
    Begin {
        /// The isolation level asked for.
        isolation: Option<Isolation>,
        /// `READ ONLY` (true) or `READ WRITE` (false).
        read_only: Option<bool>,
        /// `DEFERRABLE` or `NOT DEFERRABLE`.
        deferrable: Option<bool>,
    },
    /// `COMMIT` or `END`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK` or `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `RELEASE name`.
    Release(String),
    /// `ROLLBACK TO name`.
    RollbackTo(String),
    /// `SET TRANSACTION ...`.
    SetTransaction {
        /// The isolation level asked for.
        isolation: Option<Isolation>,
        /// `READ ONLY` (true) or `READ WRITE` (false).
        read_only: Option<bool>,
        /// `DEFERRABLE` or `NOT DEFERRABLE`.
        deferrable: Option<bool>,
    },
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION ...`.
    SetSessionCharacteristics {
        /// The isolation level asked for.
        isolation: Option<Isolation>,
        /// `READ ONLY` (true) or `READ WRITE` (false).
        read_only: Option<bool>,
        /// `DEFERRABLE` or `NOT DEFERRABLE`.
        deferrable: Option<bool>,
    },
    /// `SET [LOCAL] name = value`.
    Set {
        /// The setting.
        name: String,
        /// Its value.
        value: SetValue,
        /// `LOCAL`.
        local: bool,
    },
    /// `SHOW name`.
    Show(String),
    /// `SHOW ALL`.
    ShowAll,
    /// `RESET name`.
    Reset(String),
    /// `RESET ALL`.
    ResetAll,
    /// `DISCARD ALL`.
    DiscardAll,
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DEALLOCATE name`.
    Deallocate(String),
    /// `CLOSE ALL`.
    CloseAll,
    /// `UNLISTEN *`.
    UnlistenAll,
    /// Anything else; what to answer.
    Refused(Refusal),
}

/// Divides `text` into statements. An empty text, or one of comments and semicolons only, has none.
///
/// # Errors
/// `TooLarge` or `TooComplex` beyond the limits, `SyntaxError` where PostgreSQL's grammar stops.
pub fn split(_text: &str, _limits: &Limits) -> Result<Vec<Statement>, Refusal> {
    Ok(Vec::new())
}

/// Refuses a text whose size or shape could cost more than its answer, before any parser sees it.
///
/// # Errors
/// `TooLarge` and `TooComplex`.
pub(super) fn check_bounds(text: &str, limits: &Limits) -> Result<(), Refusal> {
    if text.len() > limits.sql_bytes_max {
        return Err(
            Refusal::new(crate::error::Reason::TooLarge, "the statement is too long")
                .hint(format!("Send at most {} bytes.", limits.sql_bytes_max)),
        );
    }
    Ok(())
}
