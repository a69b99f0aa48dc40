//! Tags: who may access which ([`TagDefinitions`]). Pure, no IO; `provider` reads definitions, views use them.
//!
//! A table, a column or a row may carry tags. Without tags it is everyone's; with tags it is visible to whoever
//! may access at least one of them. A tag that is not defined is nobody's. A tag's owner may always access it.

mod email;

use email::Domain;
use std::collections::{BTreeMap, BTreeSet};

/// Most tags in one set of definitions.
pub const TAGS_MAX: usize = 10_000;
/// Most users, domains and groups in the definitions, and members of groups, all together.
pub const TAG_MEMBERS_MAX: usize = 100_000;
/// Longest tag, user, domain or group, in bytes.
pub const TAG_BYTES_MAX: usize = 256;

/// The words for [`TagAccess`] in files and tables.
const ACCESS_WORDS: [&str; 6] = [
    "public", "private", "domain", "domains", "specific", "group",
];

/// Who may access a tag, besides its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TagAccess {
    /// Whose e-mail address is in one of these domains, exactly.
    Domains(BTreeSet<Domain>),
    /// The members of one of these groups.
    Groups(BTreeSet<String>),
    /// Nobody else.
    Private,
    /// Everyone.
    Public,
    /// These user ids.
    Users(BTreeSet<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    access: TagAccess,
    owner: Option<String>,
}

/// Why a definition was not taken. Names the tag, never its members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// The access word is not one of the six.
    #[error("tag \"{tag}\": \"{word}\" is not an access; choose {}", ACCESS_WORDS.join(", "))]
    Access {
        /// The tag.
        tag: String,
        /// What stood there.
        word: String,
    },
    /// A name is empty, too long, or holds blanks, commas, quotes or control characters.
    #[error("{0} is empty, longer than 256 bytes, or holds characters a name cannot have")]
    Name(String),
    /// Something is not a domain.
    #[error(
        "tag \"{tag}\": \"{domain}\" is not a domain; write it as in company.com, in ASCII (xn--... for \
         others), without @ or a dot at its end"
    )]
    NotADomain {
        /// The tag.
        tag: String,
        /// What stood there.
        domain: String,
    },
    /// `domain` goes with exactly one domain.
    #[error(
        "tag \"{0}\": access \"domain\" goes with exactly one domain; \"domains\" with several"
    )]
    OneDomain(String),
    /// A private tag without an owner would be nobody's.
    #[error("tag \"{0}\": access \"private\" needs an owner")]
    Ownerless(String),
    /// More than the bounds allow.
    #[error("there are more than 10000 tags, or more than 100000 members")]
    TooMany,
    /// A tag is defined twice, so one of the two would be forgotten.
    #[error("tag \"{0}\" is defined twice")]
    Twice(String),
    /// Members are listed where they mean nothing.
    #[error("tag \"{tag}\": access \"{word}\" goes without a list")]
    Unexpected {
        /// The tag.
        tag: String,
        /// Its access.
        word: String,
    },
}

/// Every tag there is, and the groups they name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagDefinitions {
    tags: BTreeMap<String, Tag>,
    groups: BTreeMap<String, BTreeSet<String>>,
    members: usize,
}

impl TagDefinitions {
    /// Adds a tag. `access` is one of the six words; `allowed` lists the domains (`domain`, `domains`), user
    /// ids (`specific`) or groups (`group`) it goes with; an empty list leaves the tag to its owner.
    ///
    /// # Errors
    /// [`TagError`]; then the definitions as a whole are not to be used.
    pub fn define(
        &mut self,
        tag: &str,
        access: &str,
        owner: Option<&str>,
        allowed: &[String],
    ) -> Result<(), TagError> {
        if !valid_tag(tag) {
            return Err(TagError::Name(format!("the tag \"{}\"", shortened(tag))));
        }
        if let Some(owner) = owner {
            self.name(owner, "owner", tag)?;
        }
        let access = self.access(tag, access, owner, allowed)?;
        let owner = owner.map(str::to_owned);
        let defined = Tag { access, owner };
        if self.tags.insert(tag.to_owned(), defined).is_some() {
            return Err(TagError::Twice(tag.to_owned()));
        }
        if self.tags.len() > TAGS_MAX {
            return Err(TagError::TooMany);
        }
        Ok(())
    }

    /// Adds a member to a group. The principal's attribute `groups` adds to these lists.
    ///
    /// # Errors
    /// [`TagError`]; then the definitions as a whole are not to be used.
    pub fn add_member(&mut self, group: &str, user_id: &str) -> Result<(), TagError> {
        self.name(group, "group", group)?;
        self.name(user_id, "member of group", group)?;
        let members = self.groups.entry(group.to_owned()).or_default();
        members.insert(user_id.to_owned());
        Ok(())
    }

    /// The tags a user may access: of `attributes`, `email` holds their addresses and `groups` their groups.
    pub fn accessible(
        &self,
        user_id: &str,
        attributes: &BTreeMap<String, Vec<String>>,
    ) -> BTreeSet<String> {
        let values = |name: &str| attributes.get(name).map_or(&[][..], Vec::as_slice);
        let domains: Vec<Domain> = values("email")
            .iter()
            .filter_map(|address| Domain::of_address(address))
            .collect();
        let user = User {
            id: user_id,
            domains,
            groups: values("groups"),
        };
        let accessible = self.tags.iter().filter(|(_, tag)| self.may(&user, tag));
        accessible.map(|(name, _)| name.clone()).collect()
    }

    /// Whether a tag is defined.
    pub fn defines(&self, tag: &str) -> bool {
        self.tags.contains_key(tag)
    }

    fn may(&self, user: &User<'_>, tag: &Tag) -> bool {
        // Nobody is nobody's owner, and no public either.
        if user.id.is_empty() {
            return false;
        }
        tag.owner.as_deref() == Some(user.id)
            || match &tag.access {
                TagAccess::Domains(domains) => user.domains.iter().any(|d| domains.contains(d)),
                TagAccess::Groups(groups) => groups.iter().any(|group| {
                    user.groups.contains(group)
                        || self.groups.get(group).is_some_and(|m| m.contains(user.id))
                }),
                TagAccess::Private => false,
                TagAccess::Public => true,
                TagAccess::Users(users) => users.contains(user.id),
            }
    }

    fn access(
        &mut self,
        tag: &str,
        word: &str,
        owner: Option<&str>,
        allowed: &[String],
    ) -> Result<TagAccess, TagError> {
        match word {
            "public" | "private" if !allowed.is_empty() => Err(TagError::Unexpected {
                tag: tag.to_owned(),
                word: word.to_owned(),
            }),
            "public" => Ok(TagAccess::Public),
            "private" if owner.is_none() => Err(TagError::Ownerless(tag.to_owned())),
            "private" => Ok(TagAccess::Private),
            "domain" if allowed.len() != 1 => Err(TagError::OneDomain(tag.to_owned())),
            "domain" | "domains" => {
                let domains = allowed.iter().map(|text| {
                    self.count()?;
                    Domain::read(text).ok_or_else(|| TagError::NotADomain {
                        tag: tag.to_owned(),
                        domain: shortened(text),
                    })
                });
                Ok(TagAccess::Domains(domains.collect::<Result<_, _>>()?))
            }
            "specific" => Ok(TagAccess::Users(self.names(allowed, "user", tag)?)),
            "group" => Ok(TagAccess::Groups(self.names(allowed, "group", tag)?)),
            _ => Err(TagError::Access {
                tag: tag.to_owned(),
                word: shortened(word),
            }),
        }
    }

    fn names(
        &mut self,
        names: &[String],
        what: &str,
        tag: &str,
    ) -> Result<BTreeSet<String>, TagError> {
        for name in names {
            self.name(name, what, tag)?;
        }
        Ok(names.iter().cloned().collect())
    }

    /// A user or group: any text a login may have, compared byte by byte.
    fn name(&mut self, name: &str, what: &str, of: &str) -> Result<(), TagError> {
        self.count()?;
        let bad = name.is_empty()
            || name.len() > TAG_BYTES_MAX
            || name.trim() != name
            || name.chars().any(char::is_control);
        match bad {
            true => Err(TagError::Name(format!("a {what} of \"{}\"", shortened(of)))),
            false => Ok(()),
        }
    }

    fn count(&mut self) -> Result<(), TagError> {
        self.members += 1;
        match self.members > TAG_MEMBERS_MAX {
            true => Err(TagError::TooMany),
            false => Ok(()),
        }
    }
}

/// What decides about a user.
struct User<'a> {
    id: &'a str,
    domains: Vec<Domain>,
    groups: &'a [String],
}

/// Whether a text may be a tag: in a header, tags are parted by commas and blanks.
pub(crate) fn valid_tag(tag: &str) -> bool {
    let odd = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | ',' | '(' | ')' | '*')
    };
    !tag.is_empty() && tag.len() <= TAG_BYTES_MAX && !tag.chars().any(odd)
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests;
