//! What only Keto has: objects, found by walking and agreed to by Keto.

use crate::ask;
use crate::worlds::keto::{RULES, settings};
use crate::worlds::keto_server::{KetoServer, Rewrite, Subject, Tuple};
use rowgate::config::{CacheSettings, Provider};
use rowgate::policy::{PermissionView, parse_view_file};
use rowgate::tuples::Pair;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

const DOCUMENTS: &str = r#"
[tuples.namespaces.group]
member = { subjects = ["user", "group#member"] }
[tuples.namespaces.folder]
parent = { subjects = ["folder"] }
owner = { subjects = ["user"] }
viewer = { union = ["owner", "parent.viewer"], subjects = ["user", "group#member"] }
[tuples.namespaces.document]
parent = { subjects = ["folder"] }
owner = { subjects = ["user"] }
viewer = { union = ["owner", "parent.viewer"], subjects = ["user", "group#member"] }
"#;

const REWRITES: &[Rewrite] = &[
    ("folder", "viewer", "owner"),
    ("folder", "viewer", "parent.viewer"),
    ("document", "viewer", "owner"),
    ("document", "viewer", "parent.viewer"),
];

/// `document:1#viewer@bob`, `document:1#parent@folder:f#`, `document:1#viewer@group:g#member`.
fn tuple(text: &str) -> Tuple {
    let (object, subject) = text.split_once('@').unwrap();
    let (namespace, rest) = object.split_once(':').unwrap();
    let (object, relation) = rest.split_once('#').unwrap();
    let subject = match subject.split_once('#') {
        Some((object, relation)) => {
            let (namespace, object) = object.split_once(':').unwrap();
            Subject::Set(namespace.to_owned(), object.to_owned(), relation.to_owned())
        }
        None => Subject::Id(subject.to_owned()),
    };
    Tuple(
        namespace.to_owned(),
        object.to_owned(),
        relation.to_owned(),
        subject,
    )
}

const TUPLES: &[&str] = &[
    "document:1#viewer@bob",
    "document:2#owner@bob",
    "folder:f#viewer@group:eng#member",
    "group:eng#member@group:all#member",
    "group:all#member@bob",
    "group:all#member@group:eng#member",
    "folder:g#parent@folder:f#",
    "folder:f#parent@folder:g#",
    "document:3#parent@folder:g#",
    "document:4#parent@folder:f#",
    "document:5#viewer@anne",
    "document:a&relation=owner#viewer@bob",
    "document:jörg's \"x\"#viewer@bob",
    "document:6#viewer@group:eng#nothing",
    "document:7#viewer@folder:f#viewer",
    "other:8#viewer@bob",
];

fn documents_view() -> PermissionView {
    let text =
        "SELECT id FROM public.documents WHERE id = ANY (rowgate.objects('viewer', 'document'))";
    parse_view_file("documents.sql", text).unwrap()
}

async fn found(server: &KetoServer, more: &str, user: &str) -> Result<BTreeSet<String>, String> {
    let provider = Provider {
        name: "keto".to_owned(),
        kind: settings(server.port, DOCUMENTS, more).unwrap(),
        cache: CacheSettings::default(),
    };
    let providers = rowgate::app::providers(&[provider]).await.unwrap();
    providers.look_for([documents_view()].iter());
    let principal = ask(&providers.resolver(), user).await;
    let principal = principal.map_err(|error| match error {
        rowgate::error::Error::Failed(fault) => format!("{:#}", fault.cause),
        rowgate::error::Error::Refused(refusal) => format!("{refusal:?}"),
    })?;
    let pair = Pair::new("document", "viewer");
    assert!(principal.objects().keys().all(|asked| *asked == pair));
    Ok(principal.objects().get(&pair).cloned().unwrap_or_default())
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keto_objects_are_found_and_agreed_to() {
    let server = KetoServer::start(REWRITES).await;
    server.tell(TUPLES.iter().map(|text| tuple(text)));
    let all = ["1", "2", "3", "4", "a&relation=owner", "jörg's \"x\""];
    assert_eq!(found(&server, "", "bob").await.unwrap(), set(&all));
    assert_eq!(
        found(&server, "confirm = \"nothing\"", "bob")
            .await
            .unwrap(),
        set(&all)
    );
    // The tuples of `viewer` itself name bob for these alone.
    let named = ["1", "a&relation=owner", "jörg's \"x\""];
    assert_eq!(
        found(&server, "confirm = \"expand\"", "bob").await.unwrap(),
        set(&named)
    );
    for (user, ids) in [
        ("anne", &["5"][..]),
        ("nobody", &[]),
        ("group:all#member", &[]),
        ("eng", &[]),
        ("bob&x=y", &[]),
    ] {
        assert_eq!(found(&server, "", user).await.unwrap(), set(ids), "{user}");
    }
    // What Keto does not agree to is not held, whatever the tuples say.
    server.veto(&["1", "3"]);
    let agreed = ["2", "4", "a&relation=owner", "jörg's \"x\""];
    assert_eq!(found(&server, "", "bob").await.unwrap(), set(&agreed));
    // Nobody else's rules: where Keto has none, nothing follows.
    let strict = KetoServer::start(&[]).await;
    strict.tell(TUPLES.iter().map(|text| tuple(text)));
    assert_eq!(found(&strict, "", "bob").await.unwrap(), set(&named));
}

#[tokio::test(flavor = "multi_thread")]
async fn keto_is_asked_a_bounded_number_of_questions() {
    let server = KetoServer::start(REWRITES).await;
    server.tell(TUPLES.iter().map(|text| tuple(text)));
    let before = server.requests.load(Ordering::SeqCst);
    found(&server, "", "bob").await.unwrap();
    let needed = server.requests.load(Ordering::SeqCst) - before - 1;
    let exactly = format!("requests_max = {needed}");
    assert_eq!(found(&server, &exactly, "bob").await.unwrap().len(), 6);
    let less = format!("requests_max = {}", needed - 1);
    let why = found(&server, &less, "bob").await.unwrap_err();
    assert!(why.contains("requests_max"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keto_settings_that_cannot_be() {
    for (rules, more, says) in [
        ("", "", "needs [tuples]"),
        (
            RULES,
            "roles = \"role#owner\"",
            "is not a relation that [tuples] declares",
        ),
        (
            RULES,
            "roles = \"role\"",
            "is not a relation that [tuples] declares",
        ),
        (RULES, "confirm = \"perhaps\"", "is not a known word"),
        (RULES, "users = \"names\"", "is not a known word"),
        (RULES, "requests_max = 0", "is not between"),
        (RULES, "what = 1", "is not a key"),
    ] {
        let error = settings(1, rules, more).unwrap_err();
        assert!(error.contains(says), "{more}: {error}");
    }
}
