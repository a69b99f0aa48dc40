//! An issuer of tokens: its keys, the tokens it signs, and the server that publishes its keys, well or badly.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SET: &str = include_str!("../../src/identity/testdata/jwks.json");
const RSA: &str = include_str!("../../src/identity/testdata/rsa.pem");
const EC: &str = include_str!("../../src/identity/testdata/ec.pem");

/// The published set: the RSA key as `r`, the EC key as `e`, the Ed25519 key as `d`.
pub fn set() -> Value {
    serde_json::from_str(SET).unwrap()
}

/// The set with some of its keys only.
pub fn only(ids: &[&str]) -> Value {
    let mut set = set();
    set["keys"]
        .as_array_mut()
        .unwrap()
        .retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
    set
}

/// Claims that are accepted for a minute, and what is added to them.
pub fn claims(subject: &str, more: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut claims = json!({
        "iss": "https://id.example.com", "aud": "rowgate", "sub": subject, "exp": now.as_secs() + 60,
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

pub fn sign(id: &str, claims: &Value) -> String {
    let (algorithm, key) = match id {
        "e" => (Algorithm::ES256, EncodingKey::from_ec_pem(EC.as_bytes())),
        _ => (Algorithm::RS256, EncodingKey::from_rsa_pem(RSA.as_bytes())),
    };
    let header = Header {
        kid: Some(id.to_owned()),
        ..Header::new(algorithm)
    };
    encode(&header, claims, &key.unwrap()).unwrap()
}

/// What the server answers.
#[derive(Clone)]
pub struct Answer {
    pub status: &'static str,
    pub head: String,
    pub body: Vec<u8>,
    pub delay: Duration,
}

impl Answer {
    pub fn good(set: &Value) -> Self {
        Self::text("200 OK", &set.to_string())
    }

    pub fn text(status: &'static str, body: &str) -> Self {
        Self {
            status,
            head: String::new(),
            body: body.as_bytes().to_vec(),
            delay: Duration::ZERO,
        }
    }
}

/// The server; it stops with the test.
pub struct Server {
    pub address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                tokio::spawn(async move { serve(stream, &answer, &asked).await });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: &Mutex<Answer>, asked: &AtomicUsize) -> Option<()> {
    let mut request = vec![0; 8192];
    let mut filled = 0;
    while !request[..filled].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut request[filled..]).await.ok()? {
            0 => return None,
            read => filled += read,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().unwrap().clone();
    tokio::time::sleep(answer.delay).await;
    let head = format!(
        "HTTP/1.1 {}\r\n{}content-length: {}\r\nconnection: close\r\n\r\n",
        answer.status,
        answer.head,
        answer.body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&answer.body).await.ok()
}
