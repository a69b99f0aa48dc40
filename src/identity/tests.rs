//! Spoofing attempts, as data: what is shown at the door, and who that makes you.

use super::*;
use crate::error::Reason;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of at least thirty-two bytes";
const RSA: &str = include_str!("testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
const EC: &str = include_str!("testdata/ec.pem");
const EC_PUBLIC: &str = include_str!("testdata/ec.pub.pem");
const ED: &str = include_str!("testdata/ed.pem");
const ED_PUBLIC: &str = include_str!("testdata/ed.pub.pem");

fn key(id: &str, algorithm: TokenAlgorithm, material: &str) -> TokenKey {
    TokenKey::new(Some(id.to_owned()), algorithm, &material.into()).unwrap()
}

fn login(proof: Proof, user_id: Option<&str>, may_delegate: bool, superuser: bool) -> Login {
    Login {
        proof,
        user_id: user_id.map(str::to_owned),
        may_delegate,
        superuser,
    }
}

fn settings() -> IdentitySettings {
    let password = || Proof::Password("demo".into());
    let verifier = postgres_protocol::password::scram_sha_256(b"taken over");
    let logins = [
        ("bob", login(password(), Some("bob"), false, false)),
        ("root", login(password(), Some("root"), false, true)),
        ("n8n", login(password(), None, true, true)),
        ("svc", login(password(), Some("svc-user"), true, true)),
        (
            "john.smith",
            login(password(), Some("john.smith"), false, false),
        ),
        (
            "old",
            login(
                Proof::Scram(ScramVerifier::parse(&verifier).unwrap()),
                Some("old"),
                false,
                false,
            ),
        ),
        ("agent", login(Proof::Token, None, false, false)),
        ("chief", login(Proof::Token, None, false, true)),
    ];
    IdentitySettings {
        logins: logins
            .into_iter()
            .map(|(name, login)| (name.to_owned(), login))
            .collect(),
        tokens: Some(TokenVerifier {
            keys: vec![
                key("h", TokenAlgorithm::Hs256, SECRET),
                key("r", TokenAlgorithm::Rs256, RSA_PUBLIC),
                key("e", TokenAlgorithm::Es256, EC_PUBLIC),
                key("d", TokenAlgorithm::EdDsa, ED_PUBLIC),
            ],
            published: Published::default(),
            user_claim: ClaimPath::parse("sub").unwrap(),
            issuer: Some("issuer".to_owned()),
            audience: "rowgate".to_owned(),
            leeway: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(3_600),
        }),
        token_requires_tls: true,
        statement_token: StatementToken::default(),
        api_keys: std::collections::BTreeMap::new(),
    }
}

fn opening(user: &str, delegate: Option<&str>) -> Opening {
    Opening {
        user: user.to_owned(),
        database: "demo".to_owned(),
        delegate: delegate.map(str::to_owned),
        tls: true,
        peer: "127.0.0.1:1".parse().unwrap(),
        application_name: None,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn claims() -> Value {
    json!({"sub": "bob", "aud": "rowgate", "iss": "issuer", "iat": now(), "exp": now() + 600})
}

fn sign(claims: &Value) -> String {
    sign_with(
        claims,
        Algorithm::HS256,
        Some("h"),
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
}

fn sign_with(claims: &Value, algorithm: Algorithm, id: Option<&str>, key: &EncodingKey) -> String {
    let header = Header {
        kid: id.map(str::to_owned),
        ..Header::new(algorithm)
    };
    encode(&header, claims, key).unwrap()
}

/// Signs any header and payload text with HMAC, as an attacker who writes bytes would.
fn sign_raw(header: &str, payload: &str, key: &[u8]) -> String {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let text = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(payload.as_bytes())
    );
    let signature = scram::hmac_sha256(key, &[text.as_bytes()]);
    format!("{text}.{}", encode(&signature))
}

/// (user, delegate in the options, who: "login/user id", "s" if it may be a superuser)
#[test]
fn who_a_password_makes_you() {
    let authenticator = Authenticator::new(settings());
    for (user, option, who) in [
        ("bob", None, Some("bob/bob")),
        ("root", None, Some("root/root s")),
        ("john.smith", None, Some("john.smith/john.smith")),
        ("n8n.bob", None, Some("n8n/bob")),
        ("n8n", Some("bob"), Some("n8n/bob")),
        ("n8n.bob", Some("bob"), Some("n8n/bob")),
        ("n8n.a.b@c.org", None, Some("n8n/a.b@c.org")),
        ("n8n.n8n", None, Some("n8n/n8n")),
        ("n8n.root", None, Some("n8n/root")), // may not be a superuser: the resolver refuses if it is one
        ("svc", None, Some("svc/svc-user s")),
        ("svc.root", None, Some("svc/root")),
        ("n8n", None, None), // has to name somebody
        ("n8n.", None, None),
        ("n8n..bob", None, Some("n8n/.bob")), // a user id of its own, not bob
        ("n8n.bob", Some("anne"), None),
        ("n8n.bob", Some(""), None),
        ("n8n", Some(""), None),
        ("n8n", Some("bo\0b"), None),
        ("n8n", Some(" bob"), None),
        ("n8n.bob\u{200b}", None, None),
        ("bob.anne", None, None), // bob may not speak for others
        ("bob", Some("anne"), None),
        ("bob", Some("bob"), None),
        ("john.smith", Some("bob"), None),
        ("john", None, None),
        ("Bob", None, None), // names are compared byte by byte
        ("BOB", None, None),
        ("b\u{43e}b", None, None), // a Cyrillic o
        ("bob ", None, None),
        ("bob\0", None, None),
        ("", None, None),
        (".bob", None, None),
        (".", None, None),
        ("agent.bob", None, None), // shows tokens
        ("nobody", None, None),
    ] {
        let opening = opening(user, option);
        let got = authenticator.accept_scram(&opening);
        match who {
            Some(who) => {
                let caller = got.unwrap();
                let flag = if caller.may_be_superuser() { " s" } else { "" };
                assert_eq!(
                    format!("{}/{}{flag}", caller.login(), caller.user_id()),
                    who,
                    "{user:?}"
                );
            }
            None => {
                let refusal = got.unwrap_err();
                assert_eq!(refusal.reason, Reason::AuthenticationFailed, "{user:?}");
                assert!(
                    refusal
                        .message
                        .starts_with("authentication failed for user \"")
                );
                assert_eq!(refusal.hint, None);
            }
        }
    }
}

#[test]
fn every_refusal_has_one_text() {
    let authenticator = Authenticator::new(settings());
    let opening = opening("agent.bob", None);
    let texts = [
        authenticator.failed(&opening).message,
        authenticator.accept_scram(&opening).unwrap_err().message,
        authenticator
            .accept_password(&opening, &"x".into())
            .unwrap_err()
            .message,
        authenticator
            .accept_password(&opening, &sign(&json!({"sub": "eve"})).into())
            .unwrap_err()
            .message,
    ];
    assert!(
        texts
            .iter()
            .all(|text| text == "authentication failed for user \"agent.bob\""),
        "{texts:?}"
    );
}

#[test]
fn a_refusal_does_not_repeat_control_characters() {
    let authenticator = Authenticator::new(settings());
    let message = authenticator
        .failed(&opening("a\nb\u{1b}[31m", None))
        .message;
    assert!(
        !message.contains('\n') && !message.contains('\u{1b}'),
        "{message:?}"
    );
}

#[test]
fn every_algorithm_is_accepted_with_its_own_key() {
    let authenticator = Authenticator::new(settings());
    let rsa = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let ec = EncodingKey::from_ec_pem(EC.as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(ED.as_bytes()).unwrap();
    for token in [
        sign(&claims()),
        sign_with(&claims(), Algorithm::RS256, Some("r"), &rsa),
        sign_with(&claims(), Algorithm::ES256, Some("e"), &ec),
        sign_with(&claims(), Algorithm::EdDSA, Some("d"), &ed),
        sign_with(&claims(), Algorithm::ES256, None, &ec), // one key of that algorithm: no doubt
    ] {
        let caller = authenticator
            .accept_password(&opening("agent.bob", None), &token.into())
            .unwrap();
        assert_eq!((caller.login(), caller.user_id()), ("agent", "bob"));
        assert_eq!(caller.claims()["iss"], "issuer");
        assert!(!caller.may_be_superuser());
    }
    let caller = authenticator
        .accept_password(&opening("chief.bob", None), &sign(&claims()).into())
        .unwrap();
    assert!(caller.may_be_superuser(), "signed, and the login may");
    let by_option =
        authenticator.accept_password(&opening("agent", Some("bob")), &sign(&claims()).into());
    assert_eq!(by_option.unwrap().user_id(), "bob");
}

#[test]
fn tokens_that_are_not_accepted() {
    let authenticator = Authenticator::new(settings());
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        sign(&claims)
    };
    let header = r#"{"alg":"HS256","typ":"JWT","kid":"h"}"#;
    let payload = claims().to_string();
    let hmac_with_public = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    let other = EncodingKey::from_secret(b"another secret of thirty-two bytes!!");
    let rsa = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    let good = sign(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = sign_raw(r#"{"alg":"none","typ":"JWT"}"#, &payload, SECRET.as_bytes());
    let twice = payload.replacen('{', r#"{"aud":"rowgate","#, 1);
    for (what, token) in [
        ("another subject", with("sub", json!("anne"))),
        ("a look-alike", with("sub", json!("b\u{43e}b"))),
        ("another case", with("sub", json!("Bob"))),
        ("subject missing", without("sub")),
        ("subject a number", with("sub", json!(1))),
        ("subject a list", with("sub", json!(["bob"]))),
        ("subject empty", with("sub", json!(""))),
        ("subject with NUL", with("sub", json!("bob\0"))),
        ("subject null", with("sub", Value::Null)),
        ("another audience", with("aud", json!("billing"))),
        (
            "audiences without ours",
            with("aud", json!(["billing", "crm"])),
        ),
        ("audience missing", without("aud")),
        ("audience an object", with("aud", json!({"rowgate": true}))),
        ("another issuer", with("iss", json!("evil"))),
        ("issuer missing", without("iss")),
        ("expired", with("exp", json!(now() - 60))),
        ("no expiry", without("exp")),
        (
            "expiry a text",
            with("exp", json!((now() + 600).to_string())),
        ),
        ("expiry null", with("exp", Value::Null)),
        ("lives too long", with("exp", json!(now() + 86_400))),
        ("lives for ever", with("exp", json!(1e300))),
        ("not valid yet", with("nbf", json!(now() + 600))),
        ("not-before a text", with("nbf", json!("soon"))),
        ("issued in the future", with("iat", json!(now() + 600))),
        ("issued at a text", with("iat", json!("now"))),
        (
            "another secret",
            sign_with(&claims(), Algorithm::HS256, Some("h"), &other),
        ),
        (
            "HMAC with the public RSA key, its id",
            sign_with(&claims(), Algorithm::HS256, Some("r"), &hmac_with_public),
        ),
        (
            "HMAC with the public RSA key, the HMAC id",
            sign_with(&claims(), Algorithm::HS256, Some("h"), &hmac_with_public),
        ),
        (
            "HMAC with the public RSA key, no id",
            sign_with(&claims(), Algorithm::HS256, None, &hmac_with_public),
        ),
        (
            "RSA under the HMAC key's id",
            sign_with(&claims(), Algorithm::RS256, Some("h"), &rsa),
        ),
        (
            "an unknown id",
            sign_with(
                &claims(),
                Algorithm::HS256,
                Some("x"),
                &EncodingKey::from_secret(SECRET.as_bytes()),
            ),
        ),
        (
            "an algorithm of the family",
            sign_with(
                &claims(),
                Algorithm::HS512,
                Some("h"),
                &EncodingKey::from_secret(SECRET.as_bytes()),
            ),
        ),
        ("alg none, signed", none.clone()),
        (
            "alg none, no signature",
            format!("{}.", none.rsplit_once('.').unwrap().0),
        ),
        (
            "alg None",
            sign_raw(r#"{"alg":"None","kid":"h"}"#, &payload, SECRET.as_bytes()),
        ),
        (
            "no alg",
            sign_raw(r#"{"kid":"h"}"#, &payload, SECRET.as_bytes()),
        ),
        (
            "a critical header",
            sign_raw(
                r#"{"alg":"HS256","kid":"h","crit":["b64"],"b64":false}"#,
                &payload,
                SECRET.as_bytes(),
            ),
        ),
        ("a claim twice", sign_raw(header, &twice, SECRET.as_bytes())),
        (
            "payload not an object",
            sign_raw(header, "[]", SECRET.as_bytes()),
        ),
        (
            "payload not JSON",
            sign_raw(header, "bob", SECRET.as_bytes()),
        ),
        ("no signature", format!("{head}.")),
        ("signature missing", head.to_owned()),
        (
            "signature of another",
            format!(
                "{}.{signature}",
                with("sub", json!("root")).rsplit_once('.').unwrap().0
            ),
        ),
        ("one part more", format!("{good}.x")),
        ("a space before", format!(" {good}")),
        ("a line end after", format!("{good}\n")),
        ("too long", format!("{good}{}", "A".repeat(9_000))),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("a password", "demo".to_owned()),
    ] {
        let got = authenticator.accept_password(&opening("agent.bob", None), &token.into());
        assert_eq!(
            got.map(|_| ()).unwrap_err().reason,
            Reason::AuthenticationFailed,
            "{what}"
        );
    }
    // The frame of the table: a raw token made the same way is good when nothing is wrong with it.
    let raw = sign_raw(header, &payload, SECRET.as_bytes());
    assert!(
        authenticator
            .accept_password(&opening("agent.bob", None), &raw.into())
            .is_ok()
    );
}

#[test]
fn a_good_token_does_not_open_every_door() {
    let authenticator = Authenticator::new(settings());
    let token: SecretString = sign(&claims()).into();
    for (user, option) in [
        ("agent", None),
        ("agent.", None),
        ("agent.anne", None),
        ("agent.bob", Some("anne")),
        ("agent..bob", None),
        ("agent.Bob", None),
        ("bob", None), // proves itself by password only
        ("n8n.bob", None),
        ("ghost.bob", None),
    ] {
        assert!(
            authenticator
                .accept_password(&opening(user, option), &token)
                .is_err(),
            "{user}"
        );
    }
    let mut plain = opening("agent.bob", None);
    plain.tls = false;
    assert!(
        authenticator.accept_password(&plain, &token).is_err(),
        "not without TLS"
    );
    assert!(
        matches!(authenticator.challenge(&plain), Challenge::Scram(_)),
        "the token is not even asked for"
    );
    assert_eq!(
        authenticator.challenge(&opening("agent.bob", None)),
        Challenge::Cleartext
    );
}

#[test]
fn several_keys_without_ids_leave_no_choice_to_the_token() {
    let mut settings = settings();
    let tokens = settings.tokens.as_mut().unwrap();
    tokens.keys.push(key(
        "h2",
        TokenAlgorithm::Hs256,
        "a second secret of thirty-two bytes or more",
    ));
    let authenticator = Authenticator::new(settings);
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let unnamed = sign_with(&claims(), Algorithm::HS256, None, &secret);
    assert!(
        authenticator
            .accept_password(&opening("agent.bob", None), &unnamed.into())
            .is_err()
    );
}

#[test]
fn key_material_that_cannot_be_right_is_refused() {
    let new =
        |algorithm, material: &str| TokenKey::new(None, algorithm, &material.into()).map(|_| ());
    for (algorithm, material, says) in [
        (TokenAlgorithm::Hs256, RSA_PUBLIC, "shared secret"),
        (TokenAlgorithm::Hs256, "short", "32 bytes"),
        (TokenAlgorithm::Rs256, RSA, "private key"),
        (TokenAlgorithm::Rs256, EC_PUBLIC, "this algorithm's kind"),
        (TokenAlgorithm::Es256, RSA_PUBLIC, "this algorithm's kind"),
        (TokenAlgorithm::EdDsa, EC_PUBLIC, "this algorithm's kind"),
        (TokenAlgorithm::Es256, "garbage", "this algorithm's kind"),
    ] {
        assert!(
            new(algorithm, material).unwrap_err().contains(says),
            "{algorithm:?} {says}"
        );
    }
}

#[test]
fn unknown_users_look_like_known_ones_each_time() {
    let scram = |authenticator: &Authenticator, user: &str| match authenticator
        .challenge(&opening(user, None))
    {
        Challenge::Scram(verifier) => verifier,
        Challenge::Cleartext => panic!("{user}"),
    };
    let one = Authenticator::new(settings());
    // A verifier taken over keeps its own random salt, so both must come from the same settings.
    let same = IdentitySettings { ..settings() };
    let again = Authenticator::new(IdentitySettings {
        logins: same
            .logins
            .into_iter()
            .filter(|(name, _)| name != "old")
            .collect(),
        ..same
    });
    let first = scram(&one, "ghost");
    assert_eq!(scram(&one, "ghost"), first);
    assert_eq!((first.iterations, first.salt.len()), (4096, 16));
    assert_ne!(scram(&one, "ghost2").salt, first.salt);
    assert_ne!(
        scram(&again, "ghost").salt,
        first.salt,
        "another set of secrets, another key"
    );
    let known = scram(&one, "bob");
    assert_eq!((known.iterations, known.salt.len()), (4096, 16));
    assert_eq!(
        scram(&one.reloaded(settings_of(&one)), "bob").salt.len(),
        16
    );
    // Nothing tells whether there is a login before the dot.
    assert_eq!(scram(&one, "n8n.bob").salt, scram(&one, "n8n.anne").salt);
    assert_eq!(
        scram(&one, "ghost.bob").salt,
        scram(&one, "ghost.anne").salt
    );
    // The mock's keys come from no password: even knowing the salt does not help.
    assert_ne!(
        ScramVerifier::derive("demo", &first.salt, 4096).stored_key,
        first.stored_key
    );
    assert_eq!(ScramVerifier::derive("demo", &known.salt, 4096), known);
}

fn settings_of(_authenticator: &Authenticator) -> IdentitySettings {
    settings()
}

#[test]
fn failures_slow_down_and_survive_a_reload() {
    let authenticator = Authenticator::new(settings());
    let opening = opening("n8n.bob", None);
    for _ in 0..5 {
        let _ = authenticator.failed(&opening);
    }
    let slowed = authenticator.delay(&opening);
    assert!(slowed > Duration::ZERO);
    let reloaded = authenticator.reloaded(settings());
    assert_eq!(
        reloaded.delay(&opening),
        slowed,
        "the same login, whoever it speaks for"
    );
    reloaded.accept_scram(&opening).unwrap();
    assert_eq!(reloaded.delay(&opening), Duration::ZERO);
}

#[test]
fn a_statement_token_counts_for_its_statement_and_only_where_allowed() {
    let off = Authenticator::new(settings());
    let on = |logins: &[&str]| {
        Authenticator::new(IdentitySettings {
            statement_token: StatementToken {
                enabled: true,
                logins: logins.iter().map(|login| (*login).to_owned()).collect(),
            },
            ..settings()
        })
    };
    let caller = off.accept_scram(&opening("svc", None)).unwrap();
    let text = format!("/* rowgate.token={} */ SELECT 1", sign(&claims()));
    let read =
        |authenticator: &Authenticator, text: &str| authenticator.statement_token(&caller, text);
    assert_eq!(read(&on(&[]), "SELECT 1"), Ok(None));
    assert_eq!(read(&off, "SELECT 1"), Ok(None));
    let bob = read(&on(&["svc"]), &text).unwrap().unwrap();
    assert_eq!((bob.login(), bob.user_id()), ("svc", "bob"));
    assert!(
        read(&off, &text).is_err(),
        "off by default: refused, not ignored"
    );
    assert!(read(&on(&["n8n"]), &text).is_err(), "not this login");
    for broken in [
        "/* rowgate.token=x */ SELECT 1".to_owned(),
        "/* rowgate.token= */ SELECT 1".to_owned(),
        "/* rowgate.token */ SELECT 1".to_owned(),
        text.replace(" */", "x */"),
    ] {
        assert!(read(&on(&[]), &broken).is_err(), "{broken}");
    }
    assert_eq!(
        read(&on(&[]), &format!("SELECT 1 {text}")),
        Ok(None),
        "only at the very start"
    );
    assert_eq!(
        read(&on(&[]), "/* rowgate.user_id=anne */ SELECT 1"),
        Ok(None),
        "unsigned: a comment"
    );
}

#[test]
fn nothing_secret_shows_in_debug() {
    let text = format!(
        "{:?} {:?}",
        settings(),
        Authenticator::new(settings()).challenge(&opening("bob", None))
    );
    assert!(!text.contains("demo") && !text.contains(SECRET), "{text}");
}
