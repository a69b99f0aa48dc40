//! The client's byte stream with its two buffers, and our own bounded framer over it.
//!
//! A frame is a type byte and a length that counts itself (PostgreSQL manual, section 55.7). The length is
//! checked before anything is buffered for it, and a frame is handed out whole and alone: what reads it
//! cannot reach into the next one.

use super::told::Told;
use crate::upstream::{Downstream, Received};
use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// Bytes read from the client at once.
const READ_BYTES: usize = 4 * 1024;
/// Most bytes read ahead while a pipeline runs, to notice that the client is gone.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// How the client is connected: plain TCP, or TLS over TCP.
pub type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A client, framed and buffered.
pub struct Client {
    stream: Transport,
    inbound: Received,
    out: Vec<u8>,
    frame_bytes_max: usize,
}

impl Client {
    /// A client whose frames may have up to `frame_bytes_max` bytes. `received` is what has been read
    /// from this same transport already.
    pub fn new(stream: Transport, received: BytesMut, frame_bytes_max: usize) -> Self {
        Self {
            stream,
            inbound: Received::from(&received[..]),
            out: Vec::new(),
            frame_bytes_max,
        }
    }

    /// Another limit from now on (after login).
    pub fn limit_frames(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// What waits to be sent.
    pub fn out_mut(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// When the client cannot be written to.
    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await?;
        self.trim();
        Ok(())
    }

    /// As [`Client::flush`], as far as it can be done at once; whether all of it was.
    ///
    /// # Errors
    /// As [`Client::flush`].
    pub async fn flush_at_once(&mut self) -> io::Result<bool> {
        // Pending, it has left a waker behind that wakes this task once too often.
        let sent = std::future::poll_fn(|cx| Poll::Ready(self.poll_send(cx))).await;
        let Poll::Ready(sent) = sent else {
            return Ok(false);
        };
        sent?;
        self.trim();
        Ok(true)
    }

    fn trim(&mut self) {
        if self.out.capacity() > AHEAD_BYTES_MAX {
            self.out = Vec::new();
        }
    }

    /// Receives more; false when the client has closed. Cancel safe.
    ///
    /// # Errors
    /// When the client cannot be read from.
    pub async fn read(&mut self) -> io::Result<bool> {
        self.inbound.trim(AHEAD_BYTES_MAX);
        let room = self.inbound.room(READ_BYTES);
        Ok(self.stream.read_buf(room).await? > 0)
    }

    /// The next frame, if all of it is here: type byte and body.
    ///
    /// # Errors
    /// A length below four or beyond the limit: the connection cannot go on.
    pub fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, Told> {
        self.read_frame(|tag, body| (tag, body.to_vec()))
    }

    /// As [`Client::frame`], with the body read where it stands and then dropped.
    ///
    /// # Errors
    /// As [`Client::frame`].
    pub fn read_frame<T>(&mut self, read: impl FnOnce(u8, &[u8]) -> T) -> Result<Option<T>, Told> {
        read_frame(&mut self.inbound, self.frame_bytes_max, read)
    }
}

/// Reads the frame at the front of `inbound` and drops it, if all of it is there.
fn read_frame<T>(
    inbound: &mut Received,
    frame_bytes_max: usize,
    read: impl FnOnce(u8, &[u8]) -> T,
) -> Result<Option<T>, Told> {
    let Some((tag, length)) = whole_frame(inbound, frame_bytes_max)? else {
        return Ok(None);
    };
    let message = read(tag, inbound.get(5..=length).unwrap_or_default());
    inbound.advance(length + 1);
    Ok(Some(message))
}

/// Type byte and length, which counts itself, of the frame at the front of `inbound`, if all of it is there.
fn whole_frame(inbound: &[u8], frame_bytes_max: usize) -> Result<Option<(u8, usize)>, Told> {
    let (Some(tag), Some(length)) = (inbound.first().copied(), inbound.get(1..5)) else {
        return Ok(None);
    };
    let length = <[u8; 4]>::try_from(length).map_or(0, i32::from_be_bytes);
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length >= 4)
        .ok_or_else(|| Told::violation("invalid message length"))?;
    if length > frame_bytes_max {
        return Err(Told::violation(format!(
            "a message of {length} bytes is longer than the limit of {frame_bytes_max}"
        )));
    }
    Ok((inbound.len() > length).then_some((tag, length)))
}

impl Downstream for Client {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) if sent >= self.out.len() => self.out.clear(),
                Poll::Ready(Ok(sent)) => drop(self.out.drain(..sent)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.inbound.len() < AHEAD_BYTES_MAX {
            let room = self.inbound.room(READ_BYTES);
            match pin!(self.stream.read_buf(room)).poll(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        // It has sent so much ahead that it is surely there; its going shows when it is written to.
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(inbound: &mut Received) -> Result<Option<(u8, Vec<u8>)>, Told> {
        read_frame(inbound, 100, |tag, body| (tag, body.to_vec()))
    }

    #[test]
    fn a_frame_is_cut_alone() {
        let mut bytes = Received::from(&b"S\0\0\0\x04Q\0\0\0\x06x\0"[..]);
        assert_eq!(frame(&mut bytes).unwrap(), Some((b'S', Vec::new())));
        assert_eq!(frame(&mut bytes).unwrap(), Some((b'Q', b"x\0".to_vec())));
        assert_eq!(frame(&mut bytes).unwrap(), None);
    }

    #[test]
    fn impossible_lengths_end_the_connection_before_anything_is_buffered() {
        for head in [
            &b"p\0\0\0\0"[..],
            b"p\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"Q\x7f\xff\xff\xff",
            b"Q\0\0\0\x65",
        ] {
            let told = frame(&mut Received::from(head)).unwrap_err();
            assert!(told.fatal);
            assert_eq!(told.sqlstate, "08P01");
        }
    }

    #[test]
    fn a_part_of_a_frame_waits() {
        for part in [&b""[..], b"Q", b"Q\0\0\0", b"Q\0\0\0\x06x"] {
            assert_eq!(frame(&mut Received::from(part)).unwrap(), None);
        }
    }
}
