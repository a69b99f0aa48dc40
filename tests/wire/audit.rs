//! Exactly one record a request, whatever came of it.

use crate::client::{Client, frame, startup};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_leaves_one_line_without_what_was_shown() {
    let gate = gate(|_| {}).await;
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("the example's audit log is a file");
    };
    let attempt = |user: &str, database: &str, password: &str| {
        let parameters = [
            ("user", user),
            ("database", database),
            ("application_name", "l0gin"),
        ];
        assert!(Client::login_with(gate.address, password, &parameters).is_err());
    };
    attempt("bob", &gate.database, "wr0ng-secret");
    attempt("nobody", &gate.database, "wr0ng-secret");
    attempt("bob", "elsewhere", rowgate::demo::PASSWORD);
    // Delegation that this login may not do.
    let delegated = [
        ("user", "bob"),
        ("database", &gate.database),
        ("options", "-c rowgate.user_id=anne"),
    ];
    assert!(Client::login_with(gate.address, "wr0ng-secret", &delegated).is_err());
    // Accepted, left before the proof, and no start-up packet at all: no line.
    drop(login(&gate, "anne"));
    let mut silent = Client::open(gate.address);
    silent.send(&startup(&[("user", "eve"), ("database", &gate.database)]));
    drop(silent);
    drop(Client::open(gate.address));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = std::fs::read_to_string(path).unwrap();
    assert!(!log.contains("wr0ng-secret"));
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["event"] == "login")
        .collect();
    let seen: Vec<[&str; 4]> = lines
        .iter()
        .map(|line| {
            ["login", "user_id", "reason", "decision"]
                .map(|name| line[name].as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        seen,
        [
            ["bob", "-", "authentication_failed", "refuse"],
            ["nobody", "-", "authentication_failed", "refuse"],
            ["bob", "-", "database_unknown", "refuse"],
            ["bob", "anne", "authentication_failed", "refuse"],
        ]
    );
    for line in &lines {
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(line["time"].is_string() && line["request_id"].is_string());
    }
    assert_eq!(lines[0]["application_name"], "l0gin");
    assert_eq!(lines[2]["database"], "elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_hold_queries_leave_one_record_each() {
    let gate = gate(|_| {}).await;
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("the example's audit log is a file");
    };
    let statements = [
        ("PREPARE q AS SELECT id AS h1 FROM invoices", "allow"),
        ("EXECUTE q /* h2 */", "allow"),
        ("EXECUTE q(1) /* h3 */", "refuse"),
        ("EXECUTE nope /* h4 */", "refuse"),
        ("DECLARE c CURSOR FOR SELECT 1 AS h5", "refuse"),
        ("BEGIN /* h6 */", "allow"),
        (
            "DECLARE c CURSOR FOR SELECT id AS h7 FROM invoices",
            "allow",
        ),
        ("FETCH 2 FROM c /* h8 */", "allow"),
        ("MOVE c /* h9 */", "allow"),
        ("CLOSE c /* g1 */", "allow"),
        ("COMMIT /* g2 */", "allow"),
        ("CLOSE c /* g3 */", "refuse"),
        ("FETCH c /* g4 */", "refuse"),
        ("COPY (SELECT id AS g5 FROM invoices) TO STDOUT", "allow"),
        ("COPY secret_g6 TO STDOUT", "refuse"),
        ("COPY g7 FROM STDIN", "refuse"),
        ("DEALLOCATE q /* g8 */", "allow"),
        ("DEALLOCATE q /* g9 */", "refuse"),
        ("SET nothing_i1 = 1", "refuse"),
    ];
    for protocol in [
        Client::simple as fn(&mut Client, &str) -> crate::client::Answer,
        Client::extended,
    ] {
        let mut client = login(&gate, "bob");
        for (sql, _) in statements {
            protocol(&mut client, sql);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = std::fs::read_to_string(path).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    for (sql, decision) in statements {
        let of_it = |line: &&serde_json::Value| line["event"] == "request" && line["sql"] == sql;
        let found: Vec<_> = lines.iter().filter(of_it).collect();
        assert_eq!(found.len(), 2, "{sql}: one by each protocol");
        assert!(
            found.iter().all(|line| line["decision"] == decision),
            "{sql}: {found:?}"
        );
        let reads = sql.contains("h8") || sql.contains("g5") || sql.contains("h2");
        let tables = found
            .iter()
            .filter(|line| line["tables"][0] == "public.invoices");
        assert!(!reads || tables.count() == 2, "{sql}: {found:?}");
        // What ran has its outcome, with the rows that left.
        for line in found
            .iter()
            .filter(|_| sql.contains("h8") || sql.contains("g5"))
        {
            let outcome = lines.iter().find(|other| {
                other["event"] == "outcome" && other["request_id"] == line["request_id"]
            });
            let rows = if sql.contains("h8") { 2 } else { 6 };
            assert_eq!(outcome.unwrap()["rows"], rows, "{sql}");
        }
    }
}
