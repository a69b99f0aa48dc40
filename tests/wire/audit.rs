//! Exactly one record a request, whatever came of it.

use crate::client::frame;
use crate::{gate, login};
use rowgate::config::AuditSink;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn one_record_a_request_and_one_outcome_a_run() {
    let gate = gate(|_| {}).await;
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("the example's audit log is a file");
    };
    let mut client = login(&gate, "bob");
    client.simple("SELECT 1 AS a1; SELECT 2 AS a2");
    client.simple("SELECT * FROM secret_a3");
    client.simple("SELECT 1/0 AS a4");
    client.extended("SELECT 1 AS a5");
    client.extended("DELETE FROM a6");
    // One Parse, two Executes: two requests.
    let bind = frame(b'B', b"\0a7\0\0\0\0\0\0\0");
    let execute = frame(b'E', b"\0\0\0\0\0");
    let parse = frame(b'P', b"a7\0SELECT 1 AS a7\0\0\0");
    client.send(
        &[
            &parse[..],
            &bind,
            &execute,
            &bind,
            &execute,
            &frame(b'S', b""),
        ]
        .concat(),
    );
    client.answer();
    client.simple("SELEC a8");
    client.simple("SET timezone = 'UTC' /* a9 */");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let requests: Vec<&serde_json::Value> = lines
        .iter()
        .filter(|line| line["event"] == "request")
        .collect();
    for (mark, count, decision) in [
        ("a1", 1, "allow"),
        ("a2", 1, "allow"),
        ("a3", 1, "refuse"),
        ("a4", 1, "allow"),
        ("a5", 1, "allow"),
        ("a6", 1, "refuse"),
        ("a7", 2, "allow"),
        ("a8", 1, "refuse"),
    ] {
        let of_it: Vec<_> = requests
            .iter()
            .filter(|line| line["sql"].as_str().is_some_and(|sql| sql.contains(mark)))
            .collect();
        assert_eq!(of_it.len(), count, "{mark}");
        assert!(
            of_it.iter().all(|line| line["decision"] == decision),
            "{mark}: {of_it:?}"
        );
    }
    let outcomes = lines
        .iter()
        .filter(|line| line["event"] == "outcome")
        .count();
    let allowed = requests
        .iter()
        .filter(|line| line["decision"] == "allow")
        .count();
    assert_eq!(outcomes, allowed);
}
