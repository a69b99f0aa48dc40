//! Bytes that have been received and are still to be looked at.

use std::ops::{Deref, DerefMut};

/// Received bytes: a vector, and how much of it has been dealt with. `bytes::BytesMut`, which can be cut and shared, does
/// the same at several times the cost for each frame, and nothing here is cut or shared.
#[derive(Debug, Default)]
pub struct Received {
    bytes: Vec<u8>,
    /// INVARIANT: `start <= bytes.len()`, and both are 0 when nothing is left.
    start: usize,
}

impl Received {
    /// The first `length` bytes, or all there are, have been dealt with.
    pub fn advance(&mut self, length: usize) {
        self.start = self.start.saturating_add(length);
        if self.start >= self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// To be read into, behind what is there: it has room for at least `length` bytes.
    pub fn room(&mut self, length: usize) -> &mut Vec<u8> {
        if self.start > 0 && self.bytes.capacity() - self.bytes.len() < length {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.reserve(length);
        &mut self.bytes
    }

    /// Takes the first `length` bytes, or all there are.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.get(..length).unwrap_or(self).to_vec();
        self.advance(length);
        taken
    }

    /// Lets go of memory beyond `bytes`, where nothing is left in it.
    pub fn trim(&mut self, bytes: usize) {
        if self.is_empty() && self.bytes.capacity() > bytes {
            self.bytes = Vec::new();
        }
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl DerefMut for Received {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }
}

impl From<&[u8]> for Received {
    fn from(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            start: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Received;

    #[test]
    fn what_is_left_stays_in_order_while_more_comes() {
        let mut received = Received::from(&b"abcdef"[..]);
        assert_eq!(received.take(2), b"ab");
        received.advance(1);
        for _ in 0..1_000 {
            received.room(100).extend_from_slice(b"def");
            assert_eq!(received.take(3), b"def");
        }
        assert_eq!(&received[..], b"def");
        // What is left is moved, not kept behind what has been dealt with.
        assert!(received.room(1).capacity() < 1_000);
    }

    #[test]
    fn nothing_is_left_beyond_the_end() {
        let mut received = Received::from(&b"abc"[..]);
        assert_eq!(received.take(9), b"abc");
        received.advance(usize::MAX);
        assert!(received.is_empty());
        received.room(1).push(b'x');
        assert_eq!(&received[..], b"x");
    }
}
