//! One text into statements, as PostgreSQL's own grammar divides it, and what each of them asks for.
//!
//! Only [`StatementKind::Query`] goes on to `admit`; the session answers the others itself, from the
//! fields here, and forwards none of their text.

use super::{pg, scan};
use crate::error::{Reason, Refusal};
use crate::limits::Limits;
use pg_query::NodeEnum;
use pg_query::protobuf::{
    DiscardMode, DiscardStmt, Node, RawStmt, TransactionStmt, TransactionStmtKind, VariableSetKind,
    VariableSetStmt, VariableShowStmt, a_const,
};

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
/// A text that is plainly one query is not parsed here, `admit` does that; its errors come from there.
///
/// # Errors
/// `TooLarge` or `TooComplex` beyond the limits, `SyntaxError` where PostgreSQL's grammar stops (then, as in
/// PostgreSQL, none of the statements is run).
pub fn split(text: &str, limits: &Limits) -> Result<Vec<Statement>, Refusal> {
    let seen = scan::check(text, limits)?;
    if seen.empty {
        return Ok(Vec::new());
    }
    let is_query = |word: &str| {
        ["select", "with", "values", "table"]
            .iter()
            .any(|query| word.eq_ignore_ascii_case(query))
    };
    if !seen.several && seen.first_word.is_some_and(is_query) {
        return Ok(vec![statement(
            text,
            0,
            seen.semicolon.unwrap_or(text.len()),
            StatementKind::Query,
        )]);
    }
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
        NodeEnum::TransactionStmt(statement) => transaction(statement, words),
        NodeEnum::VariableSetStmt(statement) => set(statement, words),
        NodeEnum::VariableShowStmt(VariableShowStmt { name }) if name == "all" => {
            StatementKind::ShowAll
        }
        NodeEnum::VariableShowStmt(VariableShowStmt { name }) => {
            StatementKind::Show(name.to_lowercase())
        }
        NodeEnum::DiscardStmt(DiscardStmt { target })
            if *target == DiscardMode::DiscardAll as i32 =>
        {
            StatementKind::DiscardAll
        }
        NodeEnum::DeallocateStmt(statement) if statement.isall => StatementKind::DeallocateAll,
        NodeEnum::DeallocateStmt(statement) => StatementKind::Deallocate(statement.name.clone()),
        NodeEnum::ClosePortalStmt(statement) if statement.portalname.is_empty() => {
            StatementKind::CloseAll
        }
        NodeEnum::UnlistenStmt(statement) if statement.conditionname.is_empty() => {
            StatementKind::UnlistenAll
        }
        NodeEnum::ExplainStmt(_) => not_supported(words, "Send the SELECT itself."),
        NodeEnum::PrepareStmt(_) | NodeEnum::ExecuteStmt(_) => not_supported(
            words,
            "Send the SELECT itself, or prepare it through the protocol as client libraries do.",
        ),
        NodeEnum::DeclareCursorStmt(_) | NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => {
            not_supported(
                words,
                "Send the SELECT itself; page with ORDER BY, LIMIT and OFFSET.",
            )
        }
        NodeEnum::CopyStmt(copy)
            if !copy.is_from && !copy.is_program && copy.filename.is_empty() =>
        {
            not_supported(words, "Send the SELECT itself.")
        }
        NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) | NodeEnum::NotifyStmt(_) => {
            not_supported(
                words,
                "Ask again with SELECT; there are no notifications here.",
            )
        }
        NodeEnum::DiscardStmt(_) => not_supported(words, "Send DISCARD ALL."),
        NodeEnum::ConstraintsSetStmt(_) => {
            not_supported(words, "Leave it out: nothing is written here.")
        }
        // Every other statement writes, defines, locks, runs code or administers.
        _ => not_a_read(words),
    }
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

/// The modes of a transaction.
#[derive(Default)]
struct Modes {
    isolation: Option<Isolation>,
    read_only: Option<bool>,
    deferrable: Option<bool>,
}

/// The modes from the grammar's list; `None` if it holds something else.
fn modes(options: &[Node]) -> Option<Modes> {
    let mut modes = Modes::default();
    for node in options {
        let NodeEnum::DefElem(option) = node.node.as_ref()? else {
            return None;
        };
        let value = constant(option.arg.as_deref()?)?;
        match option.defname.as_str() {
            "transaction_isolation" => {
                modes.isolation = Some(match value.as_str() {
                    "read committed" => Isolation::ReadCommitted,
                    "read uncommitted" => Isolation::ReadUncommitted,
                    "repeatable read" => Isolation::RepeatableRead,
                    "serializable" => Isolation::Serializable,
                    _ => return None,
                });
            }
            "transaction_read_only" => modes.read_only = Some(value != "0"),
            "transaction_deferrable" => modes.deferrable = Some(value != "0"),
            _ => return None,
        }
    }
    Some(modes)
}

fn transaction(statement: &TransactionStmt, words: &str) -> StatementKind {
    use TransactionStmtKind as Kind;
    let TransactionStmt {
        kind,
        options,
        savepoint_name,
        gid: _,
        chain,
        location: _,
    } = statement;
    let (name, chain) = (savepoint_name.clone(), *chain);
    match Kind::try_from(*kind).unwrap_or(Kind::Undefined) {
        Kind::TransStmtBegin | Kind::TransStmtStart => match modes(options) {
            Some(Modes {
                isolation,
                read_only,
                deferrable,
            }) => StatementKind::Begin {
                isolation,
                read_only,
                deferrable,
            },
            None => not_supported(words, "Send BEGIN with isolation level and READ ONLY only."),
        },
        Kind::TransStmtCommit => StatementKind::Commit { chain },
        Kind::TransStmtRollback => StatementKind::Rollback { chain },
        Kind::TransStmtSavepoint => StatementKind::Savepoint(name),
        Kind::TransStmtRelease => StatementKind::Release(name),
        Kind::TransStmtRollbackTo => StatementKind::RollbackTo(name),
        Kind::TransStmtPrepare
        | Kind::TransStmtCommitPrepared
        | Kind::TransStmtRollbackPrepared
        | Kind::Undefined => not_a_read(words),
    }
}

fn set(statement: &VariableSetStmt, words: &str) -> StatementKind {
    use VariableSetKind as Kind;
    let VariableSetStmt {
        kind,
        name,
        args,
        jumble_args: _,
        is_local,
        location: _,
    } = statement;
    let (setting, local) = (name.to_lowercase(), *is_local);
    match Kind::try_from(*kind).unwrap_or(Kind::Undefined) {
        Kind::VarSetValue => match args.iter().map(constant).collect::<Option<Vec<_>>>() {
            Some(values) => StatementKind::Set {
                name: setting,
                value: SetValue::Values(values),
                local,
            },
            None => not_supported(words, "Give the value as a plain string or number."),
        },
        Kind::VarSetDefault => StatementKind::Set {
            name: setting,
            value: SetValue::Default,
            local,
        },
        Kind::VarReset => StatementKind::Reset(setting),
        Kind::VarResetAll => StatementKind::ResetAll,
        Kind::VarSetMulti => match (name.as_str(), modes(args)) {
            (
                "TRANSACTION",
                Some(Modes {
                    isolation,
                    read_only,
                    deferrable,
                }),
            ) => StatementKind::SetTransaction {
                isolation,
                read_only,
                deferrable,
            },
            (
                "SESSION CHARACTERISTICS",
                Some(Modes {
                    isolation,
                    read_only,
                    deferrable,
                }),
            ) => StatementKind::SetSessionCharacteristics {
                isolation,
                read_only,
                deferrable,
            },
            _ => not_supported(words, "Set the isolation level or READ ONLY only."),
        },
        Kind::VarSetCurrent | Kind::Undefined => {
            not_supported(words, "Give the value as a plain string or number.")
        }
    }
}

/// A constant as text.
fn constant(node: &Node) -> Option<String> {
    let NodeEnum::AConst(constant) = node.node.as_ref()? else {
        return None;
    };
    Some(match constant.val.as_ref()? {
        a_const::Val::Ival(value) => value.ival.to_string(),
        a_const::Val::Fval(value) => value.fval.clone(),
        a_const::Val::Boolval(value) => value.boolval.to_string(),
        a_const::Val::Sval(value) => value.sval.clone(),
        a_const::Val::Bsval(value) => value.bsval.clone(),
    })
}

#[cfg(test)]
mod tests;
