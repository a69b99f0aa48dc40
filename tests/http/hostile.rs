//! What a steered agent, a page in a browser or no HTTP client at all would send.

use crate::gate::{KEY, bearer, gate, token};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_one_select_is_refused_with_its_position() {
    let gate = gate("texts", |_| {}).await;
    for (sql, state, position) in [
        ("SELECT 1; SELECT 2", "42601", json!(null)),
        ("BEGIN", "0A000", json!(null)),
        (
            "BEGIN; SELECT * FROM invoices; COMMIT",
            "42601",
            json!(null),
        ),
        ("SET ROLE postgres", "0A000", json!(null)),
        ("SET rowgate.user_id = 'anne'", "0A000", json!(null)),
        ("SHOW ALL", "0A000", json!(null)),
        ("", "42601", json!(null)),
        (" ; ", "42601", json!(null)),
        ("-- only a comment", "42601", json!(null)),
        ("DELETE FROM invoices", "25006", json!(null)),
        ("SELECT * FROM pg_authid", "42P01", json!(15)),
        ("  SELECT * FROM nowhere", "42P01", json!(17)),
        ("SELECT nothing FROM invoices", "42703", json!(8)),
        (
            "SELECT set_config('rowgate.user_id', 'anne', false)",
            "42501",
            json!(8),
        ),
    ] {
        let answer = gate.query("bob", sql).await;
        assert_eq!(
            (answer.status, &answer.body["sqlstate"]),
            (400, &json!(state)),
            "{sql} {answer:?}"
        );
        assert_eq!(answer.body["position"], position, "{sql}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert!(
            answer.body["hint"].is_string() || sql.is_empty(),
            "{sql}: no hint"
        );
    }
    let zero = gate
        .query("bob", "SELECT 1\u{0}; DROP TABLE invoices")
        .await;
    assert_eq!(zero.status, 400, "{zero:?}");
    let long = gate
        .query("bob", &format!("SELECT '{}'", "x".repeat(140_000)))
        .await;
    assert_eq!(
        (long.status, &long.body["sqlstate"]),
        (413, &json!("54000"))
    );
    let deep = gate
        .query(
            "bob",
            &format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        )
        .await;
    assert_eq!(
        (deep.status, &deep.body["sqlstate"]),
        (413, &json!("54001"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_and_no_header_changes_who_asks() {
    let gate = gate("identity", |_| {}).await;
    let sum = "SELECT SUM(amount) FROM invoices";
    let token = token("anne");
    for sql in [
        format!("/* rowgate:token={token} */ {sum}"),
        format!("-- rowgate:token={token}\n{sum}"),
        format!("/* user: anne */ {sum}"),
    ] {
        let answer = gate.query("bob", &sql).await;
        let rows = &answer.body["rows"];
        assert!(
            answer.status != 200 || *rows == json!([["1300.00"]]),
            "{sql}: {answer:?}"
        );
    }
    let body = json!({"sql": sum}).to_string();
    let bob = bearer("bob");
    for header in [
        "X-Forwarded-User: anne",
        "X-Rowgate-User: anne",
        "Cookie: user=anne",
        "X-Remote-User: anne",
        "From: anne",
    ] {
        let answer = gate.send(&[&bob, header], &body).await;
        assert_eq!(answer.value(), "1300.00", "{header}");
    }
    for field in ["user", "user_id", "userId", "role", "token", "as"] {
        let answer = gate.ask("bob", &json!({"sql": sum, field: "anne"})).await;
        assert_eq!(answer.status, 422, "{field}: {answer:?}");
    }
    // One connection serves many callers: nothing of one is left for the next.
    for (user, expected) in [
        ("anne", json!("3900.00")),
        ("bob", json!("1300.00")),
        ("eve", json!(null)),
        ("anne", json!("3900.00")),
    ] {
        assert_eq!(*gate.query(user, sum).await.value(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_their_type_their_size_and_one_meaning() {
    let gate = gate("bodies", |_| {}).await;
    let bob = bearer("bob");
    for (body, status) in [
        (r#"{"sql": "SELECT 1", "sql": "SELECT 2"}"#.to_owned(), 422),
        (r#"{"sql": "SELECT 1"} {"sql": "SELECT 2"}"#.to_owned(), 400),
        (r#"{"sql": "SELECT 1""#.to_owned(), 400),
        (r#"{"sql": null}"#.to_owned(), 422),
        (r#"{"sql": "SELECT 1", "params": "x"}"#.to_owned(), 422),
        ("[".repeat(200_000), 422),
        (
            format!(r#"{{"sql": "SELECT 1", "params": [{}"#, "[".repeat(200_000)),
            400,
        ),
        (
            format!(
                r#"{{"sql": "SELECT 1", "params": [{}{}]}}"#,
                "[".repeat(100_000),
                "]".repeat(100_000)
            ),
            400,
        ),
        (
            format!(r#"{{"sql": "SELECT '{}'"}}"#, "x".repeat(300_000)),
            413,
        ),
        (String::new(), 400),
        ("\u{feff}{\"sql\": \"SELECT 1\"}".to_owned(), 400),
    ] {
        let answer = gate.send(&[&bob], &body).await;
        let start: String = body.chars().take(60).collect();
        assert_eq!(answer.status, status, "{start}: {}", answer.text);
        assert!(answer.body["request_id"].is_string(), "{start}");
    }
    let data = ["--data-binary", "{\"sql\": \"SELECT 1\"}", "-H", &bob];
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "multipart/form-data",
        "",
    ] {
        let kind = format!("Content-Type: {media}");
        let arguments = [&data[..], &["-H", &kind]].concat();
        assert_eq!(
            gate.curl("/v1/query", &arguments, b"").await.status,
            415,
            "{media}"
        );
    }
    assert_eq!(gate.curl("/v1/query", &["-H", &bob], b"").await.status, 405);
    assert_eq!(
        gate.send(&[&bob, "Accept: text/html"], "{\"sql\": \"SELECT 1\"}")
            .await
            .status,
        406
    );
    // A stranger learns nothing from how a body is refused.
    assert_eq!(gate.send(&[], "[").await.status, 401);
    let rebound = gate
        .send(&[&bob, "Host: evil.example.com"], "{\"sql\": \"SELECT 1\"}")
        .await;
    assert_eq!(rebound.status, 421);
    let preflight = ["-X", "OPTIONS", "-H", "Origin: https://evil.example.com"];
    let preflight = gate.curl("/v1/query", &preflight, b"").await;
    assert!(
        preflight.header("access-control-allow-origin").is_none(),
        "{preflight:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_objects_as_they_are() {
    let gate = gate("objects", |_| {}).await;
    let bob = bearer("bob");
    for coding in ["gzip", "identity, gzip", "deflate"] {
        let coding = format!("Content-Encoding: {coding}");
        let answer = gate.send(&[&bob, &coding], "{\"sql\": \"SELECT 1\"}").await;
        assert_eq!(answer.status, 415, "{coding}");
    }
    let utf16 = "Content-Type: application/json; charset=utf-16";
    let body = "{\"sql\": \"SELECT 1\"}";
    let arguments = ["--data-binary", body, "-H", &bob, "-H", utf16];
    assert_eq!(gate.curl("/v1/query", &arguments, b"").await.status, 415);
    // By position it would be read, too, but nobody said so.
    for body in [r#"["SELECT 1", []]"#, r#" [{"sql": "SELECT 1"}]"#] {
        let answer = gate.send(&[&bob], body).await;
        assert_eq!(answer.status, 422, "{body}");
    }
}

/// A number of the caller's text may be a parameter in the database, but its value comes from the text alone: else the
/// audit would tell of another query than the one that ran.
#[tokio::test(flavor = "multi_thread")]
async fn values_never_take_the_place_of_numbers_in_the_text() {
    let gate = gate("numbers", |_| {}).await;
    let sql = "SELECT count(*) FROM invoices WHERE id = 1";
    for params in [json!([2]), json!(["1"]), json!([1, 2])] {
        let answer = gate
            .ask("anne", &json!({"sql": sql, "params": params}))
            .await;
        assert_eq!(
            (answer.status, &answer.body["sqlstate"]),
            (400, &json!("42P02")),
            "{params}: {answer:?}"
        );
    }
    assert_eq!(*gate.query("anne", sql).await.value(), json!("1"));
    let body = json!({"sql": sql}).to_string();
    let arguments = [
        "--data-binary",
        body.as_str(),
        "-H",
        &bearer("anne"),
        "-H",
        "Content-Type: application/json",
    ];
    let told = gate.curl("/v1/explain", &arguments, b"").await;
    assert_eq!(told.body["parameters"], json!(0), "{told:?}");
    let surrogate = r#"{"sql": "SELECT $1::text", "params": ["a\ud800"]}"#;
    let answer = gate.send(&[&bearer("anne")], surrogate).await;
    assert_eq!(
        answer.body["detail"],
        "a text among the values is not Unicode"
    );
}

async fn raw(gate: &crate::gate::Gate, bytes: &[u8], patience: Duration) -> String {
    crate::support::http::raw(gate.addresses.http.unwrap(), bytes, patience).await
}

#[tokio::test(flavor = "multi_thread")]
async fn smuggled_and_slow_requests_reach_nothing() {
    let gate = gate("smuggled", |_| {}).await;
    let host = gate.addresses.http.unwrap();
    let body = "{\"sql\":\"SELECT 1\"}";
    let length = body.len();
    let head = format!(
        "POST /v1/query HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {KEY}\r\nX-User-Id: bob\r\nContent-Type: application/json\r\n"
    );
    let good = raw(
        &gate,
        format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
        Duration::from_secs(10),
    )
    .await;
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    let requests = |decision: &str| {
        let lines = gate.lines();
        let requests = lines.iter().filter(|line| line["event"] == "request");
        requests.filter(|line| line["decision"] == decision).count()
    };
    assert_eq!((requests("allow"), requests("refuse")), (1, 0));
    for headers in [
        format!("Content-Length: {length}\r\nContent-Length: 1\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: identity\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        format!("Content-Length: {length}\r\n X-User-Id: anne\r\n"),
        format!("Content-Length : {length}\r\n"),
    ] {
        let answer = raw(
            &gate,
            format!("{head}{headers}\r\n{body}").as_bytes(),
            Duration::from_secs(2),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers}: {answer}");
    }
    // Promised and not sent.
    let slow = raw(
        &gate,
        format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes(),
        Duration::from_secs(15),
    )
    .await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    assert_eq!(
        (requests("allow"), requests("refuse")),
        (1, 1),
        "what was no HTTP was no request; the slow one was"
    );
}
