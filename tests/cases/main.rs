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
use rowgate::policy::{
    ColumnType, GrantedColumn, GrantedTable, Grants, InlineBody, RelationName, ShadowSource,
};
use rowgate::sql::statement::{StatementKind, split};
use rowgate::sql::{Form, Options, VerifiedQuery, admit};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    sql: String,
    /// Accepted, and these tables are read.
    tables: Option<Vec<String>>,
    /// The final text, in the sealed form; `{table}` is the body of its shadow, see [`BODIES`].
    #[serde(rename = "final")]
    final_text: Option<String>,
    /// Whether it is proved open, where that is allowed; the final text is then the same over the other bodies.
    open: Option<bool>,
    /// Anne may also read the tables of [`more`].
    #[serde(default)]
    more: bool,
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

/// The shadows' bodies, sealed and open. Email is masked: fenced in the one, absent in the other.
const BODIES: &[(&str, &str, &str)] = &[
    (
        "{customers}",
        "SELECT id, name, department, country, (SELECT permission_view.email) AS email, since FROM rowgate.customers AS permission_view",
        "SELECT id, name, department, country, since FROM rowgate_open.customers",
    ),
    (
        "{departments}",
        "SELECT name, city, budget FROM rowgate.departments",
        "SELECT name, city, budget FROM rowgate_open.departments",
    ),
    (
        "{employees}",
        "SELECT id, name, department, title, hired FROM rowgate.employees",
        "SELECT id, name, department, title, hired FROM rowgate_open.employees",
    ),
    (
        "{invoices}",
        "SELECT id, amount, date, department, customer_id, note FROM rowgate.invoices",
        "SELECT id, amount, date, department, customer_id, note FROM rowgate_open.invoices",
    ),
    (
        "{transactions}",
        "SELECT id, invoice_id, department, amount, paid_at, method FROM rowgate.transactions",
        "SELECT id, invoice_id, department, amount, paid_at, method FROM rowgate_open.transactions",
    ),
    (
        "{user_roles}",
        "SELECT \"user\", role FROM rowgate.user_roles",
        "SELECT \"user\", role FROM rowgate_open.user_roles",
    ),
    (
        "{sales.invoices}",
        "SELECT id, total FROM rowgate.\"sales.invoices\"",
        "SELECT id, total FROM rowgate_open.\"sales.invoices\"",
    ),
    (
        "{Order Lines}",
        "SELECT \"Id\", \"select\", \"größe\" FROM rowgate.\"Order Lines\"",
        "SELECT \"Id\", \"select\", \"größe\" FROM rowgate_open.\"Order Lines\"",
    ),
];

/// A second table called invoices, and one whose names need quotes.
fn more(grants: &Grants, inline: bool) -> Grants {
    let table = |schema: &str, name: &str, view: &str, columns: &[(&str, &str)]| GrantedTable {
        relation: RelationName::new(schema, name),
        columns: columns
            .iter()
            .map(|(name, type_)| GrantedColumn {
                name: (*name).to_owned(),
                type_: ColumnType::builtin(type_),
                plain: true,
            })
            .collect(),
        primary_key: vec![columns[0].0.to_owned()],
        source: match inline {
            true => ShadowSource::Inline(InlineBody {
                pieces: vec![format!("SELECT * FROM {}", relation_of(schema, name))],
                holes: Vec::new(),
            }),
            false => ShadowSource::Installed {
                sealed: RelationName::new("rowgate", view),
                open: RelationName::new("rowgate_open", view),
            },
        },
    };
    let mut tables = grants.tables().to_vec();
    let sales = [("id", "int8"), ("total", "numeric")];
    tables.push(table("sales", "invoices", "sales.invoices", &sales));
    let lines = [("Id", "int8"), ("select", "text"), ("größe", "text")];
    tables.push(table("public", "Order Lines", "Order Lines", &lines));
    Grants::new(tables, vec!["public".to_owned()], Vec::new())
}

fn relation_of(schema: &str, name: &str) -> String {
    RelationName::new(schema, name).quoted()
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
fn judge(sql: &str, grants: &Grants, open_allowed: bool) -> Result<VerifiedQuery, Refusal> {
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

fn wrong_with(case: &Case, outcome: Result<VerifiedQuery, Refusal>, mode: &str) -> Option<String> {
    match (outcome, &case.tables) {
        (Ok(query), Some(tables)) => {
            let mut read: Vec<String> = query.relations().iter().map(|r| r.name.clone()).collect();
            read.sort();
            if read != *tables {
                return Some(format!("reads {read:?}, not {tables:?}"));
            }
            let form = match (mode, case.open) {
                ("sealed", _) | ("open allowed", Some(false)) => Form::Sealed,
                ("open allowed", Some(true)) => Form::Open,
                _ => return None,
            };
            if query.form() != form {
                return Some(format!("is {:?}: {}", query.form(), query.form_reason()));
            }
            let mut text = case.final_text.clone()?;
            for (name, sealed, open) in BODIES {
                let body = if form == Form::Open { open } else { sealed };
                text = text.replace(name, body);
            }
            (query.text().as_ref() != text)
                .then(|| format!("becomes\n      {}\n  not {text}", query.text()))
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
            let grants = match case.more {
                true => more(&grants, mode == "inline"),
                false => grants,
            };
            let outcome = judge(&case.sql, &grants, open);
            if let Some(how) = wrong_with(case, outcome, mode) {
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
