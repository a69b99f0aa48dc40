//! Cancelling a query in the database, and only that query.
//!
//! PostgreSQL cancels whatever the backend runs when the signal arrives, so a cancel must never be under
//! way when a connection changes hands: [`CancelSlot`] is locked while one is, and a lease cannot be given
//! back without that lock.

use super::login::Target;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

/// How long a cancel may take; after that the connection is dropped instead of reused.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(5);

/// What BackendKeyData told us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelKey {
    pub(super) process: i32,
    pub(super) secret: i32,
}

/// Asks the database to cancel; true if the request has been taken, so that no signal is under way any more.
pub(super) async fn cancel(target: Arc<Target>, key: CancelKey) -> bool {
    let send = async {
        let mut stream = target.open().await?;
        let mut out = BytesMut::new();
        frontend::cancel_request(key.process, key.secret, &mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        // The server closes after it has sent the signal.
        let mut rest = [0; 16];
        while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
        std::io::Result::Ok(())
    };
    match tokio::time::timeout(CANCEL_TIME_MAX, send).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cancel could not be sent");
            false
        }
        Err(_) => {
            tracing::warn!("cancel was not answered in time");
            false
        }
    }
}

/// Where a session's current backend can be found by a cancel request.
#[derive(Debug, Default)]
pub struct CancelSlot {
    current: Mutex<Option<(Arc<Target>, CancelKey)>>,
}

impl CancelSlot {
    /// The session now works on this backend.
    pub(super) async fn occupy(&self, target: &Arc<Target>, key: CancelKey) {
        self.set(Some((Arc::clone(target), key))).await;
    }

    /// The session is done with its backend; waits while a cancel for it is under way.
    pub async fn vacate(&self) {
        self.set(None).await;
    }

    async fn set(&self, backend: Option<(Arc<Target>, CancelKey)>) {
        // As a rule nobody cancels.
        match self.current.try_lock() {
            Ok(mut current) => *current = backend,
            Err(_) => *self.current.lock().await = backend,
        }
    }

    /// Cancels what the session runs now, if anything.
    pub async fn cancel(&self) {
        let current = self.current.lock().await;
        if let Some((target, key)) = current.as_ref() {
            cancel(Arc::clone(target), *key).await;
        }
    }
}
