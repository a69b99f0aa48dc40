//! The cases: what a file holds, and what counts as a breach.

use crate::wire::Answer;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What appears nowhere in an answer, unless a case says otherwise: every hidden value carries it.
const CANARY: &str = "CANARY";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expect {
    /// Must not be answered.
    Refused,
    /// May be answered or refused; either way nothing hidden is seen and nothing done.
    Harmless,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generate {
    pub(crate) shape: String,
    pub(crate) size: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(skip)]
    pub(crate) class: String,
    /// Who asks.
    #[serde(rename = "as", default = "anne")]
    pub(crate) who: String,
    /// Why the case matters, one line.
    pub(crate) why: String,
    #[serde(default)]
    pub(crate) sql: String,
    /// For what is below SQL: what to send, step by step (see `gate.rs`). Not for the naive rewriter,
    /// which has no protocol, nor for `admit`.
    #[serde(default)]
    pub(crate) steps: Vec<String>,
    /// A text too long to write down.
    pub(crate) generate: Option<Generate>,
    pub(crate) expect: Expect,
    /// One of these, when refused.
    #[serde(default)]
    pub(crate) sqlstate: Vec<String>,
    /// The first value of the first row, when answered; `NULL` for null.
    pub(crate) answer: Option<String>,
    /// When answered, no error may come from the data: there is nothing in what the caller may see
    /// that the query fails on.
    #[serde(default)]
    pub(crate) no_data_error: bool,
    /// Beside [`CANARY`].
    #[serde(default)]
    pub(crate) must_not_see: Vec<String>,
    /// Why the case is kept although it does the naive rewriter no harm.
    pub(crate) naive: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    class: String,
    case: Vec<Case>,
}

fn anne() -> String {
    "Anne".to_owned()
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks")
}

/// Every case that is SQL, in the order of the files.
pub(crate) fn all() -> Vec<Case> {
    every()
        .into_iter()
        .filter(|case| case.steps.is_empty())
        .collect()
}

/// Every case below SQL.
pub(crate) fn stepwise() -> Vec<Case> {
    every()
        .into_iter()
        .filter(|case| !case.steps.is_empty())
        .collect()
}

fn every() -> Vec<Case> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let file: File =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for mut case in file.case {
            case.class.clone_from(&file.class);
            if let Some(generate) = &case.generate {
                case.sql = generated(generate);
            }
            cases.push(case);
        }
    }
    cases
}

impl Case {
    /// What is wrong with an answer, or `None`.
    pub(crate) fn breach(&self, answer: &Answer) -> Option<String> {
        for word in self.must_not_see.iter().map(String::as_str).chain([CANARY]) {
            if answer.contains(word) {
                return Some(format!("shows {word:?}: {}", answer.around(word)));
            }
        }
        let error = answer.error();
        if self.expect == Expect::Refused {
            return match error {
                None => Some("was answered".to_owned()),
                Some(error)
                    if !self.sqlstate.is_empty() && !self.sqlstate.contains(&error.code) =>
                {
                    Some(format!(
                        "refused with {} ({}), not one of {:?}",
                        error.code, error.message, self.sqlstate
                    ))
                }
                Some(_) => None,
            };
        }
        if let Some(error) = &error {
            let from_data = ["22", "23", "21", "P0", "57014", "XX"];
            if self.no_data_error && from_data.iter().any(|class| error.code.starts_with(class)) {
                return Some(format!("fails on data: {} {}", error.code, error.message));
            }
        }
        if let Some(expected) = &self.answer
            && (error.is_none() || self.steps.is_empty())
        {
            let got = answer.rows().last().and_then(|row| row.first().cloned());
            let got = match got {
                Some(Some(text)) => text,
                Some(None) => "NULL".to_owned(),
                None => format!("no row ({:?})", error.map(|e| e.message)),
            };
            if got != *expected {
                return Some(format!("answers {got}, not {expected}"));
            }
        }
        None
    }
}

/// The long texts.
fn generated(generate: &Generate) -> String {
    let n = generate.size;
    let nest = |open: &str, middle: &str, close: &str| {
        format!("SELECT {}{middle}{}", open.repeat(n), close.repeat(n))
    };
    match generate.shape.as_str() {
        "long" => format!("SELECT '{}'", "x".repeat(n)),
        "parens" => nest("(", "1", ")"),
        "subqueries" => nest("(SELECT ", "1", ")"),
        "plus" => nest("", "1", "+1"),
        "and" => nest("", "true", " AND true"),
        "or" => nest("", "true", " OR true"),
        "concat" => nest("", "'a'", "||'a'"),
        "union" => nest("", "1", " UNION SELECT 1"),
        "casts" => nest("", "1", "::int"),
        "isnull" => nest("", "1", " IS NULL"),
        "not" => nest("NOT ", "true", ""),
        "minus" => nest("- ", "1", ""),
        "case" => nest("CASE WHEN true THEN ", "1", " END"),
        "comments" => nest("/*", "1", "*/ "),
        "opencomments" => nest("/*", "", ""),
        "calls" => nest("abs(", "1", ")"),
        "arrays" => nest("ARRAY[", "1", "]"),
        "rows" => nest("ROW(", "1", ")"),
        "dots" => nest("", "a", ".a"),
        "indexes" => nest("", "(ARRAY[1])", "[1]"),
        "joins" => format!("SELECT 1 FROM invoices{}", " CROSS JOIN invoices".repeat(n)),
        "columns" => format!("SELECT 1{}", ", 1".repeat(n)),
        "inlist" => format!("SELECT 1 WHERE 1 IN (1{})", ", 1".repeat(n)),
        "cteboom" => {
            let doubling: String = (1..=n)
                .map(|i| {
                    let before = i - 1;
                    format!(", c{i} AS (SELECT a.x || b.x AS x FROM c{before} a, c{before} b)")
                })
                .collect();
            format!("WITH c0 AS (SELECT 'xx'::text AS x){doubling} SELECT length(x) FROM c{n}")
        }
        "like_in" | "like_exists" | "like_any" | "ilike_in" | "ilike_exists" | "ilike_any" => {
            let (operator, table) = generate.shape.split_once('_').unwrap();
            let pattern = "%a".repeat(n);
            format!("SELECT count(*) FROM ledger_{table} WHERE path {operator} '{pattern}'")
        }
        other => panic!("unknown shape {other}"),
    }
}

#[test]
fn there_are_enough_and_each_has_its_own_id() {
    let cases = every();
    let ids: std::collections::BTreeSet<&str> = cases.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids.len(), cases.len(), "two cases share an id");
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    for case in &cases {
        assert!(
            !case.sql.contains(CANARY),
            "{}: the text itself says {CANARY}",
            case.id
        );
        assert!(!case.why.is_empty(), "{}", case.id);
    }
}
