//! `[tuples]`: relation tuples, their table, and the rules that say what follows from what.

use super::check::{Check, join, nearest};
use super::raw;
use crate::tuples::{
    EDGES_MAX, Member, NAME_BYTES_MAX, Namespaces, Pair, Relation, Subject, TupleColumns,
    TupleTable, Tuples, valid_name,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::{Table, Value};

const MEMBER_HINT: &str = "Write \"editor\" (who holds that on the same object) or \"parent.viewer\" (who holds that on the object that is its parent).";
const SUBJECT_HINT: &str =
    "Write \"user\", a namespace such as \"folder\", or a set such as \"group#member\".";
const RELATION_HINT: &str = "Write viewer = [\"editor\", \"parent.viewer\"] or viewer = { union = [...], subjects = [\"user\"] }.";

pub(super) fn tuples(check: &mut Check, top: &mut Table) -> Option<Arc<Tuples>> {
    let mut table = check.table(top, "", "tuples")?;
    let inside = check.table(&mut table, "tuples", "namespaces");
    let columns = check.table(&mut table, "tuples", "columns");
    let raw: raw::Tuples = check.section("tuples", table);
    let declared = match (inside, raw.namespaces_file) {
        (Some(table), None) => Some(("tuples.namespaces".to_owned(), table)),
        (None, Some(file)) => read_file(check, &file),
        (None, None) => {
            let hint = "Declare [tuples.namespaces.document] with its relations, or name a namespaces_file.";
            check.problem("tuples.namespaces", "is missing", hint);
            None
        }
        (Some(_), Some(_)) => {
            let hint = "Keep the one or the other.";
            check.problem(
                "tuples.namespaces_file",
                "stands beside [tuples.namespaces]",
                hint,
            );
            None
        }
    };
    let mut namespaces = Namespaces {
        user: raw.user.unwrap_or_else(|| "user".to_owned()),
        relations: BTreeMap::new(),
    };
    name(check, "tuples.user", &namespaces.user);
    let (path, declared) = declared?;
    for (namespace, relations) in declared {
        let path = join(&path, &namespace);
        name(check, &path, &namespace);
        let Value::Table(relations) = relations else {
            check.problem(path, "has to be a section", RELATION_HINT);
            continue;
        };
        let relations = relations.into_iter().filter_map(|(relation, value)| {
            let path = join(&path, &relation);
            name(check, &path, &relation);
            let rule = rule(check, &path, value, &namespaces.user)?;
            Some((relation, rule))
        });
        let relations = relations.collect();
        namespaces.relations.insert(namespace, relations);
    }
    consistent(check, &path, &namespaces);
    let objects_max = check.within(
        "tuples.objects_max",
        raw.objects_max,
        100_000,
        1,
        10_000_000,
    );
    let table = raw
        .table
        .and_then(|text| tuple_table(check, &text, columns));
    Some(Arc::new(Tuples {
        namespaces,
        table,
        objects_max,
    }))
}

fn read_file(check: &mut Check, file: &str) -> Option<(String, Table)> {
    let path = check.file("tuples.namespaces_file", file);
    let text = std::fs::read_to_string(&path).ok()?;
    match text.parse() {
        Ok(table) => Some((String::new(), table)),
        Err(error) => {
            let error: toml::de::Error = error;
            let says = format!("{}: {}", path.display(), error.message());
            check.problem(
                "tuples.namespaces_file",
                says,
                "The file has to be TOML 1.0.",
            );
            None
        }
    }
}

fn name(check: &mut Check, path: &str, name: &str) {
    if !valid_name(name) {
        let hint = format!("Letters, digits, _ and -, at most {NAME_BYTES_MAX} of them.");
        check.problem(path, "is not a name for a namespace or relation", &hint);
    }
}

fn rule(check: &mut Check, path: &str, value: Value, user: &str) -> Option<Relation> {
    let raw = match value {
        Value::Array(union) => raw::TupleRelation {
            union: Some(texts(check, path, union)?),
            subjects: None,
        },
        Value::Table(table) => check.section(path, table),
        _ => {
            check.problem(path, "is not a rule", RELATION_HINT);
            return None;
        }
    };
    let union = raw.union.unwrap_or_default();
    let union = union.iter().map(|text| match text.split_once('.') {
        Some((relation, held)) => Member::Through {
            relation: relation.to_owned(),
            held: held.to_owned(),
        },
        None => Member::Same(text.clone()),
    });
    let subjects = raw.subjects.map(|subjects| {
        let subjects = subjects.iter().map(|text| match text.split_once('#') {
            Some((namespace, relation)) => Subject::Set(Pair::new(namespace, relation)),
            None if text == user => Subject::User,
            None => Subject::Object(text.clone()),
        });
        subjects.collect()
    });
    Some(Relation {
        union: union.collect(),
        subjects,
    })
}

fn texts(check: &mut Check, path: &str, list: Vec<Value>) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> = list
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
        .collect();
    if texts.is_none() {
        check.problem(path, "is not a list of relations", MEMBER_HINT);
    }
    texts
}

/// Every name that a rule speaks of has to be declared.
fn consistent(check: &mut Check, path: &str, namespaces: &Namespaces) {
    for pair in namespaces.pairs() {
        let at = join(&join(path, &pair.namespace), &pair.relation);
        let Some(relations) = namespaces.relations.get(&pair.namespace) else {
            continue;
        };
        let Some(rule) = relations.get(&pair.relation) else {
            continue;
        };
        let names: Vec<&str> = relations.keys().map(String::as_str).collect();
        for member in &rule.union {
            let (Member::Same(relation) | Member::Through { relation, .. }) = member;
            if !relations.contains_key(relation) {
                let hint = hint(relation, &names, MEMBER_HINT);
                let says = format!("{} has no relation \"{relation}\"", pair.namespace);
                check.problem(&at, says, &hint);
            }
            if let Member::Through { held, .. } = member
                && !namespaces.relations.values().any(|r| r.contains_key(held))
            {
                let says = format!("no namespace has a relation \"{held}\"");
                check.problem(&at, says, MEMBER_HINT);
            }
        }
        for subject in rule.subjects.iter().flatten() {
            let (known, says) = match subject {
                Subject::User => (true, String::new()),
                Subject::Object(name) => (
                    namespaces.relations.contains_key(name),
                    format!("there is no namespace \"{name}\""),
                ),
                Subject::Set(set) => (
                    namespaces.has(set),
                    format!("there is no relation \"{set}\""),
                ),
            };
            if !known {
                check.problem(&at, says, SUBJECT_HINT);
            }
        }
        if namespaces.edges(&pair).is_none() {
            let says = format!("leads through more than {EDGES_MAX} ways");
            let hint =
                "Name the subjects of the relations: without them everything may stand everywhere.";
            check.problem(&at, says, hint);
        }
    }
}

fn hint(word: &str, known: &[&str], otherwise: &str) -> String {
    match nearest(word, known) {
        Some(near) => format!("Did you mean \"{near}\"?"),
        None => otherwise.to_owned(),
    }
}

fn tuple_table(check: &mut Check, text: &str, columns: Option<Table>) -> Option<TupleTable> {
    let parts: Vec<&str> = text.split('.').collect();
    let [schema, name] = parts.as_slice() else {
        let says = format!("\"{text}\" is not schema.table");
        check.problem(
            "tuples.table",
            says,
            "Write it as \"public.rowgate_tuples\".",
        );
        return None;
    };
    let raw: raw::TupleColumns = check.section("tuples.columns", columns.unwrap_or_default());
    let plain = TupleColumns::default();
    let columns = TupleColumns {
        namespace: raw.namespace.unwrap_or(plain.namespace),
        object: raw.object.unwrap_or(plain.object),
        relation: raw.relation.unwrap_or(plain.relation),
        subject_namespace: raw.subject_namespace.unwrap_or(plain.subject_namespace),
        subject_id: raw.subject_id.unwrap_or(plain.subject_id),
        subject_relation: raw.subject_relation.unwrap_or(plain.subject_relation),
        // Empty: there is none.
        expires_at: match raw.expires_at {
            Some(name) => Some(name).filter(|name| !name.is_empty()),
            None => plain.expires_at,
        },
    };
    Some(TupleTable {
        schema: (*schema).to_owned(),
        name: (*name).to_owned(),
        columns,
    })
}
