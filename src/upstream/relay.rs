//! The relay: sends what was put together, takes the answers as the script expects them, and passes
//! frames on to the client, all at once, so that neither side can block the other.
//!
//! Bounds: at most [`OUT_BYTES_HIGH`] plus one read wait for the client; a frame larger than that is passed
//! on piece by piece; the database is not read while the client does not take what it has.

use super::cancel;
use super::connection::{Connection, READ_BYTES};
use super::errors::UpstreamError;
use super::script::{Script, Step};
use crate::error::{Fault, FaultKind, Reason, Refusal};
use bytes::{Buf, BytesMut};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// With this much waiting for the client, the database is not read.
const OUT_BYTES_HIGH: usize = 256 * 1024;
/// Largest frame that must be seen whole (descriptions and errors).
const WHOLE_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a statement may take beyond `statement_timeout` before the database counts as stalled.
const GRACE: Duration = Duration::from_secs(10);

/// Must be `Ok` before any byte of the answer leaves; runs while the database works.
pub type Gate<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

/// The client, as the relay sees it.
pub trait Downstream {
    /// What waits to be sent.
    fn out(&mut self) -> &mut BytesMut;
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
    /// Ours.
    Fault(Fault),
}

/// How a relay ended. The connection is at ReadyForQuery if the script had a Sync or anything failed.
#[derive(Debug, Default)]
pub struct RelayEnd {
    /// The first failure; nothing after it reached the client.
    pub failure: Option<Failure>,
    /// The client is gone, or takes nothing: nothing more can be told.
    pub client_gone: bool,
}

/// Runs the script to its end.
pub async fn relay<D: Downstream>(
    connection: &mut Connection,
    script: &mut Script,
    downstream: &mut D,
    gate: Option<Gate<'_>>,
    bounds: &Bounds,
) -> RelayEnd {
    let mark = downstream.out().len();
    let mut relay = Relay {
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
        silence: None,
        heard: Instant::now(),
    };
    let end = std::future::poll_fn(|cx| relay.poll(cx)).await;
    connection.trim();
    end
}

struct Relay<'a, 'g, D> {
    connection: &'a mut Connection,
    script: &'a mut Script,
    downstream: &'a mut D,
    gate: Option<Gate<'g>>,
    bounds: &'a Bounds,
    /// Where this relay's bytes start in the client's buffer; nothing leaves while the gate is closed.
    mark: usize,
    /// Nothing more goes to the client.
    mute: bool,
    /// Bytes of the current frame that are still to come and to be passed on.
    pass: usize,
    failure: Option<Failure>,
    cancelling: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    send_deadline: Option<Pin<Box<Sleep>>>,
    silence: Option<Pin<Box<Sleep>>>,
    heard: Instant,
}

/// What looking at the received bytes came to.
enum Taken {
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
        loop {
            self.poll_gate(cx);
            let cancelling = self.poll_cancelling(cx).is_pending();
            self.poll_write(cx);
            match self.take() {
                Taken::End if self.gate.is_none() && !cancelling => {
                    return Poll::Ready(self.end(false));
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
            // Nothing more to be had from the database right now: what there is goes to the client.
            match self.poll_client(cx) {
                Poll::Ready(Ok(true)) => continue,
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(())) => return Poll::Ready(self.end(true)),
                Poll::Pending => return Poll::Pending,
            }
            return self.poll_silence(cx);
        }
    }

    fn end(&mut self, client_gone: bool) -> RelayEnd {
        RelayEnd {
            failure: self.failure.take(),
            client_gone,
        }
    }

    /// The connection failed. A frame cut in the middle leaves the client without a way to go on.
    fn lost(&mut self, fault: Fault) -> RelayEnd {
        self.connection.condemn();
        self.script.steps.clear();
        if self.gate.take().is_some() {
            self.downstream.out().truncate(self.mark);
        }
        let client_gone = self.pass > 0 && !self.mute;
        self.failure.get_or_insert(Failure::Fault(fault));
        self.end(client_gone)
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) {
        let Some(gate) = &mut self.gate else { return };
        let Poll::Ready(result) = gate.as_mut().poll(cx) else {
            return;
        };
        self.gate = None;
        if let Err(fault) = result {
            self.downstream.out().truncate(self.mark);
            self.stop(Failure::Fault(fault));
        }
    }

    /// A failure of our own in the middle of the pipeline: nothing more passes, the database is asked to
    /// stop, and its answers are swallowed up to ReadyForQuery.
    fn stop(&mut self, failure: Failure) {
        if self.mute {
            return;
        }
        self.mute = true;
        self.failure.get_or_insert(failure);
        self.ensure_sync();
        let target = Arc::clone(self.connection.target());
        self.cancelling = Some(Box::pin(cancel::cancel(target, self.connection.key())));
    }

    fn ensure_sync(&mut self) {
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
                Poll::Ready(Ok(sent)) if sent > 0 => outbound.advance(sent),
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
        inbound.reserve(READ_BYTES);
        // The future holds nothing but the two references, so dropping it loses nothing.
        let read = pin!(stream.read_buf(inbound)).poll(cx);
        if let Poll::Ready(Ok(1..)) = read {
            self.heard = Instant::now();
        }
        read
    }

    /// `Ok(true)` = the client took something, so there may be room again; `Ok(false)` = nothing to send.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ()>> {
        if self.downstream.poll_gone(cx).is_ready() {
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

    /// The database must say something within its own timeout and a grace.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        if self.bounds.statement_ms_max == 0 {
            return Poll::Pending;
        }
        let limit = Duration::from_millis(self.bounds.statement_ms_max) + GRACE;
        loop {
            let until = self.heard + limit;
            let silence = self
                .silence
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            if silence.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if until <= Instant::now() {
                let cause = "the database does not answer";
                return Poll::Ready(self.lost(Fault::because(FaultKind::UpstreamTimeout, cause)));
            }
            self.silence = None;
        }
    }

    /// Looks at what has been received.
    fn take(&mut self) -> Taken {
        loop {
            self.script.drain_local(self.downstream.out(), self.mute);
            if self.pass > 0 {
                let piece = self.pass.min(self.connection.inbound.len());
                if piece == 0 {
                    return Taken::Hungry;
                }
                self.forward(piece);
                self.pass -= piece;
            } else if self.script.steps.is_empty() {
                return Taken::End;
            } else if let Some(taken) = self.take_frame() {
                return taken;
            }
            if self.downstream.out().len() >= OUT_BYTES_HIGH {
                return Taken::Full;
            }
        }
    }

    /// Moves bytes from the database's buffer to the client's.
    fn forward(&mut self, length: usize) {
        let bytes = self.connection.inbound.get(..length).unwrap_or_default();
        if !self.mute {
            self.downstream.out().extend_from_slice(bytes);
        }
        self.connection
            .inbound
            .advance(length.min(self.connection.inbound.len()));
    }

    /// One frame, or a run of rows; `None` = go on.
    fn take_frame(&mut self) -> Option<Taken> {
        let Some((tag, total)) = header(&self.connection.inbound) else {
            return Some(Taken::Hungry);
        };
        let Some(total) = total else {
            return Some(lost("a frame of impossible length"));
        };
        let whole = self.connection.inbound.len() >= total;
        match (tag, self.script.steps.front()) {
            (b'D', Some(Step::Rows { request })) => {
                let request = *request;
                return self.take_row(request, total, whole);
            }
            (b'T', Some(Step::Describe | Step::DescribeStatement { .. })) if !whole => {
                self.pass_on(total);
                self.script.steps.pop_front();
                return None;
            }
            _ => {}
        }
        if !whole {
            if total > WHOLE_FRAME_BYTES_MAX {
                return Some(lost("a frame larger than any that is expected whole"));
            }
            return Some(Taken::Hungry);
        }
        self.take_whole(tag, total)
    }

    /// Starts to pass on a frame of which only a part is here.
    fn pass_on(&mut self, total: usize) {
        let here = total.min(self.connection.inbound.len());
        self.forward(here);
        self.pass = total - here;
    }

    /// Rows: counted against the limits, passed on unread.
    fn take_row(&mut self, request: usize, total: usize, whole: bool) -> Option<Taken> {
        if self.mute {
            if whole {
                self.forward(total);
            } else {
                self.pass_on(total);
            }
            return None;
        }
        let bounds = self.bounds;
        if let Some(request) = self.script.requests.get_mut(request) {
            let rows = request.rows + 1;
            let bytes = request
                .bytes
                .saturating_add(u64::try_from(total).unwrap_or(u64::MAX));
            if bounds.rows_max > 0 && rows > bounds.rows_max {
                let refusal = too_large("rows", bounds.rows_max);
                self.stop(Failure::Limit(refusal));
                return None;
            }
            if bounds.bytes_max > 0 && bytes > bounds.bytes_max {
                let refusal = too_large("bytes", bounds.bytes_max);
                self.stop(Failure::Limit(refusal));
                return None;
            }
            request.rows = rows;
            request.bytes = bytes;
        }
        if whole {
            self.forward(total);
        } else if total > READ_BYTES / 2 {
            self.pass_on(total);
        } else {
            // Not worth cutting: the rest comes with the next read. Uncount, it will be seen again.
            if let Some(request) = self.script.requests.get_mut(request) {
                request.rows -= 1;
                request.bytes -= u64::try_from(total).unwrap_or(0);
            }
            return Some(Taken::Hungry);
        }
        None
    }

    fn take_whole(&mut self, tag: u8, total: usize) -> Option<Taken> {
        match tag {
            // Notices, settings and notifications are between Rowgate and the database.
            b'N' | b'S' | b'A' => {
                self.connection.inbound.advance(total);
                return None;
            }
            b'E' => return self.take_error(total),
            _ => {}
        }
        let Some(step) = self.script.steps.pop_front() else {
            return Some(lost("an answer nobody asked for"));
        };
        match (step, tag) {
            (Step::Parse(key), b'1') => {
                self.connection.confirm(&key);
                self.connection.inbound.advance(total);
            }
            (Step::OwnParse { .. }, b'1') | (Step::Close, b'3') => {
                self.connection.inbound.advance(total)
            }
            (Step::Bind { forward }, b'2') => self.forward_if(forward, total),
            (Step::DescribeStatement { hidden }, b't') => {
                self.take_parameters(hidden, total);
                self.script.steps.push_front(Step::Describe);
            }
            (Step::Describe, b'T' | b'n') => self.forward(total),
            (Step::Rows { request }, b'C' | b's' | b'I') => {
                if let Some(request) = self.script.requests.get_mut(request) {
                    request.complete = !self.mute;
                }
                self.forward(total);
            }
            (step @ (Step::Principal | Step::Setting), b'D') => {
                self.connection.inbound.advance(total);
                self.script.steps.push_front(step);
            }
            (Step::Principal | Step::Setting, b'C') => self.connection.inbound.advance(total),
            (Step::Sync, b'Z') => {
                let status = self.connection.inbound.get(5).copied().unwrap_or(b'E');
                self.connection.inbound.advance(total);
                self.connection.ready(status);
            }
            (step, tag) => {
                tracing::error!(?step, tag = %char::from(tag), "answer out of order");
                return Some(lost("an answer out of order"));
            }
        }
        None
    }

    fn forward_if(&mut self, forward: bool, total: usize) {
        if forward {
            self.forward(total);
        } else {
            self.connection.inbound.advance(total);
        }
    }

    /// ParameterDescription without the last `hidden` types.
    fn take_parameters(&mut self, hidden: usize, total: usize) {
        if hidden == 0 {
            return self.forward(total);
        }
        let frame = self.connection.inbound.split_to(total);
        if self.mute {
            return;
        }
        let types = frame.get(7..).unwrap_or_default();
        let kept = (types.len() / 4).saturating_sub(hidden);
        let out = self.downstream.out();
        out.extend_from_slice(b"t");
        let length = i32::try_from(6 + 4 * kept).unwrap_or(6);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&u16::try_from(kept).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(types.get(..4 * kept).unwrap_or_default());
    }

    /// The database skips to Sync: so does the script.
    fn take_error(&mut self, total: usize) -> Option<Taken> {
        let frame = self.connection.inbound.split_to(total);
        let error = UpstreamError::read(frame.get(5..).unwrap_or_default());
        if error.fatal {
            let kind = if error.sqlstate == "57014" {
                FaultKind::UpstreamTimeout
            } else {
                FaultKind::UpstreamLost
            };
            return Some(Taken::Lost(Fault::because(kind, error.original)));
        }
        let step = self.script.steps.front();
        let failure = match step {
            Some(Step::Principal) => internal(&error),
            Some(Step::Setting) => Failure::Setting(error),
            Some(Step::Sync) | None => internal(&error),
            Some(_) if error.internal => internal(&error),
            Some(_) => Failure::Upstream(error),
        };
        if !self.mute {
            self.failure.get_or_insert(failure);
            self.mute = true;
        }
        self.ensure_sync();
        while let Some(step) = self.script.steps.pop_front() {
            match step {
                Step::Sync => {
                    self.script.steps.push_front(Step::Sync);
                    break;
                }
                Step::Parse(key) => self.connection.forget(&key),
                Step::OwnParse { principal } => self.connection.forget_own(principal),
                Step::Close => self.connection.lose_track(),
                Step::Local(_)
                | Step::Bind { .. }
                | Step::DescribeStatement { .. }
                | Step::Describe
                | Step::Rows { .. }
                | Step::Principal
                | Step::Setting => {}
            }
        }
        None
    }
}

fn internal(error: &UpstreamError) -> Failure {
    Failure::Fault(Fault::because(FaultKind::Internal, error.original.clone()))
}

fn lost(cause: &'static str) -> Taken {
    Taken::Lost(Fault::because(FaultKind::UpstreamLost, cause))
}

fn too_large(what: &str, limit: u64) -> Refusal {
    Refusal::new(
        Reason::TooLarge,
        format!("the result has more than {limit} {what}"),
    )
    .hint("Ask for less: add a WHERE clause, a LIMIT or an aggregate.")
}

/// Type byte and whole length of the frame at the front; `Some((_, None))` = impossible.
fn header(buffer: &[u8]) -> Option<(u8, Option<usize>)> {
    let (tag, rest) = buffer.split_first()?;
    let length: [u8; 4] = rest.get(..4)?.try_into().ok()?;
    let length = usize::try_from(i32::from_be_bytes(length))
        .ok()
        .filter(|length| *length >= 4);
    Some((*tag, length.map(|length| length + 1)))
}
