//! Enough stack for a tree as deep as its chain of operators is long.
//!
//! libpg_query measures the calling thread's own stack (`pthread_getattr_np`) and falls back to 100 kB on a
//! stack made any other way, such as a coroutine's; so this is a thread's stack, not a switched one.
//! `rowgate` starts its worker threads with [`STACK_BYTES`], where this is a plain call.

use std::panic::resume_unwind;

/// Stack of a thread that reads SQL, in bytes; touched only as deep as the query is.
pub const STACK_BYTES: usize = 64 * 1024 * 1024;

/// What must be left of it to read SQL right here.
const LEFT_BYTES: usize = 24 * 1024 * 1024;

/// Runs `work` here if enough stack is left, else on a thread made for it.
///
/// # Errors
/// `None` when no thread can be made.
pub(super) fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    if stacker::remaining_stack().is_some_and(|left| left >= LEFT_BYTES) {
        return Some(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .ok()?;
        // A panic is the caller's to handle, on whichever thread it happened.
        Some(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
