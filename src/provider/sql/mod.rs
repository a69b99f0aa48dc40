//! The `sql` provider: roles, permissions, attributes and the superuser flag from the customer's own
//! tables, by queries they write. Its own login, its own small pool; read-only, bounded in time and size.

mod asked;
mod text;

pub(super) use text::{bare, cell, cut, failure, garbage, read_only};

use super::flight::Flights;
use super::{Answer, Asking, Hierarchy, Provider, ProviderError};
use crate::config::SqlQueries;
use crate::control::Connector;
use crate::identity::Caller;
use arc_swap::ArcSwapOption;
use asked::{Connection, Failure, Question};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use text::unavailable;
use tokio::sync::Semaphore;

/// What no user id can be, for the question that concerns nobody in particular.
const EVERYBODY: &str = "\0";

/// Asks a database.
pub struct SqlProvider {
    name: String,
    connector: Connector,
    queries: SqlQueries,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    flights: Flights,
    /// The last hierarchy: one that is the same stays the same.
    hierarchy: ArcSwapOption<Hierarchy>,
}

impl SqlProvider {
    /// A provider that connects when it is first asked. `timeout` bounds each answer, waiting and
    /// connecting included.
    pub(crate) fn new(
        name: &str,
        connector: Connector,
        queries: SqlQueries,
        pool_size: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            name: name.to_owned(),
            connector,
            queries,
            timeout,
            permits: Semaphore::new(pool_size),
            idle: Mutex::new(Vec::new()),
            flights: Flights::default(),
            hierarchy: ArcSwapOption::empty(),
        }
    }

    /// Connects and prepares every query once, so that a wrong one is found at start, and
    /// so is a circle of roles.
    ///
    /// # Errors
    /// Why the database cannot be asked.
    pub async fn probe(&self) -> Result<(), ProviderError> {
        self.bounded(async {
            let connection = self.connection().await?;
            self.give_back(connection);
            Ok(())
        })
        .await?;
        self.hierarchy().await.map(drop)
    }

    /// Asks the database nothing, and waits for its answer.
    async fn asks_nothing(&self) -> Result<(), ProviderError> {
        self.bounded(async {
            let connection = match self.take_idle() {
                Some(kept) if kept.client.simple_query("").await.is_ok() => kept,
                _ => self.open().await?,
            };
            self.give_back(connection);
            Ok(())
        })
        .await
    }

    async fn bounded<T>(
        &self,
        ask: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        tokio::time::timeout(self.timeout, async {
            let _permit = self
                .permits
                .acquire()
                .await
                .map_err(|_| unavailable("the pool is closed"))?;
            ask.await
        })
        .await
        .unwrap_or(Err(ProviderError::Timeout))
    }

    /// Puts a question to a connection; a kept one that turns out to be dead is replaced once. A
    /// connection goes back only after a good answer, so nothing half-read is ever used again.
    async fn ask(&self, question: Question<'_>) -> Result<Answer, ProviderError> {
        if let Some(kept) = self.take_idle() {
            match kept.ask(question).await {
                Ok(answer) => {
                    self.give_back(kept);
                    return Ok(answer);
                }
                Err(Failure::Lost) => {}
                Err(Failure::Answer(error)) => return Err(error),
            }
        }
        let connection = self.open().await?;
        let answer = connection
            .ask(question)
            .await
            .map_err(ProviderError::from)?;
        self.give_back(connection);
        Ok(answer)
    }

    async fn connection(&self) -> Result<Connection, ProviderError> {
        match self.take_idle() {
            Some(connection) => Ok(connection),
            None => self.open().await,
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.client.is_closed());
        idle.pop()
    }

    fn give_back(&self, connection: Connection) {
        // Never more than there are permits: each connection in use holds one.
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }

    async fn open(&self) -> Result<Connection, ProviderError> {
        let client = read_only(&self.connector, self.timeout).await?;
        Connection::prepare(client, &self.queries).await
    }
}

impl Provider for SqlProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn by_user_id(&self) -> bool {
        true
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(self.asks_nothing())
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        Box::pin(async move {
            if caller.user_id().contains('\0') {
                return Ok(Answer::default());
            }
            let asking = self.bounded(self.ask(Question::User(caller.user_id())));
            self.flights.share(caller.user_id(), asking).await
        })
    }

    fn role_permissions<'a>(&'a self, roles: &'a BTreeSet<String>) -> Asking<'a, BTreeSet<String>> {
        Box::pin(async move {
            if self.queries.role_permissions.is_none() {
                return Ok(BTreeSet::new());
            }
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            let answer = self.bounded(self.ask(Question::Roles(&roles))).await?;
            Ok(answer.permissions)
        })
    }

    fn hierarchy(&self) -> Asking<'_, Option<Arc<Hierarchy>>> {
        Box::pin(async move {
            let SqlQueries {
                inherited_roles,
                inherited_permissions,
                ..
            } = &self.queries;
            if inherited_roles.is_none() && inherited_permissions.is_none() {
                return Ok(None);
            }
            let asking = self.bounded(self.ask(Question::Hierarchy));
            let found = self.flights.share(EVERYBODY, asking).await?.hierarchy;
            let before = self.hierarchy.load_full();
            if before.is_some() && before == found {
                return Ok(before);
            }
            self.hierarchy.store(found.clone());
            Ok(found)
        })
    }
}
