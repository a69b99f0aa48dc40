//! From a fresh cluster to a database with the example in it and a [`Config`] that serves it.

use super::{Cluster, ClusterError, DATA, SCHEMA, VIEWS, random_password};
use crate::config::{Config, ConfigErrors, Enforcement};
use crate::install::{self, InstallError, InstallOptions, Passwords};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The login the `sql` provider reads `user_roles` with; it may read nothing else.
const ROLES_LOGIN: &str = "rowgate_roles";

/// Users of the demo and who they are; the password of each is [`PASSWORD`].
pub const USERS: &[(&str, &str)] = &[
    ("bob", "HR Manager"),
    ("anne", "HR Manager and Sales Manager"),
    ("eve", "no role"),
    (
        "admin",
        "superuser: all rows of all tables in views/, still read-only",
    ),
];

/// The configuration's name in the cluster's folder.
pub(super) const CONFIG_FILE: &str = "rowgate.toml";

/// The demo users' password.
pub const PASSWORD: &str = "demo";

/// What to put into the cluster and how to serve it.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The database's name.
    pub database: String,
    /// Where Rowgate listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the filter lives.
    pub enforcement: Enforcement,
    /// Tables and rows, run once when the database is new.
    pub sql: Vec<String>,
    /// The permission views: a folder of one's own, or `None` for the example's.
    pub views: Option<PathBuf>,
}

impl Setup {
    /// The running example as `database`.
    pub fn example(database: &str, listen: SocketAddr, enforcement: Enforcement) -> Self {
        Self {
            database: database.to_owned(),
            listen,
            enforcement,
            sql: vec![SCHEMA.to_owned(), DATA.to_owned()],
            views: None,
        }
    }
}

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The configuration is wrong, such as a folder of views that does not exist.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The views cannot be read or installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Rowgate itself did not start, or ended with an error.
    #[error("{0:#}")]
    Serve(anyhow::Error),
    /// The terminal or pipe the demo writes to is gone.
    #[error("cannot write: {0}")]
    Output(#[source] std::io::Error),
}

impl DemoError {
    /// The next step for the person at the keyboard.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Cluster(error) => Some(error.hint()),
            Self::Serve(cause) => cause
                .chain()
                .filter_map(|error| error.downcast_ref::<std::io::Error>())
                .any(|error| error.kind() == std::io::ErrorKind::AddrInUse)
                .then_some("--listen takes another address; 127.0.0.1:0 is any free port."),
            Self::Config(_) | Self::Install(_) | Self::Output(_) => None,
        }
    }
}

/// Creates the database if it is missing, installs the permission views, and returns the configuration
/// that serves it with the demo's logins.
///
/// # Errors
/// [`DemoError`] when a statement fails or a view is wrong.
pub async fn prepare(cluster: &Cluster, setup: &Setup) -> Result<Config, DemoError> {
    let roles_password = random_password();
    create_database(cluster, setup, &roles_password).await?;
    if setup.views.is_none() {
        write_views(cluster, VIEWS)?;
    }
    let passwords = Passwords {
        login: Some(SecretString::from(random_password())),
        superuser_login: Some(SecretString::from(random_password())),
    };
    let config = configure(cluster, setup, &passwords, &roles_password)?;
    let views = install::read_views(&config.views)?;
    let mut admin = cluster.connect(&setup.database).await?;
    install::apply(&mut admin, &views, &InstallOptions::default(), &passwords).await?;
    Ok(config)
}

async fn create_database(
    cluster: &Cluster,
    setup: &Setup,
    roles_password: &str,
) -> Result<(), DemoError> {
    let run = |error| DemoError::Cluster(ClusterError::Connect(error));
    let admin = cluster.connect("postgres").await?;
    let known = |name: &'static str, value: String| {
        let admin = &admin;
        async move {
            Ok::<_, DemoError>(
                admin
                    .query_opt(name, &[&value])
                    .await
                    .map_err(run)?
                    .is_some(),
            )
        }
    };
    let role = "SELECT 1 FROM pg_roles WHERE rolname = $1";
    let verb = if known(role, ROLES_LOGIN.to_owned()).await? {
        "ALTER"
    } else {
        "CREATE"
    };
    // Our own constants and hexadecimal digits: nothing here needs quoting.
    let statement = format!("{verb} ROLE {ROLES_LOGIN} LOGIN PASSWORD '{roles_password}'");
    admin.batch_execute(&statement).await.map_err(run)?;
    let database = "SELECT 1 FROM pg_database WHERE datname = $1";
    if known(database, setup.database.clone()).await? {
        return Ok(());
    }
    let name = crate::policy::quote_identifier(&setup.database);
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .map_err(run)?;
    let client = cluster.connect(&setup.database).await?;
    for sql in &setup.sql {
        client.batch_execute(sql).await.map_err(run)?;
    }
    let grant = format!("GRANT SELECT ON public.user_roles TO {ROLES_LOGIN}");
    let has_roles = "SELECT 1 WHERE to_regclass('public.user_roles') IS NOT NULL";
    if client
        .query_opt(has_roles, &[])
        .await
        .map_err(run)?
        .is_some()
    {
        client.batch_execute(&grant).await.map_err(run)?;
    }
    Ok(())
}

/// Writes view files into the cluster's folder and returns where.
///
/// # Errors
/// [`ClusterError::Folder`].
pub fn write_views(cluster: &Cluster, views: &[(&str, &str)]) -> Result<PathBuf, ClusterError> {
    let folder = cluster.subfolder("views")?;
    for (name, text) in views {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| ClusterError::folder(&path, error))?;
    }
    Ok(folder)
}

/// Writes the demo's `rowgate.toml` into the cluster's folder and reads it back, as `rowgate serve` would:
/// the other commands work on the running demo with `--config`.
fn configure(
    cluster: &Cluster,
    setup: &Setup,
    passwords: &Passwords,
    roles_password: &str,
) -> Result<Config, DemoError> {
    let text = toml_text(cluster, setup, passwords, roles_password);
    let path = cluster.private_file(CONFIG_FILE, &text)?;
    Ok(Config::load(&path)?)
}

fn toml_text(
    cluster: &Cluster,
    setup: &Setup,
    passwords: &Passwords,
    roles_password: &str,
) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let secret = |password: &Option<SecretString>| {
        quoted(
            password
                .as_ref()
                .map_or("", |password| password.expose_secret()),
        )
    };
    let views = setup.views.as_deref().unwrap_or(Path::new("views"));
    let options = InstallOptions::default();
    let superuser_login = options.superuser_login.unwrap_or_default();
    let enforcement = match setup.enforcement {
        Enforcement::Barrier => "barrier",
        Enforcement::Inline => "inline",
    };
    let text = format!(
        r#"# Written by `rowgate demo` at each start; the passwords are new each time.
listen = {listen}
enforcement = "{enforcement}"
views = {views}

[upstream]
host = "127.0.0.1"
port = {port}
database = {database}
user = {user}
password = {password}
superuser_user = {superuser}
superuser_password = {superuser_password}
admin_user = "postgres"
admin_password = {admin_password}

[[providers]]
kind = "sql"
name = "user_roles"
user = "{ROLES_LOGIN}"
password = "{roles_password}"
roles = 'SELECT role FROM public.user_roles WHERE "user" = $1'
superuser = "SELECT $1::text = 'admin'"
cache_ms = 0

[audit]
path = "audit.jsonl"
"#,
        listen = quoted(&setup.listen.to_string()),
        views = quoted(&views.display().to_string()),
        port = cluster.port(),
        database = quoted(&setup.database),
        user = quoted(&options.login),
        password = secret(&passwords.login),
        superuser = quoted(&superuser_login),
        superuser_password = secret(&passwords.superuser_login),
        admin_password = quoted(cluster.password().expose_secret()),
    );
    text + &logins()
}

fn logins() -> String {
    let login = |(user, _): &(&str, &str)| {
        let superuser = if *user == "admin" {
            "superuser = true\n"
        } else {
            ""
        };
        format!("\n[logins.{user}]\npassword = \"{PASSWORD}\"\n{superuser}")
    };
    USERS.iter().map(login).collect()
}
