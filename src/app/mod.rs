//! The composition root: from a checked [`Config`] to a running gate.

mod admin;
mod build;
mod catalogue;
mod doors;
mod query;
mod reload;
mod remote;
mod tags;

use crate::config::Config;
use crate::gateway::{Gateway, Parts};
use crate::identity::{Authenticator, Caller, Principal};
use crate::ops::{Page, Readiness, Stale};
use anyhow::Context;
use arc_swap::ArcSwap;
use doors::Doors;
use reload::Reloader;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use admin::manager;
pub use build::{ControlLogin, Providers, connect, permission_problems, permissions, providers};
pub use catalogue::catalogue;
pub use tags::tag_definitions;

/// Serves until `shutdown` resolves; then finishes within a bound. SIGHUP and changes of `views/`
/// and of provider files reload what they concern without dropping sessions; what cannot be reloaded
/// leaves the last good state in force and says so.
///
/// `ready` is called once, with the address listened on, when clients can connect.
///
/// # Errors
/// Whatever keeps the gate from starting: a broken view, a dangerous upstream role, an unusable sink.
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
    ready: impl FnOnce(SocketAddr) + Send,
) -> anyhow::Result<()> {
    serve_at(config, shutdown, |addresses| ready(addresses.clients)).await
}

/// Where a gate listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub clients: SocketAddr,
    /// For queries over HTTP.
    pub http: Option<SocketAddr>,
    /// For whoever manages permissions.
    pub admin: Option<SocketAddr>,
    /// For whoever runs the gate.
    pub metrics: Option<SocketAddr>,
}

impl Addresses {
    fn announce(self, tls: bool) {
        let address = self.clients;
        tracing::info!(%address, "serving");
        if let Some(address) = self.http {
            tracing::info!(%address, tls, "serving queries over HTTP");
        }
        if let Some(address) = self.admin {
            tracing::info!(%address, tls, "serving the admin listener");
        }
        if let Some(address) = self.metrics {
            tracing::info!(%address, tls, "serving metrics");
        }
    }
}

/// As [`serve`]; `ready` is told every address.
///
/// # Errors
/// As [`serve`].
pub async fn serve_at(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
    ready: impl FnOnce(Addresses) + Send,
) -> anyhow::Result<()> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let audit = Arc::new(build::audit(&config)?);
    let providers = permissions(&config).await?;
    build::posture(&config).await?;
    let policy = Arc::new(ArcSwap::from_pointee(build::policy(&config).await?));
    let (identity, jwks) = build::identity(&config, None).await?;
    let authenticator = Arc::new(ArcSwap::from_pointee(Authenticator::new(identity)));
    let resolver = Arc::new(ArcSwap::from_pointee(providers.resolver()));
    let (pool, superuser_pool) = build::pools(&config)?;
    let gateway = Arc::new(Gateway::new(Parts {
        policy: Arc::clone(&policy),
        authenticator: Arc::clone(&authenticator),
        resolver: Arc::clone(&resolver),
        audit: Arc::clone(&audit),
        pool,
        superuser_pool,
        limits: config.limits.clone(),
        database: config.upstream.database.clone(),
        open_allowed: config.open_allowed(),
        connect_requires: config.gate.connect_requires.clone(),
        notice_filtered: config.gate.notice_filtered,
    }));
    let tls = config.tls.as_ref().map(build::server_tls).transpose()?;
    let require_tls = config.tls.as_ref().is_some_and(|tls| tls.require);
    let listener = listen(config.listen).await?;
    let stale = Arc::new(Stale::default());
    let watched = doors::Watched {
        readiness: Arc::new(Readiness::new(Arc::clone(&gateway), Arc::clone(&stale))),
        page: Page::new(Arc::clone(&gateway), Arc::clone(&stale)),
    };
    let rights = admin::Rights {
        authenticator: Arc::clone(&authenticator),
        resolver: Arc::clone(&resolver),
        policy: Arc::clone(&policy),
        audit: Arc::clone(&audit),
    };
    let doors = Doors::open(&config, tls.as_ref(), Arc::clone(&gateway), watched, rights).await?;
    let addresses = doors.addresses(listener.local_addr()?)?;
    let (stop, stopped) = watch::channel(false);
    let clients = crate::wire::serve(listener, gateway, tls.clone(), require_tls, stopped.clone());
    let clients = clients.context("cannot start the threads that serve clients")?;
    let reloader = Reloader::new(
        config,
        (policy, authenticator, resolver),
        providers,
        jwks,
        stale,
    )?;
    let reloading = AbortOnDrop(tokio::spawn(reloader.run()).abort_handle());
    addresses.announce(tls.is_some());
    ready(addresses);
    let serving = async {
        tokio::join!(clients, doors.serve(stopped));
    };
    until(stop, shutdown, serving).await;
    drop(reloading);
    audit.flush().await;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// Serves until `shutdown`, then until what serves has come to its end.
async fn until(
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
    serving: impl Future<Output = ()>,
) {
    let mut serving = pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        () = shutdown => {
            stop.send_replace(true);
            serving.await;
        }
    }
}

/// Ends a task with the value, also when serving is cancelled.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The principal `user_id` would be if they logged in as themselves now; no credential is checked.
/// For `explain` and `describe`, which only whoever holds the configuration can run.
///
/// # Errors
/// A provider that cannot answer.
pub async fn principal(config: &Config, user_id: &str) -> anyhow::Result<Principal> {
    let resolver = permissions(config).await?.resolver();
    match resolver.principal(&Caller::assumed(user_id)).await {
        Ok(principal) => Ok(Principal::clone(&principal)),
        Err(crate::error::Error::Refused(refusal)) => Err(refusal.into()),
        Err(crate::error::Error::Failed(fault)) => Err(fault.cause),
    }
}
