//! Each part, made from its section of the configuration.

use super::remote;
use crate::audit::{AuditLog, AuditSettings};
use crate::config::{self, AuditSink, CacheSettings, Config, ProviderKind};
use crate::control::{Connector, Target, causes, client_tls};
use crate::identity::{IdentitySettings, KeySource, Published};
use crate::install::{self, LoginKind, Severity};
use crate::policy::{PermissionView, Policy};
use crate::provider::{
    AiPermissions, AskedPairs, Cached, Conditions, FileProvider, Hierarchy, HttpProvider, Jwks,
    JwtProvider, KetoProvider, LadderFiles, LiveHierarchy, Provider, Reloadable, Resolver, Step,
    SystemClock,
};
use crate::tuples::Pair;
use crate::upstream::{self, Pool, PoolOptions};
use anyhow::{Context, bail};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// A bound over a whole resolution, above every provider's own.
const RESOLUTION_MAX: Duration = Duration::from_secs(10);

/// Which upstream login a control connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlLogin {
    /// `upstream.user`: what queries run as; for posture, introspection and `check`.
    Gate,
    /// `upstream.superuser_user`.
    Superuser,
    /// `upstream.admin_user`: for `apply`.
    Admin,
}

impl ControlLogin {
    fn credentials(self, config: &Config) -> anyhow::Result<(&str, Option<&SecretString>)> {
        let upstream = &config.upstream;
        let (key, user, password) = match self {
            Self::Gate => ("user", Some(&upstream.user), &upstream.password),
            Self::Superuser => (
                "superuser_user",
                upstream.superuser_user.as_ref(),
                &upstream.superuser_password,
            ),
            Self::Admin => (
                "admin_user",
                upstream.admin_user.as_ref(),
                &upstream.admin_password,
            ),
        };
        let user =
            user.with_context(|| format!("upstream.{key} is not set in the configuration"))?;
        Ok((user, password.as_ref()))
    }
}

/// A control connection to the database (DDL, introspection, posture). Its driver task ends with it.
///
/// # Errors
/// When the login is not configured or the database cannot be reached.
pub async fn connect(
    config: &Config,
    login: ControlLogin,
) -> anyhow::Result<tokio_postgres::Client> {
    let upstream = &config.upstream;
    let (user, password) = login.credentials(config)?;
    let target = Target {
        host: &upstream.host,
        port: upstream.port,
        database: &upstream.database,
        user,
        password,
        connect_timeout: upstream.connect_timeout,
    };
    let connector = Connector::new(&target, client_tls(&upstream.tls)?);
    // The library's own limit ends with the TCP connection; a server that is silent after it counts too.
    let connecting = tokio::time::timeout(upstream.connect_timeout, connector.connect());
    let place = || {
        format!(
            "cannot connect to {}:{} as {user}",
            upstream.host, upstream.port
        )
    };
    match connecting.await {
        Ok(client) => client
            .map_err(|error| anyhow::anyhow!(told(&error)))
            .with_context(place),
        Err(_) => Err(anyhow::anyhow!("no answer in time")).with_context(place),
    }
}

/// The server's own words where there are any; the library's say only "db error".
fn told(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| causes(error), |db| db.message().to_owned())
}

pub(super) fn audit(config: &Config) -> anyhow::Result<AuditLog> {
    let (settings, shown) = audit_settings(config);
    AuditLog::open(settings).with_context(|| format!("cannot open the audit log {shown}"))
}

/// The audit of a command, whose standard output is its answer: lines meant for the gate's standard output go to
/// standard error.
pub(super) fn command_audit(config: &Config) -> anyhow::Result<AuditLog> {
    let (settings, shown) = audit_settings(config);
    let log = match settings.path {
        Some(_) => AuditLog::open(settings),
        None => AuditLog::open_to(settings, Box::new(std::io::stderr())),
    };
    log.with_context(|| format!("cannot open the audit log {shown}"))
}

fn audit_settings(config: &Config) -> (AuditSettings, String) {
    let path = match &config.audit.sink {
        AuditSink::File(path) => Some(path.clone()),
        AuditSink::Stdout => None,
    };
    let shown = path
        .as_ref()
        .map_or_else(|| "standard output".to_owned(), |p| p.display().to_string());
    let settings = AuditSettings {
        path,
        required: config.audit.required,
        parameters: config.audit.parameters,
        sql_bytes_max: config.audit.sql_bytes_max,
        queue_max: config.limits.audit_queue_max,
        wait_max: Duration::from_millis(config.limits.audit_ms_max),
    };
    (settings, shown)
}

/// The providers in force.
pub struct Providers {
    all: Vec<Arc<dyn Provider>>,
    /// What completes their findings, in order.
    pub(super) steps: Vec<Arc<dyn Step>>,
    hierarchy: Arc<LiveHierarchy>,
    conditions: Arc<Conditions>,
    situations: Arc<BTreeMap<String, config::Situation>>,
    /// The relations the views ask for; a provider that finds objects looks for these.
    asked: Arc<AskedPairs>,
    /// What reads files, for whoever watches them.
    pub(super) files: Vec<Arc<dyn Reloadable>>,
    pub(super) listeners: Vec<AbortHandle>,
}

impl Providers {
    /// A resolver over all of them.
    pub fn resolver(&self) -> Resolver {
        Resolver::new(self.all.clone(), RESOLUTION_MAX)
            .with_hierarchy(Arc::clone(&self.hierarchy))
            .with_conditions(Arc::clone(&self.conditions))
            .with_situations(Arc::clone(&self.situations))
            .with_steps(self.steps.clone())
    }

    /// Looks for the relations these views ask for, from now on.
    pub fn look_for<'a>(&self, views: impl Iterator<Item = &'a PermissionView>) {
        let pairs: BTreeSet<Pair> = views.flat_map(PermissionView::asks).cloned().collect();
        if **self.asked.load() != pairs {
            self.asked.store(Arc::new(pairs));
            self.all.iter().for_each(|provider| provider.clear());
        }
    }

    /// Reads every file again. A broken one leaves its last good content in force, for a limited time.
    pub fn reload_files(&self) {
        for file in &self.files {
            match file.reload() {
                Ok(()) => tracing::info!(files = ?file.paths(), "permissions reloaded"),
                Err(error) => tracing::error!(
                    %error,
                    "PERMISSIONS NOT RELOADED: the last good ones stay in force, for a limited time"
                ),
            }
        }
    }
}

impl Drop for Providers {
    fn drop(&mut self) {
        self.listeners.iter().for_each(AbortHandle::abort);
    }
}

/// Everything that decides who somebody is: the providers, and what is worked out from their answers.
///
/// # Errors
/// The first part that does not work, and why.
pub async fn permissions(config: &Config) -> anyhow::Result<Providers> {
    let mut providers = providers(&config.providers).await?;
    let rules = config.conditions.clone();
    providers.conditions = Arc::new(Conditions::new(rules, Arc::new(SystemClock)));
    providers.situations = Arc::new(config.situations.clone());
    providers.hierarchy = Arc::new(hierarchy(config)?);
    if config.hierarchy.file.is_some() {
        let file = Arc::clone(&providers.hierarchy);
        providers.files.push(file);
    }
    if config
        .providers
        .iter()
        .any(|p| matches!(p.kind, ProviderKind::Keto(_)))
    {
        let views = install::read_views(&config.views, config.tuples.as_ref())?;
        providers.look_for(views.iter());
    }
    super::tags::add(&mut providers, config.tags.as_ref()).await?;
    Ok(providers)
}

fn hierarchy(config: &Config) -> anyhow::Result<LiveHierarchy> {
    let config::Hierarchy {
        roles,
        permissions,
        file,
    } = config.hierarchy.clone();
    let configured = Hierarchy::new(roles, permissions).context("[hierarchy]")?;
    LiveHierarchy::open(configured, file).context("hierarchy.file")
}

/// Every provider, connected to or read once so that a wrong one is found now.
///
/// # Errors
/// The first provider that does not work, and why.
pub async fn providers(settings: &[config::Provider]) -> anyhow::Result<Providers> {
    let mut providers = Providers {
        all: Vec::new(),
        steps: Vec::new(),
        hierarchy: Arc::default(),
        conditions: Arc::default(),
        situations: Arc::default(),
        asked: Arc::default(),
        files: Vec::new(),
        listeners: Vec::new(),
    };
    for provider in settings {
        let name = &provider.name;
        let broken = || format!("provider \"{name}\" does not work");
        match &provider.kind {
            ProviderKind::AiPermissions(settings) => {
                let ladder = AiPermissions::open(name, ladder_files(settings), settings.stale_max)
                    .with_context(broken)?;
                let ladder = Arc::new(ladder);
                providers
                    .files
                    .push(Arc::clone(&ladder) as Arc<dyn Reloadable>);
                providers.all.push(ladder);
            }
            ProviderKind::File { path, stale_max } => {
                let file = FileProvider::open(name, path, *stale_max).with_context(broken)?;
                let file = Arc::new(file);
                providers
                    .files
                    .push(Arc::clone(&file) as Arc<dyn Reloadable>);
                providers.all.push(file);
            }
            ProviderKind::Jwt(claims) => {
                providers
                    .all
                    .push(Arc::new(JwtProvider::new(name, claims.clone())));
            }
            ProviderKind::Http(settings) => {
                let http = HttpProvider::new(name, settings).with_context(broken)?;
                http.probe().await.with_context(broken)?;
                providers.all.push(cached(http, &provider.cache));
            }
            ProviderKind::Keto(settings) => {
                let asked = Arc::clone(&providers.asked);
                let keto = KetoProvider::new(name, settings, asked).with_context(broken)?;
                keto.probe().await.with_context(broken)?;
                providers.all.push(cached(keto, &provider.cache));
            }
            ProviderKind::Redis(settings) => {
                let (asked, listener) = remote::redis(name, settings, &provider.cache)
                    .await
                    .with_context(broken)?;
                providers.all.push(asked);
                providers.listeners.extend(listener);
            }
            ProviderKind::Sql(settings) => {
                let (asked, listener) = remote::sql(name, settings, &provider.cache)
                    .await
                    .with_context(broken)?;
                providers.all.push(asked);
                providers.listeners.extend(listener);
            }
        }
    }
    Ok(providers)
}

/// Everything wrong with what decides who somebody is, as far as files say; for `rowgate check`.
pub fn permission_problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(error) = hierarchy(config) {
        problems.push(format!("{error:#}"));
    }
    for provider in &config.providers {
        match &provider.kind {
            ProviderKind::AiPermissions(settings) => {
                let found = ladder_files(settings).problems();
                problems.extend(found.iter().map(ToString::to_string));
            }
            ProviderKind::File { path, stale_max } => {
                let opened = FileProvider::open(&provider.name, path, *stale_max);
                let name = &provider.name;
                let told = |error| format!("provider \"{name}\": {error}");
                problems.extend(opened.err().map(told));
            }
            // They have no file of their own to be wrong.
            ProviderKind::Http(_)
            | ProviderKind::Jwt(_)
            | ProviderKind::Keto(_)
            | ProviderKind::Redis(_)
            | ProviderKind::Sql(_) => {}
        }
    }
    problems
}

pub(super) fn ladder_files(settings: &config::AiPermissionFiles) -> LadderFiles {
    LadderFiles {
        permissions: settings.permissions.clone(),
        actions: settings.actions.clone(),
        categories: settings.categories.clone(),
        roles: settings.roles.clone(),
    }
}

/// The provider, behind a cache if there is to be one.
pub(super) fn cached(provider: impl Provider, settings: &CacheSettings) -> Arc<dyn Provider> {
    if settings.age_max.is_zero() {
        Arc::new(provider)
    } else {
        Arc::new(Cached::new(provider, settings))
    }
}

/// Who may connect, with the published keys had once, so that a wrong address is found now. What `before`
/// holds is used again where it is the same.
pub(super) async fn identity(
    config: &Config,
    before: Option<&Arc<Jwks>>,
) -> anyhow::Result<(IdentitySettings, Option<Arc<Jwks>>)> {
    let mut identity = config.identity.clone();
    let (Some(tokens), Some(settings)) = (&mut identity.tokens, &config.jwks) else {
        return Ok((identity, None));
    };
    let jwks = match before {
        Some(jwks) if jwks.settings() == settings => Arc::clone(jwks),
        _ => Jwks::open(settings.clone())
            .await
            .context("tokens: the published keys cannot be had")?,
    };
    tokens.published = Published::by(Arc::clone(&jwks) as Arc<dyn KeySource>);
    Ok((identity, Some(jwks)))
}

/// Refuses to serve when an upstream login could do harm.
pub(super) async fn posture(config: &Config) -> anyhow::Result<()> {
    let views = install::read_views(&config.views, config.tuples.as_ref())?;
    let mut logins = vec![(ControlLogin::Gate, LoginKind::Ordinary)];
    if config.upstream.superuser_user.is_some() {
        logins.push((ControlLogin::Superuser, LoginKind::Superuser));
    }
    for (login, kind) in logins {
        let client = connect(config, login).await?;
        match install::posture(&client, config.enforcement, kind, &views).await {
            Ok(findings) => {
                for finding in findings {
                    match finding.severity {
                        Severity::Error | Severity::Warning => tracing::warn!("{finding}"),
                        Severity::Note => tracing::info!("{finding}"),
                    }
                }
            }
            Err(findings) => {
                let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
                let (user, _) = login.credentials(config)?;
                bail!(
                    "the upstream login \"{user}\" could do harm, so nothing is served\n{}",
                    list.join("\n")
                );
            }
        }
    }
    Ok(())
}

/// The policy as files and database have it now.
pub(super) async fn policy(config: &Config) -> anyhow::Result<Policy> {
    let client = connect(config, ControlLogin::Gate).await?;
    Ok(install::load_policy(
        &config.views,
        &client,
        config.enforcement,
        config.tuples.as_ref(),
    )
    .await?)
}

/// The pools queries run on: as the ordinary login, and as the superusers' if there is one.
pub(super) fn pools(config: &Config) -> anyhow::Result<(Pool, Option<Pool>)> {
    let pool = |login: ControlLogin| -> anyhow::Result<Pool> {
        let upstream = &config.upstream;
        let (user, password) = login.credentials(config)?;
        let target = upstream::Target {
            host: upstream.host.clone(),
            port: upstream.port,
            database: upstream.database.clone(),
            user: user.to_owned(),
            password: password.cloned(),
            tls: client_tls(&upstream.tls)?,
            connect_timeout: upstream.connect_timeout,
            statement_ms_max: config.limits.statement_ms_max,
            lock_ms_max: config.limits.lock_ms_max,
            idle_in_transaction_ms_max: config.limits.idle_in_transaction_ms_max,
        };
        let options = PoolOptions {
            size: upstream.pool_size,
            wait: upstream.pool_wait,
            prepared_max: config.limits.prepared_per_connection_max,
        };
        Ok(Pool::new(target, &options))
    };
    let superuser = config.upstream.superuser_user.as_ref();
    let superuser = superuser
        .map(|_| pool(ControlLogin::Superuser))
        .transpose()?;
    Ok((pool(ControlLogin::Gate)?, superuser))
}

/// TLS towards clients; each listener names its own protocol (ALPN).
pub(super) fn server_tls(tls: &config::Tls) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            anyhow::anyhow!("tls.cert: cannot read {}: {error}", tls.cert.display())
        })?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| anyhow::anyhow!("tls.key: cannot read {}: {error}", tls.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("tls.cert and tls.key do not fit")?;
    Ok(Arc::new(config))
}
