//! Queries inside of statements: where they are cut out, and what is refused.

use super::*;
use crate::limits::Limits;
use crate::sql::statement::{CopyFormat, CopyOptions, Statement, split};

fn one(text: &str) -> Statement {
    let mut statements =
        split(text, &Limits::default()).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

#[test]
fn the_query_is_cut_out_where_the_grammar_has_it() {
    for (text, query) in [
        ("PREPARE p AS SELECT 1", "SELECT 1"),
        (
            "prepare p(numeric(10,2), text[]) as select $1 as for",
            "select $1 as for",
        ),
        ("PREPARE \"a as b\" AS VALUES (1)", "VALUES (1)"),
        ("PREPARE /* as */ p AS -- as\n TABLE t", "TABLE t"),
        (
            "PREPARE p AS WITH x AS (SELECT 1) SELECT * FROM x ;",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ),
        ("DECLARE c CURSOR FOR SELECT 1", "SELECT 1"),
        (
            "DECLARE \"for\" CURSOR FOR SELECT substring('abc' FOR 2)",
            "SELECT substring('abc' FOR 2)",
        ),
        (
            "DECLARE cursor INSENSITIVE CURSOR WITHOUT HOLD FOR (SELECT 1)",
            "(SELECT 1)",
        ),
        (
            "/* ü */ DECLARE c CURSOR FOR /* x */ SELECT 'é'",
            "SELECT 'é'",
        ),
        (
            "COPY (SELECT ')' AS \")\") TO STDOUT",
            "SELECT ')' AS \")\"",
        ),
        ("COPY ((SELECT (1))) TO STDOUT", "(SELECT (1))"),
        (
            "COPY (SELECT 1 -- )\n) TO STDOUT (FORMAT csv)",
            "SELECT 1 -- )",
        ),
        ("COPY (SELECT $$)$$) TO STDOUT", "SELECT $$)$$"),
    ] {
        let statement = one(text);
        assert_eq!(statement.query(), Some(query), "{text}");
        let (StatementKind::Prepare { query: inner, .. }
        | StatementKind::Declare { query: inner, .. }
        | StatementKind::Copy { query: inner, .. }) = &statement.kind
        else {
            panic!("{text}");
        };
        let offset = usize::try_from(inner.offset_chars.unwrap()).unwrap();
        let there: String = statement
            .text
            .chars()
            .skip(offset)
            .take(query.chars().count())
            .collect();
        assert_eq!(there, query, "{text}");
    }
}

#[test]
fn a_query_that_writes_is_refused_wherever_it_stands() {
    for text in [
        "PREPARE p AS DELETE FROM t",
        "PREPARE p AS INSERT INTO t VALUES (1)",
        "COPY (UPDATE t SET a = 1 RETURNING a) TO STDOUT",
        "COPY t TO PROGRAM 'id'",
        "COPY (SELECT 1) TO '/tmp/x'",
    ] {
        let StatementKind::Refused(refusal) = one(text).kind else {
            panic!("{text}: not refused");
        };
        assert_eq!(refusal.reason, Reason::NotARead, "{text}");
    }
}

#[test]
fn a_table_is_copied_as_a_query_with_quoted_names() {
    for (text, query) in [
        ("COPY t TO STDOUT", "SELECT * FROM \"t\""),
        (
            "COPY s.\"T\"\"x\" (a, \"B\") TO STDOUT",
            "SELECT \"a\", \"B\" FROM \"s\".\"T\"\"x\"",
        ),
    ] {
        assert_eq!(one(text).query(), Some(query), "{text}");
    }
}

#[test]
fn copys_options_are_read_in_both_spellings() {
    let csv = CopyOptions {
        format: CopyFormat::Csv,
        header: true,
        delimiter: Some(";".to_owned()),
        ..CopyOptions::default()
    };
    for text in [
        "COPY t TO STDOUT (FORMAT csv, HEADER, DELIMITER ';')",
        "COPY t TO STDOUT WITH (FORMAT 'csv', HEADER true, DELIMITER ';')",
        "COPY t TO STDOUT CSV HEADER DELIMITER AS ';'",
    ] {
        let StatementKind::Copy { options, .. } = one(text).kind else {
            panic!("{text}");
        };
        assert_eq!(options, csv, "{text}");
    }
    for options in [
        "FORMAT parquet",
        "FREEZE",
        "HEADER match",
        "FORMAT csv, FORMAT csv",
        "ENCODING 'SJIS'",
        "FORCE_NULL (a)",
        "FORCE_QUOTE 'a'",
    ] {
        let text = format!("COPY t TO STDOUT ({options})");
        let StatementKind::Refused(refusal) = one(&text).kind else {
            panic!("{text}: not refused");
        };
        assert_eq!(refusal.reason, Reason::FeatureNotSupported, "{text}");
    }
}

#[test]
fn arguments_are_literals_that_read_the_same_as_text() {
    let argument = |value: Option<&str>, cast| Argument {
        value: value.map(str::to_owned),
        cast,
    };
    for (text, expected) in [
        ("1", argument(Some("1"), None)),
        ("-1", argument(Some("-1"), None)),
        ("1.50", argument(Some("1.50"), None)),
        ("12345678901", argument(Some("12345678901"), None)),
        ("'it''s'", argument(Some("it's"), None)),
        ("true", argument(Some("true"), None)),
        ("NULL", argument(None, None)),
        (
            "'2025-01-01'::date",
            argument(Some("2025-01-01"), Some(1082)),
        ),
        (
            "date '2025-01-01'",
            argument(Some("2025-01-01"), Some(1082)),
        ),
        ("CAST('{1}' AS int[])", argument(Some("{1}"), Some(1007))),
    ] {
        let StatementKind::Execute { arguments, .. } = one(&format!("EXECUTE p({text})")).kind
        else {
            panic!("{text}");
        };
        assert_eq!(arguments, [expected], "{text}");
    }
    for text in [
        "(SELECT 1)",
        "now()",
        "current_user",
        "1 + 1",
        "a",
        "$1",
        "B'1'",
        "1e3",
        ".5",
        "1.",
        "5::int",
        "'a'::varchar(1)",
        "'invoices'::regclass",
        "'x'::public.t",
        "ARRAY[1]",
        "ROW(1)",
        "DEFAULT",
    ] {
        let text = format!("EXECUTE p({text})");
        match split(&text, &Limits::default()).map(|mut found| found.remove(0).kind) {
            Err(_) | Ok(StatementKind::Refused(_)) => {}
            Ok(kind) => panic!("{text}: {kind:?}"),
        }
    }
}

#[test]
fn fetch_says_where_to() {
    let fetch = |direction, count| Fetch {
        only_move: false,
        direction,
        count,
    };
    for (text, expected) in [
        ("FETCH c", fetch(Direction::Forward, Some(1))),
        ("FETCH 5 FROM c", fetch(Direction::Forward, Some(5))),
        ("FETCH -5 IN c", fetch(Direction::Forward, Some(-5))),
        ("FETCH ALL FROM c", fetch(Direction::Forward, None)),
        ("FETCH PRIOR c", fetch(Direction::Backward, Some(1))),
        ("FETCH BACKWARD ALL c", fetch(Direction::Backward, None)),
        ("FETCH LAST c", fetch(Direction::Absolute, Some(-1))),
        ("FETCH RELATIVE 0 c", fetch(Direction::Relative, Some(0))),
    ] {
        let cursor = "c".to_owned();
        let kind = StatementKind::Fetch {
            cursor,
            fetch: expected,
        };
        assert_eq!(one(text).kind, kind, "{text}");
    }
    assert!(split("FETCH 99999999999 FROM c", &Limits::default()).is_err());
}

#[test]
fn parameters_may_be_declared_with_listed_types_only() {
    let types = |text: &str| match one(&format!("PREPARE p ({text}) AS SELECT 1")).kind {
        StatementKind::Prepare { types, .. } => Some(types),
        _ => None,
    };
    assert_eq!(
        types("int, numeric(5,2), text[], timestamp with time zone"),
        Some(vec![23, 1700, 1009, 1184])
    );
    assert_eq!(types("unknown, pg_catalog.uuid"), Some(vec![0, 2950]));
    for refused in [
        "regclass",
        "public.mood",
        "anyelement",
        "SETOF int",
        "x.y.int4",
    ] {
        assert_eq!(types(refused), None, "{refused}");
    }
}

#[test]
fn what_is_not_a_cursor_of_the_transaction_is_refused() {
    for text in [
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "DECLARE c SCROLL NO SCROLL CURSOR FOR SELECT 1",
        "DECLARE c INSENSITIVE ASENSITIVE CURSOR FOR SELECT 1",
    ] {
        assert!(
            matches!(one(text).kind, StatementKind::Refused(_)),
            "{text}"
        );
    }
}
