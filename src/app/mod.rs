//! The composition root: from a checked [`Config`] to a running gate.

mod build;
mod reload;

use crate::config::{Config, Enforcement};
use crate::gateway::{self, Gateway};
use crate::identity::{Authenticator, Caller, Principal};
use crate::wire;
use anyhow::Context;
use arc_swap::ArcSwap;
use reload::Reloader;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use build::{ControlLogin, Providers, connect, providers};

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
    build::posture(&config).await?;
    let policy = Arc::new(ArcSwap::from_pointee(build::policy(&config).await?));
    let authenticator = Authenticator::new(config.identity.clone());
    let authenticator = Arc::new(ArcSwap::from_pointee(authenticator));
    let providers = build::providers(&config.providers).await?;
    let resolver = Arc::new(ArcSwap::from_pointee(providers.resolver()));
    let (pool, superuser_pool) = build::pools(&config)?;
    let gateway = Arc::new(Gateway::new(gateway::Parts {
        policy: Arc::clone(&policy),
        authenticator: Arc::clone(&authenticator),
        resolver: Arc::clone(&resolver),
        audit: Arc::new(build::audit(&config)?),
        pool,
        superuser_pool,
        limits: config.limits.clone(),
        database: config.upstream.database.clone(),
        open_allowed: config.enforcement == Enforcement::Barrier,
        connect_requires: config.gate.connect_requires.clone(),
    }));
    let tls = config.tls.as_ref().map(build::server_tls).transpose()?;
    let require_tls = config.tls.as_ref().is_some_and(|tls| tls.require);
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let reloader = Reloader::new(config, policy, authenticator, resolver, providers)?;
    let reloading = AbortOnDrop(tokio::spawn(reloader.run()).abort_handle());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    ready(address);
    let stopping = async move {
        shutdown.await;
        stop.send_replace(true);
        // Kept until serving ends: a closed channel would say nothing.
        stop.closed().await;
    };
    tokio::select! {
        () = wire::serve(listener, gateway, tls, require_tls, stopped) => {}
        () = stopping => {}
    }
    drop(reloading);
    Ok(())
}

/// Ends a task with the value.
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
    let resolver = build::providers(&config.providers).await?.resolver();
    match resolver.principal(&Caller::assumed(user_id)).await {
        Ok(principal) => Ok(Principal::clone(&principal)),
        Err(crate::error::Error::Refused(refusal)) => Err(refusal.into()),
        Err(crate::error::Error::Failed(fault)) => Err(fault.cause),
    }
}
