//! A byte stream to the database: TCP, a Unix socket, or TLS over TCP.

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A Unix socket, or plain TCP, or TLS over TCP.
pub(super) type Stream = Either<UnixStream, Either<TcpStream, Box<TlsStream<TcpStream>>>>;
