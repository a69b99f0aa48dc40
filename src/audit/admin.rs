//! What the audit says about the management of permissions: who did or asked what, and a change's before and
//! after. Written before the change takes effect.

use super::line::{Time, line};
use super::{Decision, RequestId};
use serde::Serialize;
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

#[derive(Serialize)]
struct Admin<'a> {
    event: &'static str,
    time: Time,
    request_id: RequestId,
    door: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    login: &'a str,
    user_id: &'a str,
    action: &'static str,
    item: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Value>,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

pub(super) fn admin(record: &AdminRecord<'_>) -> Vec<u8> {
    line(&Admin {
        event: "admin",
        time: Time::now(),
        request_id: record.request_id,
        door: record.door,
        peer: record.peer,
        login: record.login,
        user_id: record.user_id,
        action: record.action,
        item: record.item,
        before: record.before,
        after: record.after,
        decision: record.decision.word(),
        reason: record.reason,
    })
}
