//! The texts of our own that go to the database beside verified queries: made from closed sets only.

use crate::policy::quote_identifier;
use crate::sql::statement::{Direction, Fetch, Isolation};

/// What a client's transaction statement becomes. Every transaction is read only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionCommand {
    /// `BEGIN`.
    Begin {
        /// The isolation level; `None` = the database's default.
        isolation: Option<Isolation>,
        /// `DEFERRABLE`.
        deferrable: bool,
    },
    /// `COMMIT [AND CHAIN]`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `RELEASE SAVEPOINT name`.
    Release(String),
    /// `ROLLBACK [AND CHAIN]`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK TO SAVEPOINT name`.
    RollbackTo(String),
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `SET TRANSACTION ...`.
    SetTransaction {
        /// The isolation level.
        isolation: Option<Isolation>,
        /// `DEFERRABLE`.
        deferrable: bool,
    },
}

impl TransactionCommand {
    /// The text to send.
    pub(super) fn text(&self) -> String {
        match self {
            TransactionCommand::Begin {
                isolation,
                deferrable,
            } => format!("BEGIN READ ONLY{}", modes(*isolation, *deferrable)),
            TransactionCommand::Commit { chain } => format!("COMMIT{}", and_chain(*chain)),
            TransactionCommand::Release(name) => {
                format!("RELEASE SAVEPOINT {}", quote_identifier(name))
            }
            TransactionCommand::Rollback { chain } => format!("ROLLBACK{}", and_chain(*chain)),
            TransactionCommand::RollbackTo(name) => {
                format!("ROLLBACK TO SAVEPOINT {}", quote_identifier(name))
            }
            TransactionCommand::Savepoint(name) => format!("SAVEPOINT {}", quote_identifier(name)),
            TransactionCommand::SetTransaction {
                isolation,
                deferrable,
            } => format!(
                "SET TRANSACTION READ ONLY{}",
                modes(*isolation, *deferrable)
            ),
        }
    }
}

/// FETCH or MOVE of a cursor, by the name Rowgate gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorCommand {
    /// Its name in the database.
    pub cursor: String,
    /// Which rows.
    pub fetch: Fetch,
}

impl CursorCommand {
    /// The text to send.
    pub(super) fn text(&self) -> String {
        let Self { cursor, fetch } = self;
        let Fetch {
            only_move,
            direction,
            count,
        } = fetch;
        let verb = if *only_move { "MOVE" } else { "FETCH" };
        let direction = match direction {
            Direction::Forward => "FORWARD",
            Direction::Backward => "BACKWARD",
            Direction::Absolute => "ABSOLUTE",
            Direction::Relative => "RELATIVE",
        };
        let count = count.map_or_else(|| "ALL".to_owned(), |count| count.to_string());
        format!(
            "{verb} {direction} {count} FROM {}",
            quote_identifier(cursor)
        )
    }
}

fn modes(isolation: Option<Isolation>, deferrable: bool) -> String {
    let isolation = match isolation {
        None => "",
        Some(Isolation::ReadCommitted) => ", ISOLATION LEVEL READ COMMITTED",
        Some(Isolation::ReadUncommitted) => ", ISOLATION LEVEL READ UNCOMMITTED",
        Some(Isolation::RepeatableRead) => ", ISOLATION LEVEL REPEATABLE READ",
        Some(Isolation::Serializable) => ", ISOLATION LEVEL SERIALIZABLE",
    };
    format!(
        "{isolation}{}",
        if deferrable { ", DEFERRABLE" } else { "" }
    )
}

fn and_chain(chain: bool) -> &'static str {
    if chain { " AND CHAIN" } else { "" }
}

/// A setting that changes what output looks like, or how long a statement may take, and nothing else. Sent
/// transaction-locally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setting {
    /// `bytea_output`.
    ByteaOutput,
    /// `DateStyle`.
    DateStyle,
    /// `extra_float_digits`.
    ExtraFloatDigits,
    /// `IntervalStyle`.
    IntervalStyle,
    /// `lock_timeout`; the session lets through only what is shorter than the gate's own.
    LockTimeout,
    /// `statement_timeout`; likewise.
    StatementTimeout,
    /// `TimeZone`.
    TimeZone,
}

impl Setting {
    /// Whether it is a time limit: then PostgreSQL reads no text by it.
    pub fn is_limit(self) -> bool {
        matches!(self, Setting::LockTimeout | Setting::StatementTimeout)
    }

    /// The statement that sets it; its value is `$1`, and NULL goes back to the connection's own.
    pub(super) fn text(self) -> &'static str {
        match self {
            Setting::ByteaOutput => "SELECT pg_catalog.set_config('bytea_output', $1, true)",
            Setting::DateStyle => "SELECT pg_catalog.set_config('DateStyle', $1, true)",
            Setting::ExtraFloatDigits => {
                "SELECT pg_catalog.set_config('extra_float_digits', $1, true)"
            }
            Setting::IntervalStyle => "SELECT pg_catalog.set_config('IntervalStyle', $1, true)",
            Setting::LockTimeout => "SELECT pg_catalog.set_config('lock_timeout', $1, true)",
            Setting::StatementTimeout => {
                "SELECT pg_catalog.set_config('statement_timeout', $1, true)"
            }
            Setting::TimeZone => "SELECT pg_catalog.set_config('TimeZone', $1, true)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_begin_is_read_only() {
        let plain = TransactionCommand::Begin {
            isolation: None,
            deferrable: false,
        };
        assert_eq!(plain.text(), "BEGIN READ ONLY");
        let full = TransactionCommand::Begin {
            isolation: Some(Isolation::Serializable),
            deferrable: true,
        };
        assert_eq!(
            full.text(),
            "BEGIN READ ONLY, ISOLATION LEVEL SERIALIZABLE, DEFERRABLE"
        );
    }

    #[test]
    fn fetches_are_numbers_and_a_quoted_name() {
        let text = |only_move, direction, count| {
            let fetch = Fetch {
                only_move,
                direction,
                count,
            };
            let cursor = "p7".to_owned();
            CursorCommand { cursor, fetch }.text()
        };
        let (forward, relative) = (Direction::Forward, Direction::Relative);
        assert_eq!(text(false, forward, None), "FETCH FORWARD ALL FROM \"p7\"");
        assert_eq!(
            text(true, relative, Some(-3)),
            "MOVE RELATIVE -3 FROM \"p7\""
        );
    }

    #[test]
    fn savepoint_names_cannot_break_out() {
        let sneaky = TransactionCommand::Savepoint("a\"; DROP TABLE t; --".to_owned());
        assert_eq!(sneaky.text(), "SAVEPOINT \"a\"\"; DROP TABLE t; --\"");
    }
}
