//! `kind = "redis"`: servers, login, prefixes, and how changes are heard of.

use crate::config::check::{Check, join};
use crate::config::sections::{is_near, upstream_tls};
use crate::config::{CacheSettings, ProviderKind, UpstreamTls};
use secrecy::SecretString;
use serde::Deserialize;
use std::time::Duration;
use toml::Table;

/// The `redis` provider's settings.
#[derive(Debug, Clone)]
pub struct RedisProvider {
    /// Host (or the path of a Unix socket) and port of each server; in a cluster some of its nodes, with
    /// sentinels those.
    pub servers: Vec<(String, u16)>,
    /// What they are.
    pub mode: RedisMode,
    /// Number of the database.
    pub database: i64,
    /// Its own login; the server's default one without a name.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// TLS towards all of them.
    pub tls: UpstreamTls,
    /// What the keys of the sets of a user's roles start with.
    pub user_roles_prefix: String,
    /// The same for a user's permissions.
    pub user_permissions_prefix: String,
    /// The same for a role's permissions.
    pub role_permissions_prefix: String,
    /// The same for the hashes of a user's attributes; `None`: there are none.
    pub user_attributes_prefix: Option<String>,
    /// The key of the set of superusers; `None`: there is none.
    pub superusers_key: Option<String>,
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
    /// How old a reused answer may be while changes are not heard of although they should be.
    pub unheard_age_max: Duration,
    /// A channel whose messages name a user whose answers are to be forgotten; empty = all.
    pub invalidate_channel: Option<String>,
    /// Whether the server notifies of changed keys.
    pub keyspace_notifications: bool,
}

/// What the servers of a `redis` provider are.
#[derive(Debug, Clone)]
pub enum RedisMode {
    /// One server.
    Single,
    /// Nodes of a Redis Cluster; it tells the others.
    Cluster,
    /// Sentinels; they tell the master.
    Sentinel {
        /// The master's name.
        master: String,
        /// The sentinels' own login.
        user: Option<String>,
        /// Its password.
        password: Option<SecretString>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    servers: Option<Vec<String>>,
    mode: Option<String>,
    sentinel_master: Option<String>,
    sentinel_user: Option<String>,
    sentinel_password: Option<SecretString>,
    database: Option<i64>,
    user: Option<String>,
    password: Option<SecretString>,
    tls: Option<String>,
    tls_ca: Option<String>,
    user_roles_prefix: Option<String>,
    user_permissions_prefix: Option<String>,
    role_permissions_prefix: Option<String>,
    user_attributes_prefix: Option<String>,
    superusers_key: Option<String>,
    timeout_ms: Option<u64>,
    unheard_cache_ms: Option<u64>,
    invalidate_channel: Option<String>,
    keyspace_notifications: Option<bool>,
}

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
    cache: &CacheSettings,
) -> Option<(String, ProviderKind)> {
    let mut raw: Raw = check.section(path, table);
    let password = check.secret(&join(path, "password"), raw.password.take());
    if raw.user.is_some() && password.is_none() {
        let hint = "A Redis login is proved by its password.";
        check.problem(join(path, "password"), "is missing", hint);
    }
    let mode = mode(check, path, &mut raw);
    let servers = servers(check, path, &raw, &mode)?;
    let farthest = servers
        .iter()
        .find(|(host, _)| !is_near(host))
        .or(servers.first())?;
    let (tls, ca) = (raw.tls.as_deref(), raw.tls_ca.as_deref());
    let tls = upstream_tls(check, path, &farthest.0, tls, ca);
    let [
        user_roles_prefix,
        user_permissions_prefix,
        role_permissions_prefix,
    ] = prefixes(check, path, &raw);
    let timeout = check.within(&join(path, "timeout_ms"), raw.timeout_ms, 2_000, 10, 60_000);
    let key = join(path, "unheard_cache_ms");
    let unheard = check.within(&key, raw.unheard_cache_ms, 0, 0, 3_600_000);
    let keyspace = raw.keyspace_notifications.unwrap_or(false);
    if (raw.invalidate_channel.is_some() || keyspace) && cache.age_max.is_zero() {
        let hint =
            "Give cache_ms, or leave the key out: without a cache nothing has to be forgotten.";
        check.problem(path, "listens for changes but keeps no answer", hint);
    }
    if keyspace && matches!(mode, RedisMode::Cluster) {
        check.problem(
            join(path, "keyspace_notifications"),
            "do not leave their node of a cluster",
            "Use invalidate_channel.",
        );
    }
    let database = check.within(&join(path, "database"), raw.database, 0, 0, 1_000_000);
    if database != 0 && matches!(mode, RedisMode::Cluster) {
        let hint = "A cluster has only database 0.";
        check.problem(join(path, "database"), "is not 0", hint);
    }
    let redis = RedisProvider {
        servers,
        mode,
        database,
        user: raw.user,
        password,
        tls,
        user_roles_prefix,
        user_permissions_prefix,
        role_permissions_prefix,
        user_attributes_prefix: raw.user_attributes_prefix,
        superusers_key: raw.superusers_key,
        timeout: Duration::from_millis(timeout),
        unheard_age_max: Duration::from_millis(unheard),
        invalidate_channel: raw.invalidate_channel,
        keyspace_notifications: keyspace,
    };
    let name = raw.name.unwrap_or_else(|| "redis".to_owned());
    Some((name, ProviderKind::Redis(Box::new(redis))))
}

fn mode(check: &mut Check, path: &str, raw: &mut Raw) -> RedisMode {
    let sentinel = raw.sentinel_master.is_some()
        || raw.sentinel_user.is_some()
        || raw.sentinel_password.is_some();
    let mode = raw.mode.as_deref().unwrap_or("single");
    if sentinel && mode != "sentinel" {
        let hint = "Set mode = \"sentinel\", or leave the sentinel_ keys out.";
        check.problem(join(path, "mode"), "has no sentinels", hint);
    }
    match mode {
        "single" => RedisMode::Single,
        "cluster" => RedisMode::Cluster,
        "sentinel" => {
            let hint = "Give the name the sentinels know it by.";
            let key = join(path, "sentinel_master");
            let master = check.required(key, raw.sentinel_master.take(), hint);
            let key = join(path, "sentinel_password");
            RedisMode::Sentinel {
                master: master.unwrap_or_default(),
                user: raw.sentinel_user.take(),
                password: check.secret(&key, raw.sentinel_password.take()),
            }
        }
        other => {
            let says = format!("\"{other}\" is not a way to run Redis");
            let hint = "Choose \"single\", \"cluster\" or \"sentinel\".";
            check.problem(join(path, "mode"), says, hint);
            RedisMode::Single
        }
    }
}

fn servers(
    check: &mut Check,
    path: &str,
    raw: &Raw,
    mode: &RedisMode,
) -> Option<Vec<(String, u16)>> {
    let key = join(path, "servers");
    let (usual, most) = match mode {
        RedisMode::Single => (6379, 1),
        RedisMode::Cluster => (6379, 100),
        RedisMode::Sentinel { .. } => (26379, 100),
    };
    let default = vec!["127.0.0.1".to_owned()];
    let texts = raw.servers.clone().unwrap_or(default);
    if texts.is_empty() || texts.len() > most {
        let says = format!("names {} servers", texts.len());
        let hint = format!("Name 1 to {most}; several are for mode = \"cluster\" or \"sentinel\".");
        check.problem(key, says, &hint);
        return None;
    }
    let servers: Option<Vec<_>> = texts.iter().map(|text| server(text, usual)).collect();
    if servers.is_none() {
        let hint = "Write \"host\", \"host:port\", \"[::1]:6379\", or the path of a Unix socket.";
        check.problem(key, "holds what is not a server", hint);
    }
    servers
}

fn server(text: &str, usual: u16) -> Option<(String, u16)> {
    if text.starts_with('/') {
        return Some((text.to_owned(), 0));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(usual), |port| {
        port.parse().ok().filter(|&port| port > 0)
    })?;
    // A URL or a password in front of the host would be one of these.
    let plain = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
    plain.then(|| (host.to_owned(), port))
}

fn prefixes(check: &mut Check, path: &str, raw: &Raw) -> [String; 3] {
    let usual = |own: &Option<String>, usual: &str| own.clone().unwrap_or_else(|| usual.to_owned());
    let prefixes = [
        usual(&raw.user_roles_prefix, "user_roles:"),
        usual(&raw.user_permissions_prefix, "user_permissions:"),
        usual(&raw.role_permissions_prefix, "role_permissions:"),
    ];
    let [user_roles, user_permissions, role_permissions] = &prefixes;
    let all = [
        ("user_roles_prefix", Some(user_roles)),
        ("user_permissions_prefix", Some(user_permissions)),
        ("role_permissions_prefix", Some(role_permissions)),
        (
            "user_attributes_prefix",
            raw.user_attributes_prefix.as_ref(),
        ),
        ("superusers_key", raw.superusers_key.as_ref()),
    ];
    for (name, prefix) in all {
        // A whole key is reached by no name behind it.
        let prefix = prefix.filter(|key| name != "superusers_key" || key.is_empty());
        let others = all.iter().filter(|(other, _)| *other != name);
        let mut others = others.filter_map(|(_, text)| *text);
        if prefix.is_some_and(|prefix| others.any(|text| text.starts_with(prefix))) {
            check.problem(
                join(path, name),
                "is empty or the beginning of another prefix",
                "A user's name could reach another kind of set: let each prefix differ before its end.",
            );
        }
    }
    prefixes
}
