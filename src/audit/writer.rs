//! The writer: what is queued goes out in one write, and who waits is told.
//!
//! A caller whose line has to be in the sink now writes what is queued itself if it can do so at once
//! (group commit without a change of threads); the writer's own thread writes what nobody is waiting for, and everything
//! when the sink is not a plain file, is busy, or was slow: a caller never blocks behind another one, and a sink that
//! hangs holds up one worker thread at most.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most lines in one write.
const BATCH_MAX: usize = 1_024;
/// How long a line that nobody waits for may stay in the queue.
const LINGER: Duration = Duration::from_millis(10);
/// A write that took longer shows a sink that callers had better not write to themselves.
const SLOW: Duration = Duration::from_millis(5);

/// One line, and who waits for it.
pub(super) struct Entry {
    pub(super) line: Vec<u8>,
    pub(super) done: Option<oneshot::Sender<Result<(), ErrorKind>>>,
}

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
    entries: Vec<Entry>,
    /// The thread sleeps until there is a line.
    idle: bool,
    /// Somebody waits for the thread.
    urgent: bool,
    /// No line will come any more.
    closed: bool,
}

struct Output {
    sink: Sink,
    /// A write that failed half-way left the start of a line behind.
    torn: bool,
    batch: Vec<Entry>,
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
            output: Mutex::new(Output {
                sink,
                torn: false,
                batch: Vec::new(),
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

    /// How many lines wait.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.waiting().entries.len()
    }

    /// Lines that could not be written or did not fit the queue.
    pub(super) fn lost(&self) -> &AtomicU64 {
        &self.lost
    }

    /// Queues a line; false when the queue is full or closed.
    pub(super) fn push(&self, entry: Entry) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed || waiting.entries.len() >= self.queue_max {
            return false;
        }
        waiting.entries.push(entry);
        let idle = std::mem::replace(&mut waiting.idle, false);
        // A long pipeline queues many lines before it waits for the first.
        let filling = !waiting.urgent && waiting.entries.len() > self.queue_max / 2;
        waiting.urgent |= filling;
        drop(waiting);
        if idle || filling {
            self.bell.notify_one();
        }
        true
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

    /// Has the thread write what is queued.
    pub(super) fn ring(&self) {
        self.waiting().urgent = true;
        self.bell.notify_one();
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
            while waiting.entries.is_empty() && !waiting.closed {
                waiting.idle = true;
                waiting.urgent = false;
                waiting = self
                    .bell
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            waiting.idle = false;
            if waiting.entries.is_empty() {
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
            torn,
            batch,
            bytes,
        } = output;
        let mut waiting = self.waiting();
        let count = waiting.entries.len().min(BATCH_MAX);
        batch.extend(waiting.entries.drain(..count));
        drop(waiting);
        if batch.is_empty() {
            return;
        }
        bytes.clear();
        let started = Instant::now();
        let rotated = sink.follow_rotation();
        if *torn && !matches!(rotated, Ok(true)) {
            bytes.push(b'\n');
        }
        batch
            .iter()
            .for_each(|entry| bytes.extend_from_slice(&entry.line));
        let result = match (rotated, bytes.is_empty()) {
            (Ok(_), true) => Ok(()),
            (Ok(_), false) => sink.write(bytes).map_err(|error| error.kind()),
            (Err(error), _) => Err(error.kind()),
        };
        self.quick
            .store(started.elapsed() < SLOW, Ordering::Relaxed);
        if let Err(kind) = result {
            if !*torn {
                tracing::error!(%kind, "the audit cannot be written");
            }
            let lines = batch.iter().filter(|entry| !entry.line.is_empty()).count();
            self.lost.fetch_add(lines as u64, Ordering::Relaxed);
        } else if *torn {
            tracing::info!("the audit can be written again");
        }
        *torn = result.is_err();
        for entry in batch.drain(..) {
            if let Some(done) = entry.done {
                // Whoever waited may have given up.
                let _gone = done.send(result);
            }
        }
        bytes.shrink_to(1 << 20);
    }
}
