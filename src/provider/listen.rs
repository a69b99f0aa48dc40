//! Hears of changes to the `sql` provider's tables: LISTEN on [`CHANNEL`]. The payload of a notification is
//! the user id it concerns; an empty one concerns everybody.

use super::{Cached, Provider};
use crate::control::Connector;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, Client};

/// The channel of NOTIFY.
pub(crate) const CHANNEL: &str = "rowgate_invalidate";
/// How often a silent connection is asked whether it still lives, and how long it may take to say so.
const PROBE_EVERY: Duration = Duration::from_millis(500);
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// How often it is looked whether the connection has been closed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long connecting and LISTEN may take.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// What keeps answers, and forgets them when it is told that something changed.
pub(crate) trait Forgets: Send + Sync + 'static {
    /// Its name in messages.
    fn named(&self) -> &str;
    /// Forgets everything.
    fn forget(&self);
    /// Forgets what it kept of one user.
    fn forget_user(&self, user_id: &str);
    /// Whether a change would be heard of from now on.
    fn set_heard(&self, heard: bool);
}

impl Forgets for Cached {
    fn named(&self) -> &str {
        self.name()
    }

    fn forget(&self) {
        self.clear();
    }

    fn forget_user(&self, user_id: &str) {
        self.clear_user(user_id);
    }

    fn set_heard(&self, heard: bool) {
        Self::set_heard(self, heard);
    }
}

/// Listens for as long as the provider lives, and clears it of one user or of all at each notification and
/// of all after each reconnection (what was missed meanwhile is unknown). While nobody listens it knows that.
pub(crate) async fn listen<P: Forgets + ?Sized>(connector: Connector, provider: Arc<P>) {
    let provider = Arc::downgrade(&provider);
    let mut wait = Duration::from_millis(100);
    while provider.strong_count() > 0 {
        let target = provider.clone();
        let heard = Box::new(move |message| {
            if let AsyncMessage::Notification(notification) = message
                && let Some(provider) = target.upgrade()
            {
                match notification.payload() {
                    "" => provider.forget(),
                    user_id => provider.forget_user(user_id),
                }
            }
        });
        if let Ok(Ok(client)) = timeout(CONNECT_WAIT, connector.connect_with(heard)).await
            && let Ok(Ok(())) =
                timeout(CONNECT_WAIT, client.batch_execute(&listen_statement())).await
        {
            if let Some(provider) = provider.upgrade() {
                provider.forget();
                provider.set_heard(true);
            }
            wait = Duration::from_millis(100);
            hear(&client, &provider).await;
            if let Some(provider) = provider.upgrade() {
                provider.set_heard(false);
                tracing::warn!(
                    provider = provider.named(),
                    "the connection that hears of changes was lost"
                );
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

fn listen_statement() -> String {
    format!("LISTEN {CHANNEL}")
}

/// Returns when the connection has died or the provider is gone.
async fn hear<P: ?Sized>(client: &Client, provider: &Weak<P>) {
    let (listening, mut probed) = (listen_statement(), Instant::now());
    while provider.strong_count() > 0 && !client.is_closed() {
        tokio::time::sleep(LOOK_EVERY).await;
        if probed.elapsed() < PROBE_EVERY {
            continue;
        }
        // A question now and then finds a connection that died without a word; said again, it changes nothing.
        let listening = client.batch_execute(&listening);
        let Ok(Ok(())) = timeout(PROBE_WAIT, listening).await else {
            return;
        };
        probed = Instant::now();
    }
}
