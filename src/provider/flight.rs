//! Single flight without staleness: a question may share an answer only if the asking began after
//! the question arrived.
//!
//! While one flight is under way, whoever arrives waits for the next, and all who wait share it. So a
//! role taken away before a statement arrived is gone for that statement, and a crowd asking about
//! one user costs two questions at a time, not a crowd's worth.

use super::{Answer, ProviderError};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Landed = Option<(u64, Result<Answer, ProviderError>)>;

#[derive(Default)]
struct Runway {
    /// Number of the last flight that took off.
    started: AtomicU64,
    /// Held by the flight under way; holds the last one's answer.
    landed: tokio::sync::Mutex<Landed>,
}

/// Flights by key.
#[derive(Default)]
pub(super) struct Flights {
    runways: Mutex<HashMap<Arc<str>, Arc<Runway>>>,
}

impl Flights {
    /// Asks, or shares the answer of a flight that took off after this call.
    pub(super) async fn share<F>(&self, key: &str, ask: F) -> Result<Answer, ProviderError>
    where
        F: Future<Output = Result<Answer, ProviderError>>,
    {
        let guest = Guest::new(self, key);
        let arrived = guest.runway.started.load(Ordering::SeqCst);
        let mut landed = guest.runway.landed.lock().await;
        if let Some((number, answer)) = &*landed
            && *number > arrived
        {
            return answer.clone();
        }
        let number = guest.runway.started.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = ask.await;
        *landed = Some((number, answer.clone()));
        answer
    }
}

/// Takes the runway down when its last guest leaves, also one whose future is dropped.
struct Guest<'a> {
    flights: &'a Flights,
    key: &'a str,
    runway: Arc<Runway>,
}

impl<'a> Guest<'a> {
    fn new(flights: &'a Flights, key: &'a str) -> Self {
        let mut runways = flights
            .runways
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let runway = Arc::clone(runways.entry(key.into()).or_default());
        Self {
            flights,
            key,
            runway,
        }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let mut runways = self
            .flights
            .runways
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Two: the map's and this guest's. New guests need the lock we hold.
        if Arc::strong_count(&self.runway) <= 2 {
            runways.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Notify;

    fn role(name: &str) -> Answer {
        Answer {
            roles: BTreeSet::from([name.to_owned()]),
            ..Answer::default()
        }
    }

    #[tokio::test]
    async fn a_late_question_never_gets_an_answer_that_was_under_way() {
        let flights = Arc::new(Flights::default());
        let key: Arc<str> = "bob".into();
        let (go, began, asked) = (
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
            Arc::new(AtomicUsize::new(0)),
        );
        let first = tokio::spawn({
            let (flights, key, go, began) =
                (flights.clone(), key.clone(), go.clone(), began.clone());
            async move {
                let ask = async {
                    began.notify_one();
                    go.notified().await;
                    Ok(role("before"))
                };
                flights.share(&key, ask).await
            }
        });
        began.notified().await;
        // The role is taken away now; these five arrive after.
        let late: Vec<_> = (0..5)
            .map(|_| {
                let (flights, key, asked) = (flights.clone(), key.clone(), asked.clone());
                tokio::spawn(async move {
                    let ask = async {
                        asked.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok(role("after"))
                    };
                    flights.share(&key, ask).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        go.notify_one();
        assert_eq!(first.await.unwrap(), Ok(role("before")));
        for late in late {
            assert_eq!(late.await.unwrap(), Ok(role("after")));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "they shared one flight");
        assert!(
            flights.runways.lock().unwrap().is_empty(),
            "nothing is kept"
        );
    }

    #[tokio::test]
    async fn a_dropped_flight_blocks_nobody() {
        let flights = Flights::default();
        let key: Arc<str> = "bob".into();
        let stuck = flights.share(&key, std::future::pending());
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(5), stuck)
                .await
                .is_err()
        );
        assert_eq!(
            flights.share(&key, async { Ok(role("x")) }).await,
            Ok(role("x"))
        );
        assert!(flights.runways.lock().unwrap().is_empty());
    }
}
