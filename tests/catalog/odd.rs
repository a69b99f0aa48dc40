//! A table of types of the customer's own: what belongs to its visible columns is there, what belongs to a hidden one is
//! not, and no number points at something that is not shown.

use super::{Shadow, clusters, lines, list, support};
use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, Setup};
use std::net::SocketAddr;

const SQL: &str = include_str!("odd.sql");

async fn gate(cluster: &Cluster, enforcement: Enforcement) -> support::Gate {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let database = match enforcement {
        Enforcement::Barrier => "catalog_odd",
        Enforcement::Inline => "catalog_odd_inline",
    };
    let mut setup = Setup::example(database, listen, enforcement);
    setup.sql.push(SQL.to_owned());
    setup.views = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/catalog/odd").into());
    support::gate_on(cluster, setup, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_visible_columns_is_shown_and_nothing_else() {
    let [usual, latest] = clusters();
    for (cluster, enforcement) in [
        (usual, Enforcement::Barrier),
        (usual, Enforcement::Inline),
        (latest, Enforcement::Barrier),
    ] {
        let gate = gate(cluster, enforcement).await;
        let bob = gate.connect("bob").await;
        for (sql, expected) in SHOWN {
            assert_eq!(lines(&bob, sql).await.join("\n"), *expected, "{sql}");
        }
        for (relation, column, referenced) in POINTS_AT {
            let dangling = format!(
                "SELECT x.{column} FROM pg_catalog.{relation} x WHERE x.{column} <> 0 AND NOT EXISTS (SELECT 1 FROM \
                 pg_catalog.{referenced} y WHERE y.oid = x.{column})"
            );
            assert_eq!(lines(&bob, &dangling).await, [""; 0], "{relation}.{column}");
        }
        for relation in DESCRIBED {
            let dangling = format!(
                "SELECT d.objoid FROM pg_description d WHERE d.classoid = 'pg_catalog.{relation}'::regclass AND NOT EXISTS (SELECT 1 FROM \
                 pg_catalog.{relation} y WHERE y.oid = d.objoid)"
            );
            assert_eq!(lines(&bob, &dangling).await, [""; 0], "{relation}");
        }
        let classes = DESCRIBED.map(|relation| format!("'pg_catalog.{relation}'::regclass"));
        let others = format!(
            "SELECT d.classoid FROM pg_description d WHERE d.classoid NOT IN ({})",
            classes.join(", ")
        );
        assert_eq!(lines(&bob, &others).await, [""; 0]);
        for Shadow { name, .. } in list().shadow {
            let told = lines(&bob, &format!("SELECT * FROM {name}"))
                .await
                .join("\n");
            for hidden in ["canary", "77777", "invoices", "odd_id_seq"] {
                assert!(!told.contains(hidden), "{name} tells {hidden}");
            }
        }
    }
}

/// Only what one of these shows is described.
const DESCRIBED: [&str; 13] = [
    "pg_am",
    "pg_cast",
    "pg_class",
    "pg_conversion",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_proc",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
];

/// Every number in a shadow is one of the relation it points at.
const POINTS_AT: &[(&str, &str, &str)] = &[
    ("pg_class", "relnamespace", "pg_namespace"),
    ("pg_class", "reltype", "pg_type"),
    ("pg_class", "relam", "pg_am"),
    ("pg_attribute", "attrelid", "pg_class"),
    ("pg_attribute", "atttypid", "pg_type"),
    ("pg_attribute", "attcollation", "pg_collation"),
    ("pg_index", "indexrelid", "pg_class"),
    ("pg_index", "indrelid", "pg_class"),
    ("pg_constraint", "conrelid", "pg_class"),
    ("pg_constraint", "confrelid", "pg_class"),
    ("pg_constraint", "conindid", "pg_class"),
    ("pg_constraint", "connamespace", "pg_namespace"),
    ("pg_type", "typelem", "pg_type"),
    ("pg_type", "typarray", "pg_type"),
    ("pg_type", "typbasetype", "pg_type"),
    ("pg_type", "typrelid", "pg_class"),
    ("pg_type", "typnamespace", "pg_namespace"),
    ("pg_type", "typcollation", "pg_collation"),
    ("pg_enum", "enumtypid", "pg_type"),
    ("pg_database", "dattablespace", "pg_tablespace"),
    ("pg_proc", "prorettype", "pg_type"),
    ("pg_proc", "pronamespace", "pg_namespace"),
    ("pg_operator", "oprresult", "pg_type"),
    ("pg_opclass", "opcintype", "pg_type"),
];

const SHOWN: &[(&str, &str)] = &[
    (
        "SELECT relname, relkind, relhasrules, reltuples FROM pg_class WHERE relnamespace = 2200 ORDER BY 1",
        "odd|r|f|-1\nodd_mood|i|f|-1\nodd_part|r|f|-1\nodd_pkey|i|f|-1\nodd_view|r|f|-1",
    ),
    // Numbers as the table has them, a generated column like any other; what only the view has comes behind 10,000.
    (
        "SELECT a.attname, a.attnum, t.typname, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated FROM pg_attribute a JOIN \
         pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'odd' ORDER BY 2",
        "id|1|int8|t|f||\nmood|2|shown_mood|t|f||\nmoods|3|_shown_mood|f|f||\nnarrow|4|shown_narrow|f|f||\n\
         narrows|5|_shown_narrow|f|f||\npair|6|shown_pair|f|f||\ncollated|7|text|f|f||\nspan|8|int4range|f|f||\n\
         Odd \"name'|9|text|f|f||\ntwice|13|int8|f|f||",
    ),
    (
        "SELECT a.attname, a.attnum FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'odd_view' ORDER BY 2",
        "id|1\nmood|2\nloud|10003",
    ),
    (
        "SELECT t.typname, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid ORDER BY e.enumsortorder",
        "shown_mood|glad\nshown_mood|sad",
    ),
    (
        "SELECT typname, typtype FROM pg_type WHERE oid >= 16384 AND typtype <> 'b' ORDER BY 1",
        "odd|c\nodd_part|c\nodd_view|c\nshown_mood|e\nshown_narrow|d\nshown_pair|c\nshown_text|d",
    ),
    // A domain over a domain is what PostgreSQL makes of it: of the type next below.
    (
        "SELECT column_name, data_type, domain_name, udt_name FROM information_schema.columns WHERE table_name = 'odd' AND \
         column_name IN ('narrow', 'moods', 'mood', 'pair') ORDER BY ordinal_position",
        "mood|USER-DEFINED||shown_mood\nmoods|ARRAY||_shown_mood\nnarrow|USER-DEFINED|shown_narrow|shown_text\npair|USER-DEFINED||shown_pair",
    ),
    // The constraint is over a visible column; its index holds a hidden one.
    (
        "SELECT conname, contype, conindid <> 0 FROM pg_constraint ORDER BY 1",
        "odd_pkey|p|t\nodd_span_key|u|f",
    ),
    (
        "SELECT indexname, indexdef FROM pg_indexes ORDER BY 1",
        "odd_mood|CREATE INDEX odd_mood ON public.odd USING btree (mood, id)\n\
         odd_pkey|CREATE UNIQUE INDEX odd_pkey ON public.odd USING btree (id)",
    ),
    (
        "SELECT c.relname, d.objsubid, d.description FROM pg_description d JOIN pg_class c ON c.oid = d.objoid ORDER BY 2",
        "odd|0|it's \"odd\"\\ \n$1 $$; --\nodd|9|\\' OR true --",
    ),
    ("SELECT count(*) FROM pg_inherits", "0"),
    ("SELECT count(*) FROM pg_policies", "0"),
    ("SELECT count(*) FROM pg_sequences", "0"),
];
