//! `[http]`: queries over HTTP.

use super::check::Check;
use super::listener;
use serde::Deserialize;
use std::net::SocketAddr;
use toml::Table;

/// The query listener.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it is.
    pub listen: SocketAddr,
    /// Host names it answers to, beside its own address.
    pub hosts: Vec<String>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Most rows of an answer in JSON.
    pub json_rows_max: u64,
    /// Most bytes of rows, as the database sends them, of an answer in JSON.
    pub json_bytes_max: u64,
}

pub(super) fn http(check: &mut Check, top: &mut Table, tls: bool) -> Option<Http> {
    let section = check.table(top, "", "http")?;
    let raw: RawHttp = check.section("http", section);
    let hint = "Give an address, such as \"127.0.0.1:6434\".";
    let listen = check.required("http.listen", raw.listen, hint);
    let listen =
        listen.and_then(|text| listener::address(check, "http", &text, raw.hosts.as_deref(), tls));
    let connections = raw.connections_max;
    let connections_max = check.within("http.connections_max", connections, 256, 1, 100_000);
    let body = raw.body_bytes_max;
    let body_bytes_max = check.within("http.body_bytes_max", body, 1_048_576, 256, 67_108_864);
    let rows = raw.json_rows_max;
    let json_rows_max = check.within("http.json_rows_max", rows, 10_000, 1, 10_000_000);
    let bytes = raw.json_bytes_max;
    let json_bytes_max = check.within("http.json_bytes_max", bytes, 8_388_608, 1_024, 268_435_456);
    Some(Http {
        listen: listen?,
        hosts: raw.hosts.unwrap_or_default(),
        connections_max,
        body_bytes_max,
        json_rows_max,
        json_bytes_max,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttp {
    listen: Option<String>,
    hosts: Option<Vec<String>>,
    connections_max: Option<usize>,
    body_bytes_max: Option<usize>,
    json_rows_max: Option<u64>,
    json_bytes_max: Option<u64>,
}
