//! What one provider knows about one user, and how asking can fail.

use super::Hierarchy;
use super::names::well_formed;
use crate::tuples::Pair;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Most roles, permissions or attribute values in one answer.
pub const ANSWER_ITEMS_MAX: usize = 10_000;
/// Longest single role, permission, attribute name or value, in bytes.
pub const ITEM_BYTES_MAX: usize = 1_024;

/// What one provider knows about one user. Empty for a user it does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Roles.
    pub roles: BTreeSet<String>,
    /// Permissions held directly.
    pub permissions: BTreeSet<String>,
    /// Attributes; a single value is a list of one.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// `Some(false)` is a denial: it wins over another provider's `true`.
    pub superuser: Option<bool>,
    /// Roles denied, whoever grants them.
    pub denied_roles: BTreeSet<String>,
    /// Permissions denied, whoever grants them, and through whichever role.
    pub denied_permissions: BTreeSet<String>,
    /// When it ends by itself (a temporary grant expires); not to be used from then on.
    pub until: Option<Instant>,
    /// Ids of the objects the user holds a relation on.
    pub objects: BTreeMap<Pair, BTreeSet<String>>,
    /// What roles and permissions bring along: the answer to [`super::Provider::hierarchy`], to nothing else.
    pub(super) hierarchy: Option<Arc<Hierarchy>>,
}

impl Answer {
    /// Checks the bounds and that no item is empty or holds a NUL (PostgreSQL could not take it).
    ///
    /// # Errors
    /// [`ProviderError::Oversize`] or [`ProviderError::Garbage`].
    pub fn check(&self) -> Result<(), ProviderError> {
        let sets = [
            &self.roles,
            &self.permissions,
            &self.denied_roles,
            &self.denied_permissions,
        ];
        for set in sets {
            check_items(set)?;
        }
        // Taken by its letters it would deny nothing, which nobody can have meant.
        if let Some(odd) = self
            .denied_permissions
            .iter()
            .find(|denied| !well_formed(denied))
        {
            return Err(ProviderError::Garbage(format!(
                "\"{odd}\" is denied, and is no wildcard: a * stands alone or after the last colon"
            )));
        }
        let objects: usize = self.objects.values().map(BTreeSet::len).sum();
        if objects > ANSWER_ITEMS_MAX {
            return Err(ProviderError::Oversize("more than 10000 related objects"));
        }
        self.objects.values().try_for_each(check_items)?;
        let values: usize = self.attributes.values().map(Vec::len).sum();
        if self.attributes.len() > ANSWER_ITEMS_MAX || values > ANSWER_ITEMS_MAX {
            return Err(ProviderError::Oversize("too many attributes"));
        }
        for (name, values) in &self.attributes {
            check_item(name)?;
            if values.iter().any(|value| value.len() > ITEM_BYTES_MAX) {
                return Err(ProviderError::Oversize(
                    "an attribute is longer than 1024 bytes",
                ));
            }
            if values.iter().any(|value| value.contains('\0')) {
                return Err(ProviderError::Garbage(
                    "an attribute holds a NUL".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Checks a set of roles or permissions.
pub(super) fn check_items(set: &BTreeSet<String>) -> Result<(), ProviderError> {
    if set.len() > ANSWER_ITEMS_MAX {
        return Err(ProviderError::Oversize(
            "more than 10000 roles or permissions",
        ));
    }
    set.iter().try_for_each(|item| check_item(item))
}

fn check_item(item: &str) -> Result<(), ProviderError> {
    if item.len() > ITEM_BYTES_MAX {
        return Err(ProviderError::Oversize("a name is longer than 1024 bytes"));
    }
    if item.is_empty() || item.contains('\0') {
        return Err(ProviderError::Garbage(
            "a name is empty or holds a NUL".to_owned(),
        ));
    }
    Ok(())
}

/// Why a provider did not answer. For the log; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It answered something that cannot be understood.
    #[error("the answer cannot be understood: {0}")]
    Garbage(String),
    /// It answered more than it may.
    #[error("the answer is too large: {0}")]
    Oversize(&'static str),
    /// What it last knew is older than allowed.
    #[error("the last good answer is too old: {0}")]
    Stale(String),
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It cannot be reached, or it failed.
    #[error("unavailable: {0}")]
    Unavailable(String),
}
