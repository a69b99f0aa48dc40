//! Between the relay and the answer's body: takes the database's frames, gives encoded pieces, and holds the database
//! back while nobody takes them.
//!
//! Bounds: what the relay keeps ([`crate::upstream::relay`]), one row, one piece being filled and [`PIECES_MAX`] filled.

use super::encode::Encoder;
use crate::upstream::{Broken, Downstream, Frame, cut};
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{OwnedPermit, Sender};

/// Pieces that wait to be taken.
pub(super) const PIECES_MAX: usize = 2;
/// A piece is sent from this size on, or when nothing more is to be had right now.
const PIECE_BYTES: usize = 32 * 1024;
/// The largest row.
const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;

type Reserving = Pin<Box<dyn Future<Output = Result<OwnedPermit<Bytes>, SendError<()>>> + Send>>;

/// The client, as the relay sees it.
pub(super) struct Pipe {
    pub(super) encoder: Encoder,
    sender: Sender<Bytes>,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    reserving: Option<Reserving>,
    /// From the relay.
    out: Vec<u8>,
    /// Frames, the last of them perhaps not whole.
    frames: BytesMut,
    pub(super) piece: Vec<u8>,
    /// A row has been encoded.
    rows: bool,
    /// A piece has been handed over: it is too late for another status.
    begun: bool,
    pub(super) broken: Option<Broken>,
}

impl Pipe {
    pub(super) fn new(encoder: Encoder, sender: Sender<Bytes>) -> Self {
        let watched = sender.clone();
        Self {
            encoder,
            sender,
            gone: Box::pin(async move { watched.closed().await }),
            reserving: None,
            out: Vec::new(),
            frames: BytesMut::new(),
            piece: Vec::new(),
            rows: false,
            begun: false,
            broken: None,
        }
    }

    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// Encodes the whole frames there are, up to a piece. What is not needed for that stays with the relay, which
    /// reads no more from the database while it has much.
    fn encode(&mut self) -> Result<(), Broken> {
        while self.piece.len() < PIECE_BYTES {
            match cut(&mut self.frames, ROW_BYTES_MAX)? {
                None if self.out.is_empty() => break,
                None => {
                    self.frames.extend_from_slice(&self.out);
                    self.out.clear();
                }
                Some(Frame::Other) => {}
                Some(Frame::Columns(columns)) => self.encoder.head(&mut self.piece, columns),
                Some(Frame::Row(row)) => {
                    let values = row.values().ok_or(Broken::Malformed)?;
                    if !self.encoder.row(&mut self.piece, &values) {
                        return Err(Broken::Malformed);
                    }
                    self.rows = true;
                }
            }
        }
        Ok(())
    }

    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let reserving = self
            .reserving
            .get_or_insert_with(|| Box::pin(self.sender.clone().reserve_owned()));
        let permit = ready!(reserving.as_mut().poll(cx));
        self.reserving = None;
        permit
            .map_err(gone)?
            .send(std::mem::take(&mut self.piece).into());
        self.begun = true;
        Poll::Ready(Ok(()))
    }

    /// Encodes all there is and hands it over, but for the last part of a piece.
    fn poll_rows(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Err(broken) = self.encode() {
                self.broken = Some(broken);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if self.piece.len() < PIECE_BYTES {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_hand_over(cx))?;
        }
    }

    /// Puts the rows that are left in front of whatever is appended to the piece.
    ///
    /// # Errors
    /// When nobody takes them, or they cannot be read.
    pub(super) async fn finish_rows(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_rows(cx)).await
    }

    /// Hands over the rest.
    ///
    /// # Errors
    /// When nobody takes it.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_hand_over(cx)).await
    }
}

impl Downstream for Pipe {
    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_rows(cx))?;
        // Before the first row it is not sure that there will be an answer.
        if self.rows && !self.piece.is_empty() {
            ready!(self.poll_hand_over(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gone.as_mut().poll(cx)
    }
}
