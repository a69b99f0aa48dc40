//! The presets' tables in a real database: what they grant, when it expires, and what their triggers tell.

use crate::support;
use crate::until;
use rowgate::config::preset::{self, PRESETS, Preset};
use rowgate::config::{
    CacheSettings, Database, Provider, ProviderKind, SqlProvider, SqlQueries, UpstreamTls,
};
use rowgate::error::Error;
use rowgate::identity::{Caller, Principal};
use rowgate::provider::{Resolver, Watched, triggers};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// A database with tables, and a provider of its own login over them.
struct World {
    owner: Client,
    database: String,
    settings: Provider,
}

impl World {
    async fn new(ddl: &str, preset: Option<&'static Preset>, queries: SqlQueries) -> Self {
        let database = support::empty_database().await;
        let owner = support::cluster().connect(&database).await.unwrap();
        let login = format!("login_{database}");
        let setup = format!(
            "{ddl}; CREATE ROLE {login} LOGIN PASSWORD 'x'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {login}"
        );
        owner.batch_execute(&setup).await.unwrap();
        let sql = SqlProvider {
            database: Database {
                host: "127.0.0.1".to_owned(),
                port: support::cluster().port(),
                database: database.clone(),
                user: login,
                password: Some("x".into()),
                tls: UpstreamTls::Off,
                timeout: Duration::from_secs(10),
            },
            queries,
            preset,
            pool_size: 3,
            listen: false,
            unheard_age_max: Duration::ZERO,
        };
        let settings = Provider {
            name: "tables".to_owned(),
            kind: ProviderKind::Sql(Box::new(sql)),
            cache: CacheSettings::default(),
        };
        Self {
            owner,
            database,
            settings,
        }
    }

    /// With the tables and queries of a preset, as the configuration reads it.
    async fn of(name: &str) -> Self {
        let preset = preset::preset(name).unwrap();
        let text = |query: Option<&str>| query.map(str::to_owned);
        let queries = SqlQueries {
            roles: text(preset.roles),
            permissions: text(preset.permissions),
            superuser: text(preset.superuser),
            role_permissions: text(preset.role_permissions),
            expires: text(preset.expires),
            ..SqlQueries::default()
        };
        Self::new(preset.ddl, Some(preset), queries).await
    }

    async fn sql(&self, text: &str) {
        self.owner.batch_execute(text).await.unwrap();
    }

    async fn resolver(&self) -> Resolver {
        let providers = std::slice::from_ref(&self.settings);
        rowgate::app::providers(providers).await.unwrap().resolver()
    }

    fn cached(mut self) -> Self {
        self.settings.cache.age_max = Duration::from_secs(3_600);
        self
    }
}

async fn ask(resolver: &Resolver, user: &str) -> Arc<Principal> {
    resolver.principal(&Caller::assumed(user)).await.unwrap()
}

fn roles(principal: &Principal) -> String {
    principal.roles().collect::<Vec<_>>().join(", ")
}

fn permissions(principal: &Principal) -> String {
    let all: Vec<&str> = principal.permissions().iter().map(String::as_str).collect();
    all.join(", ")
}

#[tokio::test]
async fn the_command_prints_what_makes_a_presets_tables() {
    let tables = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rowgate"));
        command.args(["provider", "tables", name]).output().unwrap()
    };
    let world = World::new("", None, SqlQueries::default()).await;
    for (name, index) in [
        ("user_roles", "user_roles_pkey"),
        ("authz_permissions", "authz_permissions_username_permission"),
        ("ai_permissions", "ai_user_roles_pkey"),
    ] {
        let printed = tables(name);
        assert!(printed.status.success(), "{name}");
        world.sql(&String::from_utf8(printed.stdout).unwrap()).await;
        let there = format!("SELECT 1 / count(*) FROM pg_indexes WHERE indexname = '{index}'");
        world.sql(&there).await;
    }
    let unknown = tables("user_role");
    assert_eq!(unknown.status.code(), Some(2));
    let says = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        says.contains("user_roles, authz_permissions, ai_permissions"),
        "{says}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_presets_tables_are_made_again_without_harm() {
    for preset in PRESETS {
        let world = World::of(preset.name).await;
        world.sql(preset.ddl).await;
        world.resolver().await;
    }
}

#[tokio::test]
async fn roles_and_permissions_come_from_the_published_tables() {
    let world = World::of("user_roles").await;
    world
        .sql("INSERT INTO user_roles VALUES ('bob', 'HR', NULL), ('bob', 'Old', now() - interval '1 s'),
              ('bob', 'For good', 'infinity'), ('bob', 'Soon', now() + interval '1 h'), ('anne', 'Sales', NULL)")
        .await;
    let resolver = world.resolver().await;
    assert_eq!(roles(&*ask(&resolver, "bob").await), "For good, HR, Soon");
    assert_eq!(roles(&*ask(&resolver, "nobody").await), "");
    let world = World::of("authz_permissions").await;
    world
        .sql("INSERT INTO authz_permissions (username, permission, expires_at) VALUES ('bob', 'read:posts', NULL),
              ('bob', 'write:posts', '-infinity'), ('bob', 'read:notes', now() + interval '1 h')")
        .await;
    let resolver = world.resolver().await;
    assert_eq!(
        permissions(&*ask(&resolver, "bob").await),
        "read:notes, read:posts"
    );
}

#[tokio::test]
async fn tables_without_an_end_work_as_they_are() {
    let tables = "CREATE TABLE user_roles (\"user\" varchar(40), role varchar(40));
        INSERT INTO user_roles VALUES ('bob', 'HR');
        CREATE TABLE authz_permissions (id serial, username text, permission text);
        INSERT INTO authz_permissions (username, permission) VALUES ('bob', 'read:posts')";
    let text = |query: Option<&str>| query.map(str::to_owned);
    let (one, two) = (
        preset::preset("user_roles").unwrap(),
        preset::preset("authz_permissions").unwrap(),
    );
    let queries = SqlQueries {
        roles: text(one.roles),
        permissions: text(two.permissions),
        expires: text(one.expires),
        ..SqlQueries::default()
    };
    let world = World::new(tables, None, queries).await;
    let bob = ask(&world.resolver().await, "bob").await;
    assert_eq!(
        (roles(&bob), permissions(&bob)),
        ("HR".to_owned(), "read:posts".to_owned())
    );
}

#[tokio::test]
async fn the_four_levels_come_from_their_tables() {
    let world = World::of("ai_permissions").await;
    world
        .sql("INSERT INTO ai_permissions (api) VALUES ('access_ai_chat'), ('fetch_loan'), ('use_ai_loan_tool');
              INSERT INTO ai_actions (name) VALUES ('Chat'), ('Use Loan Analysis Tool');
              INSERT INTO ai_action_permissions VALUES ('Chat', 'access_ai_chat'),
                  ('Use Loan Analysis Tool', 'fetch_loan'), ('Use Loan Analysis Tool', 'use_ai_loan_tool');
              INSERT INTO ai_categories (name) VALUES ('Talk'), ('Manage AI Assistant');
              INSERT INTO ai_category_actions VALUES ('Talk', 'Chat'), ('Manage AI Assistant', 'Use Loan Analysis Tool');
              INSERT INTO ai_roles (name) VALUES ('Agent Supervisor');
              INSERT INTO ai_role_categories VALUES ('Agent Supervisor', 'Talk'), ('Agent Supervisor', 'Manage AI Assistant');
              INSERT INTO ai_user_roles VALUES ('sue', 'Agent Supervisor', NULL), ('old', 'Agent Supervisor', now());
              INSERT INTO ai_user_categories VALUES ('agent', 'Talk', NULL);
              INSERT INTO ai_user_permissions VALUES ('agent', 'fetch_loan', NULL);
              INSERT INTO ai_superusers VALUES ('chief')")
        .await;
    let resolver = world.resolver().await;
    let sue = ask(&resolver, "sue").await;
    assert_eq!(roles(&sue), "Agent Supervisor");
    assert_eq!(
        permissions(&sue),
        "access_ai_chat, fetch_loan, use_ai_loan_tool"
    );
    let agent = ask(&resolver, "agent").await;
    assert_eq!(permissions(&agent), "access_ai_chat, fetch_loan");
    assert_eq!(permissions(&*ask(&resolver, "old").await), "");
    assert!(ask(&resolver, "chief").await.superuser() && !sue.superuser());
}

#[tokio::test]
async fn groups_and_denials_come_from_queries() {
    let tables = "CREATE TABLE held (kind text, name text, item text);
        INSERT INTO held VALUES ('role', 'bob', 'HR'), ('role', 'bob', 'Sales'), ('group', 'bob', 'staff'),
            ('group', 'bob', 'board'), ('permission', 'bob', 'read:pay'), ('permission', 'bob', 'read:posts'),
            ('no role', 'bob', 'Sales'), ('no permission', 'bob', 'read:pay')";
    let of = |kind: &str| {
        Some(format!(
            "SELECT item FROM held WHERE name = $1 AND kind = '{kind}'"
        ))
    };
    let queries = SqlQueries {
        roles: of("role"),
        permissions: of("permission"),
        groups: of("group"),
        denied_roles: of("no role"),
        denied_permissions: of("no permission"),
        ..SqlQueries::default()
    };
    let world = World::new(tables, None, queries).await;
    let resolver = world.resolver().await;
    let bob = ask(&resolver, "bob").await;
    assert_eq!(
        (roles(&bob), permissions(&bob)),
        ("HR".to_owned(), "read:posts".to_owned())
    );
    assert_eq!(bob.attributes()["groups"], ["board", "staff"]);
    assert!(ask(&resolver, "anne").await.attributes().is_empty());
}

/// A table of roles and one of permissions, each row a name and one it brings along.
async fn inheriting() -> World {
    let tables = "CREATE TABLE user_roles (name text, role text);
        CREATE TABLE user_permissions (name text, permission text);
        CREATE TABLE role_permissions (role text, permission text);
        CREATE TABLE role_parents (role text, parent text);
        CREATE TABLE permission_parents (permission varchar(80), parent text);
        INSERT INTO user_roles VALUES ('dan', 'Director'), ('hal', 'HR Manager');
        INSERT INTO user_permissions VALUES ('eva', 'admin:*');
        INSERT INTO role_permissions VALUES ('Sales Manager', 'read:deals'), ('Clerk', 'admin:posts');
        INSERT INTO role_parents VALUES ('Director', 'Sales Manager'), ('Director', 'HR Manager'), ('HR Manager', 'Clerk');
        INSERT INTO permission_parents VALUES ('admin:posts', 'read:posts'), ('admin:posts', 'write:posts'), ('write:posts', 'x')";
    let text = |query: &str| Some(query.to_owned());
    let queries = SqlQueries {
        roles: text("SELECT role FROM user_roles WHERE name = $1"),
        permissions: text("SELECT permission FROM user_permissions WHERE name = $1"),
        role_permissions: text("SELECT permission FROM role_permissions WHERE role = ANY ($1)"),
        inherited_roles: text("SELECT role, parent FROM role_parents -- all"),
        inherited_permissions: text("SELECT permission, parent FROM permission_parents;"),
        ..SqlQueries::default()
    };
    World::new(tables, None, queries).await
}

#[tokio::test]
async fn roles_and_permissions_inherit_by_rows() {
    let world = inheriting().await;
    let resolver = world.resolver().await;
    let dan = ask(&resolver, "dan").await;
    assert_eq!(roles(&dan), "Clerk, Director, HR Manager, Sales Manager");
    assert_eq!(
        permissions(&dan),
        "admin:posts, read:deals, read:posts, write:posts, x"
    );
    let sources = &dan.role_sources()["Clerk"];
    assert_eq!(
        *sources,
        BTreeSet::from(["inherited from HR Manager".to_owned()])
    );
    // A wildcard brings what those it covers bring.
    let eva = ask(&resolver, "eva").await;
    assert_eq!(permissions(&eva), "admin:*, read:posts, write:posts, x");
    assert_eq!(roles(&*ask(&resolver, "nobody").await), "");
    // Taken away, it is gone for the next statement.
    world
        .sql("DELETE FROM role_parents WHERE role = 'HR Manager'")
        .await;
    assert_eq!(roles(&*ask(&resolver, "hal").await), "HR Manager");
    assert_eq!(permissions(&*ask(&resolver, "dan").await), "read:deals");
}

/// What cannot be a hierarchy refuses everybody; mended, it serves again.
#[tokio::test]
async fn rows_that_inherit_in_a_circle_refuse() {
    let world = inheriting().await;
    let resolver = world.resolver().await;
    for (rows, says) in [
        (
            "INSERT INTO role_parents VALUES ('Clerk', 'Director')",
            "roles go in a circle: Clerk -> Director -> HR Manager -> Clerk",
        ),
        (
            "INSERT INTO role_parents VALUES ('Clerk', 'Clerk')",
            "roles go in a circle: Clerk -> Clerk",
        ),
        (
            "INSERT INTO permission_parents VALUES ('x', 'admin:posts')",
            "permissions go in a circle: ",
        ),
        (
            "INSERT INTO role_parents VALUES ('Clerk', NULL)",
            "cannot be understood",
        ),
        (
            "INSERT INTO role_parents VALUES ('Clerk', '*')",
            "no wildcards over roles",
        ),
        (
            "INSERT INTO role_parents SELECT 'a' || n, 'b' FROM generate_series(1, 10001) AS n",
            "too large",
        ),
        (
            "INSERT INTO role_parents SELECT 'a' || n, 'a' || n + 1 FROM generate_series(1, 33) AS n",
            "32 levels",
        ),
        (
            "INSERT INTO role_parents SELECT repeat('é', 600), 'b'",
            "longer than 1024 bytes",
        ),
    ] {
        world.sql(&format!("CREATE TABLE kept AS TABLE role_parents; CREATE TABLE kept_permissions AS TABLE permission_parents; {rows}")).await;
        for user in ["dan", "nobody"] {
            let Err(Error::Failed(fault)) = resolver.principal(&Caller::assumed(user)).await else {
                panic!("{rows}: {user} was served");
            };
            let cause = format!("{:#}", fault.cause);
            assert!(cause.contains(says), "{rows}: {cause}");
        }
        let start = rowgate::app::providers(std::slice::from_ref(&world.settings)).await;
        assert!(start.is_err(), "{rows}: found at start");
        world.sql("TRUNCATE role_parents, permission_parents; INSERT INTO role_parents TABLE kept; INSERT INTO permission_parents TABLE kept_permissions; DROP TABLE kept, kept_permissions").await;
        assert_eq!(roles(&*ask(&resolver, "hal").await), "Clerk, HR Manager");
    }
}

#[tokio::test]
async fn a_kept_hierarchy_is_forgotten_with_the_rest() {
    let world = inheriting().await.cached();
    let providers = rowgate::app::providers(std::slice::from_ref(&world.settings)).await;
    let resolver = providers.unwrap().resolver();
    assert_eq!(roles(&*ask(&resolver, "hal").await), "Clerk, HR Manager");
    world.sql("TRUNCATE role_parents").await;
    assert_eq!(
        roles(&*ask(&resolver, "hal").await),
        "Clerk, HR Manager",
        "nobody told"
    );
    resolver.clear();
    assert_eq!(roles(&*ask(&resolver, "hal").await), "HR Manager");
}

#[tokio::test]
async fn a_temporary_grant_ends_on_time_also_in_the_cache() {
    let world = World::of("user_roles").await.cached();
    world
        .sql("INSERT INTO user_roles VALUES ('bob', 'HR', NULL), ('bob', 'Guest', now() + interval '3 s')")
        .await;
    let resolver = world.resolver().await;
    assert_eq!(roles(&*ask(&resolver, "bob").await), "Guest, HR");
    // The cache would keep it for an hour.
    until("the guest's role has ended", async || {
        roles(&*ask(&resolver, "bob").await) == "HR"
    })
    .await;
    let ended: bool = world
        .owner
        .query_one(
            "SELECT bool_and(expires_at <= now()) FROM user_roles WHERE role = 'Guest'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(ended, "not a moment early");
}

/// Every payload that arrives on the channel.
async fn heard(database: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (client, mut connection) = support::superuser(database).connect(NoTls).await.unwrap();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(Ok(message)) =
            std::future::poll_fn(|context| connection.poll_message(context)).await
        {
            if let AsyncMessage::Notification(notification) = message {
                into.lock().unwrap().push(notification.payload().to_owned());
            }
        }
    });
    client
        .batch_execute("LISTEN rowgate_invalidate")
        .await
        .unwrap();
    (client, heard)
}

#[tokio::test]
async fn triggers_name_the_users_a_change_concerns() {
    let world = World::of("ai_permissions").await;
    let preset = preset::preset("ai_permissions").unwrap();
    let tables = preset
        .tables
        .iter()
        .map(|table| Watched::parse(table.name, table.user_column));
    let tables: Vec<Watched> = tables.map(Result::unwrap).collect();
    world
        .sql("INSERT INTO ai_roles SELECT 'r' || g FROM generate_series(1, 3) AS g")
        .await;
    world.sql(&triggers(&tables)).await;
    world.sql(&triggers(&tables)).await;
    let (client, heard) = heard(&world.database).await;
    let long = "x".repeat(300);
    for (statement, expected) in [
        (
            "INSERT INTO ai_user_roles VALUES ('bob', 'r1'), ('anne', 'r1'), ('bob', 'r2')",
            &["anne", "bob"][..],
        ),
        (
            "UPDATE ai_user_roles SET user_id = 'eve' WHERE user_id = 'anne'",
            &["anne", "eve"],
        ),
        ("DELETE FROM ai_user_roles WHERE user_id = 'eve'", &["eve"]),
        ("DELETE FROM ai_user_roles WHERE user_id = 'nobody'", &[]),
        ("BEGIN; DELETE FROM ai_user_roles; ROLLBACK", &[]),
        (
            "INSERT INTO ai_user_roles VALUES ('o''brien; --', 'r1')",
            &["o'brien; --"],
        ),
        (
            &format!("INSERT INTO ai_user_roles VALUES ('{long}', 'r1')"),
            &[""],
        ),
        (
            "INSERT INTO ai_user_roles SELECT 'u' || g, 'r3' FROM generate_series(1, 101) AS g",
            &[""],
        ),
        ("INSERT INTO ai_superusers VALUES ('chief')", &["chief"]),
        (
            "INSERT INTO ai_categories VALUES ('c'); INSERT INTO ai_role_categories VALUES ('r1', 'c')",
            &[""],
        ),
        ("TRUNCATE ai_user_roles", &[""]),
    ] {
        heard.lock().unwrap().clear();
        world.sql(statement).await;
        // Notifications arrive in the order of their commits: when this one is here, all before it are.
        world.sql("NOTIFY rowgate_invalidate, 'the end'").await;
        until(statement, async || {
            client.batch_execute("").await.unwrap();
            heard
                .lock()
                .unwrap()
                .iter()
                .any(|payload| payload == "the end")
        })
        .await;
        let mut told: BTreeSet<String> = heard.lock().unwrap().iter().cloned().collect();
        told.remove("the end");
        assert_eq!(
            told.iter().map(String::as_str).collect::<Vec<_>>(),
            expected,
            "{statement}"
        );
    }
}
