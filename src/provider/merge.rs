//! Several answers into one: grants unite, denials win.

use super::Answer;
use super::conditions::Verdict;
use super::hierarchy::{Brings, Hierarchy, TooMany};
use super::names::Narrowing;
use crate::identity::Findings;
use crate::tuples::Pair;
use std::collections::{BTreeMap, BTreeSet};

/// What all providers together say about a user.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Roles, each with the providers that gave it.
    roles: Brings,
    permissions: BTreeSet<String>,
    attributes: BTreeMap<String, Vec<String>>,
    superuser: bool,
    narrowing: Narrowing,
    /// Something is denied: a superuser holds every permission, so one to whom something is denied is none.
    denied: bool,
    objects: BTreeMap<Pair, BTreeSet<String>>,
    /// The conditions that do not hold.
    unmet: BTreeSet<usize>,
}

impl Merged {
    /// Unites answers, each with its provider's name.
    pub(super) fn new<'a>(answers: impl IntoIterator<Item = (&'a str, Answer)>) -> Self {
        let mut merged = Self::default();
        let mut not_superuser = false;
        for (provider, answer) in answers {
            for role in answer.roles {
                merged
                    .roles
                    .entry(role)
                    .or_default()
                    .insert(provider.to_owned());
            }
            merged.permissions.extend(answer.permissions);
            for (name, values) in answer.attributes {
                let known = merged.attributes.entry(name).or_default();
                for value in values {
                    if !known.contains(&value) {
                        known.push(value);
                    }
                }
            }
            for (pair, ids) in answer.objects {
                merged.objects.entry(pair).or_default().extend(ids);
            }
            merged.superuser |= answer.superuser == Some(true);
            not_superuser |= answer.superuser == Some(false);
            merged.denied |= !answer.denied_permissions.is_empty();
            for role in &answer.denied_roles {
                merged.narrowing.role(role);
            }
            for permission in &answer.denied_permissions {
                merged.narrowing.permission(permission);
            }
        }
        merged.superuser &= !not_superuser;
        merged
    }

    /// Takes away what conditions do not let count now.
    pub(super) fn narrow(mut self, verdict: Verdict) -> Self {
        self.narrowing.and(verdict.narrowing);
        self.superuser &= verdict.superuser;
        self.unmet = verdict.unmet;
        self
    }

    /// Adds the roles that roles bring along; what is denied goes, and brings nothing.
    pub(super) fn inherit(mut self, hierarchy: &Hierarchy) -> Result<Self, TooMany> {
        let narrowing = &self.narrowing;
        self.roles = hierarchy.roles(self.roles, |role| narrowing.leaves_role(role))?;
        Ok(self)
    }

    /// The names of the roles.
    pub(super) fn roles(&self) -> BTreeSet<String> {
        self.roles.keys().cloned().collect()
    }

    /// Adds what the roles carry and what permissions bring along; what is denied goes, and brings nothing.
    pub(super) fn finish(
        mut self,
        of_roles: BTreeSet<String>,
        hierarchy: &Hierarchy,
    ) -> Result<Findings, TooMany> {
        self.permissions.extend(of_roles);
        let narrowing = &self.narrowing;
        let left = |permission: &str| narrowing.leaves_permission(permission);
        Ok(Findings {
            roles: self.roles,
            permissions: hierarchy.permissions(self.permissions, left)?,
            attributes: self.attributes,
            tags: BTreeSet::new(),
            objects: self.objects,
            superuser: self.superuser && !self.denied,
            unmet_conditions: self.unmet,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings<const N: usize>(answers: [(&str, Answer); N], of_roles: &[&str]) -> Findings {
        let none = Hierarchy::default();
        let merged = Merged::new(answers).inherit(&none).unwrap();
        merged.finish(set(of_roles), &none).unwrap()
    }

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn grants_unite_and_name_their_providers() {
        let one = Answer {
            roles: set(&["HR", "Sales"]),
            permissions: set(&["a"]),
            ..Answer::default()
        };
        let two = Answer {
            roles: set(&["HR"]),
            permissions: set(&["b"]),
            ..Answer::default()
        };
        let findings = findings([("file", one), ("sql", two)], &["c"]);
        assert_eq!(findings.roles["HR"], set(&["file", "sql"]));
        assert_eq!(findings.roles["Sales"], set(&["file"]));
        assert_eq!(findings.permissions, set(&["a", "b", "c"]));
    }

    #[test]
    fn denials_win_in_either_order() {
        let grant = Answer {
            roles: set(&["HR", "Sales"]),
            permissions: set(&["read:posts", "write:posts"]),
            superuser: Some(true),
            ..Answer::default()
        };
        let deny = Answer {
            denied_roles: set(&["HR"]),
            denied_permissions: set(&["write:posts"]),
            superuser: Some(false),
            ..Answer::default()
        };
        for answers in [
            [("a", grant.clone()), ("b", deny.clone())],
            [("b", deny.clone()), ("a", grant.clone())],
        ] {
            let findings = findings(answers, &[]);
            assert_eq!(findings.roles.keys().collect::<Vec<_>>(), ["Sales"]);
            assert_eq!(findings.permissions, set(&["read:posts"]));
            assert!(!findings.superuser);
        }
    }

    /// (held, denied, left)
    #[test]
    fn a_denial_is_not_undone_by_a_wildcard() {
        for (held, denied, left) in [
            (&["admin:*"][..], "admin:users", &[][..]),
            (&["*"], "anything", &[]),
            (&["read:posts", "read:notes"], "read:*", &[]),
            (&["read:posts", "write:posts"], "read:*", &["write:posts"]),
            (&["reader:x"], "read:*", &["reader:x"]),
            (&["read:posts:*", "x"], "read:posts:draft", &["x"]),
            (&["a", "b"], "*", &[]),
        ] {
            let answer = Answer {
                permissions: set(held),
                denied_permissions: set(&[denied]),
                ..Answer::default()
            };
            let findings = findings([("p", answer)], &[]);
            assert_eq!(findings.permissions, set(left), "{held:?} without {denied}");
        }
    }

    #[test]
    fn denials_also_narrow_what_roles_carry_and_superusers() {
        let answer = Answer {
            denied_permissions: set(&["c"]),
            superuser: Some(true),
            ..Answer::default()
        };
        let findings = findings([("p", answer)], &["c", "d"]);
        assert_eq!(findings.permissions, set(&["d"]));
        assert!(!findings.superuser);
    }
}
