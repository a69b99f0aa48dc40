//! Several answers into one: grants unite, denials win.

use super::Answer;
use crate::identity::Findings;
use std::collections::{BTreeMap, BTreeSet};

/// What all providers together say about a user, while the roles' permissions are still to be added.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Roles, each with the providers that gave it; denied ones already gone.
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    permissions: BTreeSet<String>,
    attributes: BTreeMap<String, Vec<String>>,
    superuser: bool,
    denied_permissions: BTreeSet<String>,
}

impl Merged {
    /// Unites answers, each with its provider's name.
    pub(super) fn new<'a>(answers: impl IntoIterator<Item = (&'a str, Answer)>) -> Self {
        let mut merged = Self::default();
        let mut denied_roles = BTreeSet::new();
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
            merged.superuser |= answer.superuser == Some(true);
            not_superuser |= answer.superuser == Some(false);
            denied_roles.extend(answer.denied_roles);
            merged.denied_permissions.extend(answer.denied_permissions);
        }
        merged.superuser &= !not_superuser;
        merged.roles.retain(|role, _| !denied_roles.contains(role));
        merged
    }

    /// Adds what the roles carry and applies the denials.
    pub(super) fn finish(mut self, of_roles: BTreeSet<String>) -> Findings {
        self.permissions.extend(of_roles);
        let denied = self.denied_permissions;
        // A wildcard that covers something denied goes as a whole: what it would still allow cannot be
        // written as a set of permissions. Grant the single permissions beside a denial instead.
        self.permissions.retain(|held| {
            !denied
                .iter()
                .any(|denied| covers(denied, held) || covers(held, denied))
        });
        Findings {
            roles: self.roles,
            permissions: self.permissions,
            attributes: self.attributes,
            tags: BTreeSet::new(),
            // A superuser holds every permission, so one to whom something is denied is none.
            superuser: self.superuser && denied.is_empty(),
        }
    }
}

/// Whether holding `held` means holding `asked`: the same, `*`, or `scope:*` over `scope:...`.
fn covers(held: &str, asked: &str) -> bool {
    held == asked
        || held == "*"
        || held
            .strip_suffix(":*")
            .and_then(|scope| asked.strip_prefix(scope))
            .is_some_and(|rest| rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let findings = Merged::new([("file", one), ("sql", two)]).finish(set(&["c"]));
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
            let findings = Merged::new(answers).finish(BTreeSet::new());
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
            let findings = Merged::new([("p", answer)]).finish(BTreeSet::new());
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
        let findings = Merged::new([("p", answer)]).finish(set(&["c", "d"]));
        assert_eq!(findings.permissions, set(&["d"]));
        assert!(!findings.superuser);
    }
}
