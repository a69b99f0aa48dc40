//! Where roles and permissions come from: `[[providers]]`, one file a kind.

mod file;
mod sql;

use super::check::{Check, join};
use super::{Provider, Upstream};
use std::collections::BTreeSet;
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
            Some("file") => file::provider(check, &path, table),
            Some("sql") => sql::provider(check, &path, table, upstream),
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
