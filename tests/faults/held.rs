//! What a session holds on to (cursors, portals, prepared statements) when the ground under it moves: a cancel in the middle
//! of the rows, a token that ends, views that change.

use crate::audit::lines;
use crate::clients::{token_until, tokens};
use crate::program::{ANNES, BOBS, ENDLESS, LONG, Served, Site, code, replace, sees, until, value};
use crate::wire::{Answer, Client, extended, frame};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn parse(client: &mut Client, name: &str, sql: &str) -> Answer {
    client.send(&frame(b'P', format!("{name}\0{sql}\0\0\0").as_bytes()));
    sync(client)
}

fn bind(client: &mut Client, portal: &str, name: &str) {
    let body = format!("{portal}\0{name}\0\0\0\0\0\0\0");
    client.send(&frame(b'B', body.as_bytes()));
}

fn execute(client: &mut Client, portal: &str, rows: u8) {
    let body = [portal.as_bytes(), &[0, 0, 0, 0, rows]].concat();
    client.send(&frame(b'E', &body));
}

fn sync(client: &mut Client) -> Answer {
    client.send(&frame(b'S', b""));
    client.answer()
}

fn describe(client: &mut Client, name: &str) -> Answer {
    client.send(&frame(b'D', format!("S{name}\0").as_bytes()));
    sync(client)
}

/// Bind, Execute and Sync: what a driver sends that has described the statement before.
fn run(client: &mut Client, name: &str) -> Answer {
    bind(client, "", name);
    execute(client, "", 0);
    sync(client)
}

/// The same with a Describe of the portal.
fn run_described(client: &mut Client, name: &str) -> Answer {
    bind(client, "", name);
    client.send(&frame(b'D', b"P\0"));
    execute(client, "", 0);
    sync(client)
}

fn names(answer: &Answer) -> Vec<String> {
    let columns = answer.columns().into_iter();
    columns.map(|(name, _type)| name).collect()
}

/// All rows, values joined by `|`, rows by `,`.
fn rows(answer: &Answer) -> String {
    let one = |row: Vec<Option<String>>| {
        let values: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        values.join("|")
    };
    let all: Vec<String> = answer.rows().into_iter().map(one).collect();
    all.join(",")
}

/// The status after `ROLLBACK TO a`.
fn back(client: &mut Client) -> Option<u8> {
    client.simple("ROLLBACK TO a").status()
}

fn cancel(address: std::net::SocketAddr, key: &[u8]) {
    let length = 8 + u32::try_from(key.len()).unwrap();
    let code = 80_877_102_u32.to_be_bytes();
    let packet = [&length.to_be_bytes()[..], &code, key].concat();
    let mut client = Client::open(address);
    client.send(&packet);
    assert!(client.answer().closed);
}

/// A statement that is cancelled: what goes before it, itself, and whether rows come before the cancel does. (PostgreSQL sends
/// those of a FETCH when it has all of them, and then does not look for cancels any more.)
fn cancelled_statements() -> Vec<(String, String, bool)> {
    let declare = |query: &str| format!("BEGIN; DECLARE c CURSOR FOR {query}");
    let copy = |query: &str, more: &str| format!("COPY ({query}) TO STDOUT {more}");
    vec![
        (declare(ENDLESS), "FETCH ALL FROM c".to_owned(), false),
        (declare(LONG), "FETCH c".to_owned(), false),
        (declare(LONG), "MOVE ALL FROM c".to_owned(), false),
        (String::new(), copy(ENDLESS, ""), true),
        (String::new(), copy(ENDLESS, "(FORMAT binary)"), true),
        (String::new(), copy(LONG, "(FORMAT csv, HEADER)"), false),
        ("BEGIN".to_owned(), copy(ENDLESS, "CSV"), true),
    ]
}

fn is_row(kind: u8) -> bool {
    matches!(kind, b'D' | b'd')
}

/// Sends a statement, cancels it once it runs, or once its rows come; how many came.
fn send_and_cancel(served: &Served, site: &Site, bob: &mut Client, key: &[u8], sent: &Sent) -> u64 {
    let Sent { sql, flows, .. } = sent;
    bob.send(&match sent.by_extended {
        false => frame(b'Q', &[sql.as_bytes(), b"\0"].concat()),
        true => extended(sql),
    });
    let mut early = 0_u64;
    if *flows {
        while early == 0 {
            early += u64::from(is_row(bob.message().unwrap().0));
        }
    } else {
        until("it runs", || site.running(&sql[..4]) == 1);
    }
    cancel(served.address, key);
    let answer = bob.answer();
    assert_eq!(code(&answer), "57014", "{sql}");
    let message = answer.error().unwrap().message;
    assert_eq!(message, "canceling statement due to user request", "{sql}");
    // Nothing behind the error but ReadyForQuery.
    let at = answer.messages.iter().position(|(kind, _)| *kind == b'E');
    let behind = &answer.messages[at.unwrap() + 1..];
    assert!(matches!(behind, [(b'Z', _)]), "{sql}: {behind:?}");
    assert_eq!(answer.status(), Some(sent.status), "{sql}");
    let late = answer.messages.iter().filter(|(kind, _)| is_row(*kind));
    early + late.count() as u64
}

struct Sent {
    sql: String,
    by_extended: bool,
    flows: bool,
    /// ReadyForQuery's, behind the error.
    status: u8,
}

#[test]
fn a_cancel_in_the_middle_of_a_fetch_or_a_copy_ends_that_alone() {
    let site = Site::new("cancel_rows");
    let served = site.serve();
    let (mut bob, key) = served.connect_cancellable(&site, "bob");
    let mut anne = served.connect(&site, "anne");
    anne.send(&frame(b'Q', &[LONG.as_bytes(), b"\0"].concat()));
    until("Anne's runs", || site.busy().len() == 1);
    let annes = site.busy();
    let mut seen = Vec::new();
    for (number, (before, sql, flows)) in cancelled_statements().into_iter().enumerate() {
        for by_extended in [false, true] {
            if !before.is_empty() {
                assert_eq!(code(&bob.simple(&before)), "", "{before}");
            }
            let sent = Sent {
                sql: format!("{sql} /* k{number} {by_extended} */"),
                by_extended,
                flows,
                status: if before.is_empty() { b'I' } else { b'E' },
            };
            let rows = send_and_cancel(&served, &site, &mut bob, &key, &sent);
            assert_eq!(site.busy(), annes, "Anne's goes on where it was");
            assert_eq!(bob.simple("ROLLBACK").status(), Some(b'I'));
            sees(&mut bob, BOBS);
            seen.push((sent, rows));
        }
    }
    one_line_each(&site, &seen);
}

/// Exactly one request of each, whose outcome is the cancel, with the rows that left.
fn one_line_each(site: &Site, seen: &[(Sent, u64)]) {
    let path = site.beside("audit.jsonl");
    until("every outcome is there", || {
        let lines = lines(&path);
        let ended = lines.iter().filter(|line| line["sqlstate"] == "57014");
        ended.count() == seen.len()
    });
    let lines = lines(&path);
    for (Sent { sql, flows, .. }, seen) in seen {
        let of_it = |line: &&Value| line["event"] == "request" && line["sql"] == sql.as_str();
        let requests: Vec<&Value> = lines.iter().filter(of_it).collect();
        let [request] = requests[..] else {
            panic!("{sql}: {requests:?}");
        };
        assert_eq!(request["decision"], "allow", "{sql}");
        let of_it = |line: &&Value| {
            line["event"] == "outcome" && line["request_id"] == request["request_id"]
        };
        let outcome = lines.iter().find(of_it).unwrap();
        assert_eq!(outcome["sqlstate"], "57014", "{sql}");
        let told = outcome["rows"].as_u64().unwrap();
        // A header of COPY is no row.
        let header = u64::from(sql.contains("binary") || sql.contains("HEADER"));
        assert!(
            told == *seen || told + header == *seen,
            "{sql}: {told} {seen}"
        );
        assert_eq!(told > 0, *flows, "{sql}");
    }
}

#[track_caller]
fn expired(answer: &Answer, what: &str) {
    let error = answer.error().unwrap_or_else(|| panic!("{what}: no error"));
    assert_eq!(error.code, "28000", "{what}");
    assert_eq!(error.message, "the token has expired", "{what}");
    let data = |(kind, _): &(u8, Vec<u8>)| matches!(kind, b'D' | b'd' | b'T' | b'C');
    assert!(!answer.messages.iter().any(data), "{what}: {answer:?}");
}

#[test]
fn what_a_token_opened_gives_no_row_once_it_has_expired() {
    let site = Site::new("token_ends");
    tokens(&site, false);
    site.set("tokens", "leeway_s = 0");
    let served = site.serve();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ends = now.as_secs() + 6;
    let login = || {
        let password = token_until("bob", ends);
        Client::login(served.address, "agent.bob", &password, &site.database)
            .map_err(|answer| format!("{:?}", answer.error()))
            .unwrap()
    };
    let (mut cursor, mut portal) = (login(), login());
    let query = "SELECT id FROM invoices ORDER BY id";
    cursor.simple(&format!("PREPARE ids AS {query}"));
    cursor.simple(&format!("BEGIN; DECLARE c CURSOR FOR {query}"));
    assert_eq!(rows(&cursor.simple("FETCH 2 FROM c")), "1,2");
    assert_eq!(cursor.simple("SAVEPOINT a").status(), Some(b'T'));
    // A portal of which two rows have been read, and a COPY that stands ready.
    assert_eq!(code(&portal.simple("BEGIN")), "");
    assert_eq!(code(&parse(&mut portal, "ids", query)), "");
    assert_eq!(
        code(&parse(&mut portal, "copy", "COPY invoices TO STDOUT")),
        ""
    );
    bind(&mut portal, "p", "ids");
    bind(&mut portal, "q", "copy");
    execute(&mut portal, "p", 2);
    assert_eq!(rows(&sync(&mut portal)), "1,2");
    assert_eq!(portal.simple("SAVEPOINT a").status(), Some(b'T'));

    let ended = UNIX_EPOCH + Duration::from_millis(ends * 1000 + 100);
    std::thread::sleep(ended.duration_since(SystemTime::now()).unwrap_or_default());
    for sql in [
        "FETCH c",
        "FETCH ALL FROM c",
        "MOVE 1 FROM c",
        "EXECUTE ids",
        query,
    ] {
        expired(&cursor.simple(sql), sql);
        assert_eq!(back(&mut cursor), Some(b'T'), "{sql}");
        expired(&cursor.extended(sql), sql);
        assert_eq!(back(&mut cursor), Some(b'T'), "{sql}");
    }
    for name in ["p", "q"] {
        execute(&mut portal, name, 0);
        expired(&sync(&mut portal), name);
        assert_eq!(back(&mut portal), Some(b'T'), "{name}");
    }
    expired(&run(&mut portal, "ids"), "Bind");
    // Ending it is still possible: a session must be able to let go of its connection.
    assert_eq!(cursor.simple("ROLLBACK").status(), Some(b'I'));
    assert_eq!(portal.simple("ROLLBACK").status(), Some(b'I'));
    until("the refusals are written", || {
        let lines = lines(&site.beside("audit.jsonl"));
        let refused = lines
            .iter()
            .filter(|line| line["reason"] == "token_expired");
        // Five statements by two protocols, two portals, one Bind.
        refused.count() == 13
    });
}

fn prepare_all(bob: &mut Client) {
    let all = "SELECT * FROM invoices ORDER BY id LIMIT 2";
    let ids = "SELECT id, department FROM invoices ORDER BY id";
    let notes = "SELECT id, note FROM invoices ORDER BY id LIMIT 1";
    let by_date = "SELECT id FROM invoices WHERE date = $1";
    for (name, sql) in [
        ("all", all),
        ("twin", all),
        ("ids", ids),
        ("notes", notes),
        ("undescribed", all),
        ("by_date", by_date),
    ] {
        assert_eq!(code(&parse(bob, name, sql)), "");
        if name != "undescribed" {
            describe(bob, name);
        }
        if name == "by_date" {
            continue;
        }
        assert_eq!(
            code(&bob.simple(&format!("PREPARE sql_{name} AS {sql}"))),
            ""
        );
    }
    let six = ["id", "amount", "date", "department", "customer_id", "note"];
    assert_eq!(names(&run_described(bob, "all")), six);
    assert_eq!(names(&describe(bob, "all")), six);
    assert_eq!(code(&parse(bob, "execute", "EXECUTE sql_all")), "");
    assert_eq!(names(&describe(bob, "execute")), six);
    assert_eq!(names(&bob.simple("EXECUTE sql_all")), six);
}

/// The view on invoices changes: one column less, another type of one, and fewer rows. What it was before.
fn narrow(site: &Site, other: &mut Client) -> String {
    let file = site.view("invoices");
    let good = std::fs::read_to_string(&file).unwrap();
    let narrow = good
        .replace(", note", "")
        .replace(" date,", " date::text AS date,")
        .replace("WHERE ", "WHERE id > 1 AND ");
    replace(&file, &narrow);
    site.apply();
    until("the new view is in force", || {
        code(&other.simple("SELECT note FROM invoices")) == "42703"
            && rows(&other.simple("SELECT min(id) FROM invoices")) == "2"
    });
    good
}

fn the_same_shape_has_the_new_rows(bob: &mut Client) {
    let fewer = "2|HRM,3|HRM,4|HRM,9|Training,10|Training";
    for answer in [
        run(bob, "ids"),
        run_described(bob, "ids"),
        bob.simple("EXECUTE sql_ids"),
        bob.extended("EXECUTE sql_ids"),
    ] {
        assert_eq!(rows(&answer), fewer, "{:?}", answer.error());
    }

    // A column that is gone is named as an unknown one, as PostgreSQL names one that was dropped.
    for answer in [
        run(bob, "notes"),
        run_described(bob, "notes"),
        bob.simple("EXECUTE sql_notes"),
        bob.extended("EXECUTE sql_notes"),
    ] {
        assert_eq!(code(&answer), "42703", "{:?}", answer.error());
    }
}

/// Another shape than the statement was described with: PostgreSQL's own words, at which drivers prepare again.
fn another_shape_is_an_error_or_described(bob: &mut Client) {
    let five = ["id", "amount", "date", "department", "customer_id"];
    // What is told of a statement is not told of another with the same text.
    assert_eq!(names(&describe(bob, "twin")), five);
    for _ in 0..2 {
        let mut answers = vec![
            run(bob, "all"),
            run_described(bob, "all"),
            run(bob, "execute"),
        ];
        // A parameter is a text by now, where the client was told to send a date.
        let date = [
            &b"\0by_date\0\0\x01\0\x01\0\x01\0\0\0\x04"[..],
            &[0, 0, 35, 0],
            &[0, 0],
        ]
        .concat();
        bob.send(&frame(b'B', &date));
        execute(bob, "", 0);
        answers.push(sync(bob));
        for answer in answers {
            let error = answer.error().unwrap();
            assert_eq!(error.code, "0A000", "{error:?}");
            assert_eq!(error.message, "cached plan must not change result type");
            assert_eq!(rows(&answer), "");
            assert!(!answer.contains("customer_id"), "{answer:?}");
        }
    }
    // What is described as it runs is described as it is now.
    for answer in [
        run_described(bob, "undescribed"),
        bob.simple("EXECUTE sql_all"),
        bob.extended("EXECUTE sql_all"),
    ] {
        assert_eq!(names(&answer), five, "{:?}", answer.error());
    }
    // Described again, or prepared again, it has the new shape, and runs.
    assert_eq!(names(&describe(bob, "all")), five);
    assert_eq!(run(bob, "all").rows()[0].len(), 5);
    bob.send(&frame(b'C', b"Sexecute\0"));
    assert_eq!(code(&parse(bob, "execute", "EXECUTE sql_all")), "");
    assert_eq!(names(&run_described(bob, "execute")), five);
}

#[test]
fn what_is_prepared_is_judged_by_the_views_of_its_moment() {
    let site = Site::new("held_reload");
    let served = site.serve();
    let (mut bob, mut other) = (served.connect(&site, "bob"), served.connect(&site, "bob"));
    prepare_all(&mut bob);
    let good = narrow(&site, &mut other);
    the_same_shape_has_the_new_rows(&mut bob);
    another_shape_is_an_error_or_described(&mut bob);

    // No view, no table: in the words of an unknown one.
    std::fs::remove_file(site.view("invoices")).unwrap();
    site.apply();
    until("the table is unknown", || {
        code(&other.simple("SELECT id FROM invoices")) == "42P01"
    });
    for answer in [
        run(&mut bob, "all"),
        run_described(&mut bob, "ids"),
        bob.simple("EXECUTE sql_ids"),
        bob.extended("EXECUTE sql_all"),
    ] {
        let error = answer.error().unwrap();
        assert_eq!(error.code, "42P01");
        assert_eq!(error.message, "relation \"invoices\" does not exist");
    }

    // Back again: the statements were never lost.
    replace(&site.view("invoices"), &good);
    site.apply();
    until("the old view is in force", || {
        rows(&other.simple("SELECT min(id) FROM invoices")) == "1"
    });
    assert_eq!(rows(&bob.simple("EXECUTE sql_notes")), "1|4501");
    assert_eq!(rows(&run(&mut bob, "notes")), "1|4501");
    sees(&mut served.connect(&site, "anne"), ANNES);
    assert_eq!(
        value(&bob.simple("SELECT count(*) FROM invoices")).as_deref(),
        Some("6")
    );
}

/// Views of the file only: an open cursor would keep `apply` from replacing an installed one.
#[test]
fn a_cursor_open_over_a_reload_gives_no_row_of_the_old_view() {
    let site = Site::inline("cursor_reload");
    let served = site.serve();
    let (mut bob, mut other) = (served.connect(&site, "bob"), served.connect(&site, "bob"));
    let ids = "SELECT id FROM invoices ORDER BY id";
    bob.simple(&format!("PREPARE ids AS {ids}"));
    bob.simple(&format!("BEGIN; DECLARE c CURSOR FOR {ids}"));
    assert_eq!(rows(&bob.simple("FETCH 1 FROM c")), "1");
    assert_eq!(bob.simple("SAVEPOINT a").status(), Some(b'T'));
    let file = site.view("invoices");
    let good = std::fs::read_to_string(&file).unwrap();
    replace(&file, &good.replace("WHERE ", "WHERE id > 3 AND "));
    until("the new view is in force", || {
        rows(&other.simple("SELECT min(id) FROM invoices")) == "4"
    });
    for sql in ["FETCH c", "MOVE c", "FETCH ALL FROM c"] {
        for protocol in [
            Client::simple as fn(&mut Client, &str) -> Answer,
            Client::extended,
        ] {
            let answer = protocol(&mut bob, sql);
            assert_eq!(
                (code(&answer).as_str(), rows(&answer).as_str()),
                ("28000", ""),
                "{sql}"
            );
            assert_eq!(back(&mut bob), Some(b'T'));
        }
    }
    // In the same transaction the new view counts, for what is prepared and for what is declared.
    assert_eq!(rows(&bob.simple("EXECUTE ids")), "4,9,10");
    bob.simple(&format!("CLOSE c; DECLARE c CURSOR FOR {ids}"));
    assert_eq!(rows(&bob.simple("FETCH 2 FROM c")), "4,9");
    assert_eq!(bob.simple("COMMIT").status(), Some(b'I'));
}
