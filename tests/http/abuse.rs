//! What abuses HTTP itself: paths, headers, framing, sizes, crowds; and what each leaves in the audit.

use crate::gate::{Answer, Gate, KEY, bearer, gate};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const SUM: &str = "{\"sql\":\"SELECT SUM(amount) FROM invoices\"}";

async fn raw(gate: &Gate, text: &str) -> String {
    let address = gate.addresses.http.unwrap();
    crate::support::http::raw(address, text.as_bytes(), Duration::from_secs(3)).await
}

/// A whole request by n8n's key for this user.
fn request(user: &str, headers: &str, body: &str) -> String {
    format!(
        "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nX-User-Id: {user}\r\n\
         Content-Type: application/json\r\n{headers}\r\n{body}"
    )
}

fn sized(user: &str, body: &str) -> String {
    request(user, &format!("Content-Length: {}\r\n", body.len()), body)
}

/// Status codes in the order of the answers.
fn statuses(answers: &str) -> Vec<&str> {
    let heads = answers.match_indices("HTTP/1.1 ");
    heads.map(|(at, _)| &answers[at + 9..at + 12]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_leave_one_line_and_no_secret() {
    let gate = gate("refused", |_| {}).await;
    let key = format!("X-API-Key: {KEY}");
    let wrong = "X-API-Key: 00000000000000000000000000000000";
    let cases: &[(&[&str], Value)] = &[
        (&[], json!(null)),
        (&[&key], json!(null)),
        (&[wrong, "X-User-Id: bob"], json!("bob")),
        (&["Authorization: Bearer CANARY.CANARY.CANARY"], json!(null)),
        (&["Authorization: Basic Q0FOQVJZ"], json!(null)),
        (&[&key, "X-User-Id: bob", "X-User-Id: anne"], json!("bob")),
    ];
    for (headers, user) in cases {
        let answer = gate.send(headers, SUM).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        let (line, _) = gate.recorded_once(&answer).await;
        assert_eq!(
            (&line["event"], &line["decision"], &line["reason"]),
            (
                &json!("login"),
                &json!("refuse"),
                &json!("authentication_failed")
            ),
            "{headers:?}"
        );
        assert_eq!(&line["user_id"], user, "{headers:?}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
    let audit = format!("{:?}", gate.lines());
    for secret in [
        KEY,
        "CANARY",
        "Q0FOQVJZ",
        "00000000000000000000000000000000",
    ] {
        assert!(!audit.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_identified_caller_sends_that_is_no_query_has_its_line() {
    let gate = gate("no_query", |_| {}).await;
    let bob = bearer("bob");
    for (headers, body, status, reason) in [
        (vec![bob.as_str()], "{", 400, "invalid_body"),
        (vec![bob.as_str()], "{\"sql\": 1}", 422, "invalid_body"),
        (
            vec![bob.as_str(), "Accept: image/png"],
            SUM,
            406,
            "not_acceptable",
        ),
        (
            vec![bob.as_str(), "Content-Type: text/plain"],
            SUM,
            415,
            "unsupported_media_type",
        ),
    ] {
        let answer = gate.send(&headers, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let (line, ended) = gate.recorded_once(&answer).await;
        assert_eq!(
            (&line["event"], &line["reason"], &line["user_id"], ended),
            (&json!("request"), &json!(reason), &json!("bob"), false)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_itself_and_no_other_spelling() {
    let gate = gate("paths", |_| {}).await;
    let bob = bearer("bob");
    let post = [
        "-H",
        "Content-Type: application/json",
        "-H",
        &bob,
        "-d",
        SUM,
    ];
    for path in [
        "/v1/%71uery",
        "/v1/query/",
        "//v1/query",
        "/v1//query",
        "/v1/./query",
        "/v1/x/../query",
        "/v1/query%00",
        "/v1/query%2f",
        "/V1/QUERY",
        "/v1/query;a=b",
        "/v1",
        "/",
    ] {
        let answer = gate.curl(path, &post, b"").await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
    }
    // What stands behind the question mark means nothing.
    let asked = gate
        .curl("/v1/query?user_id=anne&sql=SELECT+1", &post, b"")
        .await;
    assert_eq!(asked.value(), "1300.00");
    for method in ["GET", "PUT", "PATCH", "TRACE", "CONNECT", "X"] {
        let answer = gate
            .curl("/v1/query", &["-X", method, "-H", &bob], b"")
            .await;
        assert!(
            matches!(answer.status, 400 | 404 | 405),
            "{method}: {answer:?}"
        );
    }
    // HEAD is GET without its body, where there is a GET.
    assert_eq!(gate.curl("/healthz", &["--head"], b"").await.text, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_one_connection_are_each_their_own() {
    let gate = gate("pipelined", |_| {}).await;
    let both = format!("{}{}", sized("bob", SUM), sized("anne", SUM));
    let answers = raw(&gate, &both).await;
    assert_eq!(statuses(&answers), ["200", "200"], "{answers}");
    let (bob, anne) = answers.rsplit_once("HTTP/1.1 ").unwrap();
    assert!(bob.contains("1300.00") && !bob.contains("3900.00"), "{bob}");
    assert!(anne.contains("3900.00"), "{anne}");
    // The second brings no credential, and has none from the first.
    let bare = format!(
        "{}POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{SUM}",
        sized("anne", SUM),
        SUM.len()
    );
    let answers = raw(&gate, &bare).await;
    assert_eq!(statuses(&answers), ["200", "401"], "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_inside_a_body_is_never_run_as_its_sender() {
    let gate = gate("inside", |_| {}).await;
    let hidden = format!(
        "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nX-User-Id: anne\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{SUM}",
        SUM.len()
    );
    // Chunked wins over a length (RFC 9112, section 6.1), so what follows is a request of its own: without a credential.
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let body = format!("{:x}\r\n{SUM}\r\n0\r\n\r\n{hidden}", SUM.len());
        let answers = raw(&gate, &request("bob", headers, &body)).await;
        let found = statuses(&answers);
        assert!(
            matches!(found.as_slice(), ["400"] | ["200"] | ["200", "401"]),
            "{answers}"
        );
        assert!(!answers.contains("3900.00"), "{answers}");
    }
    // Framing that could be read in two ways is not read at all.
    for headers in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Content-Length: +39\r\n",
        "Content-Length: 0x27\r\n",
        "Content-Length: 39, 40\r\n",
    ] {
        let answers = raw(&gate, &request("bob", headers, &hidden)).await;
        assert_eq!(statuses(&answers), ["400"], "{headers:?}: {answers}");
    }
    // A chunk that lies about its size, and one that never ends.
    for body in [
        "ffffffffffffffff1\r\n{",
        "-1\r\n{",
        "2\r\n{\"sql\":\"SELECT 1\"}\r\n0\r\n\r\n",
    ] {
        let answers = raw(
            &gate,
            &request("bob", "Transfer-Encoding: chunked\r\n", body),
        )
        .await;
        assert!(
            statuses(&answers).iter().all(|status| *status == "400"),
            "{body}: {answers}"
        );
    }
    let long = format!("1;{}=1\r\n{{", "x".repeat(20_000));
    let answers = raw(
        &gate,
        &request("bob", "Transfer-Encoding: chunked\r\n", &long),
    )
    .await;
    assert!(!answers.contains("200 OK"), "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bodies_have_their_bounds() {
    let gate = gate("bounds", |config| {
        config.http.as_mut().unwrap().body_bytes_max = 4_096
    })
    .await;
    let many = "X: y\r\n".repeat(100);
    assert_eq!(
        statuses(&raw(&gate, &request("bob", &many, "")).await),
        ["431"]
    );
    let long = format!("X: {}\r\n", "y".repeat(40_000));
    assert_eq!(
        statuses(&raw(&gate, &request("bob", &long, "")).await),
        ["431"]
    );
    let target = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(40_000)
    );
    assert!(
        matches!(statuses(&raw(&gate, &target).await)[..], ["414" | "431"]),
        "a long target"
    );
    let body = format!("{{\"sql\":\"SELECT '{}'\"}}", "x".repeat(5_000));
    assert_eq!(statuses(&raw(&gate, &sized("bob", &body)).await)[0], "413");
    // The same without a length to go by.
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let chunked = request("bob", "Transfer-Encoding: chunked\r\n", &chunked);
    assert_eq!(statuses(&raw(&gate, &chunked).await)[0], "413");
    // Announced and never sent: refused before it is waited for.
    let promised = request("bob", "Content-Length: 99999999999\r\n", "");
    assert_eq!(statuses(&raw(&gate, &promised).await)[0], "413");
    for user in ["bob\u{0}", "bob\nX-User-Id: anne"] {
        let answers = raw(&gate, &sized(user, SUM)).await;
        assert!(
            matches!(statuses(&answers)[..], ["400" | "401"]),
            "{user:?}: {answers}"
        );
    }
    for user in [
        "bob, anne",
        "bob anne",
        "BOB",
        "bob%00",
        "' OR true --",
        "*",
    ] {
        let answers = raw(&gate, &sized(user, SUM)).await;
        let nobody = answers.contains("[[null]]") || statuses(&answers) == ["401"];
        assert!(nobody, "{user}: {answers}");
    }
    let long = "b".repeat(8_000);
    assert_eq!(statuses(&raw(&gate, &sized(&long, SUM)).await), ["401"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_bombs_are_refused_or_told_wrong() {
    let gate = gate("bombs", |_| {}).await;
    let ask = async |sql: &str, params: String| -> Answer {
        let body = format!("{{\"sql\": {}, \"params\": [{params}]}}", json!(sql));
        gate.send(&[&bearer("bob")], &body).await
    };
    let digits = "9".repeat(100_000);
    for (sql, params, status, state) in [
        ("SELECT $1::int", digits.clone(), 400, "22003"),
        ("SELECT $1::float8", "1e400".to_owned(), 400, "22003"),
        ("SELECT $1::int", "1e3".to_owned(), 400, "22P02"),
        (
            "SELECT $1::bigint",
            "-9223372036854775809".to_owned(),
            400,
            "22003",
        ),
        ("SELECT $1::int", "{\"a\": 1}".to_owned(), 400, "22P02"),
        ("SELECT $1::int", vec!["1"; 65_000].join(","), 400, "42P02"),
        ("SELECT 1", vec!["1"; 65_536].join(","), 400, "42P02"),
        (
            "SELECT $1::jsonb",
            format!("{}{}", "[".repeat(60_000), "]".repeat(60_000)),
            400,
            "54001",
        ),
    ] {
        let answer = ask(sql, params).await;
        assert_eq!(
            (answer.status, &answer.body["sqlstate"]),
            (status, &json!(state)),
            "{sql}: {}",
            answer.text.chars().take(300).collect::<String>()
        );
        assert!(answer.text.len() < 2_000, "{sql}: no value comes back");
    }
    let many: Vec<String> = (1..=3_000).map(|n| format!("${n}::int")).collect();
    let many = ask(
        &format!("SELECT {}", many.join("+")),
        vec!["1"; 3_000].join(","),
    )
    .await;
    assert!(matches!(many.status, 400 | 413), "{many:?}");
    let exact = ask("SELECT $1::numeric", digits.clone()).await;
    assert_eq!(exact.value().as_str().map(str::len), Some(100_000));
    assert_eq!(ask("SELECT 1", String::new()).await.value(), &json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_connections_ends_at_its_bound() {
    let gate = gate("crowd", |config| {
        config.http.as_mut().unwrap().connections_max = 3
    })
    .await;
    let address = gate.addresses.http.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"POST /v1/query HTTP/1.1\r\n")
            .await
            .unwrap();
        held.push(stream);
    }
    let busy = gate.curl("/healthz", &[], b"").await;
    assert_eq!(busy.status, 503, "{busy:?}");
    assert_eq!(busy.header("retry-after"), Some("1"));
    // The wire has its own places.
    let client = gate.connect("bob", rowgate::demo::PASSWORD).await;
    client.simple_query("SELECT 1").await.unwrap();
    drop(held);
    let mut tries = 0;
    while gate.curl("/healthz", &[], b"").await.status != 200 {
        tries += 1;
        assert!(tries < 200, "the places never became free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
