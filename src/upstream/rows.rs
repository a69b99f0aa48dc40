//! Reads what the relay passed on, for a door that does not speak PostgreSQL's protocol: columns and rows.

use super::frames::header;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Message, RowDescriptionBody};

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `pg_type.oid`.
    pub oid: u32,
}

/// What a frame says.
pub enum Frame {
    /// RowDescription.
    Columns(Vec<Column>),
    /// DataRow.
    Row(Row),
    /// CommandComplete, and whatever else says nothing about rows.
    Other,
}

/// A row as it came.
pub struct Row(DataRowBody);

/// Why the bytes are of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// A frame larger than may be kept whole.
    TooLarge,
    /// Not a frame.
    Malformed,
}

/// Cuts the frame at the front, if all of it is there; one of more than `bytes_max` bytes is not waited for.
///
/// # Errors
/// [`Broken`].
pub fn cut(bytes: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, Broken> {
    match header(bytes) {
        None => return Ok(None),
        Some((_, None)) => return Err(Broken::Malformed),
        Some((_, Some(total))) if total > bytes_max => return Err(Broken::TooLarge),
        Some((_, Some(total))) if bytes.len() < total => return Ok(None),
        Some((_, Some(_))) => {}
    }
    let malformed = |_| Broken::Malformed;
    Ok(match Message::parse(bytes).map_err(malformed)? {
        None => None,
        Some(Message::RowDescription(body)) => {
            Some(Frame::Columns(columns(&body).ok_or(Broken::Malformed)?))
        }
        Some(Message::DataRow(body)) => Some(Frame::Row(Row(body))),
        Some(_) => Some(Frame::Other),
    })
}

fn columns(body: &RowDescriptionBody) -> Option<Vec<Column>> {
    let column = |field: postgres_protocol::message::backend::Field<'_>| {
        Ok(Column {
            name: field.name().to_owned(),
            oid: field.type_oid(),
        })
    };
    body.fields().map(column).collect().ok()
}

impl Row {
    /// Its values as text; `None` in the place of a value is NULL. `None` for the whole: they cannot be read.
    pub fn values(&self) -> Option<Vec<Option<&str>>> {
        let bytes = self.0.buffer();
        let text = |range: Option<std::ops::Range<usize>>| {
            let Some(range) = range else {
                return Ok(None);
            };
            let value = bytes.get(range).map(std::str::from_utf8);
            match value {
                Some(Ok(value)) => Ok(Some(value)),
                Some(Err(_)) | None => Err(std::io::ErrorKind::InvalidData.into()),
            }
        };
        self.0.ranges().map(text).collect().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"T\0\0\0\x2f\0\x02id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
        a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";

    fn cut_all(bytes: &[u8]) -> Result<Option<Frame>, Broken> {
        cut(&mut BytesMut::from(bytes), 100)
    }

    #[test]
    fn descriptions_and_rows_are_read() {
        let mut bytes = BytesMut::from(TWO);
        let Some(Frame::Columns(columns)) = cut(&mut bytes, 100).unwrap() else {
            panic!("not a description");
        };
        let found: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.oid)).collect();
        assert_eq!(found, [("id", 23), ("a", 25)]);
        assert!(bytes.is_empty());
        let mut bytes = BytesMut::from(&b"D\0\0\0\x0f\0\x02\0\0\0\x017\xff\xff\xff\xffC\0\0"[..]);
        let Some(Frame::Row(row)) = cut(&mut bytes, 100).unwrap() else {
            panic!("not a row");
        };
        assert_eq!(row.values().unwrap(), [Some("7"), None]);
        assert!(matches!(cut(&mut bytes, 100), Ok(None)), "a part waits");
    }

    #[test]
    fn every_prefix_waits_and_what_is_no_frame_is_none() {
        for end in 0..TWO.len() {
            assert!(matches!(cut_all(&TWO[..end]), Ok(None)), "{end}");
        }
        for (bytes, why) in [
            (&b"D\0\0\0\x03"[..], Broken::Malformed),
            (b"D\0\0\0\x65", Broken::TooLarge),
            (b"D\xff\xff\xff\xff", Broken::Malformed),
            (b"?\0\0\0\x04", Broken::Malformed),
        ] {
            assert_eq!(cut_all(bytes).err(), Some(why), "{bytes:?}");
        }
        for row in [
            &b"D\0\0\0\x0b\0\x01\0\0\0\x02x"[..],
            b"D\0\0\0\x07\0\x00x",
            b"D\0\0\0\x0b\0\x01\0\0\0\x01\xff",
        ] {
            let Ok(Some(Frame::Row(row))) = cut_all(row) else {
                panic!("not a row: {row:?}");
            };
            assert_eq!(row.values(), None);
        }
    }
}
