//! One text into statements, as PostgreSQL's own grammar divides it, and what each of them asks for.
//!
//! Only queries go on to `admit`, alone or cut out of the statement that holds them; the session answers everything else
//! itself, from the fields here, and forwards none of its text.

use super::{pg, scan};
use crate::error::{Reason, Refusal};
use crate::limits::Limits;
use pg_query::NodeEnum;
use pg_query::protobuf::{DiscardMode, DiscardStmt, RawStmt, VariableShowStmt};

mod copy;
mod transaction;
mod types;
mod wrapped;

pub use copy::{CopyFormat, CopyOptions, Encoding, ForceQuote};
#[cfg(test)]
pub(crate) use types::oids as declarable_oids;
pub use wrapped::{Argument, CursorOptions, Direction, Fetch, Inner};

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

impl Statement {
    /// The query it is or holds, which is to be judged by `admit`.
    pub fn query(&self) -> Option<&str> {
        match &self.kind {
            StatementKind::Query => Some(&self.text),
            StatementKind::Prepare { query, .. }
            | StatementKind::Declare { query, .. }
            | StatementKind::Copy { query, .. } => Some(&query.text),
            _ => None,
        }
    }
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
    /// `DISCARD PLANS`, `SEQUENCES` or `TEMPORARY`: the command tag. There is nothing here to discard.
    Discard(&'static str),
    /// `PREPARE name (types) AS query`.
    Prepare {
        /// The statement's name.
        name: String,
        /// The declared types of its parameters, OIDs; 0 = undeclared.
        types: Vec<u32>,
        /// The query.
        query: Inner,
    },
    /// `EXECUTE name (arguments)`.
    Execute {
        /// The statement's name.
        name: String,
        /// What is bound to its parameters.
        arguments: Vec<Argument>,
    },
    /// `DECLARE name CURSOR FOR query`.
    Declare {
        /// The cursor's name.
        name: String,
        /// How it is to behave.
        options: CursorOptions,
        /// The query.
        query: Inner,
    },
    /// `FETCH` or `MOVE`.
    Fetch {
        /// The cursor's name.
        cursor: String,
        /// Which rows.
        fetch: Fetch,
    },
    /// `CLOSE name`.
    Close(String),
    /// `COPY (query) TO STDOUT`, or of a table.
    Copy {
        /// How the rows are to be written.
        options: CopyOptions,
        /// The query.
        query: Inner,
    },
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
/// A text that is plainly one query is not parsed here, `admit` does that; its errors come from there.
///
/// # Errors
/// `TooLarge` or `TooComplex` beyond the limits, `SyntaxError` where PostgreSQL's grammar stops (then, as in
/// PostgreSQL, none of the statements is run).
pub fn split(text: &str, limits: &Limits) -> Result<Vec<Statement>, Refusal> {
    match plain(text, limits)? {
        Some(query) => Ok(vec![query]),
        None => parsed(text, limits),
    }
}

/// The statement of a text that is plainly one query.
///
/// # Errors
/// `TooLarge` or `TooComplex` beyond the limits.
pub fn plain(text: &str, limits: &Limits) -> Result<Option<Statement>, Refusal> {
    let seen = scan::check(text, limits)?;
    let is_query = |word: &str| {
        ["select", "with", "values", "table"]
            .iter()
            .any(|query| word.eq_ignore_ascii_case(query))
    };
    let plain = !seen.several && seen.first_word.is_some_and(is_query);
    Ok(plain.then(|| {
        let end = seen.semicolon.unwrap_or(text.len());
        statement(text, 0, end, StatementKind::Query)
    }))
}

/// The statements of a text as PostgreSQL's parser divides it.
fn parsed(text: &str, limits: &Limits) -> Result<Vec<Statement>, Refusal> {
    pg::on_big_stack(|| {
        let parsed = pg::statements(text)?;
        if parsed.len() > limits.statements_max {
            return Err(Refusal::new(
                Reason::TooLarge,
                format!(
                    "there are {} statements, at most {} are allowed",
                    parsed.len(),
                    limits.statements_max
                ),
            )
            .hint("Send them in several requests."));
        }
        let mut statements = Vec::with_capacity(parsed.len());
        let mut before = 0;
        for raw in &parsed {
            let (start, end) = place(raw, text, before);
            let words = text.get(start..end).unwrap_or_default();
            let words = words.trim_start_matches(scan::is_white);
            statements.push(statement(text, start, end, kind(raw, words)));
            before = end;
        }
        Ok(statements)
    })
}

/// Bytes `start..end` of the text without the white space around them, as a statement.
fn statement(text: &str, start: usize, end: usize, kind: StatementKind) -> Statement {
    let whole = text.get(start..end).unwrap_or_default();
    let trimmed = whole.trim_start_matches(scan::is_white);
    let start = start + (whole.len() - trimmed.len());
    let before = text.get(..start).unwrap_or_default().chars().count();
    Statement {
        text: trimmed.trim_end_matches(scan::is_white).to_owned(),
        offset_chars: u32::try_from(before).unwrap_or(u32::MAX),
        kind,
    }
}

/// Where a statement stands, its leading comments included (one may hold a token). libpg_query gives the
/// first token and the length up to the semicolon, or 0 for the rest of the text.
fn place(raw: &RawStmt, text: &str, before: usize) -> (usize, usize) {
    let first = usize::try_from(raw.stmt_location).unwrap_or(before);
    let end = match usize::try_from(raw.stmt_len) {
        Ok(0) | Err(_) => text.len(),
        Ok(length) => first + length,
    };
    let gap = text.get(before..first).unwrap_or_default();
    let comments = scan::tokens(gap)
        .filter(|token| gap.get(token.start..token.end) == Some(";"))
        .last()
        .map_or(0, |token| token.end);
    (before + comments, end)
}

fn kind(raw: &RawStmt, words: &str) -> StatementKind {
    let Some(node) = raw.stmt.as_ref().and_then(|stmt| stmt.node.as_ref()) else {
        return not_a_read(words);
    };
    match node {
        NodeEnum::SelectStmt(_) => StatementKind::Query,
        NodeEnum::TransactionStmt(statement) => transaction::transaction(statement, words),
        NodeEnum::VariableSetStmt(statement) => transaction::set(statement, words),
        NodeEnum::VariableShowStmt(VariableShowStmt { name }) if name == "all" => {
            StatementKind::ShowAll
        }
        NodeEnum::VariableShowStmt(VariableShowStmt { name }) => {
            StatementKind::Show(name.to_lowercase())
        }
        NodeEnum::DiscardStmt(DiscardStmt { target }) => discard(*target, words),
        NodeEnum::DeallocateStmt(statement) if statement.isall => StatementKind::DeallocateAll,
        NodeEnum::DeallocateStmt(statement) => StatementKind::Deallocate(statement.name.clone()),
        NodeEnum::ClosePortalStmt(statement) if statement.portalname.is_empty() => {
            StatementKind::CloseAll
        }
        NodeEnum::UnlistenStmt(statement) if statement.conditionname.is_empty() => {
            StatementKind::UnlistenAll
        }
        NodeEnum::ExplainStmt(_) => not_supported(
            words,
            "Send the SELECT itself; a plan would tell of rows and tables behind the gate.",
        ),
        NodeEnum::PrepareStmt(statement) => wrapped::prepare(statement, words),
        NodeEnum::ExecuteStmt(statement) => wrapped::execute(statement),
        NodeEnum::DeclareCursorStmt(statement) => wrapped::declare(statement, words),
        NodeEnum::FetchStmt(statement) => wrapped::fetch(statement, words),
        NodeEnum::ClosePortalStmt(statement) => StatementKind::Close(statement.portalname.clone()),
        NodeEnum::CopyStmt(statement) => copy::copy(statement, words),
        NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) | NodeEnum::NotifyStmt(_) => {
            not_supported(
                words,
                "Ask again with SELECT; there are no notifications here.",
            )
        }
        NodeEnum::ConstraintsSetStmt(_) => {
            not_supported(words, "Leave it out: nothing is written here.")
        }
        // Every other statement writes, defines, locks, runs code or administers.
        _ => not_a_read(words),
    }
}

fn discard(target: i32, words: &str) -> StatementKind {
    match DiscardMode::try_from(target).unwrap_or(DiscardMode::Undefined) {
        DiscardMode::DiscardAll => StatementKind::DiscardAll,
        DiscardMode::DiscardPlans => StatementKind::Discard("DISCARD PLANS"),
        DiscardMode::DiscardSequences => StatementKind::Discard("DISCARD SEQUENCES"),
        DiscardMode::DiscardTemp => StatementKind::Discard("DISCARD TEMP"),
        DiscardMode::Undefined => not_supported(words, "Send DISCARD ALL."),
    }
}

/// What to answer to a statement whose query is not a SELECT (`PREPARE x AS DELETE ...`).
fn kind_of_query(node: &NodeEnum, words: &str) -> StatementKind {
    match node {
        NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => not_a_read(words),
        _ => not_supported(words, "Send the SELECT itself."),
    }
}

fn refuse(reason: Reason, message: &str, hint: &str) -> StatementKind {
    StatementKind::Refused(Refusal::new(reason, message).hint(hint))
}

fn not_a_read(words: &str) -> StatementKind {
    StatementKind::Refused(
        Refusal::new(
            Reason::NotARead,
            format!("{} is not allowed, this gate only reads", verb(words)),
        )
        .hint("Only SELECT is possible here."),
    )
}

fn not_supported(words: &str, hint: &str) -> StatementKind {
    StatementKind::Refused(
        Refusal::new(
            Reason::FeatureNotSupported,
            format!("{} is not supported", verb(words)),
        )
        .hint(hint),
    )
}

/// The first word of a statement, or two where one says little, in upper case.
fn verb(words: &str) -> String {
    let mut plain = scan::tokens(words)
        .filter(|token| !matches!(token.kind, scan::Kind::Space | scan::Kind::Comment))
        .map_while(|token| {
            (token.kind == scan::Kind::Word)
                .then(|| words.get(token.start..token.end))
                .flatten()
        })
        .filter(|word| word.is_ascii() && word.len() <= 20)
        .map(str::to_ascii_uppercase);
    let Some(first) = plain.next() else {
        return "the statement".to_owned();
    };
    match (first.as_str(), plain.next()) {
        (
            "CREATE" | "DROP" | "ALTER" | "SET" | "REFRESH" | "DISCARD" | "IMPORT" | "SECURITY",
            Some(second),
        ) => {
            format!("{first} {second}")
        }
        ("WITH", _) => "a WITH query that writes".to_owned(),
        _ => first,
    }
}

#[cfg(test)]
mod tests;
