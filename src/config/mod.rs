//! `rowgate.toml`: as written (`raw`) and as checked ([`Config`]). Only `app` and `cli` know it.

mod admin;
mod check;
mod conditions;
mod database;
mod hierarchy;
mod http;
mod listener;
mod logins;
mod metrics;
pub mod preset;
mod providers;
mod raw;
mod sections;
mod situation;
mod tags;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_published;
mod tokens;
mod tuples;

pub use admin::{Admin, AdminTable, AdminTables};
pub use check::Problem;
#[cfg(test)]
pub(crate) use conditions::parse as parse_conditions;
pub use conditions::{Condition, Match, Window};
pub use database::Database;
pub use hierarchy::Hierarchy;
pub use http::Http;
pub use metrics::Metrics;
pub use providers::{
    AiPermissionFiles, HttpProvider, KetoConfirm, KetoProvider, KetoUsers, RedisMode, RedisProvider,
};
pub use situation::Situation;
pub use tags::{TagTable, Tags};

use crate::identity::{ClaimPath, IdentitySettings};
use crate::limits::Limits;
use crate::tuples::Tuples;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A configuration in which every key has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from; read again from there at SIGHUP.
    pub file: Option<PathBuf>,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// TLS towards clients.
    pub tls: Option<Tls>,
    /// The database behind.
    pub upstream: Upstream,
    /// Where the filter lives.
    pub enforcement: Enforcement,
    /// The folder of permission views.
    pub views: PathBuf,
    /// Who may connect, and how they prove it.
    pub identity: IdentitySettings,
    /// Keys for tokens that somebody publishes.
    pub jwks: Option<JwksSettings>,
    /// Where roles and permissions come from, in order.
    pub providers: Vec<Provider>,
    /// What roles and permissions bring along.
    pub hierarchy: Hierarchy,
    /// Where tag definitions come from; without it every tag is unknown, so nobody's.
    pub tags: Option<Tags>,
    /// Relation tuples: the rules, and their table.
    pub tuples: Option<Arc<Tuples>>,
    /// When, from where and for whom roles and permissions count.
    pub conditions: Vec<Condition>,
    /// The audit log.
    pub audit: Audit,
    /// What a principal needs to be let in at all.
    pub gate: Gate,
    /// Queries over HTTP; without it only the wire is served.
    pub http: Option<Http>,
    /// What the gate counts; without it nothing shows that, and there is no listener for it.
    pub metrics: Option<Metrics>,
    /// Managing permissions; without it they cannot be managed.
    pub admin: Option<Admin>,
    /// The bounds.
    pub limits: Limits,
    /// What a policy test supposes of the sessions of a login; empty in every gate that serves.
    pub situations: BTreeMap<String, Situation>,
    /// What the operator should know, though it keeps nothing from starting.
    pub warnings: Vec<String>,
}

/// Certificate and key shown to clients.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// Refuse connections without TLS.
    pub require: bool,
}

/// Where the filter lives (DESIGN section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// In `security_barrier` views that `rowgate apply` installs.
    Barrier,
    /// In the query itself, materialized; nothing is installed.
    Inline,
}

/// The database behind the gate.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Host name, address, or the folder of a Unix socket (starts with `/`).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name; also the one clients name.
    pub database: String,
    /// The low-privilege login queries run as.
    pub user: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// The login superusers' queries run as; without it a superuser is refused.
    pub superuser_user: Option<String>,
    /// Its password.
    pub superuser_password: Option<SecretString>,
    /// The login `rowgate apply` uses (it creates roles and views); the database's owner or superuser.
    pub admin_user: Option<String>,
    /// Its password.
    pub admin_password: Option<SecretString>,
    /// TLS towards the database.
    pub tls: UpstreamTls,
    /// Most connections of the pool.
    pub pool_size: usize,
    /// How long a request waits for one.
    pub pool_wait: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
}

/// TLS towards the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamTls {
    /// None; the default only for a loopback address or a Unix socket.
    Off,
    /// Certificate and host name verified, against `ca` or else the system's roots.
    Verify {
        /// PEM file with the roots to trust.
        ca: Option<PathBuf>,
    },
}

/// Keys for tokens that somebody publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksSettings {
    /// Where they are.
    pub source: JwksSource,
    /// How often they are looked for.
    pub refresh: Duration,
    /// Shortest time between two looks because a token names an unknown key.
    pub retry_min: Duration,
    /// How long the last good ones serve when no new ones can be had.
    pub stale_max: Duration,
    /// How long a look may take.
    pub timeout: Duration,
}

/// Where published keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file.
    File(PathBuf),
    /// An address; https, or http on this machine.
    Url {
        /// The address.
        url: String,
        /// PEM file with the roots to trust instead of the system's.
        ca: Option<PathBuf>,
    },
}

/// One entry of `[[providers]]`.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in messages, `explain` and the audit.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
    /// How long its answers may be reused.
    pub cache: CacheSettings,
}

/// How long a provider's answers may be reused. The default: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// How old an answer may be; zero = asked for every statement.
    pub age_max: Duration,
    /// Most users, and most sets of roles, remembered.
    pub entries_max: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            age_max: Duration::ZERO,
            entries_max: 10_000,
        }
    }
}

/// The kinds of provider.
#[derive(Debug, Clone)]
pub enum ProviderKind {
    /// The four levels of AI permissions in JSON files.
    AiPermissions(AiPermissionFiles),
    /// A JSON, YAML or TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// How long the last good content may serve after the file became unreadable.
        stale_max: Duration,
    },
    /// Claims of the token that proved the session.
    Jwt(JwtClaims),
    /// A service that answers over HTTP.
    Http(Box<HttpProvider>),
    /// An Ory Keto server.
    Keto(Box<KetoProvider>),
    /// Sets in a Redis.
    Redis(Box<RedisProvider>),
    /// Queries on the customer's own tables.
    Sql(Box<SqlProvider>),
}

/// Which claims the `jwt` provider reads.
#[derive(Debug, Clone, Default)]
pub struct JwtClaims {
    /// Roles: a list of texts, or one text that is one role.
    pub roles: Vec<ClaimPath>,
    /// Permissions: a list of texts, or one text with spaces between them.
    pub permissions: Vec<ClaimPath>,
    /// Groups, for the attribute `groups`: a list of texts, or one text that is one group.
    pub groups: Vec<ClaimPath>,
    /// E-mail address, for the attribute `email`: a text.
    pub email: Option<ClaimPath>,
    /// Says whether the e-mail address is the user's: unless it is true, the address does not count.
    pub email_verified: Option<ClaimPath>,
    /// Attributes by name: a text, a number, true or false, or a list of these.
    pub attributes: BTreeMap<String, ClaimPath>,
}

/// The `sql` provider's settings.
#[derive(Debug, Clone)]
pub struct SqlProvider {
    /// Its own login.
    pub database: Database,
    /// What it asks.
    pub queries: SqlQueries,
    /// The known tables it reads, if a preset names them.
    pub preset: Option<&'static preset::Preset>,
    /// Most connections.
    pub pool_size: usize,
    /// LISTEN on `rowgate_invalidate` to drop cached answers at once.
    pub listen: bool,
    /// How old a reused answer may be while that connection is down.
    pub unheard_age_max: Duration,
}

/// The queries of the `sql` provider; each is put into a sub-select, so it has to be one SELECT. `$1` is text:
/// the user id, except where said otherwise.
#[derive(Debug, Clone, Default)]
pub struct SqlQueries {
    /// One column of role names.
    pub roles: Option<String>,
    /// One column of permissions.
    pub permissions: Option<String>,
    /// Two columns, name and value; a NULL value counts as none.
    pub attributes: Option<String>,
    /// One column of groups: values of the attribute `groups`.
    pub groups: Option<String>,
    /// One boolean; no row and NULL count as false.
    pub superuser: Option<String>,
    /// One column of roles denied, whoever grants them.
    pub denied_roles: Option<String>,
    /// One column of permissions denied, whoever grants them.
    pub denied_permissions: Option<String>,
    /// One `timestamptz`: when the answer ends by itself, because a grant expires; the earliest counts.
    pub expires: Option<String>,
    /// One column of permissions; here `$1` is `text[]`: role names, from all providers.
    pub role_permissions: Option<String>,
    /// Two columns, a role and one it brings along; no parameter. All of them, at most 10,000.
    pub inherited_roles: Option<String>,
    /// Two columns, a permission and one it brings along; likewise.
    pub inherited_permissions: Option<String>,
}

impl SqlQueries {
    /// Whether nothing would be asked.
    pub fn is_empty(&self) -> bool {
        let Self {
            roles,
            permissions,
            attributes,
            groups,
            superuser,
            denied_roles,
            denied_permissions,
            expires: _,
            role_permissions,
            inherited_roles,
            inherited_permissions,
        } = self;
        [
            roles,
            permissions,
            attributes,
            groups,
            superuser,
            denied_roles,
            denied_permissions,
            role_permissions,
            inherited_roles,
            inherited_permissions,
        ]
        .iter()
        .all(|query| query.is_none())
    }
}

/// The audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Where lines go.
    pub sink: AuditSink,
    /// Refuse what cannot be recorded.
    pub required: bool,
    /// Also write parameter values.
    pub parameters: bool,
    /// Longest SQL text kept whole.
    pub sql_bytes_max: usize,
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// A file, appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// What a principal needs to be let in at all.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// A permission, checked at login and for each statement.
    pub connect_requires: Option<String>,
    /// Never read the open form of a view, not even where a query is proved silent.
    pub always_sealed: bool,
    /// Tell, in a NOTICE, of which tables rows may have been held back.
    pub notice_filtered: bool,
}

impl Config {
    /// Whether a query that is proved silent may read the open form of its views.
    pub fn open_allowed(&self) -> bool {
        self.enforcement == Enforcement::Barrier && !self.gate.always_sealed
    }

    /// Reads and checks a file. Relative paths in it are relative to it.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors {
            file: path.to_owned(),
            problems: vec![Problem {
                key: "(file)".to_owned(),
                message: format!("cannot be read: {error}"),
                hint: Some(
                    "Name it with --config, or start from the repository's rowgate.toml."
                        .to_owned(),
                ),
            }],
        })?;
        let mut config = Self::parse(&text, path)?;
        config.file = Some(path.to_owned());
        Ok(config)
    }

    /// Checks the text of a configuration; `path` names it in errors, and relative paths are relative to it.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        sections::read(text, path).map_err(|problems| ConfigErrors {
            file: path.to_owned(),
            problems,
        })
    }
}

/// Everything wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// Each problem, in the order of the file's keys.
    pub problems: Vec<Problem>,
}

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} problem(s)",
            self.file.display(),
            self.problems.len()
        )?;
        for problem in &self.problems {
            write!(f, "\n  {}: {}", problem.key, problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
