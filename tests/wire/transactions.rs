//! BEGIN to COMMIT: read only, one snapshot if asked, failures like PostgreSQL's.

use crate::client::Client;
use crate::{code, gate, kinds, login, value};

/// Statement, expected SQLSTATE ("" = none), expected status after it.
const COURSES: &[&[(&str, &str, u8)]] = &[
    &[
        ("BEGIN", "", b'T'),
        ("SELECT count(*) FROM invoices", "", b'T'),
        ("SELECT * FROM secret", "42P01", b'E'),
        ("SELECT 1", "25P02", b'E'),
        ("SHOW timezone", "25P02", b'E'),
        ("COMMIT", "", b'I'),
        ("SELECT 1", "", b'I'),
    ],
    &[
        ("START TRANSACTION READ WRITE", "", b'T'),
        ("DELETE FROM invoices", "25006", b'E'),
        ("ROLLBACK", "", b'I'),
    ],
    &[
        ("BEGIN", "", b'T'),
        ("SAVEPOINT a", "", b'T'),
        ("SELECT 1/0", "22012", b'E'),
        ("ROLLBACK TO a", "", b'T'),
        ("SELECT count(*) FROM invoices", "", b'T'),
        ("SELECT nope FROM invoices", "42703", b'E'),
        ("ROLLBACK TO a", "", b'T'),
        ("RELEASE a", "", b'T'),
        ("ROLLBACK TO a", "3B001", b'E'),
        ("END", "", b'I'),
    ],
    &[
        ("COMMIT", "", b'I'),
        ("ROLLBACK", "", b'I'),
        ("SAVEPOINT a", "25P01", b'I'),
        ("BEGIN", "", b'T'),
        ("BEGIN", "", b'T'),
        ("COMMIT AND CHAIN", "", b'T'),
        ("ABORT", "", b'I'),
    ],
    // There is nothing to chain to outside of a block, and a failed one is not begun again.
    &[
        ("COMMIT AND CHAIN", "25P01", b'I'),
        ("ROLLBACK AND CHAIN", "25P01", b'I'),
        ("SELECT 1", "", b'I'),
        ("BEGIN", "", b'T'),
        ("SELECT 1/0", "22012", b'E'),
        ("BEGIN", "25P02", b'E'),
        (
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "25P02",
            b'E',
        ),
        ("ROLLBACK AND CHAIN", "", b'T'),
        ("COMMIT", "", b'I'),
        ("COMMIT AND CHAIN", "25P01", b'I'),
    ],
    &[
        ("BEGIN; SELECT 1; COMMIT", "", b'I'),
        ("BEGIN; SELECT 1/0; COMMIT", "22012", b'E'),
        ("ROLLBACK; SELECT 1", "", b'I'),
        (
            "BEGIN; SELECT count(*) FROM invoices; DROP TABLE invoices",
            "25006",
            b'E',
        ),
        ("ROLLBACK", "", b'I'),
    ],
];

/// Several statements in one message are one transaction, in which a cursor can be declared. Measured on PostgreSQL 15.
const SEVERAL: &[&[(&str, &str, u8)]] = &[
    &[
        ("DECLARE c CURSOR FOR SELECT 1", "25P01", b'I'),
        ("DECLARE c CURSOR FOR SELECT 1; FETCH c", "", b'I'),
        ("FETCH c", "34000", b'I'),
        (
            "SELECT 1; DECLARE c CURSOR FOR SELECT 1; COMMIT; FETCH c",
            "34000",
            b'I',
        ),
        (
            "SELECT 1; COMMIT; DECLARE c CURSOR FOR SELECT 1; FETCH c",
            "",
            b'I',
        ),
        (
            "DECLARE c CURSOR FOR SELECT 1; DECLARE c CURSOR FOR SELECT 2",
            "42P03",
            b'I',
        ),
        ("DECLARE c CURSOR FOR SELECT 1; SELECT 1/0", "22012", b'I'),
        ("SELECT 1; COMMIT AND CHAIN; SELECT 1", "25P01", b'I'),
        (
            "DECLARE c CURSOR FOR SELECT 1; SELECT * FROM secret",
            "42P01",
            b'I',
        ),
        (
            "DECLARE c CURSOR FOR SELECT * FROM secret; FETCH c",
            "42P01",
            b'I',
        ),
        (
            "DECLARE c CURSOR FOR SELECT 1; FETCH d; SELECT 1",
            "34000",
            b'I',
        ),
        ("DECLARE c CURSOR FOR SELECT 1; SAVEPOINT a", "25P01", b'I'),
        (
            "DECLARE c CURSOR FOR SELECT 1; COMMIT AND CHAIN",
            "25P01",
            b'I',
        ),
        ("DECLARE c CURSOR FOR SELECT 1; DISCARD ALL", "25001", b'I'),
        (
            "DECLARE c CURSOR FOR SELECT 1; BEGIN ISOLATION LEVEL SERIALIZABLE",
            "25001",
            b'I',
        ),
        ("SELECT 1; SAVEPOINT a", "25P01", b'I'),
        ("SELECT count(*) FROM invoices", "", b'I'),
    ],
    &[
        ("DECLARE c CURSOR FOR SELECT 1; BEGIN; SELECT 2", "", b'T'),
        ("FETCH c", "", b'T'),
        ("SAVEPOINT a", "", b'T'),
        ("COMMIT", "", b'I'),
        (
            "DECLARE c CURSOR FOR SELECT 1; BEGIN; SELECT 1/0",
            "22012",
            b'E',
        ),
        ("FETCH c", "25P02", b'E'),
        ("ROLLBACK", "", b'I'),
        ("DECLARE c CURSOR FOR SELECT 1; ROLLBACK; BEGIN", "", b'T'),
        ("FETCH c", "34000", b'E'),
        ("COMMIT", "", b'I'),
        ("BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c", "", b'T'),
        ("FETCH c; MOVE c; CLOSE c", "", b'T'),
        ("END", "", b'I'),
    ],
];

#[tokio::test(flavor = "multi_thread")]
async fn statuses_follow_postgresql_by_both_protocols() {
    let gate = gate(|_| {}).await;
    for (name, protocol) in [
        (
            "simple",
            Client::simple as fn(&mut Client, &str) -> crate::client::Answer,
        ),
        ("extended", Client::extended),
    ] {
        let several = SEVERAL.iter().filter(|_| name == "simple");
        for course in COURSES.iter().chain(several) {
            let mut client = login(&gate, "bob");
            for (sql, expected, status) in *course {
                if name == "extended" && sql.contains("; ") {
                    continue;
                }
                let answer = protocol(&mut client, sql);
                assert_eq!(code(&answer), *expected, "{name}: {sql}");
                assert_eq!(answer.status(), Some(*status), "{name}: {sql}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_commits_as_rollback() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    client.simple("BEGIN; SELECT * FROM secret");
    let answer = client.simple("COMMIT");
    assert_eq!(kinds(&answer), "CZ");
    assert!(answer.contains("ROLLBACK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_read_keeps_one_snapshot_and_one_principal() {
    let gate = gate(|_| {}).await;
    let config = crate::support::superuser(&gate.database);
    let (admin, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sum = "SELECT sum(amount) FROM invoices";
    let mut client = login(&gate, "bob");
    client.simple("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(
        value(&client.simple("SHOW transaction_isolation")),
        "repeatable read"
    );
    assert_eq!(value(&client.simple(sum)), "1300.00");
    admin
        .execute("UPDATE invoices SET amount = amount + 1", &[])
        .await
        .unwrap();
    assert_eq!(value(&client.simple(sum)), "1300.00");
    client.simple("SAVEPOINT a");
    client.simple("SELECT 1/0");
    client.simple("ROLLBACK TO a");
    // The principal was set before the savepoint, or is set again: never nobody, never somebody else.
    assert_eq!(value(&client.simple(sum)), "1300.00");
    client.simple("COMMIT");
    assert_eq!(value(&client.simple(sum)), "1306.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_one_connection_do_not_see_each_other() {
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let mut bob = login(&gate, "bob");
    let mut anne = login(&gate, "anne");
    let mut eve = login(&gate, "eve");
    let sum = "SELECT coalesce(sum(amount), 0) FROM invoices";
    for protocol in [Client::simple, Client::extended] {
        for _ in 0..5 {
            assert_eq!(value(&protocol(&mut bob, sum)), "1300.00");
            assert_eq!(value(&protocol(&mut anne, sum)), "3900.00");
            assert_eq!(value(&protocol(&mut eve, sum)), "0");
        }
    }
    // Settings stay with their session too.
    bob.simple("SET timezone = 'Asia/Tokyo'");
    let noon = "SELECT '2025-01-01 12:00:00+00'::timestamptz::text";
    assert_eq!(value(&bob.simple(noon)), "2025-01-01 21:00:00+09");
    assert!(!value(&anne.simple(noon)).contains("+09"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_goes_back_to_the_savepoint_and_no_literal_is_read_by_a_stale_one() {
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let (mut bob, mut anne) = (login(&gate, "bob"), login(&gate, "anne"));
    // 12 o'clock where? Read when the statement is parsed, and twice, so that it is kept prepared.
    let noon = "SELECT ('2025-01-01 12:00'::timestamptz AT TIME ZONE 'UTC')::text";
    let tokyo = "2025-01-01 03:00:00";
    let own = value(&bob.simple(noon));
    assert_ne!(
        own, tokyo,
        "the cluster's own time zone is not the one set here"
    );
    for (failing, minute) in [("", "12:10"), ("SELECT 1/0", "12:20")] {
        bob.simple("BEGIN");
        bob.simple("SET timezone = 'Asia/Tokyo'");
        assert_eq!(value(&bob.simple(noon)), tokyo);
        bob.simple("SAVEPOINT a");
        bob.simple("RESET timezone");
        assert_eq!(value(&bob.simple(noon)), own);
        bob.simple(failing);
        let back = bob.simple("ROLLBACK TO a");
        assert!(
            back.contains("Asia/Tokyo"),
            "ParameterStatus tells the client"
        );
        assert_eq!(value(&bob.simple("SHOW timezone")), "Asia/Tokyo");
        assert_eq!(value(&bob.simple(noon)), tokyo);
        bob.simple("SAVEPOINT b");
        bob.simple("ROLLBACK TO b");
        bob.simple("RESET timezone");
        // A text not read before: the one above is kept as it was read.
        let (_, minutes) = minute.split_once(':').unwrap();
        let other = noon.replace("12:00", minute);
        let other_own = own.replace(":00:00", &format!(":{minutes}:00"));
        for _ in 0..3 {
            assert_eq!(value(&bob.simple(&other)), other_own);
        }
        bob.simple("ROLLBACK");
        assert_ne!(value(&bob.simple("SHOW timezone")), "Asia/Tokyo");
        for _ in 0..3 {
            assert_eq!(value(&anne.simple(&other)), other_own);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_is_ended() {
    let gate = gate(|config| {
        config.limits.idle_in_transaction_ms_max = 400;
        config.upstream.pool_size = 1;
    })
    .await;
    let mut idle = login(&gate, "bob");
    idle.simple("BEGIN");
    let answer = idle.answer();
    assert!(answer.closed);
    assert_eq!(code(&answer), "25P03");
    assert_eq!(value(&login(&gate, "bob").simple("SELECT 1")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_lives_as_long_as_the_text_it_is_declared_in() {
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let mut bob = login(&gate, "bob");
    let mut anne = login(&gate, "anne");
    let text = "SELECT 7; DECLARE c CURSOR FOR SELECT id FROM invoices ORDER BY id; FETCH 2 FROM c; MOVE c; FETCH c";
    for _ in 0..3 {
        let answer = bob.simple(text);
        let ids: Vec<String> = answer.rows().into_iter().flatten().flatten().collect();
        assert_eq!(ids, ["7", "1", "2", "4"], "{:?}", answer.error());
        // The commands that the gate adds have no answer.
        assert_eq!(kinds(&answer), "TDCCTDDCCTDCZ");
        // The one connection is nobody's again, and in no transaction.
        assert_eq!(code(&anne.simple("FETCH c")), "34000");
        assert_eq!(
            value(&anne.simple("SELECT sum(amount) FROM invoices")),
            "3900.00"
        );
        let failed = bob.simple(&text.replace("MOVE c", "SELECT 1/0"));
        assert_eq!(kinds(&failed), "TDCCTDDCEZ");
        assert_eq!(
            value(&anne.simple("SELECT sum(amount) FROM invoices")),
            "3900.00"
        );
    }
}

/// The gate answers SET itself, before it knows whether the database commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_setting_stays_only_if_its_transaction_commits() {
    let gate = gate(|_| {}).await;
    let set = "SET timezone = 'Asia/Tokyo'";
    for (texts, stays) in [
        (&["BEGIN", set, "SELECT 1", "COMMIT"][..], true),
        (&["BEGIN", set, "SELECT 1/0", "COMMIT"], false),
        (&["BEGIN", set, "ROLLBACK"], false),
    ] {
        let together = texts.join("; ");
        for texts in [texts, &[together.as_str()]] {
            let mut bob = login(&gate, "bob");
            for text in texts {
                bob.simple(text);
            }
            // A text of several that failed has left its block open.
            bob.simple("ROLLBACK");
            let zone = value(&bob.simple("SHOW timezone"));
            assert_eq!(zone == "Asia/Tokyo", stays, "{texts:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_follow_the_transaction_that_several_statements_are() {
    let gate = gate(|_| {}).await;
    // What is sent, and whether the time zone is Tokyo's at its end and behind it. Measured on PostgreSQL 15.
    for (text, within, behind) in [
        ("SET timezone = 'Asia/Tokyo'; SHOW timezone", true, true),
        (
            "SET LOCAL timezone = 'Asia/Tokyo'; SHOW timezone",
            true,
            false,
        ),
        ("SET LOCAL timezone = 'Asia/Tokyo'", false, false),
        ("SET timezone = 'Asia/Tokyo'; SELECT 1/0", false, false),
        (
            "SET timezone = 'Asia/Tokyo'; SELECT * FROM secret",
            false,
            false,
        ),
        (
            "SET timezone = 'Asia/Tokyo'; COMMIT; SELECT * FROM secret",
            false,
            true,
        ),
        (
            "SET timezone = 'Asia/Tokyo'; ROLLBACK; SHOW timezone",
            false,
            false,
        ),
        (
            "SET timezone = 'Asia/Tokyo'; BEGIN; ROLLBACK; SHOW timezone",
            false,
            false,
        ),
        (
            "SET timezone = 'Asia/Tokyo'; BEGIN; COMMIT; SHOW timezone",
            true,
            true,
        ),
        (
            "DECLARE c CURSOR FOR SELECT 1; SET LOCAL timezone = 'Asia/Tokyo'; SHOW timezone",
            true,
            false,
        ),
        (
            "DECLARE c CURSOR FOR SELECT 1; SET timezone = 'Asia/Tokyo'; SHOW timezone; FETCH d",
            true,
            false,
        ),
    ] {
        let mut bob = login(&gate, "bob");
        let answer = bob.simple(text);
        let shown = answer.rows().into_iter().flatten().flatten().last();
        assert_eq!(shown.as_deref() == Some("Asia/Tokyo"), within, "{text}");
        let last = bob.simple("SHOW timezone");
        assert_eq!(value(&last) == "Asia/Tokyo", behind, "{text}");
        // The client was told by ParameterStatus what it is now.
        let told = answer.messages.iter().rev().find_map(|(kind, body)| {
            (*kind == b'S').then(|| String::from_utf8_lossy(body).contains("Asia/Tokyo"))
        });
        assert_eq!(told.unwrap_or(false), behind, "{text}");
    }
}
