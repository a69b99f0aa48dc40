//! The four levels of AI permissions, from JSON files: permission -> action -> category -> role.
//!
//! An action is a set of permissions, a category a set of actions, a role a set of categories. Users hold roles; agents
//! hold a category as if it were a role, or permissions directly. Who holds what is another provider's word. As tables
//! (`tables.sql`) they are read by the `sql` provider with `preset = "ai_permissions"`.
//!
//! ```json
//! permissions.json  [{"api": "fetch_loan", "title": "Fetch loans", "description": "..."}]
//! actions.json      [{"name": "Use Loan Analysis Tool", "description": "...", "permissions": ["fetch_loan"]}]
//! category.json     [{"name": "Manage AI Assistant", "description": "...", "actions": ["Use Loan Analysis Tool"]}]
//! roles.json        [{"name": "Agent Supervisor", "description": "...", "categories": ["Manage AI Assistant"]}]
//! ```

mod check;
#[cfg(test)]
mod tests;

pub use check::LadderProblem;

use super::last_good::LastGood;
use super::{Answer, Asking, Provider, ProviderError, Reloadable};
use crate::identity::Caller;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Where the levels are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LadderFiles {
    /// `[{"api", "title", "description"}]`.
    pub permissions: PathBuf,
    /// `[{"name", "description", "permissions"}]`.
    pub actions: PathBuf,
    /// `[{"name", "description", "actions"}]`.
    pub categories: PathBuf,
    /// `[{"name", "description", "categories"}]`; without it categories are the only roles.
    pub roles: Option<PathBuf>,
}

impl LadderFiles {
    /// Everything wrong with the files; for `rowgate check`.
    pub fn problems(&self) -> Vec<LadderProblem> {
        check::read(self).err().unwrap_or_default()
    }

    /// Every name of each level; for `rowgate check --strict`.
    ///
    /// # Errors
    /// When the files cannot be read or are wrong.
    pub fn names(&self) -> Result<LadderNames, ProviderError> {
        let ladder = self.read()?;
        Ok(LadderNames {
            permissions: ladder.permissions,
            actions: ladder.actions.into_keys().collect(),
            categories: ladder.categories.into_keys().collect(),
            roles: ladder.roles.into_keys().collect(),
        })
    }

    fn read(&self) -> Result<Ladder, ProviderError> {
        check::read(self).map_err(|problems| {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            ProviderError::Garbage(told.join("; "))
        })
    }
}

/// Every name of each level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LadderNames {
    /// What a view can require.
    pub permissions: BTreeSet<String>,
    /// Sets of permissions.
    pub actions: BTreeSet<String>,
    /// Sets of actions.
    pub categories: BTreeSet<String>,
    /// Sets of categories.
    pub roles: BTreeSet<String>,
}

impl LadderNames {
    /// Adds those of another catalogue.
    pub fn extend(&mut self, other: Self) {
        self.permissions.extend(other.permissions);
        self.actions.extend(other.actions);
        self.categories.extend(other.categories);
        self.roles.extend(other.roles);
    }

    /// The level a name is of, if it is of any.
    pub fn level(&self, name: &str) -> Option<&'static str> {
        let levels = [
            ("a permission", &self.permissions),
            ("an action", &self.actions),
            ("a category", &self.categories),
            ("a role", &self.roles),
        ];
        let mut levels = levels.into_iter();
        levels.find_map(|(level, names)| names.contains(name).then_some(level))
    }
}

/// What each level is made of; every reference has been checked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ladder {
    permissions: BTreeSet<String>,
    actions: BTreeMap<String, BTreeSet<String>>,
    categories: BTreeMap<String, BTreeSet<String>>,
    roles: BTreeMap<String, BTreeSet<String>>,
}

impl Ladder {
    /// What roles, or categories held as roles, carry. Names that are neither carry nothing here.
    fn carried(&self, held: &BTreeSet<String>) -> BTreeSet<String> {
        let of_roles = held.iter().filter_map(|role| self.roles.get(role));
        let categories: BTreeSet<&String> = of_roles.flatten().chain(held).collect();
        let actions: BTreeSet<&String> = categories
            .into_iter()
            .filter_map(|category| self.categories.get(category))
            .flatten()
            .collect();
        let permissions = actions
            .into_iter()
            .filter_map(|action| self.actions.get(action));
        permissions.flatten().cloned().collect()
    }
}

/// One level's entry, whichever.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Permission {
    api: String,
    #[serde(default, rename = "title")]
    _title: String,
    #[serde(default, rename = "description")]
    _description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    name: String,
    #[serde(default, rename = "description")]
    _description: String,
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    name: String,
    #[serde(default, rename = "description")]
    _description: String,
    actions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    name: String,
    #[serde(default, rename = "description")]
    _description: String,
    categories: Vec<String>,
}

/// Says what roles carry, by the four levels.
pub struct AiPermissions {
    name: String,
    files: LadderFiles,
    ladder: LastGood<Ladder>,
}

impl AiPermissions {
    /// Reads the files for the first time. When they have become unusable later, the last good ones serve for `stale_max`.
    ///
    /// # Errors
    /// When one cannot be read, or anything is wrong in them; names everything that is.
    pub fn open(
        name: &str,
        files: LadderFiles,
        stale_max: Duration,
    ) -> Result<Self, ProviderError> {
        Ok(Self {
            name: name.to_owned(),
            ladder: LastGood::new(files.read()?, stale_max),
            files,
        })
    }
}

impl Provider for AiPermissions {
    fn name(&self) -> &str {
        &self.name
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(async { self.ladder.current().map(drop) })
    }

    fn find<'a>(&'a self, _caller: &'a Caller) -> Asking<'a, Answer> {
        // Who holds what is another provider's word; an unusable ladder is a refusal all the same.
        Box::pin(async move { self.ladder.current().map(|_| Answer::default()) })
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move { Ok(self.ladder.current()?.carried(roles)) })
    }

    fn generation(&self) -> Option<u64> {
        self.ladder.generation()
    }
}

impl Reloadable for AiPermissions {
    fn paths(&self) -> Vec<PathBuf> {
        let LadderFiles {
            permissions,
            actions,
            categories,
            roles,
        } = &self.files;
        [permissions, actions, categories]
            .into_iter()
            .chain(roles)
            .cloned()
            .collect()
    }

    fn reload(&self) -> Result<(), ProviderError> {
        self.ladder.take(self.files.read())
    }
}
