//! What the audit says about a request: one [`AuditRecord`] before its first row, one [`Outcome`] after.

use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Names one request, in the audit, the log and what the caller is told about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    process: u64,
    number: u64,
}

impl RequestId {
    /// The next one: unique within the process, and across processes as far as 64 random bits are.
    pub fn next() -> Self {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self {
            process: *PROCESS.get_or_init(rand::random),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.process, self.number)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl RequestId {
    /// As [`fmt::Display`], without its machinery: it is written twice for each request.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let digits = |number: u64| (u64::BITS - (number | 1).leading_zeros()).div_ceil(4);
        hexadecimal(out, self.process, 16);
        out.push(b'-');
        hexadecimal(out, self.number, digits(self.number));
    }
}

fn hexadecimal(out: &mut Vec<u8>, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = u8::try_from((number >> (4 * place)) & 0xf).unwrap_or(0);
        out.push(if digit < 10 {
            b'0' + digit
        } else {
            b'a' - 10 + digit
        });
    }
}

/// Whether the request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It was run.
    Allow,
    /// It was refused by rule ([`crate::error::Reason`]), or failed on our side before it ran.
    Refuse,
}

impl Decision {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

/// One request, written before its first row leaves.
#[derive(Debug, Clone)]
pub struct AuditRecord<'a> {
    /// Shared with the [`Outcome`].
    pub request_id: RequestId,
    /// The session's number in this process.
    pub session: u64,
    /// The client's address.
    pub peer: Option<&'a str>,
    /// The client's own word for itself.
    pub application_name: Option<&'a str>,
    /// What was asked for, if not rows: `explain` or `schema`.
    pub operation: Option<&'static str>,
    /// Who opened the connection.
    pub login: &'a str,
    /// Whose rows.
    pub user_id: &'a str,
    /// Role names; empty when the request failed before they were known.
    pub roles: Vec<&'a str>,
    /// Each role with who gave it; `None` when the request failed before that was known.
    pub role_sources: Option<&'a BTreeMap<String, BTreeSet<String>>>,
    /// Whether the principal is a superuser.
    pub superuser: bool,
    /// The caller's text, whole; the log cuts what is longer than its bound and keeps length and hash.
    pub sql: &'a str,
    /// The final text's SHA-256, hexadecimal.
    pub final_sql_sha256: Option<&'a str>,
    /// The tables read, `schema.name`.
    pub tables: &'a [String],
    /// `sealed`, `open` or `inline`.
    pub form: Option<&'static str>,
    /// The policy's version.
    pub policy_version: u64,
    /// Allow or refuse.
    pub decision: Decision,
    /// The slug of the reason or fault; `None` when allowed.
    pub reason: Option<&'static str>,
    /// The parameters' text forms; written only if `audit.parameters = true`.
    pub parameters: &'a [Option<String>],
}

/// A login that was refused: who, from where, and why; never what was shown as proof.
#[derive(Debug, Clone)]
pub struct LoginRefused<'a> {
    /// Names the attempt.
    pub request_id: RequestId,
    /// The client's address.
    pub peer: &'a str,
    /// The client's own word for itself.
    pub application_name: Option<&'a str>,
    /// The user name as it was sent; nothing of it is proved.
    pub login: &'a str,
    /// The end user it wanted to act for, if it named one beside.
    pub user_id: Option<&'a str>,
    /// The database as it was sent.
    pub database: Option<&'a str>,
    /// The slug of the reason.
    pub reason: &'static str,
}

/// How a request ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows sent.
    pub rows: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// From the request's arrival to its end.
    pub duration: Duration,
    /// From its arrival to the first row from the database; for the metrics.
    pub first_row: Option<Duration>,
    /// The error's SQLSTATE, if it ended with one.
    pub sqlstate: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_is_displayed() {
        for (process, number) in [(0, 1), (0xab, 0xf), (u64::MAX, 0x10), (1 << 60, u64::MAX)] {
            let id = RequestId { process, number };
            let mut written = Vec::new();
            id.write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), id.to_string());
        }
    }
}
