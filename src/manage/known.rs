//! What means something: permissions that a view, a column, a mask or the gate asks for, relations that are declared. A
//! grant of another one is most likely a slip of the pen.

use super::{Item, Kind};
use crate::policy::PermissionView;
use crate::tuples::{Pair, Tuples};
use std::collections::BTreeSet;
use std::sync::Arc;
use strsim::osa_distance;

/// The permissions that something asks for, and the relations that are declared.
#[derive(Debug, Clone, Default)]
pub struct Known {
    permissions: BTreeSet<String>,
    tuples: Option<Arc<Tuples>>,
}

impl Known {
    /// Those the views name, and `others`.
    pub fn new<'a>(
        views: impl IntoIterator<Item = &'a PermissionView>,
        others: impl IntoIterator<Item = String>,
        tuples: Option<Arc<Tuples>>,
    ) -> Self {
        let mut known: BTreeSet<String> = others.into_iter().collect();
        for view in views {
            known.extend(view.requires().iter().cloned());
            known.extend(view.column_requires().values().flatten().cloned());
            known.extend(view.masks().values().filter_map(|mask| mask.unless.clone()));
        }
        Self {
            permissions: known,
            tuples,
        }
    }

    /// What is odd about granting this; `None`: nothing.
    pub fn doubt(&self, item: &Item) -> Option<String> {
        match (item.kind(), item.keys()) {
            (Kind::Permission, _) => self.permission(&item.name()),
            (Kind::Tuple, [namespace, _, relation, ..]) => {
                let pair = Pair::new(namespace, relation);
                let tuples = self.tuples.as_ref();
                let declared = tuples.is_some_and(|tuples| tuples.namespaces.has(&pair));
                (!declared).then(|| format!("{pair} is not declared in [tuples]"))
            }
            (Kind::Role | Kind::Group | Kind::Tag | Kind::Tuple, _) => None,
        }
    }

    /// Nothing is odd about a permission that something asks for, and about a wildcard over such.
    fn permission(&self, permission: &str) -> Option<String> {
        let covers = |scope: &str| {
            let mut under = self
                .permissions
                .iter()
                .filter_map(|known| known.strip_prefix(scope));
            under.any(|rest| rest.starts_with(':'))
        };
        let known = permission == "*"
            || self.permissions.contains(permission)
            || permission.strip_suffix(":*").is_some_and(covers);
        if known {
            return None;
        }
        let says = format!("no view, column or setting asks for permission {permission:?}");
        let distance = |known: &String| osa_distance(permission, known);
        let near = self.permissions.iter().min_by_key(|known| distance(known));
        let near = near.filter(|near| distance(near) <= (permission.chars().count() / 3).max(1));
        Some(match near {
            Some(near) => format!("{says}; did you mean {near:?}?"),
            None => says,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Known;

    #[test]
    fn only_what_nothing_asks_for_is_in_doubt() {
        let names = ["read:pii", "read:posts:drafts", "fetch_invoice"];
        let known = Known::new([], names.map(str::to_owned), None);
        for permission in [
            "read:pii",
            "fetch_invoice",
            "*",
            "read:*",
            "read:posts:*",
            "read:posts:drafts",
        ] {
            assert_eq!(known.permission(permission), None, "{permission}");
        }
        for permission in ["read:pi", "read", "write:*", "fetch:*", "read:pii:*", "x"] {
            assert!(known.permission(permission).is_some(), "{permission}");
        }
        let near = known.permission("fetch_invoices").unwrap();
        assert!(near.contains("did you mean \"fetch_invoice\"?"), "{near}");
    }
}
