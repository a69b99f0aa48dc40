//! A gate with a query listener over a database of its own, and `curl` to talk to it.

use crate::support;
pub use crate::support::http::{Answer, KEY, bearer, token};
use crate::support::http::{Running, curl, serve, tokens};
use rowgate::app::Addresses;
use rowgate::config::{AuditSink, Config, Enforcement, Http};
use rowgate::demo::Setup;
use rowgate::identity::{ApiKey, Login, Proof};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// The API key of login report, which is nobody else than carol.
pub const OWN_KEY: &str = "fedcba9876543210fedcba9876543210";

/// A running gate; it stops with the value.
pub struct Gate {
    pub addresses: Addresses,
    pub database: String,
    audit: PathBuf,
    _folder: tempfile::TempDir,
    _running: Running,
}

/// The example behind a gate that also serves HTTP, after a last change of the configuration.
pub async fn gate(name: &str, change: impl FnOnce(&mut Config)) -> Gate {
    let database = format!("http_{name}");
    let setup = Setup::example(&database, ([127, 0, 0, 1], 0).into(), Enforcement::Barrier);
    let mut config = support::prepare(support::cluster(), &setup).await;
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    config.audit.sink = AuditSink::File(audit.clone());
    config.http = Some(Http {
        listen: ([127, 0, 0, 1], 0).into(),
        hosts: vec!["gate.example.com".to_owned()],
        connections_max: 64,
        body_bytes_max: 262_144,
        json_rows_max: 5_000,
        json_bytes_max: 1_000_000,
    });
    logins(&mut config);
    change(&mut config);
    let running = serve(config).await.expect("the gate did not start");
    Gate {
        addresses: running.addresses,
        database,
        audit,
        _folder: folder,
        _running: running,
    }
}

fn logins(config: &mut Config) {
    let identity = &mut config.identity;
    for (name, key, user_id, proof) in [
        ("n8n", Some(KEY), None, Proof::Password("flow".into())),
        (
            "report",
            Some(OWN_KEY),
            Some("carol"),
            Proof::Password("report".into()),
        ),
        ("agent", None, None, Proof::Token),
    ] {
        let login = Login {
            may_delegate: name == "n8n",
            proof,
            user_id: user_id.map(str::to_owned),
            superuser: false,
        };
        identity.logins.insert(name.to_owned(), login);
        if let Some(key) = key {
            identity
                .api_keys
                .insert(name.to_owned(), ApiKey::new(&key.into()).unwrap());
        }
    }
    identity.tokens = Some(tokens());
    identity.token_requires_tls = false;
}

impl Gate {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.http.unwrap())
    }

    /// `curl` with these arguments; standard input is the body where an argument reads it.
    pub async fn curl(&self, path: &str, arguments: &[&str], input: &[u8]) -> Answer {
        curl(&self.url(path), arguments, input).await
    }

    /// A body as it is, with more headers.
    pub async fn send(&self, headers: &[&str], body: &str) -> Answer {
        let mut arguments = vec![
            "-H",
            "Content-Type: application/json",
            "--data-binary",
            "@-",
        ];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        self.curl("/v1/query", &arguments, body.as_bytes()).await
    }

    /// A statement by this user's token, answered in JSON.
    pub async fn query(&self, user: &str, sql: &str) -> Answer {
        self.ask(user, &json!({"sql": sql})).await
    }

    pub async fn ask(&self, user: &str, body: &Value) -> Answer {
        self.send(&[&bearer(user)], &body.to_string()).await
    }

    /// The audit's lines so far.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.audit).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The lines of the request with this answer: what was asked, and how it ended.
    pub async fn recorded(&self, answer: &Answer) -> (Vec<Value>, Vec<Value>) {
        let id = answer.header("x-request-id").unwrap().to_owned();
        for _ in 0..100 {
            let lines = self.lines();
            let of = |event: &str| -> Vec<Value> {
                let found = lines
                    .iter()
                    .filter(|line| line["request_id"] == id.as_str() && line["event"] == event);
                found.cloned().collect()
            };
            let (request, outcome) = (of("request"), of("outcome"));
            if !outcome.is_empty() || request.iter().any(|line| line["decision"] == "refuse") {
                return (request, outcome);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{id} has no end in the audit");
    }

    /// The one line about what was asked or who was refused, and whether there is one on how it ended.
    pub async fn recorded_once(&self, answer: &Answer) -> (Value, bool) {
        let id = answer.header("x-request-id").unwrap();
        for _ in 0..100 {
            let mut lines = self.lines();
            lines.retain(|line| line["request_id"] == id);
            let (outcomes, asked): (Vec<Value>, Vec<Value>) = lines
                .into_iter()
                .partition(|line| line["event"] == "outcome");
            if let Some(line) = asked.first() {
                assert_eq!(asked.len(), 1, "{answer:?}: {asked:?}");
                return (line.clone(), !outcomes.is_empty());
            }
            // Nobody waits for the line of a refused login.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no line in the audit: {answer:?}");
    }

    /// A connection on the wire.
    pub async fn connect(&self, user: &str, password: &str) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.addresses.clients.port())
            .dbname(&self.database)
            .user(user)
            .password(password);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}
