//! PREPARE, EXECUTE, cursors and COPY as statements: courses through both protocols.

use crate::client::{Answer, Client};
use crate::{code, gate, kinds, login};

/// What a statement comes to.
enum Is {
    /// Nothing but its command tag.
    Done(&'static str),
    /// These rows, columns joined by `|`, rows by `,`; and the command tag.
    Rows(&'static str, &'static str),
    /// What COPY writes.
    Copied(&'static str),
    /// An error of this SQLSTATE, with this in its message.
    Error(&'static str, &'static str),
}

use Is::{Copied, Done, Error, Rows};

const TWO: &str = "SELECT id, department FROM invoices ORDER BY id";

/// As bob, whose invoices are 1, 2, 3, 4 (HRM), 9 and 10 (Training).
const COURSES: &[&[(&str, Is)]] = &[
    &[
        (
            "PREPARE p (int) AS SELECT id FROM invoices WHERE id < $1 ORDER BY id",
            Done("PREPARE"),
        ),
        ("EXECUTE p(3)", Rows("1,2", "SELECT 2")),
        ("EXECUTE p('4')", Rows("1,2,3", "SELECT 3")),
        ("EXECUTE p(NULL)", Rows("", "SELECT 0")),
        ("EXECUTE p('2'::int)", Rows("1", "SELECT 1")),
        ("EXECUTE p", Error("42601", "wrong number")),
        (
            "EXECUTE p('x')",
            Error("22P02", "invalid input syntax for type integer"),
        ),
        ("EXECUTE p('2'::text)", Error("0A000", "argument 1 is cast")),
        (
            "EXECUTE p((SELECT count(*) FROM secret))",
            Error("0A000", "not a literal"),
        ),
        ("EXECUTE p(pg_sleep(9))", Error("0A000", "not a literal")),
        (
            "PREPARE p AS SELECT 1",
            Error("42P05", "\"p\" already exists"),
        ),
        ("DEALLOCATE p", Done("DEALLOCATE")),
        ("EXECUTE p(3)", Error("26000", "\"p\" does not exist")),
        ("DISCARD PLANS", Done("DISCARD PLANS")),
    ],
    &[
        // What the database refuses is not kept: the name is free.
        (
            "PREPARE p AS SELECT nope FROM invoices",
            Error("42703", "nope"),
        ),
        (
            "PREPARE p AS SELECT * FROM secret",
            Error("42P01", "secret"),
        ),
        (
            "PREPARE p AS DELETE FROM invoices",
            Error("25006", "DELETE"),
        ),
        ("PREPARE p AS SELECT $1::text", Done("PREPARE")),
        (
            "EXECUTE p('; DROP TABLE x --')",
            Rows("; DROP TABLE x --", "SELECT 1"),
        ),
        ("DEALLOCATE ALL", Done("DEALLOCATE ALL")),
        ("EXECUTE p('a')", Error("26000", "p")),
    ],
    &[
        (
            "DECLARE c CURSOR FOR SELECT 1",
            Error("25P01", "DECLARE CURSOR"),
        ),
        ("FETCH c", Error("34000", "\"c\" does not exist")),
        ("CLOSE c", Error("34000", "\"c\" does not exist")),
        ("BEGIN", Done("BEGIN")),
        (
            "DECLARE \"c; x\" SCROLL CURSOR FOR SELECT id FROM invoices ORDER BY id",
            Done("DECLARE CURSOR"),
        ),
        ("FETCH 2 FROM \"c; x\"", Rows("1,2", "FETCH 2")),
        ("FETCH ALL FROM \"c; x\"", Rows("3,4,9,10", "FETCH 4")),
        ("FETCH PRIOR FROM \"c; x\"", Rows("10", "FETCH 1")),
        ("MOVE ABSOLUTE 1 FROM \"c; x\"", Done("MOVE 1")),
        ("FETCH RELATIVE 1 FROM \"c; x\"", Rows("2", "FETCH 1")),
        ("FETCH -2147483647 FROM \"c; x\"", Rows("1", "FETCH 1")),
        ("CLOSE \"c; x\"", Done("CLOSE CURSOR")),
        ("FETCH \"c; x\"", Error("34000", "\"c; x\" does not exist")),
        ("ROLLBACK", Done("ROLLBACK")),
    ],
    // What the gate calls a cursor in the database is nobody's name.
    &[
        ("BEGIN", Done("BEGIN")),
        ("DECLARE c CURSOR FOR SELECT 1", Done("DECLARE CURSOR")),
        ("FETCH p1", Error("34000", "\"p1\" does not exist")),
        ("ROLLBACK", Done("ROLLBACK")),
    ],
    &[
        ("BEGIN", Done("BEGIN")),
        (
            "DECLARE c NO SCROLL CURSOR FOR SELECT id FROM invoices WHERE id > 2 ORDER BY id",
            Done("DECLARE CURSOR"),
        ),
        ("SAVEPOINT a", Done("SAVEPOINT")),
        ("DECLARE d CURSOR FOR SELECT 1", Done("DECLARE CURSOR")),
        (
            "DECLARE c CURSOR FOR SELECT 1",
            Error("42P03", "\"c\" already exists"),
        ),
        ("FETCH c", Error("25P02", "aborted")),
        ("ROLLBACK TO a", Done("ROLLBACK")),
        ("FETCH d", Error("34000", "\"d\" does not exist")),
        ("ROLLBACK TO a", Done("ROLLBACK")),
        ("FETCH c", Rows("3", "FETCH 1")),
        ("FETCH BACKWARD 1 FROM c", Error("55000", "forward")),
        ("ROLLBACK TO a", Done("ROLLBACK")),
        // As PostgreSQL says of a portal that failed, and by the client's name.
        ("FETCH c", Error("55000", "\"c\"")),
        ("COMMIT", Done("ROLLBACK")),
        ("FETCH c", Error("34000", "\"c\"")),
    ],
    &[
        ("BEGIN", Done("BEGIN")),
        (
            "DECLARE c CURSOR FOR SELECT id FROM invoices ORDER BY id",
            Done("DECLARE CURSOR"),
        ),
        ("SAVEPOINT a", Done("SAVEPOINT")),
        ("SAVEPOINT b", Done("SAVEPOINT")),
        (
            "DECLARE d CURSOR FOR SELECT id FROM invoices ORDER BY id DESC",
            Done("DECLARE CURSOR"),
        ),
        ("RELEASE a", Done("RELEASE")),
        ("FETCH d", Rows("10", "FETCH 1")),
        ("CLOSE ALL", Done("CLOSE CURSOR ALL")),
        ("FETCH c", Error("34000", "c")),
        ("ROLLBACK AND CHAIN", Done("ROLLBACK")),
        (
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            Error("0A000", "WITH HOLD"),
        ),
        ("ROLLBACK", Done("ROLLBACK")),
    ],
    &[
        ("BEGIN", Done("BEGIN")),
        (
            "DECLARE c CURSOR FOR SELECT * FROM secret",
            Error("42P01", "secret"),
        ),
        ("ROLLBACK", Done("ROLLBACK")),
        ("BEGIN", Done("BEGIN")),
        (
            "DECLARE c CURSOR FOR SELECT 1 FROM invoices FOR UPDATE",
            Error("25006", "locked"),
        ),
        ("ROLLBACK", Done("ROLLBACK")),
        (
            "DECLARE c CURSOR FOR DELETE FROM invoices",
            Error("42601", ""),
        ),
    ],
    &[
        (
            "COPY (SELECT id, note FROM invoices WHERE id < 4 ORDER BY id) TO STDOUT",
            Copied("1\t4501\n2\t4502\n3\t\\N\n"),
        ),
        (
            "COPY (SELECT id, note FROM invoices WHERE id < 4 ORDER BY id) TO STDOUT (FORMAT csv, HEADER, DELIMITER '''', NULL 'n\\x', FORCE_QUOTE (note))",
            Copied("id'note\n1'\"4501\"\n2'\"4502\"\n3'n\\x\n"),
        ),
        (
            "COPY (SELECT id FROM invoices ORDER BY id LIMIT 1) TO STDOUT CSV",
            Copied("1\n"),
        ),
        (
            "COPY public.invoices (id, department) TO STDOUT (DELIMITER '|')",
            Copied("1|HRM\n2|HRM\n3|HRM\n4|HRM\n9|Training\n10|Training\n"),
        ),
        (
            "COPY (SELECT 1) TO STDOUT (DELIMITER E'\\n')",
            Error("22023", "newline"),
        ),
        (
            "COPY (SELECT 1) TO STDOUT (DELIMITER 'ab')",
            Error("0A000", "delimiter"),
        ),
        (
            "COPY (SELECT 1) TO STDOUT (FORCE_QUOTE (id))",
            Error("0A000", "CSV"),
        ),
        (
            "COPY (SELECT nope FROM invoices) TO STDOUT",
            Error("42703", "nope"),
        ),
        (
            "COPY (SELECT 1/(id - 2) FROM invoices ORDER BY id) TO STDOUT",
            Error("22012", "division"),
        ),
        ("COPY secret TO STDOUT", Error("42P01", "secret")),
        ("COPY (SELECT $1) TO STDOUT", Error("42P02", "$1")),
        ("COPY invoices FROM STDIN", Error("25006", "COPY")),
        ("COPY invoices TO '/tmp/x'", Error("25006", "file")),
    ],
];

fn rows(answer: &Answer) -> String {
    let rows: Vec<String> = answer
        .rows()
        .into_iter()
        .map(|row| {
            let values: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
            values.join("|")
        })
        .collect();
    rows.join(",")
}

/// The last command tag.
fn tag(answer: &Answer) -> String {
    let last = answer.messages.iter().rev().find(|(kind, _)| *kind == b'C');
    last.map(|(_, body)| {
        String::from_utf8_lossy(body)
            .trim_end_matches('\0')
            .to_owned()
    })
    .unwrap_or_default()
}

fn copied(answer: &Answer) -> String {
    let data = answer.messages.iter().filter(|(kind, _)| *kind == b'd');
    data.map(|(_, body)| String::from_utf8_lossy(body))
        .collect()
}

fn check(sql: &str, answer: &Answer, is: &Is) {
    match is {
        Done(expected) => {
            assert_eq!(tag(answer), *expected, "{sql}: {:?}", answer.error());
            assert!(answer.rows().is_empty(), "{sql}");
        }
        Rows(expected, expected_tag) => {
            assert_eq!(rows(answer), *expected, "{sql}: {:?}", answer.error());
            assert_eq!(tag(answer), *expected_tag, "{sql}");
        }
        Copied(expected) => {
            assert_eq!(copied(answer), *expected, "{sql}: {:?}", answer.error());
            let frames = kinds(answer);
            assert!(
                frames.contains('H') && frames.ends_with("cCZ"),
                "{sql}: {frames}"
            );
        }
        Error(expected, word) => {
            assert_eq!(code(answer), *expected, "{sql}: {:?}", answer.error());
            let message = answer.error().unwrap().message;
            assert!(message.contains(word), "{sql}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_hold_queries_follow_postgresql_by_both_protocols() {
    let gate = gate(|_| {}).await;
    for protocol in [
        Client::simple as fn(&mut Client, &str) -> Answer,
        Client::extended,
    ] {
        for course in COURSES {
            let mut client = login(&gate, "bob");
            for (sql, is) in *course {
                check(sql, &protocol(&mut client, sql), is);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_ends_with_the_rights_it_was_declared_by() {
    let gate = gate(|_| {}).await;
    let config = crate::support::superuser(&gate.database);
    let (admin, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut bob = login(&gate, "bob");
    bob.simple(&format!("PREPARE p AS {TWO}"));
    bob.simple("BEGIN");
    bob.simple(&format!("DECLARE c CURSOR FOR {TWO}"));
    bob.simple("SAVEPOINT a");
    assert_eq!(rows(&bob.simple("FETCH c")), "1|HRM");
    admin
        .batch_execute("DELETE FROM user_roles WHERE \"user\" = 'bob'")
        .await
        .unwrap();
    for protocol in [
        Client::simple as fn(&mut Client, &str) -> Answer,
        Client::extended,
    ] {
        for sql in ["FETCH c", "FETCH ALL FROM c", "MOVE ALL FROM c"] {
            let answer = protocol(&mut bob, sql);
            assert_eq!(code(&answer), "28000", "{sql}");
            assert_eq!(rows(&answer), "", "{sql}");
            assert_eq!(tag(&bob.simple("ROLLBACK TO a")), "ROLLBACK");
        }
        // A prepared statement is judged again, and finds no row.
        assert_eq!(rows(&protocol(&mut bob, "EXECUTE p")), "");
        bob.simple("ROLLBACK TO a");
    }
    admin
        .batch_execute("INSERT INTO user_roles VALUES ('bob', 'HR Manager')")
        .await
        .unwrap();
    assert_eq!(rows(&bob.simple("FETCH c")), "2|HRM");
    assert_eq!(
        rows(&bob.simple("EXECUTE p")).len(),
        rows(&bob.simple(TWO)).len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_connection_for_the_next() {
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let (mut bob, mut anne) = (login(&gate, "bob"), login(&gate, "anne"));
    bob.simple("BEGIN");
    bob.simple(&format!(
        "DECLARE c CURSOR FOR {TWO}; PREPARE p AS {TWO}; FETCH c"
    ));
    bob.simple("COMMIT");
    for sql in [
        "FETCH c",
        "FETCH ALL FROM p1",
        "FETCH \"p1\"",
        "EXECUTE p",
        "EXECUTE s1",
        "CLOSE c",
    ] {
        assert!(
            ["34000", "26000"].contains(&code(&anne.simple(sql)).as_str()),
            "{sql}"
        );
        assert!(
            ["34000", "26000"].contains(&code(&anne.extended(sql)).as_str()),
            "{sql}"
        );
    }
    // A statement of the session outlives its transaction, a cursor does not.
    assert_eq!(code(&bob.simple("FETCH c")), "34000");
    assert_eq!(tag(&bob.simple("EXECUTE p")), "SELECT 6");
    anne.simple("BEGIN");
    assert_eq!(
        tag(&anne.simple("DECLARE c CURSOR FOR SELECT id FROM invoices; FETCH ALL FROM c; COMMIT")),
        "COMMIT"
    );
    // Left in the middle.
    bob.simple("BEGIN");
    bob.simple(&format!("DECLARE c CURSOR FOR {TWO}; FETCH 1 FROM c"));
    drop(bob);
    anne.simple("BEGIN");
    assert_eq!(code(&anne.simple("FETCH c")), "34000");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_bound_for_cursors_and_savepoints() {
    let gate = gate(|config| {
        config.limits.portals_per_session_max = 3;
        config.limits.savepoints_max = 2;
        config.limits.rows_max = 4;
    })
    .await;
    let mut bob = login(&gate, "bob");
    bob.simple("BEGIN");
    for number in 0..3 {
        let answer = bob.simple(&format!("DECLARE c{number} CURSOR FOR {TWO}"));
        assert_eq!(code(&answer), "");
    }
    assert_eq!(code(&bob.simple("DECLARE c9 CURSOR FOR SELECT 1")), "54000");
    bob.simple("ROLLBACK");
    assert_eq!(
        code(&bob.simple("BEGIN; SAVEPOINT a; SAVEPOINT b; SAVEPOINT c")),
        "54000"
    );
    bob.simple("ROLLBACK");
    // The most rows of a request are those of a FETCH or a COPY, its header not counted.
    bob.simple("BEGIN");
    bob.simple(&format!("DECLARE c CURSOR FOR {TWO}"));
    assert_eq!(tag(&bob.simple("FETCH 4 FROM c")), "FETCH 4");
    assert_eq!(tag(&bob.simple("FETCH 4 FROM c")), "FETCH 2");
    bob.simple("ROLLBACK");
    for (sql, expected) in [
        (
            format!("COPY ({TWO} LIMIT 4) TO STDOUT (FORMAT csv, HEADER)"),
            "",
        ),
        (
            format!("COPY ({TWO} LIMIT 4) TO STDOUT (FORMAT binary)"),
            "",
        ),
        (format!("COPY ({TWO} LIMIT 5) TO STDOUT"), "54000"),
        (
            format!("COPY ({TWO} LIMIT 5) TO STDOUT (FORMAT binary)"),
            "54000",
        ),
    ] {
        assert_eq!(code(&bob.simple(&sql)), expected, "{sql}");
        assert_eq!(code(&bob.extended(&sql)), expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_names_the_filtered_tables_where_the_gate_is_to_say_so() {
    let told = gate(|config| config.gate.notice_filtered = true).await;
    let silent = gate(|_| {}).await;
    let notices = |answer: &Answer| -> Vec<String> {
        let notices = answer.messages.iter().filter(|(kind, _)| *kind == b'N');
        let text = |(_, body): &(u8, Vec<u8>)| String::from_utf8_lossy(body).into_owned();
        notices.map(text).collect()
    };
    for protocol in [
        Client::simple as fn(&mut Client, &str) -> Answer,
        Client::extended,
    ] {
        for (sql, table) in [
            (TWO, Some("public.invoices")),
            (
                "COPY (SELECT id FROM invoices) TO STDOUT",
                Some("public.invoices"),
            ),
            ("SELECT 1", None),
        ] {
            let seen = notices(&protocol(&mut login(&told, "bob"), sql));
            assert_eq!(seen.len(), usize::from(table.is_some()), "{sql}");
            assert!(
                seen.iter().all(|notice| notice.contains(table.unwrap())),
                "{seen:?}"
            );
            assert!(notices(&protocol(&mut login(&silent, "bob"), sql)).is_empty());
            // Nothing is held back from a superuser.
            assert!(
                notices(&protocol(&mut login(&told, "admin"), sql)).is_empty(),
                "{sql}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_point_into_the_callers_own_text() {
    let gate = gate(|_| {}).await;
    let mut bob = login(&gate, "bob");
    bob.simple("BEGIN; SAVEPOINT a");
    for (sql, word) in [
        (
            "DECLARE c SCROLL CURSOR FOR SELECT id, nope FROM invoices",
            "nope",
        ),
        (
            "/* é */ COPY (SELECT id,\n nope FROM invoices) TO STDOUT (FORMAT csv)",
            "nope",
        ),
        (
            "PREPARE p (int) AS SELECT nope FROM invoices WHERE id = $1",
            "nope",
        ),
        (
            "SELECT 1; DECLARE c CURSOR FOR SELECT * FROM secret",
            "secret",
        ),
        ("COPY (SELECT * FROM secret) TO STDOUT", "secret"),
    ] {
        let position = bob.simple(sql).field(b'P').unwrap();
        let before = sql.find(word).unwrap();
        let expected = sql.get(..before).unwrap().chars().count() + 1;
        assert_eq!(position, expected.to_string(), "{sql}");
        bob.simple("ROLLBACK TO a");
    }
}
