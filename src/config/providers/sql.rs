//! `kind = "sql"`: its presets and its connection.

use crate::config::check::{Check, join};
use crate::config::database;
use crate::config::preset::{PRESETS, Preset, preset};
use crate::config::{CacheSettings, ProviderKind, SqlProvider, SqlQueries, Upstream, raw};
use std::time::Duration;
use toml::Table;

fn preset_of(check: &mut Check, path: &str, name: Option<&str>) -> Option<&'static Preset> {
    let name = name?;
    let found = preset(name);
    if found.is_none() {
        let names: Vec<String> = PRESETS
            .iter()
            .map(|preset| format!("\"{}\"", preset.name))
            .collect();
        let hint = format!("Choose {}, or write queries.", names.join(" or "));
        let says = format!("\"{name}\" is not a preset");
        check.problem(join(path, "preset"), says, &hint);
    }
    found
}

/// A key's own query, or else the preset's.
fn queries(raw: &mut raw::SqlProvider, preset: Option<&Preset>) -> SqlQueries {
    let or = |own: Option<String>, of: fn(&Preset) -> Option<&'static str>| {
        own.or_else(|| preset.and_then(of).map(str::to_owned))
    };
    SqlQueries {
        roles: or(raw.roles.take(), |preset| preset.roles),
        permissions: or(raw.permissions.take(), |preset| preset.permissions),
        attributes: raw.attributes.take(),
        groups: raw.groups.take(),
        superuser: or(raw.superuser.take(), |preset| preset.superuser),
        denied_roles: raw.denied_roles.take(),
        denied_permissions: raw.denied_permissions.take(),
        expires: or(raw.expires.take(), |preset| preset.expires),
        role_permissions: or(raw.role_permissions.take(), |preset| {
            preset.role_permissions
        }),
        inherited_roles: raw.inherited_roles.take(),
        inherited_permissions: raw.inherited_permissions.take(),
    }
}

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    mut table: Table,
    cache: &CacheSettings,
    upstream: Option<&Upstream>,
) -> Option<(String, ProviderKind)> {
    let login = database::take(check, path, &mut table);
    let mut raw: raw::SqlProvider = check.section_beside(path, table, database::KEYS);
    let preset = preset_of(check, path, raw.preset.as_deref());
    let queries = queries(&mut raw, preset);
    if queries.is_empty() {
        check.problem(
            path,
            "asks nothing",
            "Give a preset, or a query such as roles = \"SELECT role FROM ...\".",
        );
    }
    let user_hint = "Give the provider its own login, which may read only its tables.";
    let database = login.check(check, path, upstream, (user_hint, 2_000));
    let pool_size = check.within(&join(path, "pool_size"), raw.pool_size, 4, 1, 100);
    let key = join(path, "unheard_cache_ms");
    let unheard = check.within(&key, raw.unheard_cache_ms, 0, 0, 3_600_000);
    let sql = SqlProvider {
        unheard_age_max: Duration::from_millis(unheard),
        database: database?,
        queries,
        preset,
        pool_size,
        listen: raw.listen.unwrap_or(!cache.age_max.is_zero()),
    };
    let name = raw.name.unwrap_or_else(|| "sql".to_owned());
    Some((name, ProviderKind::Sql(Box::new(sql))))
}
