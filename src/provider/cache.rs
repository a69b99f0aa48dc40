//! Keeps a provider's answers for a while, only where the operator asked for it (`cache_ms`).
//!
//! Three rules. An answer is never used when it is older than the age allowed, nor past its own end. One
//! that was asked for before a clearing is not kept after it. Whoever misses waits for the question
//! under way about the same user instead of asking again.

use super::flight::Flights;
use super::{Answer, Asking, Hierarchy, Provider, ProviderError};
use crate::config::CacheSettings;
use crate::identity::Caller;
use crate::metrics::Lookups;
use quick_cache::sync::Cache;
use std::collections::BTreeSet;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The age allowed, in parts: an answer is kept for all but one of them, and what the resolver made of it
/// (see [`Cached::generation`]) for the one that is left.
const PARTS: u32 = 10;
/// Users are told apart in so many groups when one is forgotten: the others of the group are asked for again, too.
const GROUPS: usize = 1024;

/// A provider whose good answers are kept for a while. Failures are never kept.
pub struct Cached {
    inner: Arc<dyn Provider>,
    users: Cache<Arc<str>, Arc<Kept>>,
    roles: Cache<Arc<str>, Arc<Kept>>,
    user_flights: Flights,
    role_flights: Flights,
    /// Held while something is kept or cleared, so that neither happens between the other's steps.
    settling: Mutex<()>,
    /// Counts clearings of everybody.
    epoch: AtomicU64,
    /// Counts clearings of single users, in groups by their ids' hashes.
    of_users: Box<[AtomicU64]>,
    hashes: RandomState,
    /// The count at the last clearing of everything: what was asked for before is not used.
    all_cleared: AtomicU64,
    age_max: Duration,
    unheard_age_max: Duration,
    heard: AtomicBool,
    began: Instant,
    lookups: Lookups,
}

struct Kept {
    answer: Answer,
    /// The number of clearings of everybody before it was asked for.
    asked_in: u64,
    asked: Instant,
}

impl Cached {
    /// Keeps answers no longer than the age allowed, counted from when they were asked for.
    pub fn new(inner: impl Provider, settings: &CacheSettings) -> Self {
        Self::heard(inner, settings, settings.age_max)
    }

    /// As [`Cached::new`]; but while [`Cached::set_heard`] says that changes would not be heard of, an
    /// answer serves only for the other age. They are not heard of until it says so.
    pub fn heard(
        inner: impl Provider,
        settings: &CacheSettings,
        unheard_age_max: Duration,
    ) -> Self {
        let kept = || Cache::new(usize::try_from(settings.entries_max).unwrap_or(usize::MAX));
        Self {
            inner: Arc::new(inner),
            users: kept(),
            roles: kept(),
            user_flights: Flights::default(),
            role_flights: Flights::default(),
            settling: Mutex::new(()),
            epoch: AtomicU64::new(0),
            of_users: (0..GROUPS).map(|_| AtomicU64::new(0)).collect(),
            hashes: RandomState::new(),
            all_cleared: AtomicU64::new(0),
            age_max: settings.age_max,
            unheard_age_max,
            heard: AtomicBool::new(false),
            began: Instant::now(),
            lookups: Lookups::default(),
        }
    }

    /// Whether a change at the source would be heard of now.
    pub fn set_heard(&self, heard: bool) {
        if self.heard.swap(heard, Ordering::SeqCst) != heard {
            // What was made of answers under the other age is made anew.
            self.clear_with(|_number| ());
        }
    }

    /// The count of clearings that concern this user alone.
    fn of_user(&self, user_id: &str) -> Option<&AtomicU64> {
        // The remainder fits, whatever the size of a pointer.
        let group = usize::try_from(self.hashes.hash_one(user_id) % GROUPS as u64);
        self.of_users.get(group.unwrap_or_default())
    }

    fn settle(&self) -> MutexGuard<'_, ()> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The age allowed now.
    fn age_max(&self) -> Duration {
        if self.heard.load(Ordering::SeqCst) {
            self.age_max
        } else {
            self.unheard_age_max
        }
    }

    /// What the caller's answer is kept under.
    fn key(&self, caller: &Caller) -> Arc<str> {
        if self.inner.by_user_id() {
            caller.user_id().into()
        } else {
            Arc::clone(caller.key())
        }
    }

    /// What is kept and may still be used.
    fn kept(&self, cache: &Cache<Arc<str>, Arc<Kept>>, key: &Arc<str>) -> Option<Answer> {
        let kept = cache.get(key)?;
        let age_max = self.age_max();
        let serves = kept.asked_in >= self.all_cleared.load(Ordering::SeqCst)
            && kept.asked.elapsed() < age_max.saturating_sub(age_max / PARTS)
            && kept.answer.until.is_none_or(|until| Instant::now() < until);
        serves.then(|| kept.answer.clone())
    }

    /// Asks what is not kept and keeps it, unless something was cleared since it was asked for.
    async fn ask(
        &self,
        cache: &Cache<Arc<str>, Arc<Kept>>,
        key: &Arc<str>,
        asking: impl Future<Output = Result<Answer, ProviderError>>,
    ) -> Result<Answer, ProviderError> {
        // Whoever waited for the one before finds what that one has just kept.
        if let Some(answer) = self.kept(cache, key) {
            return Ok(answer);
        }
        // A key of roles is no user's: that a user of its group is cleared meanwhile costs one more question.
        let cleared = || (self.epoch.load(Ordering::SeqCst), self.generation_of(key));
        let before = cleared();
        let asked = Instant::now();
        let answer = asking.await?;
        // What the resolver will refuse must not be kept: its source may be mended meanwhile.
        answer.check()?;
        let kept = Kept {
            answer: answer.clone(),
            asked_in: before.0,
            asked,
        };
        let _settled = self.settle();
        if cleared() == before {
            cache.insert(Arc::clone(key), Arc::new(kept));
        }
        Ok(answer)
    }

    fn clear_with(&self, clear: impl FnOnce(u64)) {
        let _settled = self.settle();
        let number = self.epoch.load(Ordering::SeqCst).wrapping_add(1);
        clear(number);
        // Last: who already sees this number must not find an old entry.
        self.epoch.store(number, Ordering::SeqCst);
    }
}

impl Provider for Cached {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready(&self) -> Asking<'_, ()> {
        self.inner.ready()
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        Box::pin(async move {
            let key = self.key(caller);
            let kept = self.kept(&self.users, &key);
            self.lookups.add(kept.is_some());
            if let Some(answer) = kept {
                return Ok(answer);
            }
            let ask = self.ask(&self.users, &key, self.inner.find(caller));
            self.user_flights.share(&key, ask).await
        })
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move {
            // No name holds a NUL: the resolver has checked them.
            let mut key = String::with_capacity(roles.iter().map(|role| role.len() + 1).sum());
            for role in roles {
                key.push_str(role);
                key.push('\0');
            }
            let key: Arc<str> = key.into();
            let kept = self.kept(&self.roles, &key);
            self.lookups.add(kept.is_some());
            if let Some(answer) = kept {
                return Ok(answer.permissions);
            }
            let asking = async {
                Ok(Answer {
                    permissions: self.inner.role_permissions(roles).await?,
                    ..Answer::default()
                })
            };
            let ask = self.ask(&self.roles, &key, asking);
            let answer = self.role_flights.share(&key, ask).await?;
            Ok(answer.permissions)
        })
    }

    fn hierarchy(&self) -> Asking<'_, Option<Arc<Hierarchy>>> {
        Box::pin(async move {
            // Kept beside the permissions of roles, which are never asked for no roles.
            let key: Arc<str> = "".into();
            if let Some(answer) = self.kept(&self.roles, &key) {
                return Ok(answer.hierarchy);
            }
            let asking = async {
                Ok(Answer {
                    hierarchy: self.inner.hierarchy().await?,
                    ..Answer::default()
                })
            };
            let ask = self.ask(&self.roles, &key, asking);
            Ok(self.role_flights.share(&key, ask).await?.hierarchy)
        })
    }

    /// Changes at each clearing and at the end of each slice of time, so that what the resolver makes of
    /// answers nine tenths of the age old serves no longer than the tenth that is left.
    fn generation(&self) -> Option<u64> {
        let slice = (self.age_max() / PARTS).as_nanos();
        if slice == 0 {
            return None;
        }
        let slices = self.began.elapsed().as_nanos() / slice;
        let slices = u64::try_from(slices).unwrap_or(u64::MAX);
        let epoch = self.epoch.load(Ordering::SeqCst);
        Some(epoch.wrapping_mul(1 << 40).wrapping_add(slices))
    }

    fn generation_of(&self, user_id: &str) -> u64 {
        let count = self.of_user(user_id);
        count.map_or(0, |count| count.load(Ordering::SeqCst))
    }

    fn by_user_id(&self) -> bool {
        self.inner.by_user_id()
    }

    fn lookups(&self) -> Option<&Lookups> {
        Some(&self.lookups)
    }

    fn clear(&self) {
        self.clear_with(|number| {
            self.all_cleared.store(number, Ordering::SeqCst);
            self.users.clear();
            self.roles.clear();
        });
        self.inner.clear();
    }

    fn clear_user(&self, user_id: &str) {
        if !self.inner.by_user_id() {
            return self.clear();
        }
        {
            let _settled = self.settle();
            self.users.remove(user_id);
            // Last, as in `clear_with`.
            if let Some(count) = self.of_user(user_id) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.inner.clear_user(user_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Resolver;

    /// Everybody holds a role; counts how often it was asked.
    #[derive(Default)]
    struct Asked(Arc<AtomicU64>);

    impl Provider for Asked {
        fn name(&self) -> &str {
            "asked"
        }

        fn by_user_id(&self) -> bool {
            true
        }

        fn find<'a>(&'a self, _: &'a Caller) -> Asking<'a, Answer> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let roles = BTreeSet::from([format!("role {number}")]);
            Box::pin(async move {
                Ok(Answer {
                    roles,
                    ..Answer::default()
                })
            })
        }
    }

    #[tokio::test]
    async fn forgetting_one_user_asks_about_that_user_again_and_hardly_anybody_else() {
        let asked = Asked::default();
        let count = Arc::clone(&asked.0);
        let settings = CacheSettings {
            age_max: Duration::from_secs(3_600),
            ..CacheSettings::default()
        };
        let cached = Cached::new(asked, &settings);
        cached.set_heard(true);
        let resolver = Resolver::new(vec![Arc::new(cached)], Duration::from_secs(5));
        let callers: Vec<Caller> = (0..50)
            .map(|number| Caller::assumed(&format!("user {number}")))
            .collect();
        let mut before = Vec::new();
        for caller in &callers {
            before.push(resolver.principal(caller).await.unwrap());
        }
        assert_eq!(count.load(Ordering::SeqCst), 50);
        resolver.clear_user("user 7");
        let mut made_anew = 0;
        for (caller, before) in callers.iter().zip(&before) {
            let now = resolver.principal(caller).await.unwrap();
            made_anew += usize::from(!Arc::ptr_eq(&now, before));
            assert_eq!(
                now.roles().eq(before.roles()),
                caller.user_id() != "user 7",
                "{}",
                caller.user_id()
            );
        }
        assert_eq!(count.load(Ordering::SeqCst), 51, "one question");
        // By chance somebody is in the same group.
        assert!((1..10).contains(&made_anew), "{made_anew}");
        resolver.clear();
        for caller in &callers {
            resolver.principal(caller).await.unwrap();
        }
        assert_eq!(count.load(Ordering::SeqCst), 101, "and then everybody");
    }
}
