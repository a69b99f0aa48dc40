//! The audit: one JSON line per request, written before its first row leaves; if it cannot be
//! written, the request is refused.
//!
//! A bounded queue and one thread that writes: what has queued up meanwhile goes out in one write. A
//! renamed or removed file is noticed before the next write and opened anew.

mod line;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{AuditRecord, Decision, Outcome, RequestId};

use crate::error::{Fault, FaultKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use writer::{Entry, Sink};

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

/// The audit log: a bounded queue and one thread that writes.
pub struct AuditLog {
    queue: mpsc::Sender<Entry>,
    required: bool,
    parameters: bool,
    sql_bytes_max: usize,
    wait_max: Duration,
    /// Lines that could not be written or did not fit the queue.
    lost: Arc<AtomicU64>,
}

impl AuditLog {
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

    fn with_sink(settings: AuditSettings, sink: Sink) -> std::io::Result<Self> {
        let (queue, entries) = mpsc::channel(settings.queue_max.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer::run(sink, entries, &counter))?;
        Ok(Self {
            queue,
            required: settings.required,
            parameters: settings.parameters,
            sql_bytes_max: settings.sql_bytes_max,
            wait_max: settings.wait_max,
            lost,
        })
    }

    /// Writes a request's record; returns when it is in the sink.
    ///
    /// # Errors
    /// [`FaultKind::AuditUnavailable`] when it cannot be written in time; never with
    /// `audit.required = false`, where it does not wait either.
    pub async fn record(&self, record: AuditRecord) -> Result<(), Fault> {
        let line = line::request(&record, self.parameters, self.sql_bytes_max);
        if !self.required {
            self.send_and_forget(line);
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        self.queue
            .try_send(Entry {
                line,
                done: Some(done),
            })
            .map_err(|_| unavailable("the queue is full or its writer has ended"))?;
        match tokio::time::timeout(self.wait_max, written).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(kind))) => Err(Fault::because(
                FaultKind::AuditUnavailable,
                format!("the audit cannot be written: {kind}"),
            )),
            Ok(Err(_)) => Err(unavailable("the audit's writer has ended")),
            Err(_) => Err(unavailable("the audit was not written in time")),
        }
    }

    /// Writes how a request ended; never waits, and counts what it had to drop.
    pub fn outcome(&self, request_id: RequestId, outcome: Outcome) {
        self.send_and_forget(line::outcome(request_id, &outcome));
    }

    /// Lines that could not be written since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what is queued now has been written, or failed to be.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let entry = Entry {
            line: Vec::new(),
            done: Some(done),
        };
        let flushed = async {
            if self.queue.send(entry).await.is_ok() {
                let _result = written.await;
            }
        };
        let _in_time = tokio::time::timeout(self.wait_max, flushed).await;
    }

    fn send_and_forget(&self, line: Vec<u8>) {
        if self.queue.try_send(Entry { line, done: None }).is_err()
            && self
                .lost
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(1_000)
        {
            tracing::error!("the audit queue is full: a line was dropped");
        }
    }
}

fn unavailable(cause: &'static str) -> Fault {
    Fault::because(FaultKind::AuditUnavailable, cause)
}
