//! Relation tuples in the customer's database: who holds what, bounds, odd bytes, rights.

use crate::{apply, ask, options, principal, support};
use rowgate::config::{Config, Enforcement};
use rowgate::identity::Principal;
use rowgate::install::{self, InstallOptions};
use rowgate::policy::{PermissionView, PrincipalSettings, ShadowSource};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

const TABLE: &str = include_str!("../../fixtures/tuples.sql");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    rules: String,
    tuples: Vec<String>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    user: String,
    holds: BTreeMap<String, Vec<String>>,
}

/// The views of these files, under these rules, read as `serve` reads them.
fn try_views(rules: &str, files: &[(String, String)]) -> Result<Vec<PermissionView>, String> {
    let folder = tempfile::tempdir().unwrap();
    let views = folder.path().join("views");
    std::fs::create_dir(&views).unwrap();
    for (name, text) in files {
        std::fs::write(views.join(name), text).unwrap();
    }
    std::fs::write(folder.path().join("roles.json"), "{}").unwrap();
    let text = format!(
        "[upstream]\ndatabase = \"d\"\nuser = \"u\"\n[logins.bob]\npassword = \"x\"\n\
         [[providers]]\nkind = \"file\"\npath = \"roles.json\"\n{rules}"
    );
    let config = Config::parse(&text, &folder.path().join("rowgate.toml"))
        .map_err(|errors| errors.to_string())?;
    install::read_views(&config.views, config.tuples.as_ref()).map_err(|error| error.to_string())
}

fn views(rules: &str, files: &[(String, String)]) -> Vec<PermissionView> {
    try_views(rules, files).unwrap_or_else(|error| panic!("{error}"))
}

/// One view a pair, named after it, of the ids among `public.ids`.
fn view_of(pair: &str) -> (String, String) {
    let (namespace, relation) = pair.split_once('#').unwrap();
    let body = format!(
        "SELECT id FROM public.ids WHERE id = ANY (rowgate.objects('{relation}', '{namespace}'))"
    );
    (format!("{namespace}_{relation}.sql"), body)
}

/// `namespace:id#relation@namespace:id[#relation]`.
async fn insert(admin: &Client, tuple: &str) {
    let (object, subject) = tuple.split_once('@').unwrap();
    let (namespace, rest) = object.split_once(':').unwrap();
    let (object, relation) = rest.rsplit_once('#').unwrap();
    let (subject_namespace, rest) = subject.split_once(':').unwrap();
    // A user's id may hold anything.
    let (subject, set) = match rest.rsplit_once('#') {
        Some((id, relation)) if subject_namespace != "user" => (id, relation),
        _ => (rest, ""),
    };
    let sql = "INSERT INTO public.rowgate_tuples VALUES ($1, $2, $3, $4, $5, $6)";
    admin
        .execute(
            sql,
            &[
                &namespace,
                &object,
                &relation,
                &subject_namespace,
                &subject,
                &set,
            ],
        )
        .await
        .unwrap();
}

/// What the inline body shows, with the principal's facts bound as upstream binds them.
async fn inline(
    admin: &Client,
    views: &[PermissionView],
    who: &Principal,
    table: &str,
) -> Result<Vec<String>, String> {
    let policy = install::policy_of(views, admin, Enforcement::Inline)
        .await
        .unwrap();
    let grants = policy.grants(who);
    let ShadowSource::Inline(body) = &grants.table(None, table).unwrap().source else {
        panic!("not inline");
    };
    let settings = PrincipalSettings::from(who);
    let (mut sql, mut values) = (String::new(), Vec::new());
    for (index, piece) in body.pieces.iter().enumerate() {
        sql.push_str(piece);
        if let Some(field) = body.holes.get(index) {
            values.push(settings.field(*field));
            sql.push_str(&format!(
                "($${}$$::text::{})",
                values.last().unwrap(),
                field.type_name()
            ));
        }
    }
    let sql = format!("SELECT id::text FROM ({sql}) AS v ORDER BY id::text COLLATE \"C\"");
    admin
        .query(&sql, &[])
        .await
        .map(|rows| rows.iter().map(|row| row.get(0)).collect())
        .map_err(|error| error.as_db_error().unwrap().message().to_owned())
}

async fn installed(
    admin: &mut Client,
    options: &InstallOptions,
    who: &Principal,
    table: &str,
) -> Vec<String> {
    let sql = format!("SELECT id::text FROM rowgate.{table} ORDER BY id::text COLLATE \"C\"");
    ask(admin, &options.login, who, &sql).await
}

async fn database() -> (String, Client) {
    let database = support::empty_database().await;
    let admin = support::cluster().connect(&database).await.unwrap();
    admin.batch_execute(TABLE).await.unwrap();
    (database, admin)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_what() {
    let cases: Cases = toml::from_str(include_str!("tuples.toml")).unwrap();
    let (_database, mut admin) = database().await;
    let mut ids = BTreeSet::new();
    for tuple in &cases.tuples {
        insert(&admin, tuple).await;
        let object = tuple.split_once(':').unwrap().1;
        ids.insert(object.split_once('#').unwrap().0.to_owned());
    }
    admin
        .batch_execute("CREATE TABLE public.ids (id text PRIMARY KEY)")
        .await
        .unwrap();
    for id in &ids {
        admin
            .execute("INSERT INTO public.ids VALUES ($1)", &[id])
            .await
            .unwrap();
    }
    let pairs: BTreeSet<&String> = cases.case.iter().flat_map(|c| c.holds.keys()).collect();
    let files: Vec<_> = pairs.iter().map(|pair| view_of(pair)).collect();
    let views = views(&cases.rules, &files);
    let options = options("holds");
    apply(&mut admin, &views, &options).await;
    for case in &cases.case {
        let who = principal(&case.user, &[], &[]);
        for (pair, expected) in &case.holds {
            let table = pair.replace('#', "_");
            let got = installed(&mut admin, &options, &who, &table).await;
            assert_eq!(got, *expected, "installed: {} {pair}", case.user);
            let got = inline(&admin, &views, &who, &table).await.unwrap();
            assert_eq!(got, *expected, "inline: {} {pair}", case.user);
        }
    }
    let nobody = principal("", &[], &[]);
    assert_eq!(
        installed(&mut admin, &options, &nobody, "document_viewer").await,
        [""; 0]
    );
}

const BOUNDED: &str = r#"
[tuples]
table = "public.rowgate_tuples"
objects_max = 50
[tuples.namespaces.folder]
parent = { subjects = ["folder"] }
viewer = { union = ["parent.viewer"], subjects = ["user"] }
[tuples.namespaces.document]
viewer = { subjects = ["user", "folder#viewer"] }
"#;

/// SQL that makes tuples, the user, and how many objects of `folder#viewer`; `None`: too many.
const WALKS: &[(&str, &str, Option<usize>)] = &[
    // A chain of 49, and one of 50: with the user 50 and 51 things to look at.
    ("SELECT 'folder', i::text, 'parent', 'folder', (i - 1)::text, '' FROM generate_series(2, 49) AS i
      UNION ALL SELECT 'folder', '1', 'viewer', 'user', 'deep', ''", "deep", Some(49)),
    ("SELECT 'folder', i::text, 'parent', 'folder', (i - 1)::text, '' FROM generate_series(2, 50) AS i
      UNION ALL SELECT 'folder', '1', 'viewer', 'user', 'deeper', ''", "deeper", None),
    // A ring, where every folder is the parent of the next, and all of all others.
    ("SELECT 'folder', i::text, 'parent', 'folder', j::text, '' FROM generate_series(1, 40) AS i, generate_series(1, 40) AS j
      UNION ALL SELECT 'folder', '7', 'viewer', 'user', 'ring', ''", "ring", Some(40)),
    // A folder with very many others in it.
    ("SELECT 'folder', 'in' || i, 'parent', 'folder', 'root', '' FROM generate_series(1, 100000) AS i
      UNION ALL SELECT 'folder', 'root', 'viewer', 'user', 'wide', ''", "wide", None),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_is_whole_or_refused() {
    let (_database, mut admin) = database().await;
    admin
        .batch_execute(
            "CREATE TABLE public.ids AS SELECT i::text AS id FROM generate_series(1, 100) AS i",
        )
        .await
        .unwrap();
    let options = options("bounds");
    let views = views(BOUNDED, &[view_of("folder#viewer")]);
    apply(&mut admin, &views, &options).await;
    for (tuples, user, expected) in WALKS {
        let sql =
            format!("TRUNCATE public.rowgate_tuples; INSERT INTO public.rowgate_tuples {tuples}");
        admin.batch_execute(&sql).await.unwrap();
        let who = principal(user, &[], &[]);
        let got = inline(&admin, &views, &who, "folder_viewer").await;
        match expected {
            Some(count) => {
                assert_eq!(got.unwrap().len(), *count, "inline {user}");
                let got = installed(&mut admin, &options, &who, "folder_viewer").await;
                assert_eq!(got.len(), *count, "installed {user}");
            }
            None => {
                let told = got.unwrap_err();
                assert!(
                    told.contains("more related objects than may be looked through"),
                    "{told}"
                );
                let sql = format!(
                    "SET LOCAL ROLE {}; SELECT set_config('rowgate.user_id', '{user}', true); SELECT count(*) FROM rowgate.folder_viewer",
                    options.login
                );
                let error = admin.batch_execute(&sql).await.unwrap_err();
                admin.batch_execute("ROLLBACK").await.unwrap();
                let error = error.as_db_error().unwrap();
                assert_eq!(
                    error.message(),
                    "more related objects than may be looked through"
                );
                assert_eq!(error.code().code(), "54000");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tuples_end_and_odd_ones_give_nothing() {
    let (_database, mut admin) = database().await;
    let sql = "ALTER TABLE public.rowgate_tuples DROP CONSTRAINT rowgate_tuples_pkey, DROP CONSTRAINT rowgate_tuples_check,
                 ALTER object DROP NOT NULL, ALTER subject_relation DROP NOT NULL, ALTER subject_id DROP NOT NULL;
               CREATE TABLE public.ids (id uuid PRIMARY KEY);
               INSERT INTO public.ids SELECT (repeat(i::text, 8) || '-0000-0000-0000-000000000000')::uuid FROM generate_series(1, 6) AS i;
               INSERT INTO public.rowgate_tuples VALUES
                 ('document', '11111111-0000-0000-0000-000000000000', 'viewer', 'user', 'bob', '', now() + interval '1 hour'),
                 ('document', '22222222-0000-0000-0000-000000000000', 'viewer', 'user', 'bob', '', now() - interval '1 second'),
                 ('document', '33333333-0000-0000-0000-000000000000', 'viewer', 'user', 'bob', '', 'infinity'),
                 ('document', '44444444-0000-0000-0000-000000000000', 'viewer', 'user', 'bob', NULL, NULL),
                 ('document', '55555555-0000-0000-0000-000000000000', 'viewer', 'user', NULL, '', NULL),
                 ('document', '66666666-0000-0000-0000-000000000000', 'viewer', 'user', '', '', NULL),
                 ('document', NULL, 'viewer', 'user', 'bob', '', NULL)";
    admin.batch_execute(sql).await.unwrap();
    let options = options("ends");
    let text =
        "SELECT id FROM public.ids WHERE id = ANY (rowgate.objects('viewer', 'document')::uuid[])";
    let views = views(BOUNDED, &[("d.sql".to_owned(), text.to_owned())]);
    apply(&mut admin, &views, &options).await;
    let expected = ["1", "3"].map(|n| format!("{}-0000-0000-0000-000000000000", n.repeat(8)));
    for (user, expected) in [("bob", &expected[..]), ("", &[]), ("nobody", &[])] {
        let who = principal(user, &[], &[]);
        assert_eq!(
            installed(&mut admin, &options, &who, "d").await,
            *expected,
            "{user}"
        );
        assert_eq!(
            inline(&admin, &views, &who, "d").await.unwrap(),
            *expected,
            "{user}"
        );
    }
    // The ids are looked up in the index, and the walk runs once.
    let plan = ask(
        &mut admin,
        &options.login,
        &principal("bob", &[], &[]),
        "SET LOCAL enable_seqscan = off; EXPLAIN SELECT * FROM rowgate.d",
    )
    .await
    .join("\n");
    assert!(
        plan.contains("ids_pkey") && plan.contains("InitPlan"),
        "{plan}"
    );
}

/// Rules, a call, and what is said of them.
const REFUSED_AT_LOAD: &[(&str, &str, &str)] = &[
    (
        "",
        "rowgate.objects('viewer', 'document')",
        "has no relation tuples to look at",
    ),
    (
        BOUNDED,
        "rowgate.objects('veiwer', 'document')",
        "that [tuples] does not declare",
    ),
    (
        BOUNDED,
        "rowgate.objects('document', 'viewer')",
        "that [tuples] does not declare",
    ),
    (BOUNDED, "rowgate.objects('viewer')", "called the wrong way"),
    (
        BOUNDED,
        "rowgate.objects(id, 'document')",
        "called the wrong way",
    ),
    (
        BOUNDED,
        "rowgate.objects('viewer', rowgate.user_id())",
        "called the wrong way",
    ),
    (
        BOUNDED,
        "rowgate.objects('viewer', 'document', 'anne')",
        "called the wrong way",
    ),
    (
        BOUNDED,
        "rowgate.object('viewer', 'document')",
        "there is no function rowgate.object()",
    ),
    (
        "[tuples]\ntable = \"t\"\n[tuples.namespaces.d]\nv = []\n",
        "'{}'",
        "is not schema.table",
    ),
    (
        "[tuples]\n[tuples.namespaces.d]\nv = []\n",
        "'{}'",
        "rules over no tuples",
    ),
    (
        "[tuples]\ntable = \"a.b\"\n[tuples.namespaces.d]\nv = [\"w\"]\n",
        "'{}'",
        "has no relation \"w\"",
    ),
    (
        "[tuples]\ntable = \"a.b\"\n[tuples.namespaces.d]\nv = { subjects = [\"g#m\"] }\n",
        "'{}'",
        "there is no relation \"g#m\"",
    ),
    (
        "[tuples]\ntable = \"a.b\"\n[tuples.namespaces.\"d:x\"]\nv = []\n",
        "'{}'",
        "is not a name",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_cannot_be_are_refused_at_load() {
    let file = |body: &str| {
        vec![(
            "d.sql".to_owned(),
            format!("SELECT id FROM public.ids WHERE id = ANY ({body})"),
        )]
    };
    for (rules, body, says) in REFUSED_AT_LOAD {
        let error = try_views(rules, &file(body)).unwrap_err();
        assert!(error.contains(says), "{body} {rules}: {error}");
    }
    // And at the database: a table that is not there, ids of another type.
    let (_database, admin) = database().await;
    let missing = BOUNDED.replace("rowgate_tuples", "no_such_table");
    admin
        .batch_execute("CREATE TABLE public.ids (id uuid)")
        .await
        .unwrap();
    for (rules, says) in [
        (missing.as_str(), "no_such_table"),
        (BOUNDED, "uuid = text"),
    ] {
        let views = views(rules, &file("rowgate.objects('viewer', 'document')"));
        let error = install::introspect(&admin, &views)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_is_the_owners_and_changes_show() {
    let (_database, mut admin) = database().await;
    admin
        .batch_execute("CREATE TABLE public.ids (id text)")
        .await
        .unwrap();
    let options = options("walkown");
    let one = views(BOUNDED, &[view_of("folder#viewer")]);
    apply(&mut admin, &one, &options).await;
    apply(&mut admin, &one, &options).await;
    admin
        .batch_execute("CREATE ROLE walk_stranger")
        .await
        .unwrap();
    let stranger = "SET LOCAL ROLE walk_stranger; SELECT rowgate.objects('viewer', 'folder')";
    let error = admin.batch_execute(stranger).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "42501");
    admin
        .batch_execute("DROP ROLE walk_stranger")
        .await
        .unwrap();
    let login = format!(
        "SET LOCAL ROLE {}; SELECT * FROM public.rowgate_tuples",
        options.login
    );
    let error = admin.batch_execute(&login).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "42501");
    install::policy_of(&one, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    // Other rules, another bound: not served before `apply`.
    let other = views(&BOUNDED.replace("50", "51"), &[view_of("folder#viewer")]);
    let drift = install::policy_of(&other, &admin, Enforcement::Barrier)
        .await
        .unwrap_err();
    assert!(drift.to_string().contains("rowgate.objects()"), "{drift}");
    apply(&mut admin, &other, &options).await;
    install::policy_of(&other, &admin, Enforcement::Barrier)
        .await
        .unwrap();
    // Somebody makes it walk for whoever is named.
    let sql = "ALTER FUNCTION rowgate.objects(text, text) SECURITY INVOKER";
    admin.batch_execute(sql).await.unwrap();
    let drift = install::policy_of(&other, &admin, Enforcement::Barrier)
        .await
        .unwrap_err();
    assert!(drift.to_string().contains("rowgate.objects()"), "{drift}");
    // No view asks any more: it goes.
    let none = views(
        "",
        &[("ids.sql".to_owned(), "SELECT id FROM public.ids".to_owned())],
    );
    apply(&mut admin, &none, &options).await;
    let left = "SELECT count(*) FROM pg_proc WHERE proname = 'objects' AND pronamespace = 'rowgate'::regnamespace";
    assert_eq!(
        admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_index_is_found() {
    let (_database, mut admin) = database().await;
    admin
        .batch_execute("CREATE TABLE public.ids (id text)")
        .await
        .unwrap();
    let options = options("walkindex");
    let one = views(BOUNDED, &[view_of("folder#viewer")]);
    apply(&mut admin, &one, &options).await;
    let index = |found: Vec<install::Finding>| {
        found
            .into_iter()
            .find(|f| f.what.contains("no index on its subjects"))
    };
    let found = install::check(&mut admin, &one, Enforcement::Barrier, &options, &[])
        .await
        .unwrap();
    assert_eq!(index(found), None);
    admin
        .batch_execute("DROP INDEX public.rowgate_tuples_subject")
        .await
        .unwrap();
    let found = install::check(&mut admin, &one, Enforcement::Barrier, &options, &[])
        .await
        .unwrap();
    let fix = index(found)
        .unwrap()
        .fix
        .unwrap()
        .replace(" CONCURRENTLY", "");
    admin.batch_execute(&fix).await.unwrap();
    let found = install::check(&mut admin, &one, Enforcement::Barrier, &options, &[])
        .await
        .unwrap();
    assert_eq!(index(found), None);
}
