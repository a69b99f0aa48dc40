//! Answers that are passed on as they come: NDJSON and CSV, their ends, and clients that stop reading.

use crate::gate::{Gate, bearer, gate};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NDJSON: &str = "Accept: application/x-ndjson";
const CSV: &str = "Accept: text/csv";

async fn ask(gate: &Gate, accept: &str, sql: &str) -> crate::gate::Answer {
    gate.send(&[&bearer("anne"), accept], &json!({"sql": sql}).to_string())
        .await
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_lines_and_the_last_says_that_it_is_the_last() {
    let gate = gate("lines", |_| {}).await;
    let sql = "SELECT department, sum(amount) FROM invoices GROUP BY 1 ORDER BY 1";
    let answer = ask(&gate, NDJSON, sql).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let found = lines(&answer.text);
    let head = json!({
        "columns": [{"name": "department", "type": "text"}, {"name": "sum", "type": "numeric"}],
        "filtered": ["public.invoices"],
        "request_id": answer.header("x-request-id").unwrap(),
    });
    assert_eq!(found[0], head);
    assert_eq!(
        found[1..4],
        [
            json!(["HRM", "1000.00"]),
            json!(["Sales", "2600.00"]),
            json!(["Training", "300.00"])
        ]
    );
    assert_eq!(found[4..], [json!({"row_count": 3, "truncated": false})]);
    let csv = ask(&gate, CSV, sql).await;
    assert_eq!(
        csv.text,
        "department,sum\r\nHRM,1000.00\r\nSales,2600.00\r\nTraining,300.00\r\n"
    );
    let none = ask(&gate, CSV, "SELECT id, note FROM invoices WHERE false").await;
    assert_eq!(
        (none.status, none.text.as_str(), none.exit),
        (200, "id,note\r\n", 0)
    );
    let odd = ask(&gate, CSV, "SELECT NULL, '', 'a,\"b', true").await;
    assert_eq!(odd.text.lines().nth(1), Some(",\"\",\"a,\"\"b\",true"));
    let many = ask(&gate, NDJSON, "SELECT g FROM generate_series(1, 100000) g").await;
    let found = lines(&many.text);
    assert_eq!((found.len(), &found[100_000]), (100_002, &json!([100_000])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_the_first_row_has_its_status_and_later_its_line() {
    let gate = gate("errors", |_| {}).await;
    for accept in [NDJSON, CSV] {
        let early = ask(&gate, accept, "SELECT 1/0").await;
        assert_eq!(
            (early.status, &early.body["sqlstate"]),
            (400, &json!("22012")),
            "{accept}"
        );
        let unknown = ask(&gate, accept, "SELECT * FROM nowhere").await;
        assert_eq!(
            (unknown.status, &unknown.body["sqlstate"]),
            (400, &json!("42P01")),
            "{accept}"
        );
    }
    let late = "SELECT 1/(200000-g) FROM generate_series(1, 300000) g";
    let answer = ask(&gate, NDJSON, late).await;
    let found = lines(&answer.text);
    let (last, rows) = found.split_last().unwrap();
    assert_eq!((answer.status, answer.exit, rows.len()), (200, 0, 200_000));
    assert_eq!(
        (&last["error"]["sqlstate"], &last["error"]["detail"]),
        (&json!("22012"), &json!("division by zero"))
    );
    assert_eq!(last["error"]["request_id"], found[0]["request_id"]);
    let csv = ask(&gate, CSV, late).await;
    assert_eq!(
        (csv.status, csv.exit),
        (200, 18),
        "the transfer breaks off, so that a part is not taken for the whole"
    );
    let (request, outcome) = gate.recorded(&csv).await;
    assert_eq!(
        (request.len(), outcome.len(), &outcome[0]["sqlstate"]),
        (1, 1, &json!("22012"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_told_in_the_last_line_or_breaks_the_transfer() {
    let gate = gate("limits", |config| config.limits.rows_max = 1_000).await;
    let sql = "SELECT g, repeat('x', 100) FROM generate_series(1, 5000) g";
    let answer = ask(&gate, NDJSON, sql).await;
    let found = lines(&answer.text);
    assert_eq!(
        found.last(),
        Some(&json!({"row_count": 1_000, "truncated": true}))
    );
    let csv = ask(&gate, CSV, sql).await;
    assert!(
        csv.exit == 18 || csv.status == 413,
        "{} {}",
        csv.exit,
        csv.status
    );
    let document = gate.query("anne", sql).await;
    assert_eq!(
        (&document.body["row_count"], &document.body["truncated"]),
        (&json!(1_000), &json!(true))
    );
}

/// A request whose answer is not read; the connection.
async fn begin(gate: &Gate, accept: &str, sql: &str) -> TcpStream {
    let address = gate.addresses.http.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = json!({"sql": sql}).to_string();
    let head = format!(
        "POST /v1/query HTTP/1.1\r\nHost: {address}\r\n{}\r\n{accept}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        bearer("anne"),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// Outcomes in the audit, once there are as many.
async fn outcomes(gate: &Gate, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let lines = gate.lines();
        let found: Vec<Value> = lines
            .into_iter()
            .filter(|line| line["event"] == "outcome")
            .collect();
        if found.len() >= count {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{} of {count} outcomes",
            found.len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn active(gate: &Gate) -> i64 {
    let owner = crate::support::cluster().connect("postgres").await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active'";
    owner
        .query_one(sql, &[&gate.database])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_query() {
    let gate = gate("leaves", |_| {}).await;
    // Minutes of work, and endless rows.
    let busy = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    let endless = "SELECT a, b FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    for (number, (accept, sql)) in [
        ("Accept: application/json", busy),
        (NDJSON, busy),
        (NDJSON, endless),
        (CSV, endless),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = begin(&gate, accept, sql).await;
        if sql == endless {
            let mut some = [0; 100];
            stream.read_exact(&mut some).await.unwrap();
        } else {
            while active(&gate).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        drop(stream);
        let found = outcomes(&gate, number + 1).await;
        assert_eq!(found[number]["sqlstate"], "57014", "{accept} {sql}");
        let begun = Instant::now();
        while active(&gate).await > 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "still running: {sql}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let requests = gate
        .lines()
        .iter()
        .filter(|line| line["event"] == "request")
        .count();
    assert_eq!(requests, 4, "one line each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_the_database_back() {
    let gate = gate("slow", |config| config.limits.client_write_ms_max = 1_500).await;
    let sql = "SELECT repeat('x', 1000) FROM generate_series(1, 2000000)";
    let stream = begin(&gate, NDJSON, sql).await;
    let found = outcomes(&gate, 1).await;
    let bytes = found[0]["bytes"].as_u64().unwrap();
    assert!(
        bytes < 64 * 1024 * 1024,
        "{bytes} of 2 GB were taken from the database for nobody"
    );
    assert_eq!(found[0]["sqlstate"], "57014");
    drop(stream);
}
