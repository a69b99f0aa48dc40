//! The composition root: from a checked [`Config`] to a running gate.

use crate::config::Config;
use std::future::Future;
use std::net::SocketAddr;

/// Serves until `shutdown` resolves; then finishes within a bound. SIGHUP and changes of `views/`
/// and of provider files reload what they concern without dropping sessions.
///
/// `ready` is called once, with the address listened on, when clients can connect.
///
/// # Errors
/// Whatever keeps the gate from starting: a broken view, a dangerous upstream role, an unusable sink.
pub async fn serve(
    _config: Config,
    _shutdown: impl Future<Output = ()> + Send,
    _ready: impl FnOnce(SocketAddr) + Send,
) -> anyhow::Result<()> {
    anyhow::bail!("not wired yet")
}

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

/// A control connection to the database (DDL, introspection, posture). Its driver task ends with it.
///
/// # Errors
/// When the login is not configured or the database cannot be reached.
pub async fn connect(
    _config: &Config,
    _login: ControlLogin,
) -> anyhow::Result<tokio_postgres::Client> {
    anyhow::bail!("not wired yet")
}

/// The principal `user_id` would be if they logged in as themselves now; no credential is checked.
/// For `explain` and `describe`, which only whoever holds the configuration can run.
///
/// # Errors
/// A provider that cannot answer.
pub async fn principal(
    _config: &Config,
    _user_id: &str,
) -> anyhow::Result<crate::identity::Principal> {
    anyhow::bail!("not wired yet")
}
