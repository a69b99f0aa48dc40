//! Judges every query of a corpus by `admit` alone and prints how many pass and why the rest do not; the
//! quick half of `corpus.py`, which runs them for real.
//!
//!     cargo run --example admit_corpus -- CORPUS 'host=127.0.0.1 port=5661 user=postgres'
//!
//! `CORPUS` holds `queries.jsonl` and a folder with `policies.json` for each database; the server (see
//! `load.py` of the corpus) is asked only for column types and primary keys.

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

use rowgate::limits::Limits;
use rowgate::policy::{
    ColumnType, GrantedColumn, GrantedTable, Grants, RelationName, ShadowSource, TypeKind,
};
use rowgate::sql::statement::{StatementKind, split};
use rowgate::sql::{Form, Options, VerifiedQuery, admit};
use std::collections::BTreeMap;
use std::path::Path;

/// Relation, key or not, column, type name, its display and kind, in column order.
const COLUMNS: &str = "
    SELECT n.nspname, c.relname, a.attname, t.typname, format_type(a.atttypid, a.atttypmod), t.typtype,
           t.typcategory = 'A', tn.nspname = 'pg_catalog',
           coalesce(array_position(i.indkey::int2[], a.attnum), -1)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2, a.attnum";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, corpus, server] = arguments.as_slice() else {
        panic!("usage: admit_corpus CORPUS SERVER");
    };
    let mut all = BTreeMap::new();
    let (mut accepted, mut open, mut apart, mut refused) = (0, 0, Vec::new(), Vec::new());
    for line in std::fs::read_to_string(Path::new(corpus).join("queries.jsonl"))
        .unwrap()
        .lines()
    {
        let query: serde_json::Value = serde_json::from_str(line).unwrap();
        let database = query["db"].as_str().unwrap().to_owned();
        if !all.contains_key(&database) {
            all.insert(database.clone(), grants(corpus, server, &database).await);
        }
        let sql = query["sql"].as_str().unwrap();
        match judge(sql, &all[&database]) {
            Ok(verified) => {
                accepted += 1;
                open += usize::from(verified.iter().any(|query| query.form() == Form::Open));
                let apart_from = |query: &VerifiedQuery| query.form_reason().contains("apart");
                if verified.iter().any(apart_from) {
                    apart.push((query["id"].to_string(), sql.to_owned()));
                }
            }
            Err(why) => refused.push((why, query["id"].to_string(), sql.to_owned())),
        }
    }
    refused.sort();
    for (why, id, sql) in &refused {
        println!(
            "{why}\t{id}\t{}",
            sql.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
    for (id, sql) in &apart {
        println!(
            "computed apart\t{id}\t{}",
            sql.split_whitespace().collect::<Vec<_>>().join(" ")
        );
    }
    let total = accepted + refused.len();
    println!(
        "accepted {accepted} of {total}, {open} of them open, {} sealed and computed apart; refused {}",
        apart.len(),
        refused.len()
    );
}

fn judge(sql: &str, grants: &Grants) -> Result<Vec<VerifiedQuery>, String> {
    let options = Options {
        limits: Limits::default(),
        open_allowed: true,
        parameter_types: Vec::new(),
    };
    let told = |r: rowgate::error::Refusal| format!("{}: {}", r.reason.slug(), r.message);
    let mut verified = Vec::new();
    for statement in split(sql, &options.limits).map_err(told)? {
        match statement.kind {
            StatementKind::Query => {
                verified.push(admit(&statement.text, grants, &options).map_err(told)?);
            }
            other => return Err(format!("not a query: {other:?}")),
        }
    }
    Ok(verified)
}

async fn grants(corpus: &str, server: &str, database: &str) -> Grants {
    let text = std::fs::read_to_string(Path::new(corpus).join(database).join("policies.json"));
    let policies: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let (client, connection) = tokio_postgres::connect(
        &format!("{server} dbname={database}"),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let rows = client.query(COLUMNS, &[]).await.unwrap();
    let mut tables = Vec::new();
    let mut schemas = vec!["public".to_owned()];
    for table in policies["tables"].as_array().unwrap() {
        let relation = RelationName::new(
            table["schema"].as_str().unwrap(),
            table["table"].as_str().unwrap(),
        );
        if !schemas.contains(&relation.schema) {
            schemas.push(relation.schema.clone());
        }
        let visible: Vec<&str> = table["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect();
        let mut columns = Vec::new();
        let mut key = BTreeMap::new();
        for row in &rows {
            let (schema, name, column): (String, String, String) =
                (row.get(0), row.get(1), row.get(2));
            if schema != relation.schema
                || name != relation.name
                || !visible.contains(&column.as_str())
            {
                continue;
            }
            let position: i32 = row.get(8);
            if position >= 0 {
                key.insert(position, column.clone());
            }
            columns.push(GrantedColumn {
                plain: true,
                name: column,
                type_: ColumnType {
                    name: row.get(3),
                    display: row.get(4),
                    kind: kind(row),
                },
            });
        }
        let name = relation.name.clone();
        tables.push(GrantedTable {
            relation,
            columns,
            primary_key: key.into_values().collect(),
            source: ShadowSource::Installed {
                sealed: RelationName::new("rowgate", name.clone()),
                open: RelationName::new("rowgate_open", name),
            },
        });
    }
    Grants::new(tables, schemas, Vec::new())
}

fn kind(row: &tokio_postgres::Row) -> TypeKind {
    if row.get::<_, bool>(6) {
        return TypeKind::Array;
    }
    let kind: i8 = row.get(5);
    match (u8::try_from(kind).unwrap_or(b'?'), row.get::<_, bool>(7)) {
        (b'b', true) => TypeKind::Builtin,
        (b'c', _) => TypeKind::Composite,
        (b'd', _) => TypeKind::Domain,
        (b'e', _) => TypeKind::Enum,
        _ => TypeKind::Other,
    }
}
