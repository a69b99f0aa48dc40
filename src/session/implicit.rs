//! Several statements in one Query message are one transaction in PostgreSQL (manual, section 55.2.2.1), unless they say
//! otherwise: settings go back if one of them fails, and a cursor can be declared.
//!
//! The database sees one pipeline, which is one transaction to it, too. Only DECLARE wants more: a block, which is begun for
//! it here, and ended with the text.

use super::answer::Answer;
use super::pipeline::Stop;
use super::transaction::Block;
use super::{Ended, Session};
use crate::upstream::TransactionCommand;

impl Session {
    /// One of several statements begins.
    pub(super) fn begin_one_of_several(&mut self) {
        self.several = true;
        if !self.block.open() {
            self.settings.begin_transaction(None);
        }
    }

    /// Begins a block for a cursor, where the text is what it lives in.
    pub(super) fn begin_implicit(&mut self) -> Result<(), Stop> {
        if let (true, false, Some(lease)) = (self.several, self.block.open(), &mut self.lease) {
            let begin = TransactionCommand::Begin {
                isolation: None,
                deferrable: false,
            };
            lease.transaction(&mut self.script, &begin, None)?;
            self.block.begin_implicit();
        }
        Ok(())
    }

    /// Every statement of the text stands in the script: a block that nobody began ends with it.
    pub(super) fn commit_implicit(&mut self) -> Result<(), Stop> {
        if let (true, Some(lease)) = (self.block.implicit(), &mut self.lease) {
            let commit = TransactionCommand::Commit { chain: false };
            lease.transaction(&mut self.script, &commit, None)?;
        }
        Ok(())
    }

    /// The text has been run, or has failed and its error has been told: what nobody began ends with it.
    pub(super) async fn end_implicit(&mut self, committed: bool) -> Result<(), Ended> {
        self.several = false;
        if self.block.implicit() {
            let roll_back = TransactionCommand::Rollback { chain: false };
            if let Some(lease) = &mut self.lease
                && lease
                    .transaction(&mut self.script, &roll_back, None)
                    .is_err()
            {
                lease.condemn();
            }
            // The client has been told why; that this fails, too, is only logged.
            let _logged = self.settle().await?;
            self.end_cursors();
            self.block = Block::default();
        }
        if !self.block.open() {
            for (name, value) in self.settings.end_transaction(committed) {
                Answer::new(self.client.out_mut()).parameter(name, &value);
            }
        }
        Ok(())
    }
}
