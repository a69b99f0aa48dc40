//! What a change does: to the tables, to the next statement on every gate, and to the audit.

use crate::gate::{World, now, token};
use rowgate::config::AuditSink;
use serde_json::{Value, json};
use std::time::Duration;

const SUM: &str = "SELECT sum(amount)::text FROM invoices";

async fn sum(client: &tokio_postgres::Client) -> Option<String> {
    client.query_one(SUM, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_and_a_revocation_hold_for_the_next_statement_on_every_gate() {
    let world = World::new("next").await;
    let (first, second) = (world.serve().await, world.serve().await);
    let here = first.connect(&world.database, "eve").await;
    let there = second.connect(&world.database, "eve").await;
    assert_eq!((sum(&here).await, sum(&there).await), (None, None));
    let body = json!({"user": "eve", "role": "HR Manager"});
    let granted = first.post("/api/roles/grant", &token("olga"), &body).await;
    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(granted.body["result"], "granted");
    assert!(sum(&here).await.is_some());
    assert_eq!(sum(&here).await, sum(&there).await);
    let revoked = second
        .post("/api/roles/revoke", &token("olga"), &body)
        .await;
    assert_eq!(
        (revoked.status, &revoked.body["result"]),
        (200, &json!("revoked"))
    );
    assert_eq!((sum(&here).await, sum(&there).await), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_that_cache_hear_of_a_change_made_on_another() {
    let mut world = World::new("cached").await;
    for provider in &mut world.config.providers {
        provider.cache.age_max = Duration::from_secs(3_600);
        if let rowgate::config::ProviderKind::Sql(sql) = &mut provider.kind {
            sql.listen = true;
        }
    }
    let (first, second) = (world.serve().await, world.serve().await);
    let here = first.connect(&world.database, "eve").await;
    let there = second.connect(&world.database, "eve").await;
    let body = json!({"user": "eve", "role": "HR Manager"});
    for (path, some) in [("grant", true), ("revoke", false), ("grant", true)] {
        assert_eq!(sum(&there).await.is_some(), !some, "cached until told");
        let path = format!("/api/roles/{path}");
        assert_eq!(first.post(&path, &token("olga"), &body).await.status, 200);
        assert_eq!(
            sum(&here).await.is_some(),
            some,
            "the gate that made it knows at once"
        );
        // The other one hears it from PostgreSQL, which tells after the commit; the hour of the cache is far away.
        let mut tries = 0;
        while sum(&there).await.is_some() != some {
            tries += 1;
            assert!(tries < 500, "never heard of {path}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn granting_twice_is_one_row_and_says_so() {
    let world = World::new("twice").await;
    let gate = world.serve().await;
    let body = json!({"user": "bob", "permission": "fetch_invoice"});
    let post = async |path: &str, body: &Value| gate.post(path, &token("olga"), body).await.body;
    let (grant, revoke) = ("/api/permissions/grant", "/api/permissions/revoke");
    for (path, result, changed, before, after) in [
        (grant, "granted", true, json!([]), json!([{"until": null}])),
        (
            grant,
            "already granted",
            false,
            json!([{"until": null}]),
            json!([{"until": null}]),
        ),
        (revoke, "revoked", true, json!([{"until": null}]), json!([])),
        (revoke, "already not granted", false, json!([]), json!([])),
    ] {
        let answer = post(path, &body).await;
        assert_eq!(answer["result"], result, "{answer}");
        assert_eq!(answer["changed"], changed, "{answer}");
        assert_eq!((&answer["before"], &answer["after"]), (&before, &after));
        let rows = after.as_array().unwrap().len();
        assert_eq!(world.permissions("bob").await.len(), rows, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_leave_one_row() {
    let world = World::new("many").await;
    let (first, second) = (world.serve().await, world.serve().await);
    let body = json!({"user": "bob", "permission": "fetch_invoice"});
    let asked: Vec<_> = (0..12)
        .map(|n| {
            let gate = if n % 2 == 0 { &first } else { &second };
            gate.curl_post("/api/permissions/grant", &token("olga"), &body)
        })
        .collect();
    let mut granted = 0;
    for child in asked {
        let answer = child.await;
        assert_eq!(answer.status, 200, "{answer:?}");
        granted += usize::from(answer.body["result"] == "granted");
    }
    assert_eq!(granted, 1, "the others found it there");
    assert_eq!(world.permissions("bob").await, ["fetch_invoice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_with_an_end_ends_by_itself() {
    let world = World::new("until").await;
    let gate = world.serve().await;
    let eve = gate.connect(&world.database, "eve").await;
    let moment = |seconds: u64| {
        let at = i64::try_from(now() + seconds).unwrap();
        jiff::Timestamp::from_second(at).unwrap().to_string()
    };
    let grant = async |until: Value| {
        let body = json!({"user": "eve", "role": "HR Manager", "until": until});
        gate.post("/api/roles/grant", &token("olga"), &body).await
    };
    let soon = grant(json!(moment(3))).await;
    assert_eq!(soon.body["result"], "granted", "{soon:?}");
    assert!(sum(&eve).await.is_some(), "until then it holds");
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!(
        sum(&eve).await,
        None,
        "and then no more, without anybody doing anything"
    );
    let later = grant(json!(moment(3_600))).await;
    assert_eq!(later.body["changed"], true, "an ended grant is renewed");
    assert!(sum(&eve).await.is_some());
    let same = grant(later.body["after"][0]["until"].clone()).await;
    assert_eq!(same.body["result"], "already granted", "{same:?}");
    let for_good = grant(Value::Null).await;
    assert_eq!(for_good.body["after"], json!([{"until": null}]));
    for wrong in [
        "tomorrow",
        "2999-01-01",
        "2999-01-01T00:00:00",
        "2001-01-01T00:00:00Z",
    ] {
        let answer = grant(json!(wrong)).await;
        assert_eq!(answer.status, 422, "{wrong}: {answer:?}");
    }
    let rows = "SELECT count(*) FROM user_roles WHERE \"user\" = 'eve'";
    let rows: i64 = world
        .owner()
        .await
        .query_one(rows, &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_would_look_at_is_refused() {
    let mut world = World::new("unseen").await;
    for provider in &mut world.config.providers {
        if let rowgate::config::ProviderKind::Sql(sql) = &mut provider.kind {
            let blind = r#"SELECT role FROM public.user_roles WHERE "user" = $1"#;
            sql.queries.roles = Some(blind.to_owned());
        }
    }
    let gate = world.serve().await;
    let body = json!({"user": "eve", "role": "HR Manager", "until": "2999-01-01T00:00:00Z"});
    let answer = gate.post("/api/roles/grant", &token("olga"), &body).await;
    assert_eq!(answer.status, 422, "it would never end: {answer:?}");
    let body = json!({"user": "eve", "group": "board", "until": "2999-01-01T00:00:00Z"});
    let answer = gate.post("/api/groups/grant", &token("olga"), &body).await;
    assert_eq!(answer.status, 422, "there is no column for it: {answer:?}");
    let eve = gate.connect(&world.database, "eve").await;
    assert_eq!(sum(&eve).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_leaves_one_line_with_who_what_before_and_after() {
    let world = World::new("audit").await;
    let gate = world.serve().await;
    let body = json!({"user": "bob", "permission": "fetch_invoice"});
    let granted = gate
        .post("/api/permissions/grant", &token("olga"), &body)
        .await;
    let refused = gate
        .post("/api/permissions/grant", &token("bob"), &body)
        .await;
    let listed = gate.get("/api/permissions/bob", &token("olga")).await;
    assert_eq!(
        (granted.status, refused.status, listed.status),
        (200, 403, 200)
    );
    assert_eq!(
        listed.body["permissions"],
        json!([{"permission": "fetch_invoice", "until": null}])
    );
    let lines = world.admin_lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let line = &lines[0];
    assert_eq!(line["request_id"], granted.header("x-request-id").unwrap());
    assert_eq!(
        (
            &line["door"],
            &line["login"],
            &line["user_id"],
            &line["action"]
        ),
        (
            &json!("http"),
            &json!("agent"),
            &json!("olga"),
            &json!("grant")
        )
    );
    assert_eq!(line["item"], body);
    assert_eq!(
        (&line["before"], &line["after"]),
        (&json!([]), &json!([{"until": null}]))
    );
    assert_eq!(line["decision"], "allow");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let outcomes = world.lines();
    let outcome = outcomes
        .iter()
        .find(|other| other["event"] == "outcome" && other["request_id"] == line["request_id"]);
    assert_eq!(outcome.unwrap()["rows"], 1);
    assert_eq!(
        (
            &lines[1]["decision"],
            &lines[1]["reason"],
            &lines[1]["user_id"]
        ),
        (&json!("refuse"), &json!("not_authorized"), &json!("bob"))
    );
    assert_eq!(
        (&lines[2]["action"], &lines[2]["item"]["user"]),
        (&json!("list"), &json!("bob"))
    );
    let text = std::fs::read_to_string(&world.audit).unwrap();
    assert!(!text.contains("eyJ"), "no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_changed_even_where_queries_would_run() {
    let mut world = World::new("full").await;
    world.config.audit.sink = AuditSink::File("/dev/full".into());
    world.config.audit.required = false;
    let gate = world.serve().await;
    let body = json!({"user": "bob", "permission": "fetch_invoice"});
    let answer = gate
        .post("/api/permissions/grant", &token("olga"), &body)
        .await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body["type"], "urn:rowgate:problem:audit_unavailable");
    assert_eq!(world.permissions("bob").await, [""; 0]);
    let listed = gate.get("/api/permissions/olga", &token("olga")).await;
    assert_eq!(listed.status, 503, "nor is anything told: {listed:?}");
    let me = gate.get("/api/me", &token("olga")).await;
    assert_eq!(me.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_of_the_table_refuses_and_changes_nothing() {
    let world = World::new("constraint").await;
    let gate = world.serve().await;
    let body = json!({"user": "bob", "permission": "never:this"});
    let answer = gate
        .post("/api/permissions/grant", &token("olga"), &body)
        .await;
    assert_eq!(
        (answer.status, &answer.body["title"]),
        (409, &json!("Conflict")),
        "{answer:?}"
    );
    assert_eq!(world.permissions("bob").await, [""; 0]);
    let lines = world.admin_lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0]["reason"], "rejected_by_table");
    // The connection is as good as new.
    let body = json!({"user": "bob", "permission": "fetch_invoice"});
    let answer = gate
        .post("/api/permissions/grant", &token("olga"), &body)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_tags_and_tuples_are_managed_likewise() {
    let world = World::new("kinds").await;
    let gate = world.serve().await;
    let tuple = |text: &str| json!({"tuple": text});
    for (kind, body, list) in [
        (
            "groups",
            json!({"user": "bob", "group": "board"}),
            "/api/groups/bob",
        ),
        (
            "tags",
            json!({"user": "bob", "tag": "launch"}),
            "/api/tags/bob",
        ),
        (
            "tuples",
            tuple("document:7#viewer@group:eng#member"),
            "/api/tuples?object=document:7",
        ),
        (
            "tuples",
            tuple("document:8#viewer@user:bob"),
            "/api/tuples?subject=user:bob",
        ),
    ] {
        let name = kind.trim_end_matches('s');
        let path = |action: &str| format!("/api/{kind}/{action}");
        for (action, changed, rows) in [
            ("grant", true, 1),
            ("grant", false, 1),
            ("revoke", true, 0),
            ("revoke", false, 0),
        ] {
            let answer = gate.post(&path(action), &token("olga"), &body).await;
            assert_eq!(
                answer.body["changed"], changed,
                "{kind} {action}: {answer:?}"
            );
            let listed = gate.get(list, &token("olga")).await;
            let found = listed.body[kind].as_array().unwrap();
            assert_eq!(found.len(), rows, "{kind} {action}: {listed:?}");
            if let Some(found) = found.first() {
                assert_eq!(found[name], body[name], "{listed:?}");
            }
        }
    }
    let anne: Vec<String> = world
        .owner()
        .await
        .query_one("SELECT allowed FROM tags WHERE name = 'launch'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(anne, ["anne"], "who was on the list before still is");
    for (user, tag) in [("bob", "open"), ("bob", "no such tag")] {
        let body = json!({"user": user, "tag": tag});
        let answer = gate.post("/api/tags/grant", &token("olga"), &body).await;
        assert_eq!(answer.status, 422, "{tag}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_values_and_never_sql() {
    let world = World::new("names").await;
    let gate = world.serve().await;
    let before = world.permissions("olga").await;
    for name in [
        "x'); DELETE FROM authz_permissions; --",
        "$1",
        "\"; DROP TABLE user_roles; --",
        "\\'; SELECT 1",
        "%",
        "_",
        "../../etc/passwd",
        "bob\u{201d}",
        "{}",
        "NULL",
    ] {
        let body = json!({"user": name, "permission": name});
        let answer = gate
            .post("/api/permissions/grant", &token("root"), &body)
            .await;
        assert_eq!(answer.body["result"], "granted", "{name}: {answer:?}");
        assert_eq!(world.permissions(name).await, [name]);
        let answer = gate
            .post("/api/permissions/revoke", &token("root"), &body)
            .await;
        assert_eq!(answer.body["result"], "revoked", "{name}: {answer:?}");
    }
    assert_eq!(world.permissions("olga").await, before);
}
