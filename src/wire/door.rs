//! One connection from its first byte to its session.

use super::auth::{self, Failed};
use super::start_up::{self, Packet, StartUp};
use super::{say_goodbye, too_many};
use crate::error::{Error, FaultKind};
use crate::gateway::{Gateway, LoginRefused, Memory, Registration, RequestId, SessionFacts};
use crate::identity::{Caller, Opening};
use crate::limits::Limits;
use crate::session::{Answer, Client, Session, Settings, Start, Told, Transport};
use bytes::{BufMut, BytesMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

/// The first byte of a TLS connection: a record of type "handshake" (RFC 8446 section 5.1). Of a packet before login
/// it would be the highest byte of a length.
const TLS_HANDSHAKE: u8 = 22;
/// How long a connection beyond the limit of clients has to bring its cancel request.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
/// PostgreSQL's name in ALPN, registered with IANA.
const ALPN: &[u8] = b"postgresql";

/// What every connection shares.
pub(super) struct Door {
    gateway: Arc<Gateway>,
    tls: Option<TlsAcceptor>,
    require_tls: bool,
    sessions: AtomicU64,
}

/// A connection whose StartupMessage is here.
struct Opened {
    transport: Transport,
    received: BytesMut,
    start: StartUp,
}

/// A cancel request, and the connection it came on: that it is closed tells the client that it has been dealt with.
struct CancelRequest {
    process: i32,
    secret: Vec<u8>,
    transport: Transport,
}

/// What the first packets came to.
enum First {
    Opened(Box<Opened>),
    /// A cancel request.
    Cancel(Box<CancelRequest>),
}

/// What a login came to.
struct LoggedIn {
    client: Client,
    caller: Caller,
    settings: Settings,
    facts: SessionFacts,
}

impl Door {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        tls: Option<Arc<rustls::ServerConfig>>,
        require_tls: bool,
    ) -> Self {
        Self {
            gateway,
            tls: tls.map(|config| {
                // Clients need not name a protocol, but none may name another one (PostgreSQL 17).
                let mut config = Arc::unwrap_or_clone(config);
                config.alpn_protocols = vec![ALPN.to_vec()];
                TlsAcceptor::from(Arc::new(config))
            }),
            require_tls,
            sessions: AtomicU64::new(1),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.gateway.limits()
    }

    /// Everything of one connection.
    pub(super) async fn welcome(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shutdown: watch::Receiver<bool>,
    ) {
        let _without_it_only_slower = stream.set_nodelay(true);
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(15));
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(%error, "keepalive not set");
        }
        // The process id and secret live as long as the connection; 3.2 clients get a longer secret.
        let limit = self.gateway.limits().login();
        let Ok(entered) = tokio::time::timeout(limit, self.enter(stream, peer)).await else {
            tracing::debug!(%peer, "login not finished in time");
            return;
        };
        let Some((logged_in, registration)) = entered else {
            return;
        };
        let LoggedIn {
            client,
            caller,
            settings,
            facts,
        } = logged_in;
        let session = Session::new(Start {
            gateway: Arc::clone(&self.gateway),
            client,
            caller,
            facts,
            slot: Arc::clone(&registration.slot),
            settings,
        });
        session.run(shutdown).await;
        drop(registration);
    }

    /// Serves a connection beyond the limit of clients if it brings a cancel request: who waits for a place may be
    /// waiting for just that.
    pub(super) async fn only_cancel(&self, stream: TcpStream, peer: SocketAddr) {
        let first = self.first_packets(stream, peer);
        match tokio::time::timeout(CANCEL_PATIENCE, first).await {
            Ok(Some(First::Cancel(request))) => self.cancel(*request).await,
            Ok(Some(First::Opened(mut opened))) => {
                self.record_refused(&opened.start, peer, FaultKind::TooManyClients.slug());
                say_goodbye(&mut opened.transport, &too_many()).await;
            }
            Ok(None) | Err(_) => {}
        }
    }

    async fn cancel(&self, request: CancelRequest) {
        let CancelRequest {
            process,
            secret,
            transport,
        } = request;
        self.gateway.sessions().cancel(process, &secret).await;
        drop(transport);
    }

    /// A login that was refused leaves a line in the audit.
    fn record_refused(&self, start: &StartUp, peer: SocketAddr, reason: &'static str) {
        let sent = |name: &str| {
            let found = start.parameters.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let delegate = opening(start, peer, false)
            .ok()
            .and_then(|(opening, _)| opening.delegate);
        self.gateway.login_refused(&LoginRefused {
            request_id: RequestId::next(),
            peer: &peer.to_string(),
            application_name: sent("application_name"),
            login: sent("user").unwrap_or_default(),
            user_id: delegate.as_deref(),
            database: sent("database"),
            reason,
        });
    }

    async fn enter(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<(LoggedIn, Registration<'_>)> {
        let opened = match self.first_packets(stream, peer).await? {
            First::Opened(opened) => *opened,
            First::Cancel(request) => {
                self.cancel(*request).await;
                return None;
            }
        };
        let Opened {
            transport,
            received,
            start,
        } = opened;
        let tls = matches!(transport, Either::Right(_));
        let limits = self.gateway.limits();
        let mut client = Client::new(transport, received, limits.startup_bytes_max);
        match self.log_in(&mut client, &start, peer, tls).await {
            Ok((caller, settings, facts)) => {
                let registration = self.greet(&mut client, &start, &settings).await?;
                client.limit_frames(self.gateway.limits().frame_bytes_max);
                let logged_in = LoggedIn {
                    client,
                    caller,
                    settings,
                    facts,
                };
                Some((logged_in, registration))
            }
            Err(Failed::Told(told)) => {
                self.record_refused(&start, peer, told.slug);
                Answer::new(client.out_mut()).error(&told);
                let _best_effort = client.flush().await;
                None
            }
            Err(Failed::Left) => None,
        }
    }

    /// SSLRequest and GSSENCRequest, each at most once, then StartupMessage or CancelRequest.
    async fn first_packets(&self, stream: TcpStream, peer: SocketAddr) -> Option<First> {
        let (mut transport, direct) = self.first_byte(stream).await?;
        let mut received = BytesMut::new();
        let (mut tls_asked, mut gss_asked) = (direct, direct);
        let bytes_max = self.gateway.limits().startup_bytes_max;
        loop {
            let packet = match start_up::cut_packet(&mut received, bytes_max) {
                Ok(packet) => packet,
                Err(told) => {
                    say_goodbye(&mut transport, &told).await;
                    return None;
                }
            };
            match packet {
                None => {
                    received.reserve(1024);
                    if transport.read_buf(&mut received).await.ok()? == 0 {
                        return None;
                    }
                }
                // Sent in clear behind the request: whoever did that is not the TLS client, and its bytes
                // must not be taken for it (CVE-2021-23214).
                Some(Packet::Tls | Packet::GssEncryption) if !received.is_empty() => {
                    let message = "received unencrypted data after a request for encryption";
                    say_goodbye(&mut transport, &Told::violation(message)).await;
                    return None;
                }
                Some(Packet::Tls) if !tls_asked => {
                    tls_asked = true;
                    transport = self.start_tls(transport).await?;
                }
                Some(Packet::GssEncryption) if !gss_asked => {
                    gss_asked = true;
                    transport.write_all(b"N").await.ok()?;
                }
                Some(Packet::Tls | Packet::GssEncryption) => {
                    let told = Told::violation("encryption was asked for already");
                    say_goodbye(&mut transport, &told).await;
                    return None;
                }
                Some(Packet::Cancel { process, secret }) => {
                    return Some(First::Cancel(Box::new(CancelRequest {
                        process,
                        secret,
                        transport,
                    })));
                }
                Some(Packet::StartUp(start)) => {
                    if self.require_tls && matches!(transport, Either::Left(_)) {
                        let message = "this server takes encrypted connections only";
                        let told = Told::violation(message).sqlstate("28000");
                        self.record_refused(&start, peer, "tls_required");
                        say_goodbye(&mut transport, &told).await;
                        return None;
                    }
                    return Some(First::Opened(Box::new(Opened {
                        transport,
                        received,
                        start,
                    })));
                }
            }
        }
    }

    async fn start_tls(&self, transport: Transport) -> Option<Transport> {
        match (transport, &self.tls) {
            (Either::Left(mut stream), Some(acceptor)) => {
                stream.write_all(b"S").await.ok()?;
                match acceptor.accept(stream).await {
                    Ok(stream) => Some(Either::Right(Box::new(stream))),
                    Err(error) => {
                        tracing::debug!(%error, "TLS handshake failed");
                        None
                    }
                }
            }
            (mut transport, _) => {
                transport.write_all(b"N").await.ok()?;
                Some(transport)
            }
        }
    }

    /// The transport, and whether it is encrypted from its first byte on: a TLS record instead of a packet (PostgreSQL
    /// 17, `sslnegotiation=direct`).
    async fn first_byte(&self, stream: TcpStream) -> Option<(Transport, bool)> {
        let mut first = [0];
        stream.peek(&mut first).await.ok()?;
        match first {
            [TLS_HANDSHAKE] => Some((self.direct_tls(stream).await?, true)),
            _ => Some((Either::Left(stream), false)),
        }
    }

    /// TLS without having been asked whether it is spoken. The client has to say that it means PostgreSQL by it (ALPN):
    /// what was meant for another protocol is not taken for ours.
    async fn direct_tls(&self, stream: TcpStream) -> Option<Transport> {
        let stream = match self.tls.as_ref()?.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return None;
            }
        };
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            tracing::debug!("direct TLS without the ALPN protocol \"postgresql\"");
            return None;
        }
        Some(Either::Right(Box::new(stream)))
    }

    async fn log_in(
        &self,
        client: &mut Client,
        start: &StartUp,
        peer: SocketAddr,
        tls: bool,
    ) -> Result<(Caller, Settings, SessionFacts), Failed> {
        if let Some(negotiation) = start.negotiation() {
            client.out_mut().extend_from_slice(&negotiation);
        }
        let (opening, wanted) = opening(start, peer, tls)?;
        let authenticator = self.gateway.authenticator();
        let caller = auth::authenticate(client, &authenticator, &opening).await?;
        // From here on the client has proved who it is and may be told more.
        if opening.database != self.gateway.database() {
            let message = format!("database \"{}\" does not exist", opening.database);
            let told = Told::violation(message).sqlstate("3D000");
            let told = told.with(|told| told.slug = "database_unknown");
            return Err(Failed::Told(told));
        }
        let tell = |error: Error| Failed::Told(Told::fatal(&error));
        self.gateway
            .standing(&caller, &mut Memory::default())
            .await
            .map_err(tell)?;
        let server = self
            .gateway
            .server_parameters()
            .await
            .map_err(|fault| tell(fault.into()))?;
        let mut settings = Settings::new(&server, caller.login(), self.limits());
        for (name, value) in &wanted {
            settings
                .start_up(name, value)
                .map_err(|told| Failed::Told(told.with(|told| told.fatal = true)))?;
        }
        let facts = SessionFacts::new(
            self.sessions.fetch_add(1, Ordering::Relaxed),
            &peer.to_string(),
            opening.application_name.as_deref(),
        );
        Ok((caller, settings, facts))
    }

    /// AuthenticationOk, ParameterStatus, BackendKeyData, ReadyForQuery.
    async fn greet(
        &self,
        client: &mut Client,
        start: &StartUp,
        settings: &Settings,
    ) -> Option<Registration<'_>> {
        let registration = self
            .gateway
            .sessions()
            .register(if start.agreed_minor() >= 2 { 32 } else { 4 });
        let out = client.out_mut();
        auth::request(out, 0, &[]);
        for (name, value) in settings.reported() {
            Answer::new(out).parameter(name, &value);
        }
        out.put_u8(b'K');
        out.put_u32(u32::try_from(registration.secret.len() + 8).unwrap_or(u32::MAX));
        out.put_i32(registration.process);
        out.put_slice(&registration.secret);
        Answer::new(out).ready(b'I');
        client.flush().await.ok()?;
        Some(registration)
    }
}

/// Who says to connect, and the settings asked for.
fn opening(
    start: &StartUp,
    peer: SocketAddr,
    tls: bool,
) -> Result<(Opening, Vec<(String, String)>), Told> {
    let mut opening = Opening {
        user: String::new(),
        database: String::new(),
        delegate: None,
        tls,
        peer,
        application_name: None,
    };
    let mut wanted = Vec::new();
    for (name, value) in &start.parameters {
        match name.as_str() {
            "user" => opening.user.clone_from(value),
            "database" => opening.database.clone_from(value),
            "options" => wanted.extend(start_up::options(value)?),
            "replication" => match value.as_str() {
                "false" | "off" | "no" | "0" => {}
                _ => return Err(refused("0A000", "replication is not supported")),
            },
            _ => wanted.push((name.clone(), value.clone())),
        }
    }
    wanted.retain(|(name, value)| {
        let delegate = name == "rowgate.user_id";
        if delegate {
            opening.delegate = Some(value.clone());
        }
        if name == "application_name" {
            opening.application_name = Some(value.clone());
        }
        !delegate
    });
    if opening.user.is_empty() {
        return Err(refused("28000", "no user name specified in startup packet"));
    }
    if opening.database.is_empty() {
        opening.database.clone_from(&opening.user);
    }
    Ok((opening, wanted))
}

fn refused(sqlstate: &'static str, message: &str) -> Told {
    Told::violation(message).sqlstate(sqlstate)
}
