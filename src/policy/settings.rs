//! What the database is told about the principal: [`PrincipalSettings`].

use crate::identity::Principal;
use crate::policy::PrincipalField;
use crate::tuples::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Sets the six settings for the current transaction; parameters `$1` to `$6` are
/// [`PrincipalSettings::parameters`]. Run in the same implicit transaction as the query.
pub const SET_PRINCIPAL: &str = "SELECT pg_catalog.set_config('rowgate.user_id', $1, true), \
     pg_catalog.set_config('rowgate.roles', $2, true), \
     pg_catalog.set_config('rowgate.permissions', $3, true), \
     pg_catalog.set_config('rowgate.attributes', $4, true), \
     pg_catalog.set_config('rowgate.tags', $5, true), \
     pg_catalog.set_config('rowgate.objects', $6, true)";

/// A principal in the text forms that are bound to parameters: of [`SET_PRINCIPAL`] (barrier) or of
/// the query itself (inline).
///
/// A superuser's permissions are `{"*"}` added to their own, so that `rowgate.has_permission()` and
/// [`Principal::has_permission`] agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalSettings {
    /// As is; empty = nobody.
    pub user_id: String,
    /// A `text[]` literal: `{"HR Manager","Sales"}`.
    pub roles: String,
    /// A `text[]` literal.
    pub permissions: String,
    /// A JSON object of string lists: `{"region":["EU"]}`.
    pub attributes: String,
    /// A `text[]` literal.
    pub tags: String,
    /// A JSON object: `{"document":{"viewer":["1","2"]}}`.
    pub objects: String,
}

impl PrincipalSettings {
    /// The values of `$1` to `$6` of [`SET_PRINCIPAL`].
    pub fn parameters(&self) -> [&str; 6] {
        [
            &self.user_id,
            &self.roles,
            &self.permissions,
            &self.attributes,
            &self.tags,
            &self.objects,
        ]
    }

    /// The text bound for one field (inline enforcement).
    pub fn field(&self, field: PrincipalField) -> &str {
        match field {
            PrincipalField::Attributes => &self.attributes,
            PrincipalField::Objects => &self.objects,
            PrincipalField::Permissions => &self.permissions,
            PrincipalField::Roles => &self.roles,
            PrincipalField::Tags => &self.tags,
            PrincipalField::UserId => &self.user_id,
        }
    }
}

impl From<&Principal> for PrincipalSettings {
    fn from(principal: &Principal) -> Self {
        let everything = principal.superuser().then_some("*");
        Self {
            user_id: principal.user_id().to_owned(),
            roles: array_literal(principal.roles()),
            permissions: array_literal(
                principal
                    .permissions()
                    .iter()
                    .map(String::as_str)
                    .chain(everything),
            ),
            attributes: json_object(principal.attributes()),
            tags: array_literal(principal.tags().iter().map(String::as_str)),
            objects: json_objects(principal.objects()),
        }
    }
}

/// A `text[]` literal (PostgreSQL manual, section 8.15.6). Every element is quoted, so that `NULL`,
/// braces, commas and blanks are data.
pub(crate) fn array_literal<'a>(elements: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::from("{");
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push('"');
        for c in element.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push('}');
    out
}

fn json_object(attributes: &BTreeMap<String, Vec<String>>) -> String {
    let mut out = String::from("{");
    for (index, (name, values)) in attributes.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let name = serde_json::Value::from(name.as_str());
        let values = serde_json::Value::from(values.as_slice());
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{name}:{values}");
    }
    out.push('}');
    out
}

fn json_objects(objects: &BTreeMap<Pair, BTreeSet<String>>) -> String {
    let mut by_type: BTreeMap<&str, BTreeMap<&str, &BTreeSet<String>>> = BTreeMap::new();
    for (pair, ids) in objects {
        let relations = by_type.entry(&pair.namespace).or_default();
        relations.insert(&pair.relation, ids);
    }
    serde_json::json!(by_type).to_string()
}
