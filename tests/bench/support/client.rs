//! A client that costs next to nothing, so that what is measured is what answers it.

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Where to connect, and as whom.
#[derive(Debug, Clone)]
pub struct Login {
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: String,
}

/// What an answer came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub rows: u64,
    pub bytes: u64,
}

/// A blocking connection; frames are looked at, not decoded.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Client {
    pub fn connect(login: &Login) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", login.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let patience = Some(Duration::from_secs(120));
        stream.set_read_timeout(patience).unwrap();
        let mut client = Self {
            stream,
            buffer: vec![0; 16 * 1024],
            start: 0,
            end: 0,
        };
        client.log_in(login);
        client
    }

    fn log_in(&mut self, login: &Login) {
        let mut out = bytes::BytesMut::new();
        let parameters = [
            ("user", login.user.as_str()),
            ("database", login.database.as_str()),
        ];
        frontend::startup_message(parameters, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
        let mut scram = ScramSha256::new(login.password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, body) = self.whole_frame();
            let mut out = bytes::BytesMut::new();
            match (tag, body.get(3)) {
                (b'Z', _) => return,
                (b'E', _) => panic!("login: {}", String::from_utf8_lossy(&body)),
                (b'R', Some(10)) => {
                    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out)
                        .unwrap();
                }
                (b'R', Some(11)) => {
                    scram.update(&body[4..]).unwrap();
                    frontend::sasl_response(scram.message(), &mut out).unwrap();
                }
                _ => continue,
            }
            self.stream.write_all(&out).unwrap();
        }
    }

    /// One frame and all of its body.
    fn whole_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(5);
        let length = u32::from_be_bytes(head[1..5].try_into().unwrap()) as usize;
        (head[0], self.take(length - 4))
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.end - self.start < length {
            self.fill();
        }
        let taken = self.buffer[self.start..self.start + length].to_vec();
        self.start += length;
        taken
    }

    /// Reads more behind what is there.
    fn fill(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        self.end += read;
    }

    /// A larger buffer, for large answers.
    pub fn with_buffer(mut self, bytes: usize) -> Self {
        self.buffer.resize(bytes, 0);
        self
    }

    /// Sends a simple query.
    pub fn send(&mut self, text: &str) {
        let mut out = bytes::BytesMut::new();
        frontend::query(text, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// A simple query, up to ReadyForQuery.
    pub fn query(&mut self, text: &str) -> Seen {
        self.send(text);
        self.answer()
    }

    /// Prepares a statement without parameters.
    pub fn prepare(&mut self, name: &str, text: &str) {
        let mut out = bytes::BytesMut::new();
        frontend::parse(name, text, [], &mut out).unwrap();
        frontend::sync(&mut out);
        self.stream.write_all(&out).unwrap();
        self.answer();
    }

    /// Runs a prepared statement, up to ReadyForQuery.
    pub fn execute(&mut self, name: &str) -> Seen {
        let mut out = bytes::BytesMut::new();
        let none = |(): (), _: &mut bytes::BytesMut| unreachable!();
        frontend::bind("", name, [], [], none, [], &mut out)
            .unwrap_or_else(|_| panic!("a bind without parameters"));
        frontend::execute("", 0, &mut out).unwrap();
        frontend::sync(&mut out);
        self.stream.write_all(&out).unwrap();
        self.answer()
    }

    /// What comes, up to ReadyForQuery.
    pub fn answer(&mut self) -> Seen {
        let mut seen = Seen::default();
        // Bytes of the current frame still to come.
        let mut skip = 0;
        loop {
            let here = self.end - self.start;
            if skip > 0 {
                let skipped = here.min(skip);
                self.start += skipped;
                skip -= skipped;
                if skip > 0 {
                    self.fill();
                }
                continue;
            }
            if here < 5 {
                self.fill();
                continue;
            }
            let head = &self.buffer[self.start..self.start + 5];
            let (tag, length) = (
                head[0],
                u32::from_be_bytes(head[1..5].try_into().unwrap()) as usize,
            );
            if tag == b'E' {
                let (_, body) = self.whole_frame();
                panic!("{}", String::from_utf8_lossy(&body).replace('\0', " "));
            }
            seen.rows += u64::from(tag == b'D');
            seen.bytes += length as u64 + 1;
            if tag == b'Z' {
                self.take(length + 1);
                return seen;
            }
            skip = length + 1;
        }
    }

    /// Reads once, at most `bytes`; how many came.
    pub fn sip(&mut self, bytes: usize) -> usize {
        let bytes = bytes.min(self.buffer.len());
        let read = self.stream.read(&mut self.buffer[..bytes]).unwrap();
        assert!(read > 0, "the server closed the connection");
        read
    }
}
