//! How tests get a PostgreSQL: one private cluster a test process, each test its own database in it.
//!
//! There is no way to skip: a machine without PostgreSQL fails the tests, with the words to install it.
//! The cluster stops and its folder goes when the test process ends, however it ends.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use rowgate::demo::{Cluster, ClusterOptions, DATA, SCHEMA};
use secrecy::ExposeSecret;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// The cluster of this test process, started by whoever asks first.
pub fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(start)
}

/// A cluster of one's own, for tests that kill it.
pub fn start() -> Cluster {
    Cluster::start(&ClusterOptions {
        folder: None,
        settings: vec![("max_connections".to_owned(), "200".to_owned())],
    })
    .unwrap_or_else(|error| panic!("tests need PostgreSQL: {error}\nhint: {}", error.hint()))
}

/// A new, empty database; its name.
pub async fn empty_database() -> String {
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let admin = cluster().connect("postgres").await.unwrap();
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    name
}

/// A new database with `fixtures/schema.sql` and `fixtures/data.sql`; its name.
pub async fn example_database() -> String {
    let name = empty_database().await;
    let client = cluster().connect(&name).await.unwrap();
    client.batch_execute(SCHEMA).await.unwrap();
    client.batch_execute(DATA).await.unwrap();
    name
}

/// Connection parameters of the superuser for `database`.
pub fn superuser(database: &str) -> tokio_postgres::Config {
    cluster().config(database, "postgres", cluster().password().expose_secret())
}
