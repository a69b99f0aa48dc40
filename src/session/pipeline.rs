//! From the first message that needs a connection to the Sync that gives it back.

use super::answer::Answer;
use super::recorded::Of;
use super::told::Told;
use super::transaction::Block;
use super::{Ended, Session};
use crate::audit::{Outcome, RequestId};
use crate::error::{Fault, Reason, Refusal};
use crate::gateway::{Decided, Standing};
use crate::upstream::{Bounds, Failure, Gate, relay};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes put together for the database before they are sent although the client has not said Sync or Flush.
const OUTBOUND_BYTES_HIGH: usize = 1024 * 1024;

/// A request whose end the audit waits for.
#[derive(Debug)]
pub(super) struct OpenRequest {
    pub(super) id: RequestId,
    pub(super) started: Instant,
}

/// Why a statement goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client is told, and may go on.
    Told(Told),
    /// The session is over.
    Ended(Box<Ended>),
}

impl From<Told> for Stop {
    fn from(told: Told) -> Self {
        Stop::Told(told)
    }
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Stop::Ended(Box::new(ended))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Told::from(fault).into()
    }
}

impl Session {
    /// Makes sure a connection fit for this principal is held.
    pub(super) async fn lease_for(&mut self, standing: &Standing) -> Result<(), Stop> {
        let superuser = standing.principal().superuser();
        if self.lease.is_some() && self.lease_superuser != superuser {
            if self.block.open() {
                return Err(
                    Told::new("25001", "your rights changed inside a transaction")
                        .hint("Send ROLLBACK and start again.")
                        .into(),
                );
            }
            if let Some(told) = Box::pin(self.settle()).await? {
                return Err(told.into());
            }
            self.release().await;
        }
        if self.lease.is_none() {
            self.lease = Some(self.gateway.lease(superuser, &self.slot).await?);
            self.lease_superuser = superuser;
        }
        if let Some(lease) = &mut self.lease {
            lease.adopt_policy(&mut self.script, standing.policy_number())?;
        }
        Ok(())
    }

    /// Makes sure some connection is held (for transaction commands).
    pub(super) async fn lease_any(&mut self) -> Result<(), Stop> {
        if self.lease.is_none() {
            let standing = self
                .gateway
                .standing(&self.caller, &mut self.memory)
                .await
                .map_err(|error| Told::of(&error, None))?;
            self.lease_for(&standing).await?;
        }
        Ok(())
    }

    /// Opens a request: its line goes to the audit before anything of its answer goes to the client.
    pub(super) fn open_request(
        &mut self,
        id: RequestId,
        started: Instant,
        text: &str,
        decided: Option<&Decided>,
        parameters: &[Option<String>],
    ) -> usize {
        let gate = self
            .gateway
            .record(id, &self.facts, &self.caller, text, decided, parameters);
        self.gates.push(gate);
        self.open.push(OpenRequest { id, started });
        self.script.open_request()
    }

    /// Tells of which tables rows may be held back from the result that follows, if the gate is to.
    pub(super) fn notice_filtered(&mut self, decided: &Decided) {
        let filtered = self.gateway.filtered_to_tell(decided);
        if !filtered.is_empty() {
            let message = format!("only the rows you may see: {}", filtered.join(", "));
            self.script.local(Answer::bytes(|a| a.notice(&message)));
        }
    }

    /// Runs what has been put together; the first failure, if any, is for the caller of this to tell.
    pub(super) async fn run_script(&mut self) -> Result<Option<Told>, Ended> {
        self.memory.waited();
        let gate = all(&mut self.gates);
        let first = self.open.first().map(|request| request.id);
        let started = self.open.first().map(|request| request.started);
        let limits = self.gateway.limits();
        let (failure, at) = match &mut self.lease {
            None => match gate {
                Some(gate) => (gate.await.err().map(Failure::Fault), None),
                None => (None, None),
            },
            Some(lease) => {
                let bounds = Bounds {
                    rows_max: limits.rows_max,
                    bytes_max: limits.result_bytes_max,
                    client_write: Duration::from_millis(limits.client_write_ms_max),
                    statement_ms_max: limits.statement_ms_max,
                    grace: Duration::from_millis(limits.grace_ms_max),
                };
                let started = started.unwrap_or_else(Instant::now);
                let (script, client) = (&mut self.script, &mut self.client);
                let end = relay(lease, script, client, gate, &bounds, started).await;
                if end.client_gone {
                    self.close_requests(Some("57014"), end.at);
                    return Err(Ended::Left);
                }
                (end.failure.map(|failure| *failure), end.at)
            }
        };
        if self.lease.is_none() {
            if failure.is_none() {
                self.script.drain_into(self.client.out_mut());
            }
            self.script.clear();
        }
        if let Some(Failure::Setting(_)) = &failure {
            self.settings.forget_output();
        }
        let mut told = failure.map(|failure| Told::failure(failure, first));
        if let Some(told) = &mut told {
            self.name_cursor(told);
        }
        if let Some(told) = &told {
            Box::pin(self.record_failure(told)).await;
        }
        self.close_requests(told.as_ref().map(|told| told.sqlstate.as_ref()), at);
        if told.is_none() {
            self.settle_statements();
        }
        self.after_run();
        Ok(told)
    }

    /// Takes over what the database says about the transaction.
    fn after_run(&mut self) {
        let Some(lease) = &self.lease else { return };
        if lease.broken() {
            self.lease = None;
            self.portals.clear();
            self.block.connection_lost();
        } else if !lease.dirty() {
            let status = lease.status();
            self.block.follow(status);
            if status == b'I' {
                self.portals.clear();
            }
        }
    }

    /// `at`: when it was over, if not just now.
    fn close_requests(&mut self, sqlstate: Option<&str>, mut at: Option<Instant>) {
        self.open_before = 0;
        let counts = self.script.take_requests();
        for (request, count) in self.open.drain(..).zip(counts) {
            let at = *at.get_or_insert_with(Instant::now);
            let outcome = Outcome {
                rows: count.rows,
                bytes: count.bytes,
                duration: at.duration_since(request.started),
                first_row: count.first_row.map(|at| at.duration_since(request.started)),
                sqlstate: sqlstate.filter(|_| !count.complete).map(str::to_owned),
            };
            self.gateway.finish(request.id, outcome);
        }
    }

    /// Brings the connection to ReadyForQuery. Everything before goes to the client.
    pub(super) async fn settle(&mut self) -> Result<Option<Told>, Ended> {
        if let Some(lease) = &mut self.lease
            && lease.dirty()
        {
            lease.sync(&mut self.script);
        }
        self.run_script().await
    }

    /// Gives the connection back unless a transaction is open on it.
    pub(super) async fn release(&mut self) {
        if self
            .lease
            .as_ref()
            .is_some_and(|lease| !lease.dirty() && lease.status() == b'I')
        {
            self.portals.clear();
            self.slot.vacate().await;
            self.lease = None;
        }
    }

    /// The end of a simple query or of an extended pipeline.
    pub(super) async fn ready(&mut self) -> Result<(), Ended> {
        self.ready_after(|_| ()).await
    }

    /// As [`Session::ready`]; `place` finds in the caller's text what the database points at in the final one.
    pub(super) async fn ready_after(&mut self, place: impl FnOnce(&mut Told)) -> Result<(), Ended> {
        let failure = self.settle().await?;
        let committed = failure.is_none();
        if let Some(mut told) = failure {
            place(&mut told);
            self.tell(told);
        }
        self.end_implicit(committed).await?;
        self.finish_ready().await;
        Ok(())
    }

    async fn finish_ready(&mut self) {
        self.release().await;
        self.skipping = false;
        let status = self.block.status();
        Answer::new(self.client.out_mut()).ready(status);
    }

    fn tell(&mut self, mut told: Told) {
        self.block.fail();
        told.position = told.position.or_else(|| self.place(&told));
        self.settle_statements();
        Answer::new(self.client.out_mut()).error(&told);
    }

    /// An error in a simple query: told behind the answers before it, then ReadyForQuery.
    pub(super) async fn fail_simple(&mut self, told: Told, text: &str) -> Result<(), Ended> {
        Box::pin(self.tell_behind(told, text)).await?;
        self.end_implicit(false).await?;
        self.finish_ready().await;
        Ok(())
    }

    /// An error in the extended protocol: told behind the answers before it; then skips to Sync.
    pub(super) async fn fail(&mut self, told: Told, text: &str) -> Result<(), Ended> {
        Box::pin(self.tell_behind(told, text)).await?;
        self.skipping = true;
        Ok(())
    }

    /// Tells an error about this text behind the answers before it, or the error that they end with.
    async fn tell_behind(&mut self, told: Told, text: &str) -> Result<(), Ended> {
        let has_line = self.has_line(&told);
        let earlier = self.settle().await?;
        if earlier.is_none() && !has_line {
            self.record_stop(&told, text).await;
        }
        self.tell(earlier.unwrap_or(told));
        Ok(())
    }

    /// What a step of the extended protocol came to.
    pub(super) async fn conclude(
        &mut self,
        result: Result<(), Stop>,
        of: Of<'_>,
    ) -> Result<(), Ended> {
        match result {
            Ok(()) => self.relieve().await,
            Err(Stop::Told(told)) => {
                let text = self.text_of(of);
                self.fail(told, &text).await
            }
            Err(Stop::Ended(ended)) => Err(*ended),
        }
    }

    /// Keeps a long pipeline within bounds by running what there is of it.
    async fn relieve(&mut self) -> Result<(), Ended> {
        let limits = self.gateway.limits();
        let outbound = self.lease.as_ref().map_or(0, |lease| lease.outbound_len());
        let bytes = OUTBOUND_BYTES_HIGH.min(limits.batch_bytes_max);
        if self.script.len() > limits.batch_messages_max || outbound > bytes {
            Box::pin(self.flush_pipeline()).await
        } else {
            Ok(())
        }
    }

    /// Flush: everything so far is answered; the pipeline stays open.
    pub(super) async fn flush_pipeline(&mut self) -> Result<(), Ended> {
        if let Some(lease) = &mut self.lease
            && lease.dirty()
            && !self.script.is_empty()
        {
            lease.flush();
        }
        if let Some(told) = self.run_script().await? {
            self.tell(told);
            self.skipping = true;
        }
        Ok(())
    }

    /// Sync: the end of the pipeline.
    pub(super) async fn sync(&mut self) -> Result<(), Ended> {
        self.ready().await
    }

    /// A message kind that is not served, such as FunctionCall.
    pub(super) async fn not_served(&mut self, what: &'static str) -> Result<(), Ended> {
        let told = Told::new("0A000", format!("{what} are not supported"))
            .hint("Send one SELECT, as a simple query or with Parse, Bind and Execute.");
        if what == "function calls" {
            // FunctionCall is answered with ReadyForQuery by itself.
            self.fail_simple(told, "").await
        } else {
            // PostgreSQL ignores COPY messages outside COPY, so that a failed COPY can be told once.
            Ok(())
        }
    }

    /// In a failed transaction only its end is possible.
    pub(super) fn check_block(&self) -> Result<(), Told> {
        if self.block.status() == Block::FAILED {
            let message =
                "current transaction is aborted, commands ignored until end of transaction block";
            let refusal = Refusal::new(Reason::TransactionFailed, message).hint("Send ROLLBACK.");
            return Err(Told::refused(&refusal));
        }
        Ok(())
    }
}

/// All of them: their lines are in the queue already, and the first one that is waited for has them written.
fn all(gates: &mut Vec<Gate<'static>>) -> Option<Gate<'static>> {
    if gates.len() < 2 {
        return gates.pop();
    }
    let gates = std::mem::take(gates);
    Some(Box::pin(async move {
        for gate in gates {
            gate.await?;
        }
        Ok(())
    }))
}
