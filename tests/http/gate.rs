//! A gate with a query listener over a database of its own, and `curl` to talk to it.

use crate::support;
use rowgate::app::Addresses;
use rowgate::config::{AuditSink, Config, Enforcement, Http};
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
/// The API key of login report, which is nobody else than carol.
pub const OWN_KEY: &str = "fedcba9876543210fedcba9876543210";

/// A running gate; it stops with the value.
pub struct Gate {
    pub addresses: Addresses,
    pub database: String,
    audit: PathBuf,
    _folder: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
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
    let Ok(addresses) = is_ready.await else {
        panic!(
            "the gate did not start: {:#}",
            running.await.unwrap().unwrap_err()
        );
    };
    Gate {
        addresses,
        database,
        audit,
        _folder: folder,
        _stop: stop,
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

/// A good token for this user.
pub fn token(subject: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    signed(
        &json!({"sub": subject, "aud": "rowgate", "exp": now + 600}),
        SECRET,
    )
}

pub fn signed(claims: &Value, secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

/// `Authorization` for this user.
pub fn bearer(subject: &str) -> String {
    format!("Authorization: Bearer {}", token(subject))
}

/// An answer as curl saw it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
    pub body: Value,
    /// curl's exit code: 0 unless the transfer broke off.
    pub exit: i32,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }

    /// The first value of the first row.
    pub fn value(&self) -> &Value {
        assert_eq!(self.status, 200, "{self:?}");
        &self.body["rows"][0][0]
    }
}

impl Gate {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.http.unwrap())
    }

    /// `curl` with these arguments and the URL; standard input is the body where an argument reads it.
    pub async fn curl(&self, path: &str, arguments: &[&str], input: &[u8]) -> Answer {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["--silent", "--include", "--globoff", "--path-as-is"])
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
            text: body.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
            exit: output.status.code().unwrap_or(-1),
        }
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
