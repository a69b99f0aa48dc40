//! The HTTP door: what every HTTP listener of Rowgate shares. A listener brings its routes (an axum
//! `Router`); this module accepts connections, does TLS, and keeps the bounds around every request.
//!
//! ```text
//! accept (bounded) -> TLS -> HTTP/1.1 frames (hyper, bounded) -> guard (Host, time, id, headers) -> routes
//! ```
//!
//! There are no cookies, so no request carries a credential by itself, and no CORS headers: a page of another
//! origin may neither read an answer nor send an `Authorization` header.

mod body;
mod guard;
mod identify;
mod problem;

pub use body::json;
pub use guard::Hosts;
pub use identify::{Attempt, Identified, Waiting, client_name, identify};
pub use problem::Problem;

use axum::Router;
use guard::Guard;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a TLS handshake, and the head of a request, may take.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How long a connection may live: a client that takes no bytes must not hold one for ever.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// How long requests have to end at shutdown, or when the connection has lived its time.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after `accept` failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most bytes of a request's head; more is 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header lines; more is 431.
const HEADERS_MAX: usize = 64;
/// What one connection too many gets; written without waiting.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
    Retry-After: 1\r\nContent-Length: 65\r\nConnection: close\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503}";

/// What a listener is made of, beside its routes.
pub struct Listener {
    /// Bound already.
    pub socket: TcpListener,
    /// TLS, always; without it in clear, always.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The names it answers to.
    pub hosts: Hosts,
    /// Most connections at once.
    pub connections_max: usize,
    /// How long a request may take, from its head to its answer.
    pub request_max: Duration,
}

/// The other end of a request's connection; every request carries it as an extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The address it came to, where the system says.
    pub local: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// A listener and what it answers, ready to serve.
pub struct Door {
    /// Where.
    pub listener: Listener,
    /// What.
    pub routes: Router,
}

impl Door {
    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.socket.local_addr()
    }

    /// Serves until `shutdown` turns true; then lets requests end, within a bound.
    pub async fn serve(self, shutdown: watch::Receiver<bool>) {
        serve(self.listener, self.routes, shutdown).await;
    }
}

async fn serve(listener: Listener, routes: Router, mut shutdown: watch::Receiver<bool>) {
    let Listener {
        socket,
        tls,
        hosts,
        connections_max,
        request_max,
    } = listener;
    let guard = Arc::new(Guard {
        hosts,
        request_max,
        tls: tls.is_some(),
    });
    let routes = guard::around(routes, guard);
    let tls = tls.map(|config| {
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= connections_max => {
                    // An empty socket buffer takes it at once; a client that is not there does not matter.
                    // Past the runtime, which has not yet heard that a new socket can be written to.
                    if let Ok(mut stream) = stream.into_std() {
                        let _best_effort = std::io::Write::write(&mut stream, BUSY);
                    }
                }
                Ok((stream, address)) => {
                    let (tls, routes, shutdown) = (tls.clone(), routes.clone(), shutdown.clone());
                    connections.spawn(connection(stream, address, tls, routes, request_max, shutdown));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // A connection that panicked has hurt only itself.
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an HTTP connection ended by a panic");
                }
            }
            () = stopped(&mut shutdown) => break,
        }
    }
    drop(socket);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(END_PATIENCE, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    routes: Router,
    request_max: Duration,
    shutdown: watch::Receiver<bool>,
) {
    let _without_it_only_slower = stream.set_nodelay(true);
    let peer = Peer {
        address,
        local: stream.local_addr().ok().map(|local| local.ip()),
        tls: tls.is_some(),
    };
    match tls {
        None => exchange(stream, peer, routes, request_max, shutdown).await,
        Some(acceptor) => match tokio::time::timeout(HEAD_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => exchange(stream, peer, routes, request_max, shutdown).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake not finished in time"),
        },
    }
}

/// The requests of one connection.
async fn exchange<S>(
    stream: S,
    peer: Peer,
    routes: Router,
    request_max: Duration,
    mut shutdown: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = routes.layer(axum::Extension(peer));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let service = TowerToHyperService::new(routes);
    let mut exchange = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut exchange => Ok(ended),
        () = stopped(&mut shutdown) => Err(END_PATIENCE),
        // The request under way has its own time.
        () = tokio::time::sleep(CONNECTION_MAX) => Err(END_PATIENCE.max(request_max)),
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(patience) => {
            exchange.as_mut().graceful_shutdown();
            let Ok(ended) = tokio::time::timeout(patience, exchange).await else {
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended with an error");
    }
}

/// Waits until it is time to stop; that is also when nobody is left who could say so.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _told_or_alone = shutdown.wait_for(|stop| *stop).await.is_ok();
}

#[cfg(test)]
mod tests {
    use super::BUSY;

    #[test]
    fn the_fixed_answer_counts_its_own_bytes() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
