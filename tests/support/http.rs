//! What the tests of HTTP listeners share: a gate started from a configuration, tokens it takes, and `curl`.

use rowgate::app::Addresses;
use rowgate::config::Config;
use rowgate::identity::{TokenAlgorithm, TokenKey, TokenVerifier};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const SECRET: &str = "a secret of at least thirty-two bytes";
/// The API key of login n8n, which may speak for others.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A running gate; it stops with the value.
pub struct Running {
    pub addresses: Addresses,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// Serves until the value is dropped.
///
/// # Errors
/// Why it did not start.
pub async fn serve(config: Config) -> anyhow::Result<Running> {
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
        Ok(addresses) => Ok(Running {
            addresses,
            _stop: stop,
        }),
        Err(_) => Err(running.await.unwrap().unwrap_err()),
    }
}

/// Tokens signed with [`SECRET`].
pub fn tokens() -> TokenVerifier {
    TokenVerifier {
        keys: vec![TokenKey::new(None, TokenAlgorithm::Hs256, &SECRET.into()).unwrap()],
        published: rowgate::identity::Published::default(),
        user_claim: rowgate::identity::ClaimPath::parse("sub").unwrap(),
        issuer: None,
        audience: "rowgate".to_owned(),
        leeway: Duration::ZERO,
        lifetime_max: Duration::from_secs(3_600),
    }
}

/// A good token for this user.
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

/// `Authorization` for this user.
pub fn bearer(subject: &str) -> String {
    format!("Authorization: Bearer {}", token(subject))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// An answer as curl saw it.
#[derive(Debug)]
pub struct Answer {
    /// 0: there was none.
    pub status: u16,
    pub head: String,
    pub text: String,
    /// The text as JSON; as one string if it is none.
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

/// `curl` with these arguments and the URL; standard input is the body where an argument reads it.
pub async fn curl(url: &str, arguments: &[&str], input: &[u8]) -> Answer {
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["--silent", "--include", "--globoff", "--path-as-is"])
        .args(["--max-time", "60", "--noproxy", "*"])
        .args(arguments)
        .arg(url)
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
        body: serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)),
        exit: output.status.code().unwrap_or(-1),
    }
}

/// What comes back for these bytes, up to the end of the connection or of patience.
pub async fn raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The gate may end the connection before it has read everything.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    tokio::time::timeout(patience, stream.read_to_end(&mut answer))
        .await
        .ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first bytes that come back for these.
pub async fn raw_start(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.ok();
    let mut answer = vec![0; 4_096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await;
    let read = read.expect("no answer").unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}
