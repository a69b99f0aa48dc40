//! A PostgreSQL of the customer's, with tables of their own.

use super::{Doing, Facts, Harm, Kind, SECRET, Seen, Source, TIMEOUT};
use crate::support;
use rowgate::config::{Database, ProviderKind, SqlProvider, SqlQueries, UpstreamTls};
use secrecy::SecretString;
use tokio_postgres::Client;

const TABLES: &str = "
    CREATE TABLE user_roles (name text, role text);
    CREATE TABLE user_permissions (name text, permission text);
    CREATE TABLE user_attributes (name text, attribute text, value text);
    CREATE TABLE superusers (name text);
    CREATE TABLE role_permissions (role text, permission text);
    CREATE TABLE delay (seconds float8);
    INSERT INTO delay VALUES (0);
";

pub struct SqlSource {
    kind: Kind,
    admin: Client,
    database: String,
    login: String,
}

impl SqlSource {
    pub async fn new(kind: Kind) -> Self {
        let database = support::empty_database().await;
        let login = format!("login_{database}");
        let admin = support::cluster().connect(&database).await.unwrap();
        admin.batch_execute(TABLES).await.unwrap();
        let setup = format!(
            "CREATE ROLE {login} LOGIN PASSWORD '{SECRET}';
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {login}"
        );
        admin.batch_execute(&setup).await.unwrap();
        Self {
            kind,
            admin,
            database,
            login,
        }
    }
}

impl Source for SqlSource {
    fn settings(&self) -> ProviderKind {
        let delayed = |query: &str| Some(format!("{query} -- a comment at the end"));
        ProviderKind::Sql(Box::new(SqlProvider {
        database: Database {
            host: "127.0.0.1".to_owned(),
            port: support::cluster().port(),
            database: self.database.clone(),
            user: self.login.clone(),
            password: Some(SecretString::from(SECRET)),
            tls: UpstreamTls::Off,
            timeout: TIMEOUT,
        },
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
        unheard_age_max: std::time::Duration::ZERO,
        listen: self.kind == Kind::SqlCached,
    }))
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(tell(&self.admin, facts))
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        let login = &self.login;
        Box::pin(async move {
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
            self.admin.batch_execute(&statement).await.unwrap();
        })
    }

    fn heal(&self, harm: Harm) -> Doing<'_> {
        let login = &self.login;
        Box::pin(async move {
            let statement = match harm {
                    Harm::Outage => format!("ALTER ROLE {login} LOGIN"),
                    Harm::Slow => "UPDATE delay SET seconds = 0".to_owned(),
                    Harm::Garbage | Harm::Oversize | Harm::Flood => {
                        "DELETE FROM user_roles WHERE role IS NULL OR length(role) > 1000 OR role ~ '^[0-9]+$';
                         DELETE FROM user_roles WHERE name = 'nobody'"
                            .to_owned()
                    }
                };
            self.admin.batch_execute(&statement).await.unwrap();
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
        if self.kind == Kind::SqlCached {
            Seen::WhenHeard
        } else {
            Seen::AtOnce
        }
    }
}

/// In one transaction, so that nobody sees half of it; the notification leaves with the commit.
async fn tell(admin: &Client, facts: &Facts) {
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
