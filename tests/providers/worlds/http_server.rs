//! A permission service as somebody would write one, that can be told to misbehave: it speaks HTTP by hand,
//! so that it can break every rule of it.

use super::SECRET;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

/// How it answers a request.
#[derive(Debug, Clone)]
pub enum Manner {
    /// As told: with a user's JSON, or 404.
    Well,
    /// With exactly these bytes; the connection stays open for more.
    Bytes(Vec<u8>),
    /// With these bytes, and then the connection's end.
    BytesAndEnd(Vec<u8>),
    /// With these bytes once, and then these again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Not at all for 30 s.
    Never,
    /// One byte of a good answer every second.
    Drip,
    /// The end of the connection without a word.
    End,
}

/// A status line, headers and a body.
pub fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

type Knows = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

struct State {
    tls: Option<tokio_rustls::TlsAcceptor>,
    /// What it knows of a user, as JSON.
    knows: Mutex<Knows>,
    manner: Mutex<Manner>,
    /// Manners for the next requests, before `manner` holds again.
    next: Mutex<VecDeque<Manner>>,
    /// The head of each request, in order.
    heads: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

/// A running service; ends with the value.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    running: Mutex<Option<JoinSet<()>>>,
}

impl Server {
    pub async fn start(tls: Option<&Path>) -> Self {
        let state = Arc::new(State {
            tls: tls.map(acceptor),
            knows: Mutex::new(Box::new(|_| None)),
            manner: Mutex::new(Manner::Well),
            next: Mutex::default(),
            heads: Mutex::default(),
            connections: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            state,
            running: Mutex::new(None),
        };
        server.run(listener);
        server
    }

    fn run(&self, listener: TcpListener) {
        let state = Arc::clone(&self.state);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *state.connections.lock().unwrap() += 1;
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    match &state.tls {
                        None => serve(&state, stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(&state, stream).await;
                            }
                        }
                    }
                });
            }
        });
        *self.running.lock().unwrap() = Some(running);
    }

    /// Ends it with all its connections: nobody listens any more.
    pub async fn down(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some(mut running) = running {
            running.shutdown().await;
        }
    }

    /// Starts it again where it was.
    pub fn up(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.run(socket.listen(1_024).unwrap());
    }

    pub fn knows(&self, knows: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        *self.state.knows.lock().unwrap() = Box::new(knows);
    }

    pub fn answers(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// How it answers the next requests, one after the other.
    pub fn answers_next(&self, manners: impl IntoIterator<Item = Manner>) {
        self.state.next.lock().unwrap().extend(manners);
    }

    /// The heads of all requests until now, and forgets them.
    pub fn heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.state.heads.lock().unwrap())
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }
}

fn acceptor(folder: &Path) -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

async fn serve(state: &State, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await {
        state.heads.lock().unwrap().push(head.clone());
        let next = state.next.lock().unwrap().pop_front();
        let manner = next.unwrap_or_else(|| state.manner.lock().unwrap().clone());
        if misbehave(&mut stream, manner, || well(state, &head))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// `None` at the connection's end.
async fn head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.take(8_192).read_line(&mut head).await.ok()?;
        if read == 0 || head.len() > 65_536 {
            return None;
        }
    }
    Some(head)
}

/// `None` when the connection is to end.
async fn misbehave(
    stream: &mut (impl AsyncWrite + Unpin),
    manner: Manner,
    well: impl FnOnce() -> Vec<u8>,
) -> Option<()> {
    match manner {
        Manner::Well => stream.write_all(&well()).await.ok()?,
        Manner::Bytes(bytes) => stream.write_all(&bytes).await.ok()?,
        Manner::BytesAndEnd(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()?;
            return None;
        }
        Manner::Endless(first, then) => {
            stream.write_all(&first).await.ok()?;
            // A gigabyte is endless enough; whoever reads it all has failed.
            for _ in 0..(1 << 30) / then.len() {
                stream.write_all(&then).await.ok()?;
            }
            return None;
        }
        Manner::Never => tokio::time::sleep(Duration::from_secs(30)).await,
        Manner::Drip => {
            for byte in well() {
                stream.write_all(&[byte]).await.ok()?;
                stream.flush().await.ok()?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Manner::End => return None,
    }
    stream.flush().await.ok()
}

fn well(state: &State, head: &str) -> Vec<u8> {
    let key = format!("authorization: Bearer {SECRET}\r\n");
    if !head.to_lowercase().contains(&key.to_lowercase()) {
        return answer(401, "", "{}");
    }
    let user = head
        .strip_prefix("GET /api/users/")
        .and_then(|rest| rest.split_once("/permissions HTTP/1.1\r\n"))
        .map(|(user, _)| decoded(user));
    match user.and_then(|user| (state.knows.lock().unwrap())(&user)) {
        Some(json) => answer(200, "", &json),
        None => answer(404, "", r#"{"error": "no such user"}"#),
    }
}

/// Once, as a service should.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next().unwrap(), rest.next().unwrap()];
            let pair = std::str::from_utf8(&pair).unwrap();
            bytes.push(u8::from_str_radix(pair, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
