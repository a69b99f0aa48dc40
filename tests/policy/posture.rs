//! Every dangerous right is refused, and the SQL in the finding mends it.

use crate::{apply, options, support};
use rowgate::config::Enforcement;
use rowgate::install::{self, Finding, LoginKind, Passwords, Severity};
use secrecy::SecretString;
use std::path::Path;
use tokio_postgres::Client;

/// What makes the login dangerous; a word the finding must hold.
const BAD: &[(&str, &str)] = &[
    ("ALTER ROLE $login SUPERUSER", "superuser"),
    ("ALTER ROLE $login BYPASSRLS", "BYPASSRLS"),
    ("ALTER ROLE $login CREATEROLE", "CREATEROLE"),
    ("ALTER ROLE $login CREATEDB", "CREATEDB"),
    ("ALTER ROLE $login REPLICATION", "REPLICATION"),
    ("GRANT pg_read_all_data TO $login", "pg_read_all_data"),
    (
        "GRANT pg_execute_server_program TO $login",
        "pg_execute_server_program",
    ),
    ("GRANT $owner TO $login", "member of $owner"),
    (
        "CREATE ROLE middle_$login; GRANT pg_write_all_data TO middle_$login; GRANT middle_$login TO $login",
        "pg_write_all_data",
    ),
    ("ALTER TABLE public.api_keys OWNER TO $login", "owns table"),
    (
        "GRANT SELECT ON public.invoices TO $login",
        "may read public.invoices",
    ),
    (
        "GRANT SELECT (iban) ON public.payroll TO $login",
        "may read public.payroll",
    ),
    (
        "GRANT SELECT ON public.api_keys TO PUBLIC",
        "may read public.api_keys",
    ),
    (
        "GRANT USAGE ON SCHEMA rowgate_all TO $login; GRANT SELECT ON rowgate_all.invoices TO $login",
        "may read rowgate_all.invoices",
    ),
    (
        "GRANT INSERT ON public.invoices TO $login",
        "may write public.invoices",
    ),
    (
        "GRANT UPDATE (note) ON public.invoices TO $login",
        "may write public.invoices",
    ),
    (
        "GRANT DELETE ON rowgate.invoices TO $login",
        "may write rowgate.invoices",
    ),
    (
        "CREATE SEQUENCE public.s_$login; GRANT USAGE ON SEQUENCE public.s_$login TO $login",
        "may use sequence",
    ),
    (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "may create in schema public",
    ),
    (
        "GRANT CREATE ON SCHEMA rowgate TO $login",
        "may create in schema rowgate",
    ),
    (
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO $login', current_database()); END $$",
        "may create schemas",
    ),
    (
        "CREATE FUNCTION public.peek_$login() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.payroll'",
        "SECURITY DEFINER",
    ),
    (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO $login",
        "pg_read_file",
    ),
    (
        "GRANT SELECT ON pg_catalog.pg_authid TO $login",
        "pg_authid",
    ),
    (
        "GRANT SELECT ON pg_catalog.pg_statistic TO PUBLIC",
        "pg_statistic",
    ),
    (
        "ALTER ROLE $login SET rowgate.roles = '{\"HR Manager\"}'",
        "rowgate.roles is set",
    ),
    (
        "ALTER ROLE $login SET role = '$owner'; GRANT $owner TO $login",
        "role is set",
    ),
    (
        "ALTER ROLE $login SET transform_null_equals = on",
        "transform_null_equals is set",
    ),
    (
        "ALTER ROLE $login SET standard_conforming_strings = off",
        "standard_conforming_strings is set",
    ),
    (
        "DO $$ BEGIN EXECUTE format('ALTER ROLE $login IN DATABASE %I SET default_transaction_read_only = off', current_database()); END $$",
        "default_transaction_read_only is set",
    ),
    (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role = replica', current_database()); END $$",
        "session_replication_role is set",
    ),
    (
        "REVOKE SELECT ON rowgate.invoices FROM $login",
        "may not read rowgate.invoices",
    ),
    (
        "ALTER VIEW rowgate.invoices SET (security_barrier = false)",
        "not a security_barrier",
    ),
    (
        "GRANT SET ON PARAMETER session_replication_role TO $login",
        "may set session_replication_role",
    ),
    (
        "SELECT lo_create(4711); GRANT SELECT ON LARGE OBJECT 4711 TO $login",
        "large object 4711",
    ),
];

async fn connect(database: &str, login: &str) -> Client {
    let config = support::cluster().config(database, login, "pw");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn look(database: &str, login: &str, kind: LoginKind) -> Result<Vec<Finding>, Vec<Finding>> {
    let client = connect(database, login).await;
    install::posture(&client, Enforcement::Barrier, kind, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_right_is_refused_and_its_fix_mends_it() {
    // A cluster of its own: some of the rights are the whole cluster's.
    let cluster = support::start();
    let admin = cluster.connect("postgres").await.unwrap();
    let options = options("posture");
    let views = install::read_views(Path::new("views"), None).unwrap();
    admin
        .batch_execute("CREATE DATABASE posture")
        .await
        .unwrap();
    let mut client = cluster.connect("posture").await.unwrap();
    client.batch_execute(rowgate::demo::SCHEMA).await.unwrap();
    let passwords = Passwords {
        login: Some(SecretString::from("pw")),
        superuser_login: None,
    };
    install::apply(&mut client, &views, &options, &passwords)
        .await
        .unwrap();
    for (bad, word) in BAD {
        let fill = |text: &str| {
            text.replace("$login", &options.login)
                .replace("$owner", &options.owner)
        };
        let kind = LoginKind::Ordinary;
        let look = || async {
            let config = cluster.config("posture", &options.login, "pw");
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            install::posture(&client, Enforcement::Barrier, kind, &views).await
        };
        let clean = look().await;
        assert!(clean.is_ok(), "before {bad}: {clean:?}");
        client
            .batch_execute(&fill(bad))
            .await
            .unwrap_or_else(|e| panic!("{bad}: {e:?}"));
        let found = look().await.expect_err(bad);
        let word = fill(word);
        assert!(
            found
                .iter()
                .any(|f| f.severity == Severity::Error && f.what.contains(&word)),
            "{bad}: {found:?}"
        );
        for finding in found
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
        {
            match finding.fix.as_deref() {
                Some("rowgate apply") => {
                    install::apply(&mut client, &views, &options, &passwords)
                        .await
                        .unwrap();
                }
                Some(fix) => client
                    .batch_execute(fix)
                    .await
                    .unwrap_or_else(|e| panic!("{fix}: {e:?}")),
                None => panic!("no fix: {finding:?}"),
            }
        }
        let mended = look().await;
        assert!(mended.is_ok(), "after the fix of {bad}: {mended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_login_may_read_only_its_own_schemas() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("kinds");
    let views = install::read_views(Path::new("views"), None).unwrap();
    apply(&mut admin, &views, &options).await;
    let superuser = options.superuser_login.clone().unwrap();
    admin
        .batch_execute(&format!(
            "ALTER ROLE {} PASSWORD 'pw'; ALTER ROLE {superuser} PASSWORD 'pw'",
            options.login
        ))
        .await
        .unwrap();
    look(&database, &options.login, LoginKind::Ordinary)
        .await
        .unwrap();
    look(&database, &superuser, LoginKind::Superuser)
        .await
        .unwrap();
    let swapped = look(&database, &superuser, LoginKind::Ordinary)
        .await
        .unwrap_err();
    assert!(
        swapped
            .iter()
            .any(|f| f.what.contains("may read rowgate_all.invoices")),
        "{swapped:?}"
    );
    let swapped = look(&database, &options.login, LoginKind::Superuser)
        .await
        .unwrap_err();
    assert!(
        swapped
            .iter()
            .any(|f| f.what.contains("may read rowgate.invoices")),
        "{swapped:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_reaches_no_table_of_the_customer() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("wall");
    let views = install::read_views(Path::new("views"), None).unwrap();
    apply(&mut admin, &views, &options).await;
    admin
        .batch_execute(&format!("ALTER ROLE {} PASSWORD 'pw'", options.login))
        .await
        .unwrap();
    let client = connect(&database, &options.login).await;
    for sql in [
        "SELECT * FROM public.invoices",
        "SELECT * FROM public.payroll",
        "SELECT * FROM rowgate_all.invoices",
        "INSERT INTO rowgate.invoices (id) VALUES (99)",
        "CREATE TABLE public.x ()",
        "CREATE VIEW rowgate.x AS SELECT 1",
        "CREATE OR REPLACE FUNCTION rowgate.roles() RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY['HR Manager'] $$",
        "COMMENT ON VIEW rowgate.invoices IS 'x'",
        "ALTER VIEW rowgate.invoices SET (security_barrier = false)",
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let code = error.code().unwrap().code().to_owned();
        assert_eq!(code, "42501", "{sql}: {error:?}");
    }
}
