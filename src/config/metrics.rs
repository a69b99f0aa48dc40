//! `[metrics]`: what the gate counts, for whoever runs it.

use super::check::Check;
use super::listener;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::net::SocketAddr;
use toml::Table;

/// Shortest token of a scraper.
const TOKEN_BYTES_MIN: usize = 16;

/// The metrics listener.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Where it is.
    pub listen: SocketAddr,
    /// Host names it answers to, beside its own address.
    pub hosts: Vec<String>,
    /// Most connections at once.
    pub connections_max: usize,
    /// What a scraper has to show as `Authorization: Bearer`, if anything.
    pub token: Option<SecretString>,
}

pub(super) fn metrics(check: &mut Check, top: &mut Table, tls: bool) -> Option<Metrics> {
    let section = check.table(top, "", "metrics")?;
    let raw: RawMetrics = check.section("metrics", section);
    let hint = "Give an address, such as \"127.0.0.1:6435\".";
    let listen = check.required("metrics.listen", raw.listen, hint);
    let listen = listen
        .and_then(|text| listener::address(check, "metrics", &text, raw.hosts.as_deref(), tls));
    let connections = raw.connections_max;
    let connections_max = check.within("metrics.connections_max", connections, 16, 1, 10_000);
    let token = check.secret("metrics.token", raw.token);
    if let Some(token) = &token
        && token.expose_secret().len() < TOKEN_BYTES_MIN
    {
        check.problem(
            "metrics.token",
            format!("is shorter than {TOKEN_BYTES_MIN} bytes"),
            "Make one with `openssl rand -hex 32`.",
        );
    }
    Some(Metrics {
        listen: listen?,
        hosts: raw.hosts.unwrap_or_default(),
        connections_max,
        token,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawMetrics {
    listen: Option<String>,
    hosts: Option<Vec<String>>,
    connections_max: Option<usize>,
    token: Option<SecretString>,
}
