//! The list of silent functions, read once from `functions.toml`.

use super::types::{Family, Value, named};
use serde::Deserialize;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    function: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    names: Vec<String>,
    args: Vec<String>,
    result: String,
    /// Since which `server_version_num` it is silent; nothing said: in every version.
    #[serde(default)]
    since: u32,
    /// Why it is silent; for readers of the file.
    reason: String,
}

/// The file is part of the program: a list that does not parse is an empty list, so nothing is proved, and a
/// test says so.
static LIST: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    toml::from_str::<File>(include_str!("functions.toml"))
        .map(|file| file.function)
        .unwrap_or_default()
});

/// Fields EXTRACT knows for date, timestamp and timestamptz alike (manual, section 9.9.1).
const FIELDS: [&str; 14] = [
    "century", "day", "days", "decade", "dow", "doy", "epoch", "isodow", "isoyear", "month",
    "quarter", "week", "year", "years",
];

/// An argument: its value, and the literal it is, if it is one.
pub(super) struct Argument {
    pub value: Value,
    pub text: Option<String>,
    pub integer: Option<i32>,
}

/// The result of a silent call, or `None` if it is not on the list for these arguments on such a server.
pub(super) fn result(name: &str, arguments: &[Argument], server_version: u32) -> Option<Value> {
    let entry = LIST.iter().find(|entry| {
        server_version >= entry.since
            && entry.names.iter().any(|known| known == name)
            && entry.args.len() == arguments.len()
            && entry
                .args
                .iter()
                .zip(arguments)
                .all(|(pattern, argument)| fits(pattern, argument))
    })?;
    debug_assert!(!entry.reason.is_empty(), "a silent function needs a reason");
    Some(Value::of(family(&entry.result)))
}

fn fits(pattern: &str, argument: &Argument) -> bool {
    match pattern {
        "constant" => argument.value.constant,
        "count" => argument.integer.is_some_and(|count| count >= 0),
        "words" => argument.text.as_ref().is_some_and(|text| text.len() <= 500),
        "field" => argument
            .text
            .as_deref()
            .is_some_and(|field| FIELDS.contains(&field.to_ascii_lowercase().as_str())),
        family_name => argument.value.family == family(family_name),
    }
}

fn family(name: &str) -> Family {
    match name {
        "boolean" => Family::Boolean,
        "float" => Family::Float,
        "integer" => Family::Integer,
        builtin => named(builtin),
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, LIST, family};

    #[test]
    fn the_list_parses_and_every_entry_has_a_reason_and_known_families() {
        assert!(LIST.len() > 10);
        for entry in LIST.iter() {
            assert!(entry.reason.len() > 10, "{:?}", entry.names);
            assert_ne!(family(&entry.result), Family::Opaque, "{:?}", entry.names);
            for arg in &entry.args {
                let special = ["constant", "count", "field", "words"].contains(&arg.as_str());
                assert!(
                    special || family(arg) != Family::Opaque,
                    "{:?} {arg}",
                    entry.names
                );
            }
        }
    }
}
