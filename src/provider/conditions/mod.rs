//! When, from where and for whom roles and permissions count: looked at for every statement, never frozen at login.
//!
//! A condition narrows: what it concerns does not count while it does not hold, whoever grants it. Several on the same
//! name have to hold all. Whatever is unknown (a claim, an attribute, an address) does not hold.

#[cfg(test)]
mod tests;
mod times;

use super::Answer;
use super::names::{Narrowing, fold};
use crate::config::{Condition, Match};
use crate::identity::Caller;
use jiff::Timestamp;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// All conditions, and the clock they are read from.
pub struct Conditions {
    rules: Vec<Condition>,
    clock: Arc<dyn Clock>,
    /// The latest moment ever seen, in microseconds since 1970.
    latest: AtomicI64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self::new(Vec::new(), Arc::new(SystemClock))
    }
}

/// What time it is: by the clock, and by the latest it ever showed. They differ while the clock has been set back, and
/// then what counts has to count at both: a grant that had ended does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    early: Timestamp,
    late: Timestamp,
}

/// How long a finding holds: `since` to before `until`. Without either it holds until something else changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Span {
    /// Whether a finding still holds.
    pub(super) fn holds(&self, at: Moment) -> bool {
        self.since.is_none_or(|since| since <= at.early)
            && self.until.is_none_or(|until| at.late < until)
    }
}

/// What conditions leave of what a caller was granted.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What does not count now.
    pub(super) narrowing: Narrowing,
    /// Whether the superuser flag counts.
    pub(super) superuser: bool,
    /// For how long that stays so.
    pub(super) span: Span,
    /// The conditions that do not hold, by their number.
    pub(super) unmet: BTreeSet<usize>,
}

impl Conditions {
    /// Conditions read from this clock.
    pub fn new(rules: Vec<Condition>, clock: Arc<dyn Clock>) -> Self {
        Self {
            rules,
            clock,
            latest: AtomicI64::new(i64::MIN),
        }
    }

    /// What time it is. The clock is not asked where no condition asks for it.
    pub(super) fn moment(&self) -> Moment {
        if self.rules.is_empty() {
            let never = Timestamp::UNIX_EPOCH;
            return Moment {
                early: never,
                late: never,
            };
        }
        let now = self.clock.now();
        let seen = now.as_microsecond();
        let latest = self.latest.fetch_max(seen, Ordering::SeqCst).max(seen);
        Moment {
            early: now,
            late: Timestamp::from_microsecond(latest).map_or(now, |latest| latest.max(now)),
        }
    }

    /// What time it is supposed to be.
    pub(super) fn supposed(at: Timestamp) -> Moment {
        Moment {
            early: at,
            late: at,
        }
    }

    /// Which conditions hold for a caller at a moment, by what the providers said of them.
    pub(super) fn judge(&self, caller: &Caller, answers: &[(&str, Answer)], at: Moment) -> Verdict {
        let mut verdict = Verdict {
            superuser: true,
            ..Verdict::default()
        };
        let user = fold(caller.user_id());
        for (number, rule) in self.rules.iter().enumerate() {
            if !rule.users.is_empty() && !rule.users.iter().any(|name| fold(name) == user) {
                continue;
            }
            if times::timed(rule) {
                let change =
                    times::next_change(rule, at.early).min(times::next_change(rule, at.late));
                let until = verdict.span.until.map_or(change, |until| until.min(change));
                verdict.span = Span {
                    since: Some(at.early),
                    until: Some(until),
                };
            }
            if holds(rule, caller, answers, at) {
                continue;
            }
            verdict.unmet.insert(number);
            rule.roles
                .iter()
                .for_each(|role| verdict.narrowing.role(role));
            for permission in &rule.permissions {
                verdict.narrowing.permission(permission);
            }
            verdict.superuser &= !rule.superuser;
        }
        verdict
    }
}

fn holds(rule: &Condition, caller: &Caller, answers: &[(&str, Answer)], at: Moment) -> bool {
    times::holds(rule, at.early)
        && times::holds(rule, at.late)
        && near(rule, caller)
        && rule.claim.as_ref().is_none_or(|wanted| {
            let claim = caller.claims().get(&wanted.name);
            claim.is_some_and(|claim| equal(claim, wanted))
        })
        && rule
            .attribute
            .as_ref()
            .is_none_or(|wanted| attribute(wanted, answers))
}

fn near(rule: &Condition, caller: &Caller) -> bool {
    // A socket for both families shows IPv4 addresses in their IPv6 form.
    let address = caller
        .network_address()
        .map(|address| address.to_canonical());
    rule.networks.is_empty()
        || address.is_some_and(|address| {
            rule.networks
                .iter()
                .any(|network| network.contains(&address))
        })
}

/// Whether a claim is one of the values, or a list that holds one.
fn equal(claim: &Json, wanted: &Match) -> bool {
    match claim {
        Json::Array(items) => items.iter().any(|item| wanted.any_of.contains(item)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            wanted.any_of.contains(claim)
        }
        Json::Object(_) => false,
    }
}

fn attribute(wanted: &Match, answers: &[(&str, Answer)]) -> bool {
    let asked = answers.iter().filter(|(provider, _)| {
        wanted
            .provider
            .as_deref()
            .is_none_or(|wanted| wanted == *provider)
    });
    let mut values =
        asked.flat_map(|(_, answer)| answer.attributes.get(&wanted.name).into_iter().flatten());
    values.any(|value| {
        wanted.any_of.iter().any(|wanted| match wanted {
            Json::String(text) => text == value,
            // Compared as it is written: a Json is never equal to a String that looks like it.
            other => {
                let text = other.to_string();
                text == *value
            }
        })
    })
}
