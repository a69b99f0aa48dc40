//! The sessions that can be cancelled, by what BackendKeyData told their clients.

use super::cancel::CancelSlot;
use crate::metrics::Count;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a cancel request may wait for another one of the same session.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// The list.
#[derive(Default)]
pub struct Registry {
    sessions: Mutex<HashMap<i32, Cancellable>>,
    /// Sessions there have been.
    opened: Count,
}

struct Cancellable {
    secret: Vec<u8>,
    slot: Arc<CancelSlot>,
}

impl Registry {
    /// Makes a session cancellable: a fresh process id, and a secret of `secret_bytes` random bytes.
    pub fn register(&self, secret_bytes: usize) -> Registration<'_> {
        let slot = Arc::new(CancelSlot::default());
        let secret: Vec<u8> = (0..secret_bytes).map(|_| rand::random::<u8>()).collect();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let process = loop {
            let process = rand::random::<i32>() & i32::MAX;
            if process != 0 && !sessions.contains_key(&process) {
                break process;
            }
        };
        let entry = Cancellable {
            secret: secret.clone(),
            slot: Arc::clone(&slot),
        };
        sessions.insert(process, entry);
        self.opened.add();
        Registration {
            registry: self,
            process,
            secret,
            slot,
        }
    }

    /// How many sessions there are, and how many there have been.
    pub fn count(&self) -> (usize, u64) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        (sessions.len(), self.opened.get())
    }

    /// Cancels what the session of this process id runs, if the secret is right. Says nothing either way.
    pub async fn cancel(&self, process: i32, secret: &[u8]) {
        let slot = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions
                .get(&process)
                .filter(|entry| same_secret(&entry.secret, secret))
                .map(|entry| Arc::clone(&entry.slot))
        };
        if let Some(slot) = slot
            && tokio::time::timeout(WAIT_MAX, slot.cancel()).await.is_err()
        {
            tracing::warn!("cancel request given up");
        }
    }
}

/// A session's place in the list; given up when dropped.
pub struct Registration<'a> {
    registry: &'a Registry,
    /// What BackendKeyData calls the process id.
    pub process: i32,
    /// What it calls the secret key.
    pub secret: Vec<u8>,
    /// Where the session's current backend is kept.
    pub slot: Arc<CancelSlot>,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let sessions = self.registry.sessions.lock();
        sessions
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.process);
    }
}

/// Compares without telling by its time where they differ.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret(b"abcd", b"abcd"));
        assert!(!same_secret(b"abcd", b"abce"));
        assert!(!same_secret(b"abcd", b"abc"));
        assert!(!same_secret(b"", b"a"));
    }

    #[test]
    fn a_place_is_given_up() {
        let registry = Registry::default();
        let one = registry.register(4);
        let other = registry.register(32);
        assert_ne!(one.process, other.process);
        assert_eq!((one.secret.len(), other.secret.len()), (4, 32));
        drop(one);
        assert_eq!(registry.sessions.lock().unwrap().len(), 1);
    }
}
