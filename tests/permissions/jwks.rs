//! Published keys by URL and by file: what is taken, what is refused, and how long the last good ones serve.

use crate::issuer::{Answer, Server, only, set};
use crate::until;
use rowgate::config::{JwksSettings, JwksSource};
use rowgate::identity::KeySource;
use rowgate::provider::Jwks;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const NEVER: Duration = Duration::from_secs(3_600);

fn settings(source: JwksSource) -> JwksSettings {
    JwksSettings {
        source,
        refresh: NEVER,
        retry_min: Duration::ZERO,
        stale_max: NEVER,
        timeout: Duration::from_secs(5),
    }
}

fn by_url(server: &Server) -> JwksSettings {
    settings(JwksSource::Url {
        url: server.url(),
        ca: None,
    })
}

fn ids(jwks: &Jwks) -> String {
    let keys = jwks.keys();
    let ids: Vec<&str> = keys.iter().filter_map(|key| key.id()).collect();
    ids.join(" ")
}

#[tokio::test]
async fn an_address_that_does_not_answer_well_is_found_at_start() {
    let server = Server::start(Answer::good(&set())).await;
    assert_eq!(ids(&Jwks::open(by_url(&server)).await.unwrap()), "r e d");
    let elsewhere = Server::start(Answer::good(&set())).await;
    let mut redirect = Answer::text("302 Found", "");
    redirect.head = format!("location: {}\r\n", elsewhere.url());
    let mut slow = Answer::good(&set());
    slow.delay = Duration::from_secs(60);
    let padded = format!("{}{}", set(), " ".repeat(300 * 1024));
    for (answer, says) in [
        (redirect, "answered 302"),
        (
            Answer::text("404 Not Found", &set().to_string()),
            "answered 404",
        ),
        (
            Answer::text("500 Internal Server Error", ""),
            "answered 500",
        ),
        (
            Answer::text("200 OK", "<html>login</html>"),
            "cannot be understood",
        ),
        (Answer::text("200 OK", ""), "cannot be understood"),
        (Answer::text("200 OK", "{\"keys\": []}"), "no key"),
        (Answer::text("200 OK", &padded), "too large"),
        (
            Answer::good(&json!({"keys": [{"kty": "oct", "kid": "r", "k": "c2VjcmV0"}]})),
            "shared secret",
        ),
        (slow, "in time"),
    ] {
        server.answers(answer);
        let mut settings = by_url(&server);
        settings.timeout = Duration::from_millis(if says == "in time" { 200 } else { 5_000 });
        let error = Jwks::open(settings).await.err().unwrap().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect is followed");
    let error = Jwks::open(settings(JwksSource::Url {
        url: "http://127.0.0.1:1/jwks.json".to_owned(),
        ca: None,
    }));
    assert!(
        error
            .await
            .err()
            .unwrap()
            .to_string()
            .contains("unavailable")
    );
}

#[tokio::test]
async fn the_last_good_keys_serve_for_a_while_and_no_longer() {
    let server = Server::start(Answer::good(&only(&["r"]))).await;
    let mut settings = by_url(&server);
    settings.stale_max = Duration::from_secs(3);
    let jwks = Jwks::open(settings).await.unwrap();
    server.answers(Answer::text("200 OK", "garbage"));
    jwks.renew().await;
    assert_eq!(ids(&jwks), "r", "not yet too old");
    until("the keys are too old", async || ids(&jwks).is_empty()).await;
    server.answers(Answer::good(&only(&["e"])));
    jwks.renew().await;
    assert_eq!(ids(&jwks), "e", "rotated, and the old key is gone");
}

#[tokio::test]
async fn keys_are_renewed_now_and_then() {
    let server = Server::start(Answer::good(&only(&["r"]))).await;
    let mut settings = by_url(&server);
    settings.refresh = Duration::from_millis(50);
    let jwks = Jwks::open(settings).await.unwrap();
    server.answers(Answer::good(&only(&["e"])));
    until("the new key is there", async || ids(&jwks) == "e").await;
    drop(jwks);
    // Whoever had it is gone, so nobody asks any more; one question may be under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = server.asked();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn made_up_key_ids_cause_no_storm() {
    let mut answer = Answer::good(&set());
    answer.delay = Duration::from_millis(100);
    let server = Server::start(answer).await;
    let mut settings = by_url(&server);
    settings.retry_min = NEVER;
    let jwks = Jwks::open(settings.clone()).await.unwrap();
    for _ in 0..1_000 {
        jwks.renew().await;
    }
    assert_eq!(
        server.asked(),
        1,
        "looked for at the start, and not again so soon"
    );
    // When it is time again, a crowd is answered by one look.
    settings.retry_min = Duration::from_secs(2);
    let jwks = Jwks::open(settings).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let crowd: Vec<_> = (0..300)
        .map(|_| {
            let jwks = Arc::clone(&jwks);
            tokio::spawn(async move { jwks.renew().await })
        })
        .collect();
    for one in crowd {
        one.await.unwrap();
    }
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn a_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let replace = |text: &str| {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &path).unwrap();
    };
    replace(&only(&["r"]).to_string());
    let mut settings = settings(JwksSource::File(path.clone()));
    settings.refresh = Duration::from_millis(20);
    let jwks = Jwks::open(settings.clone()).await.unwrap();
    assert_eq!(ids(&jwks), "r");
    replace("{\"keys\": [");
    jwks.renew().await;
    assert_eq!(ids(&jwks), "r", "half a file changes nothing");
    replace(&only(&["e", "d"]).to_string());
    until("the new keys are there", async || ids(&jwks) == "e d").await;
    std::fs::remove_file(&path).unwrap();
    jwks.renew().await;
    assert_eq!(ids(&jwks), "e d", "for a while");
    assert!(Jwks::open(settings).await.is_err(), "nothing to start with");
}
