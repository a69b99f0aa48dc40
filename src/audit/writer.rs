//! The writer: what is queued goes out in one write, and who waits is told.
//!
//! A caller whose line has to be in the sink now writes what is queued itself if it can do so at once
//! (group commit without a change of threads); the writer's own thread writes what nobody is waiting for, and everything
//! when the sink is not a plain file, is busy, or was slow: a caller never blocks behind another one, and a sink that
//! hangs holds up one worker thread at most.

use std::collections::VecDeque;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a line that nobody waits for may stay in the queue.
const LINGER: Duration = Duration::from_millis(10);
/// A write that took longer shows a sink that callers had better not write to themselves.
const SLOW: Duration = Duration::from_millis(5);
/// How often the file's name is looked at: a line written so shortly after a rotation went to the file
/// it would have gone to shortly before.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Failed writes remembered, for those that have not asked yet.
const FAILURES_MAX: usize = 64;

/// A line's number in the order they were queued.
pub(super) type Ticket = u64;

/// Where lines go.
pub(super) enum Sink {
    /// A file that may be rotated under us.
    File {
        path: PathBuf,
        file: File,
        /// Device and inode of the file that is open.
        identity: (u64, u64),
    },
    /// Anything else.
    Other(Box<dyn Write + Send>),
}

impl Sink {
    pub(super) fn file(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self::File {
            path: path.to_owned(),
            file,
            identity,
        })
    }

    /// A file of a file system, whose writes go to memory; not a pipe, a terminal or a device.
    fn is_plain_file(&self) -> bool {
        match self {
            Self::File { file, .. } => file.metadata().is_ok_and(|metadata| metadata.is_file()),
            Self::Other(_) => false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(bytes),
            Self::Other(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
        }
    }

    /// Opens the file anew when its name means another file, or none; true if it did.
    fn follow_rotation(&mut self) -> std::io::Result<bool> {
        let Self::File {
            path,
            identity: open,
            ..
        } = self
        else {
            return Ok(false);
        };
        if std::fs::metadata(&*path).is_ok_and(|named| identity(&named) == *open) {
            return Ok(false);
        }
        *self = Self::file(path)?;
        Ok(true)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The queue and the sink behind it.
pub(super) struct Writer {
    waiting: Mutex<Waiting>,
    /// Rings for the thread.
    bell: Condvar,
    /// Rings after each write, for the callers that wait for the thread ...
    written: Notify,
    /// ... and how many those are.
    callers: AtomicUsize,
    output: Mutex<Output>,
    queue_max: usize,
    /// Whether callers may write themselves.
    here: bool,
    /// Whether the last write was quick.
    quick: AtomicBool,
    /// Lines that could not be written or did not fit the queue.
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines.
    bytes: Vec<u8>,
    /// How many.
    lines: usize,
    /// The last line queued.
    queued: Ticket,
    /// The last line of the last write.
    tried: Ticket,
    /// The first and last lines of writes that failed, in order.
    failed: VecDeque<(Ticket, Ticket, ErrorKind)>,
    /// Up to here failures are not remembered: those lines count as failed.
    forgotten: Ticket,
    /// The thread sleeps until there is a line.
    idle: bool,
    /// Somebody waits for the thread.
    urgent: bool,
    /// No line will come any more.
    closed: bool,
}

impl Waiting {
    fn tried(&mut self, last: Ticket, result: Result<(), ErrorKind>) {
        let first = std::mem::replace(&mut self.tried, last) + 1;
        if let Err(kind) = result {
            self.failed.push_back((first, last, kind));
            if self.failed.len() > FAILURES_MAX
                && let Some((_, last, _)) = self.failed.pop_front()
            {
                self.forgotten = last;
            }
        }
    }

    fn result(&self, ticket: Ticket) -> Option<Result<(), ErrorKind>> {
        if ticket > self.tried {
            return None;
        }
        if ticket <= self.forgotten {
            return Some(Err(ErrorKind::Other));
        }
        let of_it =
            |(first, last, _): &&(Ticket, Ticket, ErrorKind)| (first..=last).contains(&&ticket);
        let failure = self.failed.iter().find(of_it);
        Some(failure.map_or(Ok(()), |(_, _, kind)| Err(*kind)))
    }
}

struct Output {
    sink: Sink,
    /// When the file's name was looked at last.
    looked: Instant,
    /// A write that failed half-way left the start of a line behind.
    torn: bool,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(sink: Sink, queue_max: usize) -> Self {
        // With one processor the thread that waits and the thread that writes are in each other's way anyway.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            here: threads > 1 && sink.is_plain_file(),
            waiting: Mutex::default(),
            bell: Condvar::new(),
            written: Notify::new(),
            callers: AtomicUsize::new(0),
            output: Mutex::new(Output {
                sink,
                looked: Instant::now(),
                torn: false,
                bytes: Vec::new(),
            }),
            queue_max: queue_max.max(1),
            quick: AtomicBool::new(true),
            lost: AtomicU64::new(0),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many lines may wait.
    pub(super) fn queue_max(&self) -> usize {
        self.queue_max
    }

    /// How many lines wait.
    pub(super) fn queued(&self) -> usize {
        self.waiting().lines
    }

    /// The line queued last.
    pub(super) fn last(&self) -> Ticket {
        self.waiting().queued
    }

    /// Lines that could not be written or did not fit the queue.
    pub(super) fn lost(&self) -> &AtomicU64 {
        &self.lost
    }

    /// Queues a line; `None` when the queue is full or closed.
    pub(super) fn push(&self, line: &[u8]) -> Option<Ticket> {
        let mut waiting = self.waiting();
        if waiting.closed || waiting.lines >= self.queue_max {
            return None;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        waiting.queued += 1;
        let ticket = waiting.queued;
        let idle = std::mem::replace(&mut waiting.idle, false);
        // A long pipeline queues many lines before it waits for the first.
        let filling = !waiting.urgent && waiting.lines > self.queue_max / 2;
        waiting.urgent |= filling;
        drop(waiting);
        if idle || filling {
            self.bell.notify_one();
        }
        Some(ticket)
    }

    /// How a line's write went, if it was tried.
    pub(super) fn result(&self, ticket: Ticket) -> Option<Result<(), ErrorKind>> {
        self.waiting().result(ticket)
    }

    /// Writes what is queued, if that can be done at once.
    pub(super) fn write_here(&self) {
        if self.here
            && self.quick.load(Ordering::Relaxed)
            && let Ok(mut output) = self.output.try_lock()
        {
            self.write(&mut output);
        }
    }

    /// Has the thread write what is queued, and waits for this line.
    pub(super) async fn wait(&self, ticket: Ticket) -> Result<(), ErrorKind> {
        let _waits = Waits::new(&self.callers);
        self.waiting().urgent = true;
        self.bell.notify_one();
        loop {
            let mut written = pin!(self.written.notified());
            // From here on no ring is missed.
            written.as_mut().enable();
            if let Some(result) = self.result(ticket) {
                return result;
            }
            written.await;
        }
    }

    /// What is queued is still written; then the thread ends.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.bell.notify_one();
    }

    /// The thread: runs until closed.
    pub(super) fn run(&self) {
        let wait = |waiting, limit| {
            let asleep = |waiting: &mut Waiting| !waiting.urgent && !waiting.closed;
            let woken = self.bell.wait_timeout_while(waiting, limit, asleep);
            woken.unwrap_or_else(PoisonError::into_inner).0
        };
        loop {
            let mut waiting = self.waiting();
            while waiting.lines == 0 && !waiting.closed {
                waiting.idle = true;
                waiting.urgent = false;
                waiting = self
                    .bell
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            waiting.idle = false;
            if waiting.lines == 0 {
                return;
            }
            waiting = wait(waiting, LINGER);
            waiting.urgent = false;
            drop(waiting);
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            self.write(&mut output);
        }
    }

    /// One write of what is queued, in its order: whoever holds the sink takes from the queue.
    fn write(&self, output: &mut Output) {
        let Output {
            sink,
            looked,
            torn,
            bytes,
        } = output;
        let mut waiting = self.waiting();
        let lines = std::mem::take(&mut waiting.lines);
        if lines == 0 {
            return;
        }
        bytes.clear();
        std::mem::swap(bytes, &mut waiting.bytes);
        let last = waiting.queued;
        drop(waiting);
        let started = Instant::now();
        let mut rotated = Ok(false);
        if *torn || started.duration_since(*looked) >= LOOK_EVERY {
            rotated = sink.follow_rotation();
            *looked = started;
        }
        if *torn && !matches!(rotated, Ok(true)) {
            bytes.insert(0, b'\n');
        }
        let result = rotated
            .and_then(|_| sink.write(bytes))
            .map_err(|error| error.kind());
        self.quick
            .store(started.elapsed() < SLOW, Ordering::Relaxed);
        if let Err(kind) = result {
            if !*torn {
                tracing::error!(%kind, "the audit cannot be written");
            }
            self.lost.fetch_add(lines as u64, Ordering::Relaxed);
        } else if *torn {
            tracing::info!("the audit can be written again");
        }
        *torn = result.is_err();
        self.waiting().tried(last, result);
        // A caller counts itself before it looks whether its line was tried.
        if self.callers.load(Ordering::SeqCst) > 0 {
            self.written.notify_waiters();
        }
        bytes.shrink_to(1 << 20);
    }
}

/// A caller that waits for the thread.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(callers: &'a AtomicUsize) -> Self {
        callers.fetch_add(1, Ordering::SeqCst);
        Self(callers)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_learns_how_its_own_write_went() {
        let mut waiting = Waiting::default();
        waiting.tried(3, Ok(()));
        waiting.tried(5, Err(ErrorKind::StorageFull));
        waiting.tried(6, Ok(()));
        let full = Some(Err(ErrorKind::StorageFull));
        let expected = [Some(Ok(())), Some(Ok(())), full, full, Some(Ok(())), None];
        let results: Vec<_> = (2..=7).map(|ticket| waiting.result(ticket)).collect();
        assert_eq!(results, expected);
    }

    #[test]
    fn what_is_forgotten_counts_as_failed() {
        let mut waiting = Waiting::default();
        for line in 1..=u64::try_from(FAILURES_MAX).unwrap() + 1 {
            waiting.tried(2 * line - 1, Ok(()));
            waiting.tried(2 * line, Err(ErrorKind::StorageFull));
        }
        assert_eq!(waiting.result(1), Some(Err(ErrorKind::Other)));
        assert_eq!(waiting.result(2), Some(Err(ErrorKind::Other)));
        assert_eq!(waiting.result(3), Some(Ok(())));
        assert_eq!(waiting.result(4), Some(Err(ErrorKind::StorageFull)));
    }
}
