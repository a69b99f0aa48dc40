//! The audit: one JSON line per request, written before its first row leaves; if it cannot be
//! written, the request is refused.

mod record;

pub use record::{AuditRecord, Decision, Outcome, RequestId};

use crate::error::Fault;

/// The audit log: a bounded queue and one task that writes.
pub struct AuditLog {}

impl AuditLog {
    /// Writes a request's record; returns when it is in the sink.
    ///
    /// # Errors
    /// [`crate::error::FaultKind::AuditUnavailable`] when it cannot be written in time.
    pub async fn record(&self, _record: AuditRecord) -> Result<(), Fault> {
        Ok(())
    }

    /// Writes how a request ended; never waits, and counts what it had to drop.
    pub fn outcome(&self, _request_id: RequestId, _outcome: Outcome) {}
}
