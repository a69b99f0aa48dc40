//! Time limits a client sets for itself, and the bound of the pool.

use crate::after_login::gate_activity;
use crate::client::frame;
use crate::support::{Gate, superuser};
use crate::{ENDLESS, code, gate, login, value};
use rowgate::demo::PASSWORD;
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_shorten_the_time_limits_and_not_lengthen_them() {
    let gate = gate(|config| config.limits.statement_ms_max = 60_000).await;
    let mut client = login(&gate, "bob");
    for (set, shown) in [
        ("250", "250ms"),
        ("'0.3s'", "300ms"),
        ("'1 min'", "1min"),
        ("'2min'", "1min"),
        ("0", "1min"),
        ("DEFAULT", "1min"),
        ("'59s'", "59s"),
    ] {
        let answer = client.simple(&format!("SET statement_timeout = {set}"));
        assert_eq!(code(&answer), "", "{set}");
        assert_eq!(
            value(&client.simple("SHOW statement_timeout")),
            shown,
            "{set}"
        );
    }
    for set in [
        "-1",
        "'soon'",
        "'5 parsecs'",
        "'1e9d'",
        "''",
        "'99999999999'",
    ] {
        let answer = client.simple(&format!("SET statement_timeout = {set}"));
        assert_eq!(code(&answer), "22023", "{set}");
    }
    assert_eq!(value(&client.simple("SHOW lock_timeout")), "5s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_time_limit_holds_for_its_own_statements_only() {
    // One connection, so that what one client set would be there for the other.
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let mut bob = login(&gate, "bob");
    let mut anne = login(&gate, "anne");
    bob.simple("SET statement_timeout = '200ms'");
    for run in 0..2 {
        let started = Instant::now();
        let answer = match run {
            0 => bob.simple(ENDLESS),
            _ => bob.extended(ENDLESS),
        };
        assert_eq!(code(&answer), "57014");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(value(&bob.simple("SELECT count(*) FROM invoices")), "6");
    anne.send(&frame(b'Q', &[ENDLESS.as_bytes(), b"\0"].concat()));
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(gate_activity(&gate).active().await, 1, "not Anne's limit");
    drop(anne);
    // In a transaction: set, and taken back.
    bob.simple("RESET statement_timeout");
    assert_eq!(
        code(&bob.simple("BEGIN; SELECT 1; SET LOCAL statement_timeout = '200ms'; SAVEPOINT a")),
        ""
    );
    assert_eq!(code(&bob.simple(ENDLESS)), "57014");
    assert_eq!(
        code(&bob.simple("ROLLBACK TO a; SET LOCAL statement_timeout = '2h'")),
        ""
    );
    bob.send(&frame(b'Q', &[ENDLESS.as_bytes(), b"\0"].concat()));
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(
        gate_activity(&gate).active().await,
        1,
        "the limit was taken back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_taken_back_in_a_transaction_is_gone() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    let noon = "SELECT '2024-06-01 12:00:00+00'::timestamptz::text";
    client.simple("BEGIN; SET timezone = 'Asia/Tokyo'");
    assert_eq!(value(&client.simple(noon)), "2024-06-01 21:00:00+09");
    client.simple("RESET timezone");
    let back = value(&client.simple(noon));
    client.simple("ROLLBACK");
    assert_eq!(back, value(&client.simple(noon)));
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_timeout_holds_too() {
    let gate = gate(|_| {}).await;
    let (admin, connection) = superuser(&gate.database)
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let lock = "BEGIN; LOCK TABLE public.invoices IN ACCESS EXCLUSIVE MODE";
    admin.batch_execute(lock).await.unwrap();
    let mut client = login(&gate, "bob");
    client.simple("SET lock_timeout = '100ms'");
    let started = Instant::now();
    let answer = client.simple("SELECT id FROM invoices");
    assert_eq!(code(&answer), "55P03");
    // The gate's own is five seconds.
    assert!(started.elapsed() < Duration::from_secs(4));
    admin.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(value(&client.simple("SELECT count(*) FROM invoices")), "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_is_stopped_by_the_limit_it_set() {
    let gate = gate(|_| {}).await;
    let psql = |options: &str| {
        let output = Command::new("psql")
            .args(["-X", "-At", "-c", ENDLESS, "-d"])
            .arg(format!(
                "host=127.0.0.1 port={} user=bob dbname={}",
                gate.address.port(),
                gate.database
            ))
            .env("PGPASSWORD", PASSWORD)
            .env("PGOPTIONS", options)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = psql("-c statement_timeout=300");
    assert!(
        said.contains("canceling statement due to statement timeout"),
        "{said}"
    );
}

/// Connections of the gate's login to its database.
async fn connections(admin: &tokio_postgres::Client) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rowgate' AND usename = 'rowgate'";
    admin.query_one(count, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_in_the_middle_do_not_stretch_the_pool() {
    const SIZE: usize = 3;
    let gate: Gate = gate(|config| {
        config.upstream.pool_size = SIZE;
        config.limits.worker_threads = 2;
    })
    .await;
    let (admin, connection) = superuser(&gate.database)
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let leaving = std::thread::spawn({
        let (address, database) = (gate.address, gate.database.clone());
        move || {
            for _ in 0..40 {
                let mut client = crate::Client::login(address, "bob", PASSWORD, &database)
                    .ok()
                    .unwrap();
                client.send(&frame(b'Q', &[ENDLESS.as_bytes(), b"\0"].concat()));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let mut most = 0;
    while !leaving.is_finished() {
        most = most.max(connections(&admin).await);
    }
    leaving.join().unwrap();
    // Posture and policy are looked at by connections of their own, which are closed by then.
    assert!(most >= 1 && most <= i64::try_from(SIZE).unwrap(), "{most}");
    let answer = login(&gate, "anne").simple("SELECT 1");
    assert_eq!(code(&answer), "", "{:?}", answer.error().map(|e| e.message));
}
