//! A database that goes away, and a pool that is empty: clean errors, and the next query works.

use crate::client::frame;
use crate::support::Gate;
use crate::{ENDLESS, code, gate, login, value};
use std::time::Duration;

async fn terminate_backends(gate: &Gate) {
    let config = crate::support::superuser(&gate.database);
    let (admin, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    admin
        .execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'rowgate'",
            &[],
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_and_the_next_query_works() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    assert_eq!(value(&client.simple("SELECT 1")), "1");
    // Idle: nobody notices.
    terminate_backends(&gate).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(value(&client.simple("SELECT 2")), "2");
    // In the middle of a query.
    client.send(&frame(b'Q', &[ENDLESS.as_bytes(), b"\0"].concat()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    terminate_backends(&gate).await;
    let answer = client.answer();
    assert_eq!(code(&answer), "08006");
    assert_eq!(answer.status(), Some(b'I'));
    // Others may have ended with it: the gate is given the time to see that.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(value(&client.simple("SELECT 3")), "3");
    // In a transaction: it has failed until it is rolled back.
    client.simple("BEGIN");
    terminate_backends(&gate).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = client.simple("SELECT 4");
    assert_eq!(
        (code(&answer).as_str(), answer.status()),
        ("08006", Some(b'E'))
    );
    assert_eq!(code(&client.simple("SELECT 4")), "25P02");
    assert_eq!(client.simple("ROLLBACK").status(), Some(b'I'));
    assert_eq!(value(&client.simple("SELECT 5")), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_pool_is_told_in_time() {
    let gate = gate(|config| {
        config.upstream.pool_size = 1;
        config.upstream.pool_wait = Duration::from_millis(300);
    })
    .await;
    let mut holder = login(&gate, "bob");
    let mut other = login(&gate, "anne");
    holder.simple("BEGIN");
    let answer = other.simple("SELECT 1");
    assert_eq!(
        (code(&answer).as_str(), answer.status()),
        ("53300", Some(b'I'))
    );
    holder.simple("COMMIT");
    assert_eq!(value(&other.simple("SELECT 1")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_database_carry_no_data() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    for sql in [
        "SELECT department::int FROM invoices",
        "SELECT (department || 'x')::date FROM invoices",
    ] {
        let answer = client.simple(sql);
        let error = answer.error().unwrap();
        assert!(error.code.starts_with("22"), "{sql}: {}", error.code);
        assert!(!error.message.contains(['"', ':']), "{}", error.message);
        let (_, body) = answer
            .messages
            .iter()
            .find(|(kind, _)| *kind == b'E')
            .unwrap();
        // Only severity, SQLSTATE, message, hint, position.
        for field in body
            .split(|byte| *byte == 0)
            .filter(|field| !field.is_empty())
        {
            assert!(
                b"SVCMHP".contains(&field[0]),
                "{}",
                String::from_utf8_lossy(field)
            );
        }
    }
}
