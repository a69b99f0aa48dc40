//! The audit of a whole session, line by line, and of a disk that fills up.

use crate::program::{BOBS, LONG, Served, Site, code, sees, until};
use crate::wire::{Client, frame};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Every line; each has to be JSON.
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
        .collect()
}

fn parse(client: &mut Client, name: &str, sql: &str) {
    client.send(&frame(b'P', format!("{name}\0{sql}\0\0\0").as_bytes()));
}

fn bind(client: &mut Client, portal: &str, name: &str) {
    client.send(&frame(
        b'B',
        format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes(),
    ));
}

fn execute(client: &mut Client, portal: &str, rows: u8) {
    client.send(&frame(
        b'E',
        &[portal.as_bytes(), &[0, 0, 0, 0, rows]].concat(),
    ));
}

fn sync(client: &mut Client) -> crate::wire::Answer {
    client.send(&frame(b'S', b""));
    client.answer()
}

/// Text, decision, and of what ran the rows and the SQLSTATE.
type Expected = (
    &'static str,
    &'static str,
    Option<(u64, Option<&'static str>)>,
);

/// What the session below asks for: text, decision, how it ended (rows, SQLSTATE), in this order.
const EXPECTED: &[Expected] = &[
    ("SELECT 1 AS simple", "allow", Some((1, None))),
    // One message, three statements: three requests.
    ("SELECT 2 AS first", "allow", Some((1, None))),
    ("SELECT id FROM invoices LIMIT 2", "allow", Some((2, None))),
    ("SHOW TimeZone", "allow", Some((0, None))),
    // The second one is refused, so the third is not looked at.
    ("SELECT 3 AS before", "allow", Some((1, None))),
    ("DELETE FROM invoices", "refuse", None),
    ("SELECT nothing FROM invoices", "refuse", None),
    ("SELECT note FROM secrets", "refuse", None),
    ("SELECT FROM FROM", "refuse", None),
    // Parsed once, run three times: each Execute is a request.
    (
        "SELECT id FROM invoices ORDER BY id",
        "allow",
        Some((6, None)),
    ),
    (
        "SELECT id FROM invoices ORDER BY id",
        "allow",
        Some((2, None)),
    ),
    (
        "SELECT id FROM invoices ORDER BY id",
        "allow",
        Some((4, None)),
    ),
    ("DROP TABLE invoices", "refuse", None),
    // An error of the database, and a cancelled one.
    (
        "SELECT 1 / (id - 1) FROM invoices",
        "allow",
        Some((0, Some("22012"))),
    ),
    (LONG, "allow", Some((0, Some("57014")))),
    // In a transaction that fails.
    ("BEGIN", "allow", Some((0, None))),
    (
        "SELECT id / 0 FROM invoices",
        "allow",
        Some((0, Some("22012"))),
    ),
    ("SELECT 4 AS too_late", "refuse", None),
    ("ROLLBACK", "allow", Some((0, None))),
];

fn session(served: &Served, site: &Site) {
    let (mut bob, key) = served.connect_cancellable(site, "bob");
    let bob = &mut bob;
    bob.simple("SELECT 1 AS simple");
    bob.simple("SELECT 2 AS first; SELECT id FROM invoices LIMIT 2; SHOW TimeZone");
    assert_eq!(
        code(&bob.simple("SELECT 3 AS before; DELETE FROM invoices; SELECT 4 AS after")),
        "25006"
    );
    assert_eq!(code(&bob.simple("SELECT nothing FROM invoices")), "42703");
    assert_eq!(code(&bob.simple("SELECT note FROM secrets")), "42P01");
    assert_eq!(code(&bob.simple("SELECT FROM FROM")), "42601");

    parse(bob, "ids", "SELECT id FROM invoices ORDER BY id");
    bind(bob, "", "ids");
    execute(bob, "", 0);
    bind(bob, "p", "ids");
    execute(bob, "p", 2);
    execute(bob, "p", 0);
    assert_eq!(sync(bob).rows().len(), 12);
    parse(bob, "never_run", "SELECT 5 AS never_run");
    assert_eq!(code(&sync(bob)), "");
    parse(bob, "", "DROP TABLE invoices");
    bind(bob, "", "");
    execute(bob, "", 0);
    assert_eq!(code(&sync(bob)), "25006");

    assert_eq!(
        code(&bob.simple("SELECT 1 / (id - 1) FROM invoices")),
        "22012"
    );
    bob.send(&frame(b'Q', &[LONG.as_bytes(), b"\0"].concat()));
    until("it runs", || site.busy().len() == 1);
    let packet = [
        &16_u32.to_be_bytes()[..],
        &80_877_102_u32.to_be_bytes(),
        &key,
    ]
    .concat();
    Client::open(served.address).send(&packet);
    assert_eq!(code(&bob.answer()), "57014");

    bob.simple("BEGIN");
    assert_eq!(code(&bob.simple("SELECT id / 0 FROM invoices")), "22012");
    assert_eq!(code(&bob.simple("SELECT 4 AS too_late")), "25P02");
    bob.simple("ROLLBACK");
}

#[test]
fn each_request_has_one_line_and_what_ran_one_outcome() {
    let site = Site::new("audited");
    let served = site.serve();
    session(&served, &site);
    let path = site.beside("audit.jsonl");
    let of = |event: &str| -> Vec<Value> {
        lines(&path)
            .into_iter()
            .filter(|line| line["event"] == event)
            .collect()
    };
    until("every outcome is there", || {
        of("outcome").len() >= EXPECTED.iter().filter(|(_, _, end)| end.is_some()).count()
    });
    let (mut requests, outcomes) = (of("request"), of("outcome"));
    // In the order of asking: a refusal is written at once, what runs with its pipeline.
    requests.sort_by_key(|line| {
        let id = line["request_id"].as_str().unwrap();
        u64::from_str_radix(id.rsplit('-').next().unwrap(), 16).unwrap()
    });
    let seen: Vec<(&str, &str)> = requests
        .iter()
        .map(|line| {
            (
                line["sql"].as_str().unwrap(),
                line["decision"].as_str().unwrap(),
            )
        })
        .collect();
    let expected: Vec<(&str, &str)> = EXPECTED
        .iter()
        .map(|(sql, said, _)| (*sql, *said))
        .collect();
    assert_eq!(seen, expected);
    for (request, (sql, _, end)) in requests.iter().zip(EXPECTED) {
        let of_it: Vec<&Value> = outcomes
            .iter()
            .filter(|outcome| outcome["request_id"] == request["request_id"])
            .collect();
        match (end, &of_it[..]) {
            (None, []) => assert!(request["reason"].is_string(), "{request}"),
            (Some((rows, sqlstate)), [outcome]) => {
                assert_eq!(outcome["sqlstate"].as_str(), *sqlstate, "{sql}");
                // SHOW's row is the gate's own.
                assert_eq!(outcome["rows"].as_u64(), Some(*rows), "{sql}");
            }
            (_, found) => panic!("{sql}: {found:?}"),
        }
        assert_eq!(request["user_id"], "bob", "{request}");
    }
    assert_eq!(
        outcomes.len(),
        EXPECTED.iter().filter(|(_, _, end)| end.is_some()).count()
    );
}

#[test]
fn a_full_disk_ends_every_request_until_there_is_room() {
    let site = Site::new("full_disk");
    // Files of this process may have 8 kB; what is beyond fails like a full disk, after a part of a line.
    let mut command = Command::new("/bin/bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "gate"])
        .arg(env!("CARGO_BIN_EXE_rowgate"))
        .args(["serve", "--config"])
        .arg(&site.file);
    let served = Served::spawn(command).unwrap_or_else(|(_, log)| panic!("{log}"));
    let mut bob = served.connect(&site, "bob");
    let mut answers = 0;
    let full = loop {
        let answer = bob.simple("SELECT sum(amount) FROM invoices");
        if answer.error().is_some() {
            break answer;
        }
        answers += 1;
        assert!(answers < 100, "nothing is full");
    };
    assert!(answers > 3);
    for answer in [
        full,
        bob.simple("SELECT id FROM invoices"),
        bob.extended("SELECT id FROM invoices"),
    ] {
        assert_eq!(code(&answer), "58000");
        assert!(answer.rows().is_empty(), "a row without a line");
        assert_eq!(answer.status(), Some(b'I'));
    }
    // Room again, by rotation: the same session goes on, and every line of the new file is whole.
    let path = site.beside("audit.jsonl");
    std::fs::rename(&path, site.beside("audit.old")).unwrap();
    sees(&mut bob, BOBS);
    until("request and outcome", || {
        let lines = lines(&path);
        let request = lines.iter().find(|line| line["event"] == "request");
        request.is_some_and(|request| {
            let end = |line: &&Value| {
                line["event"] == "outcome" && line["request_id"] == request["request_id"]
            };
            lines.iter().any(|line| end(&line))
        })
    });
}
