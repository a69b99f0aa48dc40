//! What was read from files: the last good content serves for a while after they have become unusable.

use super::ProviderError;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{Duration, Instant};

/// The last good content, and since when there has been none better.
pub(super) struct LastGood<T> {
    stale_max: Duration,
    state: ArcSwap<State<T>>,
    /// Counts what was taken; see [`super::Provider::generation`].
    taken: AtomicU64,
}

struct State<T> {
    content: Arc<T>,
    /// Since when, and why, the files have been unusable.
    broken: Option<(Instant, String)>,
}

impl<T> LastGood<T> {
    /// Content that may serve for `stale_max` after the files have become unusable.
    pub(super) fn new(content: T, stale_max: Duration) -> Self {
        Self {
            stale_max,
            state: ArcSwap::from_pointee(State {
                content: Arc::new(content),
                broken: None,
            }),
            taken: AtomicU64::new(1),
        }
    }

    /// Takes what was read: as a whole and at once if it is good.
    ///
    /// # Errors
    /// That of `read`; what was good before serves on, for a while.
    pub(super) fn take(&self, read: Result<T, ProviderError>) -> Result<(), ProviderError> {
        let before = self.state.load_full();
        let (content, broken, result) = match read {
            Ok(content) => (Arc::new(content), None, Ok(())),
            Err(error) => {
                let since = before.broken.as_ref().map(|(since, _)| *since);
                let broken = (since.unwrap_or_else(Instant::now), error.to_string());
                (Arc::clone(&before.content), Some(broken), Err(error))
            }
        };
        self.state.store(Arc::new(State { content, broken }));
        self.taken.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// The content.
    ///
    /// # Errors
    /// [`ProviderError::Stale`] when it has not been good for too long.
    pub(super) fn current(&self) -> Result<Arc<T>, ProviderError> {
        let state = self.state.load();
        match &state.broken {
            Some((since, why)) if since.elapsed() >= self.stale_max => {
                Err(ProviderError::Stale(why.clone()))
            }
            _ => Ok(Arc::clone(&state.content)),
        }
    }

    /// Changes with the content. While the files are broken the answer depends on the clock, so it must be asked for
    /// each time.
    pub(super) fn generation(&self) -> Option<u64> {
        let broken = self.state.load().broken.is_some();
        (!broken).then(|| self.taken.load(Ordering::SeqCst))
    }
}
