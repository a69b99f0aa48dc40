//! The client's messages (PostgreSQL manual, section 55.7), each read from its own body alone, to its last
//! byte.

use super::told::Told;
use crate::upstream::Binding;
use std::ffi::CStr;

/// Parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parse {
    /// The statement's name; empty = the unnamed one.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The declared parameter types; 0 = not said.
    pub types: Vec<u32>,
}

/// Bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The portal's name; empty = the unnamed one.
    pub portal: String,
    /// The statement's name.
    pub statement: String,
    /// Parameters and formats.
    pub binding: Binding,
}

/// A message of a logged-in client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Bind.
    Bind(Bind),
    /// Close of a portal.
    ClosePortal(String),
    /// Close of a prepared statement.
    CloseStatement(String),
    /// Describe of a portal.
    DescribePortal(String),
    /// Describe of a prepared statement.
    DescribeStatement(String),
    /// Execute.
    Execute {
        /// The portal.
        portal: String,
        /// Most rows; zero and below = all.
        rows_max: i32,
    },
    /// Flush.
    Flush,
    /// FunctionCall, and COPY's messages: not served.
    NotServed(&'static str),
    /// Parse.
    Parse(Parse),
    /// Query.
    Query(String),
    /// Sync.
    Sync,
    /// Terminate.
    Terminate,
}

impl Message {
    /// Reads a message from its body.
    ///
    /// # Errors
    /// A violation of the protocol (fatal), or a text that is not UTF-8.
    pub fn read(tag: u8, body: &[u8]) -> Result<Self, Told> {
        let mut body = Body { rest: body };
        let message = match tag {
            b'B' => Message::Bind(body.bind()?),
            b'C' => match body.byte()? {
                b'P' => Message::ClosePortal(body.text()?),
                b'S' => Message::CloseStatement(body.text()?),
                _ => return Err(Told::violation("invalid CLOSE message subtype")),
            },
            b'D' => match body.byte()? {
                b'P' => Message::DescribePortal(body.text()?),
                b'S' => Message::DescribeStatement(body.text()?),
                _ => return Err(Told::violation("invalid DESCRIBE message subtype")),
            },
            b'E' => Message::Execute {
                portal: body.text()?,
                rows_max: body.int32()?,
            },
            b'F' => return Ok(Message::NotServed("function calls")),
            b'H' => Message::Flush,
            b'P' => Message::Parse(body.parse()?),
            b'Q' => Message::Query(body.text()?),
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'c' | b'd' | b'f' => return Ok(Message::NotServed("COPY data")),
            tag => {
                let message = format!("invalid message type {tag}");
                return Err(Told::violation(message));
            }
        };
        body.end()?;
        Ok(message)
    }
}

/// What is left of a message's body.
struct Body<'a> {
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Told> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| Told::violation("insufficient data left in message"))?;
        self.rest = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Told> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    fn int16(&mut self) -> Result<i16, Told> {
        Ok(self.take(2)?.try_into().map_or(0, i16::from_be_bytes))
    }

    fn int32(&mut self) -> Result<i32, Told> {
        Ok(self.take(4)?.try_into().map_or(0, i32::from_be_bytes))
    }

    /// A zero-terminated string. The message is read to its end before a wrong encoding is told.
    fn text(&mut self) -> Result<String, Told> {
        let text = CStr::from_bytes_until_nul(self.rest)
            .map_err(|_| Told::violation("invalid string in message"))?;
        self.take(text.count_bytes() + 1)?;
        match text.to_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(
                Told::new("22021", "invalid byte sequence for encoding \"UTF8\"")
                    .hint("Send text as UTF-8."),
            ),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, Told> {
        let count = usize::from(self.int16()?.cast_unsigned());
        let bytes = self.take(count.saturating_mul(2))?;
        let formats: Vec<i16> = bytes
            .chunks_exact(2)
            .map(|pair| pair.try_into().map_or(0, i16::from_be_bytes))
            .collect();
        match formats.iter().find(|format| !matches!(format, 0 | 1)) {
            None => Ok(formats),
            Some(format) => Err(Told::violation(format!(
                "unsupported format code: {format}"
            ))),
        }
    }

    fn parse(&mut self) -> Result<Parse, Told> {
        let name = self.text()?;
        let text = self.text()?;
        let count = usize::from(self.int16()?.cast_unsigned());
        let types = self
            .take(count.saturating_mul(4))?
            .chunks_exact(4)
            .map(|oid| oid.try_into().map_or(0, u32::from_be_bytes))
            .collect();
        Ok(Parse { name, text, types })
    }

    fn bind(&mut self) -> Result<Bind, Told> {
        let portal = self.text()?;
        let statement = self.text()?;
        let parameter_formats = self.formats()?;
        let parameter_count = self.int16()?.cast_unsigned();
        let start = self.rest;
        for _ in 0..parameter_count {
            let length = self.int32()?;
            match usize::try_from(length) {
                Ok(length) => {
                    self.take(length)?;
                }
                Err(_) if length == -1 => {}
                Err(_) => return Err(Told::violation("invalid parameter length")),
            }
        }
        let parameters = start
            .get(..start.len() - self.rest.len())
            .unwrap_or_default()
            .to_vec();
        let result_formats = self.formats()?;
        let formats = parameter_formats.len();
        if formats > 1 && formats != usize::from(parameter_count) {
            return Err(Told::violation(format!(
                "bind message has {formats} parameter formats but {parameter_count} parameters"
            )));
        }
        Ok(Bind {
            portal,
            statement,
            binding: Binding {
                parameter_formats,
                parameters,
                parameter_count,
                result_formats,
            },
        })
    }

    fn end(&self) -> Result<(), Told> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Told::violation("invalid message format"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_hide_behind_a_message() {
        // A Sync with a Query inside its body (STACK S7), and strings with something behind them.
        for (tag, body) in [
            (b'S', &b"Q\0\0\0\x0dSELECT 1\0"[..]),
            (b'H', b"x"),
            (b'X', b"\0"),
            (b'Q', b"SELECT 1\0SELECT 2\0"),
            (b'E', b"\0\0\0\0\0extra"),
            (b'D', b"S\0\0"),
        ] {
            let told = Message::read(tag, body).unwrap_err();
            assert!(told.fatal, "{}", char::from(tag));
        }
    }

    #[test]
    fn malformed_bodies_are_violations_not_panics() {
        for (tag, body) in [
            (b'Q', &b""[..]),
            (b'Q', b"no end"),
            (b'P', b"\0SELECT 1\0"),
            (b'P', b"\0SELECT 1\0\xff\xff"),
            (b'B', b"\0\0\0\x01"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'B', b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0"),
            (b'B', b"\0\0\0\x01\0\x07\0\0\0\0"),
            (b'D', b""),
            (b'D', b"X\0"),
            (b'C', b"?\0"),
            (b'E', b"\0\0"),
            (b'!', b""),
        ] {
            let told = Message::read(tag, body).unwrap_err();
            assert!(told.fatal, "{} {body:?}", char::from(tag));
        }
    }

    #[test]
    fn every_prefix_of_a_bind_is_refused_and_the_whole_is_read() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02hi\xff\xff\xff\xff\0\x01\0\0";
        for end in 0..body.len() {
            assert!(Message::read(b'B', &body[..end]).is_err(), "{end}");
        }
        let Ok(Message::Bind(bind)) = Message::read(b'B', body) else {
            panic!("the whole message is valid");
        };
        assert_eq!(bind.portal, "p");
        assert_eq!(bind.statement, "s");
        assert_eq!(bind.binding.parameter_formats, [1]);
        assert_eq!(bind.binding.parameter_count, 2);
        assert_eq!(bind.binding.parameters, b"\0\0\0\x02hi\xff\xff\xff\xff");
        assert_eq!(bind.binding.result_formats, [0]);
    }

    #[test]
    fn a_text_that_is_not_utf8_leaves_the_session_usable() {
        let told = Message::read(b'Q', b"SELECT '\xff'\0").unwrap_err();
        assert!(!told.fatal);
        assert_eq!(told.sqlstate, "22021");
    }
}
