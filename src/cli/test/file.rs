//! A policy test file: YAML to checks, every mistake with its line and what to write instead.

use crate::config::Situation;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A cell as it is written; `None` is NULL.
pub(super) type Cell = Option<String>;

/// One file's checks.
#[derive(Debug)]
pub(super) struct TestFile {
    pub(super) path: PathBuf,
    pub(super) cases: Vec<Case>,
}

/// The checks for one user.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) user: String,
    pub(super) name: Option<String>,
    /// What is supposed of the user's sessions.
    pub(super) situation: Option<Situation>,
    pub(super) checks: Vec<Check>,
}

/// One assertion.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) line: u64,
    /// Who asks: the case's user, or whom `seen_by` names.
    pub(super) user: String,
    /// As whom they log in to the gate of the run: a situation has a login of its own.
    pub(super) login: String,
    /// It says what is not to be seen.
    pub(super) denies: bool,
    pub(super) what: What,
}

/// What is asserted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// The login itself is refused, with this SQLSTATE.
    LoginRefused(String),
    /// Exactly these tables are visible.
    Tables(Vec<String>),
    /// The table is visible, with at least one row where a condition is given.
    Table(Rows),
    /// Exactly these columns of the table are visible.
    Columns(String, Vec<String>),
    /// The table has this column, among others.
    Column(String, String),
    /// So many rows.
    Count(Rows, u64),
    /// A column's sum.
    Sum(Rows, String, Cell),
    /// The query's rows, in this order or any.
    Answer {
        query: String,
        rows: Vec<Vec<Cell>>,
        ordered: bool,
    },
    /// A query's one value.
    Value(String, Cell),
    /// So many rows of a query.
    AnswerCount(String, u64),
    /// No such table.
    NoTable(String),
    /// No such column.
    NoColumn(String, String),
    /// No such row.
    NoRow(Rows),
    /// A refusal, with this SQLSTATE if one is given.
    Refused(String, Option<String>),
}

/// Rows of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    pub(super) table: String,
    pub(super) condition: Option<String>,
}

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Mistake {
    path: PathBuf,
    line: Option<u64>,
    says: String,
    hint: Option<&'static str>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.says)?;
        match self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    tests: Vec<Spanned<RawCase>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    user: String,
    name: Option<String>,
    refused: Option<String>,
    #[serde(default)]
    claims: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    attributes: BTreeMap<String, serde_json::Value>,
    from: Option<String>,
    at: Option<String>,
    #[serde(default)]
    sees: Vec<Spanned<RawCheck>>,
    #[serde(default)]
    hidden: Vec<Spanned<RawCheck>>,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCheck {
    tables: Option<Vec<String>>,
    table: Option<String>,
    #[serde(rename = "where")]
    condition: Option<String>,
    columns: Option<Vec<String>>,
    count: Option<u64>,
    sum: Option<BTreeMap<String, Cell>>,
    query: Option<String>,
    rows: Option<Vec<Vec<Cell>>>,
    ordered: Option<bool>,
    #[serde(deserialize_with = "present")]
    value: Option<Cell>,
    refused: Option<String>,
    seen_by: Option<String>,
}

/// `value: null` is a NULL, not a missing value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cell>, D::Error> {
    Cell::deserialize(deserializer).map(Some)
}

impl TestFile {
    /// Whether any check says what is not to be seen.
    pub(super) fn denies(&self) -> bool {
        self.checks().any(|check| check.denies)
    }

    /// Whether any check says what is to be seen.
    pub(super) fn grants(&self) -> bool {
        self.checks().any(|check| !check.denies)
    }

    fn checks(&self) -> impl Iterator<Item = &Check> {
        self.cases.iter().flat_map(|case| &case.checks)
    }
}

/// Reads one file.
///
/// # Errors
/// The first mistake the reader meets, or every one it finds in what it could read.
pub(super) fn read(path: &Path) -> Result<TestFile, Vec<Mistake>> {
    let mistake = |line, says: String, hint| Mistake {
        path: path.to_owned(),
        line,
        says,
        hint,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| vec![mistake(None, format!("cannot be read: {error}"), None)])?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let says = "is larger than 1 MB".to_owned();
        return Err(vec![mistake(None, says, Some("Part it into several."))]);
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let raw: RawFile = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let line = error.location().map(|location| location.line());
        vec![mistake(line, in_our_words(&error.to_string()), Some(FORM))]
    })?;
    let (mut cases, mut mistakes) = (Vec::new(), Vec::new());
    for case in raw.tests {
        let line = case.referenced.line();
        match read_case(case.value, line) {
            Ok(case) => cases.push(case),
            Err(found) => mistakes.extend(
                found
                    .into_iter()
                    .map(|(line, says, hint)| mistake(Some(line), says, hint)),
            ),
        }
    }
    match mistakes.is_empty() {
        true => Ok(TestFile {
            path: path.to_owned(),
            cases,
        }),
        false => Err(mistakes),
    }
}

/// The reader's message without what is said elsewhere or is of no use here, and with the near miss if there is one.
fn in_our_words(says: &str) -> String {
    let says = says.split(" at line ").next().unwrap_or(says);
    let says = says
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or(says);
    let unknown = says.strip_prefix("unknown field `");
    let near = unknown.and_then(|rest| {
        let (word, known) = rest.split_once("`, expected one of ")?;
        let distance = |known: &&str| strsim::osa_distance(word, known);
        let nearest = known.split(", ").min_by_key(distance)?;
        (distance(&nearest) <= 2).then_some(nearest)
    });
    match near {
        Some(near) => format!("{says}; did you mean `{near}`?"),
        None => says.to_owned(),
    }
}

const FORM: &str = "`rowgate test --help` shows the form of a test file.";
const SEES: &str = "Under `sees` write `tables`, `table` (with `where`, `count`, `sum`, `columns`), or `query` with \
     `rows`, `value` or `count`.";
const HIDDEN: &str = "Under `hidden` write `tables`, `table` (with `where` or `columns`), or `query` (with \
     `refused: \"42P01\"`, or alone: it returns no row).";

type Bad = (u64, String, Option<&'static str>);

fn read_case(raw: RawCase, line: u64) -> Result<Case, Vec<Bad>> {
    let (mut checks, mut bad) = (Vec::new(), Vec::new());
    let situation = situation(&raw).unwrap_or_else(|(says, hint)| {
        bad.push((line, says, Some(hint)));
        None
    });
    let user = raw.user;
    let lists = [(raw.sees, false), (raw.hidden, true)];
    for (list, denies) in lists {
        for entry in list {
            let line = entry.referenced.line();
            let read = match denies {
                true => hidden(entry.value, &user, line),
                false => sees(entry.value, &user, line),
            };
            match read {
                Ok(read) => checks.extend(read),
                Err((says, hint)) => bad.push((line, says, Some(hint))),
            }
        }
    }
    if let Some(sqlstate) = raw.refused {
        if !checks.is_empty() {
            let hint = "Leave `sees` and `hidden` out: who cannot log in sees nothing.";
            bad.push((line, "`refused` stands alone".to_owned(), Some(hint)));
        }
        checks.push(Check {
            line,
            login: user.clone(),
            user: user.clone(),
            denies: true,
            what: What::LoginRefused(sqlstate),
        });
    }
    if checks.is_empty() && bad.is_empty() {
        let says = format!("the test for {user} asserts nothing");
        bad.push((line, says, Some("Add `sees` and `hidden`.")));
    }
    match bad.is_empty() {
        true => Ok(Case {
            user,
            name: raw.name,
            situation,
            checks,
        }),
        false => Err(bad),
    }
}

/// What is supposed of the user's sessions, if anything is.
fn situation(raw: &RawCase) -> Result<Option<Situation>, (String, &'static str)> {
    const VALUES: &str = "An attribute is a text, a number, true or false, or a list of these.";
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in &raw.attributes {
        let values = match value {
            serde_json::Value::Array(items) => items.iter().map(text).collect(),
            one => text(one).map(|one| vec![one]),
        };
        let wrong = || (format!("attribute `{name}` has no such value"), VALUES);
        attributes.insert(name.clone(), values.ok_or_else(wrong)?);
    }
    let from = raw.from.as_deref().map(str::parse).transpose();
    let network = from.map_err(|_| {
        let hint = "Write one address, such as 10.1.2.3 or fd00::1.";
        ("`from` is not an address".to_owned(), hint)
    })?;
    let at = raw.at.as_deref().map(str::parse).transpose();
    let at = at.map_err(|_| {
        let hint = "Write it with its zone, such as 2026-01-05T10:00:00+01:00.";
        ("`at` is not a moment".to_owned(), hint)
    })?;
    let claims = raw.claims.clone();
    let situation = Situation {
        claims,
        attributes,
        network,
        at,
    };
    Ok((situation != Situation::default()).then_some(situation))
}

/// An entry, and a word for each key that was not taken from it.
fn leftovers(raw: &RawCheck) -> Vec<&'static str> {
    let keys = [
        ("tables", raw.tables.is_some()),
        ("table", raw.table.is_some()),
        ("where", raw.condition.is_some()),
        ("columns", raw.columns.is_some()),
        ("count", raw.count.is_some()),
        ("sum", raw.sum.is_some()),
        ("query", raw.query.is_some()),
        ("rows", raw.rows.is_some()),
        ("ordered", raw.ordered.is_some()),
        ("value", raw.value.is_some()),
        ("refused", raw.refused.is_some()),
        ("seen_by", raw.seen_by.is_some()),
    ];
    let left = keys.into_iter().filter(|(_, given)| *given);
    left.map(|(key, _)| key).collect()
}

fn finish(
    raw: &RawCheck,
    whats: Vec<(What, bool)>,
    user: &str,
    line: u64,
    hint: &'static str,
) -> Result<Vec<Check>, (String, &'static str)> {
    if let Some(key) = leftovers(raw).first() {
        return Err((format!("`{key}` does not belong here"), hint));
    }
    let checks = whats.into_iter().map(|(what, denies)| Check {
        line,
        user: user.to_owned(),
        login: user.to_owned(),
        denies,
        what,
    });
    Ok(checks.collect())
}

fn sees(mut raw: RawCheck, user: &str, line: u64) -> Result<Vec<Check>, (String, &'static str)> {
    let mut whats = Vec::new();
    if let Some(tables) = raw.tables.take() {
        // An exact list also says what is not to be seen.
        whats.push((What::Tables(tables), true));
    } else if let Some(table) = raw.table.take() {
        let condition = raw.condition.take();
        let rows = Rows { table, condition };
        if let Some(columns) = raw.columns.take() {
            whats.push((What::Columns(rows.table.clone(), columns), true));
        }
        if let Some(count) = raw.count.take() {
            whats.push((What::Count(rows.clone(), count), false));
        }
        for (column, sum) in raw.sum.take().into_iter().flatten() {
            whats.push((What::Sum(rows.clone(), column, sum), false));
        }
        let measured = whats.iter().any(|(_, exact)| !exact);
        if !measured && (rows.condition.is_some() || whats.is_empty()) {
            whats.push((What::Table(rows), false));
        }
    } else if let Some(query) = raw.query.take() {
        let what = match (raw.rows.take(), raw.value.take(), raw.count.take()) {
            (Some(rows), None, None) => What::Answer {
                query,
                rows,
                ordered: raw.ordered.take().unwrap_or(false),
            },
            (None, Some(value), None) => What::Value(query, value),
            (None, None, Some(count)) => What::AnswerCount(query, count),
            _ => return Err(("a query needs what it answers, once".to_owned(), SEES)),
        };
        whats.push((what, false));
    } else {
        return Err(("nothing is named that is seen".to_owned(), SEES));
    }
    finish(&raw, whats, user, line, SEES)
}

fn hidden(mut raw: RawCheck, user: &str, line: u64) -> Result<Vec<Check>, (String, &'static str)> {
    let seen_by = raw.seen_by.take();
    let mut whats: Vec<What> = Vec::new();
    let mut others = Vec::new();
    if let Some(tables) = raw.tables.take() {
        for table in tables {
            others.push(table_is_seen(&table));
            whats.push(What::NoTable(table));
        }
    } else if let Some(table) = raw.table.take() {
        let (condition, columns) = (raw.condition.take(), raw.columns.take());
        match (condition, columns) {
            (None, None) => {
                others.push(table_is_seen(&table));
                whats.push(What::NoTable(table));
            }
            (None, Some(columns)) => {
                for column in columns {
                    others.push(What::Column(table.clone(), column.clone()));
                    whats.push(What::NoColumn(table.clone(), column));
                }
            }
            (condition @ Some(_), None) => {
                let rows = Rows { table, condition };
                others.push(What::Table(rows.clone()));
                whats.push(What::NoRow(rows));
            }
            (Some(_), Some(_)) => {
                let says = "`where` hides rows and `columns` hides columns: not both at once";
                return Err((says.to_owned(), HIDDEN));
            }
        }
    } else if let Some(query) = raw.query.take() {
        match raw.refused.take() {
            Some(sqlstate) => {
                let any = sqlstate == "any";
                whats.push(What::Refused(query, (!any).then_some(sqlstate)));
            }
            None => whats.push(What::AnswerCount(query, 0)),
        }
    } else {
        return Err(("nothing is named that is hidden".to_owned(), HIDDEN));
    }
    let mut checks = finish(
        &raw,
        whats.into_iter().map(|what| (what, true)).collect(),
        user,
        line,
        HIDDEN,
    )?;
    if let Some(other) = seen_by {
        if others.is_empty() {
            let hint = "It goes with `table` and `tables`.";
            return Err(("`seen_by` does not belong here".to_owned(), hint));
        }
        checks.extend(others.into_iter().map(|what| Check {
            line,
            user: other.clone(),
            login: other.clone(),
            denies: false,
            what,
        }));
    }
    Ok(checks)
}

fn table_is_seen(table: &str) -> What {
    What::Table(Rows {
        table: table.to_owned(),
        condition: None,
    })
}

/// A name of the file as SQL.
pub(super) fn quoted(name: &str) -> String {
    crate::policy::quote_identifier(name)
}

/// `table` or `schema.table` as SQL.
pub(super) fn quoted_table(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, name)) => format!("{}.{}", quoted(schema), quoted(name)),
        None => quoted(table),
    }
}
