//! A minimal client of the PostgreSQL protocol that keeps every byte it was sent, so that a test can
//! look for a hidden value anywhere: rows, errors, notices, names.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that came back for what was sent.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answer {
    pub(crate) messages: Vec<(u8, Vec<u8>)>,
    /// The server closed the connection.
    pub(crate) closed: bool,
}

/// An ErrorResponse or NoticeResponse.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Answer {
    pub(crate) fn contains(&self, word: &str) -> bool {
        let word = word.as_bytes();
        // Binary results and every other body: the bytes themselves.
        self.messages
            .iter()
            .any(|(_, body)| body.windows(word.len()).any(|w| w == word))
    }

    pub(crate) fn around(&self, word: &str) -> String {
        self.messages
            .iter()
            .map(|(kind, body)| format!("{}: {}", *kind as char, String::from_utf8_lossy(body)))
            .find(|text| text.contains(word))
            .unwrap_or_default()
            .replace('\0', " ")
    }

    pub(crate) fn error(&self) -> Option<Fields> {
        let (_, body) = self.messages.iter().find(|(kind, _)| *kind == b'E')?;
        Some(fields(body))
    }

    /// A field of the ErrorResponse.
    pub(crate) fn field(&self, code: u8) -> Option<String> {
        let (_, body) = self.messages.iter().find(|(kind, _)| *kind == b'E')?;
        let mut fields = body.split(|byte| *byte == 0);
        let field = fields.find(|field| field.first() == Some(&code))?;
        Some(String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The rows of every result, as text.
    pub(crate) fn rows(&self) -> Vec<Vec<Option<String>>> {
        self.messages
            .iter()
            .filter(|(kind, _)| *kind == b'D')
            .map(|(_, body)| row(body))
            .collect()
    }

    /// The columns of the last result: name and type OID.
    pub(crate) fn columns(&self) -> Vec<(String, u32)> {
        let Some((_, body)) = self.messages.iter().rev().find(|(kind, _)| *kind == b'T') else {
            return Vec::new();
        };
        let mut columns = Vec::new();
        let mut rest = &body[2..];
        while let Some(end) = rest.iter().position(|b| *b == 0) {
            let name = String::from_utf8_lossy(&rest[..end]).into_owned();
            let type_ = u32::from_be_bytes(rest[end + 7..end + 11].try_into().unwrap());
            columns.push((name, type_));
            rest = &rest[end + 19..];
        }
        columns
    }

    /// The transaction status of the last ReadyForQuery.
    pub(crate) fn status(&self) -> Option<u8> {
        let (_, body) = self.messages.iter().rev().find(|(kind, _)| *kind == b'Z')?;
        body.first().copied()
    }
}

fn fields(body: &[u8]) -> Fields {
    let mut found = Fields {
        code: String::new(),
        message: String::new(),
        hint: String::new(),
    };
    for part in body.split(|b| *b == 0) {
        let Some((kind, text)) = part.split_first() else {
            continue;
        };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => found.code = text,
            b'M' => found.message = text,
            b'H' => found.hint = text,
            _ => {}
        }
    }
    found
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let mut values = Vec::new();
    let mut rest = &body[2..];
    while rest.len() >= 4 {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        match usize::try_from(length) {
            Ok(length) => {
                values.push(Some(String::from_utf8_lossy(&rest[..length]).into_owned()));
                rest = &rest[length..];
            }
            Err(_) => values.push(None),
        }
    }
    values
}

/// `kind`, the length, `body`.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A StartupMessage of protocol 3.0.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = u32::try_from(body.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.extend(body);
    bytes
}

/// Parse, Bind, Describe, Execute and Sync of `sql`, without parameters, results in text.
pub(crate) fn extended(sql: &str) -> Vec<u8> {
    let mut bytes = frame(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
    bytes.extend(frame(b'B', b"\0\0\0\0\0\0\0\0"));
    bytes.extend(frame(b'D', b"P\0"));
    bytes.extend(frame(b'E', b"\0\0\0\0\0"));
    bytes.extend(frame(b'S', b""));
    bytes
}

pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    /// A socket without a login.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Logs in; `Err` holds what the server said instead.
    pub(crate) fn login(
        address: SocketAddr,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<Self, Answer> {
        Self::login_with(address, password, &[("user", user), ("database", database)])
    }

    /// Logs in with these start-up parameters.
    pub(crate) fn login_with(
        address: SocketAddr,
        password: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let mut client = Self::open(address);
        client.send(&startup(parameters));
        let seen = client.authenticate(password);
        if seen.status().is_some() {
            Ok(client)
        } else {
            Err(seen)
        }
    }

    /// Answers what the server asks for after a start-up packet, up to ReadyForQuery, an error or the end.
    pub(crate) fn authenticate(&mut self, password: &str) -> Answer {
        let mut seen = Answer::default();
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let Some((kind, body)) = self.message() else {
                seen.closed = true;
                return seen;
            };
            seen.messages.push((kind, body.clone()));
            match kind {
                b'E' | b'Z' => return seen,
                b'R' => match u32::from_be_bytes(body[..4].try_into().unwrap()) {
                    3 => self.send(&frame(b'p', &[password.as_bytes(), b"\0"].concat())),
                    10 => {
                        let first = scram.message();
                        let length = u32::try_from(first.len()).unwrap().to_be_bytes();
                        let name = SCRAM_SHA_256.as_bytes();
                        self.send(&frame(b'p', &[name, b"\0", &length, first].concat()));
                    }
                    11 => {
                        if scram.update(&body[4..]).is_err() {
                            return seen;
                        }
                        self.send(&frame(b'p', scram.message()));
                    }
                    12 => {
                        assert!(
                            scram.finish(&body[4..]).is_ok(),
                            "the server does not know the password"
                        );
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// The same socket once more, to send from another thread.
    pub fn half(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
        }
    }

    /// Sends bytes; a server that has hung up shows at the next read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
    }

    /// A simple query, up to ReadyForQuery or the end.
    pub(crate) fn simple(&mut self, sql: &str) -> Answer {
        self.send(&frame(b'Q', &[sql.as_bytes(), b"\0"].concat()));
        self.answer()
    }

    /// The same by the extended protocol.
    pub(crate) fn extended(&mut self, sql: &str) -> Answer {
        self.send(&extended(sql));
        self.answer()
    }

    /// What comes, up to ReadyForQuery, the end, or a COPY that asks for data (which is declined).
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        while let Some((kind, body)) = self.message() {
            answer.messages.push((kind, body));
            match kind {
                b'G' => self.send(&frame(b'f', b"no\0")),
                b'Z' => return answer,
                _ => {}
            }
        }
        answer.closed = true;
        answer
    }

    /// What comes until ReadyForQuery, the end, or half a second of silence (which is no end).
    pub(crate) fn drain(&mut self) -> Answer {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut answer = Answer::default();
        while let Some((kind, body)) = self.message() {
            answer.messages.push((kind, body));
            if kind == b'Z' {
                break;
            }
        }
        if answer.status().is_none() {
            let mut byte = [0];
            answer.closed =
                matches!(self.stream.read(&mut byte), Ok(0)) || self.stream.peer_addr().is_err();
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        answer
    }

    /// One message; `None` when the server has closed or said nothing in time.
    pub(crate) fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length.checked_sub(4)?];
        self.stream.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }
}
