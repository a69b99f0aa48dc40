//! The `redis` provider: the sets `user_roles:{user}`, `user_permissions:{user}` and
//! `role_permissions:{role}` of a Redis, a Redis Cluster or what a Sentinel watches.
//!
//! ```text
//! find             one round trip: both of the user's sets   (in a cluster: both at once)
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
use link::Link;
use std::collections::BTreeSet;
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
        let prefixes = &self.prefixes;
        let keys = [
            prefixes.user_roles.clone(),
            prefixes.user_permissions.clone(),
            prefixes.role_permissions.clone(),
        ];
        self.sets(&keys).await.map(|_| ())
    }

    /// The members of the sets with these keys, in their order.
    async fn sets(&self, keys: &[String]) -> Result<Vec<BTreeSet<String>>, ProviderError> {
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
    async fn ask(&self, keys: &[String]) -> Result<Vec<BTreeSet<String>>, ProviderError> {
        let (number, link) = self.link().await?;
        match link.sets(keys).await {
            Ok(sets) => return Ok(sets),
            Err(failure) if failure.lost => self.throw_away(number).await,
            Err(failure) => return Err(failure.error),
        }
        let (number, link) = self.link().await?;
        match link.sets(keys).await {
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
        let prefixes = &self.prefixes;
        let keys = [&prefixes.user_roles, &prefixes.user_permissions]
            .map(|prefix| format!("{prefix}{user_id}"));
        let mut sets = self.sets(&keys).await?.into_iter();
        match (sets.next(), sets.next(), sets.next()) {
            (Some(roles), Some(permissions), None) => Ok(Answer {
                roles,
                permissions,
                ..Answer::default()
            }),
            _ => Err(ProviderError::Garbage(
                "not as many sets as were asked for".to_owned(),
            )),
        }
    }
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
            let keys: Vec<String> = roles.iter().map(|role| format!("{prefix}{role}")).collect();
            let sets = self.sets(&keys).await?;
            Ok(sets.into_iter().flatten().collect())
        })
    }
}
