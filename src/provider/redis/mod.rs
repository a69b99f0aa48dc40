//! The `redis` provider: the sets `user_roles:{user}`, `user_permissions:{user}` and
//! `role_permissions:{role}` of a Redis, a Redis Cluster or what a Sentinel watches; where it is said so also the hash
//! `user_attributes:{user}` and a set of superusers.
//!
//! ```text
//! find             one round trip: all about the user        (in a cluster: all at once)
//! role_permissions one round trip: the sets of all the roles (in a cluster: 16 at once)
//! ```
//!
//! The sets are read by a short script, since only the server can look at their sizes before they
//! travel: nothing larger than the bounds ever leaves it. A key is its prefix and the name, byte for
//! byte, and Redis reads keys as they are: no name means another key, or several.

mod link;
mod listen;

pub(crate) use link::Source;
pub(crate) use listen::{Ears, listen};

use super::answer::{ANSWER_ITEMS_MAX, ITEM_BYTES_MAX};
use super::flight::Flights;
use super::{Answer, Asking, Provider, ProviderError};
use crate::identity::Caller;
use link::{Asked, Link};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What the keys start with. None is empty or the beginning of another (the configuration sees to it):
/// else a user's name could reach another kind of set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisPrefixes {
    /// Of the sets of a user's roles.
    pub user_roles: String,
    /// Of the sets of a user's own permissions.
    pub user_permissions: String,
    /// Of the sets of a role's permissions.
    pub role_permissions: String,
    /// Of the hashes of a user's attributes; `None`: there are none.
    pub user_attributes: Option<String>,
    /// The whole key of the set of superusers; `None`: there is none.
    pub superusers: Option<String>,
}

/// Asks a Redis.
pub struct RedisProvider {
    name: String,
    source: Arc<Source>,
    prefixes: RedisPrefixes,
    timeout: Duration,
    /// The connection in use and its number, so that only the one that failed is thrown away.
    link: tokio::sync::Mutex<(u64, Option<Link>)>,
    flights: Flights,
}

impl RedisProvider {
    /// A provider that connects when it is first asked. `timeout` bounds each answer, connecting
    /// included.
    pub(crate) fn new(
        name: &str,
        source: Arc<Source>,
        prefixes: RedisPrefixes,
        timeout: Duration,
    ) -> Self {
        Self {
            name: name.to_owned(),
            source,
            prefixes,
            timeout,
            link: tokio::sync::Mutex::new((0, None)),
            flights: Flights::default(),
        }
    }

    /// Asks for the sets of nobody, so that a server that cannot be reached, or does not let this
    /// login read, is found at start.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn probe(&self) -> Result<(), ProviderError> {
        let mut asked = self.of_user("");
        asked.push(Asked::Set(self.prefixes.role_permissions.clone()));
        self.answers(&asked).await.map(|_| ())
    }

    /// Everything asked about a user.
    fn of_user(&self, user_id: &str) -> Vec<Asked> {
        let prefixes = &self.prefixes;
        let key = |prefix: &String| format!("{prefix}{user_id}");
        let mut asked = vec![
            Asked::Set(key(&prefixes.user_roles)),
            Asked::Set(key(&prefixes.user_permissions)),
        ];
        let attributes = prefixes.user_attributes.as_ref();
        asked.extend(attributes.map(|prefix| Asked::Hash(key(prefix))));
        let superusers = prefixes.superusers.as_ref();
        asked.extend(superusers.map(|set| Asked::Member(set.clone(), user_id.to_owned())));
        asked
    }

    /// What is at these keys, in their order.
    async fn answers(&self, keys: &[Asked]) -> Result<Vec<Vec<String>>, ProviderError> {
        let asked = self.bounded(self.ask(keys)).await;
        if asked == Err(ProviderError::Timeout) {
            // Perhaps it died in silence; the next question gets another one.
            let number = self.link.lock().await.0;
            self.throw_away(number).await;
        }
        asked
    }

    async fn bounded<T>(
        &self,
        ask: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        tokio::time::timeout(self.timeout, ask)
            .await
            .unwrap_or(Err(ProviderError::Timeout))
    }

    /// Puts the question to the connection there is; one that turns out to be lost is replaced once.
    /// Reading twice harms nobody.
    async fn ask(&self, keys: &[Asked]) -> Result<Vec<Vec<String>>, ProviderError> {
        let (number, link) = self.link().await?;
        match link.ask(keys).await {
            Ok(sets) => return Ok(sets),
            Err(failure) if failure.lost => self.throw_away(number).await,
            Err(failure) => return Err(failure.error),
        }
        let (number, link) = self.link().await?;
        match link.ask(keys).await {
            Ok(sets) => Ok(sets),
            Err(failure) => {
                if failure.lost {
                    self.throw_away(number).await;
                }
                Err(failure.error)
            }
        }
    }

    /// The connection in use. Whoever comes while it is being opened waits for it.
    async fn link(&self) -> Result<(u64, Link), ProviderError> {
        let mut slot = self.link.lock().await;
        if let (number, Some(link)) = &*slot {
            return Ok((*number, link.clone()));
        }
        let link = self.source.open(self.timeout).await?;
        slot.0 += 1;
        slot.1 = Some(link.clone());
        Ok((slot.0, link))
    }

    async fn throw_away(&self, number: u64) {
        let mut slot = self.link.lock().await;
        if slot.0 == number {
            slot.1 = None;
        }
    }

    async fn find_user(&self, user_id: &str) -> Result<Answer, ProviderError> {
        let asked = self.of_user(user_id);
        let found = self.answers(&asked).await?;
        let mut answer = Answer::default();
        let mut found = asked.iter().zip(found);
        answer.roles = found
            .next()
            .into_iter()
            .flat_map(|(_, roles)| roles)
            .collect();
        let permissions = found.next().into_iter();
        answer.permissions = permissions.flat_map(|(_, items)| items).collect();
        for (asked, items) in found {
            match asked {
                Asked::Hash(_) => answer.attributes = attributes(&items)?,
                Asked::Set(_) | Asked::Member(..) => {
                    answer.superuser = (!items.is_empty()).then_some(true);
                }
            }
        }
        Ok(answer)
    }
}

/// Names and values in turn. A value that begins with `[` is a list of texts in JSON.
fn attributes(items: &[String]) -> Result<BTreeMap<String, Vec<String>>, ProviderError> {
    let mut attributes = BTreeMap::new();
    for pair in items.chunks(2) {
        let [name, value] = pair else {
            let says = "an attribute has no value";
            return Err(ProviderError::Garbage(says.to_owned()));
        };
        let values = match value.starts_with('[') {
            false => vec![value.clone()],
            true => serde_json::from_str(value).map_err(|_| {
                let says = "an attribute begins with [ and is no list of texts in JSON";
                ProviderError::Garbage(says.to_owned())
            })?,
        };
        attributes.insert(name.clone(), values);
    }
    Ok(attributes)
}

impl Provider for RedisProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn by_user_id(&self) -> bool {
        true
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(self.probe())
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        let user_id = caller.user_id();
        Box::pin(self.flights.share(user_id, self.find_user(user_id)))
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move {
            let prefix = &self.prefixes.role_permissions;
            let keys = roles
                .iter()
                .map(|role| Asked::Set(format!("{prefix}{role}")));
            let sets = self.answers(&keys.collect::<Vec<_>>()).await?;
            Ok(sets.into_iter().flatten().collect())
        })
    }
}
