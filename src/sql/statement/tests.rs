//! Where texts are divided, and what each statement is.

use super::*;

fn split_default(text: &str) -> Result<Vec<Statement>, Refusal> {
    split(text, &Limits::default())
}

fn kind_of(text: &str) -> StatementKind {
    let mut statements = split_default(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).kind
}

#[test]
fn a_text_is_divided_where_postgresql_divides_it() {
    let text = "/*é*/ SELECT ';' ; -- two;\n;; begin ;/* tok */ select $$;$$\n; ";
    let found: Vec<(String, u32, bool)> = split_default(text)
        .unwrap()
        .into_iter()
        .map(|s| (s.text, s.offset_chars, s.kind == StatementKind::Query))
        .collect();
    assert_eq!(
        found,
        [
            ("/*é*/ SELECT ';'".to_owned(), 0, true),
            ("begin".to_owned(), 30, false),
            ("/* tok */ select $$;$$".to_owned(), 37, true),
        ]
    );
    let one = split_default("  \n(SELECT 1) ;;  -- end").unwrap();
    assert_eq!(
        (one[0].text.as_str(), one[0].offset_chars, one.len()),
        ("(SELECT 1)", 3, 1)
    );
    for empty in ["", " ", ";", "-- x", "/* ; */ ;;\n"] {
        assert_eq!(split_default(empty), Ok(Vec::new()), "{empty}");
    }
}

#[test]
fn what_clients_send_on_their_own_is_told_apart() {
    let (isolation, read_only, deferrable) =
        (Some(Isolation::RepeatableRead), Some(true), Some(false));
    let values = |values: &[&str]| SetValue::Values(values.iter().map(|&v| v.to_owned()).collect());
    let set = |name: &str, value, local| StatementKind::Set {
        name: name.to_owned(),
        value,
        local,
    };
    let name = || "a".to_owned();
    for (text, kind) in [
        (
            "BEGIN",
            StatementKind::Begin {
                isolation: None,
                read_only: None,
                deferrable: None,
            },
        ),
        (
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE",
            StatementKind::Begin {
                isolation,
                read_only,
                deferrable,
            },
        ),
        ("END", StatementKind::Commit { chain: false }),
        ("COMMIT AND CHAIN", StatementKind::Commit { chain: true }),
        ("ABORT", StatementKind::Rollback { chain: false }),
        (
            "ROLLBACK AND NO CHAIN",
            StatementKind::Rollback { chain: false },
        ),
        ("SAVEPOINT A", StatementKind::Savepoint(name())),
        ("RELEASE SAVEPOINT a", StatementKind::Release(name())),
        ("ROLLBACK TO a", StatementKind::RollbackTo(name())),
        (
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE",
            StatementKind::SetTransaction {
                isolation,
                read_only,
                deferrable,
            },
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            StatementKind::SetSessionCharacteristics {
                isolation: None,
                read_only: Some(false),
                deferrable: None,
            },
        ),
        (
            "SET DateStyle TO ISO, 'MDY'",
            set("datestyle", values(&["iso", "MDY"]), false),
        ),
        (
            "SET LOCAL extra_float_digits = 3",
            set("extra_float_digits", values(&["3"]), true),
        ),
        (
            "SET client_encoding TO '''utf-8'''",
            set("client_encoding", values(&["'utf-8'"]), false),
        ),
        (
            "SET NAMES 'UTF8'",
            set("client_encoding", values(&["UTF8"]), false),
        ),
        (
            "SET TIME ZONE 'UTC'",
            set("timezone", values(&["UTC"]), false),
        ),
        (
            "SET \"Search_Path\" TO DEFAULT",
            set("search_path", SetValue::Default, false),
        ),
        (
            "SET ROLE postgres",
            set("role", values(&["postgres"]), false),
        ),
        (
            "SHOW TRANSACTION ISOLATION LEVEL",
            StatementKind::Show("transaction_isolation".to_owned()),
        ),
        (
            "SHOW Server_Version",
            StatementKind::Show("server_version".to_owned()),
        ),
        ("SHOW ALL", StatementKind::ShowAll),
        ("RESET a", StatementKind::Reset(name())),
        ("RESET ALL", StatementKind::ResetAll),
        ("DISCARD ALL", StatementKind::DiscardAll),
        ("DEALLOCATE ALL", StatementKind::DeallocateAll),
        ("DEALLOCATE PREPARE a", StatementKind::Deallocate(name())),
        ("DISCARD PLANS", StatementKind::Discard("DISCARD PLANS")),
        ("CLOSE ALL", StatementKind::CloseAll),
        ("CLOSE A", StatementKind::Close(name())),
        ("UNLISTEN *", StatementKind::UnlistenAll),
        ("TABLE t", StatementKind::Query),
        ("VALUES (1)", StatementKind::Query),
        ("(SELECT 1) UNION SELECT 2;", StatementKind::Query),
    ] {
        assert_eq!(kind_of(text), kind, "{text}");
    }
}

#[test]
fn everything_else_is_refused_with_its_sqlstate_and_a_hint() {
    for (state, texts) in [
        (
            "25006",
            "INSERT INTO t VALUES (1)|UPDATE t SET a = 1|DELETE FROM t|TRUNCATE t|CREATE TABLE t (a int)|DROP TABLE t|\
             ALTER TABLE t ADD b int|GRANT SELECT ON t TO u|LOCK t|DO 'x'|CALL f()|COPY t FROM STDIN|COPY t FROM PROGRAM 'x'|\
             CREATE TABLE t AS SELECT 1|REFRESH MATERIALIZED VIEW v|VACUUM|ANALYZE t|CLUSTER|REINDEX TABLE t|COMMENT ON TABLE t IS 'x'|\
             CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'x'|ALTER SYSTEM SET a = 1|LOAD 'x'|CHECKPOINT|PREPARE TRANSACTION 'x'|\
             COMMIT PREPARED 'x'|MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE|IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c|\
             REASSIGN OWNED BY a TO b|SECURITY LABEL ON TABLE t IS 'x'|ALTER ROLE a SUPERUSER|CREATE EXTENSION dblink|\
             COPY t TO PROGRAM 'x'|COPY t TO '/tmp/x'",
        ),
        (
            "0A000",
            "EXPLAIN SELECT 1|EXPLAIN ANALYZE DELETE FROM t|LISTEN a|NOTIFY a|UNLISTEN a|\
             SET TRANSACTION SNAPSHOT 'x'|SET x FROM CURRENT|SET TIME ZONE INTERVAL '1' HOUR|SET CONSTRAINTS ALL DEFERRED",
        ),
    ] {
        for text in texts.split('|').map(str::trim) {
            let StatementKind::Refused(refusal) = kind_of(text) else {
                panic!("{text}: not refused");
            };
            assert_eq!(refusal.reason.sqlstate(), state, "{text}");
            let word = text.split_whitespace().next().unwrap();
            assert!(
                refusal.message.starts_with(word),
                "{text}: {}",
                refusal.message
            );
            assert!(
                refusal.hint.is_some_and(|hint| hint.ends_with('.')),
                "{text}"
            );
        }
    }
}

#[test]
fn a_syntax_error_refuses_the_whole_text_at_its_place() {
    let refusal = split_default("BEGIN; SELECT 'ä' FROM FROM t").unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.position),
        (Reason::SyntaxError, Some(24))
    );
    let limits = Limits {
        statements_max: 2,
        ..Limits::default()
    };
    assert_eq!(
        split("BEGIN;BEGIN;BEGIN", &limits).unwrap_err().reason,
        Reason::TooLarge
    );
    assert!(split("BEGIN;BEGIN;;", &limits).is_ok());
}
