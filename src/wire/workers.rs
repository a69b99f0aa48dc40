//! The threads that serve clients: each runs its sessions alone, on a runtime of its own.
//!
//! A session stays on its thread, and so do the connections it opens to the database ([`crate::upstream::Pool`]
//! prefers them): what becomes ready wakes nobody else, and everything that became ready at once is served
//! in one turn. Texts that have to be read and verified are not read here ([`crate::gateway`]), so no session
//! waits for another one's.

use crate::gateway::STACK_BYTES;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads; they end with the value.
pub(super) struct Workers {
    all: Vec<Worker>,
}

struct Worker {
    runtime: Handle,
    /// Sessions on it.
    sessions: Arc<AtomicUsize>,
    /// Dropped with the worker, which ends the thread.
    _stop: oneshot::Sender<()>,
}

/// A place on one of the threads, given up when dropped.
pub(super) struct Seat {
    pub(super) runtime: Handle,
    sessions: Arc<AtomicUsize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// So many threads, or with 0 half as many as there are processors: the other half is for reading SQL, and
    /// for whatever else runs on the machine.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match threads {
            0 => processors.div_ceil(2),
            threads => threads,
        };
        let all = (0..threads)
            .map(|number| Worker::start(number, processors))
            .collect::<std::io::Result<_>>()?;
        Ok(Self { all })
    }

    /// A place on the thread with the fewest sessions.
    pub(super) fn seat(&self) -> Option<Seat> {
        let sessions = |worker: &&Worker| worker.sessions.load(Ordering::Relaxed);
        let worker = self.all.iter().min_by_key(sessions)?;
        worker.sessions.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            runtime: worker.runtime.clone(),
            sessions: Arc::clone(&worker.sessions),
        })
    }
}

impl Worker {
    fn start(number: usize, readers: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread()
            // Not signals and child processes, which would be looked after in each turn.
            .enable_io()
            .enable_time()
            // Its blocking threads read SQL.
            .thread_name(format!("sql-{number}"))
            .thread_stack_size(STACK_BYTES)
            .max_blocking_threads(readers)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // Nobody sends anything: it ends when the sender is dropped.
                let _dropped = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            runtime: handle,
            sessions: Arc::default(),
            _stop: stop,
        })
    }
}

/// Runs a future on its seat's thread.
pub(super) async fn seated<T>(seat: Seat, work: impl Future<Output = T>) -> T {
    let result = work.await;
    drop(seat);
    result
}
