//! [`Resolver`]: asks every provider, merges what they found, and keeps the principal only as long
//! as no answer can have changed.

use super::conditions::{Conditions, Span};
use super::hierarchy::{Hierarchy, LiveHierarchy, TooMany};
use super::merge::Merged;
use super::{Asking, Provider, ProviderError, Step};
use crate::config::Situation;
use crate::error::{Error, Fault, FaultKind, Reason, Refusal};
use crate::identity::{Caller, Principal};
use crate::metrics::Lookups;
use arc_swap::ArcSwapOption;
use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use quick_cache::sync::Cache;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Most principals kept.
const PRINCIPALS_MAX: usize = 10_000;
/// Most providers asked at the same time for one caller.
const ASKED_AT_ONCE: usize = 8;

/// From a [`Caller`] to a [`Principal`]: asks every provider and merges what they found.
pub struct Resolver {
    providers: Vec<Arc<dyn Provider>>,
    hierarchy: Arc<LiveHierarchy>,
    conditions: Arc<Conditions>,
    steps: Vec<Arc<dyn Step>>,
    /// A bound over all of it, whatever bounds the providers keep themselves.
    timeout: Duration,
    /// What a policy test supposes of its logins' sessions; empty in every gate that serves.
    situations: Arc<BTreeMap<String, Situation>>,
    kept: Cache<Arc<str>, Arc<Resolved>>,
    /// Tells this resolver from every other one of the process.
    number: u64,
    /// How often everything was to be forgotten.
    cleared: AtomicU64,
    lookups: Lookups,
    /// The hierarchies united last, and what they came to.
    united: ArcSwapOption<(Vec<Arc<Hierarchy>>, Arc<Hierarchy>)>,
}

/// A principal, and how long it stays what its caller is.
#[derive(Debug)]
pub struct Resolved {
    /// By whom it was resolved ...
    resolver: u64,
    /// ... for whom ([`Caller::key`]).
    key: Arc<str>,
    /// It holds as long as no provider says otherwise (`None`: for this moment) ...
    generations: Option<Vec<u64>>,
    /// ... and nothing has come to its end.
    life: Life,
    principal: Arc<Principal>,
}

impl Resolved {
    /// The principal.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }
}

/// How long a principal stays as it is, if no provider says otherwise.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    /// Until an answer it is made of ends by itself.
    until: Option<Instant>,
    /// While no condition can change its mind.
    span: Span,
}

impl Resolver {
    /// A resolver over these providers; a resolution takes at most `timeout`.
    pub fn new(providers: Vec<Arc<dyn Provider>>, timeout: Duration) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            providers,
            hierarchy: Arc::default(),
            conditions: Arc::default(),
            steps: Vec::new(),
            timeout,
            situations: Arc::default(),
            kept: Cache::new(PRINCIPALS_MAX),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            cleared: AtomicU64::new(0),
            lookups: Lookups::default(),
            united: ArcSwapOption::empty(),
        }
    }

    /// Sets what roles and permissions bring along.
    #[must_use]
    pub fn with_hierarchy(mut self, hierarchy: Arc<LiveHierarchy>) -> Self {
        self.hierarchy = hierarchy;
        self
    }

    /// Sets the conditions under which roles and permissions count.
    #[must_use]
    pub fn with_conditions(mut self, conditions: Arc<Conditions>) -> Self {
        self.conditions = conditions;
        self
    }

    /// Adds steps that complete what the providers found, in this order.
    #[must_use]
    pub fn with_steps(mut self, steps: Vec<Arc<dyn Step>>) -> Self {
        self.steps.extend(steps);
        self
    }

    /// Sets what is supposed of sessions, by their login; for policy tests.
    #[must_use]
    pub(crate) fn with_situations(mut self, situations: Arc<BTreeMap<String, Situation>>) -> Self {
        self.situations = situations;
        self
    }

    /// The principal a caller is at this moment. Ask once per statement; it is cheap when nothing changed.
    ///
    /// # Errors
    /// As [`Resolver::resolve`].
    pub async fn principal(&self, caller: &Caller) -> Result<Arc<Principal>, Error> {
        let resolved = self.resolve(caller, None).await?;
        Ok(Arc::clone(&resolved.principal))
    }

    /// As [`Resolver::principal`], with how long it holds; `known`, what came back before for this caller, comes back
    /// again as long as it does.
    ///
    /// # Errors
    /// [`FaultKind::ProviderUnavailable`] when a provider cannot answer: never "no roles".
    /// [`Reason::NotAuthorized`] when the user is a superuser and this login may not be one.
    pub async fn resolve(
        &self,
        caller: &Caller,
        known: Option<&Arc<Resolved>>,
    ) -> Result<Arc<Resolved>, Error> {
        let resolved = match known.filter(|known| self.holds(known, caller)) {
            Some(known) => Some(Arc::clone(known)),
            None => {
                let kept = self.kept.get(caller.key());
                kept.filter(|kept| self.holds(kept, caller))
            }
        };
        self.lookups.add(resolved.is_some());
        let resolved = match resolved {
            Some(resolved) => resolved,
            None => Box::pin(self.resolve_anew(caller)).await?,
        };
        if resolved.principal.superuser() && !caller.may_be_superuser() {
            tracing::warn!(
                login = caller.login(),
                user_id = caller.user_id(),
                "login may not act for a superuser"
            );
            return Err(Refusal::new(
                Reason::NotAuthorized,
                "this login may not act for this user",
            )
            .hint("Connect as that user with a login of its own.")
            .into());
        }
        Ok(resolved)
    }

    /// Whether [`Resolver::resolve`] would come to what it came to for this caller before.
    pub fn holds_still(&self, known: &Resolved, caller: &Caller) -> bool {
        let may = caller.may_be_superuser() || !known.principal.superuser();
        let holds = may && self.holds(known, caller);
        if holds {
            self.lookups.add(true);
        }
        holds
    }

    async fn resolve_anew(&self, caller: &Caller) -> Result<Arc<Resolved>, Error> {
        // Taken before asking, so that what changes meanwhile is not kept.
        let mut generations = Vec::new();
        let lasts = self.generations(caller.user_id(), |now| {
            generations.extend(now);
            now.is_some()
        });
        let generations = lasts.then_some(generations);
        let (principal, life) = self.ask(caller).await?;
        let resolved = Arc::new(Resolved {
            resolver: self.number,
            key: Arc::clone(caller.key()),
            generations,
            life,
            principal,
        });
        if lasts {
            self.kept
                .insert(Arc::clone(caller.key()), Arc::clone(&resolved));
        }
        Ok(resolved)
    }

    /// Whether every provider and step could answer now.
    ///
    /// # Errors
    /// The first that could not, with its name.
    pub async fn ready(&self) -> Result<(), Fault> {
        let told = |name: &str, error: &ProviderError| {
            let cause = format!("provider \"{name}\": {error}");
            Fault::because(FaultKind::ProviderUnavailable, cause)
        };
        for provider in &self.providers {
            let ready = provider.ready().await;
            ready.map_err(|error| told(provider.name(), &error))?;
        }
        for step in &self.steps {
            let ready = step.ready().await;
            ready.map_err(|error| told(step.name(), &error))?;
        }
        Ok(())
    }

    /// How often a principal was still known, and how often a provider's answer was: hits and misses.
    pub fn lookups(&self) -> [(u64, u64); 2] {
        let answers = self.providers.iter().filter_map(|p| p.lookups());
        let answers = answers.map(Lookups::get);
        let answers = answers.fold((0, 0), |sum, (hits, misses)| (sum.0 + hits, sum.1 + misses));
        [self.lookups.get(), answers]
    }

    /// Makes every provider and step forget what it kept.
    pub fn clear(&self) {
        self.providers.iter().for_each(|provider| provider.clear());
        self.steps.iter().for_each(|step| step.clear());
        self.cleared.fetch_add(1, Ordering::SeqCst);
        self.kept.clear();
    }

    /// Makes every provider forget what it kept of one user; what is kept of the others stays.
    pub fn clear_user(&self, user_id: &str) {
        self.providers
            .iter()
            .for_each(|provider| provider.clear_user(user_id));
        self.steps.iter().for_each(|step| step.clear());
        // Principals are kept by session. Those of this user are told by their generations.
    }

    /// Looks at what a principal of this user is made of, in numbers, until `each` says no; whether it never did. While
    /// they stay, so may the principal; with `None` among them it has to be asked for each time.
    fn generations(&self, user_id: &str, mut each: impl FnMut(Option<u64>) -> bool) -> bool {
        // No iterators put together: this is done for each statement.
        for provider in &self.providers {
            if !each(provider.generation()) || !each(Some(provider.generation_of(user_id))) {
                return false;
            }
        }
        for step in &self.steps {
            if !each(step.generation()) {
                return false;
            }
        }
        each(Some(self.hierarchy.generation())) && each(Some(self.cleared.load(Ordering::SeqCst)))
    }

    /// Whether it was resolved here, for this caller, and holds still.
    fn holds(&self, resolved: &Resolved, caller: &Caller) -> bool {
        let Resolved {
            resolver,
            key,
            generations,
            life,
            principal: _,
        } = resolved;
        let same = Arc::ptr_eq(key, caller.key()) || key == caller.key();
        let current = |generations: &Vec<u64>| {
            let mut then = generations.iter().copied();
            let same = |now: Option<u64>| now.is_some() && now == then.next();
            self.generations(caller.user_id(), same) && then.next().is_none()
        };
        *resolver == self.number
            && same
            && generations.as_ref().is_some_and(current)
            && life.until.is_none_or(|until| Instant::now() < until)
            && life.span.holds(self.conditions.moment())
    }

    async fn ask(&self, caller: &Caller) -> Result<(Arc<Principal>, Life), Error> {
        let situation = self.situations.get(caller.login());
        let situated = situation.map(|s| caller.situated(&s.claims, s.network));
        let asking = self.ask_all(situated.as_ref().unwrap_or(caller), situation);
        tokio::time::timeout(self.timeout, asking)
            .await
            .unwrap_or_else(|_| Err(fault("all providers together", &ProviderError::Timeout)))
            .map(|(principal, life)| (Arc::new(principal), life))
    }

    async fn ask_all(
        &self,
        caller: &Caller,
        situation: Option<&Situation>,
    ) -> Result<(Principal, Life), Error> {
        let asked = self.providers.iter().map(|provider| {
            let asking = provider.find(caller).map(|found| {
                let answer = found?;
                answer.check().map(|()| answer)
            });
            (provider.name(), asking.boxed())
        });
        let inherited = self.providers.iter();
        let inherited = inherited.map(|provider| (provider.name(), provider.hierarchy()));
        let (mut answers, inherited) =
            tokio::try_join!(all(asked.collect()), all(inherited.collect()))?;
        let supposed = situation.map(|situation| &situation.attributes);
        for (_, answer) in &mut answers {
            answer.attributes.extend(
                supposed
                    .into_iter()
                    .flatten()
                    .map(|(n, v)| (n.clone(), v.clone())),
            );
        }
        let hierarchy = self.united(inherited)?;
        let until = answers.iter().filter_map(|(_, answer)| answer.until).min();
        let supposed = situation.and_then(|situation| situation.at);
        let moment = supposed.map_or_else(|| self.conditions.moment(), Conditions::supposed);
        let verdict = self.conditions.judge(caller, &answers, moment);
        let span = verdict.span;
        let merged = Merged::new(answers).narrow(verdict);
        let merged = merged.inherit(&hierarchy).map_err(too_many)?;
        let roles = merged.roles();
        let mut of_roles = BTreeSet::new();
        if !roles.is_empty() {
            let asked = self.providers.iter().map(|provider| {
                let asking = provider.role_permissions(&roles).map(|found| {
                    let items = found?;
                    super::answer::check_items(&items).map(|()| items)
                });
                (provider.name(), asking.boxed())
            });
            let permissions = all(asked.collect()).await?;
            of_roles.extend(permissions.into_iter().flat_map(|(_, items)| items));
        }
        let mut found = merged.finish(of_roles, &hierarchy).map_err(too_many)?;
        for step in &self.steps {
            let completed = step.complete(caller, &mut found).await;
            completed.map_err(|error| fault(step.name(), &error))?;
        }
        let principal = Principal::new(caller.login(), caller.user_id(), found);
        Ok((principal, Life { until, span }))
    }

    /// What is configured, and what the providers say beside it; made anew only when one of them is another one.
    fn united(
        &self,
        inherited: Vec<(&str, Option<Arc<Hierarchy>>)>,
    ) -> Result<Arc<Hierarchy>, Error> {
        let configured = self.hierarchy.current();
        let mut parts = vec![Arc::clone(&configured)];
        parts.extend(inherited.into_iter().filter_map(|(_, part)| part));
        if parts.len() == 1 {
            return Ok(configured);
        }
        if let Some(known) = self.united.load_full()
            && known.0.len() == parts.len()
            && known.0.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return Ok(Arc::clone(&known.1));
        }
        let mut all = Hierarchy::default();
        for part in &parts {
            let united = all.united(Hierarchy::clone(part));
            all = united.map_err(|error| {
                let error = ProviderError::Garbage(error.to_string());
                fault("all providers together", &error)
            })?;
        }
        let all = Arc::new(all);
        self.united.store(Some(Arc::new((parts, Arc::clone(&all)))));
        Ok(all)
    }
}

/// The answers of all, several asked at a time, in the order of the configuration. One that fails is the failure of
/// all.
async fn all<'a, T: Send + 'a>(
    asked: Vec<(&'a str, Asking<'a, T>)>,
) -> Result<Vec<(&'a str, T)>, Error> {
    let asking = asked.into_iter().map(|(name, asking)| {
        let answer = asking.map_ok(move |answer| (name, answer));
        answer.map_err(move |error| fault(name, &error)).boxed()
    });
    let asking: Vec<BoxFuture<'a, _>> = asking.collect();
    stream::iter(asking)
        .buffered(ASKED_AT_ONCE)
        .try_collect()
        .await
}

fn too_many(_: TooMany) -> Error {
    let error = ProviderError::Oversize("more than 10000 roles or permissions");
    fault("all providers together", &error)
}

fn fault(provider: &str, error: &ProviderError) -> Error {
    Fault::because(
        FaultKind::ProviderUnavailable,
        format!("provider \"{provider}\": {error}"),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Answer;
    use tokio::sync::Barrier;

    /// Answers only when all are being asked at the same time.
    struct Meets {
        name: String,
        others: Arc<Barrier>,
        fails: bool,
    }

    impl Provider for Meets {
        fn name(&self) -> &str {
            &self.name
        }

        fn find<'a>(&'a self, _: &'a Caller) -> Asking<'a, Answer> {
            Box::pin(async move {
                self.others.wait().await;
                match self.fails {
                    true => Err(ProviderError::Timeout),
                    false => Ok(Answer {
                        roles: BTreeSet::from(["HR".to_owned(), self.name.clone()]),
                        ..Answer::default()
                    }),
                }
            })
        }

        fn role_permissions<'a>(&'a self, _: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
            Box::pin(async move {
                self.others.wait().await;
                Ok(BTreeSet::from([format!("of {}", self.name)]))
            })
        }
    }

    fn resolver(count: usize, together: usize, fails: Option<usize>, within: u64) -> Resolver {
        let others = Arc::new(Barrier::new(together));
        let providers = (0..count).map(|number| {
            let others = Arc::clone(&others);
            let name = format!("p{number}");
            let fails = fails == Some(number);
            Arc::new(Meets {
                name,
                others,
                fails,
            }) as Arc<dyn Provider>
        });
        Resolver::new(providers.collect(), Duration::from_millis(within))
    }

    #[tokio::test]
    async fn all_are_asked_together_and_all_count() {
        let bob = Caller::assumed("bob");
        let principal = resolver(8, 8, None, 9_000).principal(&bob).await.unwrap();
        assert_eq!(principal.roles().count(), 9);
        assert_eq!(principal.permissions().len(), 8);
        // No more than the bound at once: nine that wait for each other wait in vain, twice eight do not.
        assert!(resolver(9, 9, None, 100).principal(&bob).await.is_err());
        let many = resolver(16, 8, None, 9_000).principal(&bob).await.unwrap();
        assert_eq!(many.roles().count(), 17);
    }

    #[tokio::test]
    async fn one_that_fails_is_the_failure_of_all() {
        for failing in 0..8 {
            let asked = resolver(8, 8, Some(failing), 9_000);
            let Err(Error::Failed(fault)) = asked.principal(&Caller::assumed("bob")).await else {
                panic!("provider {failing} failed, and bob has roles");
            };
            let cause = format!("provider \"p{failing}\": no answer in time");
            assert_eq!(fault.cause.to_string(), cause);
        }
    }
}
