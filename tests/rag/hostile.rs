//! Tuples somebody wrote to be misread: circles, chains, subjects and objects that look like others.

use crate::support::Gate;
use crate::{gate, ids, support};
use rowgate::config::Enforcement;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// What bob sees as long as no tuple gives him more.
const BOBS: &[&str] = &["holidays", "newsletter", "otter-plan", "travel"];

/// Why, the tuples, and what bob sees beside his own. A tuple is object, relation and subject; the subject's relation may be
/// empty.
type Case = (
    &'static str,
    &'static [[&'static str; 6]],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "a circle of folders gives nobody anything",
        &[
            ["folder", "a", "parent", "folder", "b", ""],
            ["folder", "b", "parent", "folder", "a", ""],
            ["folder", "legal", "parent", "folder", "a", ""],
        ],
        &[],
    ),
    (
        "a circle ends, and what is held in it counts",
        &[
            ["folder", "legal", "parent", "folder", "a", ""],
            ["folder", "a", "parent", "folder", "legal", ""],
            ["folder", "a", "viewer", "user", "bob", ""],
        ],
        // The folder of contracts is in the legal one.
        &["lease", "nda"],
    ),
    (
        "groups that contain each other have no member for it",
        &[
            ["group", "a", "member", "group", "b", "member"],
            ["group", "b", "member", "group", "a", "member"],
            ["group", "a", "member", "group", "a", "member"],
            ["document", "nda", "viewer", "group", "a", "member"],
        ],
        &[],
    ),
    (
        "who only looks like bob",
        &[
            ["document", "nda", "viewer", "user", "Bob", ""],
            ["document", "nda", "viewer", "user", "bob ", ""],
            ["document", "nda", "viewer", "user", " bob", ""],
            ["document", "nda", "viewer", "user", "user:bob", ""],
            ["document", "nda", "viewer", "user", "bob#member", ""],
            ["document", "nda", "viewer", "user", "bob,anne", ""],
            ["document", "nda", "viewer", "user", "{bob}", ""],
            ["document", "nda", "viewer", "user", "b\u{43e}b", ""],
            ["document", "nda", "viewer", "user", "bob\u{200b}", ""],
            ["document", "nda", "viewer", "user", "b_b", ""],
            ["document", "nda", "viewer", "user", "b%", ""],
        ],
        &[],
    ),
    (
        "no subject means everybody",
        &[
            ["document", "nda", "viewer", "user", "*", ""],
            ["document", "nda", "viewer", "*", "*", ""],
            ["document", "lease", "viewer", "user", "public", ""],
            ["document", "lease", "viewer", "group", "*", "member"],
            ["group", "*", "member", "user", "*", ""],
        ],
        &[],
    ),
    (
        "no object means every one",
        &[
            ["document", "*", "viewer", "user", "bob", ""],
            ["document", "%", "owner", "user", "bob", ""],
            ["document", "{nda,lease}", "viewer", "user", "bob", ""],
            ["document", "nda,lease", "viewer", "user", "bob", ""],
            ["document", "nda\",\"lease", "viewer", "user", "bob", ""],
            ["document", "NULL", "viewer", "user", "bob", ""],
            ["document", "x') OR ('' = '", "viewer", "user", "bob", ""],
            [
                "document",
                "'; DROP TABLE documents; --",
                "viewer",
                "user",
                "bob",
                "",
            ],
            ["document", "ND\u{c0}", "viewer", "user", "bob", ""],
            ["document", " nda", "viewer", "user", "bob", ""],
        ],
        &[],
    ),
    (
        "what is not declared gives nothing",
        &[
            ["document", "nda", "reader", "user", "bob", ""],
            ["document", "nda", "Viewer", "user", "bob", ""],
            ["document", "nda", "viewer#viewer", "user", "bob", ""],
            ["Document", "nda", "viewer", "user", "bob", ""],
            ["document", "nda", "viewer", "user", "bob", "member"],
            ["document", "nda", "viewer", "group", "bob", ""],
            ["document", "nda", "parent", "user", "bob", ""],
            ["document", "nda", "viewer", "folder", "handbook", "viewer"],
            ["document", "nda", "parent", "document", "holidays", ""],
        ],
        &[],
    ),
    (
        "a relation of one type is none of another",
        &[
            ["deal", "nda", "viewer", "user", "bob", ""],
            ["folder", "nda", "owner", "user", "bob", ""],
            ["collection", "lease", "viewer", "user", "bob", ""],
        ],
        &[],
    ),
    (
        "an object that is written oddly is that object",
        &[["document", "assay", "viewer", "user", "bob", ""]],
        &["assay"],
    ),
];

/// The example behind a gate, and its owner, for each way of enforcement.
async fn worlds(name: &str) -> Vec<(Enforcement, Gate, Client)> {
    let mut worlds = Vec::new();
    for enforcement in [Enforcement::Barrier, Enforcement::Inline] {
        let name = format!("rag_{name}_{}", worlds.len());
        let gate = gate(support::cluster(), &name, enforcement, false).await;
        let owner = support::cluster().connect(&gate.database).await.unwrap();
        let keep = "CREATE TABLE kept AS TABLE public.rowgate_tuples";
        owner.batch_execute(keep).await.unwrap();
        worlds.push((enforcement, gate, owner));
    }
    worlds
}

/// The example's tuples, and these.
async fn tell(owner: &Client, tuples: &[[&str; 6]]) {
    let anew = "TRUNCATE public.rowgate_tuples; INSERT INTO public.rowgate_tuples TABLE kept";
    owner.batch_execute(anew).await.unwrap();
    let insert = "INSERT INTO public.rowgate_tuples VALUES ($1, $2, $3, $4, $5, $6)";
    for [namespace, object, relation, of, id, set] in tuples {
        let values: [&(dyn ToSql + Sync); 6] = [namespace, object, relation, of, id, set];
        owner.execute(insert, &values).await.unwrap();
    }
}

/// What bob sees is his own and this; eve sees hers.
async fn bob_sees_also(more: &[&str], gate: &Gate, why: &str) {
    let mut expected = [BOBS, more].concat();
    expected.sort_unstable();
    let sql = "SELECT id FROM documents ORDER BY id COLLATE \"C\"";
    assert_eq!(ids(gate, "bob", sql).await.unwrap(), expected, "{why}");
    assert_eq!(ids(gate, "eve", sql).await.unwrap(), ["assay"], "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tuples_mean_what_they_say_to_the_letter() {
    for (enforcement, gate, owner) in worlds("letter").await {
        for (why, tuples, more) in CASES {
            tell(&owner, tuples).await;
            bob_sees_also(more, &gate, &format!("{enforcement:?}: {why}")).await;
        }
    }
}

/// Two thousand folders, each in the next: an honest walk reaches the end of it, and it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_chain_is_walked_to_its_end() {
    for (enforcement, gate, owner) in worlds("deep").await {
        let chain = "INSERT INTO public.rowgate_tuples \
                     SELECT 'folder', 'deep' || n, 'parent', 'folder', 'deep' || n + 1, '' FROM generate_series(1, 2000) AS n";
        tell(
            &owner,
            &[
                ["folder", "legal", "parent", "folder", "deep1", ""],
                ["folder", "deep2001", "parent", "folder", "deep1", ""],
                ["folder", "deep2001", "viewer", "user", "bob", ""],
            ],
        )
        .await;
        owner.batch_execute(chain).await.unwrap();
        bob_sees_also(&["lease", "nda"], &gate, &format!("{enforcement:?}")).await;
    }
}
