//! `kind = "keto"`: an Ory Keto server's read API.

use super::service::tls;
use crate::config::check::{Check, join};
use crate::config::{ProviderKind, UpstreamTls};
use crate::tuples::{Pair, Tuples};
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use toml::Table;

/// The `keto` provider's settings.
#[derive(Debug, Clone)]
pub struct KetoProvider {
    /// The read API's address, such as `http://127.0.0.1:4466`.
    pub base: String,
    /// A bearer key, where something in front of Keto asks for one.
    pub key: Option<SecretString>,
    /// TLS towards it.
    pub tls: UpstreamTls,
    /// The rules; from `[tuples]`.
    pub tuples: Arc<Tuples>,
    /// Objects of this type and relation are the user's roles.
    pub roles: Option<Pair>,
    /// The same for permissions.
    pub permissions: Option<Pair>,
    /// How users stand in tuples.
    pub users: KetoUsers,
    /// What has to agree with what the walk found.
    pub confirm: KetoConfirm,
    /// How long an answer may take, with all its requests.
    pub timeout: Duration,
    /// Most requests for one answer.
    pub requests_max: u32,
}

/// How users stand in Keto's tuples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KetoUsers {
    /// `subject_id`.
    Id,
    /// A `subject_set` of the user's namespace, with an empty relation.
    Set,
}

/// What has to agree, for each object, before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KetoConfirm {
    /// `check`: Keto's own decision, with the rules Keto has.
    Check,
    /// `expand`: the user is among the subjects of the object's relation itself, whatever the rules.
    Expand,
    /// Nothing: the tuples and the rules of `[tuples]` decide.
    Nothing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    base: Option<String>,
    key: Option<SecretString>,
    tls: Option<String>,
    tls_ca: Option<String>,
    roles: Option<String>,
    permissions: Option<String>,
    users: Option<String>,
    confirm: Option<String>,
    timeout_ms: Option<u64>,
    requests_max: Option<u32>,
}

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
    tuples: Option<&Arc<Tuples>>,
) -> Option<(String, ProviderKind)> {
    let raw: Raw = check.section(path, table);
    let key = check.secret(&join(path, "key"), raw.key);
    let hint = "Give the read API's address, such as \"http://127.0.0.1:4466\".";
    let base = check.required(join(path, "base"), raw.base, hint);
    let tls = base.as_deref().and_then(|base| {
        let (mode, ca) = (raw.tls.as_deref(), raw.tls_ca.as_deref());
        tls(check, path, base, mode, ca)
    });
    if tuples.is_none() {
        let hint =
            "Declare [tuples.namespaces...]: they say which way to go from the user to an object.";
        check.problem(path, "needs [tuples]", hint);
    }
    let mut pair = |key: &str, text: Option<String>| -> Option<Pair> {
        let text = text?;
        let pair = text
            .split_once('#')
            .map(|(namespace, relation)| Pair::new(namespace, relation))
            .filter(|pair| tuples.is_some_and(|tuples| tuples.namespaces.has(pair)));
        if pair.is_none() {
            let says = format!("\"{text}\" is not a relation that [tuples] declares");
            check.problem(join(path, key), says, "Write it as \"role#member\".");
        }
        pair
    };
    let roles = pair("roles", raw.roles);
    let permissions = pair("permissions", raw.permissions);
    let users = match raw.users.as_deref() {
        None | Some("id") => KetoUsers::Id,
        Some("set") => KetoUsers::Set,
        Some(_) => {
            let hint = "Choose \"id\" (subject_id) or \"set\" (subject_set).";
            check.problem(join(path, "users"), "is not a known word", hint);
            KetoUsers::Id
        }
    };
    let confirm = match raw.confirm.as_deref() {
        None | Some("check") => KetoConfirm::Check,
        Some("expand") => KetoConfirm::Expand,
        Some("nothing") => KetoConfirm::Nothing,
        Some(_) => {
            let hint = "Choose \"check\", \"expand\" or \"nothing\".";
            check.problem(join(path, "confirm"), "is not a known word", hint);
            KetoConfirm::Check
        }
    };
    let timeout = check.within(&join(path, "timeout_ms"), raw.timeout_ms, 2_000, 10, 60_000);
    let requests = join(path, "requests_max");
    let requests_max = check.within(&requests, raw.requests_max, 1_000, 1, 100_000);
    let keto = KetoProvider {
        base: base?,
        key,
        tls: tls?,
        tuples: Arc::clone(tuples?),
        roles,
        permissions,
        users,
        confirm,
        timeout: Duration::from_millis(timeout),
        requests_max,
    };
    let name = raw.name.unwrap_or_else(|| "keto".to_owned());
    Some((name, ProviderKind::Keto(Box::new(keto))))
}
