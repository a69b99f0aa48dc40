//! A world for each kind of provider: how to tell it facts, and how to harm it.

use crate::support;
use rowgate::app::Providers;
use rowgate::config::{
    CacheSettings, Provider, ProviderKind, SqlProvider, SqlQueries, UpstreamTls,
};
use rowgate::provider::Resolver;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Client;

/// The provider's password; must not appear in any message.
pub const SECRET: &str = "pw-5ecret";
/// How long [`Kind::FileLenient`] serves its last good content.
pub const STALE_MAX: Duration = Duration::from_millis(400);
/// Generous, so that a busy machine is not mistaken for a slow provider, which sleeps for 30 s.
const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    FileJson,
    FileToml,
    FileYaml,
    /// A file that may be stale for [`STALE_MAX`]; the others may not be at all.
    FileLenient,
    Sql,
    SqlCached,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    Outage,
    Garbage,
    /// One item far too long.
    Oversize,
    /// Far too many items.
    Flood,
    Slow,
}

impl Harm {
    pub const ALL: [Self; 5] = [
        Self::Outage,
        Self::Garbage,
        Self::Oversize,
        Self::Flood,
        Self::Slow,
    ];
}

type Lists = BTreeMap<String, Vec<String>>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    pub superusers: Vec<String>,
    pub user_roles: Lists,
    pub users: Lists,
    pub roles: Lists,
    pub denied_roles: Lists,
    pub attributes: BTreeMap<String, Lists>,
}

pub struct World {
    pub kind: Kind,
    providers: Providers,
    settings: Provider,
    place: Place,
}

enum Place {
    File {
        path: PathBuf,
        aside: PathBuf,
        _folder: tempfile::TempDir,
    },
    Sql {
        admin: Client,
        login: String,
    },
}

const TABLES: &str = "
    CREATE TABLE user_roles (name text, role text);
    CREATE TABLE user_permissions (name text, permission text);
    CREATE TABLE user_attributes (name text, attribute text, value text);
    CREATE TABLE superusers (name text);
    CREATE TABLE role_permissions (role text, permission text);
    CREATE TABLE delay (seconds float8);
    INSERT INTO delay VALUES (0);
";

impl World {
    pub async fn new(kind: Kind) -> Self {
        let (place, provider) = match kind {
            Kind::FileJson | Kind::FileToml | Kind::FileYaml | Kind::FileLenient => file(kind),
            Kind::Sql | Kind::SqlCached => sql(kind).await,
        };
        let settings = Provider {
            name: "under test".to_owned(),
            kind: provider,
            cache: CacheSettings {
                age_max: if kind == Kind::SqlCached {
                    Duration::from_secs(600)
                } else {
                    Duration::ZERO
                },
                ..CacheSettings::default()
            },
        };
        let providers = rowgate::app::providers(std::slice::from_ref(&settings))
            .await
            .unwrap();
        Self {
            kind,
            providers,
            settings,
            place,
        }
    }

    pub fn resolver(&self) -> Resolver {
        self.providers.resolver()
    }

    pub fn settings(&self, name: &str) -> Provider {
        Provider {
            name: name.to_owned(),
            ..self.settings.clone()
        }
    }

    /// Tells the provider's source all of it, at once, as its owner would.
    pub async fn tell(&self, facts: &Facts) {
        match &self.place {
            Place::File { path, .. } => {
                self.write(path, &written(self.kind, facts));
            }
            Place::Sql { admin, .. } => {
                tell_sql(admin, facts).await;
            }
        }
    }

    fn write(&self, path: &PathBuf, text: &str) {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path).unwrap();
        self.providers.reload_files();
    }

    pub async fn harm(&self, harm: Harm) {
        match &self.place {
            Place::File { path, aside, .. } => {
                std::fs::copy(path, aside).unwrap();
                let long = "x".repeat(2_000);
                match harm {
                    Harm::Outage => {
                        std::fs::remove_file(path).unwrap();
                        self.providers.reload_files();
                    }
                    Harm::Garbage => self.write(path, "{\"users\": {\"bob\": [\"a\"], "),
                    Harm::Oversize => self.write(path, &self.bob_has(&[long])),
                    Harm::Flood => {
                        let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
                        self.write(path, &self.bob_has(&many));
                    }
                    // A file answers from memory; what could be slow is reading it, so: endless.
                    Harm::Slow => {
                        let endless = std::fs::File::create(path).unwrap();
                        endless.set_len(65 * 1024 * 1024).unwrap();
                        self.providers.reload_files();
                    }
                }
            }
            Place::Sql { admin, login } => {
                let statement = match harm {
                    Harm::Outage => format!(
                        "ALTER ROLE {login} NOLOGIN;
                         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
                    ),
                    Harm::Garbage => "INSERT INTO user_roles SELECT n, NULL FROM (VALUES ('bob'), ('nobody')) AS v(n)".to_owned(),
                    Harm::Oversize => {
                        "INSERT INTO user_roles SELECT n, repeat('x', 50000000) FROM (VALUES ('bob'), ('nobody')) AS v(n)"
                            .to_owned()
                    }
                    Harm::Flood => {
                        "INSERT INTO user_roles SELECT n, g::text FROM generate_series(1, 10001) AS g,
                         (VALUES ('bob'), ('nobody')) AS v(n)"
                            .to_owned()
                    }
                    Harm::Slow => "UPDATE delay SET seconds = 30".to_owned(),
                };
                admin.batch_execute(&statement).await.unwrap();
            }
        }
    }

    fn bob_has(&self, roles: &[String]) -> String {
        let facts = Facts {
            user_roles: BTreeMap::from([("bob".to_owned(), roles.to_vec())]),
            ..Facts::default()
        };
        written(self.kind, &facts)
    }

    /// What the log has to say about the harm.
    pub fn says(&self, harm: Harm) -> &'static str {
        match (&self.place, harm) {
            (Place::File { .. }, Harm::Outage) => "No such file",
            (Place::Sql { .. }, Harm::Outage) => "unavailable",
            (_, Harm::Garbage) => "cannot be understood",
            (_, Harm::Oversize | Harm::Flood) | (Place::File { .. }, Harm::Slow) => "too large",
            (Place::Sql { .. }, Harm::Slow) => "in time",
        }
    }

    pub async fn heal(&self, harm: Harm) {
        match &self.place {
            Place::File { path, aside, .. } => {
                std::fs::rename(aside, path).unwrap();
                self.providers.reload_files();
            }
            Place::Sql { admin, login } => {
                let statement = match harm {
                    Harm::Outage => format!("ALTER ROLE {login} LOGIN"),
                    Harm::Slow => "UPDATE delay SET seconds = 0".to_owned(),
                    Harm::Garbage | Harm::Oversize | Harm::Flood => {
                        "DELETE FROM user_roles WHERE role IS NULL OR length(role) > 1000 OR role ~ '^[0-9]+$';
                         DELETE FROM user_roles WHERE name = 'nobody'"
                            .to_owned()
                    }
                };
                admin.batch_execute(&statement).await.unwrap();
            }
        }
    }
}

fn written(kind: Kind, facts: &Facts) -> String {
    match kind {
        Kind::FileToml => toml::to_string(facts).unwrap(),
        Kind::FileYaml => yaml(facts),
        _ => serde_json::to_string(facts).unwrap(),
    }
}

/// Block style, as people write it; names in JSON's quotes, which are YAML's too.
fn yaml(facts: &Facts) -> String {
    use std::fmt::Write;
    let quoted = |text: &String| serde_json::to_string(text).unwrap();
    let mut text = format!("# who has what\nsuperusers: {:?}\n", facts.superusers);
    for (section, lists) in [
        ("user_roles", &facts.user_roles),
        ("users", &facts.users),
        ("roles", &facts.roles),
        ("denied_roles", &facts.denied_roles),
    ] {
        writeln!(
            text,
            "{section}: {}",
            if lists.is_empty() { "{}" } else { "" }
        )
        .unwrap();
        for (name, items) in lists {
            writeln!(
                text,
                "  {}:{}",
                quoted(name),
                if items.is_empty() { " []" } else { "" }
            )
            .unwrap();
            for item in items {
                writeln!(text, "    - {}", quoted(item)).unwrap();
            }
        }
    }
    writeln!(
        text,
        "attributes: {}",
        serde_json::to_string(&facts.attributes).unwrap()
    )
    .unwrap();
    text
}

fn file(kind: Kind) -> (Place, ProviderKind) {
    let folder = tempfile::tempdir().unwrap();
    let name = match kind {
        Kind::FileToml => "facts.toml",
        Kind::FileYaml => "facts.yaml",
        _ => "facts.json",
    };
    let path = folder.path().join(name);
    std::fs::write(&path, written(kind, &Facts::default())).unwrap();
    let stale_max = if kind == Kind::FileLenient {
        STALE_MAX
    } else {
        Duration::ZERO
    };
    let provider = ProviderKind::File {
        path: path.clone(),
        stale_max,
    };
    (
        Place::File {
            aside: folder.path().join("aside"),
            path,
            _folder: folder,
        },
        provider,
    )
}

async fn sql(kind: Kind) -> (Place, ProviderKind) {
    let database = support::empty_database().await;
    let login = format!("login_{database}");
    let admin = support::cluster().connect(&database).await.unwrap();
    admin.batch_execute(TABLES).await.unwrap();
    let setup = format!(
        "CREATE ROLE {login} LOGIN PASSWORD '{SECRET}';
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {login}"
    );
    admin.batch_execute(&setup).await.unwrap();
    let delayed = |query: &str| Some(format!("{query} -- a comment at the end"));
    let provider = SqlProvider {
        host: "127.0.0.1".to_owned(),
        port: support::cluster().port(),
        database,
        user: login.clone(),
        password: Some(SecretString::from(SECRET)),
        tls: UpstreamTls::Off,
        queries: SqlQueries {
            roles: delayed(
                "SELECT role FROM user_roles, delay, LATERAL (SELECT pg_sleep(seconds)) AS s WHERE name = $1
                 UNION ALL SELECT NULL FROM delay, LATERAL (SELECT pg_sleep(seconds)) AS s WHERE seconds > 0",
            ),
            permissions: delayed("SELECT permission FROM user_permissions WHERE name = $1"),
            attributes: delayed("SELECT attribute, value FROM user_attributes WHERE name = $1"),
            superuser: delayed("SELECT true FROM superusers WHERE name = $1"),
            role_permissions: Some("SELECT permission FROM role_permissions WHERE role = ANY ($1);".to_owned()),
            ..SqlQueries::default()
        },
        preset: None,
        pool_size: 3,
        timeout: TIMEOUT,
        listen: kind == Kind::SqlCached,
    };
    (
        Place::Sql { admin, login },
        ProviderKind::Sql(Box::new(provider)),
    )
}

/// In one transaction, so that nobody sees half of it; the notification leaves with the commit.
async fn tell_sql(admin: &Client, facts: &Facts) {
    use std::fmt::Write;
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut sql = "BEGIN; DELETE FROM user_roles; DELETE FROM user_permissions; DELETE FROM user_attributes; \
                   DELETE FROM superusers; DELETE FROM role_permissions;\n"
        .to_owned();
    for (table, lists) in [
        ("user_roles", &facts.user_roles),
        ("user_permissions", &facts.users),
        ("role_permissions", &facts.roles),
    ] {
        for (name, item) in lists
            .iter()
            .flat_map(|(name, items)| items.iter().map(move |item| (name, item)))
        {
            writeln!(
                sql,
                "INSERT INTO {table} VALUES ({}, {});",
                quote(name),
                quote(item)
            )
            .unwrap();
        }
    }
    for (name, attributes) in &facts.attributes {
        for (attribute, values) in attributes {
            for value in values {
                let row = [name, attribute, value].map(|text| quote(text)).join(", ");
                writeln!(sql, "INSERT INTO user_attributes VALUES ({row});").unwrap();
            }
        }
    }
    for name in &facts.superusers {
        writeln!(sql, "INSERT INTO superusers VALUES ({});", quote(name)).unwrap();
    }
    sql.push_str("NOTIFY rowgate_invalidate; COMMIT");
    admin.batch_execute(&sql).await.unwrap();
}
