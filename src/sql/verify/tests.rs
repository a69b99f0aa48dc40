//! The cases of `cases.toml`, forged shadows, agreement of the parsers, and noise.

use super::*;
use crate::policy::{ColumnType, GrantedColumn, GrantedTable, InlineBody, ShadowSource};
use crate::sql::Shadow;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    secret: Vec<String>,
    allowed: Vec<String>,
    refused: BTreeMap<String, Vec<String>>,
}

fn cases() -> Cases {
    toml::from_str(include_str!("cases.toml")).unwrap()
}

const BODY: &str = "SELECT id, amount, department, note FROM rowgate.invoices";

fn relation() -> RelationName {
    RelationName::new("public", "invoices")
}

fn grants_with(source: ShadowSource) -> Grants {
    let column = |name: &str, type_: &str| GrantedColumn {
        name: name.to_owned(),
        type_: ColumnType::builtin(type_),
        plain: true,
    };
    let table = GrantedTable {
        relation: relation(),
        columns: vec![
            column("id", "int4"),
            column("amount", "numeric"),
            column("department", "text"),
            column("note", "text"),
        ],
        primary_key: vec!["id".to_owned()],
        source,
    };
    Grants::new(
        vec![table],
        vec!["public".to_owned()],
        vec!["mask.allowed".to_owned()],
    )
}

fn grants() -> Grants {
    grants_with(ShadowSource::Installed {
        sealed: RelationName::new("rowgate", "invoices"),
        open: RelationName::new("rowgate_open", "invoices"),
    })
}

/// The final text as the rewriter would make it.
fn with_shadow(case: &str) -> String {
    if let Some(rest) = case.strip_prefix("WITH RECURSIVE ") {
        format!("WITH RECURSIVE invoices AS ({BODY}), {rest}")
    } else if let Some(rest) = case.strip_prefix("WITH ") {
        format!("WITH invoices AS ({BODY}), {rest}")
    } else {
        format!("WITH invoices AS ({BODY}) {case}")
    }
}

fn query(text: String) -> ShadowedQuery {
    ShadowedQuery {
        text,
        shadows: vec![Shadow {
            name: "invoices".to_owned(),
            relation: relation(),
            body: BODY.to_owned(),
            materialize: crate::sql::Materialize::Default,
        }],
        relations: vec![relation()],
        parameters: 2,
        principal_parameters: Vec::new(),
        form: Form::Sealed,
        form_reason: "test".to_owned(),
    }
}

fn judge(case: &str) -> Result<VerifiedQuery, Refusal> {
    verify(query(with_shadow(case)), &grants())
}

#[test]
fn the_forbidden_table_is_refused_in_every_position() {
    let cases = cases().secret;
    assert!(cases.len() >= 120);
    for case in cases {
        let refusal = judge(&case).expect_err(&case);
        assert_eq!(refusal.reason, Reason::RelationUnknown, "{case}: {refusal}");
        assert!(
            refusal.hint.is_some_and(|hint| hint.contains("invoices")),
            "{case}"
        );
    }
}

const OPEN_BODY: &str = "SELECT id, amount, department, note FROM rowgate_open.invoices";

/// What is sealed in the place of an open text whose proof failed.
fn exchange(sealed: ShadowedQuery, rest: &str) -> Result<VerifiedQuery, Refusal> {
    let mut open = query(format!("WITH invoices AS ({OPEN_BODY}) {rest}"));
    open.form = Form::Open;
    open.shadows[0].body = OPEN_BODY.to_owned();
    verify_unless(open, &grants(), |_| Some(()), |()| sealed)
}

#[test]
fn the_sealed_text_that_takes_an_open_ones_place_differs_in_its_shadows_only() {
    const REST: &str = "SELECT count(*) FROM invoices";
    let right = || query(format!("WITH invoices AS ({BODY}) {REST}"));
    let verified = exchange(right(), REST).unwrap();
    assert_eq!(verified.form(), Form::Sealed);
    assert_eq!(
        verified.text().as_ref(),
        format!("WITH invoices AS ({BODY}) {REST}")
    );
    let with_body = |body: &str| {
        let mut query = query(format!("WITH invoices AS ({body}) {REST}"));
        query.shadows[0].body = body.to_owned();
        query
    };
    let wrong = [
        // Another rest, none, or one that the shadow's text swallows.
        query(format!(
            "WITH invoices AS ({BODY}) SELECT max(note) FROM invoices"
        )),
        query(format!("WITH invoices AS ({BODY})")),
        query(format!("WITH invoices AS ({BODY}){REST}")),
        query(format!("WITH RECURSIVE invoices AS ({BODY}) {REST}")),
        query(REST.to_owned()),
        with_body(&format!("{BODY} --")),
        with_body(&format!("{BODY} /*")),
        with_body(&format!("{BODY} WHERE note = '")),
        with_body(&format!("{BODY} WHERE \"")),
        // More than one shadow, or not the one announced.
        with_body(&format!("{BODY}), other AS (SELECT 1")),
        with_body(&format!("{BODY}) SELECT 2; WITH x AS (SELECT 1")),
        with_body("SELECT id, amount, department, note FROM rowgate_open.invoices"),
        with_body("SELECT id, amount, department, note FROM public.invoices"),
        with_body("SELECT 1"),
        with_body("DELETE FROM rowgate.invoices RETURNING id"),
        {
            let mut query = right();
            query.shadows[0].name = "customers".to_owned();
            query
        },
        {
            let mut query = right();
            query.shadows[0].materialize = crate::sql::Materialize::Never;
            query
        },
        {
            let mut query = right();
            query.shadows.clear();
            query
        },
        {
            let mut query = right();
            query.parameters = 3;
            query
        },
        {
            let mut query = right();
            query.relations.clear();
            query
        },
    ];
    for query in wrong {
        let text = query.text.clone();
        let refusal = exchange(query, REST).expect_err(&text);
        assert_eq!(refusal.reason, Reason::ParsersDisagree, "{text}");
    }
    // What the open text may not say, no form may.
    let secret = "SELECT * FROM salaries";
    let sealed = query(format!("WITH invoices AS ({BODY}) {secret}"));
    assert!(exchange(sealed, secret).is_err());
}

#[test]
fn ordinary_queries_pass() {
    for case in cases().allowed {
        if let Err(refusal) = judge(&case) {
            panic!("{case}: {refusal}");
        }
    }
}

#[test]
fn everything_else_is_refused_for_its_reason_with_a_hint() {
    for (reason, cases) in cases().refused {
        for case in cases {
            let refusal = judge(&case).expect_err(&case);
            assert_eq!(refusal.reason.slug(), reason, "{case}: {refusal}");
            assert!(
                refusal
                    .hint
                    .is_some_and(|hint| hint.ends_with(['.', '?']) && hint.len() <= 200),
                "{case}"
            );
        }
    }
}

#[test]
fn a_shadow_that_differs_from_what_was_announced_is_refused() {
    let tail = "SELECT 1";
    let bodies = [
        "SELECT id, amount, department, note FROM public.invoices",
        "SELECT id, amount, department, note, salary FROM rowgate.invoices",
        "SELECT id, amount, department, note FROM rowgate.invoices UNION SELECT 1, 1, '', '' FROM secret",
    ];
    let mut texts: Vec<String> = bodies
        .iter()
        .map(|body| format!("WITH invoices AS ({body}) {tail}"))
        .collect();
    texts.extend([
        format!("WITH invoice AS ({BODY}) {tail}"),
        format!("WITH invoices AS MATERIALIZED ({BODY}) {tail}"),
        format!("WITH invoices AS NOT MATERIALIZED ({BODY}) {tail}"),
        format!("WITH invoices(a, b, c, d) AS ({BODY}) {tail}"),
        format!("WITH x AS (SELECT 1), invoices AS ({BODY}) {tail}"),
        format!("WITH invoices AS ({BODY}), invoices AS (SELECT 1) {tail}"),
        format!("SELECT * FROM (WITH invoices AS ({BODY}) {tail}) x"),
        tail.to_owned(),
    ]);
    for text in texts {
        let refusal = verify(query(text.clone()), &grants()).expect_err(&text);
        assert_eq!(refusal.reason, Reason::ParsersDisagree, "{text}");
    }
}

#[test]
fn an_announced_shadow_must_be_granted_and_read_its_own_view_in_its_form() {
    let judge = |body: &str, form: Form, change: fn(&mut ShadowedQuery)| {
        let mut query = query(format!("WITH invoices AS ({body}) SELECT * FROM invoices"));
        query.shadows[0].body = body.to_owned();
        query.form = form;
        change(&mut query);
        verify(query, &grants())
            .map(|_| ())
            .map_err(|refusal| refusal.reason)
    };
    let same: fn(&mut ShadowedQuery) = |_| {};
    let open = BODY.replace("rowgate.", "rowgate_open.");
    assert_eq!(judge(BODY, Form::Sealed, same), Ok(()));
    assert_eq!(judge(&open, Form::Open, same), Ok(()));
    assert_eq!(
        judge(&open, Form::Sealed, same),
        Err(Reason::ParsersDisagree)
    );
    assert_eq!(
        judge(BODY, Form::Inline, same),
        Err(Reason::ParsersDisagree)
    );
    for body in [
        "SELECT * FROM public.invoices",
        "SELECT * FROM secret",
        "SELECT 1",
        "SELECT $1 FROM rowgate.invoices",
    ] {
        assert_eq!(
            judge(body, Form::Sealed, same),
            Err(Reason::ParsersDisagree),
            "{body}"
        );
    }
    assert_eq!(
        judge(BODY, Form::Sealed, |query| query.shadows[0].relation =
            RelationName::new("public", "secret")),
        Err(Reason::ParsersDisagree)
    );
    assert_eq!(
        judge(BODY, Form::Sealed, |query| query.relations.clear()),
        Err(Reason::ParsersDisagree)
    );
}

#[test]
fn an_inline_body_is_materialized_qualified_and_uses_only_the_principals_parameters() {
    let grants = grants_with(ShadowSource::Inline(InlineBody::default()));
    let judge = |body: &str, materialized: &str, rest: &str| {
        let mut query = query(format!(
            "WITH RECURSIVE invoices AS {materialized}({body}){rest}"
        ));
        query.shadows[0].body = body.to_owned();
        query.shadows[0].materialize = crate::sql::Materialize::Always;
        query.principal_parameters = vec![PrincipalField::Roles];
        query.form = Form::Inline;
        verify(query, &grants)
            .map(|_| ())
            .map_err(|refusal| refusal.reason)
    };
    let good = "SELECT id FROM public.invoices WHERE department IN (SELECT department FROM public.permissions WHERE role = ANY ($3::text[]))";
    let disagree = Err(Reason::ParsersDisagree);
    assert_eq!(
        judge(good, "MATERIALIZED ", " SELECT $1, $2 FROM invoices"),
        Ok(())
    );
    assert_eq!(judge(good, "", " SELECT 1"), disagree);
    assert_eq!(
        judge(&good.replace("$3", "$2"), "MATERIALIZED ", " SELECT 1"),
        disagree
    );
    assert_eq!(
        judge(&good.replace("$3", "$4"), "MATERIALIZED ", " SELECT 1"),
        disagree
    );
    assert_eq!(
        judge(
            &good.replace("public.permissions", "permissions"),
            "MATERIALIZED ",
            ", permissions AS (SELECT 1) SELECT 1"
        ),
        disagree
    );
    assert_eq!(
        judge(good, "MATERIALIZED ", " SELECT $3"),
        Err(Reason::ParameterNotAllowed)
    );
}

#[test]
fn texts_that_postgresql_reads_otherwise_do_not_agree() {
    for (callers, printed) in [
        (
            "SELECT - -'\n rolname FROM pg_authid LIMIT 1 --'",
            "SELECT --'\n rolname FROM pg_authid LIMIT 1 --'",
        ),
        ("SELECT - - 5", "SELECT --5"),
        (
            r"SELECT 'x\'' UNION SELECT 2::text --'",
            r"SELECT 'x\' UNION SELECT 2::TEXT",
        ),
        ("SELECT 'a''''b'", "SELECT 'a''b'"),
        (
            "SELECT INTERVAL(3) '1.23456 s'",
            "SELECT INTERVAL '1.23456 s'",
        ),
        ("SELECT x ISNULL FROM t", "SELECT x AS ISNULL FROM t"),
        ("SELECT 'a'\n'b'", "SELECT 'a' AS b"),
        ("SELECT inet '1.1.1.1'", "SELECT inet AS '1.1.1.1'"),
        ("SELECT @ -5", "SELECT @-5"),
        ("SELECT * FROM ONLY secret", "SELECT * FROM secret ONLY"),
        ("SELECT 1 AND 2 OR 3", "SELECT 1 AND (2 OR 3)"),
        ("SELECT a FROM t", "SELECT a FROM t; SELECT b FROM t"),
        ("SELECT a FROM t", "DELETE FROM t"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t"),
    ] {
        let refusal = same_meaning(callers, printed).expect_err(callers);
        assert_eq!(refusal.reason, Reason::ParsersDisagree, "{callers}");
    }
    for (callers, printed) in [
        (
            "select a,b from T where a<>1 -- c",
            "SELECT a, b FROM t WHERE a != 1",
        ),
        ("SELECT CAST(a AS int) FROM t;", "SELECT a::INTEGER FROM t"),
        ("SELECT E'a\\nb'", "SELECT 'a\nb'"),
    ] {
        assert_eq!(same_meaning(callers, printed), Ok(()), "{callers}");
    }
    let reason =
        |text| same_meaning(text, "SELECT 1").map_err(|refusal| (refusal.reason, refusal.position));
    assert_eq!(reason("SELECT 1 2"), Err((Reason::SyntaxError, Some(10))));
    assert_eq!(
        reason("SELECT 1; SELECT 1"),
        Err((Reason::MultipleStatements, None))
    );
    assert_eq!(reason(""), Err((Reason::SyntaxError, None)));
    assert_eq!(reason("VACUUM"), Err((Reason::NotARead, None)));
}

#[test]
fn equal_tokens_are_enough_and_only_equal_tokens() {
    for (callers, printed) in [
        (
            "select a.b /* c */ from T as a -- x\n where a.b != 'x';",
            "SELECT a.b FROM T AS a WHERE a.b <> 'x'",
        ),
        (
            "SELECT E'a\\'b', $$x$$, $1::int, \"Q\" ;;",
            "SELECT E'a\\'b', $$x$$, $1::INT, \"Q\"",
        ),
        ("SELECT 'a'\n'b'", "SELECT 'a'\n'b'"),
    ] {
        assert!(tokens::equal(callers, printed), "{callers}");
        assert_eq!(same_tree(callers, printed), Ok(()), "{callers}");
    }
    for (callers, printed) in [
        ("SELECT - -'x --'", "SELECT --'x --'"),
        ("SELECT - - 5", "SELECT --5"),
        (
            r"SELECT 'x\'' UNION SELECT 2 --'",
            r"SELECT 'x\' UNION SELECT 2",
        ),
        ("SELECT 'a''''b'", "SELECT 'a''b'"),
        ("SELECT 'a'\n'b'", "SELECT 'a' 'b'"),
        ("SELECT E'a'", "SELECT 'a'"),
        ("SELECT E'\\n'", "SELECT '\\n'"),
        ("SELECT U&'a'", "SELECT U & 'a'"),
        ("SELECT N'a'", "SELECT 'a'"),
        ("SELECT B'1'", "SELECT X'1'"),
        ("SELECT \"A\"", "SELECT A"),
        ("SELECT Ab", "SELECT ab"),
        ("SELECT @ -5", "SELECT @-5"),
        ("SELECT 1.0", "SELECT 1.00"),
        ("SELECT $1", "SELECT $2"),
        ("SELECT 1; SELECT 2", "SELECT 1 SELECT 2"),
        ("SELECT 1 @/* c */- 2", "SELECT 1 @- 2"),
        ("SELECT a", "SELECT a b"),
        ("SELECT 'a", "SELECT 'a"),
    ] {
        assert!(!tokens::equal(callers, printed), "{callers}");
    }
}

/// On what noise makes of the cases, equal tokens never stand for different trees.
#[test]
fn equal_tokens_imply_equal_trees() {
    let cases = cases();
    let texts: Vec<String> = cases.secret.into_iter().chain(cases.allowed).collect();
    let mut found = 0;
    for text in &texts {
        for (from, to) in [
            (" ", "  "),
            (" ", "\n"),
            (" ", "/**/"),
            ("(", " ( "),
            (",", " ,"),
            ("'", "''"),
            ("SELECT", "select"),
            (" ", ""),
        ] {
            let other = text.replace(from, to);
            if tokens::equal(text, &other) {
                found += 1;
                let tree =
                    |text: &str| canonical::bytes(&pg::on_big_stack(|| pg::statements(text)).ok()?);
                assert_eq!(tree(text), tree(&other), "{text}\n{other}");
            }
        }
    }
    assert!(found > 500, "{found}");
}

#[test]
fn a_text_postgresql_does_not_read_is_told_as_a_syntax_error() {
    let disagreement = || disagree();
    let refusal = clearer("SELECT 1 FROM FROM", disagreement());
    assert_eq!(
        (refusal.reason, refusal.position),
        (Reason::SyntaxError, Some(15))
    );
    assert_eq!(
        clearer("SELECT 1; SELECT 2", disagreement()).reason,
        Reason::MultipleStatements
    );
    assert_eq!(
        clearer("SELECT 1", disagreement()).reason,
        Reason::ParsersDisagree
    );
    let bounds = Refusal::new(Reason::TooLarge, "x");
    assert_eq!(clearer("SELECT 1 FROM FROM", bounds.clone()), bounds);
    let column = Refusal::new(Reason::ColumnUnknown, "x");
    assert_eq!(
        clearer("SELECT 1 # UNION", column.clone()).reason,
        Reason::SyntaxError
    );
    assert_eq!(clearer("SELECT x", column.clone()), column);
}

#[test]
fn a_chain_at_the_limit_is_read_and_does_not_end_the_process() {
    for link in [
        "1+1",
        "1 AND 1",
        "1 OR NOT 1",
        "1::int",
        "1 UNION SELECT 1",
        "1 IS NULL",
        "1 || 1",
    ] {
        let (first, rest) = link.split_at(1);
        let text = format!("SELECT {first}{}", rest.repeat(500));
        assert_eq!(same_tree(&text, &text), Ok(()), "{link}");
        judge(&text).unwrap_or_else(|refusal| panic!("{link}: {refusal}"));
    }
    for deep in [
        "(".repeat(5000),
        "- ".repeat(20_000),
        "1+".repeat(20_000),
        "(SELECT ".repeat(3000),
    ] {
        let text = format!("SELECT {deep}1");
        let _ = same_tree(&text, &text);
        let _ = judge(&text);
    }
}

#[test]
fn noise_never_panics_and_never_passes_with_the_forbidden_name() {
    let cases = cases();
    let seeds: Vec<String> = cases
        .secret
        .into_iter()
        .chain(cases.allowed)
        .map(|case| with_shadow(&case))
        .collect();
    let pieces = [
        "secret", "(", ")", "'", "\"", "--", "/*", "*/", "$$", "SELECT ", " FROM ", ",", ";", "\0",
        "ä", "::", "WITH ",
    ];
    // A small linear congruential generator: the same noise on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..4_000 {
        let mut text = seeds[next(seeds.len())].clone();
        for _ in 0..=next(3) {
            let mut at = next(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            if next(2) == 0 {
                text.insert_str(at, pieces[next(pieces.len())]);
            } else {
                text.truncate(at.max(1));
            }
        }
        let _ = crate::sql::statement::split(&text, &crate::limits::Limits::default());
        let _ = same_tree(&text, &text);
        if verify(query(text.clone()), &grants()).is_ok() {
            assert_eq!(forbidden_reads(&text), 0, "{text}");
        }
    }
}

/// How often `secret` is read where no CTE of that name exists anywhere in the text.
fn forbidden_reads(text: &str) -> usize {
    let statements = pg::on_big_stack(|| pg::statements(text)).unwrap();
    let (_, facts) = canonical::bytes_and_facts(&statements).unwrap();
    if facts.ctes.iter().any(|name| name == "secret") {
        return 0;
    }
    facts
        .relations
        .iter()
        .filter(|(_, name)| name == "secret")
        .count()
}
