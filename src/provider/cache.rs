//! Keeps a provider's answers for a while, only where the operator asked for it (`cache_ms`).

use super::{Answer, Asking, Provider};
use crate::identity::Caller;
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most users, and role sets, remembered.
const ENTRIES_MAX: u64 = 10_000;

/// A provider whose good answers are kept for a while. Failures are never kept.
pub struct Cached<P> {
    inner: P,
    users: Cache<String, Kept<Answer>>,
    roles: Cache<BTreeSet<String>, Kept<BTreeSet<String>>>,
    /// How long answers serve, and how long while nobody listens for changes.
    ttl: Duration,
    unheard_ttl: Duration,
    heard: AtomicBool,
    /// Counts clearings.
    clearings: Mutex<u64>,
    /// The number of the last clearing that was of everything.
    everything: AtomicU64,
}

#[derive(Clone)]
struct Kept<T> {
    /// The number of clearings before it was asked for.
    before: u64,
    since: Instant,
    answer: Arc<T>,
}

impl<P: Provider> Cached<P> {
    /// Keeps answers for `ttl` after they came; how long asking may take comes on top.
    pub fn new(inner: P, ttl: Duration) -> Self {
        Self::heard(inner, ttl, ttl)
    }

    /// As [`Cached::new`]; but while [`Cached::set_heard`] says that changes would not be heard of, an
    /// answer serves only for `unheard_ttl`. They are not heard of until it says so.
    pub fn heard(inner: P, ttl: Duration, unheard_ttl: Duration) -> Self {
        let longest = ttl.max(unheard_ttl);
        Self {
            inner,
            users: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_live(longest)
                .build(),
            roles: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_live(longest)
                .build(),
            ttl,
            unheard_ttl,
            heard: AtomicBool::new(false),
            clearings: Mutex::new(0),
            everything: AtomicU64::new(0),
        }
    }

    /// Whether a change at the source would be heard of now.
    pub fn set_heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::SeqCst);
    }

    fn serves<T>(&self, kept: &Kept<T>) -> bool {
        let ttl = if self.heard.load(Ordering::SeqCst) {
            self.ttl
        } else {
            self.unheard_ttl
        };
        kept.before >= self.everything.load(Ordering::SeqCst) && kept.since.elapsed() < ttl
    }

    /// What has to be noted before asking, so that the answer can be kept.
    fn before(&self) -> u64 {
        *self.clearings()
    }

    fn clearings(&self) -> MutexGuard<'_, u64> {
        self.clearings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer, unless something was cleared since it was asked for.
    fn keep<K, T>(&self, before: u64, cache: &Cache<K, Kept<T>>, key: K, answer: &T)
    where
        K: Hash + Eq + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
    {
        // Held while inserting, so that no clearing comes between.
        let clearings = self.clearings();
        if *clearings == before {
            let kept = Kept {
                before,
                since: Instant::now(),
                answer: Arc::new(answer.clone()),
            };
            cache.insert(key, kept);
        }
    }

    fn key<'a>(&self, caller: &'a Caller) -> &'a str {
        if self.inner.by_user_id() {
            caller.user_id()
        } else {
            caller.key()
        }
    }
}

impl<P: Provider> Provider for Cached<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        Box::pin(async move {
            let key = self.key(caller);
            if let Some(kept) = self.users.get(key)
                && self.serves(&kept)
            {
                return Ok((*kept.answer).clone());
            }
            let before = self.before();
            let answer = self.inner.find(caller).await?;
            // What the resolver will refuse must not be kept: its source may be mended meanwhile.
            answer.check()?;
            self.keep(before, &self.users, key.to_owned(), &answer);
            Ok(answer)
        })
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move {
            if let Some(kept) = self.roles.get(roles)
                && self.serves(&kept)
            {
                return Ok((*kept.answer).clone());
            }
            let before = self.before();
            let answer = self.inner.role_permissions(roles).await?;
            super::answer::check_items(&answer)?;
            self.keep(before, &self.roles, roles.clone(), &answer);
            Ok(answer)
        })
    }

    fn by_user_id(&self) -> bool {
        self.inner.by_user_id()
    }

    fn clear(&self) {
        let mut clearings = self.clearings();
        *clearings += 1;
        // Answers kept under an earlier number never serve again; this frees them.
        self.everything.store(*clearings, Ordering::SeqCst);
        self.users.invalidate_all();
        self.roles.invalidate_all();
        drop(clearings);
        self.inner.clear();
    }

    fn clear_user(&self, user_id: &str) {
        if !self.inner.by_user_id() {
            self.clear();
            return;
        }
        let mut clearings = self.clearings();
        *clearings += 1;
        self.users.invalidate(user_id);
        drop(clearings);
        self.inner.clear_user(user_id);
    }
}
