//! What is put around a query is read back by PostgreSQL's grammar as what was asked for, and nothing else.

use super::*;
use crate::limits::Limits;
use crate::policy::Grants;
use crate::sql::statement::{StatementKind, split};
use crate::sql::{Options, admit};

fn query(text: &str) -> VerifiedQuery {
    let options = Options {
        limits: Limits::default(),
        open_allowed: true,
        parameter_types: Vec::new(),
    };
    let grants = Grants::new(Vec::new(), vec!["public".to_owned()], Vec::new());
    admit(text, &grants, &options).unwrap()
}

/// The kind of the one statement a text is, and the query inside of it.
fn read_back(text: &str) -> StatementKind {
    let mut statements = split(text, &Limits::default()).unwrap_or_else(|r| panic!("{text}: {r}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).kind
}

#[test]
fn options_of_copy_cannot_break_out() {
    let query = query("SELECT 1 AS \"a)\"");
    let nasty = [
        ",",
        "'",
        "''",
        "\\",
        "\\'",
        "'; SELECT 2; --",
        "\") TO PROGRAM 'id' --",
        "\n",
        "$$",
        "é",
        "",
    ];
    for value in nasty {
        let string = || Some(value.to_owned());
        let options = CopyOptions {
            format: CopyFormat::Csv,
            header: true,
            delimiter: string(),
            null: string(),
            quote: string(),
            escape: string(),
            force_quote: ForceQuote::Columns(vec!["a)".to_owned(), format!("x{value}\"")]),
            encoding: Some(Encoding::Latin9),
        };
        let wrapped = Wrapped::copy(&options, &query);
        let StatementKind::Copy {
            options: read,
            query: inner,
        } = read_back(wrapped.text())
        else {
            panic!("{}", wrapped.text());
        };
        assert_eq!(read, options, "{}", wrapped.text());
        assert_eq!(inner.text, **query.text());
        assert_eq!(inner.offset_chars, Some(wrapped.head_chars()));
    }
    let plain = Wrapped::copy(&CopyOptions::default(), &query);
    let expected = format!("COPY ({}\n) TO STDOUT (FORMAT text)", query.text());
    assert_eq!(plain.text(), expected);
}

#[test]
fn a_cursor_is_declared_as_asked_and_never_with_hold() {
    let query = query("SELECT 1 ORDER BY 1");
    for (options, head) in [
        (
            CursorOptions::default(),
            "DECLARE \"p7\" CURSOR WITHOUT HOLD FOR ",
        ),
        (
            CursorOptions {
                binary: true,
                scroll: Some(true),
            },
            "DECLARE \"p7\" BINARY SCROLL CURSOR WITHOUT HOLD FOR ",
        ),
        (
            CursorOptions {
                binary: false,
                scroll: Some(false),
            },
            "DECLARE \"p7\" NO SCROLL CURSOR WITHOUT HOLD FOR ",
        ),
    ] {
        let wrapped = Wrapped::cursor("p7", options, &query);
        assert_eq!(wrapped.text(), format!("{head}{}", query.text()));
        let StatementKind::Declare {
            name,
            options: read,
            query: inner,
        } = read_back(wrapped.text())
        else {
            panic!("{}", wrapped.text());
        };
        assert_eq!((name.as_str(), read), ("p7", options));
        assert_eq!(inner.text, **query.text());
        assert_eq!(inner.offset_chars, Some(wrapped.head_chars()));
    }
}
