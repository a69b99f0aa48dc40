//! The `sql` provider: roles, permissions, attributes and the superuser flag from the customer's own
//! tables, by queries they write. Its own login, its own small pool; read-only, bounded in time and size.

use super::answer::{ANSWER_ITEMS_MAX, ITEM_BYTES_MAX};
use super::flight::Flights;
use super::{Answer, Asking, Provider, ProviderError};
use crate::config::SqlQueries;
use crate::control::{Connector, causes};
use crate::identity::Caller;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

/// The attribute that holds the groups a user is a member of.
const GROUPS: &str = "groups";

/// Asks a database.
pub struct SqlProvider {
    name: String,
    connector: Connector,
    queries: SqlQueries,
    timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    flights: Flights,
}

struct Connection {
    client: Client,
    roles: Option<Statement>,
    permissions: Option<Statement>,
    attributes: Option<Statement>,
    groups: Option<Statement>,
    superuser: Option<Statement>,
    denied_roles: Option<Statement>,
    denied_permissions: Option<Statement>,
    expires: Option<Statement>,
    role_permissions: Option<Statement>,
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
        }
    }

    /// Connects and prepares every query once, so that a wrong one is found at start.
    ///
    /// # Errors
    /// Why the database cannot be asked.
    pub async fn probe(&self) -> Result<(), ProviderError> {
        self.bounded(async {
            let connection = self.connection().await?;
            self.give_back(connection);
            Ok(())
        })
        .await
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
        let client = self
            .connector
            .connect()
            .await
            .map_err(|error| failure(&error))?;
        let setup = format!(
            "SET default_transaction_read_only = on; SET statement_timeout = {}",
            self.timeout.as_millis()
        );
        client
            .batch_execute(&setup)
            .await
            .map_err(|error| failure(&error))?;
        Connection::prepare(client, &self.queries).await
    }
}

impl Connection {
    /// Prepares every query, all in one round trip.
    async fn prepare(client: Client, queries: &SqlQueries) -> Result<Self, ProviderError> {
        let prepare = |sql: Option<String>, parameter: Type| {
            let client = &client;
            async move {
                match sql {
                    None => Ok(None),
                    Some(sql) => client
                        .prepare_typed(&sql, &[parameter])
                        .await
                        .map(Some)
                        .map_err(|error| failure(&error)),
                }
            }
        };
        let names = |query: &Option<String>| prepare(query.as_deref().map(list), Type::TEXT);
        let (
            (roles, permissions, attributes, groups),
            (superuser, denied_roles, denied_permissions, expires),
            role_permissions,
        ) = tokio::try_join!(
            async {
                tokio::try_join!(
                    names(&queries.roles),
                    names(&queries.permissions),
                    prepare(queries.attributes.as_deref().map(pairs), Type::TEXT),
                    names(&queries.groups),
                )
            },
            async {
                tokio::try_join!(
                    prepare(queries.superuser.as_deref().map(flag), Type::TEXT),
                    names(&queries.denied_roles),
                    names(&queries.denied_permissions),
                    prepare(queries.expires.as_deref().map(remaining), Type::TEXT),
                )
            },
            prepare(
                queries.role_permissions.as_deref().map(list),
                Type::TEXT_ARRAY
            ),
        )?;
        Ok(Self {
            roles,
            permissions,
            attributes,
            groups,
            superuser,
            denied_roles,
            denied_permissions,
            expires,
            role_permissions,
            client,
        })
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
}

/// What is asked in one round trip.
#[derive(Clone, Copy)]
enum Question<'a> {
    /// All about a user.
    User(&'a str),
    /// The permissions of these roles.
    Roles(&'a [&'a str]),
}

impl Connection {
    async fn ask(&self, question: Question<'_>) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let user_id = match question {
            Question::User(user_id) => user_id,
            Question::Roles(roles) => {
                answer.permissions =
                    names(&self.rows(self.role_permissions.as_ref(), &roles).await?)?;
                return Ok(answer);
            }
        };
        // Taken before asking: an end that is a moment early costs a question, one that is late a row.
        let asked = Instant::now();
        // Polled together, all of them travel in one round trip.
        let (names_of, attributes, superuser, expires) = tokio::try_join!(
            async {
                tokio::try_join!(
                    self.rows(self.roles.as_ref(), &user_id),
                    self.rows(self.permissions.as_ref(), &user_id),
                    self.rows(self.groups.as_ref(), &user_id),
                    self.rows(self.denied_roles.as_ref(), &user_id),
                    self.rows(self.denied_permissions.as_ref(), &user_id),
                )
            },
            self.rows(self.attributes.as_ref(), &user_id),
            self.rows(self.superuser.as_ref(), &user_id),
            self.rows(self.expires.as_ref(), &user_id),
        )?;
        let (roles, permissions, groups, denied_roles, denied_permissions) = names_of;
        answer.roles = names(&roles)?;
        answer.permissions = names(&permissions)?;
        answer.denied_roles = names(&denied_roles)?;
        answer.denied_permissions = names(&denied_permissions)?;
        for row in &attributes {
            let name: Option<String> = cell(row, 0)?;
            let name = name.ok_or_else(|| garbage("an attribute's name is NULL"))?;
            let value: Option<String> = cell(row, 1)?;
            answer.attributes.entry(name).or_default().extend(value);
        }
        if self.groups.is_some() {
            let groups = names(&groups)?;
            let known = answer.attributes.entry(GROUPS.to_owned()).or_default();
            known.extend(groups);
            known.sort_unstable();
            known.dedup();
            if known.is_empty() {
                answer.attributes.remove(GROUPS);
            }
        }
        if let Some(row) = superuser.first() {
            let superuser: Option<bool> = cell(row, 0)?;
            answer.superuser = (superuser == Some(true)).then_some(true);
        }
        if let Some(row) = expires.first() {
            let seconds: Option<f64> = cell(row, 0)?;
            answer.until = seconds.and_then(|seconds| after(asked, seconds));
        }
        Ok(answer)
    }

    async fn rows<T: ToSql + Sync>(
        &self,
        statement: Option<&Statement>,
        parameter: &T,
    ) -> Result<Vec<Row>, Failure> {
        let Some(statement) = statement else {
            return Ok(Vec::new());
        };
        let rows = self
            .client
            .query(statement, &[parameter])
            .await
            .map_err(|error| {
                if error.is_closed() || self.client.is_closed() {
                    Failure::Lost
                } else {
                    Failure::Answer(failure(&error))
                }
            })?;
        if rows.len() > ANSWER_ITEMS_MAX {
            return Err(Failure::Answer(ProviderError::Oversize(
                "more than 10000 rows",
            )));
        }
        Ok(rows)
    }
}

/// A question that failed: on a connection that was already dead, or for good.
enum Failure {
    Lost,
    Answer(ProviderError),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Answer(error)
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => unavailable("the connection was lost"),
            Failure::Answer(error) => error,
        }
    }
}

/// The query as a bounded list of texts. The line break ends a comment at the query's end.
fn list(query: &str) -> String {
    format!(
        "SELECT {} FROM ({}\n) AS q(c) LIMIT {}",
        text("q.c"),
        bare(query),
        ANSWER_ITEMS_MAX + 1
    )
}

fn pairs(query: &str) -> String {
    let (name, value) = (text("q.n"), text("q.v"));
    format!(
        "SELECT {name}, {value} FROM ({}\n) AS q(n, v) LIMIT {}",
        bare(query),
        ANSWER_ITEMS_MAX + 1
    )
}

fn flag(query: &str) -> String {
    format!(
        "SELECT pg_catalog.bool_or(q.c) FROM ({}\n) AS q(c)",
        bare(query)
    )
}

/// How many seconds are left of the grant that expires first.
fn remaining(query: &str) -> String {
    format!(
        "SELECT pg_catalog.date_part('epoch', pg_catalog.min(q.c) - pg_catalog.clock_timestamp())
         FROM ({}\n) AS q(c) WHERE pg_catalog.isfinite(q.c)",
        bare(query)
    )
}

/// A moment some seconds from another; `None` is too far away to matter. What is past ends at once.
fn after(start: Instant, seconds: f64) -> Option<Instant> {
    let left = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    start.checked_add(left)
}

/// Cut one character above the bound: too long stays too long, but never gigabytes.
fn text(column: &str) -> String {
    format!(
        "pg_catalog.left({column}::pg_catalog.text, {})",
        ITEM_BYTES_MAX + 1
    )
}

pub(super) fn bare(query: &str) -> &str {
    query.trim().trim_end_matches(';')
}

fn names(rows: &[Row]) -> Result<BTreeSet<String>, ProviderError> {
    rows.iter()
        .map(|row| {
            let name: Option<String> = cell(row, 0)?;
            name.ok_or_else(|| garbage("a role or permission is NULL"))
        })
        .collect()
}

pub(super) fn cell<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
) -> Result<Option<T>, ProviderError> {
    row.try_get(index)
        .map_err(|_| garbage("a column is not of the expected type"))
}

pub(super) fn garbage(says: &str) -> ProviderError {
    ProviderError::Garbage(says.to_owned())
}

fn unavailable(says: &str) -> ProviderError {
    ProviderError::Unavailable(says.to_owned())
}

/// The server's SQLSTATE, and its message only where that cannot hold a row's data: wrong queries
/// (42), logins (28), databases (3D).
pub(super) fn failure(error: &tokio_postgres::Error) -> ProviderError {
    let Some(server) = error.as_db_error() else {
        return ProviderError::Unavailable(causes(error));
    };
    let code = server.code().code();
    if code == "57014" {
        return ProviderError::Timeout;
    }
    let told = ["42", "28", "3D"]
        .iter()
        .any(|class| code.starts_with(class));
    let says = if told {
        server.message()
    } else {
        "the query failed"
    };
    ProviderError::Unavailable(format!("{code}: {says}"))
}
