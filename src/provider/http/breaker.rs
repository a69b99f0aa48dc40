//! A circuit breaker: after some failures in a row nobody asks for a moment, then one does, and the answer
//! to that one decides.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    open: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Everybody asks; so many failed in a row.
    Closed(u32),
    /// Nobody asks until then.
    Open(Instant),
    /// One is asking; nobody else does.
    Trying,
}

/// The right to ask once. Dropped without [`Trial::succeeded`] it failed.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    breaker: &'a Breaker,
    now: Instant,
    began: Instant,
    succeeded: bool,
}

impl Breaker {
    /// Opens for `open` after `failures_max` failures in a row.
    pub(super) fn new(failures_max: u32, open: Duration) -> Self {
        Self {
            failures_max,
            open,
            state: Mutex::new(State::Closed(0)),
        }
    }

    /// `None` when nobody is to ask now.
    pub(super) fn enter(&self, now: Instant) -> Option<Trial<'_>> {
        let mut state = self.state();
        match *state {
            State::Closed(_) => {}
            State::Open(until) if now >= until => *state = State::Trying,
            State::Open(_) | State::Trying => return None,
        }
        Some(Trial {
            breaker: self,
            now,
            began: Instant::now(),
            succeeded: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial<'_> {
    pub(super) fn succeeded(mut self) {
        self.succeeded = true;
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        let until = self.now + self.began.elapsed() + self.breaker.open;
        *state = match *state {
            _ if self.succeeded => State::Closed(0),
            State::Closed(failures) if failures + 1 < self.breaker.failures_max => {
                State::Closed(failures + 1)
            }
            State::Closed(_) | State::Trying => State::Open(until),
            // One that began before it opened; that it failed says nothing new.
            State::Open(until) => State::Open(until),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(10);

    fn fail(breaker: &Breaker, now: Instant) {
        drop(breaker.enter(now).unwrap());
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_one_good_trial() {
        let (breaker, start) = (Breaker::new(3, OPEN), Instant::now());
        fail(&breaker, start);
        fail(&breaker, start);
        breaker.enter(start).unwrap().succeeded();
        fail(&breaker, start);
        fail(&breaker, start);
        fail(&breaker, start);
        assert!(breaker.enter(start).is_none(), "three in a row");
        assert!(breaker.enter(start + OPEN / 2).is_none());
        let later = start + OPEN * 2;
        let trial = breaker.enter(later).unwrap();
        assert!(breaker.enter(later).is_none(), "one at a time");
        drop(trial);
        assert!(breaker.enter(later).is_none(), "the one failed");
        breaker.enter(later + OPEN * 2).unwrap().succeeded();
        fail(&breaker, later);
        assert!(breaker.enter(later).is_some(), "closed, counting anew");
    }

    #[test]
    fn those_under_way_when_it_opens_do_not_prolong_it() {
        let (breaker, start) = (Breaker::new(1, OPEN), Instant::now());
        let (first, second) = (breaker.enter(start).unwrap(), breaker.enter(start).unwrap());
        drop(first);
        std::thread::sleep(Duration::from_millis(20));
        drop(second);
        assert!(
            breaker
                .enter(start + OPEN + Duration::from_millis(15))
                .is_some()
        );
    }
}
