//! The database's frames as the relay passes them on (PostgreSQL manual, section 55.7), cut and read.

use bytes::{Buf, BytesMut};

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// `pg_type.oid`.
    pub(super) oid: u32,
}

/// What a frame says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// RowDescription.
    Columns(Vec<Column>),
    /// DataRow: its body.
    Row(BytesMut),
    /// CommandComplete, and whatever else says nothing about rows.
    Other,
}

/// Why the bytes are of no use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A frame larger than may be kept whole.
    TooLarge,
    /// Not a frame.
    Malformed,
}

/// Cuts the frame at the front, if all of it is there.
pub(super) fn cut(bytes: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, Broken> {
    let (Some(tag), Some(length)) = (bytes.first().copied(), bytes.get(1..5)) else {
        return Ok(None);
    };
    let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes);
    let length = usize::try_from(length).map_err(|_| Broken::TooLarge)?;
    if length < 4 {
        return Err(Broken::Malformed);
    }
    if length > bytes_max {
        return Err(Broken::TooLarge);
    }
    if bytes.len() <= length {
        return Ok(None);
    }
    let mut body = bytes.split_to(length + 1);
    body.advance(5);
    match tag {
        b'T' => columns(&body)
            .map(Frame::Columns)
            .ok_or(Broken::Malformed)
            .map(Some),
        b'D' => Ok(Some(Frame::Row(body))),
        _ => Ok(Some(Frame::Other)),
    }
}

/// What stands behind a column's name: table, attribute, type, length, modifier, format.
const BEHIND_NAME: usize = 4 + 2 + 4 + 2 + 4 + 2;

fn columns(body: &[u8]) -> Option<Vec<Column>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (name, behind) = rest.split_at_checked(end)?;
        let (behind, next) = behind.get(1..)?.split_at_checked(BEHIND_NAME)?;
        let oid = behind.get(6..10)?.try_into().ok()?;
        columns.push(Column {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            oid: u32::from_be_bytes(oid),
        });
        rest = next;
    }
    rest.is_empty().then_some(columns)
}

/// The values of a DataRow; `None` in the place of a value is NULL.
pub(super) fn values(body: &[u8]) -> Option<Vec<Option<&str>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::with_capacity(usize::from(u16::from_be_bytes(*count)));
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            values.push(None);
            rest = behind;
            continue;
        }
        let (value, next) = behind.split_at_checked(usize::try_from(length).ok()?)?;
        values.push(Some(std::str::from_utf8(value).ok()?));
        rest = next;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"T\0\0\0\x2f\0\x02id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0\
        a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";

    #[test]
    fn descriptions_and_rows_are_read() {
        let mut bytes = BytesMut::from(TWO);
        let Frame::Columns(columns) = cut(&mut bytes, 100).unwrap().unwrap() else {
            panic!("not a description");
        };
        let found: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.oid)).collect();
        assert_eq!(found, [("id", 23), ("a", 25)]);
        assert!(bytes.is_empty());
        let mut bytes = BytesMut::from(&b"D\0\0\0\x0f\0\x02\0\0\0\x017\xff\xff\xff\xffC\0\0"[..]);
        let Frame::Row(row) = cut(&mut bytes, 100).unwrap().unwrap() else {
            panic!("not a row");
        };
        assert_eq!(values(&row).unwrap(), [Some("7"), None]);
        assert_eq!(cut(&mut bytes, 100), Ok(None), "a part of a frame waits");
    }

    #[test]
    fn every_prefix_waits_and_what_is_no_frame_is_none() {
        for end in 0..TWO.len() {
            assert_eq!(
                cut(&mut BytesMut::from(&TWO[..end]), 100),
                Ok(None),
                "{end}"
            );
        }
        let cut = |bytes: &[u8]| cut(&mut BytesMut::from(bytes), 100);
        assert_eq!(cut(b"D\0\0\0\x03"), Err(Broken::Malformed));
        assert_eq!(cut(b"D\0\0\0\x65"), Err(Broken::TooLarge));
        assert_eq!(cut(b"D\xff\xff\xff\xff"), Err(Broken::TooLarge));
        for row in [
            &b"\0\x01"[..],
            b"\0\x01\0\0\0\x02x",
            b"\0\x00x",
            b"\0\x01\xff\xff\xff\xfe",
            b"\0\x01\0\0\0\x01\xff",
        ] {
            assert_eq!(values(row), None, "{row:?}");
        }
    }
}
