//! `[hierarchy]`: what roles and permissions bring along, here or in a file.

use super::check::Check;
use super::raw;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use toml::{Table, Value};

/// What roles and permissions bring along, as written; names and circles are checked where it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// A role and the roles it brings along.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// A permission and the permissions it brings along.
    pub permissions: BTreeMap<String, BTreeSet<String>>,
    /// More of both, in a file that is read again when it changes.
    pub file: Option<PathBuf>,
}

pub(super) fn hierarchy(check: &mut Check, top: &mut Table) -> Hierarchy {
    let Some(mut table) = check.table(top, "", "hierarchy") else {
        return Hierarchy::default();
    };
    let roles = brings(
        check,
        &mut table,
        "roles",
        "\"Director\" = [\"Sales Manager\"]",
    );
    let example = "\"admin:posts\" = [\"read:posts\", \"write:posts\"]";
    let permissions = brings(check, &mut table, "permissions", example);
    let raw: raw::Hierarchy = check.section("hierarchy", table);
    let file = raw.file.map(|file| check.file("hierarchy.file", &file));
    Hierarchy {
        roles,
        permissions,
        file,
    }
}

fn brings(
    check: &mut Check,
    table: &mut Table,
    key: &str,
    example: &str,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for (name, brought) in check.table(table, "hierarchy", key).unwrap_or_default() {
        let texts = match brought {
            Value::Array(items) => items
                .into_iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        let Some(texts) = texts else {
            let hint = format!("Write it as {example}.");
            check.problem(
                format!("hierarchy.{key}.\"{name}\""),
                "has to be a list of names",
                &hint,
            );
            continue;
        };
        all.insert(name, texts);
    }
    all
}
