//! What can be granted, and what its names may look like.

use super::{Action, Change, ManageError};
use crate::identity::valid_name;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;

/// The kinds of things that are granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A permission held directly.
    Permission,
    /// A role.
    Role,
    /// Membership of a group, for tags.
    Group,
    /// A place in the list of users of a tag.
    Tag,
    /// A relation tuple.
    Tuple,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Permission,
        Self::Role,
        Self::Group,
        Self::Tag,
        Self::Tuple,
    ];

    /// What its columns mean, in order.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Permission => &["user", "permission"],
            Self::Role => &["user", "role"],
            Self::Group => &["user", "group"],
            Self::Tag => &["user", "tag"],
            Self::Tuple => super::tuple::COLUMNS,
        }
    }

    /// As the configuration and messages call several.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Permission => "permissions",
            Self::Role => "roles",
            Self::Group => "groups",
            Self::Tag => "tags",
            Self::Tuple => "tuples",
        }
    }

    /// One of them.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Role => "role",
            Self::Group => "group",
            Self::Tag => "tag",
            Self::Tuple => "tuple",
        }
    }
}

/// One thing that is, or is not, granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    kind: Kind,
    /// As many as the kind has columns.
    keys: Vec<String>,
}

impl Item {
    /// Something of one user: any kind but a tuple.
    pub fn of_user(kind: Kind, user: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            keys: vec![user.into(), name.into()],
        }
    }

    /// A tuple, such as `document:7#viewer@user:bob` or `folder:1#viewer@group:eng#member`.
    ///
    /// # Errors
    /// [`ManageError::Invalid`] when it is not one.
    pub fn tuple(text: &str) -> Result<Self, ManageError> {
        Ok(Self {
            kind: Kind::Tuple,
            keys: super::tuple::parse(text)?,
        })
    }

    /// What a row grants.
    pub fn from_row(kind: Kind, row: &super::ListedRow) -> Self {
        Self {
            kind,
            keys: row.keys.clone(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its names, in the order of [`Kind::columns`].
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The user it is granted to; `None` where it may concern more than one. `users` is the namespace of users in
    /// tuples.
    pub fn user(&self, users: &str) -> Option<&str> {
        match self.kind {
            Kind::Permission | Kind::Role | Kind::Group | Kind::Tag => {
                self.keys.first().map(String::as_str)
            }
            Kind::Tuple => match self.keys.as_slice() {
                [_, _, _, namespace, id, relation] if namespace == users && relation.is_empty() => {
                    Some(id)
                }
                _ => None,
            },
        }
    }

    /// The permission, role, group or tag itself, or the whole tuple.
    pub fn name(&self) -> Cow<'_, str> {
        match self.kind {
            Kind::Tuple => super::tuple::text(&self.keys).into(),
            Kind::Permission | Kind::Role | Kind::Group | Kind::Tag => {
                self.keys.last().map_or("", String::as_str).into()
            }
        }
    }

    /// `{"user": "bob", "role": "editor"}`.
    pub fn json(&self) -> Value {
        if self.kind == Kind::Tuple {
            return json!({"tuple": bounded(&self.name())});
        }
        let names = self.kind.columns().iter().zip(&self.keys);
        let map: Map<String, Value> = names
            .map(|(name, key)| ((*name).to_owned(), Value::from(bounded(key))))
            .collect();
        Value::Object(map)
    }
}

/// What was refused for its length is not written at length.
fn bounded(key: &str) -> String {
    key.chars().take(1_000).collect()
}

/// For people: `role "editor" of bob`.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.kind.singular(), self.name());
        match self.kind {
            Kind::Tuple => write!(f, "{kind} {name}"),
            Kind::Permission | Kind::Role | Kind::Group | Kind::Tag => {
                write!(
                    f,
                    "{kind} {name:?} of {:?}",
                    self.user("").unwrap_or_default()
                )
            }
        }
    }
}

impl Change {
    /// Bounded names that mean one thing to everybody, and an end that lies ahead.
    pub(super) fn check(&self) -> Result<(), ManageError> {
        for (column, key) in self.item.kind.columns().iter().zip(&self.item.keys) {
            // No relation: the subject is the user or object itself.
            let none = *column == "subject_relation" && key.is_empty();
            if !none && !valid_name(key) {
                return Err(ManageError::invalid(
                    format!("the {column} is not a name"),
                    "Use 1 to 256 bytes without control or invisible characters, and without blanks at the ends.",
                ));
            }
        }
        match (&self.until, self.action) {
            (None, _) => Ok(()),
            (Some(_), Action::Revoke) => Err(ManageError::invalid(
                "a revocation has no end",
                "Leave until out, or grant with an earlier one.",
            )),
            (Some(Until(until)), Action::Grant) if *until <= Timestamp::now() => {
                Err(ManageError::invalid(
                    "until lies in the past",
                    "Give a moment that is still to come, or revoke.",
                ))
            }
            (Some(_), Action::Grant) => Ok(()),
        }
    }
}

/// The moment a grant ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until(Timestamp);

impl Until {
    /// From ISO 8601 with a zone, such as `2026-12-31T23:59:59Z` or `2026-12-31T18:00+01:00`.
    ///
    /// # Errors
    /// [`ManageError::Invalid`]: not such a moment, or without a zone, or beyond the year 9999.
    pub fn parse(text: &str) -> Result<Self, ManageError> {
        // The library takes a zone's name behind the offset, and looks at the offset only.
        let plain = text.len() <= 64 && !text.contains('[');
        let moment = plain.then(|| text.parse::<Timestamp>().ok()).flatten();
        let year = |moment: Timestamp| Offset::UTC.to_datetime(moment).year();
        let moment = moment.filter(|moment| (2000..=9999).contains(&year(*moment)));
        moment.map(Self).ok_or_else(|| {
            ManageError::invalid(
                "until is not a moment with a zone",
                "Write it as ISO 8601 with its zone, such as 2026-12-31T23:59:59Z or 2026-12-31T18:00:00+01:00.",
            )
        })
    }

    /// As PostgreSQL reads it.
    pub(super) fn text(self) -> String {
        self.0.to_string()
    }
}

/// A row that grants something: when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// UTC, ISO 8601; `None`: never.
    pub until: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(user: &str, role: &str) -> Item {
        Item::of_user(Kind::Role, user, role)
    }

    fn grant(item: Item) -> Change {
        Change {
            action: Action::Grant,
            item,
            until: None,
        }
    }

    #[test]
    fn an_end_needs_a_zone_and_a_real_moment() {
        for (text, utc) in [
            ("2999-12-31T23:59:59Z", "2999-12-31T23:59:59Z"),
            ("2999-12-31T18:00:00+01:00", "2999-12-31T17:00:00Z"),
            ("2999-12-31T18:00+01:00", "2999-12-31T17:00:00Z"),
            ("2999-12-31t23:59:59.25z", "2999-12-31T23:59:59.25Z"),
            ("29991231T235959Z", "2999-12-31T23:59:59Z"),
        ] {
            let until = Until::parse(text).map(Until::text);
            assert_eq!(until.ok().as_deref(), Some(utc), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "infinity",
            "2999-12-31",
            "2999-12-31T23:59:59",
            "2999-13-01T00:00:00Z",
            "2999-02-30T00:00:00Z",
            "1999-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "2999-12-31T23:59:59Z[Europe/Berlin]",
            "2999-12-31T18:00:00[Europe/Berlin]",
            "2999-12-31T23:59:59Z'; DROP TABLE user_roles; --",
            &"9".repeat(100_000),
        ] {
            assert!(Until::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_bounded_and_visible_and_an_end_lies_ahead() {
        assert!(grant(role("bob", "HR Manager")).check().is_ok());
        assert!(grant(role("o'brien\"; --", "a\\b")).check().is_ok());
        for (user, name) in [
            ("", "editor"),
            ("bob", ""),
            ("bob\0", "editor"),
            ("bob", "editor\n"),
            ("bob", " editor"),
            ("bob", "edi\u{200b}tor"),
            (&*"b".repeat(257), "editor"),
        ] {
            assert!(
                grant(role(user, name)).check().is_err(),
                "{user:?} {name:?}"
            );
        }
        let past = Change {
            until: Some(Until::parse("2001-01-01T00:00:00Z").unwrap()),
            ..grant(role("bob", "editor"))
        };
        assert!(past.check().is_err());
        let ahead = Change {
            until: Some(Until::parse("2999-01-01T00:00:00Z").unwrap()),
            ..past
        };
        assert!(ahead.check().is_ok());
        let revoked = Change {
            action: Action::Revoke,
            ..ahead
        };
        assert!(revoked.check().is_err(), "a revocation has no end");
    }
}
