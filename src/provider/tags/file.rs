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
use crate::provider::{Asking, ProviderError, Reloadable, Step};
use arc_swap::ArcSwap;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{Duration, Instant};

/// Reads a file at start and at [`Reloadable::reload`]; answers from memory.
pub struct TagFile {
    path: PathBuf,
    stale_max: Duration,
    state: ArcSwap<State>,
    /// Counts what was loaded; see [`Step::generation`].
    loaded: AtomicU64,
}

struct State {
    definitions: Arc<TagDefinitions>,
    /// Since when the file has been unusable; the definitions are the last good ones.
    broken: Option<(Instant, String)>,
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
        let definitions = Arc::new(definitions(path)?);
        Ok(Self {
            path: path.to_owned(),
            stale_max,
            state: ArcSwap::from_pointee(State {
                definitions,
                broken: None,
            }),
            loaded: AtomicU64::new(1),
        })
    }

    /// The definitions in force.
    ///
    /// # Errors
    /// When the file has been unusable for too long.
    pub fn definitions(&self) -> Result<Arc<TagDefinitions>, ProviderError> {
        self.fresh()
    }

    fn fresh(&self) -> Result<Arc<TagDefinitions>, ProviderError> {
        let state = self.state.load();
        match &state.broken {
            Some((since, why)) if since.elapsed() >= self.stale_max => {
                Err(ProviderError::Stale(why.clone()))
            }
            _ => Ok(Arc::clone(&state.definitions)),
        }
    }
}

impl Step for TagFile {
    fn name(&self) -> &str {
        "tags"
    }

    fn complete<'a>(&'a self, caller: &'a Caller, found: &'a mut Findings) -> Asking<'a, ()> {
        Box::pin(async move {
            add_tags(&*self.fresh()?, caller, found);
            Ok(())
        })
    }

    fn generation(&self) -> Option<u64> {
        // While the file is broken the answer depends on the clock: it must be asked for each time.
        let broken = self.state.load().broken.is_some();
        (!broken).then(|| self.loaded.load(Ordering::SeqCst))
    }
}

impl Reloadable for TagFile {
    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    /// A broken file leaves the last good definitions in force until it is older than `stale_max`.
    fn reload(&self) -> Result<(), ProviderError> {
        let result = definitions(&self.path);
        let before = self.state.load_full();
        let (state, result) = match result {
            Ok(definitions) => {
                let definitions = Arc::new(definitions);
                let broken = None;
                (
                    State {
                        definitions,
                        broken,
                    },
                    Ok(()),
                )
            }
            Err(error) => {
                let since = before.broken.as_ref().map(|(since, _)| *since);
                let broken = Some((since.unwrap_or_else(Instant::now), error.to_string()));
                let definitions = Arc::clone(&before.definitions);
                (
                    State {
                        definitions,
                        broken,
                    },
                    Err(error),
                )
            }
        };
        self.state.store(Arc::new(state));
        self.loaded.fetch_add(1, Ordering::SeqCst);
        result
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
