//! Which permissions mean something: those a view, a column, a mask or the gate asks for. A grant of another one is
//! most likely a slip of the pen.

use crate::policy::PermissionView;
use std::collections::BTreeSet;
use strsim::osa_distance;

/// The permissions that something asks for.
#[derive(Debug, Clone, Default)]
pub struct Known(BTreeSet<String>);

impl Known {
    /// Those the views name, and `others`.
    pub fn new<'a>(
        views: impl IntoIterator<Item = &'a PermissionView>,
        others: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut known: BTreeSet<String> = others.into_iter().collect();
        for view in views {
            known.extend(view.requires().iter().cloned());
            known.extend(view.column_requires().values().flatten().cloned());
            known.extend(view.masks().values().filter_map(|mask| mask.unless.clone()));
        }
        Self(known)
    }

    /// What is odd about a permission; `None` for one that something asks for, and for a wildcard over such.
    pub fn doubt(&self, permission: &str) -> Option<String> {
        let covers = |scope: &str| {
            let mut under = self.0.iter().filter_map(|known| known.strip_prefix(scope));
            under.any(|rest| rest.starts_with(':'))
        };
        let known = permission == "*"
            || self.0.contains(permission)
            || permission.strip_suffix(":*").is_some_and(covers);
        if known {
            return None;
        }
        let says = format!("no view, column or setting asks for permission {permission:?}");
        let distance = |known: &String| osa_distance(permission, known);
        let near = self.0.iter().min_by_key(|known| distance(known));
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
        let known = Known::new([], names.map(str::to_owned));
        for permission in [
            "read:pii",
            "fetch_invoice",
            "*",
            "read:*",
            "read:posts:*",
            "read:posts:drafts",
        ] {
            assert_eq!(known.doubt(permission), None, "{permission}");
        }
        for permission in ["read:pi", "read", "write:*", "fetch:*", "read:pii:*", "x"] {
            assert!(known.doubt(permission).is_some(), "{permission}");
        }
        let near = known.doubt("fetch_invoices").unwrap();
        assert!(near.contains("did you mean \"fetch_invoice\"?"), "{near}");
    }
}
