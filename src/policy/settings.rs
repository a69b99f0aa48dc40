//! What the database is told about the principal: [`PrincipalSettings`].

use crate::identity::Principal;
use crate::policy::PrincipalField;
use crate::tuples::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::OnceLock;

/// Sets the seven settings for the current transaction; parameters `$1` to `$7` are
/// [`PrincipalSettings::parameters`]. Run in the same implicit transaction as the query.
pub const SET_PRINCIPAL: &str = "SELECT pg_catalog.set_config('rowgate.user_id', $1, true), \
     pg_catalog.set_config('rowgate.roles', $2, true), \
     pg_catalog.set_config('rowgate.permissions', $3, true), \
     pg_catalog.set_config('rowgate.attributes', $4, true), \
     pg_catalog.set_config('rowgate.tags', $5, true), \
     pg_catalog.set_config('rowgate.objects', $6, true), \
     pg_catalog.set_config('rowgate.permission_patterns', $7, true)";

/// A principal in the text forms that are bound to parameters: of [`SET_PRINCIPAL`] (barrier) or of
/// the query itself (inline).
///
/// A superuser's permissions are `{"*"}` added to their own, so that `rowgate.has_permission()` and
/// [`Principal::has_permission`] agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalSettings {
    /// Who opened the connection. No setting: only catalogue shadows ask.
    pub login: String,
    /// As is; empty = nobody.
    pub user_id: String,
    /// A `text[]` literal: `{"HR Manager","Sales"}`.
    pub roles: String,
    /// A `text[]` literal.
    pub permissions: String,
    /// A JSON object of `text[]` literals, which PostgreSQL reads without a sub-select: `{"region":"{\"EU\"}"}`.
    pub attributes: String,
    /// A `text[]` literal.
    pub tags: String,
    /// A JSON object of `text[]` literals: `{"document":{"viewer":"{\"1\",\"2\"}"}}`.
    pub objects: String,
    /// The permissions as patterns of LIKE, a `text[]` literal: `posts:*` is `posts:%`.
    pub permission_patterns: String,
    /// All of it as the database is told it.
    pub messages: Messages,
}

/// The messages that tell a principal to the database, put together when they are first needed. They say nothing that
/// the settings beside them do not, so all are equal.
#[derive(Debug, Clone, Default)]
pub struct Messages(pub OnceLock<Box<[u8]>>);

impl PartialEq for Messages {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Messages {}

impl PrincipalSettings {
    /// The values of `$1` to `$7` of [`SET_PRINCIPAL`].
    pub fn parameters(&self) -> [&str; 7] {
        [
            &self.user_id,
            &self.roles,
            &self.permissions,
            &self.attributes,
            &self.tags,
            &self.objects,
            &self.permission_patterns,
        ]
    }

    /// The text bound for one field (inline enforcement).
    pub fn field(&self, field: PrincipalField) -> &str {
        match field {
            PrincipalField::Attributes => &self.attributes,
            PrincipalField::Login => &self.login,
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
        let permissions = || {
            let own = principal.permissions().iter().map(String::as_str);
            own.chain(everything)
        };
        let patterns: Vec<String> = permissions().map(pattern).collect();
        Self {
            login: principal.login().to_owned(),
            user_id: principal.user_id().to_owned(),
            roles: array_literal(principal.roles()),
            permissions: array_literal(permissions()),
            attributes: json_object(principal.attributes()),
            tags: array_literal(principal.tags().iter().map(String::as_str)),
            objects: json_objects(principal.objects()),
            permission_patterns: array_literal(patterns.iter().map(String::as_str)),
            messages: Messages::default(),
        }
    }
}

/// A permission as a pattern of LIKE (PostgreSQL manual, section 9.7.1): `*` and a `:*` at the end stand for
/// anything, as in [`Principal::has_permission`]; everything else is meant letter by letter.
fn pattern(permission: &str) -> String {
    let (stem, anything) = match permission.strip_suffix('*') {
        Some(stem) if stem.is_empty() || stem.ends_with(':') => (stem, "%"),
        _ => (permission, ""),
    };
    let mut out = String::with_capacity(permission.len());
    for c in stem.chars() {
        if matches!(c, '\\' | '%' | '_') {
            out.push('\\');
        }
        out.push(c);
    }
    out + anything
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
        let values = serde_json::Value::from(array_literal(values.iter().map(String::as_str)));
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{name}:{values}");
    }
    out.push('}');
    out
}

fn json_objects(objects: &BTreeMap<Pair, BTreeSet<String>>) -> String {
    let mut by_type: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for (pair, ids) in objects {
        let relations = by_type.entry(&pair.namespace).or_default();
        relations.insert(
            &pair.relation,
            array_literal(ids.iter().map(String::as_str)),
        );
    }
    serde_json::json!(by_type).to_string()
}
