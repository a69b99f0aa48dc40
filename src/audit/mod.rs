//! The audit: one JSON line per request, written before its first row leaves; if it cannot be
//! written, the request is refused.
//!
//! A bounded queue: what has queued up meanwhile goes out in one write. A renamed or removed file is
//! noticed before the next write and opened anew.

mod admin;
mod line;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use admin::AdminRecord;
pub use record::{
    AuditRecord, AuditedPrincipal, Decision, LoginRefused, Members, Outcome, RequestId,
};

use crate::error::{Fault, FaultKind};
use crate::metrics::{Count, Words};
use std::cell::RefCell;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use writer::{Sink, Ticket, Writer};

/// Of the buffer a line is put together in, what is kept for the next one.
const LINE_KEPT_BYTES: usize = 16 * 1024;

/// What the operator decided about the audit.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// The file appended to; `None` is standard output.
    pub path: Option<PathBuf>,
    /// Refuse what cannot be recorded.
    pub required: bool,
    /// Also write parameter values.
    pub parameters: bool,
    /// Longest SQL text kept whole, in bytes.
    pub sql_bytes_max: usize,
    /// Records the queue holds.
    pub queue_max: usize,
    /// How long a request waits for its record to be written.
    pub wait_max: Duration,
}

/// What has been recorded: each request and each refused login is counted where its line is made.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Requests let through.
    pub allowed: Count,
    /// Requests refused, by the slug of the reason.
    pub refused: Words,
    /// Logins refused, by the slug of the reason.
    pub logins_refused: Words,
}

/// The audit log: a bounded queue, and who writes it.
pub struct AuditLog {
    recorded: Recorded,
    writer: Arc<Writer>,
    required: bool,
    parameters: bool,
    sql_bytes_max: usize,
    wait_max: Duration,
}

impl AuditLog {
    /// Whether parameter values are written.
    pub fn writes_parameters(&self) -> bool {
        self.parameters
    }

    /// Opens the sink and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened, or the thread not started.
    pub fn open(settings: AuditSettings) -> std::io::Result<Self> {
        let sink = match &settings.path {
            Some(path) => Sink::file(path)?,
            None => Sink::Other(Box::new(std::io::stdout())),
        };
        Self::with_sink(settings, sink)
    }

    /// As [`AuditLog::open`], with a sink of the caller's; `settings.path` does not count.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn open_to(
        settings: AuditSettings,
        sink: Box<dyn std::io::Write + Send>,
    ) -> std::io::Result<Self> {
        Self::with_sink(settings, Sink::Other(sink))
    }

    fn with_sink(settings: AuditSettings, sink: Sink) -> std::io::Result<Self> {
        let writer = Arc::new(Writer::new(sink, settings.queue_max));
        let thread = Arc::clone(&writer);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self {
            recorded: Recorded::default(),
            writer,
            required: settings.required,
            parameters: settings.parameters,
            sql_bytes_max: settings.sql_bytes_max,
            wait_max: settings.wait_max,
        })
    }

    /// Queues a request's record at once. What comes back is ready when it is in the sink, and sees to that when it is
    /// first polled: nothing of the answer may leave before.
    ///
    /// # Errors
    /// [`FaultKind::AuditUnavailable`] when it cannot be written in time; never with
    /// `audit.required = false`, where it does not wait either.
    pub fn record(
        &self,
        record: &AuditRecord<'_>,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        match (record.decision, record.reason) {
            (Decision::Allow, _) => self.recorded.allowed.add(),
            (Decision::Refuse, reason) => self.recorded.refused.add(reason.unwrap_or("other")),
        }
        let queued = self.push(|line| {
            line::request(line, record, self.parameters, self.sql_bytes_max);
        });
        let queued = match (queued, self.required) {
            (Some(ticket), true) => Ok(Some(ticket)),
            (None, true) => Err(unavailable("the queue is full or its writer has ended")),
            (queued, false) => {
                self.count_if_dropped(queued);
                Ok(None)
            }
        };
        let (writer, wait_max) = (Arc::clone(&self.writer), self.wait_max);
        async move {
            let Some(ticket) = queued? else {
                return Ok(());
            };
            see_to(&writer, ticket, wait_max).await
        }
    }

    /// Writes what somebody does to, or asks about, permissions; a change must not take effect before this is `Ok`.
    ///
    /// # Errors
    /// [`FaultKind::AuditUnavailable`] when it cannot be written in time, also with `audit.required = false`: that
    /// is said of requests that read.
    pub fn record_admin(
        &self,
        record: &AdminRecord<'_>,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let queued = self
            .push(|line| admin::admin(line, record))
            .ok_or_else(|| unavailable("the queue is full or its writer has ended"));
        let (writer, wait_max) = (Arc::clone(&self.writer), self.wait_max);
        async move { see_to(&writer, queued?, wait_max).await }
    }

    /// Writes how a request ended; never waits, and counts what it had to drop.
    pub fn outcome(&self, request_id: RequestId, outcome: &Outcome) {
        let queued = self.push(|line| line::outcome(line, request_id, outcome));
        self.count_if_dropped(queued);
    }

    /// Writes that a login was refused; never waits, and counts what it had to drop.
    pub fn login_refused(&self, refused: &LoginRefused<'_>) {
        self.recorded.logins_refused.add(refused.reason);
        let queued = self.push(|line| line::login_refused(line, refused));
        self.count_if_dropped(queued);
    }

    /// What has been recorded since the start.
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Lines that wait to be written, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        (self.writer.queued(), self.writer.queue_max())
    }

    /// Lines that could not be written since the start.
    pub fn lost(&self) -> u64 {
        self.writer.lost().load(Ordering::Relaxed)
    }

    /// Waits until what is queued now has been written, or failed to be.
    pub async fn flush(&self) {
        // Written or not: it was tried, and a failure is in the log.
        let _tried = see_to(&self.writer, self.writer.last(), self.wait_max).await;
    }

    /// Queues a line; `None`: it does not fit.
    fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> Option<Ticket> {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            write(line);
            let ticket = self.writer.push(line);
            line.shrink_to(LINE_KEPT_BYTES);
            ticket
        })
    }

    fn count_if_dropped(&self, queued: Option<Ticket>) {
        if queued.is_none()
            && self
                .writer
                .lost()
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(1_000)
        {
            tracing::error!("the audit queue is full: a line was dropped");
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.writer.close();
    }
}

/// Has a queued line written: here if that can be done at once, else by the thread, within `wait_max`.
async fn see_to(writer: &Writer, ticket: Ticket, wait_max: Duration) -> Result<(), Fault> {
    let mut result = writer.result(ticket);
    if result.is_none() {
        writer.write_here();
        result = writer.result(ticket);
    }
    let result = match result {
        Some(result) => result,
        // On the heap, so that what is waited for seldom takes no room in each request.
        None => match Box::pin(tokio::time::timeout(wait_max, writer.wait(ticket))).await {
            Ok(result) => result,
            Err(_) => return Err(unavailable("the audit was not written in time")),
        },
    };
    result.map_err(|kind| {
        let cause = format!("the audit cannot be written: {kind}");
        Fault::because(FaultKind::AuditUnavailable, cause)
    })
}

fn unavailable(cause: &'static str) -> Fault {
    Fault::because(FaultKind::AuditUnavailable, cause)
}
