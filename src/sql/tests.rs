//! What `admit` makes of a query: final texts a reader can sign, and which form each gets.

use super::{Form, Options, admit};
use crate::error::{Reason, Refusal};
use crate::limits::Limits;
use crate::policy::{ColumnType, GrantedColumn, GrantedTable, Grants, RelationName, ShadowSource};

fn table(schema: &str, name: &str, columns: &[(&str, &str)]) -> GrantedTable {
    let column = |(name, type_): &(&str, &str)| GrantedColumn {
        name: (*name).to_owned(),
        type_: ColumnType::builtin(type_),
        plain: *name != "masked",
    };
    GrantedTable {
        relation: RelationName::new(schema, name),
        columns: columns.iter().map(column).collect(),
        primary_key: vec!["id".to_owned()],
        source: ShadowSource::Installed {
            sealed: RelationName::new("rowgate", name),
            open: RelationName::new("rowgate_open", name),
        },
    }
}

pub(super) fn grants() -> Grants {
    let invoices = [
        ("id", "int4"),
        ("amount", "numeric"),
        ("date", "date"),
        ("note", "text"),
    ];
    let people = [("id", "int4"), ("name", "text"), ("masked", "text")];
    let customers = [("id", "int4"), ("name", "text"), ("score", "float8")];
    let tables = vec![
        table("public", "invoices", &invoices),
        table("public", "customers", &customers),
        table("public", "people", &people),
        table("public", "hidden", &[("masked", "text")]),
        table("sales", "orders", &[("id", "int4")]),
    ];
    Grants::new(tables, vec!["public".to_owned()], Vec::new()).on_server(150_000)
}

fn options() -> Options {
    Options {
        limits: Limits::default(),
        open_allowed: true,
        parameter_types: Vec::new(),
    }
}

pub(super) fn run(text: &str) -> Result<super::VerifiedQuery, Refusal> {
    admit(text, &grants(), &options())
}

const INVOICES: &str = "invoices AS (SELECT id, amount, date, note FROM rowgate_open.invoices)";
const PEOPLE: &str = "people AS (SELECT id, name FROM rowgate_open.people)";
const CUSTOMERS: &str = "customers AS (SELECT id, name, score FROM rowgate_open.customers)";

fn becomes(text: &str, expected: &str) {
    let query = run(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    assert_eq!(query.text().as_ref(), expected, "{text}");
}

#[test]
fn tables_become_shadows() {
    becomes(
        "SELECT SUM(amount) FROM invoices;",
        &format!("WITH {INVOICES} SELECT SUM(amount) FROM invoices"),
    );
    becomes(
        "select public.invoices.id from public.invoices",
        &format!("WITH {INVOICES} SELECT invoices.id FROM invoices"),
    );
    becomes(
        "TABLE invoices",
        &format!("WITH {INVOICES} SELECT * FROM invoices"),
    );
    becomes("SELECT 1", "SELECT 1");
    becomes(
        "SELECT * FROM sales.orders",
        "WITH orders AS (SELECT id FROM rowgate_open.orders) SELECT * FROM orders",
    );
}

#[test]
fn what_models_write_is_accepted() {
    for text in [
        "SELECT count(*) OVER w FROM invoices WINDOW w AS (ORDER BY id)",
        "SELECT ROW(1, id), row(2) FROM invoices",
        "SELECT id FROM invoices LIMIT ALL",
        "SELECT date + make_interval(days => 3) FROM invoices",
        "(WITH a AS (SELECT id FROM invoices) SELECT * FROM a) ORDER BY 1 LIMIT 3",
        "SELECT id ISNULL, note NOTNULL FROM invoices",
        "SELECT id AS notnull, note AS isnull FROM invoices",
        "SELECT i.note member, i.id AS member FROM invoices i ORDER BY member",
        "SELECT id FROM customers UNION ALL (TABLE sales.orders)",
    ] {
        run(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    }
    let refusal = run(&format!("SELECT {}a", "a.".repeat(5000))).unwrap_err();
    assert!(refusal.message.len() < 200, "{}", refusal.message.len());
}

#[test]
fn two_readings_of_one_table_share_a_shadow() {
    let body = INVOICES.replace("AS (", "AS NOT MATERIALIZED (");
    becomes(
        "SELECT a.id FROM invoices a JOIN Invoices b ON a.id = b.id",
        &format!("WITH {body} SELECT a.id FROM invoices a JOIN Invoices b ON a.id = b.id"),
    );
}

#[test]
fn a_with_query_named_like_a_table_gets_out_of_the_way() {
    let shadow = INVOICES.replacen("invoices", "rowgate_invoices", 1);
    becomes(
        "WITH invoices AS (SELECT * FROM invoices WHERE id = 5) SELECT count(*) FROM invoices",
        &format!(
            "WITH {shadow}, invoices AS (SELECT * FROM rowgate_invoices AS invoices WHERE id = 5) \
             SELECT count(*) FROM invoices"
        ),
    );
}

#[test]
fn with_queries_keep_their_scope() {
    // The first body cannot see the later `b`; under RECURSIVE it can.
    let refusal = run("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a").unwrap_err();
    assert_eq!(refusal.reason, Reason::RelationUnknown);
    run("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1 AS x) SELECT * FROM a").unwrap();
    let refusal = run("SELECT * FROM (WITH secret AS (SELECT 1) SELECT 1 FROM secret) x, secret")
        .unwrap_err();
    assert_eq!(refusal.reason, Reason::RelationUnknown);
}

#[test]
fn group_by_a_key_gets_the_columns_it_determines() {
    becomes(
        "SELECT c.name, count(*) FROM customers c JOIN invoices i ON i.id = c.id GROUP BY c.id",
        &format!(
            "WITH {CUSTOMERS}, {INVOICES} SELECT c.name, count(*) FROM customers c JOIN invoices i ON i.id = c.id \
             GROUP BY c.id, c.name"
        ),
    );
    becomes(
        "SELECT name, sum(score) FROM customers GROUP BY id ORDER BY name",
        &format!(
            "WITH {CUSTOMERS} SELECT name, sum(score) FROM customers GROUP BY id, customers.name ORDER BY name"
        ),
    );
}

#[test]
fn refusals_say_where_and_what_next() {
    let cases = [
        (
            "SELECT * FROM invoice",
            Reason::RelationUnknown,
            15,
            "Did you mean invoices?",
        ),
        (
            "SELECT amont FROM invoices",
            Reason::ColumnUnknown,
            8,
            "Did you mean amount?",
        ),
        (
            "SELECT i.amont FROM invoices i",
            Reason::ColumnUnknown,
            8,
            "Did you mean amount?",
        ),
        (
            "SELECT pg_read_file('x') FROM invoices",
            Reason::FunctionNotAllowed,
            8,
            "",
        ),
        ("SELECT id, FROM invoices", Reason::SyntaxError, 12, ""),
        (
            "SELECT ctid FROM invoices",
            Reason::UnsupportedSyntax,
            8,
            "Use the table's key. In DuckDB: SET pg_use_ctid_scan = false.",
        ),
    ];
    for (text, reason, position, hint) in cases {
        let refusal = run(text).unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.position),
            (reason, Some(position)),
            "{text}"
        );
        assert!(refusal.hint.unwrap_or_default().contains(hint), "{text}");
    }
}

pub(super) fn form(text: &str) -> (Form, String) {
    let query = run(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
    (query.form(), query.form_reason().to_owned())
}

#[test]
fn silent_queries_are_open() {
    for text in [
        "SELECT 1/(amount - 3), note::int FROM invoices WHERE id = 5",
        "SELECT sum(amount * 2) FROM invoices WHERE date >= CURRENT_DATE - INTERVAL '30 days'",
        "SELECT c.name, sum(i.amount) FROM invoices i JOIN customers c ON c.id = i.id GROUP BY c.name HAVING sum(i.amount) > 10",
        "SELECT * FROM invoices WHERE note ILIKE '%late%' AND extract(year FROM date) = 2024 OR amount BETWEEN 1 AND 2.5",
        "SELECT * FROM invoices WHERE amount > (SELECT avg(amount) FROM invoices)",
        "SELECT * FROM invoices i WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = i.id)",
        "SELECT * FROM (SELECT id, count(*) / 0 AS n FROM invoices GROUP BY id) x WHERE n > 1",
        "WITH t AS (SELECT id, lower(note) AS n FROM invoices) SELECT * FROM t WHERE n = 'x'",
        "SELECT id FROM invoices WHERE id IN (1, 2) UNION SELECT id FROM customers ORDER BY 1 LIMIT 5",
        "SELECT rank() OVER (ORDER BY amount) FROM invoices WHERE id = $1",
    ] {
        let (form, why) = form(text);
        assert_eq!(form, Form::Open, "{text}: {why}");
    }
}

#[test]
fn whatever_could_fail_on_a_hidden_row_is_sealed() {
    for text in [
        "SELECT id FROM invoices WHERE note::int = 1",
        "SELECT id FROM invoices WHERE 1 / (amount - 3) > 0",
        "SELECT id FROM invoices WHERE CASE WHEN amount = 3 THEN 1 / 0 ELSE 1 END = 1",
        "SELECT * FROM (SELECT id, 1 / (amount - 3) AS x FROM invoices) q WHERE x > 0",
        "WITH q AS (SELECT id, note::int AS x FROM invoices) SELECT * FROM q WHERE x > 0",
        "SELECT c.id FROM customers c JOIN invoices i ON i.amount = c.score",
        "SELECT id FROM invoices WHERE (SELECT x FROM (VALUES (1), (2)) v(x) WHERE amount > 100) = 1",
        "SELECT id FROM invoices i WHERE 1 = (SELECT 1 / (count(*) - 5) FROM customers c WHERE c.id = i.id)",
        "SELECT min(1 / (amount - 3)) FROM invoices",
        "SELECT x FROM invoices, generate_series(1, id) AS g(x)",
        "SELECT x FROM invoices i, LATERAL (SELECT 1 / (i.amount - 3) AS x) l",
        "SELECT count(*) FROM invoices GROUP BY amount HAVING 1 / (amount - 3) > 0",
        "SELECT id FROM invoices WHERE note LIKE 'a\\'",
        "SELECT id FROM invoices WHERE note LIKE $1",
        "SELECT id FROM invoices WHERE note ~ '('",
        "SELECT id FROM invoices WHERE date > CURRENT_DATE - INTERVAL '999999 years'",
        "SELECT (SELECT count(*) FROM invoices i WHERE i.note::int = c.id) FROM customers c",
        "SELECT id FROM invoices UNION SELECT id FROM (SELECT id, note::int AS n FROM invoices) q WHERE n = 1",
    ] {
        let (form, why) = form(text);
        assert_eq!(form, Form::Sealed, "{text}");
        assert!(!why.is_empty());
    }
}

/// The open form of a view has no masked column; so no plan can evaluate the mask on a hidden row.
#[test]
fn the_open_form_leaves_masked_columns_out() {
    becomes(
        "SELECT p.name, sum(i.amount) FROM people p JOIN invoices i USING (id) WHERE i.id = 5 GROUP BY p.name",
        &format!(
            "WITH {PEOPLE}, {INVOICES} SELECT p.name, sum(i.amount) FROM people p JOIN invoices i USING(id) \
             WHERE i.id = 5 GROUP BY p.name"
        ),
    );
    becomes(
        "SELECT count(*) FROM people",
        &format!("WITH {PEOPLE} SELECT count(*) FROM people"),
    );
    // Inside the barrier PostgreSQL would evaluate a leakproof comparison with the mask before the filter; it takes no
    // sub-select there.
    becomes(
        "SELECT id FROM people WHERE masked = 'x'",
        "WITH people AS (SELECT id, name, (SELECT permission_view.masked) AS masked FROM rowgate.people AS permission_view) \
         SELECT id FROM people WHERE masked = 'x'",
    );
}

/// Before version 14 EXTRACT casts a date to a timestamp, and dates reach further.
#[test]
fn extract_from_a_date_is_silent_where_the_server_is_known_to_do_it_so() {
    let text = "SELECT id FROM invoices WHERE extract(year FROM date) = 2024";
    for (version, expected) in [
        (0, Form::Sealed),
        (130_022, Form::Sealed),
        (140_000, Form::Open),
        (180_001, Form::Open),
    ] {
        let query = admit(text, &grants().on_server(version), &options()).unwrap();
        assert_eq!(query.form(), expected, "{version}");
    }
    let (old, new) = (grants().on_server(130_022), grants());
    assert_ne!(old.fingerprint(), new.fingerprint(), "no rewrite is shared");
}

/// A view with an expression in its body has a barrier only, which may fail on a row that the caller may see. Whether
/// it runs tells, beside another relation, that this one had a row.
#[test]
fn a_view_without_an_open_form_is_not_joined_to_open_ones() {
    let only_sealed = |name: &str| RelationName::new("rowgate", name);
    let mut tables = grants().tables().to_vec();
    for table in &mut tables {
        if table.relation.name == "customers" {
            table.source = ShadowSource::Installed {
                sealed: only_sealed("customers"),
                open: only_sealed("customers"),
            };
        }
    }
    let grants = Grants::new(tables, vec!["public".to_owned()], Vec::new());
    for (text, expected) in [
        ("SELECT name FROM customers WHERE id = 5", Form::Open),
        (
            "SELECT c.name FROM invoices i JOIN customers c ON c.id = i.id",
            Form::Sealed,
        ),
        (
            "SELECT name FROM customers WHERE id IN (SELECT id FROM invoices)",
            Form::Sealed,
        ),
    ] {
        let query = admit(text, &grants, &options()).unwrap();
        assert_eq!(query.form(), expected, "{text}");
    }
}

/// A query that asks for a masked column, or might mean it, reads the barrier: with the column left out it would fail,
/// or mean something else.
#[test]
fn whatever_might_mean_a_masked_column_is_sealed() {
    for text in [
        "SELECT masked FROM people",
        "SELECT p.masked FROM people p",
        "SELECT upper(masked) FROM people WHERE id = 5",
        "SELECT id FROM people WHERE masked = 'x'",
        "SELECT id FROM people WHERE masked IS NULL",
        "SELECT i.id FROM invoices i LEFT JOIN people p ON p.masked = i.note",
        "SELECT i.id FROM invoices i LEFT JOIN people p ON p.id = i.id ORDER BY p.masked",
        "SELECT count(*) FROM people GROUP BY masked",
        "SELECT count(DISTINCT masked) FROM people",
        "SELECT max(masked) FROM people",
        "SELECT string_agg(name, ',' ORDER BY masked) FROM people",
        "SELECT count(*) FILTER (WHERE masked = 'x') FROM people",
        "SELECT count(*) FROM people HAVING max(masked) > 'x'",
        "SELECT rank() OVER (ORDER BY masked) FROM people",
        "SELECT rank() OVER w FROM people WINDOW w AS (PARTITION BY masked)",
        "SELECT lag(masked) OVER (ORDER BY id) FROM people",
        "SELECT DISTINCT ON (masked) id FROM people",
        // All columns, whole rows, and names by position.
        "SELECT * FROM people",
        "SELECT p.* FROM people p JOIN invoices i ON i.id = p.id",
        "TABLE people",
        "SELECT count(*) FROM (SELECT * FROM people) q",
        "WITH q AS (TABLE people) SELECT id FROM q",
        "SELECT 1 FROM invoices i WHERE EXISTS (SELECT * FROM people p WHERE p.id = i.id)",
        "SELECT p FROM people p",
        "SELECT people FROM people",
        "SELECT count(p) FROM people p",
        "SELECT row_to_json(p) FROM people p",
        "SELECT c FROM people AS p(a, b, c)",
        "SELECT count(b) FROM people AS p(a, b)",
        "SELECT count(*) FROM people p JOIN people q USING (masked)",
        "SELECT count(*) FROM people p NATURAL JOIN invoices i",
        // Names that would mean something else were the column not there.
        "SELECT name AS masked FROM people ORDER BY masked",
        "SELECT max(name) AS masked FROM people GROUP BY masked",
        "SELECT (SELECT max(masked) FROM people) FROM (SELECT note AS masked FROM invoices) q",
        "SELECT (SELECT 1 FROM people WHERE masked = 'x' LIMIT 1) FROM (SELECT note AS masked FROM invoices) q",
        "SELECT 1 FROM (SELECT note AS masked FROM invoices) q WHERE EXISTS (SELECT 1 FROM people WHERE masked > 'x')",
        "SELECT 1 FROM (SELECT note AS masked FROM invoices) q, LATERAL (SELECT masked FROM people) r",
        // Nothing would be left to select.
        "SELECT count(*) FROM hidden",
    ] {
        let (form, why) = form(text);
        assert_eq!(form, Form::Sealed, "{text}");
        assert!(!why.is_empty());
    }
}

/// Each of these was accepted as open once, and told of a hidden row on PostgreSQL 15 (the first ones: its value).
#[test]
fn what_sinks_below_the_filter_after_all_is_sealed() {
    for text in [
        // Parts of HAVING that lose their aggregate move to WHERE.
        "SELECT note FROM invoices GROUP BY note HAVING NOT (count(*) < 0 OR note::int < 1)",
        "SELECT note FROM invoices GROUP BY note HAVING (note::int, count(*)) = (5, 3)",
        "SELECT note FROM invoices GROUP BY note HAVING 1 BETWEEN note::int AND count(*)",
        "SELECT note FROM invoices GROUP BY note HAVING (note::int > 1 AND count(*) > 0) = true",
        "SELECT note FROM invoices GROUP BY note HAVING (note::int > 1 AND count(*) > 0) OR (note::int > 1 AND sum(id) > 0)",
        "SELECT note FROM invoices GROUP BY note HAVING CASE WHEN true THEN note::int > 1 ELSE count(*) > 0 END",
        "SELECT * FROM (SELECT note, CASE WHEN true THEN note::int ELSE count(*) END AS x FROM invoices GROUP BY note) q WHERE x > 1",
        // A sort key is computed where PostgreSQL sorts, which may be below the join that filters.
        "SELECT id FROM invoices ORDER BY note::int LIMIT 5",
        "SELECT note::int AS n FROM invoices ORDER BY n",
        "SELECT note::int FROM invoices ORDER BY note",
        "SELECT note::int FROM invoices ORDER BY 1",
        "SELECT count(*) FROM invoices GROUP BY note::int",
        "SELECT note::int AS n, count(*) FROM invoices GROUP BY n",
        "SELECT DISTINCT note::int FROM invoices",
        "SELECT DISTINCT ON (note::int) id FROM invoices",
        "SELECT rank() OVER (ORDER BY note::int) FROM invoices",
        "SELECT rank() OVER w FROM invoices WINDOW w AS (PARTITION BY note::int)",
        "SELECT array_agg(id ORDER BY note::int) FROM invoices",
        "SELECT count(DISTINCT note::int) FROM invoices",
        "SELECT note::int FROM invoices UNION SELECT id FROM invoices",
        "SELECT bool_or(note::int > 5) FROM invoices",
        // Whether a subquery runs at all depends on the rows beside it.
        "WITH c AS (SELECT 1 / (count(*) - 5) AS x FROM customers) SELECT id FROM invoices i WHERE EXISTS (SELECT 1 FROM c WHERE c.x = i.id)",
        "SELECT id FROM invoices i WHERE EXISTS (WITH c AS (SELECT 1 / (count(*) - 5) AS x FROM customers) SELECT 1 FROM c WHERE c.x = i.id)",
        "SELECT id FROM invoices i WHERE EXISTS (SELECT 1 FROM (SELECT 1 / (count(*) - 5) AS x FROM customers) c WHERE c.x = i.id)",
        "SELECT i.id FROM invoices i JOIN (SELECT 1 / (count(*) - 5) AS x FROM customers) c ON c.x = i.id",
        "SELECT x FROM (SELECT 1 / (count(*) - 5) AS x FROM customers) c WHERE x IN (SELECT id FROM invoices WHERE note = 'x')",
        // Numbers of the caller's own overflow a sum.
        "WITH b AS (SELECT 3 AS k, 9e131071 AS v UNION ALL SELECT 3 AS k, 9e131071 AS v) SELECT id FROM invoices WHERE (SELECT sum(v) FROM b WHERE b.k = invoices.id) > 5",
        // Before the first timestamp there is.
        "SELECT id FROM invoices WHERE (date > CURRENT_DATE - INTERVAL '9999 years') IS NOT NULL",
        // A date beyond the timestamps.
        "SELECT id FROM invoices WHERE date_part('year', date) = 3",
        "SELECT id FROM invoices i LEFT JOIN (SELECT CURRENT_DATE - INTERVAL '1 day' AS date FROM customers) t USING (date) WHERE date IS NOT NULL",
        "SELECT amount FROM invoices UNION SELECT score FROM customers",
        // One place gives the parameter its type, text; the other casts it, for each row.
        "SELECT id FROM invoices WHERE note <> $1::text AND (date > $1::date) IS NOT NULL",
    ] {
        assert_eq!(form(text).0, Form::Sealed, "{text}");
    }
}

#[test]
fn sort_keys_and_conditions_over_aggregates_stay_open() {
    for text in [
        "SELECT note, sum(amount) / count(*) AS a FROM invoices GROUP BY note HAVING sum(amount) / count(*) > 3 ORDER BY a DESC, sum(amount) / 2",
        "SELECT note, round(sum(amount), 2) FROM invoices GROUP BY 1 ORDER BY 2 DESC",
        "SELECT extract(year FROM date) AS y, count(*) * 100.0 / (SELECT count(*) FROM invoices) FROM invoices GROUP BY y ORDER BY y",
        "SELECT note::int, id FROM invoices ORDER BY id",
        "SELECT id FROM customers UNION SELECT amount FROM invoices ORDER BY 1",
        "SELECT c.name, s.total FROM customers c JOIN (SELECT id, sum(amount) AS total FROM invoices GROUP BY id) s ON s.id = c.id WHERE s.total > 10 ORDER BY s.total",
        "SELECT * FROM (SELECT id, row_number() OVER (PARTITION BY note ORDER BY amount DESC) AS n FROM invoices) x JOIN customers c ON c.id = x.id WHERE n <= 3",
        "SELECT 'a' AS k, amount * 2 FROM invoices UNION ALL SELECT 'b', sum(amount) FROM invoices",
    ] {
        let (form, why) = form(text);
        assert_eq!(form, Form::Open, "{text}: {why}");
    }
}

#[test]
fn a_declared_parameter_type_can_seal() {
    // numeric = float8 casts the row's value, which can overflow.
    let text = "SELECT id FROM invoices WHERE amount > $1";
    for (oid, expected) in [
        (0, Form::Open),
        (1700, Form::Open),
        (23, Form::Open),
        (701, Form::Sealed),
    ] {
        let options = Options {
            limits: Limits::default(),
            open_allowed: true,
            parameter_types: vec![oid],
        };
        assert_eq!(
            admit(text, &grants(), &options).unwrap().form(),
            expected,
            "{oid}"
        );
    }
}

/// What the walk over sqlparser's tree makes of a text when neither libpg_query check stands beside it.
fn rewritten_alone(text: &str) -> Result<(), Refusal> {
    let grants = grants();
    let super::parse::Parsed {
        mut query,
        names,
        cte_names,
        parameters: _,
    } = super::parse::parse(text, &Limits::default())?;
    let mut rewriter = super::rewrite::Rewriter::new(&grants, text, names, cte_names);
    rewriter.query(&mut query).map(drop)
}

#[test]
fn the_rewriter_alone_refuses_what_verify_alone_refuses() {
    #[derive(serde::Deserialize)]
    struct Cases {
        secret: Vec<String>,
        allowed: Vec<String>,
        refused: std::collections::BTreeMap<String, Vec<String>>,
    }
    let cases: Cases = toml::from_str(include_str!("verify/cases.toml")).unwrap();
    assert!(!cases.allowed.is_empty());
    for case in &cases.secret {
        // A qualified name of a granted table or of a catalogue relation is the rewriter's to resolve, and verify's
        // to refuse.
        let resolved = ["public.invoices", "information_schema.tables"];
        if !resolved.iter().any(|name| case.contains(name)) {
            assert!(rewritten_alone(case).is_err(), "{case}");
        }
    }
    for reason in ["function_not_allowed", "cast_not_allowed", "not_a_read"] {
        for case in &cases.refused[reason] {
            // Or something else takes its place, which verify lets through.
            let options = Options {
                limits: Limits::default(),
                open_allowed: false,
                parameter_types: Vec::new(),
            };
            let replaced = || admit(case, &grants(), &options).is_ok();
            assert!(
                rewritten_alone(case).is_err() || replaced(),
                "{reason}: {case}"
            );
        }
    }
}

/// `isnull` and `notnull` are operators behind an operand, and names behind AS.
#[test]
fn notnull_is_an_operator_and_may_be_an_alias() {
    for text in [
        "SELECT NULL AS notnull, 1 AS isnull",
        "SELECT id NOTNULL AS notnull FROM invoices WHERE id ISNULL",
    ] {
        run(text).expect(text);
    }
}
