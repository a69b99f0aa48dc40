//! The address of an HTTP listener, as each section that has one gives it.

use super::check::{Check, join};
use std::net::SocketAddr;

/// Where the listener is. On an address that others reach it takes TLS, and a name to answer to.
pub(super) fn address(
    check: &mut Check,
    section: &str,
    text: &str,
    hosts: Option<&[String]>,
    tls: bool,
) -> Option<SocketAddr> {
    let Ok(listen) = text.parse::<SocketAddr>() else {
        let says = format!("\"{text}\" is not an address and a port");
        let hint = "Write it as \"127.0.0.1:6433\" or \"[::1]:6433\".";
        check.problem(join(section, "listen"), says, hint);
        return None;
    };
    if !listen.ip().is_loopback() && !tls {
        check.problem(
            join(section, "listen"),
            "is reachable from other machines and [tls] is not set",
            "Set [tls], or listen on 127.0.0.1: tokens and rows must not travel in clear.",
        );
    }
    if listen.ip().is_unspecified() && hosts.is_none_or(<[String]>::is_empty) {
        check.problem(
            join(section, "hosts"),
            format!("names no host, and {section}.listen is every address"),
            "Name the hosts that clients call it by, such as [\"gate.example.com\"].",
        );
    }
    Some(listen)
}
