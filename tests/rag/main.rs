//! Retrieval through the gate: the best of the documents a user may see, and from the index.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod retrieval;
mod vectors;

use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, Setup};
use rowgate::identity::{Findings, Principal};
use rowgate::install;
use rowgate::limits::Limits;
use rowgate::policy::{Grants, PrincipalSettings, SET_PRINCIPAL};
use rowgate::sql::{Form, Options, STACK_BYTES, admit};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::Gate;
use tokio_postgres::types::ToSql;

const SCHEMA: &str = include_str!("../../fixtures/rag/schema.sql");
const TUPLES: &str = include_str!("../../fixtures/tuples.sql");
const DATA: &str = include_str!("../../fixtures/rag/data.sql");
const VECTORS: &str = include_str!("../../fixtures/rag/vectors.sql");
const ROLES: &str = r#"CREATE TABLE public.user_roles ("user" text, role text)"#;

/// The views of `folders` in one folder.
fn views(folders: &[&str]) -> PathBuf {
    let to = tempfile::tempdir().unwrap().keep();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    to
}

/// The documents behind a gate that looks through so many objects for one user.
async fn gate_within(
    cluster: &Cluster,
    name: &str,
    enforcement: Enforcement,
    objects_max: u32,
) -> Gate {
    let bound = format!("objects_max = {objects_max}\n");
    gate_with(cluster, name, enforcement, false, &bound).await
}

/// The documents behind a gate.
async fn gate(cluster: &Cluster, name: &str, enforcement: Enforcement, vectors: bool) -> Gate {
    gate_with(cluster, name, enforcement, vectors, "").await
}

async fn gate_with(
    cluster: &Cluster,
    name: &str,
    enforcement: Enforcement,
    vectors: bool,
    more: &str,
) -> Gate {
    let mut sql = vec![ROLES, TUPLES, SCHEMA, DATA];
    let mut folders = vec!["views/rag"];
    if vectors {
        sql.push(VECTORS);
        folders.push("views/rag/vectors");
    }
    let namespaces = Path::new("fixtures/rag/namespaces.toml").canonicalize();
    let setup = Setup {
        sql: sql.into_iter().map(str::to_owned).collect(),
        views: Some(views(&folders)),
        configuration: format!(
            "\n[tuples]\ntable = \"public.rowgate_tuples\"\nnamespaces_file = \"{}\"\n{more}",
            namespaces.unwrap().display()
        ),
        ..Setup::example(name, ([127, 0, 0, 1], 0).into(), enforcement)
    };
    support::gate_on(cluster, setup, |_| {}).await
}

/// The first column of the answer.
async fn ids(gate: &Gate, user: &str, sql: &str) -> Result<Vec<String>, String> {
    let client = gate.connect(user).await;
    let told = |error: tokio_postgres::Error| {
        let error = error.as_db_error().unwrap();
        format!("{} {}", error.code().code(), error.message())
    };
    let messages = client.simple_query(sql).await.map_err(told)?;
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_owned()),
        _other => None,
    });
    Ok(rows.collect())
}

fn final_text(sql: &str, grants: &Grants) -> (String, Form) {
    let limits = Limits::default();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let work = move || {
            let options = Options {
                open_allowed: true,
                parameter_types: Vec::new(),
                limits,
            };
            let query = admit(sql, grants, &options).unwrap_or_else(|r| panic!("{sql}: {r:?}"));
            (query.text().to_string(), query.form())
        };
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// What bob may read.
async fn bobs(admin: &tokio_postgres::Client, gate: &Gate) -> Arc<Grants> {
    let views = install::read_views(&gate.config.views, gate.config.tuples.as_ref()).unwrap();
    let policy = install::policy_of(&views, admin, Enforcement::Barrier);
    policy.await.unwrap().grants(&bob())
}

fn bob() -> Principal {
    Principal::new("bob", "bob", Findings::default())
}

/// The form of what PostgreSQL receives for bob.
async fn form(cluster: &Cluster, gate: &Gate, sql: &str) -> Form {
    let admin = cluster.connect(&gate.database).await.unwrap();
    final_text(sql, &*bobs(&admin, gate).await).1
}

/// The form of what PostgreSQL receives for bob, and its plan where sequential scans are dear.
async fn plan(cluster: &Cluster, gate: &Gate, sql: &str) -> (Form, String) {
    let mut admin = cluster.connect(&gate.database).await.unwrap();
    let (text, form) = final_text(sql, &*bobs(&admin, gate).await);
    let transaction = admin.transaction().await.unwrap();
    transaction
        .batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL search_path = ''; SET LOCAL ROLE rowgate")
        .await
        .unwrap();
    let settings = PrincipalSettings::from(&bob());
    let values = settings.parameters();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    transaction.query(SET_PRINCIPAL, &values).await.unwrap();
    let rows = transaction
        .query(&format!("EXPLAIN {text}"), &[])
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    (form, lines.join("\n"))
}
