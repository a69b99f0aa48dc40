//! What an agent is told after a typical mistake, whole and to the letter, as Bob's client receives it:
//! answers.toml, which a person can judge. A message that changes there is a change of what users see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

use rowgate::config::Enforcement;
use rowgate::demo::Setup;
use serde::Deserialize;
use std::collections::BTreeSet;
use tokio_postgres::error::ErrorPosition;

/// Names of tables and columns that Bob may not see; no answer has one that the statement did not have.
const HIDDEN: &[&str] = &[
    "payroll",
    "api_keys",
    "tax_number",
    "salary",
    "iban",
    "secret",
    "rowgate",
    "canary",
    "employee_id",
    "month",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    answer: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// What the model got wrong.
    mistake: String,
    sql: String,
    /// Appended to `sql` this often: for texts that are too long.
    #[serde(default)]
    repeat: Option<(String, usize)>,
    sqlstate: String,
    message: String,
    /// The next step. Every answer has one.
    hint: String,
    /// What stands in `sql` where the error is; `None` = the answer has no position.
    at: Option<String>,
}

fn answers() -> Vec<Answer> {
    let file: File = toml::from_str(include_str!("answers.toml")).unwrap();
    file.answer
}

/// What is wrong with the answer to one statement.
async fn wrong(client: &tokio_postgres::Client, answer: &Answer) -> Option<String> {
    let mut sql = answer.sql.clone();
    if let Some((text, times)) = &answer.repeat {
        sql.push_str(&text.repeat(*times));
    }
    let error = match client.simple_query(&sql).await {
        Ok(_) => return Some("was answered".to_owned()),
        Err(error) => error,
    };
    let told = error.as_db_error().unwrap();
    let at = told.position().map(|position| match position {
        ErrorPosition::Original(at) => {
            let place = usize::try_from(*at).unwrap() - 1;
            sql.chars().skip(place).collect::<String>()
        }
        ErrorPosition::Internal { .. } => panic!("a position in a text of ours"),
    });
    let hint = told.hint().unwrap_or_default();
    let seen = (told.code().code(), told.message(), hint);
    let expected = (
        answer.sqlstate.as_str(),
        answer.message.as_str(),
        answer.hint.as_str(),
    );
    // The rest of the text from there on begins with `at`; no position and no `at` agree.
    let placed = match (&at, &answer.at) {
        (Some(rest), Some(expected)) if expected.is_empty() => rest.is_empty(),
        (Some(rest), Some(expected)) => rest.starts_with(expected.as_str()),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if seen != expected || !placed {
        return Some(format!("{seen:#?} at {at:?}"));
    }
    if told.detail().is_some() || told.where_().is_some() || told.table().is_some() {
        return Some(format!("has more fields: {told:?}"));
    }
    let said = format!("{} {hint}", told.message()).to_lowercase();
    let hidden = |name: &&&str| said.contains(**name) && !sql.to_lowercase().contains(**name);
    HIDDEN
        .iter()
        .find(hidden)
        .map(|name| format!("names {name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_answered_as_written() {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let setup = Setup::example("errors", listen, Enforcement::Barrier);
    let gate = support::gate_with(setup, |config| config.limits.statement_ms_max = 1000).await;
    let client = gate.connect("bob").await;
    let mut problems = Vec::new();
    let all = answers();
    for answer in &all {
        if let Some(how) = wrong(&client, answer).await {
            problems.push(format!("{}\n  {}\n  {how}", answer.mistake, answer.sql));
        }
        // The session goes on.
        client.simple_query("SELECT 1").await.unwrap();
    }
    let mistakes: BTreeSet<&str> = all.iter().map(|answer| answer.mistake.as_str()).collect();
    assert_eq!(mistakes.len(), all.len(), "a mistake stands there twice");
    assert!(all.len() >= 40);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
