//! Sessions that a token opened, through a running gate: their claims are roles, and end with the token.

use crate::issuer::{Answer, Server, claims, only, sign};
use crate::support::{self, Gate};
use rowgate::config::{
    CacheSettings, Config, Enforcement, JwksSettings, JwksSource, JwtClaims, Provider, ProviderKind,
};
use rowgate::demo::Setup;
use rowgate::identity::{ClaimPath, Login, Proof, Published, TokenVerifier};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::{Client, NoTls};

const SUM: &str = "SELECT sum(amount)::text FROM invoices";

fn path(text: &str) -> ClaimPath {
    ClaimPath::parse(text).unwrap()
}

/// Roles from the claim `realm_access.roles` alone; tokens by the keys that `server` publishes (in clear, for
/// the test).
fn by_claims(config: &mut Config, server: &Server, permissions: bool) {
    config.providers = vec![Provider {
        name: "jwt".to_owned(),
        kind: ProviderKind::Jwt(JwtClaims {
            roles: vec![path("realm_access.roles")],
            permissions: if permissions {
                vec![path("scope")]
            } else {
                Vec::new()
            },
            ..JwtClaims::default()
        }),
        cache: CacheSettings::default(),
    }];
    let agent = Login {
        proof: Proof::Token,
        user_id: None,
        may_delegate: false,
        superuser: true,
    };
    config.identity.logins.insert("agent".to_owned(), agent);
    config.identity.tokens = Some(TokenVerifier {
        keys: Vec::new(),
        published: Published::default(),
        user_claim: path("sub"),
        issuer: Some("https://id.example.com".to_owned()),
        audience: "rowgate".to_owned(),
        leeway: Duration::ZERO,
        lifetime_max: Duration::from_secs(600),
    });
    config.identity.token_requires_tls = false;
    config.identity.statement_token.enabled = true;
    config.jwks = Some(JwksSettings {
        source: JwksSource::Url {
            url: server.url(),
            ca: None,
        },
        refresh: Duration::from_secs(3_600),
        retry_min: Duration::ZERO,
        stale_max: Duration::from_secs(3_600),
        timeout: Duration::from_secs(5),
    });
}

async fn gate(name: &str, server: &Server) -> Gate {
    let listen = ([127, 0, 0, 1], 0).into();
    let setup = Setup::example(name, listen, Enforcement::Barrier);
    support::gate_with(setup, |config| by_claims(config, server, true)).await
}

async fn connect(gate: &Gate, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = gate.login(user);
    config.password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn sum(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(client.query_one(SUM, &[]).await?.get(0))
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("no code", |code| code.code())
}

fn roles(roles: &[&str]) -> serde_json::Value {
    json!({"realm_access": {"roles": roles}})
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_decide_what_a_session_sees() {
    let server = Server::start(Answer::good(&only(&["r"]))).await;
    let gate = gate("claims", &server).await;
    let of = async |subject: &str, more: &serde_json::Value| {
        let token = sign("r", &claims(subject, more));
        let client = connect(&gate, &format!("agent.{subject}"), &token)
            .await
            .unwrap();
        sum(&client).await
    };
    let hr = of("zoe", &roles(&["HR Manager"])).await.unwrap();
    let both = of("zoe", &roles(&["HR Manager", "Sales Manager"]))
        .await
        .unwrap();
    assert!(
        hr.is_some() && both.is_some() && hr != both,
        "{hr:?} {both:?}"
    );
    assert_eq!(
        of("zoe", &json!({})).await.unwrap(),
        None,
        "no claim, no role"
    );
    assert_eq!(of("zoe", &roles(&[])).await.unwrap(), None);
    assert_eq!(
        of("zoe", &roles(&["hr manager"])).await.unwrap(),
        None,
        "another role"
    );
    // One user, two tokens, at the same time: what one may does not leak into the other.
    let strong = sign("r", &claims("max", &roles(&["HR Manager"])));
    let weak = sign("r", &claims("max", &roles(&[])));
    let (strong, weak) = (
        connect(&gate, "agent.max", &strong).await.unwrap(),
        connect(&gate, "agent.max", &weak).await.unwrap(),
    );
    for _ in 0..3 {
        assert_eq!(sum(&strong).await.unwrap(), hr);
        assert_eq!(sum(&weak).await.unwrap(), None);
    }
    // A claim of the wrong kind is a fault, never "no roles, carry on".
    let confused = json!({"realm_access": {"roles": {"HR Manager": true}}});
    let confused = sign("r", &claims("zoe", &confused));
    let refused = connect(&gate, "agent.zoe", &confused).await;
    assert_eq!(code(&refused.err().unwrap()), "58000");
    // Without a token there are no claims; what the database says does not count here.
    let bob = gate.connect("bob").await;
    assert_eq!(sum(&bob).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token() {
    let server = Server::start(Answer::good(&only(&["r"]))).await;
    let gate = gate("expiry", &server).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut short = claims("zoe", &roles(&["HR Manager"]));
    short["exp"] = json!(now.as_secs() + 4);
    let client = connect(&gate, "agent.zoe", &sign("r", &short))
        .await
        .unwrap();
    let prepared = client.prepare(SUM).await.unwrap();
    assert!(sum(&client).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(4_100)).await;
    let fresh = sign("r", &claims("zoe", &roles(&["HR Manager"])));
    let errors = [
        sum(&client).await.unwrap_err(),
        client.query_one(&prepared, &[]).await.unwrap_err(),
        client.simple_query(SUM).await.unwrap_err(),
        client
            .simple_query(&format!("/* rowgate.token={fresh} */ {SUM}"))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        let told = error.as_db_error().unwrap();
        assert_eq!(told.code().code(), "28000");
        assert_eq!(told.message(), "the token has expired");
        assert!(told.hint().unwrap().contains("fresh token"), "{told:?}");
    }
    let again = connect(&gate, "agent.zoe", &fresh).await.unwrap();
    assert!(sum(&again).await.unwrap().is_some());
    let late = connect(&gate, "agent.zoe", &sign("r", &short)).await;
    assert_eq!(
        code(&late.err().unwrap()),
        "28P01",
        "nor does it open another"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_open_and_withdrawn_ones_do_not() {
    let server = Server::start(Answer::good(&only(&["r"]))).await;
    let gate = gate("rotation", &server).await;
    let hr = roles(&["HR Manager"]);
    let (old, new) = (
        sign("r", &claims("zoe", &hr)),
        sign("e", &claims("zoe", &hr)),
    );
    assert!(connect(&gate, "agent.zoe", &old).await.is_ok());
    let refused = connect(&gate, "agent.zoe", &new).await;
    assert_eq!(code(&refused.err().unwrap()), "28P01", "not published yet");
    server.answers(Answer::good(&only(&["e"])));
    let client = connect(&gate, "agent.zoe", &new).await.unwrap();
    let refused = connect(&gate, "agent.zoe", &old).await;
    assert_eq!(code(&refused.err().unwrap()), "28P01", "withdrawn");
    // A new key also serves a statement's token.
    server.answers(Answer::good(&only(&["e", "r"])));
    let by_statement = format!("/* rowgate.token={old} */ {SUM}");
    let row = client.query_one(&by_statement, &[]).await.unwrap();
    assert!(row.get::<_, Option<String>>(0).is_some());
}
