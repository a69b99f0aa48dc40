//! Tag definitions in a file, JSON, TOML or YAML by its ending:
//!
//! ```yaml
//! tags:
//!   press:     {access: public}
//!   diary:     {access: private, owner: anne}
//!   staff:     {access: domain, domain: company.com}
//!   partners:  {access: domains, domains: [company.com, partner.example]}
//!   deal-7:    {access: specific, users: [bob, carol], owner: anne}
//!   legal:     {access: group, groups: [lawyers]}
//! groups:
//!   lawyers: [dave]
//! ```

use super::add_tags;
use crate::identity::{Caller, Findings};
use crate::policy::TagDefinitions;
use crate::provider::file::{Unique, read};
use crate::provider::last_good::LastGood;
use crate::provider::{Asking, ProviderError, Reloadable, Step};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Reads a file at start and at [`Reloadable::reload`]; answers from memory.
pub struct TagFile {
    path: PathBuf,
    definitions: LastGood<TagDefinitions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Content {
    tags: Unique<Entry>,
    groups: Unique<BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    access: String,
    owner: Option<String>,
    domain: Option<String>,
    domains: Option<Vec<String>>,
    users: Option<Vec<String>>,
    groups: Option<Vec<String>>,
}

impl TagFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be read or understood: there are no last good definitions yet.
    pub fn open(path: &Path, stale_max: Duration) -> Result<Self, ProviderError> {
        Ok(Self {
            path: path.to_owned(),
            definitions: LastGood::new(definitions(path)?, stale_max),
        })
    }

    /// The definitions in force.
    ///
    /// # Errors
    /// When the file has been unusable for too long.
    pub fn definitions(&self) -> Result<Arc<TagDefinitions>, ProviderError> {
        self.definitions.current()
    }
}

impl Step for TagFile {
    fn name(&self) -> &str {
        "tags"
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(async { self.definitions.current().map(drop) })
    }

    fn complete<'a>(&'a self, caller: &'a Caller, found: &'a mut Findings) -> Asking<'a, ()> {
        Box::pin(async move {
            add_tags(&*self.definitions.current()?, caller, found);
            Ok(())
        })
    }

    fn generation(&self) -> Option<u64> {
        self.definitions.generation()
    }
}

impl Reloadable for TagFile {
    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    /// A broken file leaves the last good definitions in force until it is older than `stale_max`.
    fn reload(&self) -> Result<(), ProviderError> {
        self.definitions.take(definitions(&self.path))
    }
}

fn definitions(path: &Path) -> Result<TagDefinitions, ProviderError> {
    let garbage = |says: String| ProviderError::Garbage(format!("{}: {says}", path.display()));
    let content: Content = read(path)?;
    let mut definitions = TagDefinitions::default();
    for (tag, entry) in &content.tags.0 {
        let allowed = allowed(tag, entry).map_err(garbage)?;
        definitions
            .define(tag, &entry.access, entry.owner.as_deref(), &allowed)
            .map_err(|error| garbage(error.to_string()))?;
    }
    for (group, members) in &content.groups.0 {
        for member in members {
            definitions
                .add_member(group, member)
                .map_err(|error| garbage(error.to_string()))?;
        }
    }
    Ok(definitions)
}

/// The list that goes with an access. Another one would be a mistake, and so is a missing one.
fn allowed(tag: &str, entry: &Entry) -> Result<Vec<String>, String> {
    let domain = entry.domain.clone().map(|domain| vec![domain]);
    let lists = [
        ("domain", "domain", &domain),
        ("domains", "domains", &entry.domains),
        ("specific", "users", &entry.users),
        ("group", "groups", &entry.groups),
    ];
    let access = entry.access.as_str();
    if let Some((goes_with, key, _)) = lists
        .iter()
        .find(|(goes_with, _, list)| list.is_some() && *goes_with != access)
    {
        return Err(format!(
            "tag \"{tag}\": `{key}` goes with access \"{goes_with}\" only"
        ));
    }
    match lists.iter().find(|(goes_with, ..)| *goes_with == access) {
        None => Ok(Vec::new()),
        Some((_, _, Some(list))) => Ok((*list).clone()),
        Some((_, key, None)) => Err(format!(
            "tag \"{tag}\": access \"{access}\" goes with `{key}`"
        )),
    }
}
