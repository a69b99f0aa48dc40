//! Relation tuples as people write them: `document:7#viewer@user:bob`, `folder:1#viewer@group:eng#member`.

use super::ManageError;
use crate::tuples::valid_name;

/// What the columns mean, in the order of a tuple's keys.
pub(super) const COLUMNS: &[&str] = &[
    "namespace",
    "object",
    "relation",
    "subject_namespace",
    "subject_id",
    "subject_relation",
];

/// The six parts. Ids hold no `#`, so the text can be read in one way only; an id may hold `:` and `@`.
pub(super) fn parse(text: &str) -> Result<Vec<String>, ManageError> {
    parts(text).ok_or_else(|| {
        ManageError::invalid(
            "this is not a tuple",
            "Write it as document:7#viewer@user:bob, or with a set as its subject: document:7#viewer@group:eng#member.",
        )
    })
}

fn parts(text: &str) -> Option<Vec<String>> {
    let (object, rest) = text.split_once('#')?;
    let (relation, subject) = rest.split_once('@')?;
    let (subject, subject_relation) = match subject.split_once('#') {
        Some((_, "")) => return None,
        Some((subject, relation)) => (subject, relation),
        None => (subject, ""),
    };
    let (namespace, object) = object.split_once(':')?;
    let (subject_namespace, subject_id) = subject.split_once(':')?;
    let named = [namespace, relation, subject_namespace]
        .into_iter()
        .all(valid_name)
        && (subject_relation.is_empty() || valid_name(subject_relation));
    let keys = [
        namespace,
        object,
        relation,
        subject_namespace,
        subject_id,
        subject_relation,
    ];
    named.then(|| keys.map(str::to_owned).to_vec())
}

/// The parts as one text.
pub(super) fn text(keys: &[String]) -> String {
    match keys {
        [
            namespace,
            object,
            relation,
            subject_namespace,
            subject_id,
            subject_relation,
        ] => {
            let text = format!("{namespace}:{object}#{relation}@{subject_namespace}:{subject_id}");
            match subject_relation.is_empty() {
                true => text,
                false => format!("{text}#{subject_relation}"),
            }
        }
        _ => keys.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_is_read_in_one_way_and_written_back() {
        for (text_, keys) in [
            (
                "document:7#viewer@user:bob",
                ["document", "7", "viewer", "user", "bob", ""],
            ),
            (
                "folder:a:b#viewer@group:eng#member",
                ["folder", "a:b", "viewer", "group", "eng", "member"],
            ),
            (
                "doc:x@y#viewer@user:bob@example.com",
                ["doc", "x@y", "viewer", "user", "bob@example.com", ""],
            ),
        ] {
            assert_eq!(parse(text_).unwrap(), keys, "{text_}");
            assert_eq!(text(&keys.map(str::to_owned)), text_);
        }
        for wrong in [
            "",
            "document:7",
            "document:7#viewer",
            "7#viewer@user:bob",
            "document:7#viewer@bob",
            "document:7#viewer@user:bob#",
            "document:7#viewer@group:a#b#c",
            "doc ument:7#viewer@user:bob",
            "document:7#view er@user:bob",
            ":7#viewer@user:bob",
            "document:7#@user:bob",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
