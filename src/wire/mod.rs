//! The PostgreSQL protocol's door: accepts connections, brings them through TLS, start-up and login, and
//! hands each to a [`crate::session::Session`].
//!
//! What is done here, and not left to a protocol library, because it can open a hole or end the process:
//! lengths are checked before anything is buffered; each frame is read from its own bytes only; bytes
//! sent in clear behind an SSLRequest end the connection (CVE-2021-23214); nothing a client sends decides
//! how much memory is allocated.

mod auth;
mod door;
mod start_up;
mod workers;

use crate::error::{Error, Fault, FaultKind};
use crate::gateway::Gateway;
use crate::session::{Answer, Told};
use bytes::BytesMut;
use door::Door;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use workers::{Workers, seated};

/// How long sessions have to end by themselves at shutdown.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after `accept` failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Reads `bytes` as the first packet of a connection, its `options` included; whether they are one. Does
/// nothing else: it is here for the fuzz target.
#[doc(hidden)]
pub fn read_startup(bytes: &[u8]) -> bool {
    let mut received = BytesMut::from(bytes);
    match start_up::cut_packet(
        &mut received,
        crate::limits::Limits::default().startup_bytes_max,
    ) {
        Ok(Some(start_up::Packet::StartUp(packet))) => {
            packet.negotiation();
            let options = packet
                .parameters
                .iter()
                .filter(|(name, _)| name == "options");
            options.fold(true, |valid, (_, value)| {
                valid & start_up::options(value).is_ok()
            })
        }
        Ok(packet) => packet.is_some(),
        Err(_) => false,
    }
}

/// Starts the threads that serve clients. What comes back serves until `shutdown` turns true; then lets pipelines and
/// transactions end, within a bound.
///
/// # Errors
/// When the threads cannot be made.
pub fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    tls: Option<Arc<rustls::ServerConfig>>,
    require_tls: bool,
    shutdown: watch::Receiver<bool>,
) -> std::io::Result<impl Future<Output = ()>> {
    let workers = Workers::start(gateway.limits().worker_threads)?;
    let door = Door::new(gateway, tls, require_tls);
    Ok(accept(listener, workers, Arc::new(door), shutdown))
}

async fn accept(
    listener: TcpListener,
    workers: Workers,
    door: Arc<Door>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    // Connections beyond the limit of clients, which may bring a cancel request.
    let mut cancels = JoinSet::new();
    let sessions_shutdown = shutdown.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let over = sessions.len() >= door.limits().clients_max;
                    if over && cancels.len() >= door.limits().cancels_max {
                        turn_away(stream);
                        continue;
                    }
                    let (Some(seat), Ok(stream)) = (workers.seat(), stream.into_std()) else {
                        continue;
                    };
                    let door = Arc::clone(&door);
                    let shutdown = sessions_shutdown.clone();
                    let runtime = seat.runtime.clone();
                    let session = async move {
                        match TcpStream::from_std(stream) {
                            Ok(stream) if over => door.only_cancel(stream, peer).await,
                            Ok(stream) => door.welcome(stream, peer, shutdown).await,
                            Err(error) => tracing::warn!(%error, "a client could not be taken over"),
                        }
                    };
                    let kind = if over { &mut cancels } else { &mut sessions };
                    kind.spawn_on(seated(seat, session), &runtime);
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // A session that panicked has hurt only itself.
            Some(ended) = sessions.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a session ended by a panic");
                }
            }
            Some(_) = cancels.join_next() => {}
            () = stopped(&mut shutdown) => break,
        }
    }
    drop(listener);
    let all = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_PATIENCE, all).await.is_err() {
        sessions.shutdown().await;
    }
}

fn too_many() -> Told {
    let fault = Fault::because(FaultKind::TooManyClients, "limits.clients_max is reached");
    Told::fatal(&Error::Failed(fault))
}

/// Tells one client too many so, without letting it cost anything.
fn turn_away(stream: TcpStream) {
    let mut out = Vec::new();
    Answer::new(&mut out).error(&too_many());
    // An empty socket buffer takes it at once; a client that is not there does not matter. Past the runtime, which has
    // not yet heard of a socket this new that it can be written to, and would not try.
    if let Ok(mut stream) = stream.into_std() {
        let _best_effort = std::io::Write::write(&mut stream, &out);
    }
}

async fn say_goodbye(stream: &mut (impl AsyncWriteExt + Unpin), told: &Told) {
    let mut out = Vec::new();
    Answer::new(&mut out).error(told);
    let send = async {
        stream.write_all(&out).await?;
        stream.shutdown().await
    };
    let _best_effort = tokio::time::timeout(Duration::from_secs(5), send).await;
}

/// Waits until it is time to stop; that is also when nobody is left who could say so.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _told_or_alone = shutdown.wait_for(|stop| *stop).await.is_ok();
}
