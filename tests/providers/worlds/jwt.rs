//! Tokens: an issuer that signs them and publishes its keys by an address. The provider asks nobody; what can be slow, down
//! or nonsense is where the keys come from, and that refuses at the door. What roles carry is a file's word beside it.

use super::file::FileSource;
use super::issuer::{Answer, Server, claims, only, sign};
use super::{Doing, Door, Facts, Harm, Kind, Refused, SECRET, Seen, Source, TTL};
use rowgate::config::{JwksSettings, JwksSource, JwtClaims, ProviderKind};
use rowgate::error::Refusal;
use rowgate::identity::{
    Authenticator, Caller, ClaimPath, IdentitySettings, KeySource, Login, Opening, Proof,
    Published, TokenVerifier, valid_name,
};
use rowgate::provider::Jwks;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a look for keys may take.
const LOOK_MAX: Duration = Duration::from_secs(2);
const NEVER: Duration = Duration::from_secs(3_600);

struct Told {
    facts: Facts,
    /// The key that new tokens are signed with; each time something is told it is the other one, and the one before is
    /// published no more.
    key: &'static str,
}

pub struct JwtSource {
    server: Server,
    carried: FileSource,
    authenticator: Authenticator,
    told: Mutex<Told>,
}

fn settings(server: &Server) -> JwksSettings {
    JwksSettings {
        source: JwksSource::Url {
            url: server.url(),
            ca: None,
        },
        refresh: NEVER,
        retry_min: Duration::ZERO,
        stale_max: TTL,
        timeout: LOOK_MAX,
    }
}

impl JwtSource {
    pub async fn new() -> Self {
        let server = Server::start(Answer::good(&only(&["e"]))).await;
        let keys = Jwks::open(settings(&server)).await.unwrap();
        let agent = Login {
            proof: Proof::Token,
            user_id: None,
            may_delegate: false,
            superuser: false,
        };
        let authenticator = Authenticator::new(IdentitySettings {
            logins: BTreeMap::from([("agent".to_owned(), agent)]),
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
        });
        let (facts, key) = (Facts::default(), "e");
        Self {
            server,
            carried: FileSource::new(Kind::FileJson),
            authenticator,
            told: Mutex::new(Told { facts, key }),
        }
    }

    /// Shows a token at the door, as `agent.USER` over TLS.
    pub async fn show(&self, user: &str, token: String) -> Result<Caller, Refusal> {
        let opening = Opening {
            user: format!("agent.{user}"),
            database: "demo".to_owned(),
            delegate: None,
            tls: true,
            peer: ([127, 0, 0, 1], 1).into(),
            application_name: None,
        };
        let token = token.into();
        self.authenticator.prepare_password(&opening, &token).await;
        self.authenticator.accept_password(&opening, &token)
    }

    /// A token of now that says this of a user.
    pub fn sign(&self, user: &str, said: &Value) -> String {
        sign(self.told.lock().unwrap().key, &claims(user, said))
    }

    fn publish(&self) {
        let key = self.told.lock().unwrap().key;
        self.server.answers(Answer::good(&only(&[key])));
    }

    /// What the issuer signs for a user now.
    pub fn token(&self, user: &str) -> String {
        let told = self.told.lock().unwrap();
        let list = |lists: &super::Lists| lists.get(user).cloned().unwrap_or_default();
        let mut said: Value = json!({
            "roles": list(&told.facts.user_roles), "permissions": list(&told.facts.users), "note": SECRET,
        });
        for (name, values) in told.facts.attributes.get(user).into_iter().flatten() {
            said[name] = values.clone().into();
        }
        sign(told.key, &claims(user, &said))
    }
}

impl Source for JwtSource {
    fn settings(&self) -> ProviderKind {
        let path = |text: &str| ClaimPath::parse(text).unwrap();
        let attributes = ["region", "team"].map(|name| (name.to_owned(), path(name)));
        ProviderKind::Jwt(JwtClaims {
            roles: vec![path("roles")],
            permissions: vec![path("permissions")],
            attributes: BTreeMap::from(attributes),
            ..JwtClaims::default()
        })
    }

    fn beside(&self) -> Option<ProviderKind> {
        Some(self.carried.settings())
    }

    fn door<'a>(&'a self, user: &'a str) -> Door<'a> {
        Box::pin(async move {
            let accepted = self.show(user, self.token(user)).await;
            match accepted {
                Ok(caller) => Ok(caller),
                Err(refusal) => Err(Refused {
                    told: refusal.to_string(),
                    // What the look for keys has just written into the log.
                    logged: match Jwks::open(settings(&self.server)).await {
                        Ok(_) => "the token is not accepted".to_owned(),
                        Err(error) => format!("{error} {error:?}"),
                    },
                }),
            }
        })
    }

    fn opens_for(&self, user: &str) -> bool {
        valid_name(user)
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(async move {
            {
                let mut told = self.told.lock().unwrap();
                told.facts = facts.clone();
                told.key = if told.key == "e" { "r" } else { "e" };
            }
            self.publish();
            let carried = Facts {
                roles: facts.roles.clone(),
                ..Facts::default()
            };
            self.carried.tell(&carried).await;
        })
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            match harm {
                Harm::Outage => self.server.answers(Answer::text("503 Down", "")),
                Harm::Garbage => {
                    let page = format!("<html>{SECRET}</html>");
                    self.server.answers(Answer::text("200 OK", &page));
                }
                Harm::Oversize => {
                    let padded = format!("{}{}", only(&["e", "r"]), " ".repeat(300 * 1024));
                    self.server.answers(Answer::text("200 OK", &padded));
                }
                // Of keys there are few; of claims one may be far too long.
                Harm::Flood => {
                    let mut told = self.told.lock().unwrap();
                    for user in ["bob", "nobody"] {
                        let long = vec!["x".repeat(2_000)];
                        told.facts.user_roles.insert(user.to_owned(), long);
                    }
                }
                Harm::Slow => {
                    let mut slow = Answer::good(&only(&["e", "r"]));
                    slow.delay = Duration::from_secs(30);
                    self.server.answers(slow);
                }
            }
        })
    }

    fn heal(&self, _harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            for user in ["bob", "nobody"] {
                let mut told = self.told.lock().unwrap();
                told.facts.user_roles.remove(user);
                if user == "bob" {
                    let role = vec!["HR Manager".to_owned()];
                    told.facts.user_roles.insert(user.to_owned(), role);
                }
            }
            self.publish();
        })
    }

    fn says(&self, harm: Harm) -> &'static str {
        match harm {
            Harm::Outage => "answered 503",
            Harm::Garbage => "cannot be understood",
            Harm::Oversize | Harm::Flood => "too large",
            Harm::Slow => "in time",
        }
    }

    /// The last good keys serve for [`TTL`]; what a token says counts at once.
    fn seen(&self) -> Seen {
        Seen::WithinTtl
    }

    fn superusers(&self) -> bool {
        false
    }
}
