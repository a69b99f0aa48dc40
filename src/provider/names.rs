//! How names of roles and permissions are compared.
//!
//! What widens (grants, inheritance, wildcards) is compared byte by byte: a look-alike is somebody else's. What narrows
//! (denials, conditions) also meets names that differ only in case, Unicode form or invisible characters, so that no
//! other spelling of a name goes round it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

/// Whether holding `held` means holding `asked`: the same, `*`, or `scope:*` over `scope:...`.
pub(super) fn covers(held: &str, asked: &str) -> bool {
    held == asked
        || held == "*"
        || held
            .strip_suffix(":*")
            .and_then(|scope| asked.strip_prefix(scope))
            .is_some_and(|rest| rest.starts_with(':'))
}

/// The scope a wildcard stands for, with its colon: `read:` of `read:*`, nothing of `*`. `None`: not a wildcard.
pub(super) fn scope(permission: &str) -> Option<&str> {
    match permission {
        "*" => Some(""),
        _ => permission
            .strip_suffix('*')
            .filter(|scope| scope.ends_with(':')),
    }
}

/// Whether a permission is written as somebody who knows wildcards would: a `*` only as the whole or after the last `:`.
/// Anything else would be taken by its letters, which is harmless in a grant and wrong in a denial.
pub(super) fn well_formed(permission: &str) -> bool {
    !scope(permission).unwrap_or(permission).contains('*')
}

/// A name without what people cannot see in it: one case, one Unicode form, nothing invisible.
pub(super) fn fold(name: &str) -> Cow<'_, str> {
    if name
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
    {
        return Cow::Borrowed(name);
    }
    let visible = |c: &char| {
        !c.is_whitespace()
            && !c.is_control()
            && !matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    // Lower case may leave the normal form, so the form is taken last as well.
    Cow::Owned(
        name.nfkc()
            .filter(visible)
            .flat_map(char::to_lowercase)
            .nfkc()
            .collect(),
    )
}

/// Roles and permissions that do not count, whoever grants them.
#[derive(Debug, Default)]
pub(super) struct Narrowing {
    roles: BTreeSet<String>,
    permissions: BTreeSet<String>,
}

impl Narrowing {
    /// Takes a role away; `*` takes them all.
    pub(super) fn role(&mut self, role: &str) {
        self.roles.insert(fold(role).into_owned());
    }

    /// Takes a permission away, and with it every wildcard that covers it.
    pub(super) fn permission(&mut self, permission: &str) {
        self.permissions.insert(fold(permission).into_owned());
    }

    /// Takes away what the other takes away, too.
    pub(super) fn and(&mut self, other: Self) {
        self.roles.extend(other.roles);
        self.permissions.extend(other.permissions);
    }

    /// Whether a role is left.
    pub(super) fn leaves_role(&self, role: &str) -> bool {
        self.roles.is_empty()
            || !(self.roles.contains("*") || self.roles.contains(fold(role).as_ref()))
    }

    /// Whether a permission is left. A wildcard that covers something taken away goes as a whole: what it would still
    /// allow cannot be written as a set of permissions.
    pub(super) fn leaves_permission(&self, held: &str) -> bool {
        if self.permissions.is_empty() {
            return true;
        }
        let held = fold(held);
        !self
            .permissions
            .iter()
            .any(|gone| covers(gone, &held) || covers(&held, gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_its_scope_only() {
        for (held, asked, expected) in [
            ("read:posts", "read:posts", true),
            ("read:*", "read:posts", true),
            ("read:*", "read:posts:draft", true),
            ("read:posts:*", "read:posts:draft", true),
            ("read:posts:*", "read:posts", false),
            ("read:posts:*", "read:posters:x", false),
            ("*", "anything", true),
            ("read:*", "reader:x", false),
            ("read*", "read:posts", false),
            ("*:posts", "read:posts", false),
            ("read:*:x", "read:y:x", false),
            ("Read:*", "read:posts", false),
            ("read:posts", "read:*", false),
            ("read:*", "*", false),
        ] {
            assert_eq!(covers(held, asked), expected, "{held} over {asked}");
        }
    }

    #[test]
    fn an_unusual_star_is_noticed() {
        for (permission, expected) in [
            ("read:posts", true),
            ("*", true),
            ("read:*", true),
            ("read*", false),
            ("*:posts", false),
            ("read:*:x", false),
            ("**", false),
            ("read:**", false),
        ] {
            assert_eq!(well_formed(permission), expected, "{permission}");
        }
    }

    #[test]
    fn no_other_spelling_goes_round_what_narrows() {
        let mut narrowing = Narrowing::default();
        narrowing.role("HR Manager");
        narrowing.role("Caf\u{e9}");
        narrowing.permission("Read:Pay");
        for role in [
            "HR Manager",
            "hr manager",
            "HR  Manager",
            "HR\u{a0}Manager",
            "HR Manager\u{200b}",
            "\u{ff28}R Manager",
            "cafe\u{301}",
            "CAFE\u{301}",
        ] {
            assert!(!narrowing.leaves_role(role), "{role:?}");
        }
        for role in ["HR", "Managers HR", "Cafe", "*"] {
            assert!(narrowing.leaves_role(role), "{role:?}");
        }
        for permission in ["read:pay", "READ:PAY", "read:*", "*", "re\u{ad}ad:pay"] {
            assert!(!narrowing.leaves_permission(permission), "{permission:?}");
        }
        assert!(narrowing.leaves_permission("read:payments"));
        let mut everything = Narrowing::default();
        everything.role("*");
        assert!(!everything.leaves_role("any"));
    }
}
