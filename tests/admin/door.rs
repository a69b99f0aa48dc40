//! The listener: who gets in, how far, and what is sent that should not be.

use crate::gate::{KEY, SECRET, World, now, serve, signed, token};
use serde_json::{Value, json};

const GRANT: &str = "/api/permissions/grant";
const JSON: &str = "Content-Type: application/json";

fn body() -> Value {
    json!({"user": "bob", "permission": "fetch_invoice"})
}

/// Headers that prove nothing.
fn strangers() -> Vec<Vec<String>> {
    let claims = |sub: &str, aud: &str, exp: u64| json!({"sub": sub, "aud": aud, "exp": exp});
    let none = format!("{}.{}.", "eyJhbGciOiJub25lIn0", "eyJzdWIiOiJvbGdhIn0");
    vec![
        vec![],
        vec!["Authorization: Bearer".to_owned()],
        vec!["Authorization: Bearer x".to_owned()],
        vec![format!("Authorization: Bearer {none}")],
        vec![format!("Authorization: Basic {}", token("olga"))],
        vec![format!("Authorization: {}", token("olga"))],
        vec![format!(
            "Authorization: Bearer {}",
            signed(
                &claims("olga", "rowgate", now() + 50),
                "another secret of thirty-two bytes"
            )
        )],
        vec![format!(
            "Authorization: Bearer {}",
            signed(&claims("olga", "other", now() + 50), SECRET)
        )],
        vec![format!(
            "Authorization: Bearer {}",
            signed(&claims("olga", "rowgate", now() - 5), SECRET)
        )],
        vec![format!(
            "Authorization: Bearer {}",
            signed(&claims("", "rowgate", now() + 50), SECRET)
        )],
        vec![
            format!("Authorization: Bearer {}", token("olga")),
            format!("Authorization: Bearer {}", token("olga")),
        ],
        vec![
            format!("Authorization: Bearer {}", token("olga")),
            format!("X-API-Key: {KEY}"),
        ],
        vec![
            format!("Authorization: Bearer {}", token("bob")),
            "X-User-Id: olga".to_owned(),
        ],
        vec![
            format!("Authorization: Bearer {}", token("olga")),
            "X-Rowgate-Login: n8n".to_owned(),
        ],
        vec!["X-User-Id: olga".to_owned()],
        vec![
            "X-API-Key: 0123456789abcdef0123456789abcdeX".to_owned(),
            "X-User-Id: olga".to_owned(),
        ],
        vec![format!("X-API-Key: {KEY}")],
        vec![
            format!("X-API-Key: {KEY}"),
            "X-User-Id: ol\u{200b}ga".to_owned(),
        ],
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_nobody_gets_in_and_all_are_told_the_same() {
    let world = World::new("strangers").await;
    let gate = world.serve().await;
    let headers = strangers();
    // Each from a gate of its own: failures slow down whoever makes many.
    let mut gates = Vec::new();
    for _ in 0..headers.len().div_ceil(6) {
        gates.push(world.serve().await);
    }
    let mut told = std::collections::BTreeSet::new();
    for (index, headers) in headers.iter().enumerate() {
        let mut arguments = vec!["-H", JSON, "--data-binary", "@-"];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        let input = body().to_string();
        let answer = gates[index / 6]
            .curl(GRANT, &arguments, input.as_bytes())
            .await;
        assert_eq!(answer.status, 401, "{headers:?}: {answer:?}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer realm=\"rowgate\"")
        );
        let mut body = answer.body;
        body["request_id"] = Value::Null;
        told.insert(body.to_string());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(world.permissions("bob").await, [""; 0]);
    // One line each, and nothing of what was shown. Nobody waits for these lines.
    let mut lines = world.lines();
    for _ in 0..100 {
        if lines.len() >= headers.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        lines = world.lines();
    }
    assert_eq!(lines.len(), headers.len());
    for line in lines {
        assert_eq!(
            (&line["event"], &line["decision"], &line["reason"]),
            (
                &json!("login"),
                &json!("refuse"),
                &json!("authentication_failed")
            )
        );
        assert!(!line.to_string().contains(KEY), "{line}");
    }
    drop(gate);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_with_a_signed_token_manage_and_not_without_bounds() {
    let world = World::new("bounds").await;
    let gate = world.serve().await;
    let key = format!("X-API-Key: {KEY}");
    let by_key = [
        "-H",
        &key,
        "-H",
        "X-User-Id: olga",
        "-H",
        JSON,
        "--data-binary",
        "@-",
    ];
    let input = body().to_string();
    let answer = gate.curl(GRANT, &by_key, input.as_bytes()).await;
    assert_eq!(
        answer.status, 403,
        "whoever holds the key names anybody: {answer:?}"
    );
    let answer = gate
        .curl(
            "/api/permissions/bob",
            &["-H", &key, "-H", "X-User-Id: root"],
            b"",
        )
        .await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let grant = async |who: &str, user: &str, permission: &str| {
        let body = json!({"user": user, "permission": permission});
        gate.post(GRANT, &token(who), &body).await.status
    };
    for (who, user, permission, status) in [
        ("bob", "bob", "fetch_invoice", 403),
        ("nobody", "bob", "fetch_invoice", 403),
        ("olga", "olga", "fetch_invoice", 403),
        ("olga", "bob", "*", 403),
        ("olga", "bob", "admin:*", 403),
        ("olga", "bob", "read:*", 403),
        ("olga", "bob", "admin:users", 403),
        ("olga", "bob", "root:role", 403),
        ("root", "bob", "root:role", 403),
        ("root", "root", "fetch_invoice", 403),
        ("olga", "bob", "admin:permissions", 200),
        ("root", "bob", "admin:*", 200),
        ("root", "anne", "read:*", 200),
        ("olga", "bob", "fetch_invoice", 200),
    ] {
        assert_eq!(
            grant(who, user, permission).await,
            status,
            "{who} {user} {permission}"
        );
    }
    let tuple = json!({"tuple": "document:1#viewer@user:olga"});
    let answer = gate.post("/api/tuples/grant", &token("olga"), &tuple).await;
    assert_eq!(answer.status, 403, "nor a tuple of one's own: {answer:?}");
    let answer = gate.get("/api/permissions/bob", &token("anne")).await;
    assert_eq!(
        answer.status, 403,
        "who has what is not everybody's to know"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_know_who_they_are() {
    let world = World::new("me").await;
    let gate = world.serve().await;
    let me = gate.get("/api/me", &token("bob")).await;
    assert_eq!(
        (me.status, &me.body["user_id"]),
        (200, &json!("bob")),
        "{me:?}"
    );
    assert_eq!(me.body["roles"], json!({"HR Manager": ["user_roles"]}));
    let text = me.body.to_string();
    assert!(
        text.contains("invoices") && !text.contains("payroll"),
        "{text}"
    );
    let key = format!("X-API-Key: {KEY}");
    let anne = gate
        .curl("/api/me", &["-H", &key, "-H", "X-User-Id: anne"], b"")
        .await;
    assert_eq!(
        (anne.status, &anne.body["user_id"]),
        (200, &json!("anne")),
        "{anne:?}"
    );
    let admin = gate
        .curl("/api/me", &["-H", &key, "-H", "X-User-Id: admin"], b"")
        .await;
    assert_eq!(admin.status, 403, "never a superuser: {admin:?}");
    assert_eq!(
        world.admin_lines().len(),
        2,
        "one line each for those who were let in"
    );
}

const SENT: &[&str] = &["-H", JSON, "--data-binary", "@-"];
const CHUNKED: &[&str] = &[
    "-H",
    JSON,
    "-H",
    "Transfer-Encoding: chunked",
    "--data-binary",
    "@-",
];

/// Path, what curl is told, body, and the status that is the answer.
const PROBLEMS: &[(&str, &[&str], &str, u16)] = &[
    (
        GRANT,
        SENT,
        r#"{"user": "bob", "permission": "x", "superuser": true}"#,
        422,
    ),
    (
        GRANT,
        SENT,
        r#"{"user": "bob", "user": "eve", "permission": "x"}"#,
        422,
    ),
    (GRANT, SENT, r#"{"user": "bob"}"#, 422),
    (GRANT, SENT, r#"{"user": "bob", "role": "x"}"#, 422),
    (
        GRANT,
        SENT,
        r#"{"user": "bob", "permission": "x", "role": "y"}"#,
        422,
    ),
    (GRANT, SENT, r#"{"user": ["bob"], "permission": "x"}"#, 422),
    (
        GRANT,
        SENT,
        r#"{"user": "bob\u0000", "permission": "x"}"#,
        422,
    ),
    (GRANT, SENT, r#"{"user": "", "permission": "x"}"#, 422),
    (
        GRANT,
        SENT,
        r#"{"user": "bob", "permission": "x", "strict": true}"#,
        422,
    ),
    ("/api/tuples/grant", SENT, r#"{"tuple": "nonsense"}"#, 422),
    (GRANT, SENT, "{\"user\": \"bob\", ", 400),
    (GRANT, SENT, "", 400),
    (GRANT, SENT, "\u{feff}{}", 400),
    (
        GRANT,
        &["-H", "Content-Type: text/plain", "--data-binary", "@-"],
        "{}",
        415,
    ),
    (GRANT, &["-X", "GET"], "", 405),
    (
        GRANT,
        &["-X", "OPTIONS", "-H", "Origin: http://evil.example"],
        "",
        405,
    ),
    ("/", &[], "", 404),
    ("/api", &[], "", 404),
    ("/api/permissions", &[], "", 404),
    ("/api/permissions/", &[], "", 404),
    ("/api/permissions/bob/../../me", &[], "", 404),
    ("/api/permissions/../../etc/passwd", &[], "", 404),
    ("/api/permissions/bob%00", &[], "", 422),
    ("/api/permissions/%0a", &[], "", 422),
    ("/api/permissions/%ff", &[], "", 400),
    ("/api/tuples?object=seven", &[], "", 422),
    ("/api/tuples?objects=document:7", &[], "", 400),
    ("/metrics", &[], "", 404),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_address_or_a_body_is_a_problem_with_an_id() {
    let world = World::new("problems").await;
    let gate = world.serve().await;
    let bearer = format!("Authorization: Bearer {}", token("olga"));
    let long = json!({"user": "b".repeat(5_000), "permission": "x"}).to_string();
    let deep = format!("{{\"user\": {}1{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let long = (GRANT, SENT, long.as_str(), 413);
    let chunked = (GRANT, CHUNKED, long.2, 413);
    let deep = (GRANT, SENT, deep.as_str(), 422);
    for (path, arguments, input, status) in PROBLEMS.iter().copied().chain([long, chunked, deep]) {
        let mut all = vec!["-H", &bearer];
        all.extend(arguments);
        let answer = gate.curl(path, &all, input.as_bytes()).await;
        let short: String = input.chars().take(60).collect();
        assert_eq!(answer.status, status, "{path} {short}: {answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        assert_eq!(answer.body["status"], status, "{path}: {answer:?}");
        let id = answer.body["request_id"].as_str().unwrap();
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
    let odd = gate
        .get("/api/permissions/..%2f..%2fetc%2fpasswd", &token("olga"))
        .await;
    assert_eq!(
        (odd.status, &odd.body["user"]),
        (200, &json!("../../etc/passwd")),
        "a name like any other"
    );
    assert_eq!(odd.body["permissions"], json!([]));
    let doubtful = gate
        .post(
            GRANT,
            &token("olga"),
            &json!({"user": "bob", "permission": "fetch_invoces"}),
        )
        .await;
    let warning = doubtful.body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("no view"), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_whose_reading_login_could_write_does_not_start() {
    let world = World::new("posture").await;
    let owner = world.owner().await;
    for (sql, undo, says) in [
        (
            "GRANT INSERT ON authz_permissions TO rowgate_roles",
            "REVOKE INSERT ON authz_permissions FROM rowgate_roles",
            "rowgate_roles",
        ),
        (
            "GRANT UPDATE (role) ON user_roles TO rowgate_roles",
            "REVOKE UPDATE (role) ON user_roles FROM rowgate_roles",
            "rowgate_roles",
        ),
        (
            "REVOKE INSERT ON authz_permissions FROM rowgate_admin",
            "GRANT INSERT ON authz_permissions TO rowgate_admin",
            "may not change",
        ),
        (
            "ALTER TABLE user_roles RENAME COLUMN role TO rolle",
            "ALTER TABLE user_roles RENAME COLUMN rolle TO role",
            "role",
        ),
    ] {
        owner.batch_execute(sql).await.unwrap();
        let error = serve(world.config.clone()).await.err().expect(sql);
        owner.batch_execute(undo).await.unwrap();
        assert!(format!("{error:#}").contains(says), "{sql}: {error:#}");
    }
    serve(world.config.clone()).await.unwrap();
}
