//! A service that answers over HTTP: it resolves roles to permissions itself, and knows no superusers.

use super::http_server::{Manner, Server, answer};
use super::redis_server::certificates;
use super::{Doing, Facts, Harm, Kind, SECRET, Seen, Source, TIMEOUT};
use rowgate::config::{HttpProvider, ProviderKind, UpstreamTls};
use secrecy::SecretString;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// How long the circuit breaker stays open.
pub const OPEN: Duration = Duration::from_millis(100);

pub struct HttpSource {
    kind: Kind,
    server: Server,
    certificates: Option<(tempfile::TempDir, PathBuf)>,
}

impl HttpSource {
    pub async fn new(kind: Kind) -> Self {
        let certificates = (kind == Kind::HttpTls).then(certificates);
        let folder = certificates.as_ref().map(|(folder, _)| folder.path());
        Self {
            kind,
            server: Server::start(folder).await,
            certificates,
        }
    }
}

/// Settings that ask this server.
pub fn settings(server: &Server, ca: Option<&PathBuf>) -> HttpProvider {
    let scheme = if ca.is_some() { "https" } else { "http" };
    let pointer = |name: &str| Some(format!("/{name}"));
    HttpProvider {
        base: format!("{scheme}://{}/api", server.address),
        path: "/users/{id}/permissions".to_owned(),
        key: Some(SecretString::from(SECRET)),
        tls: match ca {
            None => UpstreamTls::Off,
            Some(ca) => UpstreamTls::Verify {
                ca: Some(ca.clone()),
            },
        },
        permissions_pointer: pointer("permissions"),
        roles_pointer: pointer("roles"),
        attributes_pointer: pointer("attributes"),
        not_found_is_nothing: true,
        timeout: TIMEOUT,
        retries: 1,
        connections_max: 8,
        answer_bytes_max: 1024 * 1024,
        breaker_failures: 5,
        breaker_open: OPEN,
    }
}

/// What the service says of a user.
fn known(facts: &Facts, user: &str) -> Option<String> {
    let roles = facts.user_roles.get(user);
    let own = facts.users.get(user);
    let attributes = facts.attributes.get(user);
    if roles.is_none() && own.is_none() && attributes.is_none() {
        return None;
    }
    let roles: Vec<&String> = roles.into_iter().flatten().collect();
    let of_roles = roles.iter().filter_map(|role| facts.roles.get(*role));
    let permissions: BTreeSet<&String> = of_roles.chain(own).flatten().collect();
    let body = json!({
        "permissions": permissions,
        "roles": roles,
        "attributes": attributes.cloned().unwrap_or_default(),
    });
    Some(body.to_string())
}

impl Source for HttpSource {
    fn settings(&self) -> ProviderKind {
        let ca = self.certificates.as_ref().map(|(_, ca)| ca);
        ProviderKind::Http(Box::new(settings(&self.server, ca)))
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(async move {
            let facts = facts.clone();
            self.server.knows(move |user| known(&facts, user));
        })
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            let with = |roles: Vec<String>| {
                let facts = Facts::bob_and_nobody_have(&roles);
                Manner::Bytes(answer(200, "", &known(&facts, "bob").unwrap()))
            };
            self.server.answers(match harm {
                Harm::Outage => return self.server.down().await,
                Harm::Garbage => Manner::Bytes(answer(200, "", "{\"permissions\": [\"a\"")),
                Harm::Oversize => with(vec!["x".repeat(50_000_000)]),
                Harm::Flood => with((0..10_001).map(|n| n.to_string()).collect()),
                Harm::Slow => Manner::Drip,
            });
        })
    }

    fn heal(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            if harm == Harm::Outage {
                self.server.up();
            }
            self.server.answers(Manner::Well);
            tokio::time::sleep(OPEN).await;
        })
    }

    fn says(&self, harm: Harm) -> &'static str {
        match harm {
            Harm::Outage => "unavailable",
            Harm::Garbage => "cannot be understood",
            Harm::Oversize | Harm::Flood => "too large",
            Harm::Slow => "in time",
        }
    }

    fn seen(&self) -> Seen {
        if self.kind == Kind::HttpTtl {
            Seen::WithinTtl
        } else {
            Seen::AtOnce
        }
    }

    fn superusers(&self) -> bool {
        false
    }
}
