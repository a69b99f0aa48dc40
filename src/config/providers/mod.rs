//! Where roles and permissions come from: `[[providers]]`, one file a kind.

mod file;
mod http;
mod jwt;
mod keto;
mod ladder;
mod redis;
mod service;
mod sql;

pub use self::http::HttpProvider;
pub(super) use self::jwt::claim_path;
pub use self::ladder::AiPermissionFiles;
use self::redis::provider as redis_provider;
pub use self::redis::{RedisMode, RedisProvider};
pub use keto::{KetoConfirm, KetoProvider, KetoUsers};

use super::check::{Check, join};
use super::{CacheSettings, Provider, Upstream, raw};
use crate::tuples::Tuples;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use toml::Table;

pub(super) fn providers(
    check: &mut Check,
    top: &mut Table,
    upstream: Option<&Upstream>,
    tokens: bool,
    tuples: Option<&Arc<Tuples>>,
) -> Vec<Provider> {
    let mut providers = Vec::new();
    let mut names = BTreeSet::new();
    for (index, mut table) in check.tables(top, "", "providers").into_iter().enumerate() {
        let path = format!("providers[{index}]");
        let kind = table.remove("kind");
        let kind = kind.as_ref().and_then(toml::Value::as_str).unwrap_or("");
        // These read from memory: there is nothing a cache could spare.
        let cache = if matches!(kind, "ai_permissions" | "file" | "jwt") {
            CacheSettings::default()
        } else {
            cache(check, &path, &mut table)
        };
        let provider = match kind {
            "ai_permissions" => ladder::provider(check, &path, table),
            "file" => file::provider(check, &path, table),
            "http" => http::provider(check, &path, table),
            "keto" => keto::provider(check, &path, table, tuples),
            "redis" => redis_provider(check, &path, table, &cache),
            "jwt" => jwt::provider(check, &path, table, tokens),
            "sql" => sql::provider(check, &path, table, &cache, upstream),
            _ => {
                check.problem(
                    join(&path, "kind"),
                    "is missing or not a kind of provider",
                    "Choose \"ai_permissions\", \"file\", \"http\", \"jwt\", \"keto\", \"redis\" or \"sql\".",
                );
                None
            }
        };
        if let Some((name, kind)) = provider {
            if !names.insert(name.clone()) {
                check.problem(
                    join(&path, "name"),
                    format!("\"{name}\" is another provider's name too"),
                    "Give each provider a name of its own.",
                );
            }
            providers.push(Provider { name, kind, cache });
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

/// `cache_ms` and `cache_entries_max`, which every kind that asks somebody else has.
fn cache(check: &mut Check, path: &str, table: &mut Table) -> CacheSettings {
    let own: Table = ["cache_ms", "cache_entries_max"]
        .into_iter()
        .filter_map(|key| table.remove_entry(key))
        .collect();
    let raw: raw::Cache = check.section(path, own);
    let key = join(path, "cache_ms");
    let age_max = check.within(&key, raw.cache_ms, 0, 0, 3_600_000);
    let key = join(path, "cache_entries_max");
    CacheSettings {
        age_max: Duration::from_millis(age_max),
        entries_max: check.within(&key, raw.cache_entries_max, 10_000, 1, 1_000_000),
    }
}
