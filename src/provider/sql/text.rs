//! The operator's queries as bounded ones, and what comes back: shared by everything that asks a customer's tables.

use crate::control::{Connector, causes};
use crate::provider::ProviderError;
use crate::provider::answer::{ANSWER_ITEMS_MAX, ITEM_BYTES_MAX};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Row};

/// A connection that only reads, and asks nothing for longer than `timeout`.
pub(in crate::provider) async fn read_only(
    connector: &Connector,
    timeout: Duration,
) -> Result<Client, ProviderError> {
    let client = connector.connect().await.map_err(|error| failure(&error))?;
    let setup = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {}",
        timeout.as_millis()
    );
    client
        .batch_execute(&setup)
        .await
        .map_err(|error| failure(&error))?;
    Ok(client)
}

/// The query as a bounded list of texts. The line break ends a comment at the query's end.
pub(super) fn list(query: &str) -> String {
    format!(
        "SELECT {} FROM ({}\n) AS q(c) LIMIT {}",
        cut("q.c", ITEM_BYTES_MAX),
        bare(query),
        ANSWER_ITEMS_MAX + 1
    )
}

pub(super) fn pairs(query: &str) -> String {
    let (name, value) = (cut("q.n", ITEM_BYTES_MAX), cut("q.v", ITEM_BYTES_MAX));
    format!(
        "SELECT {name}, {value} FROM ({}\n) AS q(n, v) LIMIT {}",
        bare(query),
        ANSWER_ITEMS_MAX + 1
    )
}

pub(super) fn flag(query: &str) -> String {
    format!(
        "SELECT pg_catalog.bool_or(q.c) FROM ({}\n) AS q(c)",
        bare(query)
    )
}

/// How many seconds are left of the grant that expires first.
pub(super) fn remaining(query: &str) -> String {
    format!(
        "SELECT pg_catalog.date_part('epoch', pg_catalog.min(q.c) - pg_catalog.clock_timestamp())
         FROM ({}\n) AS q(c) WHERE pg_catalog.isfinite(q.c)",
        bare(query)
    )
}

/// A moment some seconds from another; `None` is too far away to matter. What is past ends at once.
pub(super) fn after(start: Instant, seconds: f64) -> Option<Instant> {
    let left = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    start.checked_add(left)
}

/// Cut one character above the bound: too long stays too long, but never gigabytes.
pub(in crate::provider) fn cut(column: &str, bytes_max: usize) -> String {
    format!(
        "pg_catalog.left({column}::pg_catalog.text, {})",
        bytes_max + 1
    )
}

pub(in crate::provider) fn bare(query: &str) -> &str {
    query.trim().trim_end_matches(';')
}

pub(super) fn names(rows: &[Row]) -> Result<BTreeSet<String>, ProviderError> {
    rows.iter()
        .map(|row| {
            let name: Option<String> = cell(row, 0)?;
            name.ok_or_else(|| garbage("a role or permission is NULL"))
        })
        .collect()
}

pub(in crate::provider) fn cell<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
) -> Result<Option<T>, ProviderError> {
    row.try_get(index)
        .map_err(|_| garbage("a column is not of the expected type"))
}

pub(in crate::provider) fn garbage(says: &str) -> ProviderError {
    ProviderError::Garbage(says.to_owned())
}

pub(super) fn unavailable(says: &str) -> ProviderError {
    ProviderError::Unavailable(says.to_owned())
}

/// The server's SQLSTATE, and its message only where that cannot hold a row's data: wrong queries
/// (42), logins (28), databases (3D).
pub(in crate::provider) fn failure(error: &tokio_postgres::Error) -> ProviderError {
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
