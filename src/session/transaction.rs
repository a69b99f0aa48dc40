//! Transactions: every one is read only, whatever the client asks for.

use super::Session;
use super::answer::Answer;
use super::pipeline::Stop;
use super::settings::Saved;
use super::told::Told;
use crate::audit::RequestId;
use crate::error::Reason;
use crate::sql::statement::{Isolation, StatementKind};
use crate::upstream::TransactionCommand;
use tokio::time::Instant;

/// The transaction block as the client sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Block {
    open: bool,
    failed: bool,
    /// The connection it was on is gone: it can only be rolled back, here.
    lost: bool,
    /// It ends with the text it began in: nobody said BEGIN.
    implicit: bool,
}

impl Block {
    /// ReadyForQuery's status of a failed transaction.
    pub(super) const FAILED: u8 = b'E';

    /// ReadyForQuery's status.
    pub(super) fn status(self) -> u8 {
        match self {
            Block { failed: true, .. } | Block { lost: true, .. } => Self::FAILED,
            Block { open: true, .. } => b'T',
            Block { open: false, .. } => b'I',
        }
    }

    pub(super) fn open(self) -> bool {
        self.open
    }

    /// It ends with the text it began in.
    pub(super) fn implicit(self) -> bool {
        self.implicit
    }

    /// A block that nobody said BEGIN for.
    pub(super) fn begin_implicit(&mut self) {
        self.open = true;
        self.implicit = true;
    }

    /// An error was told.
    pub(super) fn fail(&mut self) {
        self.failed = self.open;
    }

    /// ReadyForQuery came from the database.
    pub(super) fn follow(&mut self, status: u8) {
        if self.lost {
            return;
        }
        match status {
            b'I' => *self = Self::default(),
            b'E' => {
                self.open = true;
                self.failed = true;
            }
            _ => self.open = true,
        }
    }

    pub(super) fn connection_lost(&mut self) {
        self.lost = self.open;
    }
}

/// A savepoint of the open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Savepoint {
    name: String,
    /// The last portal made before it.
    portal_number: u64,
    settings: Saved,
}

/// What the session remembers for transactions to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Characteristics {
    pub(super) isolation: Option<Isolation>,
    pub(super) deferrable: bool,
}

/// What a transaction statement comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transaction {
    /// A command for the database.
    Command(TransactionCommand),
    /// Nothing but this command tag.
    Nothing(&'static str),
}

impl Session {
    /// What a transaction statement comes to; `None` = it is not one.
    pub(super) fn as_transaction(&self, kind: &StatementKind) -> Option<Transaction> {
        let command = match kind {
            // PostgreSQL warns and goes on.
            StatementKind::Begin { .. } if self.block.open && !self.block.implicit => {
                return Some(Transaction::Nothing("BEGIN"));
            }
            StatementKind::Begin {
                isolation,
                read_only: _,
                deferrable,
            } => {
                let defaults = self.settings.characteristics();
                let default = defaults.isolation.filter(|_| !self.block.implicit);
                TransactionCommand::Begin {
                    isolation: isolation.or(default),
                    deferrable: deferrable.unwrap_or(defaults.deferrable),
                }
            }
            StatementKind::Commit { chain } if self.block.failed || self.block.lost => {
                TransactionCommand::Rollback { chain: *chain }
            }
            StatementKind::Commit { chain } => TransactionCommand::Commit { chain: *chain },
            StatementKind::Rollback { chain } => TransactionCommand::Rollback { chain: *chain },
            StatementKind::Savepoint(name) => TransactionCommand::Savepoint(name.clone()),
            StatementKind::Release(name) => TransactionCommand::Release(name.clone()),
            StatementKind::RollbackTo(name) => TransactionCommand::RollbackTo(name.clone()),
            StatementKind::SetTransaction { .. } if !self.block.open => {
                return Some(Transaction::Nothing("SET"));
            }
            StatementKind::SetTransaction {
                isolation,
                read_only: _,
                deferrable,
            } => TransactionCommand::SetTransaction {
                isolation: *isolation,
                deferrable: deferrable.unwrap_or(false),
            },
            _ => return None,
        };
        Some(Transaction::Command(command))
    }

    /// Runs a transaction statement.
    pub(super) async fn transaction(
        &mut self,
        text: &str,
        transaction: Transaction,
    ) -> Result<(), Stop> {
        let (id, started) = (RequestId::next(), Instant::now());
        let command = match transaction {
            Transaction::Command(command) => command,
            Transaction::Nothing(tag) => {
                self.check_block()?;
                let request = self.open_request(id, started, text, None, &[]);
                self.complete_locally(tag, request);
                return Ok(());
            }
        };
        let ending = match command {
            TransactionCommand::Commit { chain } => Some(("COMMIT", chain)),
            TransactionCommand::Rollback { chain } => Some(("ROLLBACK", chain)),
            _ => None,
        };
        self.check_implicit(&command)?;
        if let (TransactionCommand::Begin { .. }, true) = (&command, self.block.implicit) {
            self.block.implicit = false;
            let request = self.open_request(id, started, text, None, &[]);
            self.complete_locally("BEGIN", request);
            return Ok(());
        }
        if let Some((tag, chain)) = ending {
            // What was SET stays only if what stands before the COMMIT succeeds: that is run first.
            if tag == "COMMIT"
                && self.settings.hang_on_commit()
                && self.lease.as_ref().is_some_and(|lease| lease.dirty())
                && let Some(told) = self.settle().await?
            {
                return Err(told.into());
            }
            if !self.end_block(tag == "COMMIT", chain) {
                let request = self.open_request(id, started, text, None, &[]);
                self.complete_locally(tag, request);
                return Ok(());
            }
        } else {
            self.check_block_before(&command)?;
            self.room_for_savepoint(&command)?;
        }
        self.lease_any().await?;
        let request = self.open_request(id, started, text, None, &[]);
        if let Some(lease) = &mut self.lease {
            lease.transaction(&mut self.script, &command, Some(request))?;
        }
        self.remember(command);
        Ok(())
    }

    /// What a command that stands in the script changes here.
    fn remember(&mut self, command: TransactionCommand) {
        match command {
            TransactionCommand::Begin { isolation, .. } => {
                self.block.open = true;
                self.settings.begin_transaction(isolation);
            }
            TransactionCommand::SetTransaction { isolation, .. } => {
                self.settings.set_isolation(isolation);
            }
            TransactionCommand::RollbackTo(name) => {
                self.block.failed = false;
                self.back_to(&name);
            }
            TransactionCommand::Savepoint(name) => self.savepoints.push(Savepoint {
                name,
                portal_number: self.portal_number,
                settings: self.settings.save(),
            }),
            TransactionCommand::Release(name) => {
                let at = self.savepoints.iter().rposition(|s| s.name == name);
                self.savepoints.truncate(at.unwrap_or(usize::MAX));
            }
            _ => {}
        }
    }

    /// The block ends for the client; whether there is something to end in the database, too. Where not, PostgreSQL warns
    /// and goes on.
    fn end_block(&mut self, committed: bool, chain: bool) -> bool {
        let Block { open, lost, .. } = self.block;
        if open || lost {
            self.end_cursors();
        }
        for (name, value) in self.settings.end_transaction(committed) {
            self.script
                .local(Answer::bytes(|a| a.parameter(name, &value)));
        }
        self.block = Block {
            open: chain && !lost,
            ..Block::default()
        };
        open && !lost
    }

    /// The transaction ends, and with it everything open in the database.
    pub(super) fn end_cursors(&mut self) {
        self.savepoints.clear();
        self.portals.retain(|portal| portal.open.is_none());
    }

    /// Back to a savepoint: what was opened since is gone.
    fn back_to(&mut self, name: &str) {
        let Some(at) = self.savepoints.iter().rposition(|s| s.name == name) else {
            return;
        };
        self.savepoints.truncate(at + 1);
        let Some(Savepoint {
            portal_number,
            settings,
            ..
        }) = self.savepoints.last().cloned()
        else {
            return;
        };
        self.portals.retain(|portal| {
            let open = portal.open.as_ref();
            open.is_none_or(|open| open.number <= portal_number)
        });
        for (name, value) in self.settings.back_to(settings) {
            self.script
                .local(Answer::bytes(|a| a.parameter(name, &value)));
        }
    }

    /// What only a block that the client began can have.
    fn check_implicit(&self, command: &TransactionCommand) -> Result<(), Stop> {
        let chains = matches!(
            command,
            TransactionCommand::Commit { chain: true }
                | TransactionCommand::Rollback { chain: true }
        );
        // Without a block the database says it of the others, but a chain would be begun here only.
        if !self.block.implicit && (self.block.open || !chains) {
            return Ok(());
        }
        let what = match command {
            TransactionCommand::Savepoint(_) => "SAVEPOINT",
            TransactionCommand::Release(_) => "RELEASE SAVEPOINT",
            TransactionCommand::RollbackTo(_) => "ROLLBACK TO SAVEPOINT",
            TransactionCommand::Commit { chain: true } => "COMMIT AND CHAIN",
            TransactionCommand::Rollback { chain: true } => "ROLLBACK AND CHAIN",
            // A cursor has been declared: that was a query.
            TransactionCommand::Begin {
                isolation: Some(_), ..
            } => {
                let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                return Err(Told::new("25001", message).into());
            }
            TransactionCommand::Begin { .. }
            | TransactionCommand::Commit { .. }
            | TransactionCommand::Rollback { .. }
            | TransactionCommand::SetTransaction { .. } => return Ok(()),
        };
        let message = format!("{what} can only be used in transaction blocks");
        Err(Told::new("25P01", message).hint("Send BEGIN first.").into())
    }

    fn check_block_before(&self, command: &TransactionCommand) -> Result<(), Stop> {
        match command {
            TransactionCommand::RollbackTo(_) if !self.block.lost => Ok(()),
            _ => Ok(self.check_block()?),
        }
    }

    fn room_for_savepoint(&self, command: &TransactionCommand) -> Result<(), Stop> {
        let limit = self.limits().savepoints_max;
        if self.savepoints.len() < limit || !matches!(command, TransactionCommand::Savepoint(_)) {
            return Ok(());
        }
        let message = format!("more than {limit} savepoints in one transaction");
        let told = Told::new(Reason::TooLarge.sqlstate(), message);
        Err(told
            .hint("Release those that are not needed any more.")
            .into())
    }

    /// A command that changes nothing in the database.
    pub(super) fn complete_locally(&mut self, tag: &str, request: usize) {
        self.script.local(Answer::bytes(|a| a.complete(tag)));
        self.script.complete_request(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_follows_errors_and_the_database() {
        let mut block = Block::default();
        block.fail();
        assert_eq!(block.status(), b'I', "outside a block nothing can fail");
        block.follow(b'T');
        assert_eq!(block.status(), b'T');
        block.fail();
        assert_eq!(block.status(), b'E');
        block.follow(b'T');
        assert_eq!(
            block.status(),
            b'E',
            "a failure of ours outlives the database's T"
        );
        block.follow(b'I');
        assert_eq!(block.status(), b'I');
    }

    #[test]
    fn a_lost_connection_leaves_a_failed_block_only_if_one_was_open() {
        let mut block = Block::default();
        block.connection_lost();
        assert_eq!(block.status(), b'I');
        block.follow(b'T');
        block.connection_lost();
        assert_eq!(block.status(), b'E');
        block.follow(b'I');
        assert_eq!(block.status(), b'E', "only the client's ROLLBACK ends it");
    }
}
