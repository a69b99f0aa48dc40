//! From a bounded body to an [`Answer`], by JSON pointers (RFC 6901).

use super::json::strict;
use crate::config;
use crate::provider::{ANSWER_ITEMS_MAX, Answer, ProviderError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where in the answer is what; `None`: it is not there.
#[derive(Debug)]
pub(super) struct Pointers {
    permissions: Option<String>,
    roles: Option<String>,
    attributes: Option<String>,
}

impl Pointers {
    pub(super) fn new(settings: &config::HttpProvider) -> Self {
        Self {
            permissions: settings.permissions_pointer.clone(),
            roles: settings.roles_pointer.clone(),
            attributes: settings.attributes_pointer.clone(),
        }
    }
}

/// What the body says. What is not there where it should be makes all of it unusable: a service that
/// reports an error with status 200 must not mean "nothing".
pub(super) fn read(bytes: &[u8], pointers: &Pointers) -> Result<Answer, ProviderError> {
    // The library's own words name line and column, never the content.
    let json = strict(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        garbage(format!(
            "not JSON, or a name stands twice (line {line}, column {column})"
        ))
    })?;
    let mut answer = Answer::default();
    if let Some(found) = at(&json, pointers.permissions.as_deref())? {
        answer.permissions = names(found)?;
    }
    if let Some(found) = at(&json, pointers.roles.as_deref())? {
        answer.roles = names(found)?;
    }
    if let Some(found) = at(&json, pointers.attributes.as_deref())? {
        answer.attributes = attributes(found)?;
    }
    Ok(answer)
}

fn at<'a>(json: &'a Value, pointer: Option<&str>) -> Result<Option<&'a Value>, ProviderError> {
    let Some(pointer) = pointer else {
        return Ok(None);
    };
    json.pointer(pointer)
        .map(Some)
        .ok_or_else(|| garbage(format!("there is nothing at \"{pointer}\"")))
}

fn names(value: &Value) -> Result<BTreeSet<String>, ProviderError> {
    let Value::Array(items) = value else {
        return Err(garbage("roles or permissions are not a list".to_owned()));
    };
    if items.len() > ANSWER_ITEMS_MAX {
        return Err(ProviderError::Oversize(
            "more than 10000 roles or permissions",
        ));
    }
    items
        .iter()
        .map(|item| match item {
            Value::String(name) => Ok(name.clone()),
            _ => Err(garbage("a role or permission is not text".to_owned())),
        })
        .collect()
}

fn attributes(value: &Value) -> Result<BTreeMap<String, Vec<String>>, ProviderError> {
    let Value::Object(entries) = value else {
        return Err(garbage("the attributes are not an object".to_owned()));
    };
    if entries.len() > ANSWER_ITEMS_MAX {
        return Err(ProviderError::Oversize("too many attributes"));
    }
    let mut attributes = BTreeMap::new();
    for (name, value) in entries {
        let values = match value {
            Value::Array(items) => items.iter().map(text).collect::<Result<Vec<_>, _>>()?,
            Value::Null => Vec::new(),
            _ => vec![text(value)?],
        };
        attributes.insert(name.clone(), values);
    }
    Ok(attributes)
}

fn text(value: &Value) -> Result<String, ProviderError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(garbage(
            "an attribute is neither a text, a number nor a list of them".to_owned(),
        )),
    }
}

fn garbage(says: String) -> ProviderError {
    ProviderError::Garbage(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(permissions: &str, roles: &str, attributes: &str) -> Pointers {
        let pointer = |text: &str| (text != "none").then(|| text.to_owned());
        Pointers {
            permissions: pointer(permissions),
            roles: pointer(roles),
            attributes: pointer(attributes),
        }
    }

    fn usual() -> Pointers {
        pointers("/permissions", "/roles", "/attributes")
    }

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn all_that_is_said_is_read() {
        let body = br#"{"permissions": ["a", "b", "a"], "roles": [], "more": {"x": [1]},
                        "attributes": {"region": ["EU", "US"], "team": 7, "lead": true, "desk": null, "none": []}}"#;
        let answer = read(body, &usual()).unwrap();
        assert_eq!(answer.permissions, set(&["a", "b"]));
        assert!(answer.roles.is_empty());
        let attributes = |name: &str| answer.attributes[name].clone();
        assert_eq!(attributes("region"), ["EU", "US"]);
        assert_eq!(attributes("team"), ["7"]);
        assert_eq!(attributes("lead"), ["true"]);
        assert!(attributes("desk").is_empty() && attributes("none").is_empty());
    }

    #[test]
    fn pointers_reach_anywhere() {
        let body = br#"{"data": {"a/b": [{"p~q": ["deep"]}]}}"#;
        let answer = read(body, &pointers("/data/a~1b/0/p~0q", "none", "none")).unwrap();
        assert_eq!(answer.permissions, set(&["deep"]));
        let answer = read(br#"["x"]"#, &pointers("none", "", "none")).unwrap();
        assert_eq!(answer.roles, set(&["x"]));
    }

    #[test]
    fn anything_else_is_unusable_as_a_whole() {
        for body in [
            "",
            "not JSON",
            "{",
            "null",
            "[]",
            r#"{"error": "database down"}"#,
            r#"{"permissions": [], "roles": []}"#,
            r#"{"permissions": null, "roles": [], "attributes": {}}"#,
            r#"{"permissions": "a b", "roles": [], "attributes": {}}"#,
            r#"{"permissions": [1], "roles": [], "attributes": {}}"#,
            r#"{"permissions": [["a"]], "roles": [], "attributes": {}}"#,
            r#"{"permissions": {"a": true}, "roles": [], "attributes": {}}"#,
            r#"{"permissions": [], "roles": [null], "attributes": {}}"#,
            r#"{"permissions": [], "roles": [], "attributes": []}"#,
            r#"{"permissions": [], "roles": [], "attributes": {"a": {"b": "c"}}}"#,
            r#"{"permissions": [], "roles": [], "attributes": {"a": [null]}}"#,
            r#"{"permissions": [], "roles": [], "attributes": {}} {"permissions": ["a"]}"#,
            r#"{"permissions": [], "permissions": ["a"], "roles": [], "attributes": {}}"#,
        ] {
            let told = read(body.as_bytes(), &usual());
            assert!(
                matches!(told, Err(ProviderError::Garbage(_))),
                "{body}: {told:?}"
            );
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(deep.as_bytes(), &usual()).is_err());
    }
}
