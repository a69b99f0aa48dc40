//! A private cluster starts, holds the example, and leaves nothing behind.

use crate::support;
use rowgate::demo::{Cluster, ClusterOptions};
use std::time::{Duration, Instant};

/// Written by hand from `fixtures/data.sql`.
const SUMS: &[(&str, &str)] = &[
    ("Finance", "9000.00"),
    ("HRM", "1000.00"),
    ("Legal", "5000.00"),
    ("Sales", "2600.00"),
    ("Training", "300.00"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_example_has_the_sums_its_header_promises() {
    let database = support::example_database().await;
    let client = support::cluster().connect(&database).await.unwrap();
    let rows = client
        .query(
            "SELECT department, sum(amount)::text FROM invoices GROUP BY 1 ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let sums: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(sums, SUMS);
}

#[test]
fn a_temporary_cluster_leaves_no_folder_and_no_server() {
    let mut cluster = support::start();
    let (folder, port) = (cluster.folder().to_owned(), cluster.port());
    assert!(folder.join("data/PG_VERSION").exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    cluster.stop();
    assert!(!folder.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_folder_keeps_its_data() {
    let parent = tempfile::tempdir().unwrap();
    // The server's user must be able to enter it, whoever runs the tests.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(parent.path(), open).unwrap();
    let options = ClusterOptions {
        folder: Some(parent.path().join("kept")),
        ..ClusterOptions::default()
    };
    let mut first = Cluster::start(&options).unwrap();
    assert!(first.is_new());
    let client = first.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE kept AS SELECT 42 AS answer")
        .await
        .unwrap();
    first.stop();
    drop(first);
    let second = Cluster::start(&options).unwrap();
    assert!(!second.is_new());
    let client = second.connect("postgres").await.unwrap();
    let row = client
        .query_one("SELECT answer FROM kept", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_can_be_started_again_on_its_port() {
    let mut cluster = support::start();
    let port = cluster.port();
    let client = cluster.connect("postgres").await.unwrap();
    cluster.kill_server();
    assert!(client.simple_query("SELECT 1").await.is_err());
    cluster.restart().unwrap();
    assert_eq!(cluster.port(), port);
    let client = cluster.connect("postgres").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
}

#[test]
fn a_cluster_is_ready_well_within_ten_seconds() {
    let started = Instant::now();
    let _cluster = support::start();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}
