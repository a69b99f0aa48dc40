//! Rows into the bytes of an answer.
//!
//! ```text
//! JSON    {"columns": [...], "rows": [[...], ...], "row_count": n, "truncated": b, "filtered": [...], "request_id": "..."}
//! NDJSON  {"columns": [...], "filtered": [...], "request_id": "..."}   one array a row   {"row_count": n, "truncated": b}
//! CSV     a line of names, one record a row
//! ```
//!
//! An NDJSON answer without its last object, or a CSV answer whose transfer broke off, is not whole.

use super::format::Format;
use super::value::{plain, put_json, type_name};
use crate::audit::RequestId;
use crate::upstream::Column;
use serde_json::json;

/// Writes one answer.
pub(super) struct Encoder {
    format: Format,
    columns: Vec<Column>,
    /// For a query over whose tables rows may be held back.
    filtered: Vec<String>,
    request_id: RequestId,
    rows: u64,
}

impl Encoder {
    pub(super) fn new(format: Format, filtered: Vec<String>, request_id: RequestId) -> Self {
        Self {
            format,
            columns: Vec::new(),
            filtered,
            request_id,
            rows: 0,
        }
    }

    /// What stands before the rows.
    pub(super) fn head(&mut self, out: &mut Vec<u8>, columns: Vec<Column>) {
        self.columns = columns;
        match self.format {
            Format::Json => {
                out.extend_from_slice(b"{\"columns\":");
                put_value(out, &self.described());
                out.extend_from_slice(b",\"rows\":[");
            }
            Format::Ndjson => {
                let head = json!({
                    "columns": self.described(),
                    "filtered": self.filtered,
                    "request_id": self.request_id,
                });
                put_value(out, &head);
                out.push(b'\n');
            }
            Format::Csv => {
                let names = self.columns.iter().map(|column| Some(column.name.as_str()));
                put_record(out, names);
            }
        }
    }

    /// One row; false when it does not fit the columns.
    pub(super) fn row(&mut self, out: &mut Vec<u8>, values: &[Option<&str>]) -> bool {
        if values.len() != self.columns.len() {
            return false;
        }
        let cells = self.columns.iter().zip(values);
        if self.format == Format::Csv {
            let texts: Vec<_> = cells
                .map(|(column, value)| value.map(|value| plain(column.oid, value)))
                .collect();
            put_record(out, texts.iter().map(|text| text.as_deref()));
        } else {
            if self.format == Format::Json && self.rows > 0 {
                out.push(b',');
            }
            let mut before = b'[';
            for (column, value) in cells {
                out.push(before);
                before = b',';
                match value {
                    Some(value) => put_json(out, column.oid, value),
                    None => out.extend_from_slice(b"null"),
                }
            }
            if values.is_empty() {
                out.push(b'[');
            }
            out.push(b']');
            if self.format == Format::Ndjson {
                out.push(b'\n');
            }
        }
        self.rows += 1;
        true
    }

    /// What stands behind the rows.
    pub(super) fn tail(&self, out: &mut Vec<u8>, truncated: bool) {
        match self.format {
            Format::Json => {
                let tail = json!({
                    "row_count": self.rows,
                    "truncated": truncated,
                    "filtered": self.filtered,
                    "request_id": self.request_id,
                });
                let tail = tail.to_string();
                out.extend_from_slice(b"],");
                out.extend_from_slice(tail.as_bytes().get(1..).unwrap_or_default());
            }
            Format::Ndjson => {
                put_value(
                    out,
                    &json!({"row_count": self.rows, "truncated": truncated}),
                );
                out.push(b'\n');
            }
            Format::Csv => {}
        }
    }

    fn described(&self) -> serde_json::Value {
        let columns = self.columns.iter();
        columns
            .map(|column| json!({"name": column.name, "type": type_name(column.oid)}))
            .collect()
    }
}

fn put_value(out: &mut Vec<u8>, value: &serde_json::Value) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// NULL is nothing, an empty text is `""`.
fn put_record<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = Option<&'a str>>) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match value {
            Some(value) if value.is_empty() || value.contains(['"', ',', '\r', '\n']) => {
                out.push(b'"');
                out.extend_from_slice(value.replace('"', "\"\"").as_bytes());
                out.push(b'"');
            }
            Some(value) => out.extend_from_slice(value.as_bytes()),
            None => {}
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// An error as the last line of an answer that has begun.
pub(super) fn put_error(out: &mut Vec<u8>, problem: &crate::http::Problem) {
    out.extend_from_slice(b"{\"error\":");
    // Strings and numbers, into memory: cannot fail.
    serde_json::to_writer(&mut *out, problem).ok();
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(format: Format, truncated: bool) -> String {
        let mut encoder = Encoder::new(format, vec!["public.t".to_owned()], RequestId::next());
        let mut out = Vec::new();
        let column = |name: &str, oid| Column {
            name: name.to_owned(),
            oid,
        };
        encoder.head(&mut out, vec![column("id", 23), column("a,\"b", 25)]);
        assert!(encoder.row(&mut out, &[Some("1"), None]));
        assert!(encoder.row(&mut out, &[Some("2"), Some("")]));
        assert!(encoder.row(&mut out, &[Some("3"), Some("x\ny")]));
        assert!(!encoder.row(&mut out, &[Some("4")]), "a value is missing");
        encoder.tail(&mut out, truncated);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_one_document() {
        let document: serde_json::Value =
            serde_json::from_str(&answer(Format::Json, true)).unwrap();
        assert_eq!(document["rows"], json!([[1, null], [2, ""], [3, "x\ny"]]));
        assert_eq!(
            document["columns"][1],
            json!({"name": "a,\"b", "type": "text"})
        );
        assert_eq!(
            (&document["row_count"], &document["truncated"]),
            (&json!(3), &json!(true))
        );
        assert_eq!(document["filtered"], json!(["public.t"]));
    }

    #[test]
    fn ndjson_has_a_line_a_row_between_two_objects() {
        let text = answer(Format::Ndjson, false);
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines[1..4],
            [json!([1, null]), json!([2, ""]), json!([3, "x\ny"])]
        );
        assert_eq!(lines[4], json!({"row_count": 3, "truncated": false}));
        assert_eq!(
            (lines.len(), &lines[0]["filtered"]),
            (5, &json!(["public.t"]))
        );
    }

    #[test]
    fn csv_tells_null_from_empty() {
        assert_eq!(
            answer(Format::Csv, false),
            "id,\"a,\"\"b\"\r\n1,\r\n2,\"\"\r\n3,\"x\ny\"\r\n"
        );
    }
}
