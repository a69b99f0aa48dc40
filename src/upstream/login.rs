//! Connecting and logging in to the database: TLS, start-up packet, SCRAM-SHA-256.
//!
//! The session is pinned here (DESIGN section 3): what would change how SQL is read, or let it write,
//! is set in the start-up packet, which takes precedence over the role's and the database's settings.

use super::binding;
use super::cancel::CancelKey;
use super::stream::Stream;
use bytes::{Buf, BytesMut};
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// Largest frame believed before the login is over.
const LOGIN_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host name, address, or the folder of a Unix socket (starts with `/`).
    pub host: String,
    /// TCP port, also part of the Unix socket's name.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// The login.
    pub user: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// TLS, verified against this; `None` = none.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// How long connecting and logging in may take together.
    pub connect_timeout: Duration,
    /// `statement_timeout`, in milliseconds; 0 = none.
    pub statement_ms_max: u64,
    /// `lock_timeout`, in milliseconds; 0 = none.
    pub lock_ms_max: u64,
    /// `idle_in_transaction_session_timeout`, in milliseconds; 0 = none.
    pub idle_in_transaction_ms_max: u64,
}

/// What a login yields.
pub(super) struct LoggedIn {
    pub(super) stream: Stream,
    pub(super) key: CancelKey,
    pub(super) parameters: Vec<(String, String)>,
}

impl Target {
    /// Opens the byte stream, with TLS if configured.
    pub(super) async fn open(&self) -> io::Result<Stream> {
        if self.host.starts_with('/') {
            let path = format!("{}/.s.PGSQL.{}", self.host, self.port);
            return Ok(Either::Left(UnixStream::connect(path).await?));
        }
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10));
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        let Some(config) = &self.tls else {
            return Ok(Either::Right(Either::Left(stream)));
        };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await?;
        // Exactly one byte: anything behind it was sent by someone who cannot be the TLS peer.
        if stream.read_u8().await? != b'S' {
            return Err(io::Error::other("the database does not offer TLS"));
        }
        let name = rustls::pki_types::ServerName::try_from(self.host.clone())
            .map_err(|_| io::Error::other("the database's host is not a name TLS can check"))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, stream).await?;
        Ok(Either::Right(Either::Right(Box::new(stream))))
    }

    /// Connects and logs in.
    pub(super) async fn login(&self) -> io::Result<LoggedIn> {
        tokio::time::timeout(self.connect_timeout, self.login_unbounded())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no login in time"))?
    }

    async fn login_unbounded(&self) -> io::Result<LoggedIn> {
        let mut talk = Talk {
            stream: self.open().await?,
            buffer: BytesMut::with_capacity(1024),
        };
        let mut out = BytesMut::new();
        let statement = self.statement_ms_max.to_string();
        let lock = self.lock_ms_max.to_string();
        let idle = self.idle_in_transaction_ms_max.to_string();
        frontend::startup_message(
            [
                ("user", self.user.as_str()),
                ("database", self.database.as_str()),
                ("application_name", "rowgate"),
                ("client_encoding", "UTF8"),
                ("default_transaction_read_only", "on"),
                ("search_path", ""),
                ("standard_conforming_strings", "on"),
                ("row_security", "on"),
                ("statement_timeout", statement.as_str()),
                ("lock_timeout", lock.as_str()),
                ("idle_in_transaction_session_timeout", idle.as_str()),
                // What output looks like, pinned so that every connection of the pool agrees.
                ("DateStyle", "ISO, MDY"),
                ("IntervalStyle", "postgres"),
                ("bytea_output", "hex"),
                ("extra_float_digits", "1"),
                // Compiling costs 50 ms and more as soon as a barrier view makes an estimate large;
                // the short reads that come through here never earn it back.
                ("jit", "off"),
            ],
            &mut out,
        )?;
        talk.stream.write_all(&out).await?;
        self.authenticate(&mut talk).await?;
        talk.finish().await
    }

    async fn authenticate(&self, talk: &mut Talk) -> io::Result<()> {
        let mut scram: Option<ScramSha256> = None;
        loop {
            let mut body = talk.expect(b'R').await?;
            let kind = body.try_get_i32().map_err(io::Error::other)?;
            let mut out = BytesMut::new();
            match (kind, &mut scram) {
                (0, None) => return Ok(()),
                (10, None) => {
                    let Some((mechanism, binding)) = mechanism(&body, &talk.stream) else {
                        return Err(io::Error::other("no SCRAM-SHA-256 offered"));
                    };
                    let Some(password) = &self.password else {
                        return Err(io::Error::other("the database asks for a password"));
                    };
                    let password = password.expose_secret().as_bytes();
                    let started = scram.insert(ScramSha256::new(password, binding));
                    frontend::sasl_initial_response(mechanism, started.message(), &mut out)?;
                }
                (11, Some(scram)) => {
                    scram.update(&body)?;
                    frontend::sasl_response(scram.message(), &mut out)?;
                }
                (12, Some(scram)) => {
                    scram.finish(&body)?;
                    talk.expect_ok().await?;
                    return Ok(());
                }
                // Cleartext and MD5 would show the password, or what serves as one, to whoever
                // answers at that address.
                (3 | 5, _) => {
                    return Err(io::Error::other(
                        "the database asks for a weak password method: use scram-sha-256 in pg_hba.conf",
                    ));
                }
                _ => return Err(io::Error::other("unexpected authentication request")),
            }
            talk.stream.write_all(&out).await?;
        }
    }
}

/// The mechanism to use of those offered, and what ties it to the TLS connection, if that can be done.
fn mechanism(offered: &[u8], stream: &Stream) -> Option<(&'static str, ChannelBinding)> {
    let offers = |name: &str| {
        offered
            .split(|byte| *byte == 0)
            .any(|o| o == name.as_bytes())
    };
    let end_point = match stream {
        Either::Right(Either::Right(stream)) => binding::end_point(stream),
        Either::Right(Either::Left(_)) | Either::Left(_) => None,
    };
    match end_point {
        Some(hash) if offers(SCRAM_SHA_256_PLUS) => Some((
            SCRAM_SHA_256_PLUS,
            ChannelBinding::tls_server_end_point(hash),
        )),
        // Says that we could: whoever took the offer out in between is found out.
        Some(_) if offers(SCRAM_SHA_256) => Some((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None if offers(SCRAM_SHA_256) => Some((SCRAM_SHA_256, ChannelBinding::unsupported())),
        _ => None,
    }
}

/// The login's conversation, frame by frame.
struct Talk {
    stream: Stream,
    buffer: BytesMut,
}

impl Talk {
    async fn frame(&mut self) -> io::Result<(u8, BytesMut)> {
        loop {
            if let Some(header) = postgres_protocol::message::backend::Header::parse(&self.buffer)?
            {
                let length = usize::try_from(header.len()).map_err(io::Error::other)?;
                if length > LOGIN_FRAME_BYTES_MAX {
                    return Err(io::Error::other("frame too large during login"));
                }
                if self.buffer.len() > length {
                    let mut frame = self.buffer.split_to(length + 1);
                    frame.advance(5);
                    return Ok((header.tag(), frame));
                }
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn expect(&mut self, wanted: u8) -> io::Result<BytesMut> {
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                tag if tag == wanted => return Ok(body),
                b'N' => {}
                b'E' => return Err(error_of(&body)),
                _ => return Err(io::Error::other("unexpected message during login")),
            }
        }
    }

    async fn expect_ok(&mut self) -> io::Result<()> {
        match self.expect(b'R').await?.try_get_i32() {
            Ok(0) => Ok(()),
            _ => Err(io::Error::other("login not confirmed")),
        }
    }

    /// ParameterStatus and BackendKeyData up to the first ReadyForQuery.
    async fn finish(mut self) -> io::Result<LoggedIn> {
        let mut key = None;
        let mut parameters = Vec::new();
        loop {
            let (tag, mut body) = self.frame().await?;
            match tag {
                b'S' => {
                    let mut parts = body[..].split(|byte| *byte == 0);
                    if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                        parameters.push((
                            String::from_utf8_lossy(name).into_owned(),
                            String::from_utf8_lossy(value).into_owned(),
                        ));
                    }
                }
                b'K' => {
                    let process = body.try_get_i32().map_err(io::Error::other)?;
                    let secret = body.try_get_i32().map_err(io::Error::other)?;
                    key = Some(CancelKey { process, secret });
                }
                b'N' => {}
                b'Z' => break,
                b'E' => return Err(error_of(&body)),
                _ => return Err(io::Error::other("unexpected message after login")),
            }
        }
        let key = key.ok_or_else(|| io::Error::other("the database sent no cancel key"))?;
        Ok(LoggedIn {
            stream: self.stream,
            key,
            parameters,
        })
    }
}

/// SQLSTATE and message of an ErrorResponse, for the log.
fn error_of(body: &[u8]) -> io::Error {
    let field = |code: u8| {
        body.split(|byte| *byte == 0)
            .find(|part| part.first() == Some(&code))
            .and_then(|part| part.get(1..))
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default()
    };
    io::Error::other(format!("{} {}", field(b'C'), field(b'M')))
}
