//! A round trip to the database that asks for nothing.

use super::connection::Connection;
use super::relay::{Bounds, Downstream, Failure, relay};
use super::script::Script;
use crate::error::{Fault, FaultKind};
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// How long the answer may take.
const ANSWER_MS_MAX: u64 = 2_000;

/// Nobody: what would go to a client goes nowhere.
#[derive(Default)]
struct Nobody(Vec<u8>);

impl Downstream for Nobody {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn poll_send(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Sends Sync and waits for ReadyForQuery.
///
/// # Errors
/// [`FaultKind::UpstreamLost`]; the connection is not used again.
pub async fn ping(connection: &mut Connection) -> Result<(), Fault> {
    let mut script = Script::default();
    connection.sync(&mut script);
    let most = Duration::from_millis(ANSWER_MS_MAX);
    let bounds = Bounds {
        rows_max: 0,
        bytes_max: 0,
        client_write: most,
        statement_ms_max: ANSWER_MS_MAX,
        grace: most,
    };
    let (mut nobody, now) = (Nobody::default(), Instant::now());
    let asking = relay(connection, &mut script, &mut nobody, None, &bounds, now);
    let lost = |cause: &'static str| Fault::because(FaultKind::UpstreamLost, cause);
    let end = tokio::time::timeout(most, asking).await;
    match end.map(|end| end.failure.map(|failure| *failure)) {
        Ok(None) => Ok(()),
        Ok(Some(Failure::Fault(fault))) => Err(fault),
        Ok(Some(_)) => Err(lost("an error for a question that asks nothing")),
        Err(_) => {
            connection.condemn();
            Err(lost("no answer in time"))
        }
    }
}
