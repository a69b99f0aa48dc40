//! The relay: sends what was put together, takes the answers as the script expects them, and passes
//! frames on to the client, all at once, so that neither side can block the other.
//!
//! Bounds: at most [`OUT_BYTES_HIGH`] plus one read wait for the client; a frame larger than that is passed
//! on piece by piece; the database is not read while the client does not take what it has.

use super::cancel;
use super::connection::{Connection, READ_BYTES};
use super::errors::UpstreamError;
use super::script::{Script, Step};
use crate::error::{Fault, FaultKind, Refusal};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// With this much waiting for the client, the database is not read.
pub(super) const OUT_BYTES_HIGH: usize = 256 * 1024;
/// From this many bytes of a result on, it is sent in pieces of at least [`GATHER_BYTES`] ...
const GATHER_FROM: u64 = 256 * 1024;
/// ... this large ...
const GATHER_BYTES: usize = 64 * 1024;
/// ... unless they do not come within this.
const GATHER_MOST: Duration = Duration::from_millis(1);
/// If nothing stands behind the gate yet, it is looked at after this long.
const GATE_LATEST: Duration = Duration::from_millis(100);
/// How often a silent database is looked at. Between looks no time is taken: that would be done for every read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Must be `Ok` before any byte of the answer leaves; runs while the database works.
pub type Gate<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// The client, as the relay sees it.
pub trait Downstream {
    /// What waits to be sent.
    fn out(&mut self) -> &mut Vec<u8>;
    /// Sends some of it; ready when nothing waits.
    ///
    /// # Errors
    /// When the client cannot be written to any more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ready when the client has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The limits the relay keeps.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Most rows a request may return; 0 = no limit.
    pub rows_max: u64,
    /// Most bytes; 0 = no limit.
    pub bytes_max: u64,
    /// How long the client may take to accept bytes.
    pub client_write: Duration,
    /// `statement_timeout`, in milliseconds; 0 = none.
    pub statement_ms_max: u64,
    /// What a statement may take beyond that before the database counts as stalled.
    pub grace: Duration,
}

/// What a pipeline failed with.
#[derive(Debug)]
pub enum Failure {
    /// The database's error, for the caller.
    Upstream(UpstreamError),
    /// An output setting was not accepted; the session must let go of it.
    Setting(UpstreamError),
    /// A limit.
    Limit(Refusal),
    /// A prepared statement does not give any more what the client was told.
    Changed(Refusal),
    /// Ours.
    Fault(Fault),
}

/// How a relay ended. The connection is at ReadyForQuery if the script had a Sync or anything failed.
#[derive(Debug, Default)]
pub struct RelayEnd {
    /// The first failure; nothing after it reached the client.
    pub failure: Option<Box<Failure>>,
    /// The client is gone, or takes nothing: nothing more can be told.
    pub client_gone: bool,
    /// When it ended; `None` = just now.
    pub at: Option<Instant>,
}

/// Runs the script to its end. `started` = now, or a moment ago.
pub async fn relay<D: Downstream>(
    connection: &mut Connection,
    script: &mut Script,
    downstream: &mut D,
    gate: Option<Gate<'_>>,
    bounds: &Bounds,
    started: Instant,
) -> RelayEnd {
    let mark = downstream.out().len();
    let mut relay = Relay {
        started,
        gate_due: false,
        gone: false,
        stopping: false,
        gathering: None,
        connection,
        script,
        downstream,
        gate,
        bounds,
        mark,
        mute: false,
        pass: 0,
        failure: None,
        cancelling: None,
        send_deadline: None,
        heard: started,
        heard_since: false,
        turn: None,
    };
    let end = std::future::poll_fn(|cx| relay.poll(cx)).await;
    connection.trim();
    end
}

pub(super) struct Relay<'a, 'g, D> {
    pub(super) connection: &'a mut Connection,
    pub(super) script: &'a mut Script,
    pub(super) downstream: &'a mut D,
    pub(super) gate: Option<Gate<'g>>,
    pub(super) bounds: &'a Bounds,
    /// Where this relay's bytes start in the client's buffer; nothing leaves while the gate is closed.
    pub(super) mark: usize,
    /// Nothing more goes to the client.
    pub(super) mute: bool,
    /// Bytes of the current frame that are still to come and to be passed on.
    pub(super) pass: usize,
    pub(super) failure: Option<Failure>,
    pub(super) cancelling: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    pub(super) send_deadline: Option<Pin<Box<Sleep>>>,
    /// When the database said something last, as of the last look ...
    pub(super) heard: Instant,
    /// ... and whether it has since.
    pub(super) heard_since: bool,
    pub(super) started: Instant,
    /// The database was asked to stop.
    pub(super) stopping: bool,
    /// The client is gone, or takes nothing.
    pub(super) gone: bool,
    /// [`GATE_LATEST`] is over.
    pub(super) gate_due: bool,
    pub(super) gathering: Option<Pin<Box<Sleep>>>,
    /// The time of this turn, if it was asked for.
    pub(super) turn: Option<Instant>,
}

/// What looking at the received bytes came to.
pub(super) enum Taken {
    /// Every step is done.
    End,
    /// More bytes are needed.
    Hungry,
    /// The client has to take some first.
    Full,
    /// The connection is of no use any more.
    Lost(Fault),
}

impl<D: Downstream> Relay<'_, '_, D> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        self.turn = None;
        loop {
            let cancelling = self.poll_cancelling(cx).is_pending();
            self.poll_write(cx);
            let early = self.gate.is_some() && !self.gate_due;
            let taken = self.take();
            if self.poll_gate(&taken, early, cx) {
                continue;
            }
            match taken {
                Taken::End if self.gate.is_none() && !cancelling => {
                    return Poll::Ready(self.end(self.gone));
                }
                Taken::Lost(fault) => return Poll::Ready(self.lost(fault)),
                Taken::Hungry => match self.poll_read(cx) {
                    Poll::Ready(Ok(0)) => {
                        let cause = "the database closed the connection";
                        return Poll::Ready(
                            self.lost(Fault::because(FaultKind::UpstreamLost, cause)),
                        );
                    }
                    Poll::Ready(Ok(_)) => continue,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(self.lost(Fault::new(FaultKind::UpstreamLost, error)));
                    }
                    Poll::Pending => {}
                },
                Taken::End | Taken::Full => {}
            }
            if self.gathers(cx) {
                return Poll::Pending;
            }
            // Nothing more to be had from the database right now: what there is goes to the client.
            match self.poll_client(early, cx) {
                Poll::Ready(Ok(true)) => continue,
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(())) => {
                    self.leave();
                    continue;
                }
                Poll::Pending => return Poll::Pending,
            }
            return self.poll_silence(early, cx);
        }
    }

    fn end(&mut self, client_gone: bool) -> RelayEnd {
        RelayEnd {
            failure: self.failure.take().map(Box::new),
            client_gone,
            at: self.turn,
        }
    }

    /// The client is gone, or takes nothing: what runs for it is stopped, so that the connection can go on.
    fn leave(&mut self) {
        self.gone = true;
        self.gate = None;
        self.downstream.out().clear();
        let cause = "the client left";
        self.stop(Failure::Fault(Fault::because(FaultKind::Internal, cause)));
    }

    /// The connection failed. A frame cut in the middle leaves the client without a way to go on.
    fn lost(&mut self, fault: Fault) -> RelayEnd {
        self.connection.condemn();
        self.script.steps.clear();
        if self.gate.take().is_some() {
            self.downstream.out().truncate(self.mark);
        }
        let client_gone = self.gone || self.pass > 0 && !self.mute;
        self.failure.get_or_insert(Failure::Fault(fault));
        self.end(client_gone)
    }

    /// Looks at the gate once something stands behind it, by when it is open as a rule: asking earlier would
    /// wake this task a second time. If the database is slow to answer, it is asked all the same. `true` = it said
    /// no, and there is something to be sent now.
    fn poll_gate(&mut self, taken: &Taken, early: bool, cx: &mut Context<'_>) -> bool {
        let Some(gate) = &mut self.gate else {
            return false;
        };
        let answer = self.downstream.out().len() > self.mark || !matches!(taken, Taken::Hungry);
        if !answer && early {
            return false;
        }
        let Poll::Ready(result) = gate.as_mut().poll(cx) else {
            return false;
        };
        self.gate = None;
        let Err(fault) = result else { return false };
        self.downstream.out().truncate(self.mark);
        self.stop(Failure::Fault(fault));
        true
    }

    /// A failure of our own in the middle of the pipeline: nothing more passes, the database is asked to
    /// stop, and its answers are swallowed up to ReadyForQuery.
    pub(super) fn stop(&mut self, failure: Failure) {
        if self.mute {
            return;
        }
        self.mute = true;
        self.failure.get_or_insert(failure);
        self.ensure_sync();
        self.stopping = true;
        self.cancel();
    }

    fn cancel(&mut self) {
        let target = Arc::clone(self.connection.target());
        self.cancelling = Some(Box::pin(cancel::cancel(target, self.connection.key())));
    }

    pub(super) fn ensure_sync(&mut self) {
        if !matches!(self.script.steps.back(), Some(Step::Sync)) {
            self.connection.sync(self.script);
        }
    }

    fn poll_cancelling(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(cancelling) = &mut self.cancelling else {
            return Poll::Ready(());
        };
        let Poll::Ready(sent) = cancelling.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.cancelling = None;
        if !sent {
            self.connection.condemn();
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        let Connection {
            stream, outbound, ..
        } = &mut *self.connection;
        let had = !outbound.is_empty();
        while !outbound.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, outbound) {
                Poll::Ready(Ok(sent)) if sent >= outbound.len() => outbound.clear(),
                Poll::Ready(Ok(sent)) if sent > 0 => drop(outbound.drain(..sent)),
                // The database may have said why before it closed: reading will tell.
                Poll::Ready(_) => outbound.clear(),
                Poll::Pending => break,
            }
        }
        if had {
            // A TLS stream may hold back encrypted bytes; an error shows when reading.
            let _shown_by_reading = Pin::new(stream).poll_flush(cx);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Connection {
            stream, inbound, ..
        } = &mut *self.connection;
        // The future holds nothing but the two references, so dropping it loses nothing.
        let read = pin!(stream.read_buf(inbound.room(READ_BYTES))).poll(cx);
        if let Poll::Ready(Ok(1..)) = read {
            self.heard_since = true;
        }
        read
    }

    /// `Ok(true)` = the client took something, so there may be room again; `Ok(false)` = nothing to send.
    /// `early` = nothing has been answered yet, and not for long: whether the client is still there is not looked at then,
    /// because a short query has ended before that matters.
    fn poll_client(&mut self, early: bool, cx: &mut Context<'_>) -> Poll<Result<bool, ()>> {
        if self.gone {
            return Poll::Ready(Ok(false));
        }
        if !early && self.downstream.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(()));
        }
        if self.gate.is_some() || self.downstream.out().is_empty() {
            return Poll::Ready(Ok(false));
        }
        let full = self.downstream.out().len() >= OUT_BYTES_HIGH;
        match self.downstream.poll_send(cx) {
            Poll::Ready(Ok(())) => {
                self.send_deadline = None;
                Poll::Ready(Ok(full))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(())),
            Poll::Pending => {
                let room = full && self.downstream.out().len() < OUT_BYTES_HIGH;
                if room {
                    self.send_deadline = None;
                    return Poll::Ready(Ok(true));
                }
                let wait = self.bounds.client_write;
                let deadline = self
                    .send_deadline
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
                match deadline.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// Whether to wait a moment for more before the client is sent what there is: in the middle of a large
    /// result, which the database sends in pieces of 8 kB, each send would cost as much as one of 64 kB.
    fn gathers(&mut self, cx: &mut Context<'_>) -> bool {
        let large = match self.script.steps.front() {
            Some(Step::Rows { request }) => {
                let request = self.script.requests.get(*request);
                request.is_some_and(|request| request.bytes >= GATHER_FROM)
            }
            _ => false,
        };
        let waiting = self.downstream.out().len();
        if !large || self.mute || waiting == 0 || waiting >= GATHER_BYTES {
            self.gathering = None;
            return false;
        }
        let gathering = self
            .gathering
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(GATHER_MOST)));
        if gathering.as_mut().poll(cx).is_pending() {
            return true;
        }
        self.gathering = None;
        false
    }

    /// The database must say something within its own timeout and a grace.
    fn poll_silence(&mut self, early: bool, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let limit = Duration::from_millis(self.bounds.statement_ms_max) + self.bounds.grace;
        loop {
            let until = match (early, self.bounds.statement_ms_max) {
                (true, _) => self.started + GATE_LATEST,
                (false, 0) if !self.stopping => return Poll::Pending,
                (false, _) => self.heard + limit,
            };
            let alarm = self.connection.alarm.get_or_insert_with(|| {
                let look = until.min(self.started + LOOK_EVERY);
                Box::pin(tokio::time::sleep_until(look))
            });
            // It may still be set to what an earlier relay wanted: sooner does no harm.
            if alarm.deadline() > until {
                alarm.as_mut().reset(until);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if std::mem::take(&mut self.heard_since) {
                self.heard = now;
            }
            alarm.as_mut().reset(until.max(now).min(now + LOOK_EVERY));
            if early && now >= until {
                // Time to look at the gate: once round.
                self.gate_due = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.stopping && self.cancelling.is_none() {
                // A cancel that comes before the statement has begun hits nothing.
                self.cancel();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !early && now >= self.heard + limit {
                let cause = "the database does not answer";
                return Poll::Ready(self.lost(Fault::because(FaultKind::UpstreamTimeout, cause)));
            }
        }
    }
}
