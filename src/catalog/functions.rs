//! What stands in the place of a call of an introspection function: `functions.toml`.

use super::literal;
use crate::policy::Grants;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    visible: Vec<Visible>,
    nothing: Vec<Nothing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visible {
    function: String,
    relation: String,
    schema: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(rename = "type")]
    type_: String,
    functions: String,
}

/// What stands in the place of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// Whether its only argument is among the rows of this query.
    Among(String),
    /// A NULL of this type, whatever the arguments.
    Null(String),
}

static LIST: LazyLock<(HashMap<String, Visible>, HashMap<String, String>)> =
    LazyLock::new(|| load().unwrap_or_default());

type Loaded = (HashMap<String, Visible>, HashMap<String, String>);

fn load() -> Result<Loaded, toml::de::Error> {
    let file: File = toml::from_str(include_str!("functions.toml"))?;
    let visible = file.visible.into_iter();
    let mut nothing = HashMap::new();
    for entry in file.nothing {
        for function in entry.functions.split_whitespace() {
            nothing.insert(function.to_owned(), entry.type_.clone());
        }
    }
    Ok((visible.map(|v| (v.function.clone(), v)).collect(), nothing))
}

/// What stands in the place of a call of `function`, a folded name without schema; the query reads relations of
/// `pg_catalog` by their full names, for which their shadows come to stand.
pub(crate) fn replacement(function: &str, grants: &Grants) -> Option<Replacement> {
    let (visible, nothing) = &*LIST;
    if let Some(type_) = nothing.get(function) {
        return Some(Replacement::Null(format!("pg_catalog.{type_}")));
    }
    let Visible {
        relation, schema, ..
    } = visible.get(function)?;
    let path: Vec<String> = grants
        .search_path()
        .iter()
        .map(|schema| literal(schema))
        .chain(std::iter::once("'pg_catalog'".to_owned()))
        .collect();
    Some(Replacement::Among(format!(
        "SELECT c.oid FROM pg_catalog.{relation} AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.{schema} WHERE \
         n.nspname IN ({})",
        path.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Found, find};

    #[test]
    fn the_list_can_be_read_and_names_shadows_only() {
        let (visible, nothing) = load().unwrap();
        assert!(nothing.contains_key("pg_get_expr"));
        for entry in visible.values() {
            let Some(Found::Shadowed(shadow)) = find(None, &entry.relation) else {
                panic!("{} has no shadow", entry.relation);
            };
            assert!(shadow.column_names().contains(&entry.schema));
            assert!(shadow.column_names().contains(&"oid".to_owned()));
        }
    }
}
