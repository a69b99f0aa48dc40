//! `kind = "http"`: address, key, what is where in an answer, and how patient to be.

use crate::config::check::{Check, join};
use crate::config::sections::{is_near, upstream_tls};
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
    let raw: Raw = check.section(path, table);
    let key = check.secret(&join(path, "key"), raw.key);
    let hint = "Give the service's address, such as \"https://id.example.com/api\".";
    let base = check.required(join(path, "base"), raw.base, hint);
    let tls = base.as_deref().and_then(|base| {
        let (mode, ca) = (raw.tls.as_deref(), raw.tls_ca.as_deref());
        tls(check, path, base, mode, ca)
    });
    let template = raw
        .path
        .unwrap_or_else(|| "/users/{id}/permissions".to_owned());
    if !template.starts_with('/') || template.matches("{id}").count() != 1 || template.contains('#')
    {
        let hint = "Write it as \"/users/{id}/permissions\".";
        check.problem(join(path, "path"), "is not a path with one {id}", hint);
    }
    let mut pointer = |name: &str, value: Option<String>, default: &str| {
        let value = value.unwrap_or_else(|| default.to_owned());
        if !value.is_empty() && !value.starts_with('/') && value != "none" {
            let hint = "Write \"/data/roles\", \"\" for the whole answer, or \"none\".";
            check.problem(join(path, name), "is not a JSON pointer", hint);
        }
        (value != "none").then_some(value)
    };
    let permissions_pointer = pointer(
        "permissions_pointer",
        raw.permissions_pointer,
        "/permissions",
    );
    let roles_pointer = pointer("roles_pointer", raw.roles_pointer, "/roles");
    let attributes_pointer = pointer("attributes_pointer", raw.attributes_pointer, "/attributes");
    if [&permissions_pointer, &roles_pointer, &attributes_pointer]
        .iter()
        .all(|pointer| pointer.is_none())
    {
        check.problem(path, "reads nothing", "Leave one of the pointers in.");
    }
    let not_found_is_nothing = match raw.not_found.as_deref() {
        None | Some("nothing") => true,
        Some("refuse") => false,
        Some(_) => {
            let hint = "Choose \"nothing\" (an unknown user) or \"refuse\".";
            check.problem(join(path, "not_found"), "is not a known word", hint);
            false
        }
    };
    let mut within = |name: &str, value: Option<u64>, default: u64, min: u64, max: u64| {
        check.within(&join(path, name), value, default, min, max)
    };
    let timeout = within("timeout_ms", raw.timeout_ms, 2_000, 10, 60_000);
    let open = within("breaker_open_ms", raw.breaker_open_ms, 1_000, 1, 600_000);
    let mut within = |name: &str, value: Option<usize>, default: usize, max: usize| {
        check.within(&join(path, name), value, default, 1, max)
    };
    let connections_max = within("connections_max", raw.connections_max, 16, 1_000);
    let answer_bytes_max = within(
        "answer_bytes_max",
        raw.answer_bytes_max,
        1024 * 1024,
        64 * 1024 * 1024,
    );
    let retries = check.within(&join(path, "retries"), raw.retries, 1, 0, 10);
    let key_of = join(path, "breaker_failures");
    let breaker_failures = check.within(&key_of, raw.breaker_failures, 5, 1, 1_000_000);
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
        retries,
        connections_max,
        answer_bytes_max,
        breaker_failures,
        breaker_open: Duration::from_millis(open),
    };
    let name = raw.name.unwrap_or_else(|| "http".to_owned());
    Some((name, ProviderKind::Http(Box::new(http))))
}

/// `https:` is TLS; `http:` is not, and has to be said aloud unless the service is on this machine.
fn tls(
    check: &mut Check,
    path: &str,
    base: &str,
    mode: Option<&str>,
    ca: Option<&str>,
) -> Option<UpstreamTls> {
    let key = join(path, "base");
    let (secure, rest) = match (base.strip_prefix("https://"), base.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => {
            let hint = "It begins with https:// or http://.";
            check.problem(key, "is not an address", hint);
            return None;
        }
    };
    if rest.contains(['@', '?', '#', '\\']) || rest.starts_with(['/', ':']) || rest.is_empty() {
        let hint = "Host, port and path alone; the key has a key of its own.";
        check.problem(key, "is not the address of a service", hint);
        return None;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    };
    if secure {
        if mode == Some("off") {
            let says = "is \"off\", but base begins with https://";
            check.problem(join(path, "tls"), says, "Leave it out.");
        }
        return Some(upstream_tls(check, path, "", Some("verify"), ca));
    }
    if mode != Some("off") && !is_near(host.unwrap_or_default()) {
        let says = "begins with http://: key and answers would travel in clear";
        check.problem(key, says, "Use https://, or say tls = \"off\".");
    }
    Some(UpstreamTls::Off)
}
