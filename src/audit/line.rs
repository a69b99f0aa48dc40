//! A record as one JSON line.

use super::{AuditRecord, AuditedPrincipal, LoginRefused, Outcome, RequestId};
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// A usual line fits.
const LINE_BYTES: usize = 768;
/// What is kept of a name the client sent.
const NAME_BYTES_MAX: usize = 256;
/// Most roles, and bytes of their names (and again of their sources), in one line.
const ROLES_MAX: usize = 100;
const ROLE_BYTES_MAX: usize = 16 * 1_024;

/// The line written before the first row leaves.
pub(super) fn request(
    line: &mut Vec<u8>,
    record: &AuditRecord<'_>,
    parameters: bool,
    sql_bytes_max: usize,
) {
    let sql = without_token(record.sql);
    let kept = cut(&sql, sql_bytes_max);
    let mut line = Line::start(line, "request", record.request_id);
    line.members(record.session.bytes());
    if let Some(operation) = record.operation {
        line.text("operation", operation);
    }
    line.members(record.principal.bytes());
    line.text("sql", kept);
    // Length and hash of the whole text, where it had to be cut.
    if kept.len() < sql.len() {
        line.number("sql_bytes", sql.len() as u64);
        line.text("sql_sha256", &sha256(&sql));
    }
    if let Some(query) = record.query {
        line.members(query);
    }
    line.number("policy_version", record.policy_version);
    line.plain("decision", record.decision.word());
    if let Some(reason) = record.reason {
        line.text("reason", reason);
    }
    if parameters {
        line.value("parameters", &record.parameters);
    }
    line.end();
}

/// The roles, and which provider gave each of them or which role it was inherited from; where there are more than fit a
/// line, how many there are.
fn roles(line: &mut Line<'_>, principal: &AuditedPrincipal<'_>) {
    let mut bytes = ROLE_BYTES_MAX;
    let roles = principal.roles.iter().copied();
    let kept = roles.take_while(|role| fits(&mut bytes, role.len()));
    let kept = kept.take(ROLES_MAX);
    let kept: Vec<&str> = kept.collect();
    line.texts("roles", kept.iter().copied());
    let all = principal.roles.len();
    if kept.len() < all {
        line.number("roles_total", all as u64);
    }
    if let Some(sources) = principal.role_sources.filter(|sources| !sources.is_empty()) {
        let mut bytes = ROLE_BYTES_MAX;
        let kept = sources.iter().take(ROLES_MAX).take_while(|(role, from)| {
            let from: usize = from.iter().map(String::len).sum();
            fits(&mut bytes, role.len() + from)
        });
        let kept: BTreeMap<_, _> = kept.collect();
        line.value("role_sources", &kept);
        if kept.len() < sources.len() {
            line.number("role_sources_total", sources.len() as u64);
        }
    }
}

/// Takes so much from what is left, if there is so much.
fn fits(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    rest.is_some()
}

pub(super) fn session(
    line: &mut Line<'_>,
    number: u64,
    peer: Option<&str>,
    application_name: Option<&str>,
) {
    line.number("session", number);
    if let Some(peer) = peer {
        line.text("peer", peer);
    }
    if let Some(name) = application_name {
        line.text("application_name", cut(name, NAME_BYTES_MAX));
    }
}

pub(super) fn principal(line: &mut Line<'_>, principal: &AuditedPrincipal<'_>) {
    line.text("login", principal.login);
    line.text("user_id", principal.user_id);
    roles(line, principal);
    if principal.superuser {
        line.raw("superuser", "true");
    }
}

pub(super) fn query(line: &mut Line<'_>, sha256: &str, tables: &[String], form: &'static str) {
    line.text("final_sql_sha256", sha256);
    line.texts("tables", tables.iter().map(String::as_str));
    line.text("form", form);
}

/// The line of a login that was refused.
pub(super) fn login_refused(line: &mut Vec<u8>, refused: &LoginRefused<'_>) {
    let mut line = Line::start(line, "login", refused.request_id);
    line.text("peer", refused.peer);
    let sent = [
        ("application_name", refused.application_name),
        ("login", Some(refused.login)),
        ("user_id", refused.user_id),
        ("database", refused.database),
    ];
    for (name, value) in sent {
        if let Some(value) = value {
            line.text(name, cut(value, NAME_BYTES_MAX));
        }
    }
    line.text("decision", "refuse");
    line.text("reason", refused.reason);
    line.end();
}

/// The line written when a request has ended.
pub(super) fn outcome(line: &mut Vec<u8>, request_id: RequestId, outcome: &Outcome) {
    let mut line = Line::start(line, "outcome", request_id);
    line.number("rows", outcome.rows);
    line.number("bytes", outcome.bytes);
    // Milliseconds, with microseconds behind the point.
    let micros = outcome.duration.as_micros();
    line.name("duration_ms");
    line.digits(u64::try_from(micros / 1_000).unwrap_or(u64::MAX));
    line.out.push(b'.');
    line.padded((micros % 1_000) as u64, 100);
    if let Some(sqlstate) = &outcome.sqlstate {
        line.text("sqlstate", sqlstate);
    }
    line.end();
}

/// One JSON object in one line. Written by hand, because there are two of them for each request, and most of it
/// is numbers and names that need no formatting.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Line<'a> {
    pub(super) fn start(out: &'a mut Vec<u8>, event: &str, request_id: RequestId) -> Self {
        out.reserve(LINE_BYTES);
        out.extend_from_slice(b"{\"event\":\"");
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"\",\"time\":\"");
        out.extend_from_slice(&now());
        out.extend_from_slice(b"\",\"request_id\":\"");
        request_id.write(out);
        out.push(b'"');
        Self { out }
    }

    /// A line under way, of which only members are written.
    pub(super) fn inside(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// One of our own names: nothing in it needs escaping.
    #[inline]
    fn name(&mut self, name: &'static str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn members(&mut self, members: &[u8]) {
        self.out.extend_from_slice(members);
    }

    /// A text in which nothing needs escaping.
    #[inline]
    fn plain(&mut self, name: &'static str, word: &str) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    fn raw(&mut self, name: &'static str, value: &'static str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }

    #[inline]
    fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.digits(value);
    }

    fn digits(&mut self, value: u64) {
        let mut buffer = itoa::Buffer::new();
        self.out.extend_from_slice(buffer.format(value).as_bytes());
    }

    /// With zeros in front: as many digits as `unit` has.
    fn padded(&mut self, value: u64, mut unit: u64) {
        while unit > 1 && value < unit {
            self.out.push(b'0');
            unit /= 10;
        }
        self.digits(value);
    }

    #[inline]
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        // As a rule nothing in it needs escaping (RFC 8259, section 7), which is quicker to see than to do.
        let escaped = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
        if value
            .as_bytes()
            .iter()
            .map(escaped)
            .fold(false, |any, one| any | one)
        {
            self.value(name, value);
        } else {
            self.plain(name, value);
        }
    }

    fn texts<'t>(&mut self, name: &'static str, values: impl Iterator<Item = &'t str>) {
        self.name(name);
        self.out.push(b'[');
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.json(value);
        }
        self.out.push(b']');
    }

    #[inline]
    pub(super) fn value(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        self.name(name);
        self.json(value);
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) {
        // Strings and lists of them: serialization cannot fail, and JSON escapes line ends.
        let _never_fails = serde_json::to_writer(&mut *self.out, value);
    }
}

/// This moment, UTC, as RFC 3339 writes it: `2026-01-31T23:59:59.999Z`.
fn now() -> [u8; 24] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let mut text = second(now.as_secs());
    let [.., hundreds, tens, ones, _] = &mut text;
    let mut rest = now.subsec_millis();
    for place in [ones, tens, hundreds] {
        let [digit, ..] = (rest % 10).to_le_bytes();
        *place = b'0' + digit;
        rest /= 10;
    }
    text
}

/// `2026-01-31T23:59:59.000Z` of a number of seconds since 1970. The same as last time, as a rule.
fn second(unix: u64) -> [u8; 24] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, [b'-'; 24])) };
    }
    let (known, text) = LAST.get();
    if known == unix {
        return text;
    }
    let mut text = [b'-'; 24];
    let time = i64::try_from(unix)
        .ok()
        .and_then(|unix| Timestamp::from_second(unix).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    // Exactly so long up to the year 9999, which is where the type ends.
    let _fits = write!(text.as_mut_slice(), "{time:.3}");
    LAST.set((unix, text));
    text
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
    let Some(mut start) = token(sql) else {
        return sql.into();
    };
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    loop {
        let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let (before, after) = rest.split_at(start);
        text.push_str(before);
        text.push_str("...");
        rest = after.trim_start_matches(of_token);
        match token(rest) {
            Some(next) => start = next,
            None => break,
        }
    }
    text.push_str(rest);
    text.into()
}

/// Where the next token starts. Looks at each `=`, which costs less than getting ready to look for the whole mark.
fn token(sql: &str) -> Option<usize> {
    let mut signs = memchr::memchr_iter(b'=', sql.as_bytes());
    let at = signs.find(|at| {
        sql.get(..*at)
            .is_some_and(|before| before.ends_with("rowgate.token"))
    });
    at.map(|at| at + 1)
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
