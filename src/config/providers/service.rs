//! The address of a service spoken to over HTTP, and TLS towards it.

use crate::config::UpstreamTls;
use crate::config::check::{Check, join};
use crate::config::sections::{is_near, upstream_tls};

/// `https:` is TLS; `http:` is not, and has to be said aloud unless the service is on this machine.
pub(super) fn tls(
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
