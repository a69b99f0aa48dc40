//! `plan` and `apply` on the running example, and what two users then see.

use crate::{apply, ask, options, principal, support, view};
use rowgate::config::Enforcement;
use rowgate::install::{self, Passwords, Severity};
use rowgate::policy::{PermissionView, ShadowSource};
use secrecy::SecretString;
use std::path::Path;

fn example() -> Vec<PermissionView> {
    install::read_views(Path::new("views"), None).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_see_two_sums_and_no_row_twice() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("sums");
    apply(&mut admin, &example(), &options).await;
    let bob = principal("bob", &["HR Manager"], &[]);
    let anne = principal("anne", &["HR Manager", "Sales Manager"], &[]);
    let eve = principal("eve", &[], &[]);
    // fixtures/data.sql: HRM 1000, Training 300, Sales 2600; Training is allowed to both of Anne's roles.
    // Payments: HRM 650, Training 240, Sales 2050.
    let cases = [
        (
            "SELECT sum(amount) FROM rowgate.invoices",
            ["1300.00", "3900.00", "NULL"],
        ),
        (
            "SELECT sum(amount) FROM rowgate_open.invoices",
            ["1300.00", "3900.00", "NULL"],
        ),
        (
            "SELECT sum(amount) FROM rowgate.transactions",
            ["890.00", "2940.00", "NULL"],
        ),
        (
            "SELECT sum(amount) FROM rowgate_open.transactions",
            ["890.00", "2940.00", "NULL"],
        ),
        ("SELECT count(*) FROM rowgate.departments", ["2", "3", "0"]),
        (
            "SELECT string_agg(role, ',' ORDER BY role) FROM rowgate.user_roles",
            ["HR Manager", "HR Manager,Sales Manager", "NULL"],
        ),
    ];
    for (sql, answers) in cases {
        for (who, answer) in [&bob, &anne, &eve].into_iter().zip(answers) {
            let got = ask(&mut admin, &options.login, who, sql).await;
            assert_eq!(got, [answer], "{sql} as {}", who.user_id());
        }
    }
    let all = "SELECT sum(amount) FROM rowgate_all.invoices";
    let superuser = options.superuser_login.unwrap();
    assert_eq!(ask(&mut admin, &superuser, &eve, all).await, ["17900.00"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_and_column_rules_hold_in_the_installed_view_itself() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("masks");
    apply(&mut admin, &example(), &options).await;
    let salaries = "SELECT salary FROM rowgate.employees WHERE id = 1";
    let email = "SELECT email FROM rowgate.customers WHERE id = 3";
    let cases: [(&[&str], &str, &str); 4] = [
        (&[], "NULL", "***@cobalt.example"),
        (&["read:salaries"], "68123.45", "***@cobalt.example"),
        (&["read:pii"], "NULL", "kreditoren@cobalt.example"),
        (&["read:*"], "68123.45", "kreditoren@cobalt.example"),
    ];
    for (permissions, salary, address) in cases {
        let bob = principal("bob", &["HR Manager"], permissions);
        assert_eq!(
            ask(&mut admin, &options.login, &bob, salaries).await,
            [salary],
            "{permissions:?}"
        );
        assert_eq!(
            ask(&mut admin, &options.login, &bob, email).await,
            [address],
            "{permissions:?}"
        );
    }
}

/// A mask may fail, so it must never be evaluated on a hidden row, whatever the plan: in an outer join PostgreSQL evaluates
/// a view's expressions on the scan itself, below a filter that has become a join. So the open form has the stored
/// columns only: no mask, and not what it hides either.
#[tokio::test(flavor = "multi_thread")]
async fn the_open_form_shows_the_rows_of_the_sealed_one_without_masked_columns() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("open_masks");
    let mut views = example();
    let body = "SELECT id, note FROM public.invoices WHERE department = 'HRM'";
    // Hides all, fails on a row without a number, and shows a column that needs a permission.
    views.retain(|view| !["invoices", "employees"].contains(&view.relation().name.as_str()));
    views.push(view(
        "invoices.sql",
        &format!("-- mask id: 0\n-- mask note: (note::int)::text\n{body}"),
    ));
    let body = std::fs::read_to_string("views/employees.sql").unwrap();
    views.push(view(
        "employees.sql",
        &format!("-- mask title: upper(title) unless read:titles\n{body}"),
    ));
    apply(&mut admin, &views, &options).await;
    let columns = "SELECT table_name::text, string_agg(column_name, ' ' ORDER BY ordinal_position) \
                   FROM information_schema.columns \
                   WHERE table_schema = 'rowgate_open' AND table_name IN ('customers', 'employees', 'invoices') \
                   GROUP BY table_name ORDER BY table_name";
    let found: Vec<(String, String)> = admin
        .query(columns, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let shown = |table: &str, columns: &str| (table.to_owned(), columns.to_owned());
    assert_eq!(
        found,
        [
            shown("customers", "id name department country since"),
            shown("employees", "id name department hired salary"),
        ],
        "a view whose every column is masked has no open form"
    );
    // The mask is not in the text either: nothing can bring it back.
    let text = "SELECT string_agg(pg_get_viewdef(c.oid), '') FROM pg_class c WHERE c.relnamespace = 'rowgate_open'::regnamespace";
    let text: String = admin.query_one(text, &[]).await.unwrap().get(0);
    assert!(!text.contains("regexp_replace") && !text.contains("upper"));
    assert!(!text.contains("email AS") && text.contains("salary"));
    let anne = principal("anne", &["HR Manager", "Sales Manager"], &["read:titles"]);
    for (table, column) in [
        ("customers", "name"),
        ("employees", "hired"),
        ("employees", "salary"),
    ] {
        let rows = |schema: &str| {
            format!(
                "SELECT string_agg(id || coalesce({column}::text, '-'), ',' ORDER BY id) FROM {schema}.{table}"
            )
        };
        let sealed = ask(&mut admin, &options.login, &anne, &rows("rowgate")).await;
        let open = ask(&mut admin, &options.login, &anne, &rows("rowgate_open")).await;
        assert_eq!(sealed, open, "{table}.{column}");
        assert!(sealed[0].contains(','), "{sealed:?}");
    }
    let eve = principal("eve", &[], &[]);
    let count = "SELECT count(*) FROM rowgate_open.customers";
    assert_eq!(ask(&mut admin, &options.login, &eve, count).await, ["0"]);
    // And `plan` has nothing left to change.
    let found = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
        .await
        .unwrap();
    let drift = |what: &str| what.contains("open form") || what.contains("types have changed");
    assert!(!found.iter().any(|f| drift(&f.what)), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_follow_permissions_in_both_enforcements() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("grants");
    let mut views = example();
    views.retain(|view| view.relation().name != "invoices");
    let text = std::fs::read_to_string("views/invoices.sql").unwrap();
    views.push(view(
        "invoices.sql",
        &format!("-- requires: fetch_invoice, read:money\n{text}"),
    ));
    apply(&mut admin, &views, &options).await;
    for enforcement in [Enforcement::Barrier, Enforcement::Inline] {
        let policy = install::policy_of(&views, &admin, enforcement)
            .await
            .unwrap();
        let columns = |permissions: &[&str], table: &str| {
            let grants = policy.grants(&principal("bob", &["HR Manager"], permissions));
            let columns = grants.table(None, table).map(|table| {
                let names = table.columns.iter().map(|column| column.name.clone());
                names.collect::<Vec<_>>().join(" ")
            });
            columns.unwrap_or_default()
        };
        assert_eq!(columns(&[], "employees"), "id name department title hired");
        assert_eq!(
            columns(&["read:salaries"], "employees"),
            "id name department title hired salary"
        );
        assert_eq!(columns(&["fetch_invoice"], "invoices"), "");
        assert_eq!(
            columns(&["fetch_invoice", "read:*"], "invoices"),
            "id amount date department customer_id note"
        );
        assert_eq!(
            columns(&[], "transactions"),
            "id invoice_id department amount paid_at method"
        );
        assert_eq!(columns(&[], "payroll"), "");
        let bob = principal("bob", &["HR Manager"], &["read:pii"]);
        let grants = policy.grants(&bob);
        let key = |table: &str| {
            grants
                .table(Some("public"), table)
                .unwrap()
                .primary_key
                .clone()
        };
        assert_eq!(key("transactions"), ["id"]);
        assert_eq!(key("user_roles"), ["user", "role"]);
        let again = policy.grants(&principal("carol", &[], &["read:pii", "unrelated"]));
        assert!(
            std::sync::Arc::ptr_eq(&grants, &again),
            "same columns, same grants"
        );
        let other = policy.grants(&principal("bob", &["HR Manager"], &["read:salaries"]));
        assert_ne!(grants.fingerprint(), other.fingerprint());
        let customers = grants.table(None, "customers").unwrap();
        if let ShadowSource::Installed { sealed, open } = &customers.source {
            assert_ne!(sealed, open, "a masked view has an open form");
        }
        // Whoever may see the column whole may, too, be shown it by the barrier only.
        let masked = customers.columns.iter().filter(|column| !column.plain);
        let masked: Vec<&str> = masked.map(|column| column.name.as_str()).collect();
        assert_eq!(masked, ["email"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_twice_changes_nothing_and_says_the_same() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("twice");
    let views = example();
    let passwords = Passwords {
        login: Some(SecretString::from("s3cret-of-login")),
        superuser_login: Some(SecretString::from("s3cret-of-super")),
    };
    let before = install::plan(&admin, &views, &options).await.unwrap();
    install::apply(&mut admin, &views, &options, &passwords)
        .await
        .unwrap();
    let state = "SELECT string_agg(c.oid::text || coalesce(c.relacl::text, '') || obj_description(c.oid), ',' ORDER BY c.oid) \
                 FROM pg_class AS c WHERE c.relnamespace::regnamespace::text LIKE 'rowgate%'";
    let once: String = admin.query_one(state, &[]).await.unwrap().get(0);
    let first = install::plan(&admin, &views, &options).await.unwrap();
    install::apply(&mut admin, &views, &options, &passwords)
        .await
        .unwrap();
    let second = install::plan(&admin, &views, &options).await.unwrap();
    let twice: String = admin.query_one(state, &[]).await.unwrap().get(0);
    assert_eq!(before, first);
    assert_eq!(first, second);
    assert_eq!(once, twice, "the same views, rights and marks");
    assert!(!first.contains("s3cret") && !first.contains("SCRAM-SHA"));
    // The plan as printed runs by hand too.
    admin.batch_execute(&first).await.unwrap();
    // The password that was set opens the door.
    let config = support::cluster().config(&database, &options.login, "s3cret-of-login");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    install::posture(
        &client,
        Enforcement::Barrier,
        install::LoginKind::Ordinary,
        &views,
    )
    .await
    .unwrap();
    install::policy_of(&views, &client, Enforcement::Barrier)
        .await
        .unwrap();
    let verifier =
        "SELECT rolpassword LIKE 'SCRAM-SHA-256$4096:%' FROM pg_authid WHERE rolname = $1";
    assert!(
        admin
            .query_one(verifier, &[&options.login])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
    let found = install::check(&mut admin, &views, Enforcement::Barrier, &options, &[])
        .await
        .unwrap();
    assert!(
        found
            .iter()
            .all(|finding| finding.severity < Severity::Warning),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_replaces_a_removed_file_drops() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("change");
    let text = |columns: &str| {
        format!("SELECT {columns} FROM public.invoices WHERE rowgate.has_permission('x')")
    };
    let make = |columns: &str| {
        vec![
            view("invoices.sql", &text(columns)),
            view("customers.sql", "SELECT id FROM public.customers"),
        ]
    };
    apply(&mut admin, &make("id, amount"), &options).await;
    // One more column behind: replaced. Other order and a type less: dropped and made anew.
    for columns in ["id, amount, note", "amount, id", "amount::text AS amount"] {
        let views = make(columns);
        let stale = install::policy_of(&views, &admin, Enforcement::Barrier).await;
        assert!(
            stale.is_err_and(|error| error.to_string().contains("rowgate apply")),
            "{columns}"
        );
        apply(&mut admin, &views, &options).await;
        install::policy_of(&views, &admin, Enforcement::Barrier)
            .await
            .unwrap();
    }
    let mut views = make("id");
    views.pop();
    apply(&mut admin, &views, &options).await;
    let left = "SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.oid::regclass::text COLLATE \"C\") FROM pg_class AS c \
                WHERE c.relnamespace::regnamespace::text LIKE 'rowgate%' AND relkind = 'v'";
    let left: String = admin.query_one(left, &[]).await.unwrap().get(0);
    assert_eq!(
        left,
        "rowgate.invoices rowgate_all.invoices rowgate_open.invoices"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_one_file_changes_nothing() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("half");
    let views = [
        view("invoices.sql", "SELECT id FROM public.invoices"),
        view(
            "customers.sql",
            "-- requires: x\n\nSELECT id,\n  nmae\nFROM public.customers",
        ),
        view(
            "departments.sql",
            "SELECT name FROM public.departments WHERE budgte > 1",
        ),
    ];
    let error = crate::try_apply(&mut admin, &views, &options)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("customers.sql:4: "), "{error}");
    assert!(error.contains("departments.sql:1: "), "{error}");
    assert!(error.contains("\"nmae\" does not exist"), "{error}");
    let none = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rowgate%'";
    assert_eq!(
        admin.query_one(none, &[]).await.unwrap().get::<_, i64>(0),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_somebody_else_put_there_is_not_adopted() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("squat");
    admin
        .batch_execute(
            "CREATE ROLE squatter; CREATE SCHEMA rowgate AUTHORIZATION squatter; SET ROLE squatter;
             CREATE FUNCTION rowgate.roles() RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY['HR Manager'] $$;
             RESET ROLE",
        )
        .await
        .unwrap();
    let error = crate::try_apply(&mut admin, &example(), &options)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("permission denied for schema rowgate"),
        "{error}"
    );
}
