//! Lexical rules and bounds.

use super::*;

fn kinds(text: &str) -> Vec<(Kind, &str)> {
    tokens(text)
        .filter(|token| token.kind != Kind::Space)
        .map(|token| (token.kind, text.get(token.start..token.end).unwrap()))
        .collect()
}

#[test]
fn quotes_comments_and_operators_end_where_postgresql_ends_them() {
    assert_eq!(
        kinds("E'a\\'b' 'c''d' $x$;$y$$x$ $1 a$b \"q\"\"q\" 1.5e3"),
        [
            (Kind::Text, "E'a\\'b'"),
            (Kind::Text, "'c''d'"),
            (Kind::Text, "$x$;$y$$x$"),
            (Kind::Other, "$1"),
            (Kind::Word, "a$b"),
            (Kind::Quoted, "\"q\"\"q\""),
            (Kind::Number, "1.5e3"),
        ]
    );
    assert_eq!(
        kinds("a+--b\n::/* /* */ ; */c"),
        [
            (Kind::Word, "a"),
            (Kind::Operator, "+"),
            (Kind::Comment, "--b"),
            (Kind::Operator, "::"),
            (Kind::Comment, "/* /* */ ; */"),
            (Kind::Word, "c"),
        ]
    );
    assert_eq!(kinds("'x\\' y"), [(Kind::Text, "'x\\'"), (Kind::Word, "y")]);
}

#[test]
fn the_bounds_hold() {
    fn seen(text: &str) -> Result<bool, Refusal> {
        check(text, &Limits::default()).map(|seen| seen.several)
    }
    assert!(seen(&format!("SELECT {}1", "1+".repeat(500))).is_ok());
    assert_eq!(
        seen(&format!("SELECT {}1", "1+".repeat(501)))
            .unwrap_err()
            .reason,
        Reason::TooComplex
    );
    assert!(seen(&format!("SELECT a IN ({}1)", "-1,".repeat(3000))).is_ok());
    assert_eq!(
        seen(&format!("SELECT {}", "(1+".repeat(61)))
            .unwrap_err()
            .reason,
        Reason::TooComplex
    );
    assert_eq!(
        seen(&"/*".repeat(61)).unwrap_err().reason,
        Reason::TooComplex
    );
    assert_eq!(
        seen(&"CASE WHEN 1 THEN ".repeat(61)).unwrap_err().reason,
        Reason::TooComplex
    );
    assert!(seen(&"SELECT CASE WHEN a THEN 1 END;".repeat(100)).is_ok());
    assert_eq!(
        seen(&"a,".repeat(10_001)).unwrap_err().reason,
        Reason::TooComplex
    );
    assert_eq!(
        seen(&" ".repeat(131_073)).unwrap_err().reason,
        Reason::TooLarge
    );
    let null = seen("SELECT 'ä\0'").unwrap_err();
    assert_eq!(
        (null.reason, null.position),
        (Reason::SyntaxError, Some(10))
    );
}

#[test]
fn it_tells_one_statement_from_several_and_from_none() {
    let limits = Limits::default();
    let seen = |text| check(text, &limits).unwrap();
    assert_eq!(
        seen("/*x*/ ((select 1));--"),
        Seen {
            first_word: Some("select"),
            several: false,
            semicolon: Some(18),
        }
    );
    assert!(seen("SELECT ';'; SELECT 2").several);
    assert!(seen("; SELECT 2").several);
    assert_eq!(seen(" ; /* ; */ -- \n;").first_word, None);
}
