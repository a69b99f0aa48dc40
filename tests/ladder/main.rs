//! The permission systems through a running gate: the four levels of AI permissions, inheritance, conditions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

mod conditions;
mod levels;
mod tables;

use rowgate::config::{Config, Enforcement};
use rowgate::demo::{Scenario, Setup};
use std::path::Path;
use std::time::{Duration, Instant};
use support::Gate;
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// An example of the repository behind a gate, from a copy that a test may write in.
struct Example {
    gate: Gate,
    folder: tempfile::TempDir,
}

impl Example {
    async fn new(name: &str, enforcement: Enforcement, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(name);
        copy(&from, folder.path());
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let database =
            format!("{}_{enforcement:?}_{}", name.replace('-', "_"), number()).to_lowercase();
        let setup = Setup::example(&database, listen, enforcement)
            .with_scenario(Scenario::read(folder.path()).unwrap());
        let gate = support::gate_with(setup, change).await;
        Self { gate, folder }
    }

    /// Replaces a file as an editor does: at once.
    fn write(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    async fn connect(&self, user: &str) -> Result<Client, tokio_postgres::Error> {
        let mut login = self.gate.login(user);
        let (client, connection) = login.password("demo").connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The first value of a query as a new session of a user, or the refusal.
    async fn ask(&self, user: &str, sql: &str) -> Result<Option<String>, DbError> {
        let client = self.connect(user).await.map_err(|error| refusal(&error))?;
        ask(&client, sql).await
    }
}

fn number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn refusal(error: &tokio_postgres::Error) -> DbError {
    let Some(error) = error.as_db_error() else {
        panic!("not an answer: {error:?}");
    };
    error.clone()
}

async fn ask(client: &Client, sql: &str) -> Result<Option<String>, DbError> {
    let messages = client
        .simple_query(sql)
        .await
        .map_err(|error| refusal(&error))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.and_then(|row| row.get(0)).map(str::to_owned))
}

/// The columns a table has for a user, or the SQLSTATE.
async fn columns(client: &Client, table: &str) -> Result<Vec<String>, String> {
    match client.prepare(&format!("SELECT * FROM {table}")).await {
        Ok(statement) => Ok(statement
            .columns()
            .iter()
            .map(|c| c.name().to_owned())
            .collect()),
        Err(error) => Err(refusal(&error).code().code().to_owned()),
    }
}

/// Waits until what was written in a file has been seen.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
