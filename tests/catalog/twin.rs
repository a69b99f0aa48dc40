//! The promise, for the catalogue: what the gate answers to a recorded statement is what a PostgreSQL answers whose tables
//! and columns are exactly those that Bob may see. Numbers of objects aside, and but for what `twin.toml` lists.

use super::statements::{self, Statement};
use super::{Answer, ask, clusters, gate_on};
use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, SCHEMA};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::Client;

const TWIN: &str = include_str!("twin.sql");

/// What may differ.
#[derive(Deserialize)]
struct Accepted {
    column: Vec<AcceptedColumn>,
    statement: Vec<AcceptedStatement>,
}

/// A column of a result, whatever the statement.
#[derive(Deserialize)]
struct AcceptedColumn {
    reason: String,
    names: String,
}

/// Everything a statement answers.
#[derive(Deserialize)]
struct AcceptedStatement {
    reason: String,
    ids: String,
    /// The first version of PostgreSQL, such as 18, in which it differs.
    #[serde(default)]
    since: i32,
}

/// Column names, and the rows in an order of their own.
type Compared = (Vec<String>, Vec<Vec<String>>);

struct Side {
    client: Client,
    numbers: HashMap<String, u32>,
    database: &'static str,
    /// What each number that only this database has stands for.
    objects: BTreeMap<String, String>,
}

impl Side {
    async fn new(database: &'static str, server: &Client, client: Client) -> Self {
        let objects = "SELECT oid::text, 'relation ' || relname FROM pg_class WHERE oid >= 16384 UNION ALL SELECT oid::text, \
                       'type ' || typname FROM pg_type WHERE oid >= 16384 UNION ALL SELECT oid::text, 'constraint ' || conname \
                       FROM pg_constraint WHERE oid >= 16384 UNION ALL SELECT oid::text, 'database' FROM pg_database WHERE \
                       datname = current_database()";
        let rows = server.query(objects, &[]).await.unwrap();
        Self {
            client,
            database,
            numbers: statements::numbers(server).await,
            objects: rows.iter().map(|row| (row.get(0), row.get(1))).collect(),
        }
    }

    async fn answer(&self, statement: &Statement) -> Result<Compared, String> {
        let sql = statement.inlined(&self.numbers);
        if !statement.before.is_empty() {
            self.client.batch_execute(&statement.before).await.unwrap();
        }
        let answer: Answer = ask(&self.client, &sql).await;
        self.client.batch_execute("ROLLBACK").await.unwrap();
        let (names, rows) = answer.map_err(|(code, told)| format!("{code} {told}"))?;
        let mut rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| self.shown(cell.as_deref())).collect())
            .collect();
        rows.sort();
        Ok((names, rows))
    }

    /// A value, with numbers of objects as their names.
    fn shown(&self, cell: Option<&str>) -> String {
        let Some(text) = cell else {
            return "NULL".to_owned();
        };
        let mut shown = String::new();
        let mut number = String::new();
        for letter in text.chars().chain(std::iter::once('\0')) {
            if letter.is_ascii_digit() {
                number.push(letter);
                continue;
            }
            shown.push_str(self.objects.get(&number).unwrap_or(&number));
            number.clear();
            shown.push(letter);
        }
        shown
            .trim_end_matches('\0')
            .replace(self.database, "DATABASE")
    }
}

/// The twin, and a connection to it as its owner.
async fn twin(cluster: &Cluster) -> Side {
    let admin = cluster.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE DATABASE catalog_mirror")
        .await
        .unwrap();
    let server = cluster.connect("catalog_mirror").await.unwrap();
    server.batch_execute(SCHEMA).await.unwrap();
    server.batch_execute(TWIN).await.unwrap();
    let client = cluster.connect("catalog_mirror").await.unwrap();
    Side::new("catalog_mirror", &server, client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_answers_as_a_database_of_what_bob_may_see() {
    for cluster in clusters() {
        compare_all(cluster).await;
    }
}

async fn compare_all(cluster: &Cluster) {
    let gate = gate_on(cluster, "catalog_twinned", Enforcement::Barrier).await;
    let server = cluster.connect(&gate.database).await.unwrap();
    let ours = Side::new("catalog_twinned", &server, gate.connect("bob").await).await;
    let twin = twin(cluster).await;
    let accepted: Accepted = toml::from_str(include_str!("twin.toml")).unwrap();
    assert!(accepted.column.iter().all(|c| !c.reason.is_empty()));
    assert!(accepted.statement.iter().all(|s| !s.reason.is_empty()));
    let columns: BTreeSet<&str> = accepted
        .column
        .iter()
        .flat_map(|c| c.names.split_whitespace())
        .collect();
    let version = "SELECT current_setting('server_version_num')::int4 / 10000";
    let version: i32 = server.query_one(version, &[]).await.unwrap().get(0);
    let here = accepted.statement.iter().filter(|s| s.since <= version);
    let ids: BTreeSet<&str> = here.flat_map(|s| s.ids.split_whitespace()).collect();
    let (mut compared, mut refused) = (0, 0);
    let mut differing = BTreeSet::new();
    let mut wrong = Vec::new();
    for statement in statements::all() {
        let Ok(found) = ours.answer(&statement).await else {
            refused += 1;
            continue;
        };
        compared += 1;
        let expected = twin.answer(&statement).await;
        let difference = match &expected {
            Ok(expected) => difference(&found, expected, &columns),
            Err(error) => Some(format!("the twin says {error}")),
        };
        if let Some(difference) = difference {
            differing.insert(statement.id.clone());
            if !ids.contains(statement.id.as_str()) {
                wrong.push(format!("{}: {difference}", statement.id));
            }
        }
    }
    println!("{compared} statements compared, {refused} refused");
    assert!(compared > 150, "only {compared} compared");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let same: Vec<&&str> = ids.iter().filter(|id| !differing.contains(**id)).collect();
    assert!(
        same.is_empty(),
        "listed in twin.toml, but the same (or refused): {same:?}"
    );
}

/// The first difference, in words.
fn difference(found: &Compared, expected: &Compared, accepted: &BTreeSet<&str>) -> Option<String> {
    let names = |side: &Compared| -> Vec<String> {
        side.0
            .iter()
            .filter(|name| !accepted.contains(name.as_str()))
            .cloned()
            .collect()
    };
    if names(found) != names(expected) {
        return Some(format!("columns {:?}, not {:?}", found.0, expected.0));
    }
    let rows = |side: &Compared| -> Vec<String> {
        let kept = |row: &Vec<String>| {
            let cells = side
                .0
                .iter()
                .zip(row)
                .filter(|(name, _)| !accepted.contains(name.as_str()));
            let cells: Vec<String> = cells.map(|(name, cell)| format!("{name}={cell}")).collect();
            cells.join(", ")
        };
        let mut rows: Vec<String> = side.1.iter().map(kept).collect();
        rows.sort();
        rows
    };
    let (found, expected) = (rows(found), rows(expected));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these
            .iter()
            .filter(|row| !those.contains(row))
            .take(2)
            .cloned()
            .collect()
    };
    (found != expected).then(|| {
        format!(
            "{} rows, not {}\n    ours: {:?}\n    twin: {:?}",
            found.len(),
            expected.len(),
            only(&found, &expected),
            only(&expected, &found)
        )
    })
}
