//! One caller's conversation: statements, portals, transactions, settings.
//!
//! A session puts what the client asks for into the database's words ([`crate::upstream`]), each
//! statement decided by [`crate::gateway`], and leases a connection only from the first message that needs
//! one to the end of the pipeline or transaction. It knows nothing of sockets' beginnings (`wire` hands it
//! a logged-in [`Client`]) and nothing of policy.

mod answer;
mod client;
mod courtesy;
mod cursors;
mod extended;
mod implicit;
mod local;
mod message;
mod names;
mod parameter_types;
mod parse;
mod pipeline;
mod prepared;
mod principal;
mod recorded;
mod setting_list;
mod settings;
mod simple;
mod sql_prepared;
mod told;
mod transaction;

pub use answer::Answer;
pub use client::{Client, Transport};
pub use message::Message;
pub use settings::Settings;
pub use told::Told;

use crate::error::{Error, Fault};
use crate::gateway::{Gateway, Memory, SessionFacts};
use crate::identity::Caller;
use crate::limits::Limits;
use crate::upstream::{CancelSlot, Gate, Lease, Script};
use names::Names;
use parse::Parsed;
use pipeline::OpenRequest;
use prepared::{Portal, Prepared};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A logged-in client's session.
pub struct Session {
    gateway: Arc<Gateway>,
    client: Client,
    caller: Caller,
    facts: SessionFacts,
    slot: Arc<CancelSlot>,
    settings: Settings,
    statements: Names<Arc<Prepared>>,
    /// What the last Parse came to.
    parsed: Option<Parsed>,
    /// Statements made or closed behind something the database has not answered yet: the mark behind that, the name, and
    /// what had it before.
    unsure: Vec<(u64, String, Option<Arc<Prepared>>)>,
    /// Portals and cursors.
    portals: Names<Portal>,
    portal_number: u64,
    savepoints: Vec<transaction::Savepoint>,
    memory: Memory,
    lease: Option<Lease>,
    /// The lease is of the superusers' pool.
    lease_superuser: bool,
    script: Script,
    gates: Vec<Gate<'static>>,
    open: Vec<OpenRequest>,
    /// How many of them had been opened before the message, or statement, at hand.
    open_before: usize,
    block: transaction::Block,
    /// The statement at hand is one of several in its Query message.
    several: bool,
    /// After an error in the extended protocol everything up to Sync is skipped.
    skipping: bool,
}

/// Why a session ends.
#[derive(Debug)]
pub enum Ended {
    /// The client said so, or left.
    Left,
    /// It was told why with a FATAL error, if it still listens.
    Fatal(Told),
}

/// What [`Session::new`] needs to know.
pub struct Start {
    /// The stages.
    pub gateway: Arc<Gateway>,
    /// The logged-in client.
    pub client: Client,
    /// Who it is.
    pub caller: Caller,
    /// For the audit.
    pub facts: SessionFacts,
    /// Where a cancel request finds its backend.
    pub slot: Arc<CancelSlot>,
    /// What the start-up packet set.
    pub settings: Settings,
}

impl Session {
    /// A session at its beginning: ReadyForQuery has been sent.
    pub fn new(start: Start) -> Self {
        let Start {
            gateway,
            client,
            caller,
            facts,
            slot,
            settings,
        } = start;
        Self {
            gateway,
            client,
            caller,
            facts,
            slot,
            settings,
            statements: Names::default(),
            parsed: None,
            unsure: Vec::new(),
            portals: Names::default(),
            portal_number: 0,
            savepoints: Vec::new(),
            memory: Memory::default(),
            lease: None,
            lease_superuser: false,
            script: Script::default(),
            gates: Vec::new(),
            open: Vec::new(),
            open_before: 0,
            block: transaction::Block::default(),
            several: false,
            skipping: false,
        }
    }

    /// Talks until the client leaves, breaks the protocol, or `shutdown` says so between two pipelines.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut stopped = pin!(stopped(&mut shutdown));
        let ended = loop {
            match self.serve_buffered().await {
                Ok(()) => {}
                Err(ended) => break ended,
            }
            tokio::select! {
                biased;
                more = self.next_bytes() => match more {
                    Ok(()) => {}
                    Err(ended) => break ended,
                },
                () = &mut stopped, if self.lease.is_none() => {
                    break Ended::Fatal(Told::shutting_down());
                }
            }
        };
        if let Ended::Fatal(told) = ended {
            Answer::new(self.client.out_mut()).error(&told);
            let patience = Duration::from_secs(5);
            let _best_effort = tokio::time::timeout(patience, self.client.flush()).await;
        }
        self.slot.vacate().await;
    }

    /// Handles every whole frame that has been received.
    async fn serve_buffered(&mut self) -> Result<(), Ended> {
        loop {
            let skipping = self.skipping;
            let read = |tag, body: &[u8]| {
                let skipped = skipping && !matches!(tag, b'S' | b'X');
                let text = |told| (told, recorded::text_in(tag, body).into_owned());
                (!skipped).then(|| (tag, Message::read(tag, body).map_err(text)))
            };
            let (tag, message) = match self.client.read_frame(read).map_err(fatal)? {
                None => break,
                Some(None) => continue,
                Some(Some(message)) => message,
            };
            match message {
                Ok(message) => self.handle(message).await?,
                Err((told, _)) if told.fatal => return Err(Ended::Fatal(told)),
                Err((told, text)) => self.fail_extended_or_simple(tag, told, &text).await?,
            }
            if self.client.out_mut().len() > 64 * 1024 {
                self.flush_client().await?;
            }
        }
        self.flush_client().await
    }

    async fn fail_extended_or_simple(
        &mut self,
        tag: u8,
        told: Told,
        text: &str,
    ) -> Result<(), Ended> {
        self.open_before = self.open.len();
        if tag == b'Q' {
            self.fail_simple(told, text).await
        } else {
            self.fail(told, text).await
        }
    }

    async fn handle(&mut self, message: Message) -> Result<(), Ended> {
        self.open_before = self.open.len();
        match message {
            Message::Query(text) => self.simple(&text).await,
            Message::Parse(parse) => self.parse(parse).await,
            Message::Bind(bind) => self.bind(bind).await,
            Message::DescribeStatement(name) => self.describe_statement(&name).await,
            Message::DescribePortal(name) => self.describe_portal(&name).await,
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::CloseStatement(name) => self.close_statement(&name).await,
            Message::ClosePortal(name) => self.close_portal(&name).await,
            Message::Flush => self.flush_pipeline().await,
            Message::Sync => self.sync().await,
            Message::Terminate => Err(Ended::Left),
            Message::NotServed(what) => self.not_served(what).await,
        }
    }

    async fn flush_client(&mut self) -> Result<(), Ended> {
        if self.client.out_mut().is_empty() {
            return Ok(());
        }
        // As a rule it can be sent at once, without an alarm.
        match self.client.flush_at_once().await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(_) => return Err(Ended::Left),
        }
        let patience = Duration::from_millis(self.limits().client_write_ms_max);
        match tokio::time::timeout(patience, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Left),
        }
    }

    /// Waits for the client; not for ever while a connection is held.
    async fn next_bytes(&mut self) -> Result<(), Ended> {
        self.memory.waited();
        let limit = self.gateway.limits().idle_in_transaction_ms_max;
        let read = self.client.read();
        let read = if self.lease.is_some() && limit > 0 {
            match tokio::time::timeout(Duration::from_millis(limit), read).await {
                Ok(read) => read,
                Err(_) => return Err(Ended::Fatal(Told::idle_in_transaction())),
            }
        } else {
            read.await
        };
        match read {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Ended::Left),
        }
    }

    fn limits(&self) -> &Limits {
        self.gateway.limits()
    }
}

/// Waits until it is time to stop; that is also when nobody is left who could say so.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _told_or_alone = shutdown.wait_for(|stop| *stop).await.is_ok();
}

fn fatal(told: Told) -> Ended {
    Ended::Fatal(told)
}

/// An error on its way to the client.
impl From<Fault> for Told {
    fn from(fault: Fault) -> Self {
        Told::of(&Error::Failed(fault), None)
    }
}
