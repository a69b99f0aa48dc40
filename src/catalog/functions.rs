//! What stands in the place of a call of an introspection function or of a cast to a type that looks names up:
//! `functions.toml`.

use super::{Catalogued, ShadowEntry, literal, values};
use crate::policy::{Grants, RelationName};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The schema in which expressions of the list name the answers; nobody else can.
pub(crate) const ANSWERS: &str = "rowgate";

/// A name without needless quotes and in lower case, as the answers have it.
const NORMAL: &str = "(CASE WHEN pg_catalog.strpos(q.t, '\"') = 0 THEN pg_catalog.lower(pg_catalog.btrim(q.t)) ELSE \
    pg_catalog.regexp_replace(pg_catalog.btrim(q.t), '\"(?!char\")([a-z_][a-z0-9_$]*)\"', '\\1', 'g') END)";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    visible: Vec<Visible>,
    nothing: Vec<Nothing>,
    call: Vec<Call>,
    lookup: Vec<Lookup>,
    answer: Vec<ShadowEntry>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    functions: String,
    arguments: Vec<usize>,
    #[serde(rename = "reason")]
    _reason: String,
    expression: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    #[serde(rename = "type")]
    type_: String,
    function: String,
    #[serde(rename = "reason")]
    _reason: String,
}

/// What stands in the place of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// Whether its only argument is among the rows of this query.
    Among(String),
    /// A NULL of this type, whatever the arguments.
    Null(String),
    /// This expression, in which `$n` is the call's nth argument.
    Expression(String),
}

#[derive(Default)]
struct List {
    visible: HashMap<String, Visible>,
    nothing: HashMap<String, String>,
    calls: HashMap<(String, usize), String>,
    /// The types by name, and by the function that looks their names up.
    lookups: HashMap<String, String>,
    answers: HashMap<String, Catalogued>,
}

static LIST: LazyLock<List> = LazyLock::new(|| load().unwrap_or_default());

fn load() -> Result<List, toml::de::Error> {
    let file: File = toml::from_str(include_str!("functions.toml"))?;
    let mut list = List::default();
    for entry in file.visible {
        list.visible.insert(entry.function.clone(), entry);
    }
    for entry in file.nothing {
        for function in entry.functions.split_whitespace() {
            list.nothing
                .insert(function.to_owned(), entry.type_.clone());
        }
    }
    for entry in file.call {
        for function in entry.functions.split_whitespace() {
            for arguments in &entry.arguments {
                let call = (function.to_owned(), *arguments);
                list.calls.insert(call, entry.expression.clone());
            }
        }
    }
    for entry in file.lookup {
        list.lookups
            .insert(entry.type_.clone(), entry.type_.clone());
        list.lookups.insert(entry.function, entry.type_);
    }
    for entry in file.answer {
        let relation = RelationName::new("pg_catalog", entry.name.as_str());
        let answer = Catalogued::new(relation, &entry);
        list.answers.insert(entry.name, answer);
    }
    Ok(list)
}

/// The answer of this name: a relation like any catalogue shadow, that only the expressions of the list can name.
pub(crate) fn answer(name: &str) -> Option<&'static Catalogued> {
    LIST.answers.get(name)
}

/// The type whose values are numbers that print as names, if this is the name of one.
pub(crate) fn lookup_type(name: &str) -> Option<&'static str> {
    let type_ = LIST.lookups.get(name)?;
    (type_ == name).then_some(type_.as_str())
}

/// The type that a function such as `to_regclass` looks a name up for.
pub(crate) fn lookup_function(name: &str) -> Option<&'static str> {
    let type_ = LIST.lookups.get(name)?;
    (type_ != name).then_some(type_.as_str())
}

/// The text that a value of such a type prints as: `$1` is the value, a number or a name.
pub(crate) fn lookup_shown(type_: &str) -> String {
    format!(
        "(SELECT CASE WHEN q.t = '0' THEN '-' ELSE coalesce(r.shown, CASE WHEN q.t OPERATOR(pg_catalog.~) '^[0-9]+$' THEN \
         q.t END) END FROM (SELECT ($1)::pg_catalog.text AS t) AS q LEFT JOIN {ANSWERS}.{type_} AS r ON r.name = {NORMAL})"
    )
}

/// The texts of an array of such values: `$1` is an array of numbers.
pub(crate) fn lookup_all_shown(type_: &str) -> String {
    format!(
        "(SELECT CASE WHEN q.a IS NOT NULL THEN coalesce((SELECT pg_catalog.array_agg(CASE WHEN u.t = '0' THEN '-' ELSE \
         coalesce(r.shown, u.t) END ORDER BY u.n) FROM pg_catalog.unnest(q.a) WITH ORDINALITY AS u (t, n) LEFT JOIN \
         {ANSWERS}.{type_} AS r ON r.name = u.t), ARRAY[]::pg_catalog.text[]) END FROM (SELECT \
         ($1)::pg_catalog.oid[]::pg_catalog.text[] AS a) AS q)"
    )
}

/// The number of such a value.
pub(crate) fn lookup_number(type_: &str) -> String {
    format!(
        "(SELECT coalesce(r.oid, CASE WHEN q.t OPERATOR(pg_catalog.~) '^[0-9]+$' THEN q.t::pg_catalog.oid WHEN q.t = '-' THEN \
         0::pg_catalog.oid END) FROM (SELECT ($1)::pg_catalog.text AS t) AS q LEFT JOIN {ANSWERS}.{type_} AS r ON r.name = \
         {NORMAL})"
    )
}

/// Whether some call of `function`, a folded name without schema, is replaced.
pub(crate) fn replaces(function: &str) -> bool {
    let list = &*LIST;
    list.visible.contains_key(function)
        || list.nothing.contains_key(function)
        || list.calls.keys().any(|(name, _)| name == function)
}

/// What stands in the place of a call of `function`, a folded name without schema, with so many arguments; it reads
/// relations of `pg_catalog` by their full names, for which their shadows come to stand, and answers.
pub(crate) fn replacement(
    function: &str,
    arguments: usize,
    grants: &Grants,
) -> Option<Replacement> {
    let list = &*LIST;
    if let Some(expression) = list.calls.get(&(function.to_owned(), arguments)) {
        let path = path(grants);
        let first = path.first().map_or("NULL".to_owned(), |name| literal(name));
        let all: Vec<String> = path.iter().map(|name| literal(name)).collect();
        return Some(Replacement::Expression(
            expression
                .replace("{normal}", NORMAL)
                .replace(
                    "{schemas}",
                    &format!("ARRAY[{}]::pg_catalog.name[]", all.join(", ")),
                )
                .replace("{schema}", &format!("{first}::pg_catalog.name")),
        ));
    }
    if let Some(type_) = list.nothing.get(function) {
        return (arguments > 0).then(|| Replacement::Null(format!("pg_catalog.{type_}")));
    }
    let Visible {
        relation, schema, ..
    } = list.visible.get(function).filter(|_| arguments == 1)?;
    let path: Vec<String> = path(grants)
        .into_iter()
        .map(literal)
        .chain(std::iter::once("'pg_catalog'".to_owned()))
        .collect();
    Some(Replacement::Among(format!(
        "SELECT c.oid FROM pg_catalog.{relation} AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.{schema} WHERE \
         n.nspname IN ({})",
        path.join(", ")
    )))
}

/// The schemas of the search path that the caller may know of: those of granted tables, and `public`.
fn path(grants: &Grants) -> Vec<&str> {
    let tables = grants.tables();
    let shown = |schema: &&str| {
        *schema == "public" || tables.iter().any(|table| table.relation.schema == *schema)
    };
    let path = grants.search_path().iter().map(String::as_str);
    path.filter(shown).collect()
}

/// The search path as rows: `pg_catalog` comes first (0), as in PostgreSQL.
pub(super) fn search_path(grants: &Grants) -> String {
    let mut rows = vec!["('pg_catalog', 0)".to_owned()];
    for (index, schema) in path(grants).into_iter().enumerate() {
        rows.push(format!("({}, {})", literal(schema), index + 1));
    }
    values(&rows, &[("nspname", "name"), ("place", "int4")])
}

/// Whether a setting that a query names is among those that are answered.
pub(crate) fn setting_is_known(name: &str) -> bool {
    LIST.answers
        .get("current_setting")
        .is_some_and(|answer| answer.from.contains(&format!("'{}'", name.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Found, find};

    #[test]
    fn the_list_can_be_read_and_names_shadows_only() {
        let list = load().unwrap();
        assert!(list.nothing.contains_key("pg_get_expr"));
        for entry in list.visible.values() {
            let Some(Found::Shadowed(shadow)) = find(None, &entry.relation) else {
                panic!("{} has no shadow", entry.relation);
            };
            assert!(shadow.column_names().contains(&entry.schema));
            assert!(shadow.column_names().contains(&"oid".to_owned()));
        }
        for (call, expression) in &list.calls {
            for word in expression.split(' ') {
                if let Some(answer) = word.strip_prefix("rowgate.") {
                    assert!(list.answers.contains_key(answer), "{call:?} reads {answer}");
                }
            }
            for index in 1..9 {
                let named = expression.contains(&format!("${index}"));
                assert!(!named || index <= call.1, "{call:?} has no ${index}");
            }
            assert!(
                !list.nothing.contains_key(&call.0),
                "{call:?} is listed twice"
            );
            // A name in an argument must not mean a column of an answer or a shadow: the arguments stand by themselves.
            if let Some((_, from)) = expression.split_once(" FROM (SELECT ") {
                let own = from.split_once(") AS q").map_or("", |(own, _)| own);
                let all = expression.matches('$').count();
                assert_eq!(own.matches(" AS ").count(), all, "{call:?}");
                assert_eq!(own.matches("($").count(), all, "{call:?}");
            }
        }
        for type_ in list.lookups.values() {
            let columns = list.answers.get(type_).unwrap().column_names();
            for column in ["name", "oid", "shown"] {
                assert!(columns.contains(&column.to_owned()), "{type_}.{column}");
            }
        }
    }

    #[test]
    fn the_search_path_names_no_schema_the_caller_may_not_know() {
        let grants = Grants::new(
            Vec::new(),
            vec!["secret".to_owned(), "public".to_owned()],
            Vec::new(),
        );
        assert_eq!(path(&grants), ["public"]);
        assert!(!search_path(&grants).contains("secret"));
        let Some(Replacement::Expression(all)) = replacement("current_schemas", 1, &grants) else {
            panic!("current_schemas is not replaced");
        };
        assert!(all.contains("ARRAY['public']::pg_catalog.name[]") && !all.contains("secret"));
    }

    #[test]
    fn settings_are_known_by_their_whole_names() {
        assert!(setting_is_known("Server_Version_Num"));
        for name in ["data_directory", "version", "rowgate.user_id", "", "server"] {
            assert!(!setting_is_known(name), "{name}");
        }
    }
}
