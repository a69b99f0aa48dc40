//! The providers' conformance cases for the `jwt` provider. It asks nobody, so what others call an outage it
//! cannot have; revocation is another token, or the end of this one (see `sessions`).

use crate::issuer::{Answer, Server, claims, set, sign};
use rowgate::config::{CacheSettings, JwksSettings, JwksSource, JwtClaims, Provider, ProviderKind};
use rowgate::error::{Error, FaultKind};
use rowgate::identity::{
    Authenticator, Caller, ClaimPath, IdentitySettings, KeySource, Login, Opening, Proof,
    Published, TokenVerifier, valid_name,
};
use rowgate::provider::Jwks;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    user: String,
    #[serde(default)]
    roles: BTreeSet<String>,
    #[serde(default)]
    permissions: BTreeSet<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Vec<String>>,
}

/// What the issuer says of a user, given `facts.toml`; what roles carry is another provider's to say.
fn said(facts: &Value, user: &str) -> Value {
    let mut said = json!({"roles": facts["user_roles"][user], "permissions": facts["users"][user]});
    for (name, values) in facts["attributes"][user].as_object().into_iter().flatten() {
        said[name] = values.clone();
    }
    said
}

async fn authenticator(server: &Server) -> Authenticator {
    let settings = JwksSettings {
        source: JwksSource::Url {
            url: server.url(),
            ca: None,
        },
        refresh: Duration::from_secs(3_600),
        retry_min: Duration::from_secs(3_600),
        stale_max: Duration::from_secs(3_600),
        timeout: Duration::from_secs(5),
    };
    let keys = Jwks::open(settings).await.unwrap();
    let login = Login {
        proof: Proof::Token,
        user_id: None,
        may_delegate: false,
        superuser: false,
    };
    Authenticator::new(IdentitySettings {
        logins: BTreeMap::from([("agent".to_owned(), login)]),
        tokens: Some(TokenVerifier {
            keys: Vec::new(),
            published: Published::by(keys as Arc<dyn KeySource>),
            user_claim: ClaimPath::parse("sub").unwrap(),
            issuer: Some("https://id.example.com".to_owned()),
            audience: "rowgate".to_owned(),
            leeway: Duration::ZERO,
            lifetime_max: Duration::from_secs(600),
        }),
        token_requires_tls: true,
        ..IdentitySettings::default()
    })
}

/// Whoever shows this token, if it opens the door.
fn caller(authenticator: &Authenticator, user: &str, more: &Value) -> Option<Caller> {
    let opening = Opening {
        user: format!("agent.{user}"),
        database: "demo".to_owned(),
        delegate: None,
        tls: true,
        peer: ([127, 0, 0, 1], 1).into(),
        application_name: None,
    };
    let token = sign("e", &claims(user, more));
    authenticator.accept_password(&opening, &token.into()).ok()
}

fn providers(folder: &tempfile::TempDir, facts: &Value) -> [Provider; 2] {
    let path = |text: &str| ClaimPath::parse(text).unwrap();
    let carried = folder.path().join("roles.json");
    std::fs::write(&carried, json!({"roles": facts["roles"]}).to_string()).unwrap();
    let provider = |name: &str, kind| Provider {
        name: name.to_owned(),
        kind,
        cache: CacheSettings::default(),
    };
    let attributes = ["region", "team"].map(|name| (name.to_owned(), path(name)));
    [
        provider(
            "jwt",
            ProviderKind::Jwt(JwtClaims {
                roles: vec![path("roles")],
                permissions: vec![path("permissions")],
                attributes: BTreeMap::from(attributes),
                ..JwtClaims::default()
            }),
        ),
        provider(
            "file",
            ProviderKind::File {
                path: carried,
                stale_max: Duration::ZERO,
            },
        ),
    ]
}

#[tokio::test]
async fn the_claims_grant_what_every_provider_grants() {
    let facts: Value = toml::from_str(include_str!("../providers/facts.toml")).unwrap();
    let cases: Cases = toml::from_str(include_str!("../providers/cases.toml")).unwrap();
    let server = Server::start(Answer::good(&set())).await;
    let authenticator = authenticator(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let providers = rowgate::app::providers(&providers(&folder, &facts))
        .await
        .unwrap();
    let resolver = providers.resolver();
    for case in cases.case {
        let user = &case.user;
        let Some(shows) = caller(&authenticator, user, &said(&facts, user)) else {
            assert!(
                !valid_name(user),
                "{user}: a token opens the door for any name"
            );
            continue;
        };
        let principal = resolver.principal(&shows).await.unwrap();
        let roles: BTreeSet<String> = principal.roles().map(str::to_owned).collect();
        assert_eq!(roles, case.roles, "{user}");
        assert_eq!(principal.permissions(), &case.permissions, "{user}");
        assert_eq!(principal.attributes(), &case.attributes, "{user}");
        assert!(!principal.superuser(), "{user}: no claim makes a superuser");
        assert!(
            principal
                .role_sources()
                .values()
                .all(|from| from.contains("jwt"))
        );
        // The next token says less; and who shows none has nothing.
        let less = caller(&authenticator, user, &json!({})).unwrap();
        for shows in [less, Caller::assumed(user)] {
            let principal = resolver.principal(&shows).await.unwrap();
            assert_eq!(
                principal.roles().count() + principal.permissions().len(),
                0,
                "{user}"
            );
        }
    }
}

#[tokio::test]
async fn claims_that_cannot_be_understood_refuse() {
    let server = Server::start(Answer::good(&set())).await;
    let authenticator = authenticator(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let providers = rowgate::app::providers(&providers(&folder, &json!({"roles": {}})))
        .await
        .unwrap();
    let resolver = providers.resolver();
    for (said, why) in [
        (
            json!({"roles": {"HR Manager": true}}),
            "cannot be understood",
        ),
        (json!({"roles": ["s3cret", 1]}), "cannot be understood"),
        (json!({"permissions": ["x".repeat(2_000)]}), "too large"),
    ] {
        let shows = caller(&authenticator, "bob", &said).unwrap();
        let Err(Error::Failed(fault)) = resolver.principal(&shows).await else {
            panic!("{said}: served");
        };
        assert_eq!(fault.kind, FaultKind::ProviderUnavailable);
        let logged = format!("{:#}", fault.cause);
        assert!(
            logged.contains(why) && !logged.contains("s3cret"),
            "{logged}"
        );
    }
    // More than a token may hold does not even open the door.
    let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    assert!(caller(&authenticator, "bob", &json!({"roles": many})).is_none());
}
