//! The same through both doors: every golden case, every attack of one statement and every typical mistake has one outcome,
//! as Anne and as Bob.

use crate::gate::{Gate, gate, token};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use tokio_postgres::SimpleQueryMessage;

#[derive(Deserialize)]
struct Case {
    #[serde(alias = "mistake")]
    id: String,
    #[serde(default)]
    sql: String,
    #[serde(default)]
    steps: Vec<toml::Value>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, alias = "answer")]
    case: Vec<Case>,
}

fn cases(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(path).unwrap();
            found.extend(toml::from_str::<File>(&text).unwrap().case);
        }
    }
    found.retain(|case| !case.sql.is_empty() && case.steps.is_empty());
    found
}

/// Rows as text, or what an error says: SQLSTATE, message, hint, position.
type Outcome = Result<Vec<Vec<Option<String>>>, (String, String, Option<String>, Option<String>)>;

async fn on_the_wire(client: &tokio_postgres::Client, sql: &str) -> Outcome {
    let messages = client.simple_query(sql).await.map_err(|error| {
        let error = error
            .as_db_error()
            .unwrap_or_else(|| panic!("{sql}: {error}"));
        let position = match error.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(at)) => Some(at.to_string()),
            _ => None,
        };
        let hint = error.hint().map(str::to_owned);
        (
            error.code().code().to_owned(),
            error.message().to_owned(),
            hint,
            position,
        )
    })?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|index| row.get(index).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}

fn over_http(answer: &crate::gate::Answer) -> Outcome {
    let body = &answer.body;
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("t".to_owned()),
        Value::Bool(false) => Some("f".to_owned()),
        other => Some(other.to_string()),
    };
    if answer.status == 200 {
        let rows = body["rows"].as_array().unwrap();
        return Ok(rows
            .iter()
            .map(|row| row.as_array().unwrap().iter().map(text).collect())
            .collect());
    }
    let field = |name: &str| text(&body[name]);
    Err((
        field("sqlstate").unwrap_or_default(),
        field("detail").unwrap_or_default(),
        field("hint"),
        field("position"),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_and_http_have_the_same_outcome() {
    // Queries that never end are among them.
    let gate = gate("wire", |config| config.limits.statement_ms_max = 1_000).await;
    // At the same time: most of it is waiting for those queries.
    let (anne, bob) = tokio::join!(both_doors(&gate, "anne"), both_doors(&gate, "bob"));
    for (compared, apart, wrong) in [anne, bob] {
        println!("{compared} compared, {apart} that need a session or several statements");
        assert!(compared > 300, "only {compared} compared");
        let count = wrong.len();
        assert!(wrong.is_empty(), "{count} differ:\n{}", wrong.join("\n"));
    }
}

/// How many cases were compared as this user, how many HTTP has no room for, and which differ.
async fn both_doors(gate: &Gate, user: &str) -> (usize, usize, Vec<String>) {
    // By the same login: some answers name it.
    let client = gate.connect(&format!("agent.{user}"), &token(user)).await;
    let mut wrong = Vec::new();
    let (mut compared, mut apart) = (0, 0);
    let all = cases("tests/cases")
        .into_iter()
        .chain(cases("tests/attacks"))
        .chain(cases("tests/errors"));
    for case in all {
        let sql = case.sql.as_str();
        // What has a meaning only in a session, or is several statements, is refused here.
        let limits = rowgate::limits::Limits::default();
        let split = rowgate::sql::statement::split(sql, &limits);
        let one_query = split.as_ref().is_ok_and(|statements| {
            use rowgate::sql::statement::StatementKind::{Query, Refused};
            matches!(statements.as_slice(), [one] if matches!(one.kind, Query | Refused(_)))
        });
        let answer = gate.query(user, sql).await;
        let http = over_http(&answer);
        // Wider than a document, or one of the words that the wire answers for a client's library alone.
        if answer.body["truncated"] == true || case.id == "functions-040" {
            apart += 1;
            continue;
        }
        if sql.contains('\0') || split.is_ok() && !one_query {
            apart += 1;
            if http.is_ok() {
                wrong.push(format!(
                    "{}: answered, and is not one query\n    {sql}",
                    case.id
                ));
            }
            continue;
        }
        let wire = on_the_wire(&client, sql).await;
        compared += 1;
        let same = match (&wire, &http) {
            (Ok(wire), Ok(http)) if clock(sql) => wire.len() == http.len(),
            (Ok(wire), Ok(http)) => same_rows(wire, http),
            (wire, http) => wire == http || same_but_for_values(wire, http),
        };
        if !same {
            wrong.push(format!(
                "{}\n    {sql}\n    wire {wire:?}\n    http {http:?}",
                case.id
            ));
        }
    }
    (compared, apart, wrong)
}

/// As many rows, in any order where none was asked for; JSON has other spaces, and random differs.
fn same_rows(wire: &[Vec<Option<String>>], http: &[Vec<Option<String>>]) -> bool {
    let sorted = |rows: &[Vec<Option<String>>]| {
        let rows = rows.iter().map(|row| {
            row.iter()
                .map(|value| value.as_deref().map(spelled))
                .collect::<Vec<_>>()
        });
        let rows: Vec<_> = rows.collect();
        let mut rows: Vec<String> = rows
            .iter()
            .map(|row| format!("{row:?}").replace(' ', ""))
            .collect();
        rows.sort();
        rows
    };
    sorted(wire) == sorted(http)
}

/// JSON in one spelling: over HTTP it is a part of the document.
fn spelled(value: &str) -> String {
    let json = value
        .starts_with(['{', '['])
        .then(|| serde_json::from_str::<Value>(value).ok());
    json.flatten()
        .map_or_else(|| value.to_owned(), |json| json.to_string())
}

/// Whether the answer depends on the clock.
fn clock(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    ["now", "current_", "local", "timestamp", "today"]
        .iter()
        .any(|word| sql.contains(word))
}

/// A parameter without a value has the words of each door.
fn same_but_for_values(wire: &Outcome, http: &Outcome) -> bool {
    match (wire, http) {
        (Err((wire, message, ..)), Err((http, ..))) => {
            wire == http && message.starts_with("there is no parameter")
        }
        _ => false,
    }
}
