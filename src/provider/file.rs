//! The `file` provider: users, roles and who has which in one JSON, YAML or TOML file.
//!
//! ```json
//! {"users":      {"admin": ["admin:*"]},
//!  "roles":      {"editor": ["read:posts", "write:posts"]},
//!  "user_roles": {"jane": ["editor"]}}
//! ```
//! and, where needed, `"attributes": {"jane": {"region": ["EU"]}}`, `"superusers": ["admin"]`,
//! `"denied_roles": {"jane": [...]}`, `"denied_permissions": {"jane": [...]}`.

use super::last_good::LastGood;
use super::{Answer, Asking, Provider, ProviderError, Reloadable};
use crate::identity::Caller;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a file at start and at [`Reloadable::reload`]; answers from memory.
pub struct FileProvider {
    name: String,
    path: PathBuf,
    content: LastGood<Content>,
}

type Lists = Unique<BTreeSet<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Content {
    users: Lists,
    roles: Lists,
    user_roles: Lists,
    attributes: Unique<Unique<Vec<String>>>,
    superusers: BTreeSet<String>,
    denied_roles: Lists,
    denied_permissions: Lists,
}

impl Content {
    /// What a user or role would get from here, checked as every answer is: a file with one bad entry
    /// is refused as a whole.
    fn check(&self) -> Result<(), ProviderError> {
        let lists = [
            &self.users,
            &self.roles,
            &self.user_roles,
            &self.denied_roles,
            &self.denied_permissions,
        ];
        for items in lists
            .iter()
            .flat_map(|list| list.0.values())
            .chain([&self.superusers])
        {
            super::answer::check_items(items)?;
        }
        for values in self.attributes.0.values() {
            Answer {
                attributes: values.0.clone(),
                ..Answer::default()
            }
            .check()?;
        }
        Ok(())
    }
}

impl FileProvider {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// When it cannot be read or understood: there is no last good content yet.
    pub fn open(name: &str, path: &Path, stale_max: Duration) -> Result<Self, ProviderError> {
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            content: LastGood::new(read_content(path)?, stale_max),
        })
    }

    fn answer(&self, user: &str) -> Result<Answer, ProviderError> {
        let content = self.content.current()?;
        Ok(Answer {
            roles: content.user_roles.get(user),
            permissions: content.users.get(user),
            attributes: content
                .attributes
                .0
                .get(user)
                .map(|values| values.0.clone())
                .unwrap_or_default(),
            superuser: content.superusers.contains(user).then_some(true),
            denied_roles: content.denied_roles.get(user),
            denied_permissions: content.denied_permissions.get(user),
            ..Answer::default()
        })
    }
}

impl Provider for FileProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(async { self.content.current().map(drop) })
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        Box::pin(async move { self.answer(caller.user_id()) })
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move {
            let content = self.content.current()?;
            Ok(roles
                .iter()
                .flat_map(|role| content.roles.get(role))
                .collect())
        })
    }

    fn generation(&self) -> Option<u64> {
        self.content.generation()
    }
}

impl Reloadable for FileProvider {
    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    /// A broken file leaves the last good content in force until it is older than `stale_max`.
    fn reload(&self) -> Result<(), ProviderError> {
        self.content.take(read_content(&self.path))
    }
}

/// A map in which a key stands once: a second entry would silently replace the first.
#[derive(Debug, Clone)]
pub(super) struct Unique<V>(pub(super) BTreeMap<String, V>);

impl<V> Default for Unique<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl Lists {
    fn get(&self, key: &str) -> BTreeSet<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut unique = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if let Some(_first) = unique.insert(key.clone(), value) {
                        return Err(A::Error::custom(format!("\"{key}\" stands twice")));
                    }
                }
                Ok(Unique(unique))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

fn read_content(path: &Path) -> Result<Content, ProviderError> {
    let content: Content = read(path)?;
    content.check()?;
    Ok(content)
}

/// A file of bounded size as JSON, or as what its ending says.
///
/// # Errors
/// When it cannot be read, is too large, or is not what is expected.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ProviderError> {
    let unavailable = |error: std::io::Error| {
        ProviderError::Unavailable(format!("cannot read {}: {error}", path.display()))
    };
    let garbage = |says: String| ProviderError::Garbage(format!("{}: {says}", path.display()));
    let file = std::fs::File::open(path).map_err(unavailable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unavailable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ProviderError::Oversize("the file is larger than 64 MB"));
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let text = || std::str::from_utf8(&bytes).map_err(|error| garbage(error.to_string()));
    let content: T = match ending {
        Some("toml") => {
            let text = text()?;
            // Without the piece of the file that the error would show.
            let told = |error: toml::de::Error| {
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map_or(1, |before| before.matches('\n').count() + 1);
                garbage(format!("{} at line {line}", error.message()))
            };
            toml::from_str(text).map_err(told)?
        }
        Some("yaml" | "yml") => yaml(text()?).map_err(garbage)?,
        _ => serde_json::from_slice(&bytes).map_err(|error| garbage(error.to_string()))?,
    };
    Ok(content)
}

/// YAML 1.2. Aliases and merge keys are bounded by the library; a file of [`FILE_BYTES_MAX`] may hold
/// more nodes than its defaults allow.
fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_events: 20_000_000, max_nodes: 10_000_000 },
        with_snippet: false,
    };
    // Advice for programmers is none for whoever wrote the file.
    let advice = ", set DuplicateKeyPolicy in Options if acceptable";
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.to_string().replace(advice, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(text: &str) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
        yaml::<Content>(text).map(|content| content.user_roles.0)
    }

    #[test]
    fn yaml_names_are_text_as_written() {
        let text = "# who\nuser_roles:\n  bob: [no, 1.50, 0755, 'x: y']\n  anne: &both\n    - HR\n    - Sales\n  eve: *both\n";
        let lists = lists(text).unwrap();
        let expected = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        assert_eq!(lists["bob"], expected(&["no", "1.50", "0755", "x: y"]));
        assert_eq!(lists["anne"], expected(&["HR", "Sales"]));
        assert_eq!(lists["eve"], lists["anne"]);
    }

    #[test]
    fn yaml_that_could_mean_two_things_is_refused() {
        let mut bomb = "user_roles: {}\nusers:\n  a0: &a0 [x]\n".to_owned();
        for level in 1..40 {
            let before = level - 1;
            bomb.push_str(&format!("  a{level}: &a{level} [*a{before}, *a{before}]\n"));
        }
        for text in [
            "user_roles: {bob: [HR], bob: [Sales]}",
            "user_roles: {bob: [HR]}\nuser_roles: {}",
            "user_roles: {bob: [HR]}\n---\nuser_roles: {bob: [Sales]}",
            "user_roles: {bob: [null]}",
            "user_roles: {bob: [~]}",
            "user_roles: {bob: HR}",
            "user_roles: {bob: [[HR]]}",
            "user_rolse: {bob: [HR]}",
            "user_roles: [bob]",
            "user_roles: {bob: [HR}",
            "user_roles: {bob: *unknown}",
            &bomb,
            &"[".repeat(100_000),
        ] {
            assert!(
                lists(text).is_err(),
                "{}",
                text.chars().take(80).collect::<String>()
            );
        }
    }
}
