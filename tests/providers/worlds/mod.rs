//! A world for each kind of provider: a real source of permissions, how its owner tells it facts, and how
//! to harm it.
//!
//! To add a kind: implement [`Source`] in a file here, add the variant to [`Kind`], its line to `World::new`
//! and a test to `main.rs` that runs the suite on it.

mod file;
pub mod http;
pub mod http_server;
#[allow(dead_code, reason = "tests/permissions counts questions, too")]
#[path = "../../permissions/issuer.rs"]
mod issuer;
pub mod jwt;
pub mod keto;
pub mod keto_server;
mod ladder;
mod redis;
pub mod redis_server;
mod sql;

use rowgate::app::Providers;
use rowgate::config::{CacheSettings, Provider, ProviderKind};
use rowgate::error::{Error, FaultKind};
use rowgate::identity::{Caller, Principal};
use rowgate::provider::Resolver;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The provider's password or key; must not appear in any message.
pub const SECRET: &str = "pw-5ecret";
/// How long [`Kind::FileLenient`] serves its last good content.
pub const STALE_MAX: Duration = Duration::from_millis(400);
/// The time to live of kinds that are cached and hear of no change.
pub const TTL: Duration = Duration::from_millis(300);
/// Generous, so that a busy machine is not mistaken for a slow provider, which takes 30 s.
pub const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The four levels, in files.
    AiPermissions,
    FileJson,
    FileToml,
    FileYaml,
    /// A file that may be stale for [`STALE_MAX`]; the others may not be at all.
    FileLenient,
    Http,
    /// Over TLS.
    HttpTls,
    /// Kept for [`TTL`].
    HttpTtl,
    /// Claims of tokens, with keys published by an address.
    Jwt,
    /// A server that speaks as Keto does.
    Keto,
    Redis,
    /// Over TLS.
    RedisTls,
    /// Three nodes.
    RedisCluster,
    /// A master, by way of a sentinel.
    RedisSentinel,
    /// Kept for [`TTL`].
    RedisTtl,
    /// Kept for long; a message on a channel makes it forget.
    RedisChannel,
    /// The same in a cluster.
    RedisClusterChannel,
    /// Kept for long; the server's keyspace notifications make it forget.
    RedisKeyspace,
    Sql,
    /// Kept for long; NOTIFY makes it forget.
    SqlCached,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    Outage,
    Garbage,
    /// One item far too long.
    Oversize,
    /// Far too many items.
    Flood,
    Slow,
}

impl Harm {
    pub const ALL: [Self; 5] = [
        Self::Outage,
        Self::Garbage,
        Self::Oversize,
        Self::Flood,
        Self::Slow,
    ];
}

pub type Lists = BTreeMap<String, Vec<String>>;

/// What the owner of permissions says, before it has any provider's form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    pub superusers: Vec<String>,
    pub user_roles: Lists,
    pub users: Lists,
    pub roles: Lists,
    pub denied_roles: Lists,
    pub attributes: BTreeMap<String, Lists>,
}

impl Facts {
    /// Bob, and nobody but him and one unknown, with these roles.
    pub fn bob_and_nobody_have(roles: &[String]) -> Self {
        let user_roles = ["bob", "nobody"].map(|user| (user.to_owned(), roles.to_vec()));
        Self {
            user_roles: BTreeMap::from(user_roles),
            ..Self::default()
        }
    }
}

/// How a change is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// By the next question.
    AtOnce,
    /// Once a message has arrived.
    WhenHeard,
    /// When [`TTL`] is over, at the latest.
    WithinTtl,
}

pub type Doing<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
pub type Door<'a> = Pin<Box<dyn Future<Output = Result<Caller, Refused>> + 'a>>;

/// A refusal: what its caller is told, and what the log says.
#[derive(Debug)]
pub struct Refused {
    pub told: String,
    pub logged: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::Failed(fault) => {
                assert_eq!(fault.kind, FaultKind::ProviderUnavailable);
                Self {
                    told: fault.to_string(),
                    logged: format!("{:?} {:#}", fault.cause, fault.cause),
                }
            }
            Error::Refused(refusal) => panic!("not a provider's: {refusal:?}"),
        }
    }
}

/// Where one kind of provider finds its answers: the real thing.
pub trait Source: Send + Sync {
    /// The settings of a provider that asks here.
    fn settings(&self) -> ProviderKind;
    /// Tells it everything, at once, as its owner would.
    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a>;
    /// Does it harm for bob and for nobody.
    fn harm(&self, harm: Harm) -> Doing<'_>;
    /// Undoes the harm; what it was last told holds again.
    fn heal(&self, harm: Harm) -> Doing<'_>;
    /// What the log has to say about the harm.
    fn says(&self, harm: Harm) -> &'static str;
    /// How its changes are seen.
    fn seen(&self) -> Seen {
        Seen::AtOnce
    }
    /// Whether it knows attributes.
    fn attributes(&self) -> bool {
        true
    }
    /// Whether it knows superusers.
    fn superusers(&self) -> bool {
        true
    }
    /// Another provider, for what this kind does not say itself.
    fn beside(&self) -> Option<ProviderKind> {
        None
    }
    /// Whether roles are its own word, or that of the one beside.
    fn gives_roles(&self) -> bool {
        true
    }
    /// A user who connects now, as this kind lets them in.
    fn door<'a>(&'a self, user: &'a str) -> Door<'a> {
        Box::pin(async move { Ok(Caller::assumed(user)) })
    }
    /// Whether there is a door for a user of such a name at all.
    fn opens_for(&self, _user: &str) -> bool {
        true
    }
}

pub struct World {
    pub kind: Kind,
    providers: Providers,
    source: Box<dyn Source>,
}

impl World {
    pub async fn new(kind: Kind) -> Self {
        let source: Box<dyn Source> = match kind {
            Kind::FileJson | Kind::FileToml | Kind::FileYaml | Kind::FileLenient => {
                Box::new(file::FileSource::new(kind))
            }
            Kind::Http | Kind::HttpTls | Kind::HttpTtl => {
                Box::new(http::HttpSource::new(kind).await)
            }
            Kind::AiPermissions => Box::new(ladder::LadderSource::new()),
            Kind::Jwt => Box::new(jwt::JwtSource::new().await),
            Kind::Keto => Box::new(keto::KetoSource::new().await),
            Kind::Redis
            | Kind::RedisTls
            | Kind::RedisCluster
            | Kind::RedisSentinel
            | Kind::RedisTtl
            | Kind::RedisChannel
            | Kind::RedisClusterChannel
            | Kind::RedisKeyspace => Box::new(redis::RedisSource::new(kind).await),
            Kind::Sql | Kind::SqlCached => Box::new(sql::SqlSource::new(kind).await),
        };
        let mut all = vec![settings("under test", &*source)];
        all.extend(source.beside().map(|kind| Provider {
            name: "beside".to_owned(),
            kind,
            cache: CacheSettings::default(),
        }));
        let providers = rowgate::app::providers(&all).await.unwrap();
        Self {
            kind,
            providers,
            source,
        }
    }

    pub fn resolver(&self) -> Resolver {
        self.providers.resolver()
    }

    /// Who a user is who connects now.
    pub async fn ask(&self, resolver: &Resolver, user: &str) -> Result<Arc<Principal>, Refused> {
        let caller = self.source.door(user).await?;
        resolver.principal(&caller).await.map_err(Refused::from)
    }

    pub fn settings(&self, name: &str) -> Provider {
        settings(name, &*self.source)
    }

    pub async fn tell(&self, facts: &Facts) {
        self.source.tell(facts).await;
        self.providers.reload_files();
    }

    pub async fn harm(&self, harm: Harm) {
        self.source.harm(harm).await;
        self.providers.reload_files();
    }

    pub async fn heal(&self, harm: Harm) {
        self.source.heal(harm).await;
        self.providers.reload_files();
    }

    pub fn source(&self) -> &dyn Source {
        &*self.source
    }
}

pub fn settings(name: &str, source: &dyn Source) -> Provider {
    Provider {
        name: name.to_owned(),
        kind: source.settings(),
        cache: CacheSettings {
            age_max: match source.seen() {
                Seen::AtOnce => Duration::ZERO,
                Seen::WithinTtl => TTL,
                Seen::WhenHeard => Duration::from_secs(600),
            },
            ..CacheSettings::default()
        },
    }
}
