//! `check` sees drift and doubled rows.

use crate::{apply, options, support, view};
use rowgate::config::Enforcement;
use rowgate::install::{self, Severity};
use std::path::Path;

/// What somebody did to the installed objects; a word the finding must hold.
const DRIFT: &[(&str, &str)] = &[
    (
        "CREATE OR REPLACE VIEW rowgate.invoices WITH (security_barrier) AS SELECT id, amount, date, department, customer_id, note FROM public.invoices",
        "rowgate.invoices was changed",
    ),
    (
        "CREATE OR REPLACE VIEW rowgate_open.invoices AS SELECT id, amount, date, department, customer_id, note FROM public.invoices",
        "rowgate_open.invoices was changed",
    ),
    (
        "ALTER VIEW rowgate.invoices SET (security_barrier = false)",
        "rowgate.invoices",
    ),
    (
        "DROP VIEW rowgate.invoices",
        "invoices.sql is not installed",
    ),
    (
        "COMMENT ON VIEW rowgate.invoices IS NULL",
        "rowgate.invoices was not made from",
    ),
    (
        "GRANT SELECT ON rowgate.invoices TO PUBLIC",
        "PUBLIC holds rights on rowgate.invoices",
    ),
    (
        "GRANT SELECT (id) ON rowgate.invoices TO other_drift",
        "other_drift holds rights on rowgate.invoices",
    ),
    (
        "GRANT USAGE ON SCHEMA rowgate_all TO $login",
        "$login holds rights on rowgate_all",
    ),
    (
        "GRANT EXECUTE ON FUNCTION rowgate.roles() TO PUBLIC",
        "PUBLIC holds rights on rowgate.roles()",
    ),
    (
        "ALTER VIEW rowgate.invoices OWNER TO postgres",
        "rowgate.invoices belongs to postgres",
    ),
    (
        "CREATE OR REPLACE FUNCTION rowgate.roles() RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT ARRAY['HR Manager'] $$",
        "rowgate.roles() is missing or was changed",
    ),
    (
        "ALTER FUNCTION rowgate.roles() SECURITY DEFINER",
        "rowgate.roles() is missing or was changed",
    ),
    (
        "CREATE TABLE rowgate.extra (x int)",
        "rowgate.extra is installed and no file asks for it",
    ),
    (
        "ALTER TABLE public.invoices RENAME COLUMN note TO remark; ALTER TABLE public.invoices ADD note text",
        "rowgate.invoices was changed",
    ),
    (
        "ALTER TABLE public.invoices ENABLE ROW LEVEL SECURITY",
        "public.invoices has row-level security",
    ),
    (
        "DROP VIEW rowgate_open.invoices",
        "public.invoices has no open form",
    ),
    (
        "DROP VIEW rowgate_all.invoices",
        "public.invoices is not installed for superusers",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_found_and_apply_mends_it() {
    let admin = support::cluster().connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE ROLE other_drift")
        .await
        .unwrap();
    let options = options("drift");
    let views = install::read_views(Path::new("views"), None).unwrap();
    for (change, word) in DRIFT {
        let database = support::example_database().await;
        let mut admin = support::cluster().connect(&database).await.unwrap();
        apply(&mut admin, &views, &options).await;
        let clean = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
            .await
            .unwrap();
        assert_eq!(clean, [], "before {change}");
        admin
            .batch_execute(&change.replace("$login", &options.login))
            .await
            .unwrap();
        let found = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
            .await
            .unwrap();
        let word = word.replace("$login", &options.login);
        assert!(
            found.iter().any(|finding| finding.what.contains(&word)),
            "{change}: {found:?}"
        );
        let serious = found
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        for finding in &found {
            match finding.fix.as_deref() {
                Some("rowgate apply") | None => {}
                Some(sql) => admin
                    .batch_execute(sql)
                    .await
                    .unwrap_or_else(|e| panic!("{sql}: {e:?}")),
            }
        }
        if serious || word.contains("form") || word.contains("superusers") {
            apply(&mut admin, &views, &options).await;
        }
        let rest = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
            .await
            .unwrap();
        let rest: Vec<_> = rest
            .iter()
            .filter(|f| !f.what.contains("row-level security"))
            .collect();
        assert!(rest.is_empty(), "after mending {change}: {rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_join_is_caught_doubling_rows_and_the_role_column_is_not() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("double");
    let join = "FROM public.invoices i JOIN public.permissions p USING (department)";
    let mine = "p.allowed_role = ANY (rowgate.roles())";
    let cases = [
        (format!("SELECT i.* {join} WHERE {mine}"), true),
        (format!("SELECT DISTINCT i.* {join} WHERE {mine}"), false),
        (format!("-- role_column: allowed_role\n-- key: id\nSELECT i.*, p.allowed_role {join}"), false),
        (format!("-- role_column: allowed_role\n-- key: department\nSELECT i.*, p.allowed_role {join}"), true),
        ("SELECT * FROM public.invoices WHERE department IN (SELECT department FROM public.permissions)".to_owned(), false),
    ];
    for (text, doubled) in cases {
        let views = [view("invoices.sql", &text)];
        apply(&mut admin, &views, &options).await;
        let found = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
            .await
            .unwrap();
        let caught = found
            .iter()
            .any(|finding| finding.what.contains("rows come twice"));
        assert_eq!(caught, doubled, "{text}: {found:?}");
    }
}
