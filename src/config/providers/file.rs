//! `kind = "file"`.

use crate::config::check::{Check, join};
use crate::config::{ProviderKind, raw};
use std::time::Duration;
use toml::Table;

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
) -> Option<(String, ProviderKind)> {
    let raw: raw::FileProvider = check.section(path, table);
    let stale = check.within(&join(path, "stale_s_max"), raw.stale_s_max, 300, 0, 86_400);
    let file = check.required(
        join(path, "path"),
        raw.path,
        "Name a .json, .yaml or .toml file.",
    )?;
    let file = check.file(&join(path, "path"), &file);
    if !file
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| matches!(extension, "json" | "toml" | "yaml" | "yml"))
    {
        check.problem(
            join(path, "path"),
            "has to end in .json, .yaml, .yml or .toml",
            "The ending says how it is read.",
        );
    }
    let kind = ProviderKind::File {
        path: file,
        stale_max: Duration::from_secs(stale),
    };
    Some((raw.name.unwrap_or_else(|| "file".to_owned()), kind))
}
