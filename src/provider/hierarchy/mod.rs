//! What a role or a permission brings with it: `"Director" -> "Sales Manager"`, `admin:posts -> read:posts`.
//!
//! Loaded as a whole, checked for cycles and bounds before it takes force. What is denied is never inherited through.

use super::answer::{ANSWER_ITEMS_MAX, ITEM_BYTES_MAX};
use super::file::{Unique, read};
use super::names::{covers, scope, well_formed};
use super::{ProviderError, Reloadable};
use arc_swap::ArcSwap;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most names that bring others with them, roles and permissions each.
const ENTRIES_MAX: usize = 10_000;
/// Most names brought along in all, roles and permissions each.
const EDGES_MAX: usize = 100_000;
/// Longest chain of names that bring each other along.
const DEPTH_MAX: usize = 32;

/// Names, and the names each brings with it.
pub type Brings = BTreeMap<String, BTreeSet<String>>;

/// Why a hierarchy is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HierarchyError {
    /// Names that bring each other along, the first once more at the end.
    #[error("{kind} go in a circle: {}", .names.join(" -> "))]
    Cycle {
        /// "roles" or "permissions".
        kind: &'static str,
        /// The circle.
        names: Vec<String>,
    },
    /// A chain that is too long.
    #[error("{kind}: \"{name}\" brings others along over more than {DEPTH_MAX} levels")]
    TooDeep {
        /// "roles" or "permissions".
        kind: &'static str,
        /// Where it starts.
        name: String,
    },
    /// Too much of it.
    #[error("{kind}: more than {ENTRIES_MAX} names, or {EDGES_MAX} names brought along")]
    TooLarge {
        /// "roles" or "permissions".
        kind: &'static str,
    },
    /// A name that cannot be one.
    #[error("{kind}: \"{name}\" {why}")]
    Name {
        /// "roles" or "permissions".
        kind: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Who inherits what, among roles and among permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchy {
    roles: Brings,
    permissions: Brings,
}

impl Hierarchy {
    /// Checks names, bounds and circles.
    ///
    /// # Errors
    /// The first thing wrong; a circle is named in full.
    pub fn new(roles: Brings, permissions: Brings) -> Result<Self, HierarchyError> {
        check("roles", &roles)?;
        check("permissions", &permissions)?;
        Ok(Self { roles, permissions })
    }

    /// Both together; a circle may go through both.
    ///
    /// # Errors
    /// As [`Hierarchy::new`].
    pub fn united(self, other: Self) -> Result<Self, HierarchyError> {
        let unite = |mut one: Brings, other: Brings| {
            for (name, brought) in other {
                one.entry(name).or_default().extend(brought);
            }
            one
        };
        Self::new(
            unite(self.roles, other.roles),
            unite(self.permissions, other.permissions),
        )
    }

    /// The roles held and those they bring along, each with who gave it. A role that is not `left` brings nothing.
    pub(super) fn roles(
        &self,
        held: Brings,
        left: impl Fn(&str) -> bool,
    ) -> Result<Brings, TooMany> {
        let mut all = held;
        all.retain(|role, _| left(role));
        let mut waiting: VecDeque<String> = all.keys().cloned().collect();
        while let Some(role) = waiting.pop_front() {
            for brought in self.roles.get(&role).into_iter().flatten() {
                if !left(brought) {
                    continue;
                }
                if !all.contains_key(brought) {
                    waiting.push_back(brought.clone());
                }
                let sources = all.entry(brought.clone()).or_default();
                sources.insert(format!("inherited from {role}"));
            }
            within(all.len())?;
        }
        Ok(all)
    }

    /// The permissions held and those they bring along, also through a wildcard. One that is not `left` brings nothing.
    pub(super) fn permissions(
        &self,
        held: BTreeSet<String>,
        left: impl Fn(&str) -> bool,
    ) -> Result<BTreeSet<String>, TooMany> {
        let mut all = held;
        all.retain(|permission| left(permission));
        let held = all.iter().map(|held| Cow::Owned(held.clone()));
        let mut waiting: VecDeque<Cow<'_, str>> = held.collect();
        while let Some(permission) = waiting.pop_front() {
            for brought in covered(&self.permissions, &permission).flat_map(|(_, brought)| brought)
            {
                if left(brought) && !all.contains(brought) {
                    all.insert(brought.clone());
                    waiting.push_back(Cow::Borrowed(brought));
                }
            }
            within(all.len())?;
        }
        Ok(all)
    }
}

/// The hierarchy in force: what the configuration says, and a file that is read again when it changes.
#[derive(Debug, Default)]
pub struct LiveHierarchy {
    configured: Hierarchy,
    file: Option<PathBuf>,
    current: ArcSwap<Hierarchy>,
    /// Counts what was loaded; see [`super::Provider::generation`].
    loaded: AtomicU64,
}

impl LiveHierarchy {
    /// Reads the file, if there is one, for the first time.
    ///
    /// # Errors
    /// When it cannot be read or understood, or goes in circles, also together with what is configured.
    pub fn open(configured: Hierarchy, file: Option<PathBuf>) -> Result<Self, ProviderError> {
        let live = Self {
            configured,
            file,
            ..Self::default()
        };
        live.reload()?;
        Ok(live)
    }

    /// As of now.
    pub fn current(&self) -> Arc<Hierarchy> {
        self.current.load_full()
    }

    pub(super) fn generation(&self) -> u64 {
        self.loaded.load(Ordering::SeqCst)
    }
}

impl Reloadable for LiveHierarchy {
    fn paths(&self) -> Vec<PathBuf> {
        self.file.iter().cloned().collect()
    }

    /// A broken file leaves the last good hierarchy in force, as a broken view does.
    fn reload(&self) -> Result<(), ProviderError> {
        let mut hierarchy = self.configured.clone();
        if let Some(file) = &self.file {
            let Written { roles, permissions } = read(file)?;
            let in_file = |error: HierarchyError| {
                ProviderError::Garbage(format!("{}: {error}", file.display()))
            };
            let written = Hierarchy::new(roles.0, permissions.0).map_err(in_file)?;
            hierarchy = hierarchy.united(written).map_err(in_file)?;
        }
        self.current.store(Arc::new(hierarchy));
        self.loaded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// The file: `{"roles": {"Director": ["Sales Manager"]}, "permissions": {"admin:posts": ["read:posts"]}}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    roles: Unique<BTreeSet<String>>,
    permissions: Unique<BTreeSet<String>>,
}

/// More roles or permissions than one user may hold.
#[derive(Debug)]
pub(super) struct TooMany;

fn within(count: usize) -> Result<(), TooMany> {
    if count > ANSWER_ITEMS_MAX {
        Err(TooMany)
    } else {
        Ok(())
    }
}

/// The entries that holding `name` means holding.
fn covered<'a, 'n>(
    brings: &'a Brings,
    name: &'n str,
) -> impl Iterator<Item = (&'a String, &'a BTreeSet<String>)> + use<'a, 'n> {
    let from = scope(name).unwrap_or(name);
    brings
        .range::<str, _>((Bound::Included(from), Bound::Unbounded))
        .take_while(move |(entry, _)| entry.starts_with(from))
        .filter(move |(entry, _)| covers(name, entry))
}

fn check(kind: &'static str, brings: &Brings) -> Result<(), HierarchyError> {
    let edges: usize = brings.values().map(BTreeSet::len).sum();
    if brings.len() > ENTRIES_MAX || edges > EDGES_MAX {
        return Err(HierarchyError::TooLarge { kind });
    }
    for name in brings.keys().chain(brings.values().flatten()) {
        if let Some(why) = unfit(kind, name) {
            let name = name.clone();
            return Err(HierarchyError::Name { kind, name, why });
        }
    }
    let mut levels = BTreeMap::new();
    for name in brings.keys() {
        walk(kind, brings, name, &mut levels)?;
    }
    Ok(())
}

fn unfit(kind: &str, name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > ITEM_BYTES_MAX {
        return Some("is longer than 1024 bytes");
    }
    if name.trim() != name || name.chars().any(char::is_control) {
        return Some("holds control characters, or white space at an end");
    }
    if kind == "roles" && name.contains('*') {
        return Some("holds a *: there are no wildcards over roles");
    }
    (kind == "permissions" && !well_formed(name))
        .then_some("is no wildcard: a * stands alone or after the last colon, as in \"read:*\"")
}

/// How many levels each name brings along, found by going through them with a stack of our own: a chain as long as the
/// bound on entries must not end the process.
fn walk<'a>(
    kind: &'static str,
    brings: &'a Brings,
    start: &'a str,
    levels: &mut BTreeMap<&'a str, usize>,
) -> Result<(), HierarchyError> {
    /// A name on the way, and what it still brings.
    struct Stop<'a> {
        name: &'a str,
        left: Vec<&'a str>,
        levels: usize,
    }
    // As written: that `admin:all` brings `admin:*`, which covers it, is no circle.
    let next = |name: &str| -> Vec<&'a str> {
        let brought = brings.get(name).into_iter().flatten();
        brought
            .filter(|brought| brings.contains_key(*brought))
            .map(String::as_str)
            .collect()
    };
    if levels.contains_key(start) {
        return Ok(());
    }
    let mut way = vec![Stop {
        name: start,
        left: next(start),
        levels: 1,
    }];
    let mut on_the_way = BTreeSet::from([start]);
    while let Some(stop) = way.last_mut() {
        let Some(name) = stop.left.pop() else {
            let (name, count) = (stop.name, stop.levels);
            way.pop();
            on_the_way.remove(name);
            levels.insert(name, count);
            if count > DEPTH_MAX {
                let name = name.to_owned();
                return Err(HierarchyError::TooDeep { kind, name });
            }
            if let Some(before) = way.last_mut() {
                before.levels = before.levels.max(count + 1);
            }
            continue;
        };
        if let Some(count) = levels.get(name) {
            stop.levels = stop.levels.max(count + 1);
        } else if on_the_way.contains(name) {
            let circle = way.iter().skip_while(|stop| stop.name != name);
            let names = circle
                .map(|stop| stop.name)
                .chain([name])
                .map(str::to_owned)
                .collect();
            return Err(HierarchyError::Cycle { kind, names });
        } else {
            on_the_way.insert(name);
            let left = next(name);
            way.push(Stop {
                name,
                left,
                levels: 1,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
