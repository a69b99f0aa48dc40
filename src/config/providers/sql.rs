//! `kind = "sql"`: its presets and its connection.

use crate::config::check::{Check, join};
use crate::config::sections::upstream_tls;
use crate::config::{Provider, ProviderKind, SqlProvider, Upstream, raw};
use std::time::Duration;
use toml::Table;

/// The queries a preset stands for, in the order roles, permissions.
fn preset(name: &str) -> Option<(Option<&'static str>, Option<&'static str>)> {
    match name {
        "user_roles" => Some((
            Some(r#"SELECT role FROM public.user_roles WHERE "user" = $1"#),
            None,
        )),
        "authz_permissions" => Some((
            None,
            Some("SELECT permission FROM public.authz_permissions WHERE username = $1"),
        )),
        _ => None,
    }
}

fn preset_of(
    check: &mut Check,
    path: &str,
    name: Option<&str>,
) -> (Option<&'static str>, Option<&'static str>) {
    let Some(name) = name else {
        return (None, None);
    };
    preset(name).unwrap_or_else(|| {
        let hint = "Choose \"user_roles\" or \"authz_permissions\", or write queries.";
        check.problem(
            join(path, "preset"),
            format!("\"{name}\" is not a preset"),
            hint,
        );
        (None, None)
    })
}

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
    upstream: Option<&Upstream>,
) -> Option<Provider> {
    let raw: raw::SqlProvider = check.section(path, table);
    let preset = preset_of(check, path, raw.preset.as_deref());
    let roles = raw.roles.or(preset.0.map(str::to_owned));
    let permissions = raw.permissions.or(preset.1.map(str::to_owned));
    let queries = [
        &roles,
        &permissions,
        &raw.attributes,
        &raw.superuser,
        &raw.role_permissions,
    ];
    if queries.iter().all(|query| query.is_none()) {
        check.problem(
            path,
            "asks nothing",
            "Give a preset, or a query such as roles = \"SELECT role FROM ...\".",
        );
    }
    let user_hint = "Give the provider its own login, which may read only its tables.";
    let user = check.required(join(path, "user"), raw.user, user_hint);
    let password = check.secret(&join(path, "password"), raw.password);
    let pool_size = check.within(&join(path, "pool_size"), raw.pool_size, 4, 1, 100);
    let timeout = check.within(&join(path, "timeout_ms"), raw.timeout_ms, 2_000, 10, 60_000);
    let cache = check.within(&join(path, "cache_ms"), raw.cache_ms, 0, 0, 3_600_000);
    let upstream = upstream?;
    let host = raw.host.clone().unwrap_or_else(|| upstream.host.clone());
    let tls = if raw.host.is_none() && raw.tls.is_none() && raw.tls_ca.is_none() {
        upstream.tls.clone()
    } else {
        upstream_tls(
            check,
            path,
            &host,
            raw.tls.as_deref(),
            raw.tls_ca.as_deref(),
        )
    };
    let sql = SqlProvider {
        host,
        port: raw.port.unwrap_or(upstream.port),
        database: raw.database.unwrap_or_else(|| upstream.database.clone()),
        user: user?,
        password,
        tls,
        roles,
        permissions,
        attributes: raw.attributes,
        superuser: raw.superuser,
        role_permissions: raw.role_permissions,
        pool_size,
        timeout: Duration::from_millis(timeout),
        cache: Duration::from_millis(cache),
        listen: raw.listen.unwrap_or(cache > 0),
    };
    let name = raw.name.unwrap_or_else(|| "sql".to_owned());
    Some(Provider {
        name,
        kind: ProviderKind::Sql(Box::new(sql)),
    })
}
