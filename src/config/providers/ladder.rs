//! `kind = "ai_permissions"`: the files of the four levels.

use crate::config::check::{Check, join};
use crate::config::{ProviderKind, raw};
use std::path::PathBuf;
use std::time::Duration;
use toml::Table;

/// Where the four levels of AI permissions are written; see `provider::AiPermissions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AiPermissionFiles {
    /// The permissions.
    pub permissions: PathBuf,
    /// What actions need.
    pub actions: PathBuf,
    /// What categories are made of.
    pub categories: PathBuf,
    /// What roles are made of; without it categories are the only roles.
    pub roles: Option<PathBuf>,
    /// How long the last good content may serve after a file has become unusable.
    pub stale_max: Duration,
}

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
) -> Option<(String, ProviderKind)> {
    let raw: raw::AiPermissions = check.section(path, table);
    let stale = check.within(&join(path, "stale_s_max"), raw.stale_s_max, 300, 0, 86_400);
    let mut file = |key: &str, written: Option<String>, example: &str| {
        let key = join(path, key);
        let hint = format!("Name a file such as \"{example}\".");
        let written = check.required(&*key, written, &hint)?;
        Some(check.file(&key, &written))
    };
    let permissions = file("permissions", raw.permissions, "permissions.json");
    let actions = file("actions", raw.actions, "actions.json");
    let categories = file("categories", raw.categories, "category.json");
    let roles = raw
        .roles
        .and_then(|written| file("roles", Some(written), "roles.json"));
    let files = AiPermissionFiles {
        permissions: permissions?,
        actions: actions?,
        categories: categories?,
        roles,
        stale_max: Duration::from_secs(stale),
    };
    let name = raw.name.unwrap_or_else(|| "ai_permissions".to_owned());
    Some((name, ProviderKind::AiPermissions(files)))
}
