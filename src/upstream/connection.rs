//! One logged-in connection: what is prepared on it, what is in force in its transaction, and the
//! messages that are put together for it.

use super::cancel::CancelKey;
use super::command::{Setting, TransactionCommand};
use super::encode::{
    Binding, bare, bind_texts, close, describe, execute, framed, parse, put_count, put_formats,
    put_name, put_parameter_formats, put_statement_name, put_text, statement_name,
};
use super::login::{LoggedIn, Target};
use super::received::Received;
use super::script::{Script, StatementKey, Step};
use super::stream::Stream;
use crate::error::{Fault, FaultKind};
use crate::policy::PrincipalSettings;
use crate::sql::VerifiedQuery;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

/// Bytes read from the database at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// A statement that is, or is about to be, prepared on the connection.
struct Prepared {
    number: u32,
    /// ParseComplete has come.
    confirmed: bool,
}

/// Which prepared statement to use: a named one of the cache, or the unnamed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementName(pub(super) Option<u32>);

impl StatementName {
    pub(super) const UNNAMED: Self = Self(None);
}

/// A logged-in connection to the database.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) target: Arc<Target>,
    pub(super) key: CancelKey,
    parameters: Vec<(String, String)>,
    /// Bytes to be sent.
    pub(super) outbound: Vec<u8>,
    /// Bytes received, not yet looked at.
    pub(super) inbound: Received,
    prepared: LruCache<StatementKey, Prepared>,
    prepared_max: NonZeroUsize,
    pub(super) unnamed: Option<StatementKey>,
    pub(super) principal_prepared: bool,
    next_number: u32,
    policy_version: u64,
    /// The transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    pub(super) status: u8,
    /// Something was sent after the last ReadyForQuery.
    pub(super) dirty: bool,
    /// The stream has failed or its answers make no sense any more.
    pub(super) broken: bool,
    /// The principal in force in the open transaction.
    pub(super) principal: Option<Arc<PrincipalSettings>>,
    /// The settings in force in the open transaction that are not the connection's own.
    pub(super) settings: Vec<(Setting, String)>,
    /// The settings told in the open transaction so far ...
    pub(super) settings_told: Vec<Setting>,
    /// ... of which nobody knows which are in force: it went back to a savepoint, or failed.
    pub(super) settings_unsure: bool,
    /// The relay's alarm clock, kept set between relays: to set one costs more than to look at it too early now
    /// and then.
    pub(super) alarm: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(super) async fn open(target: Arc<Target>, prepared_max: usize) -> std::io::Result<Self> {
        let LoggedIn {
            stream,
            key,
            parameters,
        } = target.login().await?;
        let prepared_max = NonZeroUsize::new(prepared_max).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            stream,
            target,
            key,
            parameters,
            outbound: Vec::new(),
            inbound: Received::default(),
            // One more than is kept, so that we, and not the cache, choose what goes.
            prepared: LruCache::new(prepared_max.saturating_add(1)),
            prepared_max,
            unnamed: None,
            principal_prepared: false,
            next_number: 0,
            policy_version: 0,
            status: b'I',
            dirty: false,
            broken: false,
            principal: None,
            settings: Vec::new(),
            settings_told: Vec::new(),
            settings_unsure: false,
            alarm: None,
        })
    }

    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(super) fn key(&self) -> CancelKey {
        self.key
    }

    /// ParameterStatus of the login.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The transaction status of the last ReadyForQuery: `I`, `T` or `E`.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// Whether messages were sent, or put together, after the last ReadyForQuery.
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Bytes waiting to be sent.
    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    /// Whether it is of no use any more.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Never to be used again.
    pub fn condemn(&mut self) {
        self.broken = true;
    }

    /// Outside any transaction, with nothing on its way.
    pub(super) fn clean(&self) -> bool {
        !self.broken
            && !self.dirty
            && self.status == b'I'
            && self.inbound.is_empty()
            && self.outbound.is_empty()
    }

    /// Clean, and the database has neither closed it nor said anything since.
    pub(super) async fn reusable(&mut self) -> bool {
        if !self.clean() {
            return false;
        }
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        // The task that asks is the one that will read: its waker is left in place.
        let read = |cx: &mut Context<'_>| {
            Poll::Ready(
                Pin::new(&mut self.stream)
                    .poll_read(cx, &mut buffer)
                    .is_pending(),
            )
        };
        std::future::poll_fn(read).await
    }

    /// Drops what was prepared under another policy.
    pub fn adopt_policy(&mut self, script: &mut Script, version: u64) -> Result<(), Fault> {
        if self.policy_version != version {
            while let Some((_, prepared)) = self.prepared.pop_lru() {
                self.close_statement(script, prepared.number)?;
            }
            self.unnamed = None;
            self.policy_version = version;
        }
        Ok(())
    }

    fn close_statement(&mut self, script: &mut Script, number: u32) -> Result<(), Fault> {
        close(&mut self.outbound, b'S', &statement_name(Some(number)))?;
        script.steps.push_back(Step::Close);
        self.dirty = true;
        Ok(())
    }

    /// Makes sure `query` is prepared, under the settings in force: call it after
    /// [`become_principal`](Self::become_principal). `keep` = worth a place in the cache; otherwise the unnamed
    /// statement is used.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    pub fn prepare(
        &mut self,
        script: &mut Script,
        query: &VerifiedQuery,
        types: &Arc<[u32]>,
        keep: bool,
    ) -> Result<StatementName, Fault> {
        let key = StatementKey {
            text: Arc::clone(query.text()),
            types: Arc::clone(types),
            settings: self.settings_read_by(),
        };
        // 'today' is read when the statement is parsed, so it is parsed each time.
        let lasts = !query.clock_words();
        if lasts {
            if let Some(prepared) = self.prepared.get(&key) {
                return Ok(StatementName(Some(prepared.number)));
            }
            if self.unnamed.as_ref() == Some(&key) {
                return Ok(StatementName(None));
            }
        }
        let number = (keep && lasts).then(|| {
            self.next_number = self.next_number.wrapping_add(1);
            self.next_number
        });
        let name = statement_name(number);
        parse(&mut self.outbound, &name, &key.text, &key.types)?;
        self.dirty = true;
        script.steps.push_back(Step::Parse(Box::new(key.clone())));
        match number {
            None => self.unnamed = Some(key),
            Some(number) => {
                let confirmed = false;
                self.prepared.put(key, Prepared { number, confirmed });
                if self.prepared.len() > self.prepared_max.get()
                    && let Some((_, evicted)) = self.prepared.pop_lru()
                {
                    self.close_statement(script, evicted.number)?;
                }
            }
        }
        Ok(StatementName(number))
    }

    /// A ParseComplete came for this.
    pub(super) fn confirm(&mut self, key: &StatementKey) {
        if let Some(prepared) = self.prepared.peek_mut(key) {
            prepared.confirmed = true;
        }
    }

    /// No ParseComplete will come for this.
    pub(super) fn forget(&mut self, key: &StatementKey) {
        if self.unnamed.as_ref() == Some(key) {
            self.unnamed = None;
        }
        if self
            .prepared
            .peek(key)
            .is_some_and(|prepared| !prepared.confirmed)
        {
            self.prepared.pop(key);
        }
    }

    /// A Close of ours was not carried out: what the connection holds is no longer known.
    pub(super) fn lose_track(&mut self) {
        self.principal_prepared = false;
        self.broken = true;
    }

    /// A statement of our own was not prepared after all.
    pub(super) fn forget_own(&mut self, principal: bool) {
        if principal {
            self.principal_prepared = false;
        } else {
            self.unnamed = None;
        }
    }

    /// Binds a query; its answer goes to the client if `forward`. The principal's own parameters
    /// follow the caller's, out of reach of any value the caller sends.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together, or the caller's parameters are
    /// not as many as the query has (the session has checked that).
    pub fn bind(
        &mut self,
        script: &mut Script,
        portal: &str,
        statement: StatementName,
        query: &VerifiedQuery,
        principal: &PrincipalSettings,
        binding: &Binding,
        forward: bool,
    ) -> Result<(), Fault> {
        if binding.parameter_count != query.parameters() {
            return Err(Fault::because(
                FaultKind::Internal,
                "parameters not checked",
            ));
        }
        let own = query.principal_parameters();
        framed(&mut self.outbound, b'B', |out| {
            put_name(out, portal)?;
            put_statement_name(out, statement.0);
            put_parameter_formats(out, binding, own.len())?;
            put_count(out, usize::from(binding.parameter_count) + own.len())?;
            out.extend_from_slice(&binding.parameters);
            for field in own {
                put_text(out, principal.field(*field))?;
            }
            put_formats(out, &binding.result_formats)
        })?;
        script.steps.push_back(Step::Bind { forward });
        self.dirty = true;
        Ok(())
    }

    /// Asks what a portal of `query` gives.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    pub fn describe_portal(
        &mut self,
        script: &mut Script,
        portal: &str,
        query: &VerifiedQuery,
    ) -> Result<(), Fault> {
        describe(&mut self.outbound, b'P', portal)?;
        let origins = Arc::clone(query.origins());
        script.steps.push_back(Step::Describe(origins, None));
        self.dirty = true;
        Ok(())
    }

    /// Runs a portal; its rows are counted for `request` and go to the client.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    pub fn execute(
        &mut self,
        script: &mut Script,
        portal: &str,
        rows_max: i32,
        request: usize,
    ) -> Result<(), Fault> {
        // PostgreSQL reads a negative number as "no limit" too; we say it in the plain way.
        execute(&mut self.outbound, portal, rows_max.max(0))?;
        script.steps.push_back(Step::Rows { request });
        self.dirty = true;
        Ok(())
    }

    /// Closes a portal; its answer is swallowed.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    pub fn close_portal(&mut self, script: &mut Script, portal: &str) -> Result<(), Fault> {
        close(&mut self.outbound, b'P', portal)?;
        script.steps.push_back(Step::ClosePortal);
        self.dirty = true;
        Ok(())
    }

    /// Runs a transaction command; its command tag goes to the client, if a request asks for it.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    pub fn transaction(
        &mut self,
        script: &mut Script,
        command: &TransactionCommand,
        request: Option<usize>,
    ) -> Result<(), Fault> {
        parse(&mut self.outbound, "", &command.text(), &[])?;
        script.steps.push_back(Step::OwnParse { principal: false });
        self.unnamed = None;
        bind_texts(&mut self.outbound, "", &[])?;
        script.steps.push_back(Step::Bind { forward: false });
        match request {
            Some(request) => self.execute(script, "", 0, request)?,
            None => {
                execute(&mut self.outbound, "", 0)?;
                script.steps.push_back(Step::Own);
                self.dirty = true;
            }
        }
        match command {
            TransactionCommand::Begin { .. }
            | TransactionCommand::Release(_)
            | TransactionCommand::Savepoint(_)
            | TransactionCommand::SetTransaction { .. } => {}
            TransactionCommand::Commit { .. } | TransactionCommand::Rollback { .. } => {
                self.forget_in_force();
            }
            TransactionCommand::RollbackTo(_) => self.doubt_in_force(),
        }
        Ok(())
    }

    /// Ends the pipeline: ReadyForQuery is expected.
    pub fn sync(&mut self, script: &mut Script) {
        bare(&mut self.outbound, b'S');
        script.steps.push_back(Step::Sync);
        self.dirty = true;
    }

    /// Asks the database to send what it has.
    pub fn flush(&mut self) {
        bare(&mut self.outbound, b'H');
        self.dirty = true;
    }

    /// ReadyForQuery came.
    pub(super) fn ready(&mut self, status: u8) {
        self.status = status;
        self.dirty = false;
        match status {
            b'T' => {}
            b'I' => self.forget_in_force(),
            _ => self.doubt_in_force(),
        }
    }

    /// Lets go of large buffers.
    pub(super) fn trim(&mut self) {
        self.inbound.trim(2 * READ_BYTES);
        if self.outbound.is_empty() && self.outbound.capacity() > READ_BYTES {
            self.outbound = Vec::new();
        }
    }
}
