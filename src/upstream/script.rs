//! What is expected back from the database for what was sent, in order, and what to do with each answer.

use super::command::Setting;
use super::description::Shape;
use crate::policy::{Origins, Standing};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// Identifies a prepared statement on a connection: its text, the declared parameter types, and the settings it was
/// parsed under, which PostgreSQL reads its literals by (`'02/03/2024'::date`, a time without zone).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StatementKey {
    pub(super) text: Arc<str>,
    pub(super) types: Arc<[u32]>,
    pub(super) settings: Vec<(Setting, String)>,
}

/// One expected answer.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing from the database: these bytes of our own go to the client here.
    Local(Bytes),
    /// ParseComplete of a query, swallowed; the statement is then in the cache.
    Parse(Box<StatementKey>),
    /// ParseComplete of a query with words of ours around it, swallowed: how many characters stand in front.
    WrappedParse { query: Arc<str>, head_chars: u32 },
    /// ParseComplete of a text of our own, swallowed: the principal's named statement, or an unnamed one.
    OwnParse { principal: bool },
    /// BindComplete, passed on or swallowed.
    Bind { forward: bool },
    /// ParameterDescription (without the last `hidden` ones) and RowDescription or NoData; without a `shape` always
    /// NoData.
    DescribeStatement {
        hidden: usize,
        origins: Arc<Origins>,
        shape: Option<Arc<Shape>>,
    },
    /// RowDescription or NoData, told as NoData.
    DescribeNothing,
    /// RowDescription, where a column's table is told as these say, or NoData; what the client reads is kept.
    Describe(Arc<Origins>, Option<Arc<Shape>>),
    /// ParameterDescription and RowDescription or NoData, swallowed: what the statement gives in this standing has to be
    /// what the client was told.
    Compare {
        shape: Arc<Shape>,
        standing: Arc<Standing>,
        hidden: usize,
    },
    /// Everything Execute yields, passed on; counted for the request at this index.
    Rows { request: usize },
    /// The principal's settings: everything swallowed; an error is our fault.
    Principal,
    /// A transaction command of our own: everything swallowed; an error is our fault.
    Own,
    /// An output setting: everything swallowed; an error is the caller's.
    Setting,
    /// CloseComplete of a statement, swallowed.
    Close,
    /// CloseComplete of a portal, swallowed. It is gone after its transaction anyway.
    ClosePortal,
    /// Nothing from the database: everything before it was carried out.
    Mark(u64),
    /// Nothing from the database: this request, which is answered here, was carried out.
    Done(usize),
    /// ReadyForQuery: never passed on, the session writes its own.
    Sync,
}

/// A request under way: counts for the audit's outcome and for the limits.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Frames that come as rows and are none (a header of COPY).
    pub(super) no_rows: u64,
    /// Rows passed on.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of them came.
    pub first_row: Option<Instant>,
    /// Whether it came to an end without an error.
    pub complete: bool,
}

/// The answers expected for what has been sent or is about to be.
#[derive(Debug, Default)]
pub struct Script {
    pub(super) steps: VecDeque<Step>,
    pub(super) requests: Vec<Request>,
    /// The last mark that was reached.
    reached: u64,
    marks: u64,
}

impl Script {
    /// Puts an answer of our own in its place among the database's.
    pub fn local(&mut self, bytes: Bytes) {
        self.steps.push_back(Step::Local(bytes));
    }

    /// Opens a request; its index is used with [`super::Connection::execute`].
    pub fn open_request(&mut self) -> usize {
        self.requests.push(Request::default());
        self.requests.len() - 1
    }

    /// This request's answer starts, or ends, with a frame that looks like a row and is none.
    pub fn expect_header(&mut self, request: usize) {
        if let Some(request) = self.requests.get_mut(request) {
            request.no_rows = 1;
        }
    }

    /// Notes this place in the script: see [`Script::reached`].
    pub fn mark(&mut self) -> u64 {
        self.marks += 1;
        self.steps.push_back(Step::Mark(self.marks));
        self.marks
    }

    /// Whether everything up to a mark was carried out.
    pub fn reached(&self, mark: u64) -> bool {
        mark <= self.reached
    }

    /// A request was answered by us, once everything before this is carried out.
    pub fn complete_request(&mut self, request: usize) {
        self.steps.push_back(Step::Done(request));
    }

    /// Whether every request so far has come to an end without an error.
    pub fn all_complete(&self) -> bool {
        self.requests.iter().all(|request| request.complete)
    }

    /// Expects nothing any more.
    pub fn clear(&mut self) {
        self.steps.clear();
    }

    /// How every request of the script went; empties the list.
    pub fn take_requests(&mut self) -> impl Iterator<Item = Request> {
        self.requests.drain(..)
    }

    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many answers are expected.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Moves leading answers of our own into `out`, where nothing from the database comes first.
    #[inline]
    pub(super) fn drain_local(&mut self, out: &mut Vec<u8>, mute: bool) {
        while let Some(Step::Local(_) | Step::Mark(_) | Step::Done(_)) = self.steps.front() {
            self.take_local(out, mute);
        }
    }

    fn take_local(&mut self, out: &mut Vec<u8>, mute: bool) {
        match self.steps.pop_front() {
            Some(_) if mute => {}
            Some(Step::Local(bytes)) => out.extend_from_slice(&bytes),
            Some(Step::Mark(mark)) => self.reached = mark,
            Some(Step::Done(request)) => {
                if let Some(request) = self.requests.get_mut(request) {
                    request.complete = true;
                }
            }
            Some(_) | None => {}
        }
    }

    /// For a script that holds answers of our own only: moves them all into `out`.
    pub fn drain_into(&mut self, out: &mut Vec<u8>) {
        self.drain_local(out, false);
    }
}
