//! What a client that is logged in can send.

use crate::client::{Client, extended, frame};
use crate::{code, gate, kinds, login, value};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hides_inside_another_frame() {
    let gate = gate(|_| {}).await;
    // A whole Query inside the body of each message that has none, or behind its end (STACK S7).
    let hidden = frame(b'Q', b"SELECT 'smuggled'\0");
    let messages = [
        frame(b'S', &hidden),
        frame(b'H', &hidden),
        frame(b'X', &hidden),
        frame(b'Q', &[&b"SELECT 1\0"[..], &hidden].concat()),
        frame(b'E', &[&b"\0\0\0\0\0"[..], &hidden].concat()),
        frame(b'C', &[&b"S\0"[..], &hidden].concat()),
    ];
    for message in messages {
        let mut client = login(&gate, "bob");
        client.send(&message);
        let answer = client.answer();
        assert!(!answer.contains("smuggled"), "{message:?}");
        assert!(answer.closed, "{message:?}");
        assert_eq!(code(&answer), "08P01");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_only_their_own_session() {
    let gate = gate(|_| {}).await;
    let mut bystander = login(&gate, "anne");
    let big = [&b"Q"[..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    let zero = [&b"Q"[..], &0_u32.to_be_bytes()].concat();
    for message in [
        big,
        zero,
        frame(b'Q', b"no end"),
        frame(b'P', b"\0SELECT 1\0\xff\xff"),
        frame(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
        frame(b'D', b"?\0"),
        frame(b'!', b""),
        frame(b'p', b"again\0"),
    ] {
        let mut client = login(&gate, "bob");
        client.send(&message);
        let answer = client.answer();
        assert!(answer.closed, "{message:?}");
        assert_eq!(code(&answer), "08P01", "{message:?}");
    }
    assert_eq!(value(&bystander.simple("SELECT 1")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_limit_allocates_nothing() {
    let gate = gate(|_| {}).await;
    // i32::MAX ended a library's whole process (STACK S6); a negative number made it panic.
    for limit in [i32::MAX, -1, i32::MIN, 0] {
        let mut client = login(&gate, "bob");
        let mut bytes = extended("SELECT id FROM invoices ORDER BY id");
        let execute = bytes.len() - 5 - 4;
        bytes[execute..execute + 4].copy_from_slice(&limit.to_be_bytes());
        client.send(&bytes);
        let answer = client.answer();
        assert_eq!(answer.rows().len(), 6, "{limit}");
        assert_eq!(kinds(&answer), "12TDDDDDDCZ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_leaves_the_session_usable() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    client.send(&frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0"));
    let answer = client.answer();
    assert_eq!(code(&answer), "0A000");
    for copy in [b'd', b'c', b'f'] {
        client.send(&frame(copy, b"x\0"));
    }
    assert_eq!(value(&client.simple("SELECT 2")), "2");
    client.send(&frame(b'Q', b"SELECT '\xff\xfe'\0"));
    assert_eq!(code(&client.answer()), "22021");
    assert_eq!(value(&client.simple("SELECT 3")), "3");
    assert_eq!(kinds(&client.simple("")), "IZ");
    assert_eq!(kinds(&client.simple(" ; -- nothing\n ;")), "IZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_of_a_simple_query_is_judged_by_itself() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    let answer =
        client.simple("SELECT 1; SELECT count(*) FROM invoices; SET timezone='UTC'; SELECT 3");
    assert_eq!(kinds(&answer), "TDCTDCCTDCZ");
    let answer = client.simple("SELECT 1; DELETE FROM invoices; SELECT 3");
    assert_eq!(kinds(&answer), "TDCEZ");
    assert_eq!(code(&answer), "25006");
    let answer = client.simple("SELECT 1; SELECT nope FROM invoices");
    let position = answer
        .messages
        .iter()
        .find(|(kind, _)| *kind == b'E')
        .unwrap();
    let text = String::from_utf8_lossy(&position.1).replace('\0', "|");
    assert!(text.contains("|P18|"), "counted in the whole text: {text}");
    assert_eq!(client.simple("SELECT 1 +").rows().len(), 0);
    assert_eq!(value(&client.simple("SELECT 4")), "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_have_limits_and_the_session_goes_on() {
    let rows = gate(|config| config.limits.rows_max = 3).await;
    let mut client = login(&rows, "bob");
    let answer = client.simple("SELECT id FROM invoices");
    assert_eq!(code(&answer), "54000");
    assert_eq!(answer.rows().len(), 3);
    assert_eq!(
        client
            .simple("SELECT id FROM invoices LIMIT 3")
            .rows()
            .len(),
        3
    );
    let bytes = gate(|config| config.limits.result_bytes_max = 1_000).await;
    let mut client = login(&bytes, "bob");
    let answer = client.extended("SELECT repeat('x', 2000)");
    assert_eq!(code(&answer), "54000");
    assert!(answer.rows().is_empty());
    assert_eq!(value(&client.extended("SELECT 5")), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_larger_than_every_buffer_passes() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    for protocol in [Client::simple, Client::extended] {
        let answer = protocol(
            &mut client,
            "SELECT string_agg(repeat('y', 9000), '') FROM invoices a, invoices b, invoices c",
        );
        assert_eq!(value(&answer).len(), 216 * 9000);
        assert_eq!(value(&protocol(&mut client, "SELECT 1")), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_let_go() {
    let gate = gate(|config| config.limits.client_write_ms_max = 500).await;
    let mut client = login(&gate, "bob");
    let query =
        "SELECT repeat('z', 9000) FROM invoices a, invoices b, invoices c, invoices d, invoices e";
    client.send(&frame(b'Q', &[query.as_bytes(), b"\0"].concat()));
    let watcher = gate_activity(&gate);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if watcher.active().await == 0 {
            return;
        }
    }
    panic!("the database still works for a client that takes nothing");
}

/// Looks at the database's own list of what runs for the gate.
pub fn gate_activity(gate: &crate::support::Gate) -> Activity {
    Activity {
        database: gate.database.clone(),
    }
}

pub struct Activity {
    database: String,
}

impl Activity {
    /// How many of the gate's connections run a query.
    pub async fn active(&self) -> i64 {
        let config = crate::support::superuser(&self.database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'rowgate' AND state = 'active'";
        client.query_one(query, &[]).await.unwrap().get(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn literals_are_read_by_the_settings_and_the_clock_of_their_own_request() {
    // One connection upstream, where each text is prepared from its second use on.
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let zone = "SELECT '2024-01-01 00:00'::timestamptz = '2023-12-31 15:00+00'::timestamptz";
    let day = "SELECT extract(month FROM '02/03/2024'::date)";
    let mut here = login(&gate, "bob");
    let mut there = login(&gate, "anne");
    there.simple("SET TimeZone = 'Asia/Tokyo'");
    there.simple("SET DateStyle = 'ISO, DMY'");
    for _ in 0..3 {
        assert_eq!(value(&here.simple(zone)), "f");
        assert_eq!(value(&there.simple(zone)), "t");
        assert_eq!(value(&here.simple(day)), "2");
        assert_eq!(value(&there.simple(day)), "3");
        there.send(&extended(zone));
        assert_eq!(value(&there.answer()), "t");
        here.send(&extended(zone));
        assert_eq!(value(&here.answer()), "f");
    }
    let clock = "SELECT now() - 'Now'::timestamptz < interval '0.5 seconds'";
    for _ in 0..3 {
        assert_eq!(value(&here.simple(clock)), "t");
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}
