//! Messages to the client (PostgreSQL manual, section 55.7), written into its buffer.

use super::told::Told;
use bytes::{BufMut, Bytes};

/// `pg_type.oid` of `text`.
const TEXT_OID: u32 = 25;

/// Writes messages into a buffer.
pub struct Answer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Answer<'a> {
    /// Writes into `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// ReadyForQuery.
    pub fn ready(&mut self, status: u8) {
        self.message(b'Z', |out| out.put_u8(status));
    }

    /// CommandComplete.
    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| put_cstr(out, tag));
    }

    /// ParameterStatus.
    pub fn parameter(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            put_cstr(out, name);
            put_cstr(out, value);
        });
    }

    /// ErrorResponse.
    pub fn error(&mut self, told: &Told) {
        let severity = if told.fatal { "FATAL" } else { "ERROR" };
        let position = told.position.map(|position| position.to_string());
        let fields = [
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(told.sqlstate.as_ref())),
            (b'M', Some(told.message.as_str())),
            (b'D', told.detail.as_deref()),
            (b'H', told.hint.as_deref()),
            (b'P', position.as_deref()),
        ];
        self.message(b'E', |out| {
            for (code, value) in fields {
                if let Some(value) = value {
                    out.put_u8(code);
                    put_cstr(out, value);
                }
            }
            out.put_u8(0);
        });
    }

    /// NoticeResponse.
    pub fn notice(&mut self, message: &str) {
        self.message(b'N', |out| {
            for (code, value) in [
                (b'S', "NOTICE"),
                (b'V', "NOTICE"),
                (b'C', "00000"),
                (b'M', message),
            ] {
                out.put_u8(code);
                put_cstr(out, value);
            }
            out.put_u8(0);
        });
    }

    /// RowDescription of text columns.
    pub fn columns(&mut self, names: &[&str]) {
        self.message(b'T', |out| {
            out.put_u16(u16::try_from(names.len()).unwrap_or(0));
            for name in names {
                put_cstr(out, name);
                out.put_u32(0);
                out.put_u16(0);
                out.put_u32(TEXT_OID);
                out.put_i16(-1);
                out.put_i32(-1);
                out.put_i16(0);
            }
        });
    }

    /// DataRow of texts.
    pub fn row(&mut self, values: &[String]) {
        self.message(b'D', |out| {
            out.put_u16(u16::try_from(values.len()).unwrap_or(0));
            for value in values {
                out.put_i32(i32::try_from(value.len()).unwrap_or(0));
                out.put_slice(value.as_bytes());
            }
        });
    }

    /// ParameterDescription without parameters.
    pub fn no_parameters(&mut self) {
        self.message(b't', |out| out.put_u16(0));
    }

    fn message(&mut self, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.out.put_u8(tag);
        let start = self.out.len();
        self.out.put_i32(0);
        body(self.out);
        let length = i32::try_from(self.out.len() - start).unwrap_or(i32::MAX);
        if let Some(slot) = self.out.get_mut(start..start + 4) {
            slot.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// One or more messages as bytes of their own.
    pub fn bytes(write: impl FnOnce(&mut Answer<'_>)) -> Bytes {
        let mut out = Vec::new();
        write(&mut Answer { out: &mut out });
        out.into()
    }
}

/// ParseComplete.
pub(super) const PARSE_COMPLETE: Bytes = Bytes::from_static(b"1\0\0\0\x04");
/// BindComplete.
pub(super) const BIND_COMPLETE: Bytes = Bytes::from_static(b"2\0\0\0\x04");
/// CloseComplete.
pub(super) const CLOSE_COMPLETE: Bytes = Bytes::from_static(b"3\0\0\0\x04");
/// EmptyQueryResponse.
pub(super) const EMPTY_QUERY: Bytes = Bytes::from_static(b"I\0\0\0\x04");
/// NoData.
pub(super) const NO_DATA: Bytes = Bytes::from_static(b"n\0\0\0\x04");

/// A zero byte inside would end the string early: it cannot be sent.
fn put_cstr(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(&Answer::bytes(|a| a.ready(b'I'))[..], b"Z\0\0\0\x05I");
        assert_eq!(
            &Answer::bytes(|a| a.complete("SET"))[..],
            b"C\0\0\0\x08SET\0"
        );
    }

    #[test]
    fn a_zero_byte_cannot_cut_a_string() {
        assert_eq!(
            &Answer::bytes(|a| a.complete("A\0B"))[..],
            b"C\0\0\0\x07AB\0"
        );
    }
}
