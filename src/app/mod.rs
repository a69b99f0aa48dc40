//! The composition root: from a checked [`Config`] to a running gate.

mod build;
mod reload;

use crate::config::Config;
use crate::identity::{Caller, Principal};
use std::future::Future;
use std::net::SocketAddr;

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
    let _ = (config, shutdown, ready);
    anyhow::bail!("not wired yet")
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
