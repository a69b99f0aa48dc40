//! What the audit says about a request: one [`AuditRecord`] before its first row, one [`Outcome`] after.

use super::line::{self, Line};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Names one request, in the audit, the log and what the caller is told about a fault: unique within the process, and
/// across processes as far as 64 random bits, which all of one process have in common, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    number: u64,
}

/// The process's part of a [`RequestId`], in hexadecimal.
static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:016x}", rand::random::<u64>()));

impl RequestId {
    /// The next one.
    pub fn next() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", *PROCESS, self.number)
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
        out.extend_from_slice(PROCESS.as_bytes());
        out.push(b'-');
        let (mut digits, mut rest) = ([b'0'; 16], self.number);
        let mut first = digits.len();
        for digit in digits.iter_mut().rev() {
            let [low, ..] = (rest & 0xf).to_le_bytes();
            *digit = if low < 10 {
                b'0' + low
            } else {
                b'a' - 10 + low
            };
            first -= 1;
            rest >>= 4;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(digits.get(first..).unwrap_or_default());
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

/// Some members of a line that are the same for many requests, as they stand in it; made once and kept by whoever
/// asks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members(Arc<[u8]>);

impl Members {
    /// Of a session: its number in this process, the client's address, and the client's own word for itself.
    pub fn session(number: u64, peer: Option<&str>, application_name: Option<&str>) -> Self {
        Self::of(|line| line::session(line, number, peer, application_name))
    }

    /// Of who opened the connection (`login`), and whose rows are asked for.
    pub fn principal(principal: &AuditedPrincipal<'_>) -> Self {
        Self::of(|line| line::principal(line, principal))
    }

    /// Of what will be run: the final text's SHA-256 in hexadecimal, the tables it reads (`schema.name`), and its form
    /// (`sealed`, `open` or `inline`).
    pub fn query(final_sql_sha256: &str, tables: &[String], form: &'static str) -> Self {
        Self::of(|line| line::query(line, final_sql_sha256, tables, form))
    }

    /// To be kept where this type is not known.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0
    }

    fn of(write: impl FnOnce(&mut Line<'_>)) -> Self {
        let mut bytes = Vec::new();
        write(&mut Line::inside(&mut bytes));
        Self(bytes.into())
    }
}

/// Who a request is recorded for.
#[derive(Debug, Clone)]
pub struct AuditedPrincipal<'a> {
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
}

/// One request, written before its first row leaves.
#[derive(Debug, Clone)]
pub struct AuditRecord<'a> {
    /// Shared with the [`Outcome`].
    pub request_id: RequestId,
    /// [`Members::session`].
    pub session: &'a Members,
    /// [`Members::principal`].
    pub principal: &'a Members,
    /// What was asked for, if not rows: `explain` or `schema`.
    pub operation: Option<&'static str>,
    /// The caller's text, whole; the log cuts what is longer than its bound and keeps length and hash.
    pub sql: &'a str,
    /// The bytes of [`Members::query`], if something will be run.
    pub query: Option<&'a [u8]>,
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
        for number in [0, 1, 0xf, 0x10, 0xabc, 1 << 60, u64::MAX] {
            let id = RequestId { number };
            let mut written = Vec::new();
            id.write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), id.to_string());
        }
    }
}
