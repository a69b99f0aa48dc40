//! A gate with an admin listener over a database of its own, and `curl` to talk to it.

use crate::support;
use crate::support::http::Running;
pub use crate::support::http::{Answer, KEY, SECRET, now, signed, token};
use rowgate::app::Addresses;
use rowgate::config::{
    Admin, AdminTable, AdminTables, AuditSink, Config, Database, Enforcement, UpstreamTls,
};
use rowgate::demo::Setup;
use rowgate::identity::{ApiKey, Login, Proof};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const TUPLE_COLUMNS: [&str; 6] = [
    "namespace",
    "object",
    "relation",
    "subject_namespace",
    "subject_id",
    "subject_relation",
];
/// The password of the login that writes.
const PASSWORD: &str = "writer";

/// One running gate; it stops with the value.
pub struct Instance {
    pub addresses: Addresses,
    running: Arc<Running>,
}

/// A database with the example, the two tables, and a configuration that manages them.
pub struct World {
    pub config: Config,
    pub database: String,
    pub audit: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    pub async fn new(name: &str) -> Self {
        let database = format!("admin_{name}");
        let listen = ([127, 0, 0, 1], 0).into();
        let setup = Setup::example(&database, listen, Enforcement::Barrier);
        let mut config = support::prepare(support::cluster(), &setup).await;
        let owner = support::cluster().connect(&database).await.unwrap();
        let tuples = include_str!("../../fixtures/tuples.sql");
        owner.batch_execute(tuples).await.unwrap();
        let sql = format!(
            "CREATE TABLE authz_permissions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 username text NOT NULL, permission text NOT NULL CHECK (permission <> 'never:this'),
                 expires_at timestamptz);
             CREATE TABLE group_members (member text NOT NULL, \"group\" text NOT NULL);
             CREATE TABLE tags (name text PRIMARY KEY, access text NOT NULL, owner text, allowed text[] NOT NULL DEFAULT '{{}}');
             INSERT INTO tags VALUES ('launch', 'specific', 'anne', '{{anne}}'), ('open', 'public', NULL, '{{}}');
             ALTER TABLE user_roles ADD COLUMN IF NOT EXISTS expires_at timestamptz;
             INSERT INTO authz_permissions (username, permission) VALUES ('olga', 'admin:permissions'), ('root', '*');
             DO $$ BEGIN
                 PERFORM pg_advisory_xact_lock(7);
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rowgate_admin') THEN
                     CREATE ROLE rowgate_admin LOGIN PASSWORD '{PASSWORD}';
                 END IF;
             END $$;
             GRANT SELECT, INSERT, UPDATE, DELETE ON authz_permissions, user_roles, group_members, tags, rowgate_tuples TO rowgate_admin;
             GRANT SELECT ON authz_permissions, user_roles TO rowgate_roles;"
        );
        owner.batch_execute(&sql).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        config.audit.sink = AuditSink::File(audit.clone());
        config.admin = Some(admin(&config, &database));
        providers(&mut config);
        logins(&mut config);
        Self {
            config,
            database,
            audit,
            folder,
        }
    }

    pub async fn owner(&self) -> tokio_postgres::Client {
        support::cluster().connect(&self.database).await.unwrap()
    }

    /// One more gate over the same database.
    pub async fn serve(&self) -> Instance {
        serve(self.config.clone()).await.unwrap()
    }

    /// The audit's lines about managing permissions, so far.
    pub fn admin_lines(&self) -> Vec<Value> {
        let lines = self.lines();
        lines
            .into_iter()
            .filter(|line| line["event"] == "admin")
            .collect()
    }

    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.audit).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Rows of `authz_permissions` for this user, as `permission` or `permission until ...`.
    pub async fn permissions(&self, user: &str) -> Vec<String> {
        let sql =
            "SELECT permission || coalesce(' until ' || (expires_at AT TIME ZONE 'UTC')::text, '')
                   FROM authz_permissions WHERE username = $1 ORDER BY 1";
        let rows = self.owner().await.query(sql, &[&user]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

pub async fn serve(config: Config) -> anyhow::Result<Instance> {
    let running = support::http::serve(config).await?;
    Ok(Instance {
        addresses: running.addresses,
        running: Arc::new(running),
    })
}

fn admin(config: &Config, database: &str) -> Admin {
    let table = |name: &str, keys: &[&str]| AdminTable {
        schema: "public".to_owned(),
        name: name.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        operator_only: vec!["root:role".to_owned()],
        expiry: "expires_at".to_owned(),
        owner: "owner".to_owned(),
    };
    Admin {
        listen: Some(([127, 0, 0, 1], 0).into()),
        hosts: vec!["gate.example.com".to_owned()],
        database: Database {
            host: config.upstream.host.clone(),
            port: config.upstream.port,
            database: database.to_owned(),
            user: "rowgate_admin".to_owned(),
            password: Some(PASSWORD.into()),
            tls: UpstreamTls::Off,
            timeout: Duration::from_secs(5),
        },
        connections_max: 64,
        body_bytes_max: 4_096,
        strict: false,
        tables: AdminTables {
            permissions: Some(table("authz_permissions", &["username", "permission"])),
            roles: Some(table("user_roles", &["user", "role"])),
            groups: Some(table("group_members", &["member", "group"])),
            tags: Some(table("tags", &["allowed", "name", "access"])),
            tuples: Some(table("rowgate_tuples", &TUPLE_COLUMNS)),
        },
    }
}

/// Roles and permissions from the two tables, by the login that only reads.
fn providers(config: &mut Config) {
    for provider in &mut config.providers {
        if let rowgate::config::ProviderKind::Sql(sql) = &mut provider.kind {
            let preset = |name: &str| rowgate::config::preset::preset(name).unwrap();
            sql.queries.roles = preset("user_roles").roles.map(str::to_owned);
            let permissions = preset("authz_permissions").permissions;
            sql.queries.permissions = permissions.map(str::to_owned);
        }
    }
}

fn logins(config: &mut Config) {
    let identity = &mut config.identity;
    let login = |proof, may_delegate| Login {
        proof,
        user_id: None,
        may_delegate,
        superuser: false,
    };
    let flow = login(Proof::Password("flow".into()), true);
    identity.logins.insert("n8n".to_owned(), flow);
    let agent = login(Proof::Token, false);
    identity.logins.insert("agent".to_owned(), agent);
    let key = ApiKey::new(&KEY.into()).unwrap();
    identity.api_keys.insert("n8n".to_owned(), key);
    identity.tokens = Some(support::http::tokens());
    identity.token_requires_tls = false;
}

impl Instance {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.admin.unwrap())
    }

    /// `curl` with these arguments; standard input is the body where an argument reads it.
    pub async fn curl(&self, path: &str, arguments: &[&str], input: &[u8]) -> Answer {
        support::http::curl(&self.url(path), arguments, input).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        let arguments = [
            "-H",
            &bearer,
            "-H",
            "Content-Type: application/json",
            "--data-binary",
            "@-",
        ];
        self.curl(path, &arguments, body.to_string().as_bytes())
            .await
    }

    /// As [`Instance::post`], begun at once.
    pub fn curl_post(
        &self,
        path: &str,
        token: &str,
        body: &Value,
    ) -> impl Future<Output = Answer> + use<> {
        let gate = Self {
            addresses: self.addresses,
            running: Arc::clone(&self.running),
        };
        let (path, token, body) = (path.to_owned(), token.to_owned(), body.clone());
        let task = tokio::spawn(async move { gate.post(&path, &token, &body).await });
        async { task.await.unwrap() }
    }

    /// As [`Instance::get`], begun at once.
    pub fn curl_get(&self, path: &str, token: &str) -> impl Future<Output = Answer> + use<> {
        let gate = Self {
            addresses: self.addresses,
            running: Arc::clone(&self.running),
        };
        let (path, token) = (path.to_owned(), token.to_owned());
        let task = tokio::spawn(async move { gate.get(&path, &token).await });
        async { task.await.unwrap() }
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        self.curl(path, &["-H", &bearer], b"").await
    }

    /// A connection of one of the example's users through this gate.
    pub async fn connect(&self, database: &str, user: &str) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.addresses.clients.port())
            .dbname(database)
            .user(user)
            .password(rowgate::demo::PASSWORD);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}
