//! One assertion, asked through the gate as the user it is about.

use super::compare;
use super::file::{Cell, Check, Rows, What, quoted, quoted_table};
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// How an assertion ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    /// What was expected, and what was seen instead.
    Failed(String, String),
    /// It could not be asked: no answer of the gate's policy, but of something that is down.
    Broken(String),
}

/// An answer that is not rows.
#[derive(Debug, Clone)]
struct Refusal {
    sqlstate: String,
    says: String,
}

/// Something else than the policy failed: the connection, the database, a provider, the audit.
fn is_outage(sqlstate: &str) -> bool {
    sqlstate.is_empty()
        || ["08", "53", "57", "58", "XX"]
            .iter()
            .any(|class| sqlstate.starts_with(class))
}

impl Refusal {
    fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Self {
                sqlstate: db.code().code().to_owned(),
                says: match db.hint() {
                    Some(hint) => format!("{} (hint: {hint})", db.message()),
                    None => db.message().to_owned(),
                },
            },
            None => Self {
                sqlstate: String::new(),
                says: crate::control::causes(error),
            },
        }
    }

    /// What an assertion that expected something else comes to.
    fn instead_of(self, expected: impl Into<String>) -> Ending {
        match is_outage(&self.sqlstate) {
            true => Ending::Broken(self.shown()),
            false => Ending::Failed(expected.into(), self.shown()),
        }
    }

    fn shown(&self) -> String {
        format!("refused, {}: {}", self.sqlstate, self.says)
    }
}

/// The gate, and a session for each user who was asked about.
pub(super) struct Asker {
    config: Config,
    sessions: HashMap<String, Result<Client, Refusal>>,
}

impl Asker {
    /// `config` says where the gate is, and the password of every tested user.
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            sessions: HashMap::new(),
        }
    }

    /// Asks, and compares; how long that took, logging in not counted.
    pub(super) async fn check(&mut self, check: &Check) -> (Ending, Duration) {
        let session = self.session(&check.login).await;
        let started = Instant::now();
        let ending = match (&check.what, session) {
            (What::LoginRefused(expected), Err(refusal)) => refused_with(Some(expected), refusal),
            (What::LoginRefused(expected), Ok(_)) => Ending::Failed(
                format!("the login is refused, {expected}"),
                "they can log in".to_owned(),
            ),
            (_, Err(refusal)) => refusal.instead_of("they can log in"),
            (what, Ok(client)) => ask(client, what).await,
        };
        (ending, started.elapsed())
    }

    async fn session(&mut self, user: &str) -> Result<&Client, Refusal> {
        if !self.sessions.contains_key(user) {
            let connected = self.config.clone().user(user).connect(NoTls).await;
            let session = match connected {
                Ok((client, connection)) => {
                    // Ends with the client.
                    tokio::spawn(connection);
                    Ok(client)
                }
                Err(error) => Err(Refusal::of(&error)),
            };
            self.sessions.insert(user.to_owned(), session);
        }
        match self.sessions.get(user) {
            Some(Ok(client)) => Ok(client),
            Some(Err(refusal)) => Err(refusal.clone()),
            None => Err(Refusal {
                sqlstate: String::new(),
                says: "there is no session".to_owned(),
            }),
        }
    }
}

async fn ask(client: &Client, what: &What) -> Ending {
    let asked = match what {
        What::LoginRefused(_) => return Ending::Broken("asked of a session".to_owned()),
        What::Tables(expected) => tables(client, expected).await,
        What::Table(rows) => table(client, rows).await,
        What::Columns(table, expected) => columns(client, table, expected).await,
        What::Column(table, column) => has_column(client, table, column).await,
        What::Count(rows, expected) => {
            let query = format!("SELECT count(*) FROM {}", from(rows));
            value(client, &query, &Some(expected.to_string())).await
        }
        What::Sum(rows, column, expected) => {
            let query = format!("SELECT sum({}) FROM {}", quoted(column), from(rows));
            value(client, &query, expected).await
        }
        What::Answer {
            query,
            rows,
            ordered,
        } => answer(client, query, rows, *ordered).await,
        What::Value(query, expected) => value(client, query, expected).await,
        What::AnswerCount(query, expected) => answer_count(client, query, *expected).await,
        What::NoTable(table) => no_table(client, table).await,
        What::NoColumn(table, column) => no_column(client, table, column).await,
        What::NoRow(rows) => no_row(client, rows).await,
        What::Refused(query, sqlstate) => match rows_of(client, query).await {
            Err(refusal) => Ok(refused_with(sqlstate.as_deref(), refusal)),
            Ok(seen) => Ok(Ending::Failed(
                sqlstate.as_ref().map_or_else(
                    || "a refusal".to_owned(),
                    |sqlstate| format!("refused, {sqlstate}"),
                ),
                format!("an answer of {} rows", seen.len()),
            )),
        },
    };
    asked.unwrap_or_else(|refusal| refusal.instead_of(expected(what)))
}

/// What an assertion expects, where it got a refusal instead.
fn expected(what: &What) -> String {
    match what {
        What::Count(_, count) | What::AnswerCount(_, count) => format!("{count} rows"),
        What::Sum(_, _, value) | What::Value(_, value) => {
            value.clone().unwrap_or_else(|| "NULL".to_owned())
        }
        What::NoRow(_) => "no such row in a table they see".to_owned(),
        _ => "an answer".to_owned(),
    }
}

fn refused_with(sqlstate: Option<&str>, refusal: Refusal) -> Ending {
    match sqlstate {
        Some(expected) if expected == refusal.sqlstate => Ending::Passed,
        None if !is_outage(&refusal.sqlstate) => Ending::Passed,
        Some(expected) => refusal.instead_of(format!("refused, {expected}")),
        None => refusal.instead_of("a refusal"),
    }
}

fn from(rows: &Rows) -> String {
    let table = quoted_table(&rows.table);
    match &rows.condition {
        // On a line of its own, so that a comment in it cannot take the parenthesis away.
        Some(condition) => format!("{table} WHERE (\n{condition}\n)"),
        None => table,
    }
}

async fn rows_of(client: &Client, query: &str) -> Result<Vec<Vec<Cell>>, Refusal> {
    let messages = client.simple_query(query).await;
    let messages = messages.map_err(|error| Refusal::of(&error))?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let cells = (0..row.len()).map(|index| row.get(index).map(str::to_owned));
            Some(cells.collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// The tables a user sees, each with its columns, as `SHOW rowgate.principal` says.
async fn profile(client: &Client) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    let shown = rows_of(client, "SHOW rowgate.principal").await?;
    let text = shown.first().and_then(|row| row.first()).cloned().flatten();
    let profile: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
    let text = |value: &Value, key: &str| {
        let text = value.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let list = |value: &Value, key: &str| {
        let list = value.get(key).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let tables = list(&profile, "tables").into_iter().map(|table| {
        let name = match text(&table, "schema").as_str() {
            "public" => text(&table, "name"),
            schema => format!("{schema}.{}", text(&table, "name")),
        };
        let columns = list(&table, "columns");
        (
            name,
            columns.iter().map(|column| text(column, "name")).collect(),
        )
    });
    Ok(tables.collect())
}

fn plain(table: &str) -> &str {
    table.strip_prefix("public.").unwrap_or(table)
}

async fn tables(client: &Client, expected: &[String]) -> Result<Ending, Refusal> {
    let one = |name: &str| vec![Some(name.to_owned())];
    let expected: Vec<Vec<Cell>> = expected.iter().map(|name| one(plain(name))).collect();
    let seen = profile(client).await?;
    let seen: Vec<Vec<Cell>> = seen.iter().map(|(name, _)| one(name)).collect();
    Ok(compared("these tables", &expected, &seen, false))
}

fn compared(what: &str, expected: &[Vec<Cell>], seen: &[Vec<Cell>], ordered: bool) -> Ending {
    match compare::rows(expected, seen, ordered) {
        None => Ending::Passed,
        Some(difference) => Ending::Failed(format!("{what} (- missing, + too much)"), difference),
    }
}

async fn columns(client: &Client, table: &str, expected: &[String]) -> Result<Ending, Refusal> {
    let seen = profile(client).await?;
    let Some((_, seen)) = seen.into_iter().find(|(name, _)| name == plain(table)) else {
        return Ok(invisible(table));
    };
    let list = |names: &[String]| -> Vec<Vec<Cell>> {
        names.iter().map(|name| vec![Some(name.clone())]).collect()
    };
    Ok(compared(
        "these columns",
        &list(expected),
        &list(&seen),
        false,
    ))
}

async fn has_column(client: &Client, table: &str, column: &str) -> Result<Ending, Refusal> {
    let seen = profile(client).await?;
    Ok(match seen.iter().find(|(name, _)| name == plain(table)) {
        None => invisible(table),
        Some((_, columns)) if columns.iter().any(|name| name == column) => Ending::Passed,
        Some(_) => Ending::Failed("the column".to_owned(), "no such column".to_owned()),
    })
}

fn invisible(table: &str) -> Ending {
    Ending::Failed(
        format!("{table} is visible"),
        "there is no such table for them".to_owned(),
    )
}

async fn table(client: &Client, rows: &Rows) -> Result<Ending, Refusal> {
    let seen = profile(client).await?;
    if !seen.iter().any(|(name, _)| name == plain(&rows.table)) {
        return Ok(invisible(&rows.table));
    }
    if rows.condition.is_none() {
        return Ok(Ending::Passed);
    }
    let query = format!("SELECT 1 FROM {} LIMIT 1", from(rows));
    Ok(match rows_of(client, &query).await?.is_empty() {
        true => Ending::Failed("at least one such row".to_owned(), "none".to_owned()),
        false => Ending::Passed,
    })
}

async fn value(client: &Client, query: &str, expected: &Cell) -> Result<Ending, Refusal> {
    let rows = rows_of(client, query).await?;
    let shown = |cell: &Cell| cell.clone().unwrap_or_else(|| "NULL".to_owned());
    let seen = match rows.as_slice() {
        [row] => match row.as_slice() {
            [cell] if compare::same(expected, cell) => return Ok(Ending::Passed),
            [cell] => shown(cell),
            cells => format!("{} columns", cells.len()),
        },
        rows => format!("{} rows", rows.len()),
    };
    Ok(Ending::Failed(shown(expected), seen))
}

async fn answer(
    client: &Client,
    query: &str,
    expected: &[Vec<Cell>],
    ordered: bool,
) -> Result<Ending, Refusal> {
    let seen = rows_of(client, query).await?;
    Ok(compared("these rows", expected, &seen, ordered))
}

async fn answer_count(client: &Client, query: &str, expected: u64) -> Result<Ending, Refusal> {
    let seen = rows_of(client, query).await?;
    if seen.len() as u64 == expected {
        return Ok(Ending::Passed);
    }
    let mut shown = format!("{} rows", seen.len());
    if expected == 0
        && let Some(difference) = compare::rows(&[], &seen, false)
    {
        shown = format!("{shown}\n{difference}");
    }
    Ok(Ending::Failed(format!("{expected} rows"), shown))
}

async fn no_table(client: &Client, table: &str) -> Result<Ending, Refusal> {
    let expected = || "no such table".to_owned();
    if profile(client)
        .await?
        .iter()
        .any(|(name, _)| name == plain(table))
    {
        return Ok(Ending::Failed(expected(), "they see it".to_owned()));
    }
    let query = format!("SELECT 1 FROM {} LIMIT 1", quoted_table(table));
    Ok(match rows_of(client, &query).await {
        Err(refusal) => refused_with(Some("42P01"), refusal),
        Ok(_) => Ending::Failed(expected(), "a query on it is answered".to_owned()),
    })
}

async fn no_column(client: &Client, table: &str, column: &str) -> Result<Ending, Refusal> {
    let expected = || "no such column".to_owned();
    let seen = profile(client).await?;
    let Some((_, columns)) = seen.iter().find(|(name, _)| name == plain(table)) else {
        return Ok(invisible(table));
    };
    if columns.iter().any(|name| name == column) {
        return Ok(Ending::Failed(expected(), "they see it".to_owned()));
    }
    let (column, table) = (quoted(column), quoted_table(table));
    Ok(
        match rows_of(client, &format!("SELECT {column} FROM {table} LIMIT 1")).await {
            Err(refusal) => refused_with(Some("42703"), refusal),
            Ok(_) => Ending::Failed(expected(), "a query on it is answered".to_owned()),
        },
    )
}

async fn no_row(client: &Client, rows: &Rows) -> Result<Ending, Refusal> {
    let query = format!("SELECT count(*) FROM {}", from(rows));
    let answer = rows_of(client, &query).await?;
    let seen = answer
        .first()
        .and_then(|row| row.first())
        .cloned()
        .flatten();
    Ok(match seen.as_deref() {
        Some("0") => Ending::Passed,
        Some(count) => Ending::Failed("no such row".to_owned(), format!("{count} of them")),
        None => Ending::Broken("count(*) has no value".to_owned()),
    })
}
