//! The barrier, against rows nobody may see that fail whatever touches them.
//!
//! `security_barrier` keeps a condition above the filter only if a function in it that may fail has a column; queries made
//! from a seed ask about hidden rows with what has none, at places where only such a row is answered: behind OR, in
//! CASE, beside a condition that no visible row meets. They run as `sql::admit` has them, in a database with hidden rows and
//! in its twin without them. What is asked there may fail as it likes, so any difference tells of a hidden row.
//!
//! Each text that is computed apart also runs as if it were not: enough of those have to tell, or the test proves nothing.

use crate::asked::Maker;
use crate::generate::Dice;
use crate::wire::{Answer, Client};
use crate::{comparable, support};
use rowgate::limits::Limits;
use rowgate::policy::{
    ColumnType, GrantedColumn, GrantedTable, Grants, RelationName, ShadowSource, TypeKind,
};
use rowgate::sql::{Form, Options, admit};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// `ROWGATE_ORACLE_SECONDS` gives it longer.
const SECONDS: u64 = 8;

const SCHEMA: &str = "
CREATE SCHEMA rowgate;
CREATE SCHEMA rowgate_open;
CREATE COLLATION alike (provider = icu, locale = 'und', deterministic = false);
CREATE DOMAIN few AS numeric CHECK (VALUE < 1e300);
CREATE TABLE perm (department text, allowed_role text);
INSERT INTO perm SELECT 'd' || (i % 4), 'r' || (i % 9) FROM generate_series(0, 35) i;
CREATE TABLE t (id int8 PRIMARY KEY, i int4, n numeric, f float8, note text, nm name, d date, ts timestamp, at timestamptz, b bool, o oid, j jsonb,
    tags text[], nums numeric[], ratios float8[], other text COLLATE \"de-x-icu\", same text COLLATE alike, dom few, ring circle, department text);
INSERT INTO t SELECT i, i, i, i, i::text, i::text, '2024-01-01', '2024-01-01', '2024-01-01', true, i, '{\"a\": \"1\"}', ARRAY[i::text], ARRAY[i], ARRAY[i],
    i::text, i::text, i, '<(0,0),1>', 'd' || (i % 4) FROM generate_series(1, 60) i WHERE i NOT IN (30, 31);
CREATE TABLE u (id int8 PRIMARY KEY, i int4, n numeric, f float8, note text, department text);
INSERT INTO u SELECT i, 0, i * 1e400, 0, 'x', 'd' || (i % 4) FROM generate_series(1, 3) i;
CREATE VIEW rowgate_open.t AS SELECT * FROM t WHERE department IN (
    SELECT department FROM perm WHERE allowed_role = ANY ((SELECT '{r1,r2,r3,r4,r5}'::text[])::text[]));
CREATE VIEW rowgate_open.u AS SELECT * FROM u WHERE EXISTS (SELECT 1 FROM perm p WHERE p.department = u.department);
CREATE VIEW rowgate.t WITH (security_barrier) AS SELECT *, coalesce((note::int)::text, '') AS mask FROM rowgate_open.t;
CREATE VIEW rowgate.u WITH (security_barrier) AS SELECT * FROM rowgate_open.u;";

/// Put there behind ANALYZE, in the midst of the ids: plans differ with statistics, and with plans which of two errors comes.
const HIDDEN: &str = "
INSERT INTO t VALUES (30, 0, '1e400', 'NaN', 'SECRET', 'SECRET', '5874897-12-31', 'infinity', 'infinity', false, 0, '{\"a\": \"x\"}',
    '{SECRET}', '{1e400}', '{NaN}', 'SECRET', 'SECRET', 0, '<(0,0),1e200>', 'hidden'),
    (31, 0, 'NaN', '1e300', '(', '%', '-infinity', '-infinity', '-infinity', NULL, 5, '[]',
    '{}', '{NaN}', '{}', '', '\\', 1, NULL, 'hidden');";

const TABLES: [(&str, &str); 2] = [
    (
        "t",
        "id int8,i int4,n numeric,f float8,note text,nm name,d date,ts timestamp,at timestamptz,b bool,o oid,j jsonb,\
         tags _text,nums _numeric,ratios _float8,other text/,same text/,dom few*,ring circle,department text,mask text",
    ),
    (
        "u",
        "id int8,i int4,n numeric,f float8,note text,department text",
    ),
];

const PLANS: [&str; 4] = [
    "",
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_hashagg = off",
    "SET enable_seqscan = off",
    "SET enable_nestloop = off; SET join_collapse_limit = 1; SET from_collapse_limit = 1",
];

/// The parameters, $1 to $4: as declared in PREPARE, and as the gate knows that (type OIDs).
const PARAMETERS: [(&str, &[u32]); 4] = [
    ("", &[]),
    ("", &[]),
    (" (int8, text, text[], bool)", &[20, 25, 1009, 16]),
    (
        " (unknown, unknown, unknown, unknown)",
        &[705, 705, 705, 705],
    ),
];
const VALUES: [&str; 4] = ["99999999999", "'('", "'{a,b}'", "'true'"];

fn grants() -> Grants {
    let column = |text: &str| {
        let (name, type_) = text.split_once(' ').unwrap();
        let kind = match type_.strip_suffix('/') {
            Some(_) => TypeKind::Other,
            None if type_.ends_with('*') => TypeKind::Domain,
            None if type_.starts_with('_') => TypeKind::Array,
            None => TypeKind::Builtin,
        };
        let builtin = ColumnType::builtin(type_.trim_end_matches(['/', '*']));
        GrantedColumn {
            name: name.to_owned(),
            type_: ColumnType { kind, ..builtin },
            plain: name != "mask",
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
    .on_server(150_000)
}

/// What two answers must agree on: an error by its class, so that its words may name what it stumbled over.
fn told(answer: &Answer) -> String {
    format!("{:?}", comparable(answer))
}

/// Runs a text under a plan, in each database; with parameters, of so declared types, as a plan that is kept.
fn run(clients: &mut [Client; 2], plan: &str, declared: &str, text: &str) -> [String; 2] {
    let used = (1..=4).rev().find(|n| text.contains(&format!("${n}")));
    clients.each_mut().map(|client| {
        client.simple(&format!(
            "RESET ALL; DEALLOCATE ALL; SET jit = off; SET plan_cache_mode = force_generic_plan; SET statement_timeout = '500ms'; {plan}"
        ));
        let Some(used) = used else {
            return told(&client.simple(text));
        };
        client.simple(&format!("PREPARE q{declared} AS {text}"));
        let values = if declared.is_empty() { used } else { VALUES.len() };
        told(&client.simple(&format!("EXECUTE q ({})", VALUES[..values].join(", "))))
    })
}

fn compare(server: SocketAddr, hidden: &str, twin: &str) {
    let root = support::cluster().password().expose_secret();
    let mut clients =
        [hidden, twin].map(|name| Client::login(server, "postgres", root, name).ok().unwrap());
    let grants = grants();
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let mut dice = Dice::new(number("ROWGATE_ORACLE_SEED").unwrap_or(1));
    let time = Duration::from_secs(number("ROWGATE_ORACLE_SECONDS").unwrap_or(SECONDS));
    let (started, mut counts, mut told_apart) = (Instant::now(), BTreeMap::new(), 0);
    // On a machine with other work, longer: too few queries prove nothing.
    while started.elapsed() < time || (told_apart < 5 && started.elapsed() < time * 8) {
        let (declared, oids) = *dice.pick(&PARAMETERS);
        let parameters = dice.one_in(2);
        let sql = Maker::new(&mut dice, parameters).query();
        let options = Options {
            limits: Limits::default(),
            open_allowed: dice.one_in(2),
            parameter_types: oids.to_vec(),
        };
        let Ok(verified) = admit(&sql, &grants, &options) else {
            *counts.entry("refused").or_insert(0) += 1;
            continue;
        };
        let apart = verified.form_reason().contains("apart");
        let form = match verified.form() {
            Form::Open => "open",
            _ if apart => "apart",
            _ => "barrier",
        };
        let plan = *dice.pick(&PLANS);
        let [with, without] = run(&mut clients, plan, declared, verified.text());
        *counts
            .entry(if without.starts_with("Err(\"42") {
                "no query"
            } else {
                form
            })
            .or_insert(0) += 1;
        if with.contains("57014") || without.contains("57014") {
            continue;
        }
        assert_eq!(
            with,
            without,
            "a hidden row tells ({form}): {sql}\n{declared}, {plan}\n{}",
            verified.text()
        );
        if apart && dice.one_in(4) {
            let trusting = verified
                .text()
                .replace(" AS MATERIALIZED (SELECT ", " AS NOT MATERIALIZED (SELECT ");
            let [with, without] = run(&mut clients, plan, declared, &trusting);
            told_apart += usize::from(with != without);
        }
    }
    println!("{counts:?}, {told_apart} told if not computed apart");
    assert!(
        told_apart >= 5,
        "only {told_apart} of these queries tell without the proof"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hidden_row_tells_through_the_barrier() {
    let schemas = [
        format!("{SCHEMA} ANALYZE; {HIDDEN}"),
        format!("{SCHEMA} ANALYZE; "),
    ];
    crate::poison::beside_its_twin(schemas, compare).await;
}
