//! One value of a row, from PostgreSQL's text to JSON. Nothing loses a digit: `bigint` and `numeric` become strings,
//! because readers of JSON take numbers for double precision.

use std::borrow::Cow;

const BOOL: u32 = 16;
const INT2: u32 = 21;
const INT4: u32 = 23;
const OID: u32 = 26;
const JSON: u32 = 114;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const JSONB: u32 = 3802;

/// `pg_type.oid` and `typname` of the types that are told by name (PostgreSQL's `pg_type.dat`).
const NAMES: &[(u32, &str)] = &[
    (BOOL, "bool"),
    (17, "bytea"),
    (18, "char"),
    (19, "name"),
    (20, "int8"),
    (INT2, "int2"),
    (INT4, "int4"),
    (25, "text"),
    (OID, "oid"),
    (JSON, "json"),
    (142, "xml"),
    (199, "json[]"),
    (600, "point"),
    (601, "lseg"),
    (602, "path"),
    (603, "box"),
    (604, "polygon"),
    (628, "line"),
    (650, "cidr"),
    (FLOAT4, "float4"),
    (FLOAT8, "float8"),
    (705, "unknown"),
    (718, "circle"),
    (774, "macaddr8"),
    (790, "money"),
    (829, "macaddr"),
    (869, "inet"),
    (1000, "bool[]"),
    (1001, "bytea[]"),
    (1003, "name[]"),
    (1005, "int2[]"),
    (1007, "int4[]"),
    (1009, "text[]"),
    (1015, "varchar[]"),
    (1016, "int8[]"),
    (1021, "float4[]"),
    (1022, "float8[]"),
    (1042, "bpchar"),
    (1043, "varchar"),
    (1082, "date"),
    (1083, "time"),
    (1114, "timestamp"),
    (1115, "timestamp[]"),
    (1182, "date[]"),
    (1184, "timestamptz"),
    (1185, "timestamptz[]"),
    (1186, "interval"),
    (1231, "numeric[]"),
    (1266, "timetz"),
    (1560, "bit"),
    (1562, "varbit"),
    (1700, "numeric"),
    (2249, "record"),
    (2278, "void"),
    (2950, "uuid"),
    (2951, "uuid[]"),
    (3614, "tsvector"),
    (3615, "tsquery"),
    (JSONB, "jsonb"),
    (3807, "jsonb[]"),
    (3904, "int4range"),
    (3906, "numrange"),
    (3908, "tsrange"),
    (3910, "tstzrange"),
    (3912, "daterange"),
    (3926, "int8range"),
];

/// The type's name; `other` for what is not built in.
pub(super) fn type_name(oid: u32) -> &'static str {
    let found = NAMES.iter().find(|(known, _)| *known == oid);
    found.map_or("other", |(_, name)| name)
}

/// Appends a value as JSON, on one line.
pub(super) fn put_json(out: &mut Vec<u8>, oid: u32, text: &str) {
    match oid {
        BOOL if matches!(text, "t" | "f") => out.extend_from_slice(plain(oid, text).as_bytes()),
        INT2 | INT4 | OID | FLOAT4 | FLOAT8 if is_number(text) => {
            out.extend_from_slice(text.as_bytes());
        }
        // In JSON such a byte stands between values only; inside a string it has to be escaped.
        JSON | JSONB if is_json(text) => out.extend(text.bytes().map(|byte| {
            if matches!(byte, b'\n' | b'\r' | b'\t') {
                b' '
            } else {
                byte
            }
        })),
        _ => put_string(out, text),
    }
}

/// A value as text, as CSV has it.
pub(super) fn plain(oid: u32, text: &str) -> Cow<'_, str> {
    match (oid, text) {
        (BOOL, "t") => Cow::Borrowed("true"),
        (BOOL, "f") => Cow::Borrowed("false"),
        _ => Cow::Borrowed(text),
    }
}

/// Appends a JSON string.
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    // A string into memory: neither can fail.
    serde_json::to_writer(out, text).ok();
}

/// Whether it is a number of JSON's: not `NaN`, not `Infinity`.
fn is_number(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
        && is_json(text)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_every_digit_and_their_line() {
        for (oid, text, expected) in [
            (BOOL, "t", "true"),
            (BOOL, "f", "false"),
            (INT4, "-7", "-7"),
            (20, "9007199254740993", "\"9007199254740993\""),
            (1700, "1.10", "\"1.10\""),
            (1700, "NaN", "\"NaN\""),
            (FLOAT8, "0.1", "0.1"),
            (FLOAT8, "1e+300", "1e+300"),
            (FLOAT8, "-0", "-0"),
            (FLOAT8, "NaN", "\"NaN\""),
            (FLOAT8, "-Infinity", "\"-Infinity\""),
            (FLOAT4, "1e-05", "1e-05"),
            (25, "a\"\n\u{1}é", "\"a\\\"\\n\\u0001é\""),
            (JSONB, "{\"a\": [1, null]}", "{\"a\": [1, null]}"),
            (JSON, "{\"a\":\n\t1.0}", "{\"a\":  1.0}"),
            (JSON, "no json", "\"no json\""),
            (3904, "[1,5)", "\"[1,5)\""),
            (99_999, "x", "\"x\""),
        ] {
            let mut out = Vec::new();
            put_json(&mut out, oid, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{oid} {text}");
        }
    }

    #[test]
    fn types_have_their_names_in_order() {
        assert!(NAMES.is_sorted_by_key(|(oid, _)| oid));
        assert_eq!((type_name(1700), type_name(16_400)), ("numeric", "other"));
    }
}
