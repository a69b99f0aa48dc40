//! Looking at the database's frames: which step each belongs to, and whether it passes.

use super::connection::READ_BYTES;
use super::description::{Shape, changed, tell, types};
use super::errors::UpstreamError;
use super::relay::{Downstream, Failure, OUT_BYTES_HIGH, Relay, Taken};
use super::script::Step;
use crate::error::{Fault, FaultKind, Reason, Refusal};
use crate::policy::Origins;
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::Instant;

/// NoData.
const NO_DATA: Bytes = Bytes::from_static(b"n\0\0\0\x04");
/// Largest frame that must be seen whole (descriptions and errors).
const WHOLE_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

impl<D: Downstream> Relay<'_, '_, D> {
    /// Looks at what has been received.
    pub(super) fn take(&mut self) -> Taken {
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
        self.connection.inbound.advance(length);
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
        if let (b'D' | b'd', Some(Step::Rows { request })) = (tag, self.script.steps.front()) {
            let request = *request;
            if !self.mute && self.take_rows(request) {
                return None;
            }
            return self.take_row(request, total, whole);
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

    /// The whole rows at the front, as far as the limits go, in one piece; false if there is none.
    fn take_rows(&mut self, request: usize) -> bool {
        let Some(request) = self.script.requests.get_mut(request) else {
            return false;
        };
        let most = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let rows_max = most(self.bounds.rows_max);
        let bytes_max = most(self.bounds.bytes_max);
        let (mut rows, mut bytes, mut length) = (request.rows, request.bytes, 0);
        if request.no_rows > 0 {
            return false;
        }
        let inbound = &self.connection.inbound;
        while let Some((b'D' | b'd', Some(total))) = inbound.get(length..).and_then(header)
            && inbound.len() - length >= total
        {
            let more = bytes.saturating_add(u64::try_from(total).unwrap_or(u64::MAX));
            if rows >= rows_max || more > bytes_max {
                break;
            }
            (rows, bytes, length) = (rows + 1, more, length + total);
        }
        if length > 0 {
            let turn = &mut self.turn;
            let now = || *turn.get_or_insert_with(Instant::now);
            request.first_row.get_or_insert_with(now);
        }
        (request.rows, request.bytes) = (rows, bytes);
        self.forward(length);
        length > 0
    }

    /// One row: counted against the limits, passed on unread.
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
            let rows = request.rows + 1 - request.no_rows.min(1);
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
            // Not worth cutting: the rest comes with the next read.
            if !whole && total <= READ_BYTES / 2 {
                return Some(Taken::Hungry);
            }
            request.no_rows = request.no_rows.saturating_sub(1);
            let turn = &mut self.turn;
            let now = || *turn.get_or_insert_with(Instant::now);
            request.first_row.get_or_insert_with(now);
            request.rows = rows;
            request.bytes = bytes;
        }
        if whole {
            self.forward(total);
        } else {
            self.pass_on(total);
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
            (Step::OwnParse { .. } | Step::WrappedParse { .. }, b'1')
            | (Step::Close | Step::ClosePortal, b'3') => self.connection.inbound.advance(total),
            (Step::Bind { forward }, b'2') => self.forward_if(forward, total),
            (
                Step::DescribeStatement {
                    hidden,
                    origins,
                    shape,
                },
                b't',
            ) => {
                self.take_parameters(hidden, shape.as_deref(), total);
                let nothing = shape.is_none().then_some(Step::DescribeNothing);
                let next = nothing.unwrap_or(Step::Describe(origins, shape));
                self.script.steps.push_front(next);
            }
            (step @ Step::Compare { .. }, b't' | b'T' | b'n') => self.compare(step, tag, total),
            (Step::DescribeNothing, b'T' | b'n') => {
                self.connection.inbound.advance(total);
                self.script.steps.push_front(Step::Local(NO_DATA));
            }
            // COPY TO STDOUT begins, and has sent all its rows.
            (step @ Step::Rows { .. }, b'H' | b'c') => {
                self.forward(total);
                self.script.steps.push_front(step);
            }
            (Step::Describe(origins, shape), b'T' | b'n') => {
                return self.take_description(tag, &origins, shape.as_deref(), total);
            }
            (Step::Rows { request }, b'C' | b's' | b'I') => self.take_end(request, total),
            (step @ (Step::Principal | Step::Setting), b'D') => {
                self.connection.inbound.advance(total);
                self.script.steps.push_front(step);
            }
            (Step::Principal | Step::Setting | Step::Own, b'C') => {
                self.connection.inbound.advance(total)
            }
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

    /// The end of a request.
    fn take_end(&mut self, request: usize, total: usize) {
        if let Some(request) = self.script.requests.get_mut(request) {
            request.complete = !self.mute;
        }
        self.forward(total);
    }

    /// RowDescription, with the origins that may be told, or NoData.
    fn take_description(
        &mut self,
        tag: u8,
        origins: &Origins,
        shape: Option<&Shape>,
        total: usize,
    ) -> Option<Taken> {
        let frame = self.connection.inbound.get_mut(..total).unwrap_or_default();
        if tag == b'T' && tell(frame, origins).is_none() {
            return Some(lost("a description that cannot be read"));
        }
        if let Some(shape) = shape.filter(|_| !self.mute) {
            shape.tell(frame);
        }
        self.forward(total);
        None
    }

    fn forward_if(&mut self, forward: bool, total: usize) {
        if forward {
            self.forward(total);
        } else {
            self.connection.inbound.advance(total);
        }
    }

    /// A description of our own asking, for what the client was told before.
    fn compare(&mut self, step: Step, tag: u8, total: usize) {
        let frame = self.connection.inbound.take(total);
        let Step::Compare {
            shape,
            standing,
            hidden,
        } = &step
        else {
            return;
        };
        let same = match tag {
            // Other parameters were found already, and columns alone do not make it the same.
            _ if self.mute => true,
            b't' => shape.has_parameters(&frame, *hidden),
            _ => shape.has_columns(&frame, standing),
        };
        if tag == b't' {
            self.script.steps.push_front(step);
        }
        if !same {
            self.stop(Failure::Changed(changed()));
        }
    }

    /// ParameterDescription without the last `hidden` types.
    fn take_parameters(&mut self, hidden: usize, shape: Option<&Shape>, total: usize) {
        let frame = self.connection.inbound.take(total);
        if self.mute {
            return;
        }
        if let Some(shape) = shape {
            shape.tell_parameters(&frame, hidden);
        }
        let types = types(&frame, hidden);
        let out = self.downstream.out();
        out.extend_from_slice(b"t");
        let length = i32::try_from(6 + types.len()).unwrap_or(6);
        out.extend_from_slice(&length.to_be_bytes());
        let count = u16::try_from(types.len() / 4).unwrap_or(0);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(types);
    }

    /// The database skips to Sync: so does the script.
    fn take_error(&mut self, total: usize) -> Option<Taken> {
        let frame = self.connection.inbound.take(total);
        let mut error = UpstreamError::read(frame.get(5..).unwrap_or_default());
        if error.fatal {
            let kind = if error.sqlstate == "57014" {
                FaultKind::UpstreamTimeout
            } else {
                FaultKind::UpstreamLost
            };
            return Some(Taken::Lost(Fault::because(kind, error.original)));
        }
        let step = self.script.steps.front();
        match step {
            Some(Step::Parse(key)) => error.text = Some(Arc::clone(&key.text)),
            Some(Step::WrappedParse { query, head_chars }) => {
                error.text = Some(Arc::clone(query));
                let inside = |at: u32| at.checked_sub(*head_chars).filter(|at| *at > 0);
                error.position = error.position.and_then(inside);
            }
            _ => {}
        }
        // Cancelled, or out of time, can be whatever runs.
        let ended = error.sqlstate == "57014";
        let failure = match step {
            Some(Step::Principal | Step::Setting | Step::Own) if ended => Failure::Upstream(error),
            Some(Step::Principal | Step::Own) => internal(&error),
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
                | Step::Mark(_)
                | Step::Done(_)
                | Step::WrappedParse { .. }
                | Step::ClosePortal
                | Step::Bind { .. }
                | Step::DescribeStatement { .. }
                | Step::DescribeNothing
                | Step::Describe(..)
                | Step::Compare { .. }
                | Step::Rows { .. }
                | Step::Principal
                | Step::Own
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
pub(super) fn header(buffer: &[u8]) -> Option<(u8, Option<usize>)> {
    let (tag, rest) = buffer.split_first()?;
    let length: [u8; 4] = rest.get(..4)?.try_into().ok()?;
    let length = usize::try_from(i32::from_be_bytes(length))
        .ok()
        .filter(|length| *length >= 4);
    Some((*tag, length.map(|length| length + 1)))
}
