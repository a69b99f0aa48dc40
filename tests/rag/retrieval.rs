//! Documents, folders, deals and collections, and full text search.

use crate::{form, gate, gate_within, ids, plan, support};
use rowgate::config::Enforcement;
use rowgate::sql::Form;

/// User, table, what they see. By hand from `fixtures/rag/data.sql`.
const SEEN: &[(&str, &str, &[&str])] = &[
    (
        "bob",
        "documents",
        &["holidays", "newsletter", "otter-plan", "travel"],
    ),
    (
        "anne",
        "documents",
        &[
            "holidays",
            "lease",
            "nda",
            "newsletter",
            "otter-plan",
            "otter-price",
            "travel",
        ],
    ),
    ("eve", "documents", &["assay"]),
    ("bob", "folders", &["handbook"]),
    ("anne", "folders", &["contracts", "handbook", "legal"]),
    ("eve", "folders", &["lab"]),
    ("bob", "deals", &["heron"]),
    ("anne", "deals", &["heron", "otter"]),
    ("eve", "deals", &[]),
    ("bob", "collections", &["onboarding"]),
    ("eve", "collections", &[]),
];

/// User, words, the two best of what they see.
const FOUND: &[(&str, &str, &[&str])] = &[
    ("anne", "contract", &["nda", "lease"]),
    ("bob", "contract", &["newsletter", "otter-plan"]),
    ("eve", "contract", &["assay"]),
    ("eve", "otter", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn everyone_sees_and_finds_their_own() {
    for (name, enforcement) in [
        ("rag_b", Enforcement::Barrier),
        ("rag_i", Enforcement::Inline),
    ] {
        let gate = gate(support::cluster(), name, enforcement, false).await;
        for (user, table, expected) in SEEN {
            let sql = format!("SELECT id FROM {table} ORDER BY id COLLATE \"C\"");
            let got = ids(&gate, user, &sql).await.unwrap();
            assert_eq!(got, *expected, "{enforcement:?} {user} {table}");
        }
        for (user, words, expected) in FOUND {
            let query = format!("websearch_to_tsquery('english', '{words}')");
            let sql = format!(
                "SELECT id FROM documents WHERE words @@ {query} ORDER BY ts_rank(words, {query}) DESC, id COLLATE \"C\" LIMIT 2"
            );
            let mut got = ids(&gate, user, &sql).await.unwrap();
            let mut expected = expected.to_vec();
            got.sort();
            expected.sort_unstable();
            assert_eq!(got, expected, "{enforcement:?} {user} {words}");
        }
    }
}

/// What an agent might send to get at the tuples, or at another user's objects.
const REFUSED: &[(&str, &str)] = &[
    ("SELECT rowgate.objects('viewer', 'document')", "42501"),
    ("SELECT objects('viewer', 'document')", "42501"),
    (
        "SELECT id FROM documents WHERE id = ANY (rowgate.objects('owner', 'document'))",
        "42501",
    ),
    (
        "SELECT * FROM rowgate.objects('viewer', 'document')",
        "42501",
    ),
    ("SELECT unnest(rowgate.objects('viewer', 'deal'))", "42501"),
    ("SELECT (documents).objects FROM documents", "42501"),
    ("SELECT * FROM rowgate_tuples", "42P01"),
    ("SELECT * FROM public.rowgate_tuples", "42P01"),
    ("SELECT * FROM org_wide_viewers", "42P01"),
    ("SELECT * FROM public.org_members", "42P01"),
    ("SELECT 'public.rowgate_tuples'::regclass", "42501"),
    (
        "WITH rowgate_held AS (SELECT 'otter-price'::text AS object) SELECT object FROM rowgate_held",
        "",
    ),
    (
        "WITH rowgate_tuples AS (SELECT 'x'::text AS object) SELECT object FROM rowgate_tuples",
        "",
    ),
    (
        "SELECT set_config('rowgate.user_id', 'anne', true)",
        "42501",
    ),
    ("SET rowgate.user_id = 'anne'", "42501"),
    (
        "SET rowgate.objects = '{\"document\":{\"viewer\":[\"nda\"]}}'",
        "42501",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_tuples_and_the_walk_are_out_of_reach() {
    for (name, enforcement) in [
        ("rag_rb", Enforcement::Barrier),
        ("rag_ri", Enforcement::Inline),
    ] {
        let gate = gate(support::cluster(), name, enforcement, false).await;
        for (sql, sqlstate) in REFUSED {
            let got = ids(&gate, "bob", sql).await;
            match (sqlstate.is_empty(), &got) {
                (true, Ok(rows)) => assert_eq!(rows.len(), 1, "{sql}"),
                (false, Err(error)) => assert_ne!(error.get(..2), Some("58"), "{sql}: {error}"),
                (true | false, _other) => panic!("{enforcement:?} {sql}: {got:?}"),
            }
            let seen = ids(&gate, "bob", "SELECT id FROM documents ORDER BY 1").await;
            assert_eq!(seen.unwrap().len(), 4, "after {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_text_search_uses_its_index() {
    let gate = gate(support::cluster(), "rag_plan", Enforcement::Barrier, false).await;
    let query = "websearch_to_tsquery('english', 'contract price')";
    let best = format!(
        "SELECT id FROM documents WHERE words @@ {query} ORDER BY ts_rank(words, {query}) DESC LIMIT 5"
    );
    let (open, plan_) = plan(support::cluster(), &gate, &best).await;
    assert_eq!(open, Form::Open);
    assert!(
        plan_.contains("documents_words") || plan_.contains("documents_pkey"),
        "{plan_}"
    );
    let count = format!("SELECT count(*) FROM documents WHERE words @@ {query}");
    assert_eq!(plan(support::cluster(), &gate, &count).await.0, Form::Open);
    // What raises when a row asks for it.
    for sql in [
        "SELECT id FROM documents WHERE words @@ to_tsquery('a &&& b')".to_owned(),
        "SELECT id FROM documents WHERE words @@ to_tsquery('english', 'a')".to_owned(),
        format!(
            "SELECT id FROM documents WHERE words @@ plainto_tsquery('{}')",
            "x".repeat(501)
        ),
        "SELECT id FROM documents WHERE words @@ plainto_tsquery(title)".to_owned(),
        "SELECT id FROM documents WHERE title @@ plainto_tsquery('a')".to_owned(),
        "SELECT id FROM documents ORDER BY ts_rank('{1,2}', words, plainto_tsquery('a'))"
            .to_owned(),
    ] {
        assert_eq!(
            form(support::cluster(), &gate, &sql).await,
            Form::Sealed,
            "{sql}"
        );
    }
}

/// A user of more documents than may be looked through.
#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_is_too_long_is_refused_as_a_limit() {
    for (name, enforcement) in [
        ("rag_lb", Enforcement::Barrier),
        ("rag_li", Enforcement::Inline),
    ] {
        let gate = gate_within(support::cluster(), name, enforcement, 100).await;
        let admin = support::cluster().connect(&gate.database).await.unwrap();
        let seen = ids(&gate, "bob", "SELECT id FROM folders").await.unwrap();
        assert_eq!(seen, ["handbook"], "{enforcement:?}: within the bound");
        admin
            .batch_execute(
                "INSERT INTO public.rowgate_tuples (namespace, object, relation, subject_namespace, subject_id, subject_relation)
                 SELECT 'document', 'd' || n, 'viewer', 'user', 'bob', '' FROM generate_series(1, 200) AS n",
            )
            .await
            .unwrap();
        for sql in ["SELECT id FROM documents", "SELECT count(*) FROM documents"] {
            let refused = ids(&gate, "bob", sql).await.unwrap_err();
            assert_eq!(
                refused, "54000 more related objects than may be looked through",
                "{enforcement:?} {sql}"
            );
        }
        let others = ids(&gate, "eve", "SELECT id FROM documents").await;
        assert_eq!(others.unwrap(), ["assay"], "{enforcement:?}");
    }
}
