//! Ending a connection that cannot go back to the pool.

use super::cancel;
use super::connection::{Connection, READ_BYTES};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a connection that is given up keeps its place in the pool while the database does not end it.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is asked to stop what it runs.
const CANCEL_EVERY: Duration = Duration::from_secs(1);

impl Connection {
    /// Ends it: what it may still be running is cancelled. Returns when the database has closed its end too, or
    /// is not to be waited for any longer.
    pub(super) async fn close(self) {
        let Self {
            target,
            key,
            mut stream,
            dirty,
            mut inbound,
            ..
        } = self;
        let ended = async {
            let mut terminate = BytesMut::new();
            frontend::terminate(&mut terminate);
            // Whether it still listens shows when reading.
            let _told = stream.write_all(&terminate).await;
            let _told = stream.shutdown().await;
            loop {
                inbound.advance(usize::MAX);
                if stream.read_buf(inbound.room(READ_BYTES)).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        // A cancel that comes before the statement has begun hits nothing, so one is not enough.
        let cancelling = async {
            if !dirty {
                std::future::pending::<()>().await;
            }
            loop {
                cancel::cancel(Arc::clone(&target), key).await;
                tokio::time::sleep(CANCEL_EVERY).await;
            }
        };
        let closing = async {
            tokio::select! {
                () = ended => {}
                () = cancelling => {}
            }
        };
        if tokio::time::timeout(CLOSE_TIME_MAX, closing).await.is_err() {
            tracing::warn!("the database does not end a connection that was given up");
        }
    }
}
