//! The listener itself: names, headers, bytes that are no HTTP, TLS, and what a crowd can do.

use crate::gate::{Instance, World, token};
use crate::support;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_names_are_answered_and_every_answer_has_its_headers() {
    let world = World::new("hosts").await;
    let gate = world.serve().await;
    for (host, status) in [
        ("localhost", 200),
        ("gate.example.com", 200),
        ("GATE.example.com:8443", 200),
        ("evil.example.com", 421),
        ("gate.example.com.evil.org", 421),
        ("127.0.0.1.nip.io", 421),
    ] {
        let header = format!("Host: {host}");
        let answer = gate.curl("/healthz", &["-H", &header], b"").await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(answer.header(name), Some(value), "{host}");
        }
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "no CORS"
        );
        assert_eq!(answer.header("server"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_http_client_would_send_is_refused() {
    let world = World::new("raw").await;
    let gate = world.serve().await;
    for (request, status) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", "421"),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            "421",
        ),
        (
            "GET http://evil.org/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "421",
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            "400",
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
            "400",
        ),
        ("GET /healthz\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "400"),
    ] {
        let answer = raw(&gate, request.as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        assert_eq!(
            line.split(' ').nth(1),
            Some(status),
            "{request:?}: {answer}"
        );
    }
    let many = format!(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    assert!(
        raw(&gate, many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let large = format!(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "y".repeat(40_000)
    );
    assert!(
        raw(&gate, large.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
}

async fn raw(gate: &Instance, request: &[u8]) -> String {
    support::http::raw_start(gate.addresses.admin.unwrap(), request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_a_bound_and_it_ends() {
    let mut world = World::new("crowd").await;
    world.config.admin.as_mut().unwrap().connections_max = 3;
    let gate = world.serve().await;
    let address = gate.addresses.admin.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .unwrap();
        held.push(stream);
    }
    // Accepted one after the other: the fourth comes after the three.
    let busy = gate.curl("/healthz", &[], b"").await;
    assert_eq!(busy.status, 503, "{busy:?}");
    drop(held);
    let mut tries = 0;
    while gate.curl("/healthz", &[], b"").await.status != 200 {
        tries += 1;
        assert!(tries < 200, "the places never became free");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_it_speaks_nothing_else_and_without_it_takes_no_token_unless_told_to() {
    let mut world = World::new("tls").await;
    world.config.identity.token_requires_tls = true;
    let clear = world.serve().await;
    let answer = clear.get("/api/me", &token("bob")).await;
    assert_eq!(answer.status, 401, "a token in clear: {answer:?}");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        world.folder().join("cert.pem"),
        world.folder().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    world.config.tls = Some(rowgate::config::Tls {
        cert: cert.clone(),
        key,
        require: true,
    });
    let gate = world.serve().await;
    let in_clear = gate.get("/healthz", "x").await;
    assert_eq!(in_clear.status, 0, "{in_clear:?}");
    let port = gate.addresses.admin.unwrap().port();
    let url = format!("https://localhost:{port}/api/me");
    let bearer = format!("Authorization: Bearer {}", token("bob"));
    let output = tokio::process::Command::new("curl")
        .args([
            "--silent",
            "--include",
            "--noproxy",
            "*",
            "--max-time",
            "30",
            "--cacert",
        ])
        .arg(&cert)
        .args(["-H", &bearer, &url])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(
        text.contains("strict-transport-security: max-age="),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_and_cannot_take_every_place() {
    let world = World::new("guess").await;
    let gate = world.serve().await;
    let mut asked = Vec::new();
    for _ in 0..12 {
        let answer = gate.get("/api/me", "x").await;
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
    }
    // By now each failure waits for seconds; sixteen may wait, the rest are turned away at once.
    for _ in 0..30 {
        asked.push(gate.curl_get("/api/me", "x"));
    }
    let mut turned_away = 0;
    for answer in asked {
        let answer = answer.await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            turned_away += 1;
        }
    }
    assert!(turned_away >= 10, "{turned_away}");
    let healthy = gate.curl("/healthz", &[], b"").await;
    assert_eq!(healthy.status, 200);
}
