//! How tests get a PostgreSQL: one private cluster a test process, each test its own database in it.
//!
//! There is no way to skip: a machine without PostgreSQL fails the tests, with the words to install it.
//! The cluster stops and its folder goes when the test process ends, however it ends.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub mod http;

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
        binaries: None,
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

/// A running gate over a database of its own with the example in it. It stops with the value.
pub struct Gate {
    /// Where clients connect.
    pub address: std::net::SocketAddr,
    /// The database's name, at the gate and behind it.
    pub database: String,
    /// What it serves with.
    pub config: rowgate::config::Config,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Roles belong to the whole cluster: two `apply`s at once would change the same rows of the catalogs.
static PREPARE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The database of `setup`, ready to be served, and the configuration that serves it.
pub async fn prepare(cluster: &Cluster, setup: &rowgate::demo::Setup) -> rowgate::config::Config {
    let _one_at_a_time = PREPARE.lock().await;
    rowgate::demo::prepare(cluster, setup).await.unwrap()
}

/// The example behind a gate. Logins: bob, anne, eve, admin; password: [`rowgate::demo::PASSWORD`].
pub async fn gate(enforcement: rowgate::config::Enforcement) -> Gate {
    let database = format!("gate_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    gate_with(
        rowgate::demo::Setup::example(&database, listen, enforcement),
        |_| {},
    )
    .await
}

/// As [`gate`], with a setup of one's own and a last change of the configuration.
pub async fn gate_with(
    setup: rowgate::demo::Setup,
    change: impl FnOnce(&mut rowgate::config::Config),
) -> Gate {
    gate_on(cluster(), setup, change).await
}

/// As [`gate_with`], on a cluster of one's own.
pub async fn gate_on(
    cluster: &Cluster,
    setup: rowgate::demo::Setup,
    change: impl FnOnce(&mut rowgate::config::Config),
) -> Gate {
    let mut config = prepare(cluster, &setup).await;
    change(&mut config);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let served = config.clone();
    let running = tokio::spawn(async move {
        let shutdown = async move {
            stopped.await.ok();
        };
        rowgate::app::serve(served, shutdown, |address| {
            ready.send(address).ok();
        })
        .await
    });
    let Ok(address) = is_ready.await else {
        panic!(
            "the gate did not start: {:#}",
            running.await.unwrap().unwrap_err()
        );
    };
    Gate {
        address,
        database: setup.database,
        config,
        _stop: stop,
    }
}

impl Gate {
    /// Connection parameters for a login of the example.
    pub fn login(&self, user: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.address.port())
            .dbname(&self.database)
            .user(user)
            .password(rowgate::demo::PASSWORD);
        config
    }

    /// A connection through the gate.
    pub async fn connect(&self, user: &str) -> tokio_postgres::Client {
        let (client, connection) = self
            .login(user)
            .connect(tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}
