//! Statements that read no table: transactions, and what clients send on their own (SET, SHOW, RESET,
//! DISCARD, ...), answered here from a list.

use super::Session;
use super::answer::Answer;
use super::courtesy::Courtesy;
use super::extended::no_statement;
use super::pipeline::Stop;
use super::principal;
use super::simple::Placed;
use super::told::Told;
use crate::audit::RequestId;
use crate::error::Error;
use crate::sql::statement::{SetValue, Statement, StatementKind};
use tokio::time::Instant;

/// Columns of SHOW's answer, if the statement has one.
pub(super) fn columns(kind: &StatementKind, settings: &super::Settings) -> Option<Vec<String>> {
    match kind {
        StatementKind::Show(name) => Some(vec![settings.display_name(name)]),
        StatementKind::ShowAll => Some(
            ["name", "setting", "description"]
                .map(str::to_owned)
                .to_vec(),
        ),
        _ => None,
    }
}

impl Session {
    /// Answers a statement that is not a query; where the query stands that it holds, if it holds one.
    /// `describe` = the simple protocol, where RowDescription comes with the answer.
    pub(super) async fn other_statement(
        &mut self,
        statement: &Statement,
        describe: bool,
    ) -> Result<Option<Placed>, Stop> {
        let Statement { text, kind, .. } = statement;
        if principal::is_asked_for(kind) {
            return self.show_principal(text, describe).await.map(|()| None);
        }
        if let StatementKind::Prepare { name, types, query } = kind {
            let prepared = self.prepare_sql(statement, name, types, query);
            return prepared.await.map(Some);
        }
        self.run_other(text, kind, describe).await.map(|()| None)
    }

    async fn run_other(
        &mut self,
        text: &str,
        kind: &StatementKind,
        describe: bool,
    ) -> Result<(), Stop> {
        let id = RequestId::next();
        if let StatementKind::Refused(refusal) = kind {
            let error = Error::Refused(refusal.clone());
            return Err(self
                .refuse(text, id, &error, self.memory.standing().cloned().as_ref())
                .await
                .into());
        }
        // Its line is written once it is known whether it is refused: what it did waits for that.
        if let Some(transaction) = self.as_transaction(kind) {
            return self.transaction(text, transaction).await;
        }
        let tag = self.local_statement(kind, describe)?;
        let request = self.open_request(id, Instant::now(), text, None, &[]);
        self.complete_locally(tag, request);
        Ok(())
    }

    /// Answers a query clients' libraries send on their own.
    pub(super) async fn courtesy(
        &mut self,
        text: &str,
        courtesy: &'static Courtesy,
        describe: bool,
    ) -> Result<(), Stop> {
        self.check_block()?;
        let request = self.open_request(RequestId::next(), Instant::now(), text, None, &[]);
        let values: Vec<String> = courtesy.values.iter().map(|v| (*v).to_owned()).collect();
        self.script.local(Answer::bytes(|answer| {
            if describe {
                answer.columns(courtesy.columns);
            }
            answer.row(&values);
        }));
        self.complete_locally("SELECT 1", request);
        Ok(())
    }

    fn local_statement(
        &mut self,
        kind: &StatementKind,
        describe: bool,
    ) -> Result<&'static str, Stop> {
        self.check_block()?;
        let tag = match kind {
            StatementKind::Set { .. }
            | StatementKind::SetSessionCharacteristics { .. }
            | StatementKind::Reset(_)
            | StatementKind::ResetAll
            | StatementKind::DiscardAll => self.change_settings(kind)?,
            StatementKind::Show(_) | StatementKind::ShowAll => {
                self.show(kind, describe)?;
                "SHOW"
            }
            StatementKind::Discard(tag) => tag,
            StatementKind::DeallocateAll => {
                self.forget_statements();
                "DEALLOCATE ALL"
            }
            StatementKind::Deallocate(name) => {
                self.deallocate(name)?;
                "DEALLOCATE"
            }
            StatementKind::CloseAll => {
                self.close_all()?;
                "CLOSE CURSOR ALL"
            }
            StatementKind::Close(name) => {
                self.close_cursor(name)?;
                "CLOSE CURSOR"
            }
            StatementKind::UnlistenAll => "UNLISTEN",
            StatementKind::Query
            | StatementKind::Prepare { .. }
            | StatementKind::Execute { .. }
            | StatementKind::Declare { .. }
            | StatementKind::Fetch { .. }
            | StatementKind::Copy { .. }
            | StatementKind::Refused(_)
            | StatementKind::Begin { .. }
            | StatementKind::Commit { .. }
            | StatementKind::Rollback { .. }
            | StatementKind::Savepoint(_)
            | StatementKind::Release(_)
            | StatementKind::RollbackTo(_)
            | StatementKind::SetTransaction { .. } => {
                return Err(Told::new("XX000", "a statement in the wrong place").into());
            }
        };
        Ok(tag)
    }

    /// SET, RESET and DISCARD ALL; what changed is reported.
    fn change_settings(&mut self, kind: &StatementKind) -> Result<&'static str, Told> {
        let mut changed = Vec::new();
        let tag = match kind {
            StatementKind::Set { name, value, local } => {
                changed = match value {
                    SetValue::Default => self.settings.reset(name)?,
                    SetValue::Values(values) => self.settings.set(name, values, *local)?,
                };
                "SET"
            }
            StatementKind::SetSessionCharacteristics {
                isolation,
                deferrable,
                ..
            } => {
                self.settings.set_characteristics(*isolation, *deferrable);
                "SET"
            }
            StatementKind::DiscardAll => {
                changed = self.discard_all()?;
                "DISCARD ALL"
            }
            StatementKind::Reset(name) => {
                changed = self.settings.reset(name)?;
                "RESET"
            }
            _ => {
                changed.extend(self.settings.reset_all());
                "RESET"
            }
        };
        for (name, value) in changed {
            self.script
                .local(Answer::bytes(|a| a.parameter(name, &value)));
        }
        Ok(tag)
    }

    fn deallocate(&mut self, name: &str) -> Result<(), Told> {
        match self.forget_statement(name) {
            true => Ok(()),
            false => Err(no_statement(name)),
        }
    }

    fn discard_all(&mut self) -> Result<Vec<super::settings::Change>, Told> {
        if self.block.open() {
            let message = "DISCARD ALL cannot run inside a transaction block";
            return Err(Told::new("25001", message));
        }
        self.forget_statements();
        Ok(self.settings.reset_all())
    }

    fn show(&mut self, kind: &StatementKind, describe: bool) -> Result<(), Told> {
        let rows = match kind {
            StatementKind::Show(name) => vec![vec![self.settings.show(name)?]],
            _ => self.settings.show_all(),
        };
        let columns = columns(kind, &self.settings).unwrap_or_default();
        self.script.local(Answer::bytes(|answer| {
            if describe {
                let names: Vec<&str> = columns.iter().map(String::as_str).collect();
                answer.columns(&names);
            }
            for row in &rows {
                answer.row(row);
            }
        }));
        Ok(())
    }
}
