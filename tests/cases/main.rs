//! Golden cases, as data: what Anne may ask in the running example, with the tables it reads (and, where
//! a person would sign it, the final text), and what is refused, with the words an agent needs.

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

#[path = "../attacks/grants.rs"]
mod grants;

use rowgate::error::Refusal;
use rowgate::limits::Limits;
use rowgate::sql::statement::{StatementKind, split};
use rowgate::sql::{Options, VerifiedQuery, admit};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    sql: String,
    /// Accepted, and these tables are read.
    tables: Option<Vec<String>>,
    /// The final text, in the sealed form.
    #[serde(rename = "final")]
    final_text: Option<String>,
    /// Refused with one of these.
    #[serde(default)]
    sqlstate: Vec<String>,
    #[serde(default)]
    reason: Vec<String>,
    /// Where, in characters of `sql`.
    position: Option<u32>,
    /// What the hint says somewhere.
    hint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let file: File =
                toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            file.case
        })
        .collect()
}

/// The one statement of `sql`, admitted; a statement that is not a query is refused here.
fn judge(
    sql: &str,
    grants: &rowgate::policy::Grants,
    open_allowed: bool,
) -> Result<VerifiedQuery, Refusal> {
    let options = Options {
        limits: Limits::default(),
        open_allowed,
        parameter_types: Vec::new(),
    };
    let mut statements = split(sql, &options.limits)?;
    let statement = statements.pop().expect("one statement");
    assert!(statements.is_empty(), "one statement");
    match statement.kind {
        StatementKind::Query => admit(&statement.text, grants, &options),
        StatementKind::Refused(refusal) => Err(refusal),
        other => Err(Refusal::new(
            rowgate::error::Reason::FeatureNotSupported,
            format!("the session decides about {other:?}"),
        )),
    }
}

fn wrong_with(
    case: &Case,
    outcome: Result<VerifiedQuery, Refusal>,
    sealed: bool,
) -> Option<String> {
    match (outcome, &case.tables) {
        (Ok(query), Some(tables)) => {
            let mut read: Vec<String> = query.relations().iter().map(|r| r.name.clone()).collect();
            read.sort();
            if read != *tables {
                return Some(format!("reads {read:?}, not {tables:?}"));
            }
            match &case.final_text {
                Some(text) if sealed && query.text().as_ref() != text => {
                    Some(format!("becomes\n      {}\n  not {text}", query.text()))
                }
                _ => None,
            }
        }
        (Ok(query), None) => Some(format!("was accepted: {}", query.text())),
        (Err(refusal), Some(_)) => {
            Some(format!("was refused: {} {refusal}", refusal.reason.slug()))
        }
        (Err(refusal), None) => {
            let state = refusal.reason.sqlstate();
            let hint = refusal.hint.clone().unwrap_or_default();
            if !case.sqlstate.iter().any(|s| s == state) {
                Some(format!("refused with {state} ({refusal})"))
            } else if !case.reason.iter().any(|r| r == refusal.reason.slug()) {
                Some(format!("refused for {} ({refusal})", refusal.reason.slug()))
            } else if case.position.is_some() && refusal.position != case.position {
                Some(format!(
                    "at {:?}, not {:?} ({refusal})",
                    refusal.position, case.position
                ))
            } else if case
                .hint
                .as_ref()
                .is_some_and(|word| !hint.contains(word.as_str()))
            {
                Some(format!(
                    "hint {hint:?} does not say {:?} ({refusal})",
                    case.hint
                ))
            } else if hint.is_empty() {
                Some(format!("no hint ({refusal})"))
            } else if hint.len() > 400 || refusal.message.len() > 300 {
                Some(format!("too long: {refusal} / {hint}"))
            } else {
                None
            }
        }
    }
}

#[test]
fn every_case_is_answered_as_written() {
    let mut wrong = Vec::new();
    let all = cases();
    for case in &all {
        for (mode, grants, open) in [
            ("sealed", grants::barrier(), false),
            ("open allowed", grants::barrier(), true),
            ("inline", grants::inline(), false),
        ] {
            let outcome = judge(&case.sql, &grants, open);
            if let Some(how) = wrong_with(case, outcome, mode == "sealed") {
                wrong.push(format!("{} [{mode}] {how}\n    {}", case.id, case.sql));
                break;
            }
        }
    }
    println!("{} cases in three modes", all.len());
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
