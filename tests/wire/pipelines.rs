//! The extended protocol: order, errors, portals, many at once.

use crate::client::{Client, frame};
use crate::{code, gate, kinds, login, value};
use rowgate::config::Enforcement;
use rowgate::demo::Setup;

fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [name.as_bytes(), b"\0", sql.as_bytes(), b"\0"].concat();
    body.extend(u16::try_from(types.len()).unwrap().to_be_bytes());
    for oid in types {
        body.extend(oid.to_be_bytes());
    }
    frame(b'P', &body)
}

fn bind(portal: &str, statement: &str, format: u16, values: &[&[u8]]) -> Vec<u8> {
    let mut body = [portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\x01"].concat();
    body.extend(format.to_be_bytes());
    body.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
    for value in values {
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
    }
    body.extend(b"\0\x01");
    body.extend(format.to_be_bytes());
    frame(b'B', &body)
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind][..], name.as_bytes(), b"\0"].concat())
}

fn execute(portal: &str, rows: u32) -> Vec<u8> {
    frame(
        b'E',
        &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat(),
    )
}

fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[&[kind][..], name.as_bytes(), b"\0"].concat())
}

fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

fn run(client: &mut Client, messages: &[Vec<u8>]) -> crate::client::Answer {
    client.send(&messages.concat());
    client.answer()
}

/// Drivers that keep no statements send the same Parse again and again; what it means may have changed since.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_parse_again_means_what_it_means_now() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    let mut ask = |text: &str, types: &[u32], format: u16, values: &[&[u8]]| {
        run(
            &mut client,
            &[
                parse("", text, types),
                bind("", "", format, values),
                execute("", 0),
                sync(),
            ],
        )
    };
    // The declared types are part of it.
    for _ in 0..2 {
        let integer = ask("SELECT $1", &[23], 1, &[&[0, 0, 0, 55]]);
        assert_eq!(value(&integer), "\0\0\x007");
        let text = ask("SELECT $1", &[25], 1, &[b"7"]);
        assert_eq!(value(&text), "7");
    }
    // So are the settings it is read by.
    let march = "SELECT '02/03/2024'::date = '2024-03-02'::date";
    for (style, expected) in [("ISO, MDY", "f"), ("ISO, DMY", "t"), ("ISO, MDY", "f")] {
        ask(&format!("SET datestyle = '{style}'"), &[], 0, &[]);
        for _ in 0..2 {
            assert_eq!(value(&ask(march, &[], 0, &[])), expected, "{style}");
        }
    }
    // In a failed transaction it is refused like any other.
    assert_eq!(value(&ask("SELECT 1", &[], 0, &[])), "1");
    ask("BEGIN", &[], 0, &[]);
    assert_eq!(value(&ask("SELECT 1", &[], 0, &[])), "1");
    assert_eq!(code(&ask("SELECT * FROM nowhere", &[], 0, &[])), "42P01");
    assert_eq!(code(&ask("SELECT 1", &[], 0, &[])), "25P02");
    ask("ROLLBACK", &[], 0, &[]);
    assert_eq!(value(&ask("SELECT 1", &[], 0, &[])), "1");
}

/// The manual: an unnamed statement lasts until the next Parse of one, or the next Query.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_lets_go_of_the_unnamed_statement() {
    let gate = gate(|_| {}).await;
    for query in ["SELECT 1", "", "BEGIN", "SELEC"] {
        let mut client = login(&gate, "bob");
        for name in ["", "named"] {
            run(&mut client, &[parse(name, "SELECT 55", &[]), sync()]);
        }
        let use_of = |name| [bind("", name, 0, &[]), execute("", 0), sync()];
        assert_eq!(value(&run(&mut client, &use_of(""))), "55");
        client.simple(query);
        assert_eq!(value(&run(&mut client, &use_of("named"))), "55", "{query}");
        assert_eq!(code(&run(&mut client, &use_of(""))), "26000", "{query}");
    }
}

/// What stands behind an error is skipped, so it closes nothing and replaces nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_closed_only_if_what_stands_before_succeeds() {
    let gate = gate(|_| {}).await;
    // The database says what is wrong with it, so not before the whole pipeline has been read.
    let wrong = || parse("w", "SELECT id FROM invoices WHERE id > $1", &[25]);
    let closes = || close(b'S', "s");
    let replaced = || parse("s", "SELECT 66", &[]);
    let deallocated = |text| [parse("", text, &[]), bind("", "", 0, &[]), execute("", 0)].concat();
    let ways = [
        vec![wrong(), closes(), sync()],
        vec![wrong(), closes(), replaced(), sync()],
        vec![wrong(), deallocated("DEALLOCATE s"), sync()],
        vec![wrong(), deallocated("DEALLOCATE ALL"), sync()],
        vec![frame(
            b'Q',
            b"SAVEPOINT a; DEALLOCATE s; PREPARE s AS SELECT 66\0",
        )],
    ];
    for (number, way) in ways.iter().enumerate() {
        let mut client = login(&gate, "bob");
        run(&mut client, &[parse("s", "SELECT 55", &[]), sync()]);
        assert_ne!(code(&run(&mut client, way)), "", "{number}");
        let uses = [bind("", "s", 0, &[]), execute("", 0), sync()];
        assert_eq!(value(&run(&mut client, &uses)), "55", "{number}");
        let closed = [closes(), replaced(), sync()];
        assert_eq!(code(&run(&mut client, &closed)), "", "{number}");
        assert_eq!(value(&run(&mut client, &uses)), "66", "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_skips_to_sync() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    for broken in [
        "SELECT 1/0",
        "SELECT * FROM secret",
        "DELETE FROM invoices",
        "SELEC",
    ] {
        let answer = run(
            &mut client,
            &[
                parse("", "SELECT 1", &[]),
                bind("", "", 0, &[]),
                execute("", 0),
                parse("", broken, &[]),
                bind("", "", 0, &[]),
                execute("", 0),
                parse("", "SELECT 3", &[]),
                bind("", "", 0, &[]),
                execute("", 0),
                sync(),
            ],
        );
        let expected = if broken == "SELECT 1/0" {
            "12DC12EZ"
        } else {
            "12DCEZ"
        };
        // Division by zero may already show when the plan is made.
        let seen = kinds(&answer).replace("12DC1EZ", "12DC12EZ");
        assert_eq!(seen, expected, "{broken}");
        assert_eq!(value(&client.extended("SELECT 4")), "4", "{broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_results_in_text_and_binary() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    let sql = "SELECT $1::int + 1, $2::text";
    let text = run(
        &mut client,
        &[
            parse("q", sql, &[23, 25]),
            bind("", "q", 0, &[b"41", b"x"]),
            execute("", 0),
            sync(),
        ],
    );
    assert_eq!(text.rows(), [[Some("42".to_owned()), Some("x".to_owned())]]);
    let binary = run(
        &mut client,
        &[
            bind("", "q", 1, &[&41_u32.to_be_bytes(), b"x"]),
            execute("", 0),
            sync(),
        ],
    );
    assert_eq!(value(&binary).as_bytes(), 42_u32.to_be_bytes());
    let described = run(&mut client, &[describe(b'S', "q"), sync()]);
    assert_eq!(kinds(&described), "tTZ");
    for (wrong, expected) in [
        (vec![bind("", "q", 0, &[b"1"]), sync()], "08P01"),
        (vec![bind("", "q", 0, &[b"1", b"2", b"3"]), sync()], "08P01"),
        (vec![bind("", "none", 0, &[]), sync()], "26000"),
        (vec![execute("none", 0), sync()], "34000"),
        (vec![parse("q", "SELECT 1", &[]), sync()], "42P05"),
        (vec![parse("r", "SELECT $1", &[2205]), sync()], "42501"),
        (vec![parse("s", "SELECT 1; SELECT 2", &[]), sync()], "42601"),
        (
            vec![
                bind("", "q", 0, &[b"no number", b"x"]),
                execute("", 0),
                sync(),
            ],
            "22P02",
        ),
    ] {
        assert_eq!(code(&run(&mut client, &wrong)), expected);
        assert_eq!(value(&client.simple("SELECT 1")), "1");
    }
    let closed = run(
        &mut client,
        &[close(b'S', "q"), bind("", "q", 0, &[]), sync()],
    );
    assert_eq!(
        (kinds(&closed).as_str(), code(&closed).as_str()),
        ("3EZ", "26000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_stop_at_their_limit_and_go_on() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    assert_eq!(kinds(&client.simple("BEGIN")), "CZ");
    let first = run(
        &mut client,
        &[
            parse("", "SELECT id FROM invoices ORDER BY id", &[]),
            bind("a", "", 0, &[]),
            bind("b", "", 0, &[]),
            describe(b'P', "a"),
            execute("a", 2),
            execute("b", 1),
            sync(),
        ],
    );
    assert_eq!(kinds(&first), "122TDDsDsZ");
    let second = run(&mut client, &[execute("a", 2), execute("b", 0), sync()]);
    assert_eq!(kinds(&second), "DDsDDDDDCZ");
    assert_eq!(second.rows()[0][0].as_deref(), Some("3"));
    let third = run(
        &mut client,
        &[execute("a", 0), close(b'P', "a"), execute("a", 0), sync()],
    );
    assert_eq!(
        (kinds(&third).as_str(), code(&third).as_str()),
        ("DDC3EZ", "34000")
    );
    assert_eq!(third.status(), Some(b'E'));
    client.simple("ROLLBACK");
    // Portals end with their transaction.
    let gone = run(&mut client, &[execute("b", 0), sync()]);
    assert_eq!(code(&gone), "34000");
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_answers_without_ending_the_pipeline() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    client.send(&[parse("", "SELECT 7", &[]), describe(b'S', ""), flush()].concat());
    let seen: Vec<u8> = (0..3).map(|_| client.message().unwrap().0).collect();
    assert_eq!(seen, *b"1tT");
    let rest = run(&mut client, &[bind("", "", 0, &[]), execute("", 0), sync()]);
    assert_eq!(kinds(&rest), "2DCZ");
    // An error at Flush: skipped up to Sync, then usable.
    client.send(&[parse("", "SELECT * FROM secret", &[]), flush()].concat());
    assert_eq!(client.message().unwrap().0, b'E');
    let rest = run(&mut client, &[bind("", "", 0, &[]), execute("", 0), sync()]);
    assert_eq!(kinds(&rest), "Z");
    assert_eq!(value(&client.simple("SELECT 8")), "8");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_queries_in_one_pipeline() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    let one = [bind("", "q", 0, &[b"1"]), execute("", 0)].concat();
    let mut bytes = parse("q", "SELECT $1::int", &[]);
    bytes.extend(one.repeat(10_000));
    bytes.extend(sync());
    let writer = {
        let mut half = client.half();
        std::thread::spawn(move || half.send(&bytes))
    };
    let answer = client.answer();
    writer.join().unwrap();
    assert_eq!(answer.rows().len(), 10_000);
    assert_eq!(answer.status(), Some(b'I'));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_statements_work_by_the_extended_protocol() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    assert_eq!(kinds(&client.extended("BEGIN")), "12nCZ");
    assert_eq!(
        client.extended("SET timezone = 'Asia/Tokyo'").status(),
        Some(b'T')
    );
    let shown = client.extended("SHOW timezone");
    assert_eq!(kinds(&shown), "12TDCZ");
    assert_eq!(value(&shown), "Asia/Tokyo");
    assert_eq!(kinds(&client.extended("COMMIT")), "12nCZ");
    let now =
        client.extended("SELECT extract(timezone FROM '2025-01-01 00:00:00+00'::timestamptz)");
    assert_eq!(value(&now).parse::<f64>().unwrap(), 32_400.0);
    assert_eq!(kinds(&client.extended("")), "12nIZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_taken_away_is_gone_for_a_prepared_statement() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "anne");
    let sum = [bind("", "q", 0, &[]), execute("", 0), sync()];
    let first = [parse("q", "SELECT sum(amount) FROM invoices", &[])];
    assert_eq!(
        value(&run(&mut client, &[&first[..], &sum[..]].concat())),
        "3900.00"
    );
    let config = crate::support::superuser(&gate.database);
    let (admin, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    admin
        .execute(
            "DELETE FROM user_roles WHERE \"user\" = 'anne' AND role = 'Sales Manager'",
            &[],
        )
        .await
        .unwrap();
    for _ in 0..100 {
        if value(&run(&mut client, &sum)) == "1300.00" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the role is still in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_principals_parameters_are_out_of_reach() {
    // Inline: the principal is bound behind the caller's parameters.
    let setup = Setup::example(
        "wire_inline",
        std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        Enforcement::Inline,
    );
    let gate = crate::support::gate_with(setup, |_| {}).await;
    let mut client = login(&gate, "bob");
    let sql = "SELECT coalesce(sum(amount), 0) FROM invoices WHERE id < $1";
    let described = run(
        &mut client,
        &[parse("q", sql, &[]), describe(b'S', "q"), sync()],
    );
    let (_, body) = described
        .messages
        .iter()
        .find(|(kind, _)| *kind == b't')
        .unwrap();
    assert_eq!(body[..2], [0, 1], "one parameter is told of");
    assert_eq!(body.len(), 6);
    let text = run(
        &mut client,
        &[bind("", "q", 0, &[b"100"]), execute("", 0), sync()],
    );
    assert_eq!(value(&text), "1300.00");
    let type_ = u32::from_be_bytes(body[2..6].try_into().unwrap());
    let number: &[u8] = if type_ == 20 {
        &[0, 0, 0, 0, 0, 0, 0, 100]
    } else {
        &[0, 0, 0, 100]
    };
    let binary = run(
        &mut client,
        &[bind("", "q", 1, &[number]), execute("", 0), sync()],
    );
    assert_eq!(kinds(&binary), "2DCZ");
    // More values than the query has, which would otherwise stand where the principal's do.
    let forged: &[&[u8]] = &[b"100", b"{\"Sales Manager\"}"];
    let answer = run(
        &mut client,
        &[bind("", "q", 0, forged), execute("", 0), sync()],
    );
    assert_eq!(code(&answer), "08P01");
    // More declared types than the query has.
    let typed = run(
        &mut client,
        &[
            parse("r", sql, &[23, 25, 25]),
            bind("", "r", 0, &[b"100"]),
            execute("", 0),
            sync(),
        ],
    );
    assert_eq!(value(&typed), "1300.00");
    let plain = run(
        &mut client,
        &[
            parse("", sql, &[]),
            bind("", "", 0, &[b"3"]),
            execute("", 0),
            sync(),
        ],
    );
    assert_eq!(value(&plain), "650.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_points_into_the_callers_text() {
    let gate = gate(|_| {}).await;
    let mut client = login(&gate, "bob");
    let position = |answer: &crate::client::Answer| {
        let (_, body) = answer.messages.iter().find(|(kind, _)| *kind == b'E')?;
        let found = body
            .split(|byte| *byte == 0)
            .find(|part| part.first() == Some(&b'P'));
        found.map(|part| String::from_utf8_lossy(&part[1..]).into_owned())
    };
    // "operator does not exist: text + integer", found by the database when it analyses the final text.
    let sql = "SELECT id FROM invoices WHERE note + 1 > 2";
    for text in [sql.to_owned(), format!("  /* é */ {sql}")] {
        let at = text.chars().position(|c| c == '+').unwrap() + 1;
        let simple = client.simple(&text);
        assert_eq!(code(&simple), "42883");
        assert_eq!(position(&simple), Some(at.to_string()), "simple: {text}");
        assert_eq!(
            position(&client.extended(&text)),
            Some(at.to_string()),
            "{text}"
        );
        let named = [parse("named", &text, &[]), describe(b'S', "named"), sync()];
        assert_eq!(
            position(&run(&mut client, &named)),
            Some(at.to_string()),
            "{text}"
        );
        run(&mut client, &[close(b'S', "named"), sync()]);
        // Which of two it was.
        let second = [
            parse("", "SELECT note FROM invoices", &[]),
            bind("", "", 0, &[]),
            execute("", 0),
            parse("other", &text, &[]),
            bind("b", "other", 0, &[]),
            execute("b", 0),
            sync(),
        ];
        assert_eq!(
            position(&run(&mut client, &second)),
            Some(at.to_string()),
            "{text}"
        );
        run(&mut client, &[close(b'S', "other"), sync()]);
    }
}
