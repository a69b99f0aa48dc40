//! What a service over HTTP may do to us, and what we must not do to it.

use crate::worlds::http::{OPEN, settings};
use crate::worlds::http_server::{Manner, Server, answer};
use crate::worlds::redis_server::certificates;
use crate::worlds::{SECRET, TIMEOUT};
use crate::{ask, why_refused};
use rowgate::app::Providers;
use rowgate::config::{CacheSettings, HttpProvider, Provider, ProviderKind, UpstreamTls};
use rowgate::provider::Resolver;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const GOOD: &str = r#"{"permissions": ["read"], "roles": ["HR"], "attributes": {}}"#;

async fn asks(settings: HttpProvider) -> Result<Providers, String> {
    let provider = Provider {
        name: "under test".to_owned(),
        kind: ProviderKind::Http(Box::new(settings)),
        cache: CacheSettings::default(),
    };
    let providers = rowgate::app::providers(&[provider]).await;
    providers.map_err(|error| {
        let text = format!("{error:#} {error:?}");
        assert!(!text.contains(SECRET), "{text}");
        text
    })
}

/// A service that knows everybody, and a resolver that asks it.
async fn service(change: impl FnOnce(&mut HttpProvider)) -> (Server, Resolver) {
    let server = Server::start(None).await;
    server.knows(|_| Some(GOOD.to_owned()));
    let mut settings = settings(&server, None);
    change(&mut settings);
    let resolver = asks(settings).await.unwrap().resolver();
    server.heads();
    (server, resolver)
}

/// What is no good answer, and what the log has to say of it.
fn no_good_answers() -> Vec<(&'static str, Manner, &'static str)> {
    let bytes = |text: &str| Manner::Bytes(text.as_bytes().to_vec());
    let cut = |text: String| Manner::BytesAndEnd(text.into_bytes());
    let ok = "HTTP/1.1 200 OK\r\n";
    let half = &GOOD[..40];
    let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000)).into_bytes();
    let endless = |head: &str, then: Vec<u8>| Manner::Endless(format!("{ok}{head}").into(), then);
    vec![
        (
            "no HTTP",
            bytes("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            "unavailable",
        ),
        ("nothing", Manner::End, "unavailable"),
        (
            "half a body",
            cut(format!("{ok}content-length: 5000\r\n\r\n{half}")),
            "unavailable",
        ),
        (
            "half a body, no length",
            cut(format!("{ok}connection: close\r\n\r\n{half}")),
            "cannot be understood",
        ),
        (
            "bad chunks",
            cut(format!(
                "{ok}transfer-encoding: chunked\r\n\r\nzz\r\n{GOOD}\r\n0\r\n\r\n"
            )),
            "unavailable",
        ),
        (
            "an endless head",
            endless("", b"x: y\r\n".repeat(100)),
            "unavailable",
        ),
        (
            "one endless header",
            endless("x: ", vec![b'y'; 8_192]),
            "unavailable",
        ),
        (
            "an endless body",
            endless("transfer-encoding: chunked\r\n\r\n", chunk),
            "too large",
        ),
        (
            "50 MB announced",
            bytes(&format!("{ok}content-length: 50000000\r\n\r\n")),
            "too large",
        ),
        ("no answer", Manner::Never, "in time"),
    ]
}

/// Whole answers that say nothing good.
fn no_good_bodies() -> Vec<(&'static str, Manner, &'static str)> {
    let body = |body: &str| Manner::Bytes(answer(200, "", body));
    vec![
        (
            "a login page",
            body("<html>log in</html>"),
            "cannot be understood",
        ),
        (
            "an error with status 200",
            body(r#"{"error": "down"}"#),
            "nothing at \"/permissions\"",
        ),
        (
            "a compressed body",
            Manner::Bytes(answer(200, "content-encoding: gzip\r\n", "\u{1f}")),
            "cannot be understood",
        ),
        (
            "an empty role",
            body(r#"{"permissions": [], "roles": [""], "attributes": {}}"#),
            "cannot be understood",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_a_good_answer_refuses_and_one_good_answer_heals() {
    // Nothing but the answer's own fault is to refuse here.
    let (server, resolver) = service(|settings| settings.breaker_failures = 1_000_000).await;
    for (what, manner, says) in no_good_answers().into_iter().chain(no_good_bodies()) {
        server.answers(manner);
        let why = why_refused(&resolver, "bob").await;
        assert!(why.contains(says), "{what}: {why}");
        server.answers(Manner::Well);
        ask(&resolver, "bob").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_but_200_refuses_and_tells_nothing_of_the_answer() {
    const STATUS: [u16; 22] = [
        100, 101, 201, 202, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 405, 410, 429, 500,
        502, 503, 504, 599,
    ];
    let (server, resolver) = service(|settings| settings.breaker_failures = 1_000_000).await;
    for status in STATUS {
        // The key echoed, as debugging services do.
        let echo = format!("x-debug: Bearer {SECRET}\r\n");
        server.answers(Manner::BytesAndEnd(answer(
            status,
            &echo,
            &format!("{GOOD} {SECRET}"),
        )));
        let why = why_refused(&resolver, "bob").await;
        let told = why.contains(&format!("answered {status}"));
        assert!(told || status < 200, "{status}: {why}");
        server.answers(Manner::Well);
        ask(&resolver, "bob").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_never_follows_a_redirect() {
    let (server, resolver) = service(|_| ()).await;
    let elsewhere = Server::start(None).await;
    elsewhere.knows(|_| Some(GOOD.to_owned()));
    for place in [
        format!("http://{}/api/users/bob/permissions", elsewhere.address),
        format!("//{}/x", elsewhere.address),
        "/api/users/anne/permissions".to_owned(),
    ] {
        for status in [301, 302, 303, 307, 308] {
            server.answers(Manner::Bytes(answer(
                status,
                &format!("location: {place}\r\n"),
                "",
            )));
            let why = why_refused(&resolver, "bob").await;
            assert!(why.contains("redirects are not followed"), "{why}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(
        server.heads().len(),
        15,
        "each was asked once and followed by nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_id_is_asked_for_as_it_is() {
    let (server, resolver) = service(|_| ()).await;
    for (user, path) in [
        ("../anne", "/api/users/..%2Fanne/permissions"),
        (
            "anne/permissions?",
            "/api/users/anne%2Fpermissions%3F/permissions",
        ),
        ("anne#", "/api/users/anne%23/permissions"),
        ("anne%2f", "/api/users/anne%252f/permissions"),
        (
            "a HTTP/1.1\r\nX-Role: admin\r\n",
            "/api/users/a%20HTTP%2F1.1%0D%0AX-Role%3A%20admin%0D%0A/permissions",
        ),
        ("\u{202e}bob", "/api/users/%E2%80%AEbob/permissions"),
    ] {
        ask(&resolver, user).await.unwrap();
        let heads = server.heads();
        assert_eq!(heads.len(), 1);
        let line = heads[0].lines().next().unwrap();
        assert_eq!(line, format!("GET {path} HTTP/1.1"));
        assert!(!heads[0].to_lowercase().contains("x-role:"), "{}", heads[0]);
    }
    for user in [".", ".."] {
        let why = why_refused(&resolver, user).await;
        assert!(why.contains("cannot be part of an address"), "{why}");
    }
    assert!(server.heads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_asked_again_and_what_may_not_is_not() {
    let (server, resolver) = service(|settings| {
        settings.retries = 3;
        settings.breaker_failures = 1_000;
    })
    .await;
    let status = |status| Manner::BytesAndEnd(answer(status, "", ""));
    server.answers_next([status(503), Manner::End, status(429)]);
    ask(&resolver, "bob").await.unwrap();
    assert_eq!(server.heads().len(), 4);
    server.answers_next([status(500), status(500), status(500), status(502)]);
    let why = why_refused(&resolver, "bob").await;
    assert!(why.contains("answered 502"), "{why}");
    assert_eq!(server.heads().len(), 4, "as often as said, not more");
    server.answers_next([status(403)]);
    why_refused(&resolver, "bob").await;
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_often_is_left_alone_for_a_moment() {
    let (server, resolver) = service(|settings| {
        settings.retries = 0;
        settings.breaker_failures = 3;
    })
    .await;
    server.answers(Manner::BytesAndEnd(answer(500, "", "")));
    for _ in 0..3 {
        why_refused(&resolver, "bob").await;
    }
    for user in ["bob", "anne", "nobody"] {
        let why = why_refused(&resolver, user).await;
        assert!(
            why.contains("given a moment") || why.contains("answered 500"),
            "{why}"
        );
    }
    // On a busy machine the moment may be over sooner than we ask; then one got through, or three.
    assert!(server.heads().len() <= 6);
    server.answers(Manner::Well);
    tokio::time::sleep(OPEN * 2).await;
    ask(&resolver, "bob").await.unwrap();
    ask(&resolver, "anne").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_and_bounded() {
    let (server, resolver) = service(|settings| settings.connections_max = 2).await;
    let before = server.connections();
    for _ in 0..50 {
        ask(&resolver, "bob").await.unwrap();
        ask(&resolver, "nobody").await.unwrap();
    }
    // A connection may still be on its way back when the next question comes; a hundred are not.
    let used = server.connections() - before;
    assert!(used <= 30, "{used} for 100 questions one after the other");
    let before = server.connections();
    let resolver = std::sync::Arc::new(resolver);
    let crowd: Vec<_> = (0..200)
        .map(|number| {
            let resolver = std::sync::Arc::clone(&resolver);
            tokio::spawn(async move { ask(&resolver, &format!("user {number}")).await.is_ok() })
        })
        .collect();
    for one in crowd {
        assert!(one.await.unwrap());
    }
    let used = server.connections() - before;
    assert!(used <= 100, "{used} for 200 at once, two at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_nothing_only_where_that_is_said() {
    let server = Server::start(None).await;
    let mut settings = settings(&server, None);
    let lenient = asks(settings.clone()).await.unwrap().resolver();
    assert!(ask(&lenient, "bob").await.unwrap().permissions().is_empty());
    settings.not_found_is_nothing = false;
    let strict = asks(settings).await.unwrap().resolver();
    let why = why_refused(&strict, "bob").await;
    assert!(why.contains("answered 404"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_address_or_certificate_is_found_at_start() {
    let (folder, ca) = certificates();
    let (_other_folder, other_ca) = certificates();
    let server = Server::start(None).await;
    let secure = Server::start(Some(folder.path())).await;
    let with = |server: &Server, ca: Option<&PathBuf>, change: &dyn Fn(&mut HttpProvider)| {
        let mut settings = settings(server, ca);
        change(&mut settings);
        settings
    };
    let wrong = |settings: &mut HttpProvider| settings.key = Some("wr0ng".into());
    let none = |settings: &mut HttpProvider| settings.key = None;
    let unsendable =
        |settings: &mut HttpProvider| settings.key = Some(format!("{SECRET}\n").into());
    let clear =
        |settings: &mut HttpProvider| settings.base = settings.base.replace("https", "http");
    let system = |settings: &mut HttpProvider| {
        settings.tls = UpstreamTls::Verify {
            ca: Some(other_ca.clone()),
        }
    };
    let cases = [
        (with(&server, None, &wrong), "answered 401"),
        (with(&server, None, &none), "answered 401"),
        (with(&server, None, &unsendable), "cannot stand in a header"),
        (with(&secure, Some(&ca), &clear), "unavailable"),
        (with(&secure, Some(&ca), &system), "certificate"),
    ];
    for (settings, says) in cases {
        let error = asks(settings).await.err().unwrap();
        assert!(
            error.contains("provider \"under test\" does not work"),
            "{error}"
        );
        assert!(error.contains(says), "{says}: {error}");
        assert!(!error.contains("wr0ng"), "{error}");
    }
    asks(with(&secure, Some(&ca), &|_| ())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_and_waiting_for_a_connection_count_into_the_one_bound() {
    let (server, resolver) = service(|settings| {
        settings.retries = 10;
        settings.connections_max = 1;
        settings.breaker_failures = 1_000;
        settings.timeout = Duration::from_millis(500);
    })
    .await;
    server.answers(Manner::Never);
    let resolver = std::sync::Arc::new(resolver);
    let started = Instant::now();
    let crowd: Vec<_> = (0..20)
        .map(|number| {
            let resolver = std::sync::Arc::clone(&resolver);
            tokio::spawn(async move { ask(&resolver, &format!("user {number}")).await.is_err() })
        })
        .collect();
    for one in crowd {
        assert!(one.await.unwrap());
    }
    // Far more than the bound, far less than twenty waiting for each other.
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
}
