//! Tags end to end, over the example in `examples/tags`: who sees which rows, columns and tables, what the
//! definitions' source does to it, what `SHOW rowgate.principal` tells, and `rowgate test` and `whoami` as commands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod principal;
mod sources;

use rowgate::config::{Config, Enforcement};
use rowgate::demo::{Scenario, Setup};
use std::path::Path;
use support::Gate;
use tokio_postgres::{Client, SimpleQueryMessage};

const EXAMPLE: &str = "examples/tags";

/// User, ids of the documents they see, whether the board's minutes and the phone numbers exist for them. From the
/// rules and the rows of `examples/tags`, by hand.
const SEEN: &[(&str, &str, bool, bool)] = &[
    ("anne", "1 2 3 4 5 7 8 10 13", true, true),
    ("bob", "1 2 4 5 7 8 9 10 13", false, true),
    ("carol", "1 4 5 7 11 12", false, false),
    ("dave", "1 2 4 6 7 8 10", false, true),
    ("mallory", "1 7", false, false),
    ("admin", "1 2 3 4 5 6 7 8 9 10 11 12 13", true, true),
];

const IDS: &str = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM documents";

/// The example as `database`.
fn example(database: &str, enforcement: Enforcement) -> Setup {
    let listen = ([127, 0, 0, 1], 0).into();
    let scenario = Scenario::read(Path::new(EXAMPLE)).unwrap();
    Setup::example(database, listen, enforcement).with_scenario(scenario)
}

/// A gate over the example, with a last change of its configuration.
async fn gate(database: &str, change: impl FnOnce(&mut Config)) -> Gate {
    support::gate_with(example(database, Enforcement::Barrier), change).await
}

/// The first value of a text's answer; what went wrong: SQLSTATE, message and hint.
async fn ask(client: &Client, sql: &str) -> Result<Option<String>, (String, String)> {
    let messages = client.simple_query(sql).await.map_err(|error| {
        let error = error.as_db_error().unwrap();
        let says = format!("{} {}", error.message(), error.hint().unwrap_or_default());
        (error.code().code().to_owned(), says)
    })?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

async fn ids(client: &Client) -> Result<String, String> {
    let answer = ask(client, IDS).await;
    answer
        .map(Option::unwrap_or_default)
        .map_err(|(code, _)| code)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_sees_what_their_tags_give() {
    for enforcement in [Enforcement::Barrier, Enforcement::Inline] {
        let name = format!("tags_{enforcement:?}").to_lowercase();
        let gate = support::gate_with(example(&name, enforcement), |_| {}).await;
        for (user, documents, board, phone) in SEEN {
            let client = gate.connect(user).await;
            assert_eq!(ids(&client).await.as_deref(), Ok(*documents), "{user}");
            let minutes = ask(&client, "SELECT count(*) FROM board_minutes").await;
            let phones = ask(&client, "SELECT count(phone) FROM people").await;
            match board {
                true => assert_eq!(minutes.unwrap().unwrap(), "1", "{user}"),
                false => assert_eq!(minutes.unwrap_err().0, "42P01", "{user}"),
            }
            match phone {
                true => assert_eq!(phones.unwrap().unwrap(), "2", "{user}"),
                false => assert_eq!(phones.unwrap_err().0, "42703", "{user}"),
            }
            assert_eq!(
                ask(&client, "SELECT count(*) FROM people").await.unwrap(),
                Some("2".to_owned()),
                "what has no tags is for everyone: {user}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tags_hide_has_the_words_of_what_does_not_exist() {
    let gate = gate("tags_words", |_| {}).await;
    let client = gate.connect("mallory").await;
    for (hidden, unheard_of) in [
        ("board_minutes", "bored_minuets"),
        ("public.board_minutes", "public.bored_minuets"),
        ("group_members", "grupe_mambers"),
    ] {
        let ask_of = async |table: &str| {
            let told = ask(&client, &format!("SELECT * FROM {table}")).await;
            let (code, says) = told.unwrap_err();
            (code, says.replace(table, "?"))
        };
        assert_eq!(ask_of(hidden).await, ask_of(unheard_of).await, "{hidden}");
    }
    let (code, says) = ask(&client, "SELECT phone FROM people").await.unwrap_err();
    let (other_code, other_says) = ask(&client, "SELECT fonez FROM people").await.unwrap_err();
    assert_eq!(
        (code, says.replace("phone", "?")),
        (other_code, other_says.replace("fonez", "?"))
    );
    // Near misses suggest only what is there for the caller.
    for near in [
        "SELECT * FROM board_minute",
        "SELECT phon FROM people",
        "SELECT p.phones FROM people p",
        "SELECT people.phone_ FROM people",
        "SELECT * FROM documents WHERE tag IS NULL",
    ] {
        let (_, says) = ask(&client, near).await.unwrap_err();
        for word in ["board_minutes", "phone\"", "phone,", ", phone", "tags"] {
            assert!(!says.contains(word), "{near}: {says}");
        }
    }
    // All columns are the visible ones, in whole rows too.
    for whole in [
        "SELECT * FROM people",
        "SELECT p FROM people p",
        "SELECT to_json(p) FROM people p",
        "SELECT row_to_json(p.*) FROM people p",
        "TABLE people",
    ] {
        let seen = match client.simple_query(whole).await {
            Ok(rows) => format!("{rows:?}"),
            Err(error) => format!("{error:?}"),
        };
        assert!(!seen.contains("+31 10"), "{whole}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_brings_a_hidden_row_back() {
    let gate = gate("tags_rows", |_| {}).await;
    let client = gate.connect("mallory").await;
    for attack in [
        "SELECT count(*) FROM documents WHERE title LIKE '%awsuit' OR true",
        "SELECT count(*) FROM (SELECT * FROM documents UNION ALL SELECT * FROM documents) d WHERE id <> 1 AND id <> 7",
        "SELECT count(*) FROM documents d WHERE owner = 'bob' OR owner = 'anne' AND id > 7",
        "SELECT count(*) FROM documents WHERE 1 / (id - 3) IS NULL",
        "SELECT max(id) FROM documents",
        "SELECT count(*) FROM documents d RIGHT JOIN (VALUES (3), (6), (9)) v(id) USING (id) WHERE d.title IS NOT NULL",
        "SELECT string_agg(title, ',') FROM documents WHERE owner <> 'anne'",
    ] {
        let seen = ask(&client, attack).await.unwrap();
        let seen = seen.unwrap_or_default();
        assert!(
            matches!(seen.as_str(), "" | "0" | "2" | "7"),
            "{attack}: {seen}"
        );
    }
    // An error on a hidden row would print it: sealed views keep the predicate above the filter.
    let leak = "SELECT count(*) FROM documents WHERE title::int = 1";
    let (_, says) = ask(&client, leak).await.unwrap_err();
    for hidden in ["Diary", "Lawsuit", "Deal", "handbook"] {
        assert!(!says.contains(hidden), "{says}");
    }
    for claim in [
        "SET rowgate.tags = '{legal}'",
        "SET LOCAL rowgate.tags TO '{legal}'",
        "SELECT set_config('rowgate.tags', '{legal}', false)",
        "SELECT rowgate.tags()",
        "SET rowgate.principal = '{}'",
        "SELECT current_setting('rowgate.tags')",
        "RESET rowgate.tags",
    ] {
        assert!(ask(&client, claim).await.is_err(), "{claim}");
    }
    assert_eq!(ids(&client).await.as_deref(), Ok("1 7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installed_view_hides_a_tagged_column_itself() {
    let gate = gate("tags_wall", |_| {}).await;
    let upstream = &gate.config.upstream;
    let password = upstream.password.clone().unwrap();
    let mut config = tokio_postgres::Config::new();
    config
        .host(&upstream.host)
        .port(upstream.port)
        .dbname(&upstream.database)
        .user(&upstream.user)
        .password(secrecy::ExposeSecret::expose_secret(&password));
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for (tags, phones) in [
        ("", 0_i64),
        ("{}", 0),
        ("{legal}", 0),
        ("{STAFF}", 0),
        ("{staff,legal}", 2),
    ] {
        client
            .execute("SELECT set_config('rowgate.tags', $1, false)", &[&tags])
            .await
            .unwrap();
        let count = "SELECT count(phone) FROM rowgate.people";
        let seen: i64 = client.query_one(count, &[]).await.unwrap().get(0);
        assert_eq!(seen, phones, "{tags}");
    }
}
