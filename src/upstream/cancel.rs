//! Cancelling a query in the database, and only that query.
//!
//! PostgreSQL cancels whatever the backend runs when the signal arrives, so a cancel must never be under
//! way when a connection changes hands: a lease cannot be given back before the cancel in its [`CancelSlot`] has
//! ended.

use super::login::Target;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

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
///
/// Not a lock of tokio's, which would be taken twice for each query although hardly anybody ever cancels.
#[derive(Debug, Default)]
pub struct CancelSlot {
    state: Mutex<State>,
    /// Rings when a cancel has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The backend the session works on.
    key: Option<CancelKey>,
    /// Where it, or the one before, is: kept, because it hardly ever changes.
    target: Option<Arc<Target>>,
    /// A cancel is under way.
    cancelling: bool,
}

impl CancelSlot {
    /// The session now works on this backend.
    pub(super) async fn occupy(&self, target: &Arc<Target>, key: CancelKey) {
        let occupy = |state: &mut State| {
            state.key = Some(key);
            let known = state.target.as_ref();
            if !known.is_some_and(|known| Arc::ptr_eq(known, target)) {
                state.target = Some(Arc::clone(target));
            }
        };
        self.change(occupy).await;
    }

    /// The session is done with its backend; waits while a cancel for it is under way.
    pub async fn vacate(&self) {
        self.change(|state| state.key = None).await;
    }

    async fn change(&self, change: impl Fn(&mut State)) {
        // As a rule nobody cancels.
        if self.if_idle(&change).is_none() {
            Box::pin(self.once_idle(change)).await;
        }
    }

    /// Cancels what the session runs now, if anything.
    pub async fn cancel(&self) {
        let begin = |state: &mut State| {
            state.cancelling = true;
            state.target.clone().zip(state.key)
        };
        let backend = self.once_idle(begin).await;
        let _ends = Ends(self);
        if let Some((target, key)) = backend {
            cancel(target, key).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, unless a cancel is under way.
    fn if_idle<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.state();
        (!state.cancelling).then(|| act(&mut state))
    }

    /// Does something as soon as no cancel is under way.
    async fn once_idle<T>(&self, act: impl Fn(&mut State) -> T) -> T {
        loop {
            let mut ended = pin!(self.ended.notified());
            // From here on no ring is missed.
            ended.as_mut().enable();
            if let Some(done) = self.if_idle(&act) {
                return done;
            }
            ended.await;
        }
    }
}

/// Ends a cancel, also where its future is dropped.
struct Ends<'a>(&'a CancelSlot);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.state().cancelling = false;
        self.0.ended.notify_waiters();
    }
}
