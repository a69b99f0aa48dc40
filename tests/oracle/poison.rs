//! The open form, against rows nobody may see that fail whatever touches them.
//!
//! Queries with an expression that can fail at any place are made from a seed. Those that `sql::admit` proves open
//! run over the views without a barrier, and the others over the barriers, in a database with poisoned hidden rows and in
//! its twin without them, under plans steered this way and that. Any difference tells of a hidden row. What the
//! caller may see fails on nothing, masks included, so that an error can only come from a hidden row.

use crate::generate::Dice;
use crate::wire::{Answer, Client};
use crate::{comparable, support};
use rowgate::limits::Limits;
use rowgate::policy::{
    ColumnType, GrantedColumn, GrantedTable, Grants, RelationName, ShadowSource,
};
use rowgate::sql::{Form, Options, admit};
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// `ROWGATE_ORACLE_SECONDS` gives it longer.
const SECONDS: u64 = 15;

const SCHEMA: &str = "
CREATE SCHEMA rowgate_open;
CREATE SCHEMA rowgate;
CREATE TABLE perm (department text, allowed_role text);
INSERT INTO perm SELECT 'd' || (i % 4), 'r' || (i % 9) FROM generate_series(0, 35) i;
CREATE TABLE cust (id int8 PRIMARY KEY, name text, department text, qty int4, f float8);
INSERT INTO cust SELECT i, 'c' || i, 'd' || (i % 4), i, i FROM generate_series(1, 40) i;
CREATE TABLE inv (id int8 PRIMARY KEY, amount numeric, date date, department text, customer_id int8, note text,
                  ts timestamp, f float8, code text COLLATE \"C\");
INSERT INTO inv SELECT i, i + 1, DATE '2024-01-01' + i, 'd' || (i % 4), 1 + i % 40, i + 1, '2024-01-01', i, 'k' || i
FROM generate_series(1, 300) i;
CREATE INDEX ON inv (department);
CREATE INDEX ON inv (customer_id);
CREATE INDEX ON inv (amount);
CREATE VIEW rowgate_open.inv AS SELECT * FROM inv WHERE department IN (
    SELECT department FROM perm WHERE allowed_role = ANY ((SELECT current_setting('poison.roles')::text[])::text[]));
CREATE VIEW rowgate_open.cust AS SELECT * FROM cust c WHERE EXISTS (
    SELECT 1 FROM perm p WHERE p.department = c.department
      AND p.allowed_role = ANY ((SELECT current_setting('poison.roles')::text[])::text[]));
CREATE VIEW rowgate.inv WITH (security_barrier) AS SELECT *, coalesce((note::int)::text, '') AS mask, 5 / amount AS share FROM (
    SELECT * FROM inv WHERE department IN (
        SELECT department FROM perm WHERE allowed_role = ANY ((SELECT current_setting('poison.roles')::text[])::text[]))) AS r;
CREATE VIEW rowgate.cust WITH (security_barrier) AS SELECT * FROM rowgate_open.cust;";

const POISON: &str = "
INSERT INTO inv SELECT 1000 + i, 0, '5874897-12-31', 'hidden', i, 'SECRET', '4713-11-24 00:00:00 BC', 1e300, ''
FROM generate_series(1, 20) i;
INSERT INTO inv VALUES (2000, '1e400', 'infinity', 'hidden', 1, '(', 'infinity', 'NaN', '\\'),
                       (2001, 'NaN', '-infinity', 'hidden', 2, '', '-infinity', '-infinity', '%');
INSERT INTO cust SELECT 1000 + i, 'SECRET', 'hidden', 0, 'NaN' FROM generate_series(1, 5) i;";

const TABLES: [(&str, &str); 2] = [
    (
        "inv",
        "id int8,amount numeric,date date,department text,customer_id int8,note text,ts timestamp,f float8,code text,mask text,share numeric",
    ),
    (
        "cust",
        "id int8,name text,department text,qty int4,f float8",
    ),
];

const PARALLEL: &str = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0";
const PLANS: [&[&str]; 7] = [
    &[],
    &[PARALLEL],
    &[
        PARALLEL,
        "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_hashagg = off",
    ],
    &["SET enable_hashjoin = off; SET enable_mergejoin = off"],
    &["SET enable_hashjoin = off; SET enable_nestloop = off"],
    &["SET enable_nestloop = off; SET enable_mergejoin = off; SET enable_hashagg = off"],
    &["SET enable_seqscan = off; SET join_collapse_limit = 1; SET from_collapse_limit = 1"],
];
const ROLES: [&str; 3] = ["{r1}", "{r1,r2,r3,r4,r5,r6}", "{}"];

/// Fine on every visible row, not on every hidden one.
const FAILING: [&str; 13] = [
    "i.note::int",
    "1 / i.amount",
    "i.ts + (i.id || ' years')::interval",
    "i.note::numeric / 1",
    "date_trunc('century', i.ts)",
    "sqrt(i.amount - 1)",
    "substr(i.note, 1, i.amount::int - 1)",
    "chr(i.amount::int)",
    "log(i.amount)",
    "i.amount::float8",
    "i.date::timestamp",
    "date_part('year', i.date)",
    "power(i.f, 2)::int",
];
/// In the barrier only.
const MASKS: [&str; 3] = ["i.mask", "i.share", "length(i.mask)"];
const FINE: [&str; 18] = [
    "i.note",
    "i.amount",
    "lower(i.note)",
    "i.id",
    "i.date",
    "extract(year FROM i.date)",
    "i.f",
    "i.customer_id",
    "i.department",
    "left(i.note, 2)",
    "coalesce(i.note, 'x')",
    "nullif(i.amount, 3)",
    "length(i.note)",
    "CASE WHEN i.amount > 5 THEN i.note ELSE 'z' END",
    "greatest(i.amount, 2)",
    "i.amount::text",
    "i.ts::date",
    "i.code",
];
const AGGREGATES: [&str; 9] = [
    "count(*)",
    "sum(i.amount)",
    "max(i.id)",
    "min(i.note)",
    "avg(i.amount)",
    "count(DISTINCT i.note)",
    "sum(i.amount) / count(*)",
    "bool_or(i.amount > 1)",
    "sum(i.id) FILTER (WHERE i.amount > 1)",
];

fn value(dice: &mut Dice) -> &'static str {
    let list: &[&'static str] = match dice.below(24) {
        0 | 1 => &FAILING,
        2 | 3 => &MASKS,
        _ => &FINE,
    };
    let value: &&'static str = dice.pick(list);
    value
}

fn condition(dice: &mut Dice, depth: usize) -> String {
    if depth > 0 && !dice.one_in(3) {
        let (a, b) = (condition(dice, depth - 1), condition(dice, depth - 1));
        return match dice.below(6) {
            0 | 1 => format!("({a} AND {b})"),
            2 => format!("({a} OR {b})"),
            3 => format!("NOT ({a})"),
            4 => format!("({a}) = true"),
            _ => format!(
                "EXISTS (SELECT 1 FROM cust e WHERE e.id = i.customer_id AND (e.qty > 2 OR {a}))"
            ),
        };
    }
    let (a, b) = (value(dice), value(dice));
    match dice.below(8) {
        0 => "i.id > 900".to_owned(),
        1 | 2 => format!("{a} IS NOT NULL"),
        3 => format!("{a} = {b}"),
        4 => "i.note LIKE 'S%'".to_owned(),
        5 => format!("(CASE WHEN i.amount > 0 THEN {a} ELSE {a} END) IS NOT NULL"),
        6 => "i.customer_id IN (SELECT qty FROM cust WHERE f > 2)".to_owned(),
        _ => format!(
            "i.amount > (SELECT {} FROM inv i WHERE i.id < 50)",
            dice.pick(&["avg(i.amount)", "min(i.id)", "1 / min(i.amount)"])
        ),
    }
}

/// A condition for HAVING, over `key` and aggregates.
fn having(dice: &mut Dice, key: &str, depth: usize) -> String {
    if depth > 0 && !dice.one_in(4) {
        let (a, b) = (having(dice, key, depth - 1), having(dice, key, depth - 1));
        return match dice.below(6) {
            0 => format!("({a} AND {b})"),
            1 => format!("({a} OR {b})"),
            2 => format!("NOT ({a} OR {b})"),
            3 => format!("({a}) = true"),
            4 => format!("CASE WHEN true THEN {a} ELSE {b} END"),
            _ => format!("({a} AND {b}) OR ({a} AND count(*) > 1)"),
        };
    }
    match dice.below(4) {
        0 => format!("{} IS NOT NULL", dice.pick(&AGGREGATES)),
        1 => format!("({key}, count(*)) = ({key}, 1)"),
        2 => format!("{key} IS NOT NULL"),
        _ => "count(*) > 0".to_owned(),
    }
}

fn query(dice: &mut Dice) -> String {
    let from = *dice.pick(&[
        "inv i",
        "inv i",
        "inv i JOIN cust c ON c.id = i.customer_id",
        "inv i JOIN cust c ON c.qty = i.id AND c.name <> 'c3'",
        "inv i LEFT JOIN cust c ON c.id = i.customer_id",
        "cust c RIGHT JOIN inv i ON c.id = i.customer_id AND c.name <> i.note",
        "inv i JOIN (SELECT department AS d, sum(qty) AS v, 1 / min(qty) AS w FROM cust GROUP BY department) s ON s.d = i.department",
        "inv i CROSS JOIN LATERAL (SELECT 1 / c.qty AS l FROM cust c WHERE c.id = i.customer_id) l",
    ]);
    let filter = match dice.one_in(4) {
        true => String::new(),
        false => format!(" WHERE {}", condition(dice, 2)),
    };
    let (a, b) = (value(dice), value(dice));
    let aggregate = *dice.pick(&AGGREGATES);
    let inner = match dice.below(8) {
        0..3 => {
            let (key, failing) = *dice.pick(&[
                ("i.note", "i.note::int"),
                ("i.note", "length(i.note)"),
                ("i.amount", "1 / i.amount"),
                ("i.amount", "i.amount::float8"),
                ("i.date", "date_part('year', i.date)"),
            ]);
            let having = having(dice, failing, 2);
            format!(
                "SELECT {key} AS a, {aggregate} AS b FROM {from}{filter} GROUP BY {key} HAVING {having}"
            )
        }
        3 => format!(
            "SELECT {aggregate} AS a, {} AS b FROM {from}{filter}",
            dice.pick(&AGGREGATES)
        ),
        4 => format!("SELECT DISTINCT {a} AS a, {b} AS b FROM {from}{filter}"),
        5 => format!("SELECT {a} AS a FROM {from}{filter} UNION SELECT {b} AS a FROM inv i"),
        6 => format!("SELECT {a} AS a, {b} AS b FROM {from}{filter} ORDER BY {b} LIMIT 3"),
        _ => format!("SELECT {a} AS a, {b} AS b FROM {from}{filter}"),
    };
    match dice.below(4) {
        0 => format!("SELECT count(*) FROM ({inner}) q WHERE a IS NOT NULL"),
        1 => format!(
            "WITH q AS ({inner}) SELECT count(*) FROM q, inv i WHERE i.id > 900 AND q.a IS NOT NULL"
        ),
        _ => inner,
    }
}

fn grants() -> Grants {
    let column = |text: &str| {
        let (name, type_) = text.split_once(' ').unwrap();
        GrantedColumn {
            name: name.to_owned(),
            type_: ColumnType::builtin(type_),
            plain: !["mask", "share"].contains(&name),
        }
    };
    let table = |(name, columns): (&str, &str)| GrantedTable {
        relation: RelationName::new("public", name),
        columns: columns.split(',').map(column).collect(),
        primary_key: Vec::new(),
        source: ShadowSource::Installed {
            sealed: RelationName::new("rowgate", name),
            open: RelationName::new("rowgate_open", name),
        },
    };
    Grants::new(
        TABLES.map(table).to_vec(),
        vec!["public".to_owned()],
        Vec::new(),
    )
    .on_server(140_000)
}

/// What two answers must agree on. Which rows a LIMIT keeps among equals is the plan's choice.
fn told(answer: &Answer, sql: &str) -> String {
    match comparable(answer) {
        Ok(_) if sql.contains("LIMIT") => "rows".to_owned(),
        told => format!("{told:?}"),
    }
}

fn compare(server: SocketAddr, poisoned: &str, twin: &str) {
    let root = support::cluster().password().expose_secret();
    let mut clients =
        [poisoned, twin].map(|name| Client::login(server, "postgres", root, name).ok().unwrap());
    let grants = grants();
    let options = Options {
        limits: Limits::default(),
        open_allowed: true,
        parameter_types: Vec::new(),
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let mut dice = Dice::new(number("ROWGATE_ORACLE_SEED").unwrap_or(1));
    let time = Duration::from_secs(number("ROWGATE_ORACLE_SECONDS").unwrap_or(SECONDS));
    let (started, mut made, mut open, mut sealed, mut ran) = (Instant::now(), 0, 0_u32, 0_u32, 0);
    // On a machine with other work, longer: too few queries prove nothing.
    let enough = |open: u32, sealed: u32| open.min(sealed) > 5 || started.elapsed() > time * 8;
    while started.elapsed() < time || !enough(open, sealed) {
        let sql = query(&mut dice);
        made += 1;
        let verified = admit(&sql, &grants, &options).unwrap_or_else(|r| panic!("{sql}: {r:?}"));
        match verified.form() {
            Form::Open => open += 1,
            // A barrier is slow where it is read once per row, and there are many of them.
            Form::Sealed if !dice.one_in(4) => continue,
            Form::Sealed | Form::Inline => sealed += 1,
        }
        let timeout = if verified.form() == Form::Open {
            "2s"
        } else {
            "300ms"
        };
        for _ in 0..2 {
            let (plan, roles) = (*dice.pick(&PLANS), *dice.pick(&ROLES));
            let answers = clients.each_mut().map(|client| {
                let plan = plan.join("; ");
                client.simple(&format!(
                    "RESET ALL; SET statement_timeout = '{timeout}'; SET poison.roles = '{roles}'; {plan}"
                ));
                client.simple(verified.text())
            });
            let [with, without] = answers.map(|answer| told(&answer, &sql));
            ran += 1;
            if without.contains("57014") || with.contains("57014") {
                continue;
            }
            assert_eq!(
                with, without,
                "a hidden row tells: {sql}\nroles {roles}, {plan:?}"
            );
        }
    }
    println!("{made} queries, {open} open, {sealed} sealed tried, {ran} runs, no difference");
    assert!(
        open > 5 && sealed > 5,
        "only {open} open, {sealed} sealed queries"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hidden_row_tells() {
    let schemas = [
        format!("{SCHEMA}{POISON} ANALYZE"),
        format!("{SCHEMA} ANALYZE"),
    ];
    beside_its_twin(schemas, compare).await;
}

/// Makes a database with hidden rows and its twin without them, by these scripts, and has them compared.
pub(crate) async fn beside_its_twin(
    schemas: [String; 2],
    compare: impl FnOnce(SocketAddr, &str, &str) + Send + 'static,
) {
    let (hidden, twin) = (
        support::empty_database().await,
        support::empty_database().await,
    );
    for (name, schema) in [&hidden, &twin].into_iter().zip(&schemas) {
        let client = support::cluster().connect(name).await.unwrap();
        client.batch_execute(schema).await.unwrap();
    }
    let server = SocketAddr::from(([127, 0, 0, 1], support::cluster().port()));
    tokio::task::spawn_blocking(move || compare(server, &hidden, &twin))
        .await
        .unwrap();
}
