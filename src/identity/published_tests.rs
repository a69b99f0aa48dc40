//! Published keys: which sets are taken, which tokens they make good, and when new ones are looked for.

use super::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SET: &str = include_str!("testdata/jwks.json");
const RSA: &str = include_str!("testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
const EC: &str = include_str!("testdata/ec.pem");
const ED: &str = include_str!("testdata/ed.pem");

/// A source that has what it is given, and counts how often it is asked for more.
struct Source {
    now: Mutex<Arc<[TokenKey]>>,
    next: Option<Arc<[TokenKey]>>,
    looked: AtomicUsize,
}

impl KeySource for Source {
    fn keys(&self) -> Arc<[TokenKey]> {
        Arc::clone(&self.now.lock().unwrap())
    }

    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.looked.fetch_add(1, Ordering::SeqCst);
            if let Some(next) = &self.next {
                *self.now.lock().unwrap() = Arc::clone(next);
            }
        })
    }
}

fn parsed(set: &Value) -> Result<Vec<TokenKey>, String> {
    parse_jwks(set.to_string().as_bytes())
}

fn set() -> Value {
    serde_json::from_str(SET).unwrap()
}

/// The set with one key of it changed.
fn with(index: usize, name: &str, value: Value) -> Value {
    let mut set = set();
    set["keys"][index][name] = value;
    set
}

fn source(now: Vec<TokenKey>, next: Option<Vec<TokenKey>>) -> Arc<Source> {
    Arc::new(Source {
        now: Mutex::new(now.into()),
        next: next.map(Into::into),
        looked: AtomicUsize::new(0),
    })
}

fn authenticator(keys: Vec<TokenKey>, source: &Arc<Source>, user_claim: &str) -> Authenticator {
    let login = Login {
        proof: Proof::Token,
        user_id: None,
        may_delegate: false,
        superuser: false,
    };
    Authenticator::new(IdentitySettings {
        logins: BTreeMap::from([("agent".to_owned(), login)]),
        tokens: Some(TokenVerifier {
            keys,
            published: Published::by(Arc::clone(source) as Arc<dyn KeySource>),
            user_claim: ClaimPath::parse(user_claim).unwrap(),
            issuer: Some("issuer".to_owned()),
            audience: "rowgate".to_owned(),
            leeway: Duration::ZERO,
            lifetime_max: Duration::from_secs(3_600),
        }),
        token_requires_tls: true,
        statement_token: StatementToken::default(),
        api_keys: BTreeMap::new(),
    })
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    json!({"sub": "bob", "aud": "rowgate", "iss": "issuer", "exp": now.as_secs() + 600})
}

fn sign(algorithm: Algorithm, id: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    encode(&header, claims, key).unwrap()
}

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap()
}

async fn lets_in(authenticator: &Authenticator, user: &str, token: &str) -> Option<Caller> {
    let opening = Opening {
        user: user.to_owned(),
        database: "demo".to_owned(),
        delegate: None,
        tls: true,
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        application_name: None,
    };
    let password = token.into();
    authenticator.prepare_password(&opening, &password).await;
    authenticator.accept_password(&opening, &password).ok()
}

#[tokio::test]
async fn each_published_key_serves_its_algorithm_and_no_other() {
    let source = source(parsed(&set()).unwrap(), None);
    let gate = authenticator(Vec::new(), &source, "sub");
    let ec = EncodingKey::from_ec_pem(EC.as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(ED.as_bytes()).unwrap();
    let public = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    let modulus = set()["keys"][0]["n"].as_str().unwrap().to_owned();
    let text = EncodingKey::from_secret(modulus.as_bytes());
    for (what, algorithm, id, key, good) in [
        ("RSA", Algorithm::RS256, Some("r"), &rsa(), true),
        ("EC", Algorithm::ES256, Some("e"), &ec, true),
        ("Ed25519", Algorithm::EdDSA, Some("d"), &ed, true),
        ("no id, one fits", Algorithm::RS256, None, &rsa(), true),
        ("another's id", Algorithm::RS256, Some("e"), &rsa(), false),
        ("PKCS#1 for PSS", Algorithm::PS256, Some("r"), &rsa(), false),
        ("RS512", Algorithm::RS512, Some("r"), &rsa(), false),
        (
            "HMAC, public PEM",
            Algorithm::HS256,
            Some("r"),
            &public,
            false,
        ),
        (
            "HMAC, public PEM, no id",
            Algorithm::HS256,
            None,
            &public,
            false,
        ),
        ("HMAC, modulus", Algorithm::HS256, Some("r"), &text, false),
    ] {
        let token = sign(algorithm, id, key, &claims());
        let caller = lets_in(&gate, "agent.bob", &token).await;
        assert_eq!(caller.is_some(), good, "{what}");
    }
}

#[tokio::test]
async fn what_a_header_says_about_keys_is_not_followed() {
    let source = source(parsed(&set()).unwrap(), None);
    let gate = authenticator(Vec::new(), &source, "sub");
    // Signed with a key of the sender's own, which the header brings along or points to.
    let own = EncodingKey::from_ec_pem(EC.as_bytes()).unwrap();
    let mut header = Header::new(Algorithm::ES256);
    header.jku = Some("https://evil.example.com/jwks.json".to_owned());
    header.x5u = header.jku.clone();
    header.x5c = Some(vec!["MIIB".to_owned()]);
    header.jwk = serde_json::from_value(set()["keys"][1].clone()).unwrap();
    for id in [
        "r",
        "../../etc/passwd",
        "' OR '1'='1",
        "https://evil.example.com",
        "",
        "\0",
    ] {
        header.kid = Some(id.to_owned());
        let token = encode(&header, &claims(), &own).unwrap();
        assert!(lets_in(&gate, "agent.bob", &token).await.is_none(), "{id}");
    }
    // The same header does no harm where the signature is right.
    header.kid = Some("e".to_owned());
    let token = encode(&header, &claims(), &own).unwrap();
    assert!(lets_in(&gate, "agent.bob", &token).await.is_some());
}

#[tokio::test]
async fn new_keys_are_looked_for_when_a_token_names_one() {
    let next = parsed(&set()).unwrap();
    let other = parsed(&with(0, "kid", json!("old"))).unwrap();
    let turned = source(other, Some(next));
    let gate = authenticator(Vec::new(), &turned, "sub");
    let token = sign(Algorithm::RS256, Some("r"), &rsa(), &claims());
    assert!(
        lets_in(&gate, "agent.bob", &token).await.is_some(),
        "rotated"
    );
    assert_eq!(turned.looked.load(Ordering::SeqCst), 1);
    // Known by now; and what is no token, or shown by nobody who shows tokens, is no reason to look.
    for (user, token) in [
        ("agent.bob", token.as_str()),
        ("agent.bob", "no token"),
        ("agent.bob", "e30.e30.e30"),
        (
            "nobody.bob",
            &sign(Algorithm::RS256, Some("x"), &rsa(), &claims()),
        ),
        ("agent.bob", &format!("{}{token}", "A".repeat(9_000))),
    ] {
        lets_in(&gate, user, token).await;
        assert_eq!(turned.looked.load(Ordering::SeqCst), 1, "{token}");
    }
    // A key that was taken back opens nothing.
    let gone = source(Vec::new(), None);
    let gate = authenticator(Vec::new(), &gone, "sub");
    assert!(lets_in(&gate, "agent.bob", &token).await.is_none());
    assert_eq!(gone.looked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_configured_key_counts_before_a_published_one_of_the_same_id() {
    let secret = "a secret of at least thirty-two bytes";
    let own = TokenKey::new(Some("r".to_owned()), TokenAlgorithm::Hs256, &secret.into()).unwrap();
    let source = source(parsed(&set()).unwrap(), None);
    let gate = authenticator(vec![own], &source, "sub");
    let published = sign(Algorithm::RS256, Some("r"), &rsa(), &claims());
    assert!(lets_in(&gate, "agent.bob", &published).await.is_none());
    let key = EncodingKey::from_secret(secret.as_bytes());
    let configured = sign(Algorithm::HS256, Some("r"), &key, &claims());
    assert!(lets_in(&gate, "agent.bob", &configured).await.is_some());
}

#[tokio::test]
async fn the_user_id_comes_from_the_claim_that_was_chosen() {
    let source = source(parsed(&set()).unwrap(), None);
    let mut claims = claims();
    claims["sub"] = json!("11-22");
    claims["email"] = json!("bob@example.com");
    claims["email_verified"] = json!(true);
    claims["profile"] = json!({"login": "bob"});
    let token = sign(Algorithm::RS256, Some("r"), &rsa(), &claims);
    for (claim, user, good) in [
        ("sub", "agent.11-22", true),
        ("sub", "agent.bob", false),
        ("email", "agent.bob@example.com", true),
        ("profile.login", "agent.bob", true),
        ("/profile/login", "agent.bob", true),
        ("profile", "agent.bob", false),
        ("absent", "agent.bob", false),
        ("sub.login", "agent.bob", false),
    ] {
        let gate = authenticator(Vec::new(), &source, claim);
        let caller = lets_in(&gate, user, &token).await;
        assert_eq!(caller.is_some(), good, "{claim} as {user}");
    }
}

#[tokio::test]
async fn an_address_that_nobody_has_checked_is_nobody() {
    let source = source(parsed(&set()).unwrap(), None);
    for claim in ["email", "/email"] {
        let gate = authenticator(Vec::new(), &source, claim);
        for (verified, good) in [
            (json!(true), true),
            (json!(false), false),
            (json!("true"), false),
            (json!(1), false),
            (Value::Null, false),
        ] {
            let mut claims = claims();
            claims["sub"] = json!("mallory");
            claims["email"] = json!("chief@example.com");
            claims["email_verified"] = verified.clone();
            let token = sign(Algorithm::RS256, Some("r"), &rsa(), &claims);
            let caller = lets_in(&gate, "agent.chief@example.com", &token).await;
            assert_eq!(caller.is_some(), good, "{claim} {verified}");
        }
    }
}

#[tokio::test]
async fn a_caller_is_nobody_once_its_token_has_expired() {
    let source = source(parsed(&set()).unwrap(), None);
    let gate = authenticator(Vec::new(), &source, "sub");
    let token = sign(Algorithm::RS256, Some("r"), &rsa(), &claims());
    let caller = lets_in(&gate, "agent.bob", &token).await.unwrap();
    assert!(!caller.expired(), "ten minutes are left");
    let moment = SystemTime::now() - Duration::from_secs(1);
    assert!(caller.until(moment).expired());
    assert!(
        !Caller::assumed("bob").expired(),
        "without a token nothing expires"
    );
}

#[test]
fn sets_that_cannot_be_meant_are_refused() {
    let long = "A".repeat(600);
    let mut many = set();
    many["keys"] = Value::Array(vec![set()["keys"][0].clone(); 101]);
    for (what, set) in [
        ("a private key", with(1, "d", json!("AAAA"))),
        ("a private key of another kind", with(0, "d", json!(1))),
        ("a shared secret", with(0, "kty", json!("oct"))),
        ("a shared secret beside", with(2, "k", json!("c2VjcmV0"))),
        ("an id twice", with(0, "kid", json!("e"))),
        ("an id that is too long", with(0, "kid", json!(long))),
        ("an id that is a number", with(0, "kid", json!(1))),
        (
            "a small RSA key",
            with(0, "n", json!("sd7ePClsT75Q6nD10J5Kjg")),
        ),
        (
            "zeros before a small RSA key",
            with(0, "n", json!(format!("{}AQ", "A".repeat(340)))),
        ),
        ("a huge RSA key", with(0, "n", json!("_".repeat(1400)))),
        ("exponent 1", with(0, "e", json!("AQ"))),
        ("exponent 1, padded", with(0, "e", json!("AAAB"))),
        ("an even exponent", with(0, "e", json!("AQAC"))),
        ("a huge exponent", with(0, "e", json!("AQAAAAAAAAAB"))),
        ("no exponent", with(0, "e", Value::Null)),
        ("no point", with(1, "y", Value::Null)),
        ("half a point", with(1, "x", json!("AAAA"))),
        (
            "not base64url",
            with(2, "x", json!("1/xcWF8it2O4IlEx3aAhT26alDfaP7nBO9wOkX9n29g")),
        ),
        ("a key that is a text", json!({"keys": ["key"]})),
        ("no keys", json!({"keys": []})),
        ("keys that are an object", json!({"keys": {}})),
        ("nothing", json!({})),
        ("a list", json!([])),
        ("too many", many),
    ] {
        assert!(parsed(&set).is_err(), "{what}");
    }
    assert!(parse_jwks(b"").is_err() && parse_jwks(b"<html>").is_err());
    let padded = format!("{SET}{}", " ".repeat(JWKS_BYTES_MAX));
    assert!(parse_jwks(padded.as_bytes()).is_err(), "too large");
    let twice = SET.replacen("\"kid\": \"r\",", "\"kid\": \"r\", \"kid\": \"s\",", 1);
    assert_ne!(twice, SET);
    assert_eq!(
        parse_jwks(twice.as_bytes()).unwrap().len(),
        3,
        "the last member counts, as in most readers"
    );
}

#[test]
fn keys_for_something_else_are_passed_over() {
    for (what, set) in [
        ("for encryption", with(0, "use", json!("enc"))),
        ("for signing only", with(0, "key_ops", json!(["sign"]))),
        (
            "another algorithm of the kind",
            with(0, "alg", json!("RS512")),
        ),
        ("RSA said to be HMAC", with(0, "alg", json!("HS256"))),
        ("RSA said to be ECDSA", with(0, "alg", json!("ES256"))),
        ("none", with(0, "alg", json!("none"))),
        ("another curve", with(1, "crv", json!("P-384"))),
        ("another Edwards curve", with(2, "crv", json!("X25519"))),
        ("an unknown kind", with(0, "kty", json!("AKP"))),
    ] {
        assert_eq!(parsed(&set).unwrap().len(), 2, "{what}");
    }
    assert_eq!(
        parsed(&with(0, "key_ops", json!(["verify"])))
            .unwrap()
            .len(),
        3
    );
    let mut bare = set();
    bare["keys"][0].as_object_mut().unwrap().remove("alg");
    assert_eq!(
        parsed(&bare).unwrap().len(),
        3,
        "the kind says which algorithm"
    );
}

#[test]
fn no_message_about_a_set_quotes_it() {
    for set in [
        json!({"keys": [{"kty": "oct", "k": "s3cret", "kid": "s3cret"}]}),
        json!({"keys": [{"kty": "RSA", "d": "s3cret", "kid": "s3cret"}]}),
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "s3cret", "y": "s3cret"}]}),
        json!({"keys": "s3cret"}),
    ] {
        let says = parsed(&set).unwrap_err();
        assert!(!says.contains("s3cret"), "{says}");
    }
}
