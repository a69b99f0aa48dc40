//! The walk: one request through all stages. Start reading at [`Gateway::decide`].
//!
//! ```text
//! decide:  who asks? -> what may they see? -> what did they ask?      Decided | Error
//! record:  the audit's line, written before the first row leaves
//! lease:   a connection of the pool that fits the principal; the session sends and relays
//! finish:  how it ended
//! ```

mod record;
mod standing;

pub use record::SessionFacts;
pub use standing::Memory;
pub(crate) use standing::lacking;

use crate::audit::AuditLog;
pub use crate::audit::{LoginRefused, RequestId};
use crate::error::{Error, Fault, FaultKind, Refusal};
use crate::identity::{Authenticator, Caller, Principal};
use crate::limits::Limits;
use crate::metrics::{Lookups, Times};
pub use crate::policy::Standing;
use crate::policy::{Policy, RelationName};
use crate::provider::Resolver;
pub use crate::sql::STACK_BYTES;
use crate::sql::statement::{self, Statement};
use crate::sql::{Rewrite, Rewrites};
pub use crate::upstream::Registration;
use crate::upstream::{self, CancelSlot, Lease, Pool, Registry};
use arc_swap::ArcSwap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::Instant;

/// What a gateway is made of.
pub struct Parts {
    /// The policy; replaced on reload.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Who may connect; replaced on reload.
    pub authenticator: Arc<ArcSwap<Authenticator>>,
    /// From a caller to a principal; replaced on reload.
    pub resolver: Arc<ArcSwap<Resolver>>,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// Connections as the ordinary, low-privilege login.
    pub pool: Pool,
    /// Connections for superusers; without them a superuser is refused.
    pub superuser_pool: Option<Pool>,
    /// The bounds.
    pub limits: Limits,
    /// The one database clients may name.
    pub database: String,
    /// Whether the open form may be used where it is proved (barrier enforcement only).
    pub open_allowed: bool,
    /// A permission without which nobody gets in.
    pub connect_requires: Option<String>,
    /// Whether sessions tell of which tables rows may have been held back.
    pub notice_filtered: bool,
}

/// The longest plain query whose division into statements is not kept, in bytes.
const SPLIT_AGAIN_BYTES_MAX: usize = 1024;

/// All stages of a request, put together.
pub struct Gateway {
    parts: Parts,
    rewrites: Arc<Rewrites>,
    statements: Cache<Box<str>, Arc<[Statement]>, Bytes>,
    sessions: Registry,
    spent: Spent,
}

/// Where the time of requests goes, and how often a text had been read before.
#[derive(Debug, Default)]
pub struct Spent {
    /// From the question to the decision; not where the session had it from before.
    pub deciding: Times,
    /// From a request's arrival to its first row.
    pub first_row: Times,
    /// From its arrival to its end.
    pub whole: Times,
    /// Rewrites that were kept, or had to be made.
    pub rewrites: Lookups,
}

/// A request that may be run.
#[derive(Debug, Clone)]
pub struct Decided {
    /// For whom.
    pub standing: Arc<Standing>,
    /// The standing is that of a token in the text, not the session's own.
    pub by_token: bool,
    /// What.
    pub rewrite: Arc<Rewrite>,
    /// Values of the rewrite's parameters that stand in the text itself, `integer`s; see [`sql::Template`].
    pub values: Vec<u32>,
}

/// A text as it was sent, and the query to judge: the same, or the one inside of it (`DECLARE c CURSOR FOR ...`) or that
/// it names (`EXECUTE name`). Whom a statement runs for is said by the statement, never by the query inside.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The whole statement: what is audited, and where a token may stand.
    pub statement: &'a str,
    /// The query.
    pub query: &'a str,
}

impl<'a> From<&'a str> for Said<'a> {
    fn from(query: &'a str) -> Self {
        Self {
            statement: query,
            query,
        }
    }
}

/// How a text was sent.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// By the extended protocol.
    Prepared {
        /// The declared types of its parameters.
        types: &'a [u32],
        /// What was decided before for the same text and types; it holds as long as the caller's rights do.
        before: Option<&'a Decided>,
    },
    /// By the simple protocol: it has no parameters, and numbers in it may become some.
    Simple,
}

/// About how much memory the statements of a text take.
#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Box<str>, Arc<[Statement]>> for Bytes {
    fn weight(&self, text: &Box<str>, parts: &Arc<[Statement]>) -> u64 {
        (2 * text.len() + 200 * parts.len() + 512) as u64
    }
}

impl Gateway {
    /// Puts the stages together.
    pub fn new(parts: Parts) -> Self {
        let rewrites = Rewrites::new(parts.limits.clone(), parts.open_allowed);
        // Bounded by bytes, as the rewrites are.
        let texts = usize::try_from(parts.limits.rewrites_max).unwrap_or(usize::MAX);
        let bytes = parts.limits.rewrites_max.saturating_mul(4096);
        let statements = Cache::with_weighter(texts, bytes, Bytes);
        Self {
            parts,
            rewrites: Arc::new(rewrites),
            statements,
            sessions: Registry::default(),
            spent: Spent::default(),
        }
    }

    /// Decides one statement: who asks, what they may see, what they asked for.
    ///
    /// # Errors
    /// A refusal or a fault, with the standing if it was known by then.
    pub async fn decide(
        &self,
        caller: &Caller,
        memory: &mut Memory,
        said: Said<'_>,
        asked: Asked<'_>,
    ) -> Result<Decided, (Error, Option<Arc<Standing>>)> {
        let before = matches!(
            asked,
            Asked::Prepared {
                before: Some(_),
                ..
            }
        );
        let started = (!before).then(Instant::now);
        let decided = self.judge(caller, memory, said, asked).await;
        if let Some(started) = started {
            self.spent.deciding.add(started.elapsed());
        }
        decided
    }

    async fn judge(
        &self,
        caller: &Caller,
        memory: &mut Memory,
        said: Said<'_>,
        asked: Asked<'_>,
    ) -> Result<Decided, (Error, Option<Arc<Standing>>)> {
        let (standing, by_token) = self
            .standing_of(caller, said.statement, memory)
            .await
            .map_err(|error| (error, None))?;
        let text = said.query;
        let rewritten = match asked {
            Asked::Prepared {
                types: _,
                before: Some(before),
            } if standing.same_as(&before.standing) => {
                self.spent.rewrites.hits.add();
                Ok((Arc::clone(&before.rewrite), Vec::new()))
            }
            Asked::Prepared { types, before: _ } => {
                let found = self.rewrites.find(text, types, standing.grants());
                self.spent.rewrites.add(found.is_some());
                match found {
                    Some(rewrite) => Ok((rewrite, Vec::new())),
                    None => self.read(text, Some(types), &standing).await,
                }
            }
            Asked::Simple => {
                let found = self.rewrites.find_shared(text, standing.grants());
                self.spent.rewrites.add(found.is_some());
                match found {
                    Some(found) => Ok(found),
                    None => self.read(text, None, &standing).await,
                }
            }
        };
        match rewritten {
            Ok((rewrite, values)) => Ok(Decided {
                standing,
                by_token,
                rewrite,
                values,
            }),
            Err(error) => Err((error, Some(standing))),
        }
    }

    /// Reads, rewrites and verifies a text on a thread for that: it takes as long as many requests.
    async fn read(
        &self,
        text: &str,
        types: Option<&[u32]>,
        standing: &Standing,
    ) -> Result<(Arc<Rewrite>, Vec<u32>), Error> {
        let rewrites = Arc::clone(&self.rewrites);
        let grants = Arc::clone(standing.grants());
        let (text, types) = (text.to_owned(), types.map(<[u32]>::to_vec));
        let reading = tokio::task::spawn_blocking(move || match types {
            Some(types) => {
                let rewrite = rewrites.admit(&text, &types, &grants)?;
                Ok((rewrite, Vec::new()))
            }
            None => rewrites.admit_shared(&text, &grants),
        });
        match reading.await {
            Ok(result) => result.map_err(|refusal: Refusal| refusal.into()),
            Err(error) => Err(Fault::new(FaultKind::Internal, error).into()),
        }
    }

    /// The statements of a text, from the cache if it was seen before.
    ///
    /// # Errors
    /// As [`statement::split`].
    pub fn split(&self, text: &str) -> Result<Arc<[Statement]>, Refusal> {
        let limits = &self.parts.limits;
        // One short query costs less to look at again than to keep.
        if text.len() <= SPLIT_AGAIN_BYTES_MAX
            && let Some(query) = statement::plain(text, limits)?
        {
            return Ok(Arc::new([query]));
        }
        if let Some(statements) = self.statements.get(text) {
            return Ok(statements);
        }
        let statements: Arc<[Statement]> = statement::split(text, limits)?.into();
        self.statements.insert(text.into(), Arc::clone(&statements));
        Ok(statements)
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.parts.policy.load_full()
    }

    /// Where the time goes.
    pub fn spent(&self) -> &Spent {
        &self.spent
    }

    /// The ordinary login's connections, and the superusers' where there are any.
    pub fn pools(&self) -> (&Pool, Option<&Pool>) {
        (&self.parts.pool, self.parts.superuser_pool.as_ref())
    }

    /// Who resolves callers, as of now.
    pub fn resolver(&self) -> Arc<Resolver> {
        self.parts.resolver.load_full()
    }

    /// The tables of a query whose views may hold rows back from this caller, `schema.name`.
    pub fn filtered(&self, decided: &Decided) -> Vec<String> {
        let superuser = decided.standing.principal().superuser();
        let policy = self.policy();
        let holds_back = |relation: &&RelationName| {
            let mut views = policy.views().iter();
            let view = views.find(|view| view.relation() == *relation);
            view.is_none_or(|view| view.view.may_hold_back(superuser))
        };
        let relations = decided.rewrite.query.relations().iter();
        relations
            .filter(holds_back)
            .map(ToString::to_string)
            .collect()
    }

    /// As [`Gateway::filtered`], if sessions are to tell it.
    pub fn filtered_to_tell(&self, decided: &Decided) -> Vec<String> {
        match self.parts.notice_filtered {
            true => self.filtered(decided),
            false => Vec::new(),
        }
    }

    /// A connection for this principal.
    ///
    /// # Errors
    /// [`FaultKind::PoolExhausted`] or [`FaultKind::UpstreamLost`].
    pub async fn lease(&self, superuser: bool, slot: &CancelSlot) -> Result<Lease, Fault> {
        match (&self.parts.superuser_pool, superuser) {
            (_, false) => self.parts.pool.lease(slot).await,
            (Some(pool), true) => pool.lease(slot).await,
            (None, true) => Err(Fault::because(
                FaultKind::Internal,
                "a superuser was let in without a pool for superusers",
            )),
        }
    }

    /// Waits for one round trip to the database. A pool whose connections are all in use is proof enough.
    ///
    /// # Errors
    /// [`FaultKind::UpstreamLost`].
    pub async fn ping(&self) -> Result<(), Fault> {
        let pool = &self.parts.pool;
        let usage = pool.usage();
        if usage.in_use >= usage.size {
            return Ok(());
        }
        let mut lease = match pool.lease(&CancelSlot::default()).await {
            Ok(lease) => lease,
            Err(fault) if fault.kind == FaultKind::PoolExhausted => return Ok(()),
            Err(fault) => return Err(fault),
        };
        upstream::ping(&mut lease).await
    }

    /// What the database says of itself at login (server_version, TimeZone, ...).
    ///
    /// # Errors
    /// As [`Gateway::lease`].
    pub async fn server_parameters(&self) -> Result<Arc<Vec<(String, String)>>, Fault> {
        self.parts.pool.parameters().await
    }

    /// Who may connect, as of now.
    pub fn authenticator(&self) -> Arc<Authenticator> {
        self.parts.authenticator.load_full()
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    /// The one database clients may name.
    pub fn database(&self) -> &str {
        &self.parts.database
    }

    /// The sessions that can be cancelled.
    pub fn sessions(&self) -> &Registry {
        &self.sessions
    }
}
