//! The presets' tables in a real database: what they grant, when it expires, and what their triggers tell.

use crate::support;
use crate::until;
use rowgate::config::preset::{self, PRESETS, Preset};
use rowgate::config::{
    CacheSettings, Database, Provider, ProviderKind, SqlProvider, SqlQueries, UpstreamTls,
};
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
