//! Keeps a provider's answers for a while, only where the operator asked for it (`cache_ms`).

use super::{Answer, Asking, Provider};
use crate::identity::Caller;
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most users, and role sets, remembered.
const ENTRIES_MAX: u64 = 10_000;

/// A provider whose good answers are kept for a while. Failures are never kept.
pub struct Cached<P> {
    inner: P,
    users: Cache<Arc<str>, (u64, Arc<Answer>)>,
    roles: Cache<BTreeSet<String>, (u64, Arc<BTreeSet<String>>)>,
    /// Counts clearings: an answer asked for before one is not kept after it.
    epoch: AtomicU64,
}

impl<P: Provider> Cached<P> {
    /// Keeps answers for `ttl` after they came; how long asking may take comes on top.
    pub fn new(inner: P, ttl: Duration) -> Self {
        Self {
            inner,
            users: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_live(ttl)
                .build(),
            roles: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_live(ttl)
                .build(),
            epoch: AtomicU64::new(0),
        }
    }
}

impl<P: Provider> Provider for Cached<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        Box::pin(async move {
            let epoch = self.epoch.load(Ordering::SeqCst);
            if let Some((kept, answer)) = self.users.get(caller.key())
                && kept == epoch
            {
                return Ok((*answer).clone());
            }
            let answer = self.inner.find(caller).await?;
            // What the resolver will refuse must not be kept: its source may be mended meanwhile.
            answer.check()?;
            self.users
                .insert(Arc::clone(caller.key()), (epoch, Arc::new(answer.clone())));
            Ok(answer)
        })
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move {
            let epoch = self.epoch.load(Ordering::SeqCst);
            if let Some((kept, answer)) = self.roles.get(roles)
                && kept == epoch
            {
                return Ok((*answer).clone());
            }
            let answer = self.inner.role_permissions(roles).await?;
            super::answer::check_items(&answer)?;
            self.roles
                .insert(roles.clone(), (epoch, Arc::new(answer.clone())));
            Ok(answer)
        })
    }

    fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.users.invalidate_all();
        self.roles.invalidate_all();
        self.inner.clear();
    }
}
