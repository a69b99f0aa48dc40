//! Each section of `rowgate.toml`: defaults, bounds and what must not be combined.

use super::check::{Check, Problem, join};
use super::{
    Audit, AuditSink, Config, Enforcement, Gate, Tls, Upstream, UpstreamTls, admin, conditions,
    hierarchy, http, logins, metrics, providers, raw, tags, tuples,
};
use super::{Provider, ProviderKind};
use crate::limits::Limits;
use crate::tuples::Tuples;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::Table;

/// Every section there is, for near misses.
const SECTIONS: &[&str] = &[
    "listen",
    "enforcement",
    "views",
    "tls",
    "upstream",
    "logins",
    "tokens",
    "statement_token",
    "providers",
    "hierarchy",
    "tags",
    "tuples",
    "conditions",
    "audit",
    "gate",
    "http",
    "metrics",
    "admin",
    "limits",
];

pub(super) fn read(text: &str, path: &Path) -> Result<Config, Vec<Problem>> {
    let mut check = Check::new(path);
    let Some(mut top) = document(&mut check, text) else {
        return Err(check.problems);
    };
    let tls = tls(&mut check, &mut top);
    let upstream = upstream(&mut check, &mut top);
    let (identity, jwks) = logins::identity(&mut check, &mut top);
    let tokens = identity.tokens.is_some();
    let (tuples, providers) = sources(&mut check, &mut top, upstream.as_ref(), tokens);
    let hierarchy = hierarchy::hierarchy(&mut check, &mut top);
    let tags = tags::tags(&mut check, &mut top, upstream.as_ref());
    let names = providers.iter().map(|p| p.name.as_str()).collect();
    let conditions = conditions::conditions(&mut check, &mut top, &names);
    let audit = audit(&mut check, &mut top);
    let gate = gate(&mut check, &mut top);
    let http = http::http(&mut check, &mut top, tls.is_some());
    let metrics = metrics::metrics(&mut check, &mut top, tls.is_some());
    let around = (upstream.as_ref(), tuples.as_deref(), tls.is_some());
    let admin = admin::admin(&mut check, &mut top, around);
    let limits = limits(&mut check, &mut top);
    let (listen, enforcement, views) = top_level(&mut check, top);
    if let (Some(listen), None) = (listen, &tls)
        && !listen.ip().is_loopback()
    {
        check.warnings.push(format!(
            "listen = \"{listen}\" is reachable from other machines and [tls] is not set: rows travel in clear"
        ));
    }
    match (listen, enforcement, upstream) {
        (Some(listen), Some(enforcement), Some(upstream)) if check.problems.is_empty() => {
            Ok(Config {
                file: None,
                listen,
                tls,
                upstream,
                enforcement,
                views,
                identity,
                jwks,
                providers,
                hierarchy,
                tags,
                tuples,
                conditions,
                situations: std::collections::BTreeMap::new(),
                audit,
                gate,
                http,
                metrics,
                admin,
                limits,
                warnings: check.warnings,
            })
        }
        _ => Err(check.problems),
    }
}

/// The text as TOML. Of an error only the library's message is told: its full text quotes the line, and the line may hold a
/// secret.
fn document(check: &mut Check, text: &str) -> Option<Table> {
    let error: toml::de::Error = match text.parse() {
        Ok(table) => return Some(table),
        Err(error) => error,
    };
    let line = error.span().map_or(1, |span| {
        1 + text
            .bytes()
            .take(span.start)
            .filter(|&byte| byte == b'\n')
            .count()
    });
    check.problem(
        format!("line {line}"),
        error.message().to_owned(),
        "The file has to be TOML 1.0.",
    );
    None
}

/// Where roles, permissions and relations come from.
fn sources(
    check: &mut Check,
    top: &mut Table,
    upstream: Option<&Upstream>,
    tokens: bool,
) -> (Option<Arc<Tuples>>, Vec<Provider>) {
    let tuples = tuples::tuples(check, top);
    let providers = providers::providers(check, top, upstream, tokens, tuples.as_ref());
    let asks_keto = |p: &Provider| matches!(p.kind, ProviderKind::Keto(_));
    let no_table = tuples.as_ref().is_some_and(|tuples| tuples.table.is_none());
    if no_table && !providers.iter().any(asks_keto) {
        let hint = "Name their table, such as \"public.rowgate_tuples\", or add a provider of kind \"keto\".";
        check.problem("tuples.table", "is missing: rules over no tuples", hint);
    }
    (tuples, providers)
}

fn top_level(
    check: &mut Check,
    mut top: Table,
) -> (Option<SocketAddr>, Option<Enforcement>, std::path::PathBuf) {
    let known = ["listen", "enforcement", "views"];
    let strangers: Vec<String> = top
        .keys()
        .filter(|key| !known.contains(&key.as_str()))
        .cloned()
        .collect();
    for key in strangers {
        top.remove(&key);
        check.unknown(&key, &key, SECTIONS);
    }
    let had_listen = top.contains_key("listen");
    let raw: raw::Top = check.section("", top);
    let text = raw
        .listen
        .or_else(|| (!had_listen).then(|| "127.0.0.1:6432".to_owned()));
    let listen = text.and_then(|text| match text.parse() {
        Ok(listen) => Some(listen),
        Err(_) => {
            let says = format!("\"{text}\" is not an address and a port");
            check.problem(
                "listen",
                says,
                "Write it as \"127.0.0.1:6432\" or \"[::1]:6432\".",
            );
            None
        }
    });
    let enforcement = match raw.enforcement.as_deref() {
        None | Some("barrier") => Some(Enforcement::Barrier),
        Some("inline") => Some(Enforcement::Inline),
        Some(other) => {
            let says = format!("\"{other}\" is not an enforcement");
            check.problem("enforcement", says, "Choose \"barrier\" or \"inline\".");
            None
        }
    };
    let views = check.path(raw.views.as_deref().unwrap_or("views"));
    if !views.is_dir() {
        let says = format!("{} is not a folder", views.display());
        check.problem(
            "views",
            says,
            "It holds one permission view a file, such as views/invoices.sql.",
        );
    }
    (listen, enforcement, views)
}

fn tls(check: &mut Check, top: &mut Table) -> Option<Tls> {
    let table = check.table(top, "", "tls")?;
    let raw: raw::Tls = check.section("tls", table);
    let cert = check.required(
        "tls.cert",
        raw.cert,
        "Name a PEM file with the certificate chain.",
    );
    let key = check.required("tls.key", raw.key, "Name a PEM file with the private key.");
    let cert = check.file("tls.cert", &cert?);
    let key = check.file("tls.key", &key?);
    Some(Tls {
        cert,
        key,
        require: raw.require.unwrap_or(true),
    })
}

fn upstream(check: &mut Check, top: &mut Table) -> Option<Upstream> {
    let table = check.table(top, "", "upstream").unwrap_or_default();
    let raw: raw::Upstream = check.section("upstream", table);
    let host = raw.host.unwrap_or_else(|| "127.0.0.1".to_owned());
    let tls = upstream_tls(
        check,
        "upstream",
        &host,
        raw.tls.as_deref(),
        raw.tls_ca.as_deref(),
    );
    let database = check.required(
        "upstream.database",
        raw.database,
        "Name the database to read from.",
    );
    let user = check.required(
        "upstream.user",
        raw.user,
        "Name the low-privilege login queries run as; `rowgate apply` creates \"rowgate\".",
    );
    let password = check.secret("upstream.password", raw.password);
    let superuser_password = check.secret("upstream.superuser_password", raw.superuser_password);
    let admin_password = check.secret("upstream.admin_password", raw.admin_password);
    if raw.superuser_user.is_some() && raw.superuser_user == user {
        check.problem(
            "upstream.superuser_user",
            "is the same login as upstream.user, which must never see unfiltered rows",
            "`rowgate apply` creates \"rowgate_super\" for it.",
        );
    }
    let pool_size = check.within("upstream.pool_size", raw.pool_size, 10, 1, 10_000);
    let pool_wait = check.within("upstream.pool_wait_ms", raw.pool_wait_ms, 5_000, 1, 600_000);
    let connect = check.within("upstream.connect_ms", raw.connect_ms, 5_000, 1, 600_000);
    Some(Upstream {
        host,
        port: raw.port.unwrap_or(5432),
        database: database?,
        user: user?,
        password,
        superuser_user: raw.superuser_user,
        superuser_password,
        admin_user: raw.admin_user,
        admin_password,
        tls,
        pool_size,
        pool_wait: Duration::from_millis(pool_wait),
        connect_timeout: Duration::from_millis(connect),
    })
}

pub(super) fn upstream_tls(
    check: &mut Check,
    section: &str,
    host: &str,
    mode: Option<&str>,
    ca: Option<&str>,
) -> UpstreamTls {
    let near = is_near(host);
    let ca = ca.map(|ca| check.file(&join(section, "tls_ca"), ca));
    match mode {
        Some("off") => UpstreamTls::Off,
        None if near && ca.is_none() => UpstreamTls::Off,
        None | Some("verify") => UpstreamTls::Verify { ca },
        Some(other) => {
            let says = format!("\"{other}\" is not a way to use TLS");
            check.problem(join(section, "tls"), says, "Choose \"verify\" or \"off\".");
            UpstreamTls::Verify { ca }
        }
    }
}

/// Whether a host is this machine, so that nothing travels.
pub(super) fn is_near(host: &str) -> bool {
    host.starts_with('/')
        || host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn audit(check: &mut Check, top: &mut Table) -> Audit {
    let table = check.table(top, "", "audit").unwrap_or_default();
    let raw: raw::Audit = check.section("audit", table);
    let sink = match raw.path.as_deref() {
        None | Some("-") => AuditSink::Stdout,
        Some(path) => AuditSink::File(check.path(path)),
    };
    let required = raw.required.unwrap_or(true);
    if !required {
        check.warnings.push(
            "audit.required = false: requests run even when they cannot be recorded".to_owned(),
        );
    }
    let sql_bytes_max = check.within(
        "audit.sql_bytes_max",
        raw.sql_bytes_max,
        16_384,
        0,
        1_048_576,
    );
    Audit {
        sink,
        required,
        parameters: raw.parameters.unwrap_or(false),
        sql_bytes_max,
    }
}

fn gate(check: &mut Check, top: &mut Table) -> Gate {
    let table = check.table(top, "", "gate").unwrap_or_default();
    let raw: raw::Gate = check.section("gate", table);
    Gate {
        connect_requires: raw.connect_requires,
        always_sealed: raw.always_sealed.unwrap_or(false),
        notice_filtered: raw.notice_filtered.unwrap_or(false),
    }
}

fn limits(check: &mut Check, top: &mut Table) -> Limits {
    let table = check.table(top, "", "limits").unwrap_or_default();
    // Where 0 is no limit, or a choice of ours, it says so; everywhere else it would stop the gate or free it.
    const MAY_BE_0: [&str; 3] = ["result_bytes_max", "rows_max", "worker_threads"];
    for (key, value) in &table {
        if value.as_integer() == Some(0) && !MAY_BE_0.contains(&key.as_str()) {
            check.problem(
                format!("limits.{key}"),
                "is 0",
                "Only rows_max and result_bytes_max, where it means no limit, and worker_threads may be 0.",
            );
        }
    }
    check.section("limits", table)
}
