//! Whether a query would be answered now.

use crate::gateway::Gateway;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a report serves: however often it is asked for, the database and the providers are asked this often.
const FRESH: Duration = Duration::from_secs(1);
/// How long all questions together may take.
const ASKING_MAX: Duration = Duration::from_secs(3);

/// What the last reload left behind.
#[derive(Debug, Default)]
pub struct Stale {
    /// The views could not be read again: the last good ones are in force.
    pub policy: AtomicBool,
    /// The configuration could not be read again.
    pub configuration: AtomicBool,
}

/// Asks the parts a query needs, now and then.
pub struct Readiness {
    gateway: Arc<Gateway>,
    stale: Arc<Stale>,
    last: Mutex<Option<(Instant, Arc<Report>)>>,
}

/// What was found: a word for each part, and nothing about why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether a query would be answered.
    pub ready: bool,
    /// The database answered.
    pub database: Word,
    /// The providers of roles and permissions answered.
    pub providers: Word,
    /// The audit takes lines.
    pub audit: Word,
    /// The policy is the one in the files.
    pub policy: Word,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It works.
    Ok,
    /// It works with what was good last; that serves on.
    Stale,
    /// It does not.
    Failed,
}

impl Report {
    /// The parts that do not work, by name.
    pub(super) fn failed(&self) -> impl Iterator<Item = &'static str> {
        let parts = [
            ("database", self.database),
            ("providers", self.providers),
            ("audit", self.audit),
            ("policy", self.policy),
        ];
        let failed = |(name, word)| (word == Word::Failed).then_some(name);
        parts.into_iter().filter_map(failed)
    }
}

impl Readiness {
    /// Nothing has been asked yet.
    pub fn new(gateway: Arc<Gateway>, stale: Arc<Stale>) -> Self {
        Self {
            gateway,
            stale,
            last: Mutex::default(),
        }
    }

    /// How it is, or was a moment ago. Whoever asks while somebody else's question is under way shares the answer.
    pub async fn report(&self) -> Arc<Report> {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(report);
        }
        let report = Arc::new(self.ask().await);
        *last = Some((Instant::now(), Arc::clone(&report)));
        report
    }

    async fn ask(&self) -> Report {
        let resolver = self.gateway.resolver();
        let (database, providers) = tokio::join!(
            working("database", self.gateway.ping()),
            working("providers", resolver.ready())
        );
        let (queued, queue_max) = self.gateway.audit().queue();
        let audit = match queued < queue_max {
            true => Word::Ok,
            false => Word::Failed,
        };
        let stale = self.stale.policy.load(Ordering::Relaxed)
            || self.stale.configuration.load(Ordering::Relaxed);
        Report {
            ready: [database, providers, audit]
                .iter()
                .all(|word| *word == Word::Ok),
            database,
            providers,
            audit,
            policy: if stale { Word::Stale } else { Word::Ok },
        }
    }
}

/// The cause goes to the log.
async fn working(
    part: &'static str,
    asking: impl Future<Output = Result<(), crate::error::Fault>>,
) -> Word {
    match tokio::time::timeout(ASKING_MAX, asking).await {
        Ok(Ok(())) => Word::Ok,
        Ok(Err(fault)) => {
            tracing::warn!(part, cause = %format_args!("{:#}", fault.cause), "not ready");
            Word::Failed
        }
        Err(_) => {
            tracing::warn!(part, "not ready: no answer in time");
            Word::Failed
        }
    }
}
