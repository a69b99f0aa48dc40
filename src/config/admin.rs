//! `[admin]`: managing permissions, by command and over HTTP.

use super::check::{Check, join};
use super::sections::upstream_tls;
use super::{Upstream, UpstreamTls};
use secrecy::SecretString;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use toml::Table;

/// Managing permissions.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the admin listener is; `None`: permissions are managed by commands only.
    pub listen: Option<SocketAddr>,
    /// Host names it answers to, beside its own address.
    pub hosts: Vec<String>,
    /// Host, port, database, TLS: those of `[upstream]` unless given.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// A login of its own, which may write to the tables below.
    pub user: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// TLS towards the database.
    pub tls: UpstreamTls,
    /// How long each step of a change may take.
    pub timeout: Duration,
    /// Most connections to the listener at once.
    pub connections_max: usize,
    /// Longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Refuse to grant a permission that nothing asks for, instead of warning.
    pub strict: bool,
    /// What is managed.
    pub tables: AdminTables,
}

/// The tables that are managed; what has none cannot be granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminTables {
    /// Permissions held directly.
    pub permissions: Option<AdminTable>,
    /// Roles.
    pub roles: Option<AdminTable>,
}

/// One table whose rows grant something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The columns with the names: who, then what.
    pub keys: Vec<String>,
    /// The column with a grant's end (`timestamptz`); the table may lack it.
    pub expiry: String,
}

pub(super) fn admin(
    check: &mut Check,
    top: &mut Table,
    upstream: Option<&Upstream>,
    tls: bool,
) -> Option<Admin> {
    let mut section = check.table(top, "", "admin")?;
    let permissions = table(
        check,
        &mut section,
        "permissions",
        "authz_permissions",
        &["username", "permission"],
    );
    let roles = table(
        check,
        &mut section,
        "roles",
        "user_roles",
        &["user", "role"],
    );
    let raw: RawAdmin = check.section("admin", section);
    if permissions.is_none() && roles.is_none() {
        check.problem(
            "admin",
            "manages nothing",
            "Add [admin.permissions] or [admin.roles], for the tables of those names.",
        );
    }
    settings(
        check,
        raw,
        upstream?,
        tls,
        AdminTables { permissions, roles },
    )
}

fn settings(
    check: &mut Check,
    raw: RawAdmin,
    upstream: &Upstream,
    tls: bool,
    tables: AdminTables,
) -> Option<Admin> {
    let listen = raw.listen.as_deref();
    let listen = listen.and_then(|text| address(check, text, raw.hosts.as_deref(), tls));
    let hint = "Give it a login of its own, which may write to these tables and nothing else.";
    let user = check.required("admin.user", raw.user, hint);
    let readers = [Some(&upstream.user), upstream.superuser_user.as_ref()];
    if user.is_some() && readers.contains(&user.as_ref()) {
        let says = "is a login that queries run as, which must never write";
        check.problem("admin.user", says, hint);
    }
    let password = check.secret("admin.password", raw.password);
    let timeout = check.within("admin.timeout_ms", raw.timeout_ms, 5_000, 10, 60_000);
    let connections_max = check.within("admin.connections_max", raw.connections_max, 64, 1, 10_000);
    let body = raw.body_bytes_max;
    let body_bytes_max = check.within("admin.body_bytes_max", body, 65_536, 256, 16_777_216);
    let host = raw.host.clone().unwrap_or_else(|| upstream.host.clone());
    let tls = if raw.host.is_none() && raw.tls.is_none() && raw.tls_ca.is_none() {
        upstream.tls.clone()
    } else {
        let (tls, ca) = (raw.tls.as_deref(), raw.tls_ca.as_deref());
        upstream_tls(check, "admin", &host, tls, ca)
    };
    Some(Admin {
        listen,
        hosts: raw.hosts.unwrap_or_default(),
        host,
        port: raw.port.unwrap_or(upstream.port),
        database: raw.database.unwrap_or_else(|| upstream.database.clone()),
        user: user?,
        password,
        tls,
        timeout: Duration::from_millis(timeout),
        connections_max,
        body_bytes_max,
        strict: raw.strict.unwrap_or(false),
        tables,
    })
}

/// Where the listener is. On an address that others reach it takes TLS, and a name to answer to.
fn address(
    check: &mut Check,
    text: &str,
    hosts: Option<&[String]>,
    tls: bool,
) -> Option<SocketAddr> {
    let Ok(listen) = text.parse::<SocketAddr>() else {
        let says = format!("\"{text}\" is not an address and a port");
        let hint = "Write it as \"127.0.0.1:6433\" or \"[::1]:6433\".";
        check.problem("admin.listen", says, hint);
        return None;
    };
    if !listen.ip().is_loopback() && !tls {
        check.problem(
            "admin.listen",
            "is reachable from other machines and [tls] is not set",
            "Set [tls], or listen on 127.0.0.1: tokens and changes must not travel in clear.",
        );
    }
    if listen.ip().is_unspecified() && hosts.is_none_or(<[String]>::is_empty) {
        check.problem(
            "admin.hosts",
            "names no host, and admin.listen is every address",
            "Name the hosts that clients call it by, such as [\"gate.example.com\"].",
        );
    }
    Some(listen)
}

/// `[admin.KEY]`; its presence says that this kind is managed.
fn table(
    check: &mut Check,
    section: &mut Table,
    key: &str,
    default: &str,
    columns: &[&str],
) -> Option<AdminTable> {
    let path = join("admin", key);
    let table = check.table(section, "admin", key)?;
    let raw: RawTable = check.section(&path, table);
    let name = raw.table.unwrap_or_else(|| format!("public.{default}"));
    let (schema, name) = name.split_once('.').unwrap_or(("public", &name));
    let own = raw.columns;
    if own.as_ref().is_some_and(|own| own.len() != columns.len()) {
        let says = format!("does not name {} columns", columns.len());
        let hint = format!("The default is {columns:?}.");
        check.problem(join(&path, "columns"), says, &hint);
    }
    let defaults = || columns.iter().map(|column| (*column).to_owned()).collect();
    let keys: Vec<String> = own.unwrap_or_else(defaults);
    let expiry = raw.expiry_column.unwrap_or_else(|| "expires_at".to_owned());
    let wrong = |name: &str| name.is_empty() || name.contains(['\0', '"']);
    if [schema, name, &expiry].into_iter().any(wrong) || keys.iter().any(|key| wrong(key)) {
        let says = "names a table or column by an empty or impossible name";
        check.problem(&path, says, "");
    }
    Some(AdminTable {
        schema: schema.to_owned(),
        name: name.to_owned(),
        keys,
        expiry,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawAdmin {
    listen: Option<String>,
    hosts: Option<Vec<String>>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    tls: Option<String>,
    tls_ca: Option<String>,
    timeout_ms: Option<u64>,
    connections_max: Option<usize>,
    body_bytes_max: Option<usize>,
    strict: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTable {
    table: Option<String>,
    columns: Option<Vec<String>>,
    expiry_column: Option<String>,
}
