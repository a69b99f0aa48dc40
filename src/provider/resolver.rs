//! [`Resolver`]: asks every provider, merges what they found, and keeps the principal only as long
//! as no answer can have changed.

use super::conditions::{Conditions, Span};
use super::hierarchy::{LiveHierarchy, TooMany};
use super::merge::Merged;
use super::{Provider, ProviderError, Step};
use crate::error::{Error, Fault, FaultKind, Reason, Refusal};
use crate::identity::{Caller, Principal};
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most principals kept.
const PRINCIPALS_MAX: u64 = 10_000;

/// From a [`Caller`] to a [`Principal`]: asks every provider and merges what they found.
pub struct Resolver {
    providers: Vec<Arc<dyn Provider>>,
    hierarchy: Arc<LiveHierarchy>,
    conditions: Arc<Conditions>,
    steps: Vec<Arc<dyn Step>>,
    /// A bound over all of it, whatever bounds the providers keep themselves.
    timeout: Duration,
    kept: Cache<Arc<str>, Arc<Kept>>,
}

/// A principal, and how long it stays what its caller is.
struct Kept {
    /// As long as no provider says otherwise ...
    generations: Vec<u64>,
    /// ... and nothing has come to its end.
    life: Life,
    principal: Arc<Principal>,
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
        Self {
            providers,
            hierarchy: Arc::default(),
            conditions: Arc::default(),
            steps: Vec::new(),
            timeout,
            kept: Cache::new(PRINCIPALS_MAX),
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

    /// The principal a caller is at this moment. Ask once per statement; it is cheap when nothing changed.
    ///
    /// # Errors
    /// [`FaultKind::ProviderUnavailable`] when a provider cannot answer: never "no roles".
    /// [`Reason::NotAuthorized`] when the user is a superuser and this login may not be one.
    pub async fn principal(&self, caller: &Caller) -> Result<Arc<Principal>, Error> {
        // Taken before asking, so that what changes meanwhile is not kept.
        let generations = self.generations();
        let principal = match (generations, self.kept.get(caller.key())) {
            (Some(now), Some(kept)) if self.holds(&kept, &now) => Arc::clone(&kept.principal),
            (generations, _) => {
                let (principal, life) = self.ask(caller).await?;
                if let Some(generations) = generations {
                    let kept = Kept {
                        generations,
                        life,
                        principal: Arc::clone(&principal),
                    };
                    self.kept.insert(Arc::clone(caller.key()), Arc::new(kept));
                }
                principal
            }
        };
        if principal.superuser() && !caller.may_be_superuser() {
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
        Ok(principal)
    }

    /// Makes every provider and step forget what it kept.
    pub fn clear(&self) {
        self.providers.iter().for_each(|provider| provider.clear());
        self.steps.iter().for_each(|step| step.clear());
        self.kept.invalidate_all();
    }

    /// Makes every provider forget what it kept of one user.
    pub fn clear_user(&self, user_id: &str) {
        self.providers
            .iter()
            .for_each(|provider| provider.clear_user(user_id));
        self.steps.iter().for_each(|step| step.clear());
        // Kept by session; making one anew from the providers' answers is cheap.
        self.kept.invalidate_all();
    }

    fn generations(&self) -> Option<Vec<u64>> {
        let providers = self.providers.iter().map(|provider| provider.generation());
        let steps = self.steps.iter().map(|step| step.generation());
        let hierarchy = Some(self.hierarchy.generation());
        providers.chain(steps).chain([hierarchy]).collect()
    }

    fn holds(&self, kept: &Kept, generations: &[u64]) -> bool {
        kept.generations == generations
            && kept.life.until.is_none_or(|until| Instant::now() < until)
            && kept.life.span.holds(self.conditions.moment())
    }

    async fn ask(&self, caller: &Caller) -> Result<(Arc<Principal>, Life), Error> {
        let asking = self.ask_all(caller);
        tokio::time::timeout(self.timeout, asking)
            .await
            .unwrap_or_else(|_| Err(fault("all providers together", &ProviderError::Timeout)))
            .map(|(principal, life)| (Arc::new(principal), life))
    }

    async fn ask_all(&self, caller: &Caller) -> Result<(Principal, Life), Error> {
        let hierarchy = self.hierarchy.current();
        let mut answers = Vec::with_capacity(self.providers.len());
        let mut until: Option<Instant> = None;
        for provider in &self.providers {
            let answer = provider
                .find(caller)
                .await
                .and_then(|answer| answer.check().map(|()| answer));
            let answer = answer.map_err(|error| fault(provider.name(), &error))?;
            until = [until, answer.until].into_iter().flatten().min();
            answers.push((provider.name(), answer));
        }
        let verdict = self
            .conditions
            .judge(caller, &answers, self.conditions.moment());
        let span = verdict.span;
        let merged = Merged::new(answers).narrow(verdict);
        let merged = merged.inherit(&hierarchy).map_err(too_many)?;
        let roles = merged.roles();
        let mut of_roles = BTreeSet::new();
        if !roles.is_empty() {
            for provider in &self.providers {
                let permissions = provider.role_permissions(&roles).await;
                let permissions = permissions
                    .and_then(|items| super::answer::check_items(&items).map(|()| items))
                    .map_err(|error| fault(provider.name(), &error))?;
                of_roles.extend(permissions);
            }
        }
        let mut found = merged.finish(of_roles, &hierarchy).map_err(too_many)?;
        for step in &self.steps {
            let completed = step.complete(caller, &mut found).await;
            completed.map_err(|error| fault(step.name(), &error))?;
        }
        let principal = Principal::new(caller.login(), caller.user_id(), found);
        Ok((principal, Life { until, span }))
    }
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
