//! Where PostgreSQL's barrier is enough, and where the shadows are computed apart.

use crate::limits::Limits;
use crate::sql::tests::{form, grants, run};
use crate::sql::{Form, Options, admit};

#[test]
fn what_may_fail_without_a_column_is_computed_apart() {
    for text in [
        // A condition PostgreSQL takes into the view, where the left side decides on a hidden row.
        "SELECT id FROM invoices WHERE id <> 3 OR 1 / (SELECT 0) = 1",
        "SELECT id FROM invoices WHERE note = 'x' AND 1 / (SELECT 0) = id",
        "SELECT id FROM invoices WHERE CASE WHEN note < 'M' THEN 1 / (SELECT 0) = 1 ELSE true END",
        // Parameters are values only where the plan is made anew.
        "SELECT id FROM invoices WHERE id <> 3 OR 1 / $1 = 1",
        "SELECT id FROM invoices WHERE id <> 3 OR $1::text::int = 1",
        "SELECT id FROM invoices WHERE id = $1 AND amount > 1.5 * $1",
        "SELECT id FROM invoices WHERE id <> 3 OR amount::text || '%' ~ lower($1 || $2)",
        // Stable functions of literals are not folded.
        "SELECT id FROM invoices WHERE id <> 3 OR to_date('x', 'YYYY') = '2024-01-01'",
        "SELECT id FROM invoices WHERE id <> 3 OR now() - interval '999999 years' < '2024-01-01'",
        "SELECT id FROM invoices WHERE id <> 3 OR date_trunc('nonsense', now()) < '2024-01-01'",
        "SELECT id FROM invoices WHERE id <> 3 OR date '5874897-01-01' + interval '1 day' + (SELECT interval '1 day') > '2024-01-01'",
        // A column of a query around it is a parameter here.
        "SELECT 1 FROM customers c WHERE EXISTS (SELECT 1 FROM invoices i WHERE i.id = 3 AND 1 / (c.id - c.id) = 1)",
        "SELECT 1 FROM customers c, LATERAL (SELECT 1 FROM invoices i WHERE i.id = 3 AND 1 / (c.id - c.id) = 1) x",
        "SELECT (SELECT max(i.id) FROM invoices i WHERE i.id <> 3 OR 1 / (c.id - c.id) = 1) FROM customers c",
        "SELECT 1 FROM (SELECT 1e400 AS z) s WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = 3 AND c.score > s.z)",
        // A column that is no column any more where the condition comes to stand.
        "SELECT 1 FROM (SELECT id, (SELECT 0) AS z FROM invoices) s WHERE id <> 3 OR 1 / z = 1",
        "WITH s AS (SELECT id, 0 AS z FROM invoices) SELECT 1 FROM s WHERE id <> 3 OR z / (SELECT 0) = 1",
        "SELECT 1 FROM (SELECT id, 0 AS z FROM invoices UNION ALL SELECT id, id FROM invoices) s WHERE id <> 3 OR z / (SELECT 0) = 1",
        "SELECT 1 FROM (SELECT id, CASE WHEN false THEN id ELSE 0 END AS z FROM invoices) s WHERE id <> 3 OR z / (SELECT 0) = 1",
        // A column that simplification takes away.
        "SELECT id FROM invoices WHERE id <> 3 OR coalesce(0, id) / (SELECT 0) = 1",
        "SELECT id FROM invoices WHERE id <> 3 OR coalesce(id + NULL, 0) / (SELECT 0) = 1",
        "SELECT id FROM invoices WHERE id <> 3 OR (CASE WHEN false THEN id ELSE 0 END) / (SELECT 0) = 1",
        // A subquery that fails when it is first asked.
        "SELECT id FROM invoices WHERE id <> 3 OR (SELECT 1 / (id - id) FROM customers LIMIT 1) = 1",
        "SELECT id FROM invoices WHERE id <> 3 OR (SELECT id FROM customers) = 1",
        "SELECT id FROM invoices WHERE id <> 3 OR EXISTS (SELECT 1 FROM customers WHERE note::int = 1)",
        // An array of arrays is taken for harmless, and is not.
        "SELECT id FROM invoices WHERE ARRAY[string_to_array(note, ','), '{a,b}'] IS NOT NULL AND id / 0 = 1",
        // HAVING that moves to WHERE, and the outputs of a subquery.
        "SELECT id FROM invoices GROUP BY id HAVING NOT (count(*) < 0 OR 1 / (SELECT 0) < id)",
        "SELECT 1 FROM (SELECT DISTINCT id, 1 / (SELECT 0) AS z FROM invoices) s WHERE id <> 3 OR z = 1",
        "SELECT 1 FROM invoices i JOIN customers c ON i.id <> 3 OR 1 / (SELECT 0) = 1",
        // The operand of CASE is no column where it is compared, and what has none is turned into the type beside it.
        "SELECT id FROM invoices WHERE CASE amount WHEN 1.5::float8 THEN note::int = 1 ELSE true END",
        "SELECT id FROM invoices WHERE date IN (timestamp '294276-12-31', now()) OR note::int = 1",
        "SELECT 1 FROM customers JOIN (SELECT (SELECT 1e400 LIMIT 1) AS score) s USING (score) WHERE name::int = 1",
        "SELECT 1 FROM customers NATURAL JOIN (SELECT (SELECT 1e400 LIMIT 1) AS score) s WHERE name::int = 1",
        "SELECT id FROM customers WHERE score > CASE WHEN $1 THEN 1e400 ELSE 0 END OR name::int = 1",
        // Without LATERAL, and in the condition of a join, what stands beside it has no name.
        "SELECT (SELECT max(n) FROM (SELECT id AS z FROM customers) s, (SELECT count(*) AS n FROM invoices i WHERE 1 / s.z = i.id OR 1 / s.z = 0) q) \
         FROM (SELECT id - id AS z FROM customers) s",
        "SELECT (SELECT max(i.id) FROM (SELECT id AS z FROM customers) s, customers c JOIN invoices i ON 1 / s.z = 1) \
         FROM (SELECT id - id AS z FROM customers) s",
        // Subqueries that need no column of the row they are asked for, once they are simplified.
        "SELECT id FROM invoices i WHERE id <> 3 OR (SELECT 1 / count(*) FROM customers c WHERE c.id = i.id AND false) = id",
        "SELECT id FROM invoices i WHERE id <> 3 OR (SELECT 1 / count(*) FROM customers c WHERE c.id = i.id AND c.id < NULL) = id",
        "SELECT id FROM invoices i WHERE id <> 3 OR (SELECT 1 / count(*) FROM customers c WHERE c.id = i.id OR true) = id",
        "SELECT id FROM invoices i WHERE id <> 3 OR (SELECT 1 / count(*) FROM customers i WHERE i.id = i.id) = id",
        // A WITH query that fails when it is first asked.
        "WITH c AS (SELECT 1 / (id - id) AS x FROM customers) SELECT id FROM invoices WHERE id <> 3 OR EXISTS (SELECT 1 FROM c)",
    ] {
        let query = run(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert_eq!(query.form(), Form::Sealed, "{text}");
        let shadows = query.text().matches(" AS MATERIALIZED (SELECT ").count();
        let tables = query.relations().len();
        assert_eq!(shadows, tables, "{text}\n{}", query.text());
    }
}

#[test]
fn what_holds_on_to_its_columns_is_left_to_the_barrier() {
    for text in [
        "SELECT id FROM invoices WHERE id = 5 AND note::int > 3",
        "SELECT id FROM invoices WHERE id = $1 AND note::int > $2",
        "SELECT id FROM invoices WHERE id = ANY ($1) AND note ~ 'x'",
        "SELECT id FROM invoices WHERE date >= current_date - 30 AND note ~ 'x'",
        "SELECT id FROM invoices WHERE date >= date_trunc('month', now()) - interval '1 month' AND amount * 2 > 10",
        "SELECT id FROM invoices WHERE date < date '2024-01-31' + interval '1 month' AND note ~ '^a'",
        "SELECT * FROM (SELECT id, sum(amount) AS s, count(*) AS n FROM invoices GROUP BY id) x WHERE s / n > 5 AND id + 1 > 3",
        "WITH m AS (SELECT date_trunc('month', date) AS m, sum(CASE WHEN id > 3 THEN amount ELSE 0 END) AS total FROM invoices \
         GROUP BY 1) SELECT m, total / 0 FROM m WHERE total * 2 > 10",
        "SELECT i.id FROM invoices i JOIN customers c ON c.id = i.id WHERE lower(c.name) || 'x' = 'acmex'",
        "SELECT id FROM invoices WHERE amount > (SELECT avg(amount) FROM invoices) AND note ~ 'x'",
        "SELECT id FROM invoices i WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = i.id) AND i.note ~ 'x'",
        "SELECT id FROM invoices WHERE note ILIKE '%' || $1 || '%'",
        "SELECT 1 / (SELECT 0), id FROM invoices WHERE note::int = 1",
        "SELECT id FROM invoices i WHERE amount > (SELECT 0.5 * sum(score) FROM customers c WHERE c.id = i.id AND c.name >= 'x')",
        "SELECT id FROM invoices i WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = i.id AND c.name::int > 3)",
        "SELECT id FROM invoices WHERE 10 / nullif(amount, 0) > 3 AND amount BETWEEN 1.5 AND 2 * 3",
        "SELECT * FROM (SELECT id, CASE WHEN id > 3 THEN amount / id ELSE -amount END AS x FROM invoices) y WHERE x * 2 > 7",
    ] {
        let (form, why) = form(text);
        assert_eq!(form, Form::Sealed, "{text}");
        assert!(!why.contains("apart"), "{text}: {why}");
    }
}

/// Looked at from both sides on each level, these would take until the end of days.
#[test]
fn what_is_deep_takes_no_longer_than_it_is_long() {
    let chain = "id + ".repeat(300);
    let calls = format!("{}id{}", "abs(".repeat(40), ")".repeat(40));
    let asked = "id = (SELECT max(id) FROM invoices WHERE ".repeat(15);
    let within = ")".repeat(15);
    let joined = "id + note::int = (SELECT max(id) FROM invoices WHERE ".repeat(15);
    for condition in [
        format!("note::int > {chain} id"),
        format!("note::int > {calls}"),
        format!("note::int = 1 AND {asked} id = 1{within}"),
        format!("note::int = 1 AND {joined} id = 1{within}"),
    ] {
        let text = format!("SELECT id FROM invoices WHERE {condition}");
        let query = run(&text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
        assert_eq!(query.form(), Form::Sealed, "{text}");
    }
}

#[test]
fn a_declared_parameter_type_can_set_apart() {
    let (int8, unknown, texts) = (20, 705, 1009);
    for (text, types, apart) in [
        (
            "SELECT id FROM invoices WHERE note::int = $1",
            [int8],
            false,
        ),
        // A number beside an oid is turned into one, which is not folded in a plan that is kept.
        (
            "SELECT id FROM invoices WHERE note::int = 1 OR id::oid = $1",
            [int8],
            true,
        ),
        // A declared "unknown" is none: it takes its type where it stands first.
        (
            "SELECT id FROM customers WHERE name::int = 1 OR score > $1",
            [unknown],
            false,
        ),
        (
            "SELECT c.id FROM customers c, invoices i WHERE amount <> $1 AND (c.name::int = 1 OR score > $1)",
            [unknown],
            true,
        ),
        // Arrays of other lengths cannot be joined.
        (
            "SELECT id FROM invoices WHERE note::int = 1 OR ($1 || '{{a,b}}') IS NULL",
            [texts],
            true,
        ),
    ] {
        let options = Options {
            limits: Limits::default(),
            open_allowed: true,
            parameter_types: types.to_vec(),
        };
        let query = admit(text, &grants(), &options).unwrap_or_else(|r| panic!("{text}: {r:?}"));
        assert_eq!(query.form_reason().contains("apart"), apart, "{text}");
    }
}
