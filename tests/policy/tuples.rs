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
