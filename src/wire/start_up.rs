//! Packets without a type byte, before login (PostgreSQL manual, section 55.7): SSLRequest, GSSENCRequest,
//! CancelRequest, StartupMessage.

use crate::session::Told;
use bytes::{Buf, BufMut, BytesMut};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// Newest minor version of protocol 3 that is spoken (longer cancel keys).
const MINOR_MAX: u16 = 2;
/// Longest secret key of protocol 3.2.
const SECRET_BYTES_MAX: usize = 256;

/// A packet before login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// CancelRequest.
    Cancel { process: i32, secret: Vec<u8> },
    /// GSSENCRequest.
    GssEncryption,
    /// SSLRequest.
    Tls,
    /// StartupMessage.
    StartUp(StartUp),
}

/// A StartupMessage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StartUp {
    /// The minor version that was asked for.
    pub(super) minor: u16,
    /// Names and values, in order; `_pq_.` options are not among them.
    pub(super) parameters: Vec<(String, String)>,
    /// Protocol options (`_pq_.…`), none of which is known.
    pub(super) unknown_options: Vec<String>,
}

/// Cuts the packet at the front of `received`, if all of it is there.
///
/// # Errors
/// An impossible length, an unknown version, or a body that is not what it should be.
pub(super) fn cut_packet(
    received: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<Packet>, Told> {
    let Some(length) = received.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(8..=bytes_max).contains(&length) {
        return Err(Told::violation("invalid length of startup packet"));
    }
    if received.len() < length {
        return Ok(None);
    }
    let mut body = received.split_to(length);
    body.advance(4);
    let code = body.get_u32();
    match code {
        CANCEL_REQUEST => cancel(&body).map(Some),
        SSL_REQUEST if body.is_empty() => Ok(Some(Packet::Tls)),
        GSSENC_REQUEST if body.is_empty() => Ok(Some(Packet::GssEncryption)),
        SSL_REQUEST | GSSENC_REQUEST => Err(Told::violation("invalid startup packet")),
        version if version >> 16 == 3 => {
            let minor = u16::try_from(version & 0xffff).unwrap_or(u16::MAX);
            start_up(&body, minor).map(|packet| Some(Packet::StartUp(packet)))
        }
        version => Err(Told::violation(format!(
            "unsupported frontend protocol {}.{}: server supports 3.0 to 3.{MINOR_MAX}",
            version >> 16,
            version & 0xffff
        ))),
    }
}

fn cancel(body: &[u8]) -> Result<Packet, Told> {
    let (process, secret) = body
        .split_first_chunk::<4>()
        .filter(|(_, secret)| (4..=SECRET_BYTES_MAX).contains(&secret.len()))
        .ok_or_else(|| Told::violation("invalid cancel request"))?;
    Ok(Packet::Cancel {
        process: i32::from_be_bytes(*process),
        secret: secret.to_vec(),
    })
}

/// Pairs of zero-terminated strings, then one zero byte, then nothing.
fn start_up(body: &[u8], minor: u16) -> Result<StartUp, Told> {
    let invalid =
        || Told::violation("invalid startup packet layout: expected terminator as last byte");
    let mut packet = StartUp {
        minor,
        ..StartUp::default()
    };
    let mut rest = body;
    loop {
        let (name, after) = cstr(rest).ok_or_else(invalid)?;
        rest = after;
        if name.is_empty() {
            break;
        }
        let (value, after) = cstr(rest).ok_or_else(invalid)?;
        rest = after;
        if name.starts_with("_pq_.") {
            packet.unknown_options.push(name.to_owned());
        } else {
            packet.parameters.push((name.to_owned(), value.to_owned()));
        }
    }
    if rest.is_empty() {
        Ok(packet)
    } else {
        Err(invalid())
    }
}

fn cstr(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

impl StartUp {
    /// The minor version that will be spoken: 3.1 does not exist.
    pub(super) fn agreed_minor(&self) -> u16 {
        if self.minor >= MINOR_MAX {
            MINOR_MAX
        } else {
            0
        }
    }

    /// NegotiateProtocolVersion, if something asked for is not there.
    pub(super) fn negotiation(&self) -> Option<BytesMut> {
        let agreed = self.agreed_minor();
        if self.minor == agreed && self.unknown_options.is_empty() {
            return None;
        }
        let mut body = BytesMut::new();
        body.put_u32(3 << 16 | u32::from(agreed));
        body.put_u32(u32::try_from(self.unknown_options.len()).unwrap_or(0));
        for option in &self.unknown_options {
            body.put_slice(option.as_bytes());
            body.put_u8(0);
        }
        let mut message = BytesMut::new();
        message.put_u8(b'v');
        message.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
        message.put_slice(&body);
        Some(message)
    }
}

/// The settings in the start-up parameter `options`: `-c name=value` and `--name=value`.
///
/// # Errors
/// Anything else in it.
pub(super) fn options(text: &str) -> Result<Vec<(String, String)>, Told> {
    let mut settings = Vec::new();
    let mut words = split_options(text).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => setting.to_owned(),
            None => match word.strip_prefix("-c") {
                Some("") => words.next().unwrap_or_default(),
                Some(setting) => setting.to_owned(),
                None => String::new(),
            },
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            Told::violation("the startup parameter \"options\" may only hold -c name=value")
        })?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// Words separated by white space; a backslash takes the next character as it is.
fn split_options(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::try_from(body.len() + 8).unwrap());
        bytes.put_u32(code);
        bytes.put_slice(body);
        bytes
    }

    #[test]
    fn a_start_up_packet_is_read_to_its_last_byte() {
        let mut bytes = packet(196_608, b"user\0bob\0database\0demo\0\0");
        let Ok(Some(Packet::StartUp(start))) = cut_packet(&mut bytes, 10_000) else {
            panic!("a valid packet");
        };
        assert_eq!(start.parameters.len(), 2);
        assert!(start.negotiation().is_none());
        for body in [
            &b""[..],
            b"user",
            b"user\0",
            b"user\0bob\0",
            b"user\0bob\0\0Q",
            b"user\0bob\0\0\0",
            b"\xff\0x\0\0",
        ] {
            assert!(
                cut_packet(&mut packet(196_608, body), 10_000).is_err(),
                "{body:?}"
            );
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_buffering() {
        for length in [0_u32, 4, 7, 10_001, 0x7fff_ffff, 0xffff_ffff] {
            let mut bytes = BytesMut::from(&length.to_be_bytes()[..]);
            assert!(
                cut_packet(&mut bytes, 10_000).unwrap_err().fatal,
                "{length}"
            );
        }
        assert_eq!(
            cut_packet(&mut BytesMut::from(&[0, 0, 0][..]), 10_000),
            Ok(None)
        );
    }

    #[test]
    fn versions_are_negotiated() {
        let read = |code, body: &[u8]| match cut_packet(&mut packet(code, body), 10_000) {
            Ok(Some(Packet::StartUp(start))) => start,
            other => panic!("{other:?}"),
        };
        let newest = read(3 << 16 | 9999, b"user\0a\0\0");
        assert_eq!(newest.agreed_minor(), 2);
        assert_eq!(
            newest.negotiation().as_deref(),
            Some(&b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0"[..])
        );
        assert_eq!(read(3 << 16 | 2, b"user\0a\0\0").negotiation(), None);
        let option = read(3 << 16, b"user\0a\0_pq_.x\0y\0\0");
        assert_eq!(
            option.negotiation().as_deref(),
            Some(&b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0"[..])
        );
        assert!(cut_packet(&mut packet(2 << 16, b"user\0a\0\0"), 10_000).is_err());
    }

    #[test]
    fn options_hold_settings_only() {
        assert_eq!(
            options("-c rowgate.user_id=bob --time-zone=UTC -cjit=off").unwrap(),
            [
                ("rowgate.user_id".to_owned(), "bob".to_owned()),
                ("time_zone".to_owned(), "UTC".to_owned()),
                ("jit".to_owned(), "off".to_owned()),
            ]
        );
        assert_eq!(
            options("-c rowgate.user_id=a\\ b").unwrap(),
            [("rowgate.user_id".to_owned(), "a b".to_owned())]
        );
        for text in ["-d 5", "-c", "-c x", "--x", "bob", "-B 1"] {
            assert!(options(text).is_err(), "{text}");
        }
    }
}
