//! A gate with an admin listener over a database of its own, and `curl` to talk to it.

use crate::support;
use rowgate::app::Addresses;
use rowgate::config::{
    Admin, AdminTable, AdminTables, AuditSink, Config, Enforcement, UpstreamTls,
};
use rowgate::demo::Setup;
use rowgate::identity::{ApiKey, Login, Proof, TokenAlgorithm, TokenKey, TokenVerifier};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;

pub const SECRET: &str = "a secret of at least thirty-two bytes";
/// The API key of login n8n, which may speak for others.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";
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
    _stop: tokio::sync::oneshot::Sender<()>,
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
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(async move {
        let shutdown = async move {
            stopped.await.ok();
        };
        rowgate::app::serve_at(config, shutdown, |addresses| {
            ready.send(addresses).ok();
        })
        .await
    });
    match is_ready.await {
        Ok(addresses) => Ok(Instance {
            addresses,
            _stop: stop,
        }),
        Err(_) => Err(running.await.unwrap().unwrap_err()),
    }
}

fn admin(config: &Config, database: &str) -> Admin {
    let table = |name: &str, keys: &[&str]| AdminTable {
        schema: "public".to_owned(),
        name: name.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        operator_only: vec!["root:role".to_owned()],
        expiry: "expires_at".to_owned(),
    };
    Admin {
        listen: Some(([127, 0, 0, 1], 0).into()),
        hosts: vec!["gate.example.com".to_owned()],
        host: config.upstream.host.clone(),
        port: config.upstream.port,
        database: database.to_owned(),
        user: "rowgate_admin".to_owned(),
        password: Some(PASSWORD.into()),
        tls: UpstreamTls::Off,
        timeout: Duration::from_secs(5),
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
    identity.tokens = Some(TokenVerifier {
        keys: vec![TokenKey::new(None, TokenAlgorithm::Hs256, &SECRET.into()).unwrap()],
        published: rowgate::identity::Published::default(),
        user_claim: rowgate::identity::ClaimPath::parse("sub").unwrap(),
        issuer: None,
        audience: "rowgate".to_owned(),
        leeway: Duration::ZERO,
        lifetime_max: Duration::from_secs(3_600),
    });
    identity.token_requires_tls = false;
}

pub fn token(subject: &str) -> String {
    signed(
        &json!({"sub": subject, "aud": "rowgate", "exp": now() + 600}),
        SECRET,
    )
}

pub fn signed(claims: &Value, secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// An answer as curl saw it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

impl Instance {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.admin.unwrap())
    }

    /// `curl` with these arguments behind the URL; standard input is the body where an argument reads it.
    pub async fn curl(&self, path: &str, arguments: &[&str], input: &[u8]) -> Answer {
        let mut curl = tokio::process::Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--include",
            "--globoff",
            "--path-as-is",
        ])
        .args(["--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .arg(self.url(path))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
        let mut child = curl
            .spawn()
            .expect("these tests need curl; .ci/setup installs it");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.ok();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (mut head, mut body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        if head.starts_with("HTTP/1.1 100") {
            (head, body) = body.split_once("\r\n\r\n").unwrap();
        }
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answer {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)),
        }
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
            _stop: tokio::sync::oneshot::channel().0,
        };
        let (path, token, body) = (path.to_owned(), token.to_owned(), body.clone());
        let task = tokio::spawn(async move { gate.post(&path, &token, &body).await });
        async { task.await.unwrap() }
    }

    /// As [`Instance::get`], begun at once.
    pub fn curl_get(&self, path: &str, token: &str) -> impl Future<Output = Answer> + use<> {
        let gate = Self {
            addresses: self.addresses,
            _stop: tokio::sync::oneshot::channel().0,
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
