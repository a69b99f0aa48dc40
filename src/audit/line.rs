//! A record as one JSON line.

use super::{AuditRecord, Outcome, RequestId};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use time::OffsetDateTime;

/// A usual line fits.
const LINE_BYTES: usize = 768;

#[derive(Serialize)]
struct Request<'a> {
    event: &'static str,
    time: Time,
    request_id: RequestId,
    session: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_name: Option<&'a str>,
    login: &'a str,
    user_id: &'a str,
    roles: &'a [&'a str],
    /// Which provider gave each role, or which role it was inherited from.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_sources: Option<&'a BTreeMap<String, BTreeSet<String>>>,
    #[serde(skip_serializing_if = "is_false")]
    superuser: bool,
    sql: &'a str,
    /// Length and hash of the whole text, where `sql` had to be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    sql_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_sql_sha256: Option<&'a str>,
    tables: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<&'static str>,
    policy_version: u64,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a [Option<String>]>,
}

#[derive(Serialize)]
struct End<'a> {
    event: &'static str,
    time: Time,
    request_id: RequestId,
    rows: u64,
    bytes: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'a str>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// The line written before the first row leaves.
pub(super) fn request(record: &AuditRecord<'_>, parameters: bool, sql_bytes_max: usize) -> Vec<u8> {
    let sql = without_token(record.sql);
    let kept = cut(&sql, sql_bytes_max);
    let was_cut = kept.len() < sql.len();
    line(&Request {
        event: "request",
        time: Time::now(),
        request_id: record.request_id,
        session: record.session,
        peer: record.peer,
        application_name: record.application_name.map(|name| cut(name, 256)),
        login: record.login,
        user_id: record.user_id,
        roles: &record.roles,
        role_sources: record.role_sources.filter(|sources| !sources.is_empty()),
        superuser: record.superuser,
        sql: kept,
        sql_bytes: was_cut.then_some(sql.len()),
        sql_sha256: was_cut.then(|| sha256(&sql)),
        final_sql_sha256: record.final_sql_sha256,
        tables: record.tables,
        form: record.form,
        policy_version: record.policy_version,
        decision: record.decision.word(),
        reason: record.reason,
        parameters: parameters.then_some(record.parameters),
    })
}

/// The line written when a request has ended.
pub(super) fn outcome(request_id: RequestId, outcome: &Outcome) -> Vec<u8> {
    line(&End {
        event: "outcome",
        time: Time::now(),
        request_id,
        rows: outcome.rows,
        bytes: outcome.bytes,
        duration_ms: (outcome.duration.as_secs_f64() * 1e6).round() / 1e3,
        sqlstate: outcome.sqlstate.as_deref(),
    })
}

pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and lists of them: serialization cannot fail, and JSON escapes line ends.
    let mut line = Vec::with_capacity(LINE_BYTES);
    let _never_fails = serde_json::to_writer(&mut line, value);
    line.push(b'\n');
    line
}

/// A moment, UTC, as RFC 3339 writes it, with milliseconds.
pub(super) struct Time(OffsetDateTime);

impl Time {
    pub(super) fn now() -> Self {
        Self(OffsetDateTime::now_utc())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (year, month, day) = self.0.to_calendar_date();
        let (hour, minute, second, milli) = self.0.to_hms_milli();
        let month = u8::from(month);
        serializer.collect_str(&format_args!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        ))
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.split_at(end).0
}

/// A statement token is a credential while it lives: it is replaced before anything is kept.
fn without_token(sql: &str) -> std::borrow::Cow<'_, str> {
    const MARK: &str = "rowgate.token=";
    let Some(start) = sql.find(MARK) else {
        return sql.into();
    };
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    let mut at = Some(start);
    while let Some(start) = at {
        let (before, after) = rest.split_at(start + MARK.len());
        let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        text.push_str(before);
        text.push_str("...");
        rest = after.trim_start_matches(of_token);
        at = rest.find(MARK);
    }
    text.push_str(rest);
    text.into()
}

fn sha256(text: &str) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ok = write!(hex, "{byte:02x}");
    }
    hex
}
