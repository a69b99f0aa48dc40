//! Respelt bodies return the rows of the body as written, and keep the indexes.

use crate::{apply, ask, options, principal, support, view};
use rowgate::config::Enforcement;
use rowgate::install;
use rowgate::policy::{PermissionView, PrincipalSettings, ShadowSource};

/// FROM and WHERE of a role-column body over `public.t` (alias t) and `public.p` (alias p); the words
/// that show which form was installed.
const ROLE_BODIES: &[(&str, &str, &str)] = &[
    (
        "t.*, p.role",
        "public.t t JOIN public.p p USING (d)",
        "= ANY (ARRAY(",
    ),
    (
        "t.*, p.role",
        "public.p p JOIN public.t t USING (d)",
        "= ANY (ARRAY(",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p ON t.d = p.d",
        "= ANY (ARRAY(",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p ON p.d = t.d",
        "= ANY (ARRAY(",
    ),
    (
        "t.*, p.role",
        "public.t t INNER JOIN public.p p ON (t.u = p.u)",
        "t.u IN (SELECT p.u",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p ON t.d = p.d AND t.u = p.u",
        "EXISTS",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p USING (d, u)",
        "EXISTS",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p ON t.d = p.d OR t.u = p.u -- either\n",
        "EXISTS",
    ),
    (
        "t.*, p.role",
        "public.t t, public.p p WHERE t.d = p.d -- a comment",
        "EXISTS",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p USING (d) WHERE x > 2 OR role = 'b'",
        "EXISTS",
    ),
    (
        "t.id, t.x AS shown, p.role",
        "public.t AS t JOIN public.p AS p USING (d)",
        "= ANY (ARRAY(",
    ),
    (
        "t.id, t.x + 1 AS x, p.role",
        "public.t t JOIN public.p p USING (d)",
        "DISTINCT ON",
    ),
    (
        "t.id, p.u, p.role",
        "public.t t JOIN public.p p USING (d)",
        "DISTINCT ON",
    ),
    (
        "t.*, p.role",
        "public.t t LEFT JOIN public.p p USING (d)",
        "DISTINCT ON",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p ON true",
        "EXISTS",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN public.p p USING (d) LIMIT 1000",
        "DISTINCT ON",
    ),
    (
        "t.*, p.role",
        "public.t t JOIN (SELECT * FROM public.p) p USING (d)",
        "DISTINCT ON",
    ),
    (
        "t.*, p.role",
        "public.t t CROSS JOIN public.p p WHERE t.d = p.d AND rowgate.user_id() = 'u'",
        "EXISTS",
    ),
    (
        "t.id, q.id AS other, p.role",
        "public.t t JOIN public.p p USING (d) JOIN public.t q ON q.id = t.id",
        "DISTINCT ON",
    ),
];

const TABLES: &str = "
    CREATE TABLE public.t (id int PRIMARY KEY, d text, u int, x int);
    CREATE TABLE public.p (d text, u int, role text);
    CREATE INDEX ON public.t (d);
    INSERT INTO public.t SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE chr(97 + i % 5) END,
                                CASE WHEN i % 11 = 0 THEN NULL ELSE i % 4 END, i % 6 FROM generate_series(1, 60) AS i;
    INSERT INTO public.p VALUES ('a', 0, 'a'), ('a', 1, 'a'), ('a', 0, 'b'), ('b', 1, 'b'), ('b', 1, 'b'), ('c', 2, 'a'),
                                (NULL, 3, 'a'), ('c', NULL, 'b'), ('d', 3, 'c'), ('e', 0, NULL);
    ANALYZE";

const ROLES: &[&[&str]] = &[&[], &["a"], &["b"], &["a", "b"], &["a", "b", "c"], &["z"]];

async fn definition(admin: &tokio_postgres::Client, views: &[PermissionView]) -> String {
    let plan = install::plan(admin, views, &options("rows")).await.unwrap();
    let start = plan.find("-- public.t").unwrap();
    let end = plan[start..].find("COMMENT ON").unwrap();
    plan[start..start + end].to_owned()
}

/// The inline body as upstream would run it, with the principal's facts bound.
async fn inline_rows(
    admin: &tokio_postgres::Client,
    views: &[PermissionView],
    who: &rowgate::identity::Principal,
) -> Vec<String> {
    let policy = install::policy_of(views, admin, Enforcement::Inline)
        .await
        .unwrap();
    let grants = policy.grants(who);
    let ShadowSource::Inline(body) = &grants.table(None, "t").unwrap().source else {
        panic!("not inline");
    };
    let settings = PrincipalSettings::from(who);
    let mut sql = String::new();
    for (index, piece) in body.pieces.iter().enumerate() {
        sql.push_str(piece);
        if let Some(field) = body.holes.get(index) {
            let value = settings.field(*field).replace('\'', "''");
            sql.push_str(&format!("('{value}'::{})", field.type_name()));
        }
    }
    let sql = format!("SELECT v::text FROM ({sql}) AS v ORDER BY 1");
    admin
        .query(&sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_column_form_shows_each_allowed_row_once() {
    let database = support::empty_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    admin.batch_execute(TABLES).await.unwrap();
    let options = options("rows");
    for (columns, from, form) in ROLE_BODIES {
        let text = format!("-- role_column: role\n-- key: id\nSELECT {columns} FROM {from}");
        let views = [view("t.sql", &text)];
        let made = definition(&admin, &views).await;
        assert!(made.contains(form), "{from}: expected {form} in\n{made}");
        apply(&mut admin, &views, &options).await;
        for roles in ROLES {
            let who = principal("u", roles, &[]);
            let list = roles
                .iter()
                .map(|role| format!("'{role}'"))
                .collect::<Vec<_>>()
                .join(",");
            let shown = columns.replace(", p.role", "");
            let body = from.replace("rowgate.user_id()", "'u'");
            // The meaning, said the slow way: rows of which some role is mine, each key once.
            let meaning = format!(
                "SELECT count(*), sum(id), sum(n) FROM (SELECT id, 1 AS n FROM (SELECT {shown}, p.role AS rolename FROM {body}\n) AS b \
                 WHERE rolename = ANY (ARRAY[{list}]::text[]) GROUP BY id) AS k"
            );
            let row = admin.query_one(&meaning, &[]).await.unwrap();
            let (count, sum): (i64, Option<i64>) = (row.get(0), row.get(1));
            let expected = format!(
                "{count}|{}|{count}",
                sum.map_or("NULL".to_owned(), |sum| sum.to_string())
            );
            let sql = "SELECT count(*), sum(id), count(DISTINCT id) FROM rowgate.t";
            assert_eq!(
                ask(&mut admin, &options.login, &who, sql).await,
                [expected],
                "{from} as {roles:?}\n{made}"
            );
            let sealed = ask(
                &mut admin,
                &options.login,
                &who,
                "SELECT v::text FROM rowgate.t AS v ORDER BY 1",
            )
            .await;
            let inline = inline_rows(&admin, &views, &who).await;
            assert_eq!(sealed, inline, "{from} as {roles:?}");
        }
    }
}

/// WHERE of a body over `public.t`; whether one of its INs becomes an array.
const IN_BODIES: &[(&str, bool)] = &[
    (
        "d IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles()))",
        true,
    ),
    (
        "t.d IN (SELECT p.d FROM public.p AS p WHERE p.role = ANY (rowgate.roles())) AND x > 1",
        true,
    ),
    (
        "x > 1 AND (id > 3 AND d IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles())))",
        true,
    ),
    (
        "d IN ((SELECT d FROM public.p WHERE role = ANY (rowgate.roles())))",
        true,
    ),
    (
        "d IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles())) AND id IN (SELECT u FROM public.p)",
        true,
    ),
    // No index on u: the array would be searched from end to end for every row.
    (
        "u IN (SELECT u FROM public.p WHERE role = ANY (rowgate.roles()))",
        false,
    ),
    // Not under AND only, or negated: NULLs would matter.
    (
        "d IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles())) OR x = 5",
        false,
    ),
    (
        "d NOT IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles()) AND d IS NOT NULL)",
        false,
    ),
    (
        "NOT d IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles()))",
        false,
    ),
    (
        "(d IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles()))) IS NOT TRUE",
        false,
    ),
    // Reads the outer row.
    (
        "d IN (SELECT p.d FROM public.p AS p WHERE p.u = t.u AND role = ANY (rowgate.roles()))",
        false,
    ),
    (
        "d IN (SELECT d FROM public.p WHERE x = 2 AND role = ANY (rowgate.roles()))",
        false,
    ),
    (
        "(d, u) IN (SELECT d, u FROM public.p WHERE role = ANY (rowgate.roles()))",
        false,
    ),
    (
        "lower(d) IN (SELECT d FROM public.p WHERE role = ANY (rowgate.roles()))",
        false,
    ),
    (
        "d IN ('a', 'b') AND cardinality(rowgate.roles()) > 0",
        false,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_in_becomes_an_array_only_where_that_is_the_same() {
    let database = support::empty_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    admin.batch_execute(TABLES).await.unwrap();
    let options = options("rows_in");
    for (condition, array) in IN_BODIES {
        let views = [view(
            "t.sql",
            &format!("SELECT * FROM public.t AS t WHERE {condition}"),
        )];
        let made = definition(&admin, &views).await;
        assert_eq!(made.contains("ARRAY"), *array, "{condition}\n{made}");
        apply(&mut admin, &views, &options).await;
        for roles in ROLES {
            let who = principal("u", roles, &[]);
            let list = roles
                .iter()
                .map(|role| format!("'{role}'"))
                .collect::<Vec<_>>()
                .join(",");
            let plain = condition.replace("rowgate.roles()", &format!("ARRAY[{list}]::text[]"));
            let plain = format!("SELECT t::text FROM public.t AS t WHERE {plain} ORDER BY 1");
            let expected: Vec<String> = admin
                .query(&plain, &[])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect();
            let sealed = ask(
                &mut admin,
                &options.login,
                &who,
                "SELECT v::text FROM rowgate.t AS v ORDER BY 1",
            )
            .await;
            assert_eq!(sealed, expected, "{condition} as {roles:?}");
            assert_eq!(
                inline_rows(&admin, &views, &who).await,
                expected,
                "{condition} as {roles:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_view_keeps_the_index_of_the_key_and_asks_for_the_roles_once() {
    let database = support::example_database().await;
    let mut admin = support::cluster().connect(&database).await.unwrap();
    let options = options("plans");
    let many = "INSERT INTO public.invoices SELECT 1000 + i, 1, date '2025-01-01', 'HRM', 3, NULL FROM generate_series(1, 50000) AS i;
                INSERT INTO public.transactions SELECT 1000 + i, 1, 'HRM', 1, now(), 'card' FROM generate_series(1, 50000) AS i; ANALYZE";
    admin.batch_execute(many).await.unwrap();
    apply(
        &mut admin,
        &install::read_views(std::path::Path::new("views"), None).unwrap(),
        &options,
    )
    .await;
    let anne = principal("anne", &["HR Manager", "Sales Manager"], &[]);
    for table in ["invoices", "transactions"] {
        let sql = format!("EXPLAIN SELECT * FROM rowgate.{table} WHERE id = 1500");
        let plan = ask(&mut admin, &options.login, &anne, &sql)
            .await
            .join("\n");
        assert!(
            plan.contains(&format!("Index Scan using {table}_pkey")),
            "{plan}"
        );
        assert!(
            plan.contains("InitPlan") && !plan.contains("SubPlan"),
            "{plan}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_is_no_superuser_can_apply() {
    let database = support::empty_database().await;
    let admin = support::cluster().connect(&database).await.unwrap();
    admin
        .batch_execute(&format!(
            "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'pw'; ALTER DATABASE {database} OWNER TO dba; GRANT ALL ON SCHEMA public TO dba"
        ))
        .await
        .unwrap();
    let config = support::cluster().config(&database, "dba", "pw");
    let (mut dba, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    dba.batch_execute(TABLES).await.unwrap();
    let options = options("dba");
    let views = [view(
        "t.sql",
        "SELECT * FROM public.t WHERE d = ANY (rowgate.roles())",
    )];
    apply(&mut dba, &views, &options).await;
    apply(&mut dba, &views, &options).await;
    let mut admin = admin;
    let who = principal("u", &["a"], &[]);
    // i % 5 = 0 gives 'a': 12 of 60, less 35, which i % 7 makes NULL.
    assert_eq!(
        ask(
            &mut admin,
            &options.login,
            &who,
            "SELECT count(*) FROM rowgate.t"
        )
        .await,
        ["11"]
    );
}
