//! What the audit says about the management of permissions: who did or asked what, and a change's before and
//! after. Written before the change takes effect.

use super::line::Line;
use super::{Decision, RequestId};
use serde_json::Value;
use std::net::SocketAddr;

/// One request to the commands or to the admin listener.
#[derive(Debug, Clone)]
pub struct AdminRecord<'a> {
    /// Shared with the [`super::Outcome`], if there is one.
    pub request_id: RequestId,
    /// `command` or `http`.
    pub door: &'static str,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// Who opened the connection; `operator` for a command.
    pub login: &'a str,
    /// Who it is.
    pub user_id: &'a str,
    /// `grant`, `revoke`, `list` or `me`.
    pub action: &'static str,
    /// What it is about, such as `{"user": "bob", "role": "editor"}`.
    pub item: &'a Value,
    /// The rows that granted it before: each with its end, `{"until": null}` where it has none.
    pub before: Option<&'a Value>,
    /// The rows that will grant it.
    pub after: Option<&'a Value>,
    /// Allow or refuse.
    pub decision: Decision,
    /// The slug of the reason; `None` when allowed.
    pub reason: Option<&'a str>,
}

pub(super) fn admin(line: &mut Vec<u8>, record: &AdminRecord<'_>) {
    let mut line = Line::start(line, "admin", record.request_id);
    line.text("door", record.door);
    if let Some(peer) = record.peer {
        line.value("peer", &peer);
    }
    line.text("login", record.login);
    line.text("user_id", record.user_id);
    line.text("action", record.action);
    line.value("item", record.item);
    if let Some(before) = record.before {
        line.value("before", before);
    }
    if let Some(after) = record.after {
        line.value("after", after);
    }
    line.text("decision", record.decision.word());
    if let Some(reason) = record.reason {
        line.text("reason", reason);
    }
    line.end();
}
