//! A login of its own to a database, wherever one is configured: `[admin]`, `[tags]`, a provider of kind `sql`.

use super::check::{Check, join};
use super::sections::upstream_tls;
use super::{Upstream, UpstreamTls};
use secrecy::SecretString;
use serde::Deserialize;
use std::time::Duration;
use toml::Table;

/// A login of its own to a database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Host, port, database, TLS: those of `[upstream]` unless given.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// The login.
    pub user: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// TLS towards it.
    pub tls: UpstreamTls,
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
}

/// The keys as written, taken out of their section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    tls: Option<String>,
    tls_ca: Option<String>,
    timeout_ms: Option<u64>,
}

/// What [`Raw`] reads.
pub(super) const KEYS: &[&str] = &[
    "host",
    "port",
    "database",
    "user",
    "password",
    "tls",
    "tls_ca",
    "timeout_ms",
];

/// Takes the keys out of a section.
pub(super) fn take(check: &mut Check, path: &str, section: &mut Table) -> Raw {
    let own = KEYS.iter().filter_map(|key| section.remove_entry(*key));
    let own = own.collect();
    check.section(path, own)
}

impl Raw {
    /// Checks them; `user_hint` says what the login is for, `timeout_ms` is the usual bound.
    pub(super) fn check(
        self,
        check: &mut Check,
        path: &str,
        upstream: Option<&Upstream>,
        (user_hint, timeout_ms): (&str, u64),
    ) -> Option<Database> {
        let user = check.required(join(path, "user"), self.user, user_hint);
        let password = check.secret(&join(path, "password"), self.password);
        let key = join(path, "timeout_ms");
        let timeout = check.within(&key, self.timeout_ms, timeout_ms, 10, 60_000);
        let upstream = upstream?;
        let own = self.host.is_some() || self.tls.is_some() || self.tls_ca.is_some();
        let host = self.host.unwrap_or_else(|| upstream.host.clone());
        let tls = match own {
            false => upstream.tls.clone(),
            true => {
                let (tls, ca) = (self.tls.as_deref(), self.tls_ca.as_deref());
                upstream_tls(check, path, &host, tls, ca)
            }
        };
        Some(Database {
            host,
            port: self.port.unwrap_or(upstream.port),
            database: self.database.unwrap_or_else(|| upstream.database.clone()),
            user: user?,
            password,
            tls,
            timeout: Duration::from_millis(timeout),
        })
    }
}
