//! Where roles and permissions come from: `[[providers]]`.

use super::check::{Check, join};
use super::sections::upstream_tls;
use super::{Provider, ProviderKind, SqlProvider, Upstream, raw};
use std::collections::BTreeSet;
use std::time::Duration;
use toml::Table;

pub(super) fn providers(
    check: &mut Check,
    top: &mut Table,
    upstream: Option<&Upstream>,
) -> Vec<Provider> {
    let mut providers = Vec::new();
    let mut names = BTreeSet::new();
    for (index, mut table) in check.tables(top, "", "providers").into_iter().enumerate() {
        let path = format!("providers[{index}]");
        let kind = table.remove("kind");
        let provider = match kind.as_ref().and_then(toml::Value::as_str) {
            Some("file") => file_provider(check, &path, table),
            Some("sql") => sql_provider(check, &path, table, upstream),
            _ => {
                check.problem(
                    join(&path, "kind"),
                    "is missing or not a kind of provider",
                    "Choose \"file\" or \"sql\".",
                );
                None
            }
        };
        if let Some(provider) = provider {
            if !names.insert(provider.name.clone()) {
                let says = format!("\"{}\" is another provider's name too", provider.name);
                check.problem(
                    join(&path, "name"),
                    says,
                    "Give each provider a name of its own.",
                );
            }
            providers.push(provider);
        }
    }
    if providers.is_empty() && check.problems.is_empty() {
        check.problem(
            "providers",
            "has no provider, so nobody would have a role or a permission",
            "Add [[providers]] with kind = \"file\" or kind = \"sql\".",
        );
    }
    providers
}

fn file_provider(check: &mut Check, path: &str, table: Table) -> Option<Provider> {
    let raw: raw::FileProvider = check.section(path, table);
    let stale = check.within(&join(path, "stale_s_max"), raw.stale_s_max, 300, 0, 86_400);
    let file = check.required(join(path, "path"), raw.path, "Name a .json or .toml file.")?;
    let file = check.file(&join(path, "path"), &file);
    if !file
        .extension()
        .is_some_and(|extension| extension == "json" || extension == "toml")
    {
        check.problem(
            join(path, "path"),
            "has to end in .json or .toml",
            "The ending says how it is read.",
        );
    }
    let kind = ProviderKind::File {
        path: file,
        stale_max: Duration::from_secs(stale),
    };
    Some(Provider {
        name: raw.name.unwrap_or_else(|| "file".to_owned()),
        kind,
    })
}

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

fn sql_provider(
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
