//! Keto: roles and permissions as objects, `role:R#member@user` and `permission:P#holder@role:R#member`.

use super::keto_server::{KetoServer, Mood, Subject, Tuple};
use super::{Doing, Facts, Harm, SECRET, Source, TIMEOUT};
use rowgate::config::{Config, ProviderKind};
use std::sync::Mutex;

pub const RULES: &str = r#"
[tuples.namespaces.role]
member = { subjects = ["user"] }
[tuples.namespaces.permission]
holder = { subjects = ["user", "role#member"] }
"#;

/// The settings of a provider that asks this server, by these rules.
pub fn settings(port: u16, rules: &str, more: &str) -> Result<ProviderKind, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("views")).unwrap();
    let text = format!(
        "[upstream]\ndatabase = \"d\"\nuser = \"u\"\n[logins.bob]\npassword = \"x\"\n{rules}\n\
         [[providers]]\nkind = \"keto\"\nbase = \"http://127.0.0.1:{port}\"\nkey = \"{SECRET}\"\n\
         timeout_ms = {}\n{more}\n",
        TIMEOUT.as_millis()
    );
    let config = Config::parse(&text, &folder.path().join("rowgate.toml"));
    let config = config.map_err(|errors| errors.to_string())?;
    Ok(config.providers[0].kind.clone())
}

pub struct KetoSource {
    server: KetoServer,
    told: Mutex<Facts>,
}

impl KetoSource {
    pub async fn new() -> Self {
        Self {
            server: KetoServer::start(&[]).await,
            told: Mutex::default(),
        }
    }

    fn tuples(facts: &Facts) -> Vec<Tuple> {
        let tuple = |namespace: &str, object: &str, relation: &str, subject| {
            Tuple(
                namespace.to_owned(),
                object.to_owned(),
                relation.to_owned(),
                subject,
            )
        };
        let mut tuples = Vec::new();
        for (user, roles) in &facts.user_roles {
            for role in roles {
                tuples.push(tuple("role", role, "member", Subject::Id(user.clone())));
            }
        }
        for (user, permissions) in &facts.users {
            for name in permissions {
                tuples.push(tuple(
                    "permission",
                    name,
                    "holder",
                    Subject::Id(user.clone()),
                ));
            }
        }
        for (role, permissions) in &facts.roles {
            let set = Subject::Set("role".to_owned(), role.clone(), "member".to_owned());
            for name in permissions {
                tuples.push(tuple("permission", name, "holder", set.clone()));
            }
        }
        tuples
    }
}

impl Source for KetoSource {
    fn settings(&self) -> ProviderKind {
        let more = "roles = \"role#member\"\npermissions = \"permission#holder\"";
        settings(self.server.port, RULES, more).unwrap()
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(async move {
            *self.told.lock().unwrap() = facts.clone();
            self.server.tell(Self::tuples(facts));
        })
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            let items: Vec<String> = match harm {
                Harm::Outage => return self.server.be(Mood::Gone),
                Harm::Garbage => return self.server.be(Mood::Garbled),
                Harm::Slow => return self.server.be(Mood::Slow),
                Harm::Oversize => vec!["x".repeat(50_000)],
                Harm::Flood => (0..10_001).map(|n| n.to_string()).collect(),
            };
            self.server
                .tell(Self::tuples(&Facts::bob_and_nobody_have(&items)));
        })
    }

    fn heal(&self, _harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            self.server.be(Mood::Well);
            let facts = self.told.lock().unwrap().clone();
            self.server.tell(Self::tuples(&facts));
        })
    }

    fn says(&self, harm: Harm) -> &'static str {
        match harm {
            Harm::Outage => "unavailable",
            Harm::Garbage => "not what Keto's API documents",
            Harm::Oversize | Harm::Flood => "too large",
            Harm::Slow => "no answer in time",
        }
    }

    fn attributes(&self) -> bool {
        false
    }

    fn superusers(&self) -> bool {
        false
    }
}
