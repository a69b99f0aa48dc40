//! The tables of `[admin]`, and a few connections with a login that may write to them.

use super::rows::Rows;
use super::{Action, Change, Done, Held, Item, Kind, Listed, ListedRow, ManageError};
use crate::config::{AdminTable, AdminTables};
use crate::control::{Connector, causes};
use crate::error::{Fault, FaultKind};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// Most rows of one grant that are looked at; there should be one.
pub(super) const HELD_MAX: usize = 100;
/// Most grants in a list.
const LIST_MAX: usize = 10_000;
/// Most connections.
const CONNECTIONS_MAX: usize = 4;
/// What every instance's providers listen on.
const NOTIFY: &str = "SELECT pg_catalog.pg_notify('rowgate_invalidate', $1::pg_catalog.text)";
/// Changes of the same thing wait for each other, whichever instance makes them and whether or not the table has a
/// unique index.
const LOCK: &str =
    "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1::pg_catalog.text, 0))";

/// How to reach them.
pub struct StoreSettings {
    /// The tables.
    pub tables: AdminTables,
    /// How long each step may take.
    pub timeout: Duration,
    /// Logins that only read: they must not be able to write to the tables.
    pub readers: Vec<String>,
    /// The providers' queries: one that reads a table but not its column for the end makes grants last for ever.
    pub queries: Vec<String>,
}

/// The tables, reached with a login of their own.
pub struct Store {
    connector: Connector,
    pub(super) settings: StoreSettings,
    permits: Semaphore,
    idle: Mutex<Vec<Client>>,
}

/// A connection in use. It goes back by [`Store::keep`] only, after everything on it went well; otherwise it is closed,
/// and what was not committed with it.
pub(super) struct Lease<'a> {
    pub(super) client: Client,
    _permit: SemaphorePermit<'a>,
}

/// A change that has been made but not committed. Dropped, it is undone.
pub(super) struct Prepared<'a, T> {
    pub(super) lease: Lease<'a>,
    pub(super) done: T,
}

impl Store {
    /// A store that connects when it is first asked.
    pub(crate) fn new(connector: Connector, settings: StoreSettings) -> Self {
        Self {
            connector,
            settings,
            permits: Semaphore::new(CONNECTIONS_MAX),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Whether this kind is managed.
    pub fn manages(&self, kind: Kind) -> bool {
        table_of(&self.settings.tables, kind).is_some()
    }

    /// Whether only the operator's commands may grant or revoke it.
    pub fn operator_only(&self, item: &Item) -> bool {
        let name = item.name();
        table_of(&self.settings.tables, item.kind())
            .is_some_and(|table| table.operator_only.iter().any(|only| *only == *name))
    }

    /// Everything up to the commit, in a transaction that stays open.
    pub(super) async fn prepare(&self, change: &Change) -> Result<Prepared<'_, Done>, ManageError> {
        let kind = change.item.kind();
        let table = self.table(kind)?;
        self.bounded(async {
            let lease = self.lease().await?;
            if change.until.is_some() {
                self.heeds_the_end(table)?;
            }
            let done = make(&lease.client, table, change).await?;
            Ok(Prepared { lease, done })
        })
        .await
    }

    /// That no provider reads the table without looking at when a grant ends.
    fn heeds_the_end(&self, table: &AdminTable) -> Result<(), ManageError> {
        let mut reading = self
            .settings
            .queries
            .iter()
            .filter(|sql| sql.contains(&table.name));
        if reading.all(|sql| sql.contains(&table.expiry)) {
            return Ok(());
        }
        Err(ManageError::invalid(
            "a provider's query does not look at when a grant ends, so it would not end",
            "Use a preset, or add \"expires_at IS NULL OR expires_at > now()\" to the query.",
        ))
    }

    pub(super) async fn commit<T>(&self, prepared: Prepared<'_, T>) -> Result<(), ManageError> {
        let Prepared { lease, done: _ } = prepared;
        let commit = lease.client.batch_execute("COMMIT");
        match tokio::time::timeout(self.settings.timeout, commit).await {
            Ok(Ok(())) => {
                self.keep(lease);
                Ok(())
            }
            // It said no: a deferred constraint.
            Ok(Err(error)) if error.as_db_error().is_some() => Err(failure(&error)),
            Ok(Err(_)) | Err(_) => Err(ManageError::Unclear),
        }
    }

    pub(super) async fn list(
        &self,
        kind: Kind,
        keys: &[Option<&str>],
    ) -> Result<Listed, ManageError> {
        let table = self.table(kind)?;
        self.bounded(async {
            let lease = self.lease().await?;
            let rows = rows_of(&lease.client, kind, table).await?;
            let mut given: Vec<bool> = keys.iter().map(Option::is_some).collect();
            let columns = kind.columns().len();
            given.resize(columns, false);
            let sql = rows.list(&given, LIST_MAX);
            let keys: Vec<&str> = keys.iter().flatten().copied().collect();
            let mut found = query(&lease.client, &sql, &keys, None).await?;
            let truncated = found.len() > LIST_MAX;
            found.truncate(LIST_MAX);
            let rows = found.iter().map(|row| listed(row, columns));
            let rows = rows.collect::<Result<_, _>>()?;
            self.keep(lease);
            Ok(Listed { rows, truncated })
        })
        .await
    }

    pub(super) fn table(&self, kind: Kind) -> Result<&AdminTable, ManageError> {
        let table = table_of(&self.settings.tables, kind);
        table.ok_or(ManageError::NotManaged(kind))
    }

    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, ManageError>>,
    ) -> Result<T, ManageError> {
        let timeout = self.settings.timeout;
        tokio::time::timeout(timeout, work)
            .await
            .unwrap_or_else(|_| {
                let cause = "the tables of [admin] did not answer in time";
                Err(Fault::because(FaultKind::UpstreamTimeout, cause).into())
            })
    }

    pub(super) async fn lease(&self) -> Result<Lease<'_>, ManageError> {
        let permit = self.permits.acquire().await.map_err(|_| {
            ManageError::from(Fault::because(FaultKind::Internal, "the pool is closed"))
        })?;
        while let Some(client) = self.take_idle() {
            // A kept connection may have died without a word.
            if client.simple_query("").await.is_ok() {
                return Ok(Lease {
                    client,
                    _permit: permit,
                });
            }
        }
        let client = self.connector.connect().await.map_err(|e| failure(&e))?;
        let setup = format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; SET idle_in_transaction_session_timeout = {1}",
            self.settings.timeout.as_millis(),
            self.settings.timeout.as_millis().saturating_mul(4)
        );
        client
            .batch_execute(&setup)
            .await
            .map_err(|e| failure(&e))?;
        Ok(Lease {
            client,
            _permit: permit,
        })
    }

    fn take_idle(&self) -> Option<Client> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|client| !client.is_closed());
        idle.pop()
    }

    pub(super) fn keep(&self, lease: Lease<'_>) {
        // Never more than there are permits: each connection in use holds one.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(lease.client);
    }
}

pub(super) fn table_of(tables: &AdminTables, kind: Kind) -> Option<&AdminTable> {
    match kind {
        Kind::Permission => tables.permissions.as_ref(),
        Kind::Role => tables.roles.as_ref(),
        Kind::Group => tables.groups.as_ref(),
        Kind::Tag => tables.tags.as_ref(),
        Kind::Tuple => tables.tuples.as_ref(),
    }
}

/// Begins, changes and notifies; does not commit.
async fn make(client: &Client, table: &AdminTable, change: &Change) -> Result<Done, ManageError> {
    let rows = rows_of(client, change.item.kind(), table).await?;
    let until = change.until.map(super::Until::text);
    if until.is_some() && !rows.has_expiry() {
        let plural = change.item.kind().plural();
        return Err(ManageError::invalid(
            format!("{plural} cannot end by themselves here: their table has no column for it"),
            "Add expires_at (timestamptz) to the table, or grant without an end.",
        ));
    }
    client
        .batch_execute("BEGIN")
        .await
        .map_err(|e| failure(&e))?;
    let keys: Vec<&str> = change.item.keys().iter().map(String::as_str).collect();
    lock(client, table, &keys).await?;
    let held = query(client, &rows.held(), &keys, Some(&until)).await?;
    let before = held.iter().map(to_held).collect::<Result<Vec<_>, _>>()?;
    let same = held
        .iter()
        .all(|row| matches!(cell(row, 1), Ok(Some(true))));
    let sql = match (change.action, before.is_empty()) {
        (Action::Revoke, true) => None,
        (Action::Revoke, false) => Some((rows.delete(), false)),
        (Action::Grant, true) => Some((rows.insert(), rows.has_expiry())),
        (Action::Grant, false) if same => None,
        (Action::Grant, false) => Some((rows.update(), true)),
    };
    let Some((sql, with_until)) = sql else {
        let after = before.clone();
        return Ok(Done {
            changed: false,
            before,
            after,
        });
    };
    let made = query(client, &sql, &keys, with_until.then_some(&until)).await?;
    if made.is_empty() && (change.action, before.is_empty()) == (Action::Grant, true) {
        return Err(ManageError::invalid(
            "there is no such tag with a list of users",
            "Define it with access \"specific\" first.",
        ));
    }
    // Definitions of tags, and tuples, concern more than the one they name.
    let whom = match change.item.kind() {
        Kind::Permission | Kind::Role => change.item.user("").unwrap_or_default(),
        Kind::Group | Kind::Tag | Kind::Tuple => "",
    };
    notify(client, whom).await?;
    let held = query(client, &rows.held(), &keys, Some(&until)).await?;
    let after = held.iter().map(to_held).collect::<Result<_, _>>()?;
    Ok(Done {
        changed: true,
        before,
        after,
    })
}

/// Waits for whoever changes the same thing. No name holds a control character, so the parts cannot run into each other.
pub(super) async fn lock(
    client: &Client,
    table: &AdminTable,
    keys: &[&str],
) -> Result<(), ManageError> {
    let mut name = format!("rowgate\u{1}{}\u{1}{}", table.schema, table.name);
    for key in keys {
        name.push('\u{1}');
        name.push_str(key);
    }
    query(client, LOCK, &[&name], None).await.map(drop)
}

/// Tells every instance, with the commit, that a user may hold something else; empty: everybody.
pub(super) async fn notify(client: &Client, whom: &str) -> Result<(), ManageError> {
    query(client, NOTIFY, &[whom], None).await.map(drop)
}

/// The table's SQL, if it is there with its columns.
pub(super) async fn rows_of(
    client: &Client,
    kind: Kind,
    table: &AdminTable,
) -> Result<Rows, ManageError> {
    const COLUMNS: &str = "SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a \
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped";
    let found = query(client, COLUMNS, &[&table.schema, &table.name], None).await?;
    let columns = found.iter().map(|row| cell(row, 0));
    let columns = columns.collect::<Result<Vec<Option<String>>, _>>()?;
    let has = |name: &str| columns.iter().any(|column| column.as_deref() == Some(name));
    if let Some(missing) = table.keys.iter().find(|key| !has(key)) {
        return Err(posture(
            format!(
                "there is no column {missing:?} in {}.{}",
                table.schema, table.name
            ),
            "Name the table and its columns in [admin], or create it.",
        ));
    }
    Ok(Rows::new(table, kind, has(&table.expiry)))
}

/// What only whoever configures the tables can mend: told in the log, and by the commands.
pub(super) fn posture(says: impl Into<String>, hint: &'static str) -> ManageError {
    let says: String = says.into();
    Fault::because(FaultKind::Internal, format!("{says} ({hint})")).into()
}

/// The keys, and as the last parameter the end, if there is one to give.
pub(super) async fn query(
    client: &Client,
    sql: &str,
    keys: &[&str],
    until: Option<&Option<String>>,
) -> Result<Vec<Row>, ManageError> {
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(keys.len() + 1);
    for key in keys {
        parameters.push(key);
    }
    if let Some(until) = until {
        parameters.push(until);
    }
    client
        .query(sql, &parameters)
        .await
        .map_err(|e| failure(&e))
}

fn listed(row: &Row, keys: usize) -> Result<ListedRow, ManageError> {
    let cells = (0..keys).map(|index| Ok(cell::<Option<String>>(row, index)?.unwrap_or_default()));
    Ok(ListedRow {
        keys: cells.collect::<Result<_, ManageError>>()?,
        until: cell(row, keys)?,
    })
}

fn to_held(row: &Row) -> Result<Held, ManageError> {
    Ok(Held {
        until: cell(row, 0)?,
    })
}

pub(super) fn cell<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    index: usize,
) -> Result<T, ManageError> {
    row.try_get(index)
        .map_err(|error| Fault::new(FaultKind::Internal, error).into())
}

/// A broken constraint is the caller's to know; the rest is ours.
pub(super) fn failure(error: &tokio_postgres::Error) -> ManageError {
    let Some(server) = error.as_db_error() else {
        return Fault::because(FaultKind::UpstreamLost, causes(error)).into();
    };
    let code = server.code().code();
    if code.starts_with("23") {
        return ManageError::Rejected(server.constraint().unwrap_or(code).to_owned());
    }
    let kind = match code {
        "57014" | "55P03" => FaultKind::UpstreamTimeout,
        _ if code.starts_with("28") || code.starts_with("3D") => FaultKind::UpstreamLost,
        _ => FaultKind::Internal,
    };
    // The message may name columns and values; it is for the log.
    Fault::because(kind, format!("{code}: {}", server.message())).into()
}
