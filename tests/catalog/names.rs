//! Names with a database before them, and system columns.

use super::{ask, gate, lines};
use rowgate::config::Enforcement;

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_name_may_stand_before_a_schemas() {
    let gate = gate("catalog_names", Enforcement::Barrier).await;
    let bob = gate.connect("bob").await;
    for (sql, expected) in [
        (
            "SELECT count(*) > 0 FROM catalog_names.public.invoices",
            "t",
        ),
        (
            "SELECT count(catalog_names.public.departments.name) > 0 FROM catalog_names.public.departments WHERE \
             catalog_names.public.departments.name <> ''",
            "t",
        ),
        (
            "SELECT catalog_names.public.permissions.* FROM catalog_names.public.permissions WHERE department = 'HRM' AND \
             allowed_role = 'HR Manager'",
            "HRM|HR Manager",
        ),
        (
            "SELECT relname FROM catalog_names.pg_catalog.pg_class WHERE relname = 'invoices'",
            "invoices",
        ),
        (
            "SELECT x.id FROM Catalog_Names.PUBLIC.Invoices x WHERE false",
            "",
        ),
    ] {
        assert_eq!(lines(&bob, sql).await.join("\n"), expected, "{sql}");
    }
    // Another database is not there, whether there is one of that name or not; nor is a hidden table in this one.
    for (sql, sqlstate, message) in [
        (
            "SELECT 1 FROM postgres.public.invoices",
            "0A000",
            "cross-database references are not implemented: \\\"postgres.public.invoices\\\"",
        ),
        (
            "SELECT 1 FROM nowhere.public.invoices",
            "0A000",
            "cross-database references are not implemented: \\\"nowhere.public.invoices\\\"",
        ),
        (
            "SELECT nowhere.public.invoices.id FROM public.invoices",
            "0A000",
            "cross-database references are not implemented",
        ),
        (
            "SELECT 1 FROM catalog_names.public.canary_table",
            "42P01",
            "relation \\\"catalog_names.public.canary_table\\\" does not exist",
        ),
        (
            "SELECT 1 FROM catalog_names.rowgate.invoices",
            "42P01",
            "relation \\\"catalog_names.rowgate.invoices\\\" does not exist",
        ),
        (
            "SELECT 1 FROM x.catalog_names.public.invoices",
            "42601",
            "too many dotted names",
        ),
    ] {
        let (code, told) = ask(&bob, sql).await.unwrap_err();
        assert_eq!(code, sqlstate, "{sql}: {told}");
        assert!(told.contains(message), "{sql}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_columns_are_refused_with_the_next_step() {
    let gate = gate("catalog_system_columns", Enforcement::Barrier).await;
    let bob = gate.connect("bob").await;
    for (sql, message, hint) in [
        (
            "SELECT id FROM public.invoices WHERE ctid BETWEEN '(0,0)'::tid AND '(4294967295,0)'::tid",
            "system column ctid cannot be read",
            "SET pg_use_ctid_scan = false",
        ),
        (
            "SELECT i.ctid FROM invoices i",
            "system column ctid",
            "pg_use_ctid_scan",
        ),
        (
            "SELECT \"ctid\" FROM invoices",
            "system column ctid",
            "pg_use_ctid_scan",
        ),
        (
            "SELECT xmin, xmax FROM invoices",
            "system column xmin",
            "who wrote them",
        ),
        (
            "SELECT invoices.cmin FROM invoices",
            "system column cmin",
            "key",
        ),
        (
            "SELECT tableoid FROM invoices",
            "system column tableoid",
            "key",
        ),
        (
            "SELECT max(x.tableoid) FROM (SELECT * FROM invoices) x",
            "system column tableoid",
            "key",
        ),
        // Nor where two tables could be meant.
        (
            "SELECT ctid FROM invoices i, customers c",
            "system column ctid",
            "key",
        ),
    ] {
        let (code, told) = ask(&bob, sql).await.unwrap_err();
        assert_eq!(code, "0A000", "{sql}: {told}");
        assert!(
            told.contains(message) && told.contains(hint),
            "{sql}: {told}"
        );
    }
    // Of the caller's own making, it is a column like any other.
    let own = "SELECT x.y FROM (SELECT 1 AS y) x";
    assert_eq!(lines(&bob, own).await, ["1"]);
}
