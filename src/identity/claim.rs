//! Where in a token's claims something stands ([`ClaimPath`]).

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Deepest path.
const STEPS_MAX: usize = 16;
/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// A path into the claims. How it is written decides how it is read, never what the claims hold:
///
/// - `/realm_access/roles`: a JSON pointer (RFC 6901), for any name there is;
/// - `https://example.com/roles`: one name, because it holds a `:` or a `/`;
/// - `realm_access.roles`: names parted by dots.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    first: String,
    rest: Vec<String>,
}

/// What stands on the way to a claim is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchPath;

impl ClaimPath {
    /// Reads a path.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > PATH_BYTES_MAX {
            return Err("is longer than 512 bytes");
        }
        let mut steps = match text.strip_prefix('/') {
            Some(pointer) => pointer
                .split('/')
                .map(unescape)
                .collect::<Option<Vec<_>>>()
                .ok_or("is not a JSON pointer: ~ stands only in ~0 and ~1")?,
            None if text.contains([':', '/']) => vec![text.to_owned()],
            None => text.split('.').map(str::to_owned).collect(),
        };
        if steps.iter().any(String::is_empty) {
            return Err("has an empty name in it");
        }
        if steps.len() > STEPS_MAX {
            return Err("is deeper than 16 names");
        }
        let rest = steps.split_off(1);
        let first = steps.pop().ok_or("has an empty name in it")?;
        Ok(Self {
            text: text.to_owned(),
            first,
            rest,
        })
    }

    /// What stands there; `None` when nothing does, which `null` counts as.
    ///
    /// # Errors
    /// [`NoSuchPath`] when something on the way is not an object.
    pub fn find<'a>(
        &self,
        claims: &'a BTreeMap<String, Value>,
    ) -> Result<Option<&'a Value>, NoSuchPath> {
        let mut found = claims.get(&self.first);
        for step in &self.rest {
            found = match found {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::Object(members)) => members.get(step),
                Some(Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                    return Err(NoSuchPath);
                }
            };
        }
        Ok(found.filter(|value| !value.is_null()))
    }

    /// Whether its last name is this one.
    pub(super) fn ends_with(&self, name: &str) -> bool {
        self.rest.last().unwrap_or(&self.first) == name
    }

    /// Whether it is one claim of this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.rest.is_empty() && self.first == name
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimPath({:?})", self.text)
    }
}

/// One name of a JSON pointer.
fn unescape(step: &str) -> Option<String> {
    let mut name = String::with_capacity(step.len());
    let mut characters = step.chars();
    while let Some(character) = characters.next() {
        name.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn how_a_path_is_written_decides_how_it_is_read() {
        let claims = json!({
            "role": "flat",
            "realm_access": {"roles": "nested"},
            "realm_access.roles": "a name with a dot",
            "https://example.com/roles": "a namespace",
            "urn:x.y": "a urn",
            "odd": {"a/b": "slash", "a~b": "tilde", "": "empty"},
            "nothing": null,
            "text": "text",
            "list": [{"a": 1}],
        });
        let claims: BTreeMap<String, Value> = serde_json::from_value(claims).unwrap();
        let at = |path: &str| {
            ClaimPath::parse(path)
                .unwrap()
                .find(&claims)
                .map(|found| found.and_then(Value::as_str).map(str::to_owned))
        };
        for (path, found) in [
            ("role", Ok(Some("flat"))),
            ("realm_access.roles", Ok(Some("nested"))),
            ("/realm_access/roles", Ok(Some("nested"))),
            ("/realm_access.roles", Ok(Some("a name with a dot"))),
            ("https://example.com/roles", Ok(Some("a namespace"))),
            ("urn:x.y", Ok(Some("a urn"))),
            ("/odd/a~1b", Ok(Some("slash"))),
            ("/odd/a~0b", Ok(Some("tilde"))),
            ("absent", Ok(None)),
            ("absent.deeper", Ok(None)),
            ("nothing", Ok(None)),
            ("nothing.deeper", Ok(None)),
            ("realm_access.absent", Ok(None)),
            ("text.deeper", Err(NoSuchPath)),
            ("/list/0", Err(NoSuchPath)),
        ] {
            assert_eq!(
                at(path),
                found.map(|found| found.map(str::to_owned)),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_path() {
        let deep = vec!["a"; 17].join(".");
        let long = "a".repeat(513);
        for text in [
            "", ".", "a..b", "a.", "/", "//", "/a//b", "/a~2", "/a~", &deep, &long,
        ] {
            assert!(ClaimPath::parse(text).is_err(), "{text}");
        }
    }
}
