//! A bounded pool of logged-in connections. A [`Lease`] gives its connection back when dropped, if the
//! connection is clean; otherwise it is closed, and its place is free when the database has let go of it.
//!
//! A connection's readiness is reported to the runtime it was opened on, so a lease prefers connections of
//! its own: one of another works as well, but every answer on it wakes two threads.

use super::cancel::CancelSlot;
use super::connection::Connection;
use super::login::Target;
use crate::error::{Fault, FaultKind};
use arc_swap::ArcSwapOption;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::sync::{Semaphore, TryAcquireError};

/// How large the pool is and how long it lets one wait.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Most connections.
    pub size: usize,
    /// How long a request waits for one.
    pub wait: Duration,
    /// Prepared statements kept on each.
    pub prepared_max: usize,
}

/// A pool of connections to one database as one login.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    target: Arc<Target>,
    size: usize,
    wait: Duration,
    prepared_max: usize,
    /// One permit for each connection that is not leased, being opened or being closed.
    permits: Semaphore,
    /// Callers that wait for one.
    waiting: AtomicUsize,
    places: Mutex<Places>,
    /// ParameterStatus of the newest connection: the database may have been upgraded meanwhile.
    parameters: ArcSwapOption<Vec<(String, String)>>,
}

/// INVARIANT: `idle.len() <= taken <= size`.
#[derive(Default)]
struct Places {
    /// Free connections and the runtimes they were opened on, in the order they were given back.
    idle: Vec<(Id, Box<Connection>)>,
    /// Connections there are: free, leased, being opened, being closed.
    taken: usize,
}

/// What there is for somebody with a permit.
enum Found {
    Idle(Id, Box<Connection>),
    /// A place for a new connection.
    Place,
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free connection of this runtime, the one used last (it has the query's plan and warm caches); else a
    /// place for a new one; else a free connection of another runtime. Whoever asks holds a permit, so
    /// one of them is there.
    fn find(&self, runtime: Id) -> Found {
        let mut places = self.places();
        let own = places.idle.iter().rposition(|(home, _)| *home == runtime);
        if own.is_none() && places.taken < self.size {
            places.taken += 1;
            return Found::Place;
        }
        let last = places.idle.len().checked_sub(1);
        match own.or(last).map(|at| places.idle.remove(at)) {
            Some((home, connection)) => Found::Idle(home, connection),
            None => {
                places.taken += 1;
                Found::Place
            }
        }
    }
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Most connections.
    pub size: usize,
    /// Connections nobody uses.
    pub idle: usize,
    /// Connections somebody uses, and those being opened and closed.
    pub in_use: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

/// Counts one that waits, also one whose future is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place in the pool and its permit; both free when dropped.
struct Place {
    shared: Arc<Shared>,
    /// The connection goes on without this value.
    kept: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.shared.places().taken -= 1;
        }
        self.shared.permits.add_permits(1);
    }
}

impl Pool {
    /// A pool; connects when first asked.
    pub fn new(target: Target, options: &PoolOptions) -> Self {
        let size = options.size.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                target: Arc::new(target),
                size,
                wait: options.wait,
                prepared_max: options.prepared_max,
                permits: Semaphore::new(size),
                waiting: AtomicUsize::new(0),
                places: Mutex::default(),
                parameters: ArcSwapOption::empty(),
            }),
        }
    }

    /// A connection for one caller, which `slot` can cancel from now on.
    ///
    /// # Errors
    /// [`FaultKind::PoolExhausted`] when none became free in time, [`FaultKind::UpstreamLost`] when the
    /// database cannot be reached.
    pub async fn lease(&self, slot: &CancelSlot) -> Result<Lease, Fault> {
        self.permit().await?;
        let mut place = Place {
            shared: Arc::clone(&self.shared),
            // Until there is one, only the permit is held.
            kept: true,
        };
        let runtime = Handle::current().id();
        loop {
            let (home, connection) = match self.shared.find(runtime) {
                Found::Idle(home, mut connection) => {
                    place.kept = false;
                    if !connection.reusable().await {
                        drop(connection);
                        self.shared.places().taken -= 1;
                        place.kept = true;
                        continue;
                    }
                    (home, connection)
                }
                Found::Place => {
                    place.kept = false;
                    (runtime, Box::new(Box::pin(self.open()).await?))
                }
            };
            slot.occupy(connection.target(), connection.key()).await;
            return Ok(Lease {
                held: Some((connection, home, place)),
            });
        }
    }

    /// Takes a permit; [`Place`] gives it back.
    async fn permit(&self) -> Result<(), Fault> {
        let exhausted = |cause| Fault::because(FaultKind::PoolExhausted, cause);
        let permits = &self.shared.permits;
        let permit = match permits.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(exhausted("the pool is closed")),
            Err(TryAcquireError::NoPermits) => {
                let _waits = Waits::new(&self.shared.waiting);
                match tokio::time::timeout(self.shared.wait, permits.acquire()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(exhausted("the pool is closed")),
                    Err(_) => return Err(exhausted("no connection became free in time")),
                }
            }
        };
        permit.forget();
        Ok(())
    }

    /// How full it is now.
    pub fn usage(&self) -> Usage {
        let (idle, taken) = {
            let places = self.shared.places();
            (places.idle.len(), places.taken)
        };
        Usage {
            size: self.shared.size,
            idle,
            in_use: taken - idle,
            waiting: self.shared.waiting.load(Ordering::Relaxed),
        }
    }

    async fn open(&self) -> Result<Connection, Fault> {
        let Shared {
            target,
            prepared_max,
            parameters,
            ..
        } = &*self.shared;
        let connection = Connection::open(Arc::clone(target), *prepared_max)
            .await
            .map_err(|error| Fault::new(FaultKind::UpstreamLost, error))?;
        parameters.store(Some(Arc::new(connection.parameters().to_vec())));
        Ok(connection)
    }

    /// The database's ParameterStatus, as of the connection opened last.
    ///
    /// # Errors
    /// As [`Pool::lease`], when there has been no connection yet.
    pub async fn parameters(&self) -> Result<Arc<Vec<(String, String)>>, Fault> {
        if let Some(parameters) = self.shared.parameters.load_full() {
            return Ok(parameters);
        }
        let lease = self.lease(&CancelSlot::default()).await?;
        Ok(Arc::new(lease.parameters().to_vec()))
    }
}

/// A connection, held by one session.
pub struct Lease {
    /// INVARIANT: `Some` until dropped.
    held: Option<(Box<Connection>, Id, Place)>,
}

#[allow(clippy::expect_used, reason = "by INVARIANT on Lease::held")]
impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.held.as_ref().expect("held until dropped").0
    }
}

#[allow(clippy::expect_used, reason = "by INVARIANT on Lease::held")]
impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.held.as_mut().expect("held until dropped").0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((connection, home, mut place)) = self.held.take() else {
            return;
        };
        if connection.clean() {
            place.kept = true;
            let shared = Arc::clone(&place.shared);
            shared.places().idle.push((home, connection));
        } else if let Ok(runtime) = Handle::try_current() {
            // The place stays taken until the database has ended the connection, too.
            runtime.spawn(async move {
                connection.close().await;
                drop(place);
            });
        }
    }
}
