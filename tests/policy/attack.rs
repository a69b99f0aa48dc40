//! View files and names that would break out of a careless installer.

use crate::{apply, ask, options, principal, support, view};
use rowgate::config::Enforcement;
use rowgate::install::{self, InstallOptions};
use rowgate::policy::{ShadowSource, parse_view_file, quote_identifier};

/// Table name, column name.
const NAMES: &[(&str, &str, &str)] = &[
    ("public", "Invoices", "Amount"),
    ("public", "in\"voices", "am\"ount"),
    ("public", "a.b", "c.d"),
    ("a", "b", "c"),
    ("we.ird", "t", "x"),
    ("we", "ird.t", "x"),
    ("public", "zażółć", "größe"),
    ("public", "select", "from"),
    ("public", "'; DROP TABLE public.canary; --", "$rowgate$"),
    ("public", "$rowgate$", "'"),
    ("public", "back\\slash", "\\'"),
    ("public", "new\nline", "tab\tcolumn"),
    ("public", "roles", "rowgate"),
    (
        "public",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffxyz",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffxyz",
    ),
    (
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffxyz",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffxyz",
        "x",
    ),
    (
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffxyz",
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffxya",
        "x",
    ),
    (
        "public",
        "\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}\u{1f600}",
        "x",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_installed_and_read() {
    let database = support::empty_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = InstallOptions {
        owner: "own\"er $rowgate$ '".to_owned(),
        login: "\",\"".to_owned(),
        superuser_login: Some("Super User".to_owned()),
        revoke_public: true,
    };
    admin
        .batch_execute("CREATE TABLE public.canary ()")
        .await
        .unwrap();
    let mut views = Vec::new();
    for (index, (schema, table, column)) in NAMES.iter().enumerate() {
        let (s, t, c) = (
            quote_identifier(schema),
            quote_identifier(table),
            quote_identifier(column),
        );
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {s}; CREATE TABLE {s}.{t} ({c} text PRIMARY KEY, owner text); INSERT INTO {s}.{t} VALUES ('v{index}', 'bob'), ('hidden', 'eve')"
        );
        admin.batch_execute(&sql).await.unwrap();
        // A header is one line, so a name with a line break can only be the file's.
        let (file, header) = match table.contains('\n') {
            true => (format!("{table}.sql"), String::new()),
            false => (
                format!("file{index}.sql"),
                format!("-- table: {s}.{t}\n-- mask owner: '***' unless see\n-- key: {c}\n"),
            ),
        };
        let header = if column.contains(['\n', '\t']) {
            String::new()
        } else {
            header
        };
        views.push(view(
            &file,
            &format!("{header}SELECT {c}, owner FROM {s}.{t} WHERE owner = rowgate.user_id()"),
        ));
    }
    apply(&mut admin, &views, &options).await;
    apply(&mut admin, &views, &options).await;
    let found = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
        .await
        .unwrap();
    assert_eq!(found, []);
    let policy = install::policy_of(&views, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    let bob = principal("bob", &[], &[]);
    let grants = policy.grants(&bob);
    assert_eq!(grants.tables().len(), NAMES.len());
    for (index, (schema, table, column)) in NAMES.iter().enumerate() {
        let granted = grants.table(Some(schema), table).unwrap();
        let ShadowSource::Installed { sealed, .. } = &granted.source else {
            panic!("not installed");
        };
        let sql = format!(
            "SELECT {} FROM {}",
            quote_identifier(column),
            sealed.quoted()
        );
        let login = quote_identifier(&options.login);
        assert_eq!(
            ask(&mut admin, &login, &bob, &sql).await,
            [format!("v{index}")],
            "{schema} {table}"
        );
    }
    admin
        .batch_execute("SELECT FROM public.canary")
        .await
        .unwrap();
}

/// Bodies and headers that must be refused before anything reaches the database; a word of the message.
const REFUSED: &[(&str, &str)] = &[
    ("SELECT 1; DROP TABLE public.invoices", "2 statements"),
    ("SELECT 1; SELECT 2", "2 statements"),
    ("DROP TABLE public.invoices", "not a SELECT"),
    ("", "no SELECT"),
    ("-- description: x", "no SELECT"),
    (
        "SELECT id FROM public.invoices)) AS x; DROP TABLE public.invoices; --",
        "syntax error",
    ),
    ("SELECT id FROM public.invoices /* open", "comment"),
    ("SELECT 'open", "quote"),
    (
        "WITH x AS (DELETE FROM public.invoices RETURNING id) SELECT id FROM x",
        "writes",
    ),
    (
        "WITH x AS (INSERT INTO public.invoices (id) VALUES (1) RETURNING id) SELECT id FROM x",
        "writes",
    ),
    (
        "SELECT id INTO public.stolen FROM public.invoices",
        "writes a table",
    ),
    ("SELECT id FROM public.invoices FOR UPDATE", "locks"),
    (
        "SELECT id FROM (SELECT id FROM public.invoices FOR SHARE) AS x",
        "locks",
    ),
    (
        "SELECT id FROM public.invoices WHERE department = $1",
        "parameter",
    ),
    ("SELECT id FROM invoices", "no schema"),
    (
        "SELECT id FROM public.invoices WHERE id IN (SELECT id FROM permissions)",
        "no schema",
    ),
    (
        "SELECT (WITH x AS (SELECT 1) SELECT 1), x.* FROM x",
        "no schema",
    ),
    (
        "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
        "no schema",
    ),
    ("SELECT id FROM rowgate.invoices", "which Rowgate installs"),
    (
        "SELECT id FROM rowgate_all.invoices",
        "which Rowgate installs",
    ),
    ("SELECT id FROM otherdb.public.invoices", "names a database"),
    (
        "SELECT id FROM public.invoices WHERE rowgate.role() = 'x'",
        "no function rowgate.role()",
    ),
    (
        "SELECT id FROM public.invoices WHERE id::text = ANY (rowgate.objects(note, 'invoice'))",
        "rowgate.objects() is called the wrong way",
    ),
    (
        "SELECT id FROM public.invoices WHERE rowgate.has_permission()",
        "called the wrong way",
    ),
    (
        "SELECT id FROM public.invoices, rowgate.roles() AS r",
        "stands in FROM",
    ),
    ("-- require: x\nSELECT 1", "unknown header line"),
    ("-- requires fetch_invoice\nSELECT 1", "unknown header line"),
    ("-- requires: a*\nSELECT 1", "cannot be required"),
    ("-- requires: x\n-- requires: y\nSELECT 1", "given twice"),
    (
        "-- this view shows invoices\nSELECT 1",
        "unknown header line",
    ),
    ("-- superuser: maybe\nSELECT 1", "neither yes nor no"),
    ("-- role_column: r\nSELECT 1 AS r", "needs a key"),
    ("-- table: public.\"open\nSELECT 1", "does not end"),
    ("-- table: a.b.c\nSELECT 1", "not a table name"),
    (
        "-- mask note: 1 FROM pg_catalog.pg_authid\nSELECT 1 AS note",
        "not one expression",
    ),
    ("-- mask note: 1, 2\nSELECT 1 AS note", "not one expression"),
    (
        "-- mask note: 1) AS x, (2\nSELECT 1 AS note",
        "syntax error",
    ),
    (
        "-- mask note: 1; DROP TABLE x\nSELECT 1 AS note",
        "2 statements",
    ),
    (
        "-- mask note: (SELECT rolpassword FROM pg_authid)\nSELECT 1 AS note",
        "no schema",
    ),
    (
        "-- mask note: 1 AS y\nSELECT 1 AS note",
        "not one expression",
    ),
    (
        "-- mask note: * unless x\nSELECT 1 AS note",
        "not one expression",
    ),
    ("-- mask note 'x'\nSELECT 1 AS note", "colon"),
    (
        "-- column note require x\nSELECT 1 AS note",
        "unknown column rule",
    ),
    (
        "-- table: public.aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffwxyz\nSELECT 1",
        "longer than 63",
    ),
    ("SELECT 1 \0", "NUL"),
];

#[test]
fn what_smuggles_is_refused_by_the_file_alone() {
    for (text, word) in REFUSED {
        let errors = parse_view_file("x.sql", text).expect_err(text);
        let shown = errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(shown.contains(word), "{text:?}: {shown}");
    }
}

#[test]
fn errors_name_the_line_and_the_near_word() {
    let text = "-- table: public.invoices\n-- requries: x\n\nSELECT id,\n  FORM\nFROM public.invoices\nWHERE\n";
    let errors = parse_view_file("x.sql", text).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0].line, Some(2));
    assert_eq!(errors[0].hint.as_deref(), Some("Did you mean `requires`?"));
    assert_eq!(errors[1].line, Some(7), "{errors:?}");
    let text = "SELECT id\nFROM public.invoices\nWHERE a = ANY (rowgate.rolse())";
    let errors = parse_view_file("x.sql", text).unwrap_err();
    assert_eq!(errors[0].line, Some(3));
    assert_eq!(
        errors[0].hint.as_deref(),
        Some("Did you mean rowgate.roles()?")
    );
}

/// A name in a body never means what a search path, or a CTE of the caller's, could put there.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_do_not_see_functions_of_public() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("path");
    admin
        .batch_execute(
            "CREATE FUNCTION public.lower(bigint) RETURNS text LANGUAGE sql AS $$ SELECT 'hijacked' $$;
             CREATE FUNCTION public.secret() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$",
        )
        .await
        .unwrap();
    for body in [
        "SELECT lower(id) AS id FROM public.invoices",
        "SELECT secret() AS id FROM public.invoices",
    ] {
        let error = crate::try_apply(&mut admin, &[view("invoices.sql", body)], &options)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
    apply(
        &mut admin,
        &[view(
            "invoices.sql",
            "SELECT public.secret() AS id FROM public.invoices LIMIT 1",
        )],
        &options,
    )
    .await;
    let bob = principal("bob", &[], &[]);
    assert_eq!(
        ask(
            &mut admin,
            &options.login,
            &bob,
            "SELECT id FROM rowgate.invoices"
        )
        .await,
        ["x"]
    );
}
