//! One line in the audit for each request, counted: a table of what clients send, and the lines it leaves.
//!
//! What counts as a request stands in `src/session/recorded.rs`.

use crate::client::{Client, frame};
use crate::{gate, login_as};
use rowgate::config::AuditSink;
use std::time::{Duration, Instant};

/// One message.
enum Sent {
    /// Query, and its answer.
    Q(&'static str),
    /// Parse: name, text.
    P(&'static str, &'static str),
    /// Bind: portal, statement.
    B(&'static str, &'static str),
    /// Bind with one parameter, as text.
    Value(&'static str, &'static str),
    /// Execute.
    E(&'static str),
    /// Describe, or Close, of a statement (`S`) or portal (`P`).
    D(&'static [u8]),
    C(&'static [u8]),
    /// Flush.
    Flush,
    /// Sync, and the answer.
    Sync,
    /// A message as it is, and the answer up to ReadyForQuery.
    Raw(u8, &'static [u8]),
}

use Sent::{B, C, D, E, Flush, P, Q, Raw, Sync, Value};

/// The lines that are expected: text, decision.
type Lines = &'static [(&'static str, &'static str)];

const ALLOW: &str = "allow";
const REFUSE: &str = "refuse";

/// Name, what is sent, and the lines.
const CASES: &[(&str, &[Sent], Lines)] = &[
    (
        "an empty query",
        &[
            Q(""),
            Q(" ; ; "),
            Q("-- ping"),
            P("", ""),
            B("", ""),
            E(""),
            Sync,
        ],
        &[
            ("", ALLOW),
            (" ; ; ", ALLOW),
            ("-- ping", ALLOW),
            ("", ALLOW),
        ],
    ),
    (
        "several statements, an error in the middle",
        &[
            Q("SELECT 1; SELECT 1/0; SELECT 2"),
            Q("SELECT 3; SELECT * FROM secret; SELECT 4"),
            Q("SELECT 5; SHOW nothing; SELECT 6"),
        ],
        &[
            // The database is sent all of them at once; what is behind the error did not run, and its outcome says so.
            ("SELECT 1", ALLOW),
            ("SELECT 1/0", ALLOW),
            ("SELECT 2", ALLOW),
            ("SELECT 3", ALLOW),
            ("SELECT * FROM secret", REFUSE),
            ("SELECT 5", ALLOW),
            ("SHOW nothing", REFUSE),
        ],
    ),
    (
        "a text that cannot be divided",
        &[Q("SELECT 'x"), Q("SELECT 1; SELEC 2")],
        &[("SELECT 'x", REFUSE), ("SELECT 1; SELEC 2", REFUSE)],
    ),
    (
        "a text that is none",
        &[
            Raw(b'Q', b"SELECT '\xff'\0"),
            P("", ""),
            Raw(b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        ],
        &[("SELECT '\u{fffd}'", REFUSE), ("", REFUSE)],
    ),
    (
        "transaction commands refused by the gate",
        &[
            Q("BEGIN"),
            Q("SAVEPOINT a"),
            Q("SAVEPOINT b"),
            Q("SAVEPOINT too_many"),
            Q("SAVEPOINT late"),
            Q("RELEASE a"),
            Q("SELECT 1"),
            Q("SHOW timezone"),
            Q("ROLLBACK"),
            Q("ROLLBACK"),
            Q("BEGIN; BEGIN; SET TRANSACTION READ ONLY; COMMIT"),
        ],
        &[
            ("BEGIN", ALLOW),
            ("SAVEPOINT a", ALLOW),
            ("SAVEPOINT b", ALLOW),
            ("SAVEPOINT too_many", REFUSE),
            ("SAVEPOINT late", REFUSE),
            ("RELEASE a", REFUSE),
            ("SELECT 1", REFUSE),
            ("SHOW timezone", REFUSE),
            ("ROLLBACK", ALLOW),
            ("ROLLBACK", ALLOW),
            ("BEGIN", ALLOW),
            ("BEGIN", ALLOW),
            ("SET TRANSACTION READ ONLY", ALLOW),
            ("COMMIT", ALLOW),
        ],
    ),
    (
        "transaction commands in one pipeline",
        &[
            P("b", "BEGIN"),
            P("s", "SAVEPOINT a"),
            B("", "b"),
            E(""),
            B("", "s"),
            E(""),
            B("", "s"),
            E(""),
            B("", "s"),
            E(""),
            B("", "s"),
            E(""),
            Sync,
            Q("ROLLBACK TO a"),
            Q("ROLLBACK"),
        ],
        &[
            ("BEGIN", ALLOW),
            ("SAVEPOINT a", ALLOW),
            ("SAVEPOINT a", ALLOW),
            ("SAVEPOINT a", REFUSE),
            ("ROLLBACK TO a", ALLOW),
            ("ROLLBACK", ALLOW),
        ],
    ),
    (
        "transaction commands refused by the database",
        &[
            Q("SAVEPOINT a"),
            Q("RELEASE a"),
            Q("BEGIN"),
            Q("ROLLBACK TO nope"),
            Q("COMMIT"),
        ],
        &[
            ("SAVEPOINT a", ALLOW),
            ("RELEASE a", ALLOW),
            ("BEGIN", ALLOW),
            ("ROLLBACK TO nope", ALLOW),
            ("COMMIT", ALLOW),
        ],
    ),
    (
        "names that are not there",
        &[
            Q("EXECUTE nope"),
            Q("DEALLOCATE nope"),
            Q("BEGIN"),
            Q("FETCH nope"),
            Q("ROLLBACK"),
            Q("CLOSE nope"),
            B("", "nope"),
            Sync,
            E("nope"),
            Sync,
            D(b"Snope\0"),
            Sync,
            D(b"Pnope\0"),
            Sync,
            // Closing what is not there is no error.
            C(b"Snope\0"),
            C(b"Pnope\0"),
            Flush,
            Sync,
        ],
        &[
            ("EXECUTE nope", REFUSE),
            ("DEALLOCATE nope", REFUSE),
            ("BEGIN", ALLOW),
            ("FETCH nope", REFUSE),
            ("ROLLBACK", ALLOW),
            ("CLOSE nope", REFUSE),
            ("", REFUSE),
            ("", REFUSE),
            ("", REFUSE),
            ("", REFUSE),
        ],
    ),
    (
        "names that are taken",
        &[
            P("p", "SELECT 1"),
            Sync,
            P("p", "SELECT 2"),
            Sync,
            Q("PREPARE p AS SELECT 3"),
            Q("BEGIN"),
            B("c", "p"),
            B("c", "p"),
            Sync,
            Q("ROLLBACK"),
            Q("BEGIN; DECLARE c CURSOR FOR SELECT 4; DECLARE c CURSOR FOR SELECT 5"),
            Q("ROLLBACK"),
        ],
        &[
            ("SELECT 2", REFUSE),
            ("PREPARE p AS SELECT 3", REFUSE),
            ("BEGIN", ALLOW),
            ("SELECT 1", REFUSE),
            ("ROLLBACK", ALLOW),
            ("BEGIN", ALLOW),
            ("DECLARE c CURSOR FOR SELECT 4", ALLOW),
            ("DECLARE c CURSOR FOR SELECT 5", REFUSE),
            ("ROLLBACK", ALLOW),
        ],
    ),
    (
        "what is skipped behind an error",
        &[
            P("", "DELETE FROM invoices"),
            B("", ""),
            D(b"P\0"),
            E(""),
            P("", "SELECT 1"),
            B("", ""),
            E(""),
            Sync,
            P("", "SELECT 2"),
            B("", ""),
            E(""),
            Sync,
        ],
        &[("DELETE FROM invoices", REFUSE), ("SELECT 2", ALLOW)],
    ),
    (
        "prepared, described, closed and never run",
        &[
            P("p", "SELECT 1"),
            D(b"Sp\0"),
            B("x", "p"),
            D(b"Px\0"),
            C(b"Px\0"),
            C(b"Sp\0"),
            Sync,
        ],
        &[],
    ),
    (
        "refused by the database before anything runs",
        &[
            P("p", "SELECT id + 'x' FROM invoices"),
            Sync,
            P("q", "SELECT $1::int"),
            D(b"Sq\0"),
            Sync,
            Value("q", "x"),
            Sync,
            // The same with an Execute: that is the request.
            Value("q", "y"),
            E(""),
            Sync,
        ],
        &[
            ("SELECT id + 'x' FROM invoices", REFUSE),
            ("", REFUSE),
            ("SELECT $1::int", ALLOW),
        ],
    ),
    (
        "a wrong number of parameters",
        &[
            P("p", "SELECT $1::int"),
            Sync,
            B("", "p"),
            E(""),
            Sync,
            Q("SELECT $1"),
        ],
        &[("SELECT $1::int", REFUSE), ("SELECT $1", REFUSE)],
    ),
    (
        "COPY",
        &[
            Q("COPY invoices FROM STDIN"),
            Q("COPY secret TO STDOUT"),
            Q("COPY (SELECT 1/0) TO STDOUT"),
            P("", "COPY (SELECT $1::int) TO STDOUT"),
            B("", ""),
            E(""),
            Sync,
        ],
        &[
            ("COPY invoices FROM STDIN", REFUSE),
            ("COPY secret TO STDOUT", REFUSE),
            ("COPY (SELECT 1/0) TO STDOUT", ALLOW),
            ("COPY (SELECT $1::int) TO STDOUT", REFUSE),
        ],
    ),
    (
        "PREPARE that the database refuses",
        &[
            Q("PREPARE p AS SELECT id + 'x' FROM invoices"),
            Q("EXECUTE p"),
        ],
        &[
            ("PREPARE p AS SELECT id + 'x' FROM invoices", ALLOW),
            ("EXECUTE p", REFUSE),
        ],
    ),
    (
        "a portal that is run again",
        &[
            P("s", "SHOW timezone"),
            B("x", "s"),
            E("x"),
            E("x"),
            Sync,
            P("p", "SELECT 1"),
            B("", "p"),
            E(""),
            E(""),
            Sync,
        ],
        &[
            ("SHOW timezone", ALLOW),
            ("SHOW timezone", REFUSE),
            ("SELECT 1", ALLOW),
            ("SELECT 1", ALLOW),
        ],
    ),
    (
        "too much",
        &[
            P("a", "SELECT 1"),
            P("b", "SELECT 1"),
            P("c", "SELECT 1"),
            P("d", "SELECT 4"),
            Sync,
            Q("PREPARE e AS SELECT 5"),
            Q("BEGIN"),
            B("a", "a"),
            B("b", "a"),
            B("c", "b"),
            Sync,
            Q("ROLLBACK"),
        ],
        &[
            ("SELECT 4", REFUSE),
            ("PREPARE e AS SELECT 5", REFUSE),
            ("BEGIN", ALLOW),
            ("SELECT 1", REFUSE),
            ("ROLLBACK", ALLOW),
        ],
    ),
];

fn send(client: &mut Client, sent: &Sent) {
    let parts = |parts: &[&[u8]]| parts.concat();
    match sent {
        Q(text) => {
            client.simple(text);
        }
        Raw(tag, body) => {
            client.send(&frame(*tag, body));
            client.answer();
        }
        Sync => {
            client.send(&frame(b'S', b""));
            client.answer();
        }
        P(name, text) => {
            let body = parts(&[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"]);
            client.send(&frame(b'P', &body));
        }
        B(portal, name) => {
            let (portal, name) = (portal.as_bytes(), name.as_bytes());
            client.send(&frame(
                b'B',
                &parts(&[portal, b"\0", name, b"\0\0\0\0\0\0\0"]),
            ));
        }
        Value(name, value) => {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let length = u32::try_from(value.len()).unwrap().to_be_bytes();
            let body = [b"\0", name, b"\0\0\0\0\x01", &length, value, b"\0\0"];
            client.send(&frame(b'B', &parts(&body)));
        }
        E(portal) => client.send(&frame(b'E', &parts(&[portal.as_bytes(), b"\0\0\0\0\0"]))),
        D(what) => client.send(&frame(b'D', what)),
        C(what) => client.send(&frame(b'C', what)),
        Flush => client.send(&frame(b'H', b"")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_leaves_one_line_and_what_is_none_leaves_none() {
    let gate = gate(|config| {
        config.limits.savepoints_max = 2;
        config.limits.statements_per_session_max = 3;
        config.limits.portals_per_session_max = 2;
    })
    .await;
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("the example's audit log is a file");
    };
    for (name, messages, _) in CASES {
        let mut client = login_as(&gate, "bob", name);
        messages.iter().for_each(|sent| send(&mut client, sent));
    }
    let end = "SELECT 'the last line'";
    login_as(&gate, "bob", "end").simple(end);
    let started = Instant::now();
    let lines: Vec<serde_json::Value> = loop {
        let log = std::fs::read_to_string(path).unwrap();
        if log.contains("the last line") || started.elapsed() > Duration::from_secs(20) {
            let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
            break lines.collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for (name, _, expected) in CASES {
        let mut found: Vec<(u64, &str, &str)> = lines
            .iter()
            .filter(|line| line["event"] == "request" && line["application_name"] == *name)
            .map(|line| {
                let id = line["request_id"].as_str().unwrap().rsplit('-').next();
                let number = u64::from_str_radix(id.unwrap(), 16).unwrap();
                let text = |key: &str| line[key].as_str().unwrap();
                (number, text("sql"), text("decision"))
            })
            .collect();
        found.sort_unstable();
        let found: Vec<(&str, &str)> = found.iter().map(|(_, sql, how)| (*sql, *how)).collect();
        assert_eq!(found, *expected, "{name}");
    }
}
