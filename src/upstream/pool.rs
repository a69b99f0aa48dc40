//! A bounded pool of logged-in connections. A [`Lease`] gives its connection back when dropped, if the
//! connection is clean; otherwise it closes it.

use super::cancel::CancelSlot;
use super::connection::Connection;
use super::login::Target;
use crate::error::{Fault, FaultKind};
use arc_swap::ArcSwapOption;
use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

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

struct Manager {
    target: Arc<Target>,
    prepared_max: usize,
    /// ParameterStatus of the newest connection: the database may have been upgraded meanwhile.
    parameters: ArcSwapOption<Vec<(String, String)>>,
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = std::io::Error;

    async fn create(&self) -> Result<Connection, std::io::Error> {
        let connection = Connection::open(Arc::clone(&self.target), self.prepared_max).await?;
        self.parameters
            .store(Some(Arc::new(connection.parameters().to_vec())));
        Ok(connection)
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _metrics: &Metrics,
    ) -> RecycleResult<std::io::Error> {
        if connection.reusable() {
            Ok(())
        } else {
            Err(RecycleError::message("closed or not idle"))
        }
    }
}

/// A pool of connections to one database as one login.
#[derive(Clone)]
pub struct Pool {
    inner: managed::Pool<Manager>,
}

impl Pool {
    /// A pool; connects when first asked.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] if the options make no sense.
    pub fn new(target: Target, options: &PoolOptions) -> Result<Self, Fault> {
        let manager = Manager {
            target: Arc::new(target),
            prepared_max: options.prepared_max,
            parameters: ArcSwapOption::empty(),
        };
        let inner = managed::Pool::builder(manager)
            .max_size(options.size.max(1))
            .wait_timeout(Some(options.wait))
            .runtime(deadpool::Runtime::Tokio1)
            // The one used last has the query's plan and warm caches.
            .queue_mode(managed::QueueMode::Lifo)
            .build()
            .map_err(|error| Fault::new(FaultKind::Internal, error))?;
        Ok(Self { inner })
    }

    /// A connection for one caller, which `slot` can cancel from now on.
    ///
    /// # Errors
    /// [`FaultKind::PoolExhausted`] when none became free in time, [`FaultKind::UpstreamLost`] when the
    /// database cannot be reached.
    pub async fn lease(&self, slot: &CancelSlot) -> Result<Lease, Fault> {
        let object = self.inner.get().await.map_err(|error| match error {
            managed::PoolError::Timeout(managed::TimeoutType::Wait) => {
                Fault::new(FaultKind::PoolExhausted, error)
            }
            error => Fault::new(FaultKind::UpstreamLost, error),
        })?;
        slot.occupy(object.target(), object.key()).await;
        Ok(Lease {
            object: Some(object),
        })
    }

    /// The database's ParameterStatus, as of the connection opened last.
    ///
    /// # Errors
    /// As [`Pool::lease`], when there has been no connection yet.
    pub async fn parameters(&self) -> Result<Arc<Vec<(String, String)>>, Fault> {
        if let Some(parameters) = self.inner.manager().parameters.load_full() {
            return Ok(parameters);
        }
        let lease = self.lease(&CancelSlot::default()).await?;
        Ok(Arc::new(lease.parameters().to_vec()))
    }
}

/// A connection, held by one session.
pub struct Lease {
    /// INVARIANT: `Some` until dropped.
    object: Option<Object<Manager>>,
}

#[allow(clippy::expect_used, reason = "by INVARIANT on Lease::object")]
impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.object.as_ref().expect("held until dropped")
    }
}

#[allow(clippy::expect_used, reason = "by INVARIANT on Lease::object")]
impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        self.object.as_mut().expect("held until dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && !object.clean()
        {
            let connection = Object::take(object);
            connection.abandon();
        }
    }
}
