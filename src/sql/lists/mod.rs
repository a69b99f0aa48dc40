//! Which functions, operators, types and collations a query may use, as data with a reason per group.
//!
//! The data is part of the program; if it could not be read, the lists would be empty and everything
//! refused. A test reads it.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;
use strsim::levenshtein;

/// What a listed function is, for those who must know where it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FunctionClass {
    /// Many rows to one value.
    Aggregate,
    /// One value from its arguments.
    Scalar,
    /// One call, many rows.
    SetReturning,
    /// Needs OVER.
    Window,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionFile {
    group: Vec<FunctionGroup>,
    /// A listed function, or a sentence.
    habits: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionGroup {
    class: FunctionClass,
    #[serde(rename = "reason")]
    _reason: String,
    names: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorFile {
    group: Vec<OperatorGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorGroup {
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(default)]
    symbols: String,
    #[serde(default)]
    phrases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeFile {
    group: Vec<TypeGroup>,
    near: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeGroup {
    #[serde(rename = "reason")]
    _reason: String,
    names: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollationFile {
    names: HashSet<String>,
}

#[derive(Default)]
struct Lists {
    functions: HashMap<String, FunctionClass>,
    habits: BTreeMap<String, String>,
    operators: HashSet<String>,
    types: HashSet<String>,
    near_types: BTreeMap<String, String>,
    collations: HashSet<String>,
    attribute_calls: HashSet<&'static str>,
}

fn load() -> Result<Lists, toml::de::Error> {
    let functions: FunctionFile = toml::from_str(include_str!("functions.toml"))?;
    let operators: OperatorFile = toml::from_str(include_str!("operators.toml"))?;
    let types: TypeFile = toml::from_str(include_str!("types.toml"))?;
    let collations: CollationFile = toml::from_str(include_str!("collations.toml"))?;
    let words = |names: &str| {
        names
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    Ok(Lists {
        functions: functions
            .group
            .iter()
            .flat_map(|g| words(&g.names).into_iter().map(|name| (name, g.class)))
            .collect(),
        habits: functions.habits,
        operators: operators
            .group
            .iter()
            .flat_map(|g| {
                words(&g.symbols)
                    .into_iter()
                    .chain(g.phrases.iter().cloned())
            })
            .collect(),
        types: types.group.iter().flat_map(|g| words(&g.names)).collect(),
        near_types: types.near,
        collations: collations.names,
        attribute_calls: include_str!("attribute_calls.txt")
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect(),
    })
}

static LISTS: LazyLock<Lists> = LazyLock::new(|| load().unwrap_or_default());

/// The class of a built-in function on the list; `None` = not allowed. `name` is folded, unqualified.
pub(crate) fn function(name: &str) -> Option<FunctionClass> {
    LISTS.functions.get(name).copied()
}

/// A function that may be called where its result becomes text, and nowhere else: see `src/catalog/functions.toml`.
pub(crate) const TYPE_OF: &str = "pg_typeof";

/// Whether it is `information_schema._pg_expandarray`, with which JDBC reads keys: the elements of its argument,
/// numbered.
pub(crate) fn of_information_schema(schema: &str, name: &str) -> bool {
    schema == "information_schema" && name == "_pg_expandarray"
}

/// Whether an operator, by its symbol, is on the list.
pub(crate) fn operator(symbol: &str) -> bool {
    LISTS.operators.contains(symbol)
}

/// Whether a type may be the target of a cast or typed literal; the name as PostgreSQL's grammar
/// gives it (`int4`, `numeric`, `text`, `timestamptz`, ...), without array brackets.
pub(crate) fn cast_type(name: &str) -> bool {
    LISTS.types.contains(name)
}

/// pgvector's distances; allowed where a principal may read a vector, by their full names.
pub(crate) const VECTOR_DISTANCES: [&str; 4] = ["<->", "<#>", "<=>", "<+>"];
/// Its types, to cast to.
pub(crate) const VECTOR_TYPES: [&str; 3] = ["halfvec", "sparsevec", "vector"];

/// Whether COLLATE may name it.
pub(crate) fn collation(name: &str) -> bool {
    LISTS.collations.contains(name)
}

/// Whether `(x).name` may be a field: not the name of a function that is off the list, which the same
/// notation would call.
pub(crate) fn field(name: &str) -> bool {
    function(name).is_some()
        || !(LISTS.attribute_calls.is_empty()
            || LISTS.attribute_calls.contains(name)
            || [
                "pg_",
                "lo_",
                "dblink",
                "to_reg",
                "has_",
                "query_to_",
                "table_to_",
                "cursor_to_",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix)))
}

/// Whether `t.name`, with `t` a row source, may be a column: not the name of a function that is off the
/// list and takes a whole row, which the same notation would call. (No other takes a row.)
pub(crate) fn column(name: &str) -> bool {
    !(name.starts_with("pg_") && function(name).is_none() || ROW_CALLS.contains(&name))
}

/// The functions of attribute_calls.txt whose one argument may be a row.
const ROW_CALLS: [&str; 8] = [
    "any_out",
    "anycompatible_out",
    "anycompatiblenonarray_out",
    "anyelement_out",
    "anynonarray_out",
    "hash_record",
    "record_out",
    "record_send",
];

/// What to write instead of a function that is not listed, if that is known: a full sentence.
pub(crate) fn function_hint(name: &str) -> Option<String> {
    let near = match LISTS.habits.get(name) {
        Some(sentence) if is_sentence(sentence) => return Some(sentence.clone()),
        Some(function) => function,
        None => nearest(name, LISTS.functions.keys().map(String::as_str))?,
    };
    Some(format!("Did you mean {near}?"))
}

/// Whether a habit's answer is a sentence and not the name of a function.
fn is_sentence(answer: &str) -> bool {
    answer.contains(' ')
}

/// A type that is near `name`, for a hint.
pub(crate) fn near_type(name: &str) -> Option<&'static str> {
    if let Some(near) = LISTS.near_types.get(name) {
        return Some(near);
    }
    nearest(name, LISTS.types.iter().map(String::as_str))
}

/// The nearest of `names` by edit distance, if it is a likely slip of the pen; ties go to the first
/// in alphabetical order, so that the answer does not depend on the order of a hash table.
fn nearest(name: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let allowed = if name.len() < 4 || name.len() > 63 {
        return None;
    } else {
        1 + name.len() / 6
    };
    names
        .filter(|known| known.len().abs_diff(name.len()) <= allowed)
        .map(|known| (levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_can_be_read_and_nothing_is_listed_twice() {
        load().unwrap();
        let file: FunctionFile = toml::from_str(include_str!("functions.toml")).unwrap();
        let mut seen = HashSet::new();
        for group in &file.group {
            assert!(!group._reason.is_empty());
            for name in group.names.split_whitespace() {
                assert!(seen.insert(name.to_owned()), "{name} is listed twice");
            }
        }
        for (name, answer) in &file.habits {
            assert!(!seen.contains(name), "{name} is on the list itself");
            assert!(
                seen.contains(answer) || is_sentence(answer) && answer.ends_with('.'),
                "{name} points to {answer}, which is not on the list"
            );
        }
    }

    #[test]
    fn what_reads_by_name_or_text_or_acts_is_off_every_list() {
        for name in "query_to_xml table_to_xml cursor_to_xml database_to_xml schema_to_xml ts_stat ts_rewrite dblink \
                     lo_get lo_export pg_read_file pg_ls_dir pg_stat_file current_setting set_config current_query \
                     pg_sleep pg_advisory_lock pg_get_viewdef pg_get_functiondef has_table_privilege to_regclass \
                     txid_current nextval currval lastval setval pg_backend_pid inet_server_addr enum_range \
                     obj_description col_description xpath xmlparse pg_terminate_backend pg_notify array_fill \
                     current_schema current_user session_user pg_column_size pg_relation_size json_populate_record"
            .split_whitespace()
        {
            assert_eq!(function(name), None, "{name}");
            if name.starts_with("pg_") {
                assert!(!column(name), "{name}");
            }
        }
        for name in "regclass regproc regtype regrole regnamespace regconfig xml record refcursor anyelement unknown \
                     pg_lsn tid xid cstring"
            .split_whitespace()
        {
            assert!(!cast_type(name), "{name}");
        }
    }

    #[test]
    fn a_field_that_would_be_a_forbidden_call_is_refused_and_a_likely_column_is_not() {
        for name in [
            "pg_sleep",
            "pg_read_file",
            "to_regclass",
            "regclass",
            "nextval",
            "query_to_xml",
            "lo_get",
        ] {
            assert!(!field(name), "{name}");
        }
        for name in [
            "name", "date", "value", "key", "id", "amount", "status", "f1", "version", "count",
        ] {
            assert!(field(name), "{name}");
            assert!(column(name), "{name}");
        }
    }

    #[test]
    fn slips_and_other_dialects_are_pointed_to_a_listed_function() {
        let hint = |name: &str| function_hint(name).unwrap_or_default();
        assert_eq!(
            hint("datediff"),
            "Subtract the dates: end_date - start_date gives days."
        );
        assert_eq!(hint("ucase"), "Did you mean upper?");
        assert_eq!(hint("strng_agg"), "Did you mean string_agg?");
        assert_eq!(hint("invoice_peek"), "");
        assert_eq!(near_type("datetime"), Some("timestamp"));
        assert_eq!(levenshtein("kitten", "sitting"), 3);
    }
}
