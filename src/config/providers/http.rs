//! `kind = "http"`: address, key, what is where in an answer, and how patient to be.

use super::service::tls;
use crate::config::check::{Check, join};
use crate::config::{ProviderKind, UpstreamTls};
use secrecy::SecretString;
use serde::Deserialize;
use std::time::Duration;
use toml::Table;

/// The `http` provider's settings.
#[derive(Debug, Clone)]
pub struct HttpProvider {
    /// The address up to the path, such as `https://id.example.com/api`.
    pub base: String,
    /// The rest of it, with `{id}` where the user id goes.
    pub path: String,
    /// The bearer key.
    pub key: Option<SecretString>,
    /// TLS towards it.
    pub tls: UpstreamTls,
    /// JSON pointer to the list of permissions; `None`: there is none.
    pub permissions_pointer: Option<String>,
    /// The same for the roles.
    pub roles_pointer: Option<String>,
    /// The same for the object of attributes.
    pub attributes_pointer: Option<String>,
    /// Whether status 404 means a user without anything; otherwise it is a failure as any other status.
    pub not_found_is_nothing: bool,
    /// How long an answer may take, with all retries.
    pub timeout: Duration,
    /// How often to ask again after a failure that may pass.
    pub retries: u32,
    /// Most connections.
    pub connections_max: usize,
    /// Largest body, in bytes.
    pub answer_bytes_max: usize,
    /// After so many failures in a row it is not asked ...
    pub breaker_failures: u32,
    /// ... for so long.
    pub breaker_open: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    base: Option<String>,
    path: Option<String>,
    key: Option<SecretString>,
    tls: Option<String>,
    tls_ca: Option<String>,
    permissions_pointer: Option<String>,
    roles_pointer: Option<String>,
    attributes_pointer: Option<String>,
    not_found: Option<String>,
    timeout_ms: Option<u64>,
    retries: Option<u32>,
    connections_max: Option<usize>,
    answer_bytes_max: Option<usize>,
    breaker_failures: Option<u32>,
    breaker_open_ms: Option<u64>,
}

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
) -> Option<(String, ProviderKind)> {
    let mut raw: Raw = check.section(path, table);
    let key = check.secret(&join(path, "key"), raw.key.take());
    let hint = "Give the service's address, such as \"https://id.example.com/api\".";
    let base = check.required(join(path, "base"), raw.base.take(), hint);
    let tls = base.as_deref().and_then(|base| {
        let (mode, ca) = (raw.tls.as_deref(), raw.tls_ca.as_deref());
        tls(check, path, base, mode, ca)
    });
    let usual = || "/users/{id}/permissions".to_owned();
    let template = raw.path.take().unwrap_or_else(usual);
    if !template.starts_with('/') || template.matches("{id}").count() != 1 || template.contains('#')
    {
        let hint = "Write it as \"/users/{id}/permissions\".";
        check.problem(join(path, "path"), "is not a path with one {id}", hint);
    }
    let [permissions_pointer, roles_pointer, attributes_pointer] = pointers(check, path, &mut raw);
    let not_found_is_nothing = match raw.not_found.as_deref() {
        None | Some("nothing") => true,
        Some("refuse") => false,
        Some(_) => {
            let hint = "Choose \"nothing\" (an unknown user) or \"refuse\".";
            check.problem(join(path, "not_found"), "is not a known word", hint);
            false
        }
    };
    let key_of = |name: &str| join(path, name);
    let timeout = check.within(&key_of("timeout_ms"), raw.timeout_ms, 2_000, 10, 60_000);
    let open = key_of("breaker_open_ms");
    let open = check.within(&open, raw.breaker_open_ms, 1_000, 1, 600_000);
    let failures = key_of("breaker_failures");
    let connections = key_of("connections_max");
    let (bytes, mega) = (key_of("answer_bytes_max"), 1024 * 1024);
    let http = HttpProvider {
        base: base?,
        path: template,
        key,
        tls: tls?,
        permissions_pointer,
        roles_pointer,
        attributes_pointer,
        not_found_is_nothing,
        timeout: Duration::from_millis(timeout),
        retries: check.within(&key_of("retries"), raw.retries, 1, 0, 10),
        connections_max: check.within(&connections, raw.connections_max, 16, 1, 1_000),
        answer_bytes_max: check.within(&bytes, raw.answer_bytes_max, mega, 1, 64 * mega),
        breaker_failures: check.within(&failures, raw.breaker_failures, 5, 1, 1_000_000),
        breaker_open: Duration::from_millis(open),
    };
    let name = raw.name.unwrap_or_else(|| "http".to_owned());
    Some((name, ProviderKind::Http(Box::new(http))))
}

/// Where permissions, roles and attributes are; `None` for "none".
fn pointers(check: &mut Check, path: &str, raw: &mut Raw) -> [Option<String>; 3] {
    let pointers = [
        ("permissions", raw.permissions_pointer.take()),
        ("roles", raw.roles_pointer.take()),
        ("attributes", raw.attributes_pointer.take()),
    ]
    .map(|(name, value)| {
        let value = value.unwrap_or_else(|| format!("/{name}"));
        if !value.is_empty() && !value.starts_with('/') && value != "none" {
            let hint = "Write \"/data/roles\", \"\" for the whole answer, or \"none\".";
            let key = join(path, &format!("{name}_pointer"));
            check.problem(key, "is not a JSON pointer", hint);
        }
        (value != "none").then_some(value)
    });
    if pointers.iter().all(Option::is_none) {
        check.problem(path, "reads nothing", "Leave one of the pointers in.");
    }
    pointers
}
