//! Where roles and permissions come from: one file a kind, one small trait ([`Provider`]), merged
//! into one principal by a [`Resolver`].
//!
//! ```text
//! Caller -> Resolver -> [cache] -> file | http | jwt | keto | redis | sql -> merge -> Findings -> steps -> Principal
//! ```
//!
//! A provider that cannot answer, answers too late, too much or not understandably is an error, and
//! an error is a refusal: never "no roles, carry on".

mod answer;
mod cache;
mod conditions;
mod file;
mod flight;
mod hierarchy;
mod http;
mod jwks;
mod jwt;
mod keto;
mod ladder;
mod last_good;
mod listen;
mod merge;
mod names;
mod outbound;
mod redis;
mod resolver;
mod sql;
mod step;
mod tags;
mod triggers;

pub(crate) use self::redis::{Ears as RedisEars, Source as RedisSource, listen as listen_redis};
pub use self::redis::{RedisPrefixes, RedisProvider};
pub use answer::{ANSWER_ITEMS_MAX, Answer, ITEM_BYTES_MAX, ProviderError};
pub use cache::Cached;
pub use conditions::{Clock, Conditions, SystemClock};
pub use file::FileProvider;
pub use hierarchy::{Brings, Hierarchy, HierarchyError, LiveHierarchy};
pub use http::HttpProvider;
pub use jwks::Jwks;
pub use jwt::JwtProvider;
pub use keto::{AskedPairs, KetoProvider};
pub use ladder::{AiPermissions, LadderFiles, LadderNames, LadderProblem};
pub(crate) use listen::listen;
pub use resolver::{Resolved, Resolver};
pub use sql::SqlProvider;
pub use step::{Reloadable, Step};
pub use tags::{TagFile, TagQueries, TagTable};
pub use triggers::{Watched, triggers};

use crate::identity::Caller;
use crate::metrics::Lookups;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What an asynchronous method of [`Provider`] returns.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// One source of roles, permissions and attributes.
///
/// Every kind passes the same conformance suite (`tests/providers`): grants seen, revocation seen,
/// outage, garbage and oversize refused, unknown user = nothing, slow = bounded, no secret in any
/// message.
pub trait Provider: Send + Sync + 'static {
    /// Its name in `explain`, the audit and messages.
    fn name(&self) -> &str;

    /// What it knows about the user at this moment. A user it does not know is an empty answer.
    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer>;

    /// The permissions that these roles carry; roles may come from another provider.
    fn role_permissions<'a>(
        &'a self,
        _roles: &'a BTreeSet<String>,
    ) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async { Ok(BTreeSet::new()) })
    }

    /// Whether it could answer now; for readiness, so it asks its source about nobody.
    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// What roles and permissions bring along, as far as it knows; the same for everybody.
    fn hierarchy(&self) -> Asking<'_, Option<Arc<Hierarchy>>> {
        Box::pin(async { Ok(None) })
    }

    /// A number that changes whenever any answer could: while it stays, answers may be kept. `None`
    /// means it has to be asked every time.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// As [`Provider::generation`], of one user: changes whenever what is kept of this user alone is forgotten, so that
    /// a change of one user's roles costs the others nothing.
    fn generation_of(&self, _user_id: &str) -> u64 {
        0
    }

    /// Whether the user id alone decides the answer: not the login, the claims or the network.
    fn by_user_id(&self) -> bool {
        false
    }

    /// How often what it keeps was asked for, if it keeps anything.
    fn lookups(&self) -> Option<&Lookups> {
        None
    }

    /// Forgets what it kept, if it keeps anything.
    fn clear(&self) {}

    /// Forgets what it kept of one user; at least that. [`Provider::generation_of`] that user changes, or
    /// [`Provider::generation`] does.
    fn clear_user(&self, _user_id: &str) {
        self.clear();
    }
}
