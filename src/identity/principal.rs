//! The end user a request acts for: what every later stage decides by.

use crate::tuples::Pair;
use std::collections::{BTreeMap, BTreeSet};

/// The end user a session (or, with a signed token, one statement) acts for.
///
/// Private fields and one constructor ([`Principal::new`]), so that no other module can widen one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    login: String,
    user_id: String,
    roles: BTreeMap<String, BTreeSet<String>>,
    permissions: BTreeSet<String>,
    attributes: BTreeMap<String, Vec<String>>,
    tags: BTreeSet<String>,
    objects: BTreeMap<Pair, BTreeSet<String>>,
    superuser: bool,
    unmet_conditions: BTreeSet<usize>,
}

/// What providers found out about a user; several merge into one [`Principal`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Roles, each with the providers that gave it.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// Permissions, already expanded (hierarchy and wildcards).
    pub permissions: BTreeSet<String>,
    /// Attributes; a single value is a list of one. Two have a meaning of their own: `email` holds the
    /// user's e-mail addresses, `groups` the groups the user is a member of.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Tags this user may access.
    pub tags: BTreeSet<String>,
    /// Ids of the objects this user holds a relation on, as far as a provider knows; tuples in the
    /// database are read by the permission view itself.
    pub objects: BTreeMap<Pair, BTreeSet<String>>,
    /// All rows and columns of every table in `views/`.
    pub superuser: bool,
    /// The conditions of the configuration, by their number, that concern the user and do not hold now.
    pub unmet_conditions: BTreeSet<usize>,
}

impl Principal {
    /// A principal from who logged in, whom they act for, and what the providers found.
    pub fn new(login: impl Into<String>, user_id: impl Into<String>, findings: Findings) -> Self {
        let Findings {
            roles,
            permissions,
            attributes,
            tags,
            objects,
            superuser,
            unmet_conditions,
        } = findings;
        Self {
            login: login.into(),
            user_id: user_id.into(),
            roles,
            permissions,
            attributes,
            tags,
            objects,
            superuser,
            unmet_conditions,
        }
    }

    /// Who opened the connection.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Whose rows are shown.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Role names, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// Roles with the providers that gave each.
    pub fn role_sources(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.roles
    }

    /// Permission names, sorted, already expanded.
    pub fn permissions(&self) -> &BTreeSet<String> {
        &self.permissions
    }

    /// Whether the principal holds `permission`, also through a wildcard such as `admin:*`.
    pub fn has_permission(&self, permission: &str) -> bool {
        self.superuser
            || self.permissions.contains(permission)
            || self.permissions.iter().any(|held| {
                held == "*"
                    || held.strip_suffix(":*").is_some_and(|scope| {
                        permission
                            .strip_prefix(scope)
                            .is_some_and(|rest| rest.starts_with(':'))
                    })
            })
    }

    /// Attributes by name.
    pub fn attributes(&self) -> &BTreeMap<String, Vec<String>> {
        &self.attributes
    }

    /// Tags this user may access, sorted.
    pub fn tags(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// Ids of objects by type and relation, as far as a provider knows.
    pub fn objects(&self) -> &BTreeMap<Pair, BTreeSet<String>> {
        &self.objects
    }

    /// Whether the superuser flag is set.
    pub fn superuser(&self) -> bool {
        self.superuser
    }

    /// The conditions of the configuration, by their number, that concern the user and do not hold now.
    pub fn unmet_conditions(&self) -> &BTreeSet<usize> {
        &self.unmet_conditions
    }
}
