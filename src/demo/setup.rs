//! From a fresh cluster to a database with the example in it and a [`Config`] that serves it.

use super::cluster::GatePasswords;
use super::scenario::{Scenario, lay_over};
use super::{Cluster, ClusterError, DATA, SCHEMA, VIEWS};
use crate::config::{Config, ConfigErrors, Enforcement};
use crate::install::{self, InstallError, InstallOptions, Passwords};
use crate::policy::quote_identifier;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The login the `sql` provider reads `user_roles` with; it may read nothing else.
const ROLES_LOGIN: &str = "rowgate_roles";
/// The login that `rowgate grant` and `revoke` write `user_roles` with; it may do nothing else.
const GRANTS_LOGIN: &str = "rowgate_grants";

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
    /// What a folder wants shown instead of the running example.
    pub scenario: Option<Scenario>,
    /// Let `rowgate grant` and `revoke` manage the example's roles; a scenario says itself what is managed.
    pub managed: bool,
    /// More sections of the configuration, as text.
    pub configuration: String,
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
            scenario: None,
            managed: false,
            configuration: String::new(),
        }
    }

    /// What `scenario` wants shown.
    #[must_use]
    pub fn with_scenario(mut self, scenario: Scenario) -> Self {
        if !scenario.sql.is_empty() {
            self.sql.clone_from(&scenario.sql);
        }
        self.views = self.views.or_else(|| scenario.views.clone());
        self.scenario = Some(scenario);
        self.managed = false;
        self
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
    /// The folder that says what to demonstrate cannot be read or understood.
    #[error("{}: {_1}", .0.display())]
    Scenario(PathBuf, String),
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
            Self::Config(_) | Self::Install(_) | Self::Output(_) | Self::Scenario(..) => None,
        }
    }
}

/// Creates the database if it is missing, installs the permission views, and returns the configuration
/// that serves it with the demo's logins.
///
/// # Errors
/// [`DemoError`] when a statement fails or a view is wrong.
pub async fn prepare(cluster: &Cluster, setup: &Setup) -> Result<Config, DemoError> {
    create_database(cluster, setup).await?;
    if setup.managed {
        let admin = cluster.connect(&setup.database).await?;
        ensure_login(&admin, GRANTS_LOGIN, &cluster.gate_passwords().grants).await?;
        let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON public.user_roles TO";
        execute(&admin, &format!("{grant} {GRANTS_LOGIN}")).await?;
    }
    let folder = format!("gate-{}", setup.database);
    let place = cluster.subfolder(&folder)?;
    if let Some(scenario) = &setup.scenario {
        scenario.link_into(&place)?;
    }
    if setup.views.is_none() {
        write_views(cluster, &format!("{folder}/views"), VIEWS)?;
    }
    let path = cluster.private_file(
        &format!("{folder}/{CONFIG_FILE}"),
        &toml_text(cluster, setup),
    )?;
    let config = Config::load(&path)?;
    let views = install::read_views(&config.views, config.tuples.as_ref())?;
    let mut admin = cluster.connect(&setup.database).await?;
    let passwords = cluster.gate_passwords();
    match setup.enforcement {
        Enforcement::Barrier => {
            let options = InstallOptions {
                // The database is the demo's own, so nobody else misses what PUBLIC may do.
                revoke_public: true,
                ..InstallOptions::default()
            };
            let passwords = Passwords {
                login: Some(passwords.ordinary.clone()),
                superuser_login: Some(passwords.superuser.clone()),
            };
            install::apply(&mut admin, &views, &options, &passwords).await?;
        }
        // Nothing is installed: the logins read the tables themselves.
        Enforcement::Inline => {
            let database = quote_identifier(&setup.database);
            let revoke = format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC");
            execute(&admin, &revoke).await?;
            let tables: BTreeSet<String> = views
                .iter()
                .flat_map(|view| view.needs().chain([view.relation().clone()]))
                .map(|relation| relation.quoted())
                .collect();
            let tables: Vec<String> = tables.into_iter().collect();
            for (login, password) in logins_of(passwords) {
                ensure_login(&admin, &login, password).await?;
                let login = quote_identifier(&login);
                let tables = tables.join(", ");
                execute(&admin, &format!("GRANT SELECT ON {tables} TO {login}")).await?;
            }
        }
    }
    Ok(config)
}

fn logins_of(passwords: &GatePasswords) -> Vec<(String, &SecretString)> {
    let options = InstallOptions::default();
    let superuser = options
        .superuser_login
        .map(|login| (login, &passwords.superuser));
    std::iter::once((options.login, &passwords.ordinary))
        .chain(superuser)
        .collect()
}

async fn create_database(cluster: &Cluster, setup: &Setup) -> Result<(), DemoError> {
    let admin = cluster.connect("postgres").await?;
    ensure_login(&admin, ROLES_LOGIN, &cluster.gate_passwords().roles).await?;
    let known = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1";
    if exists(&admin, known, &setup.database).await? {
        return Ok(());
    }
    let name = quote_identifier(&setup.database);
    execute(&admin, &format!("CREATE DATABASE {name}")).await?;
    let client = cluster.connect(&setup.database).await?;
    for sql in &setup.sql {
        execute(&client, sql).await?;
    }
    let known = "SELECT 1 WHERE pg_catalog.to_regclass($1) IS NOT NULL";
    if exists(&client, known, "public.user_roles").await? {
        let grant = format!("GRANT SELECT ON public.user_roles TO {ROLES_LOGIN}");
        execute(&client, &grant).await?;
    }
    Ok(())
}

async fn ensure_login(
    client: &tokio_postgres::Client,
    name: &str,
    password: &SecretString,
) -> Result<(), DemoError> {
    let known = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1";
    let verb = if exists(client, known, name).await? {
        "ALTER"
    } else {
        "CREATE"
    };
    // The password is hexadecimal digits of our own making, so nothing in it needs quoting.
    let password = password.expose_secret();
    let name = quote_identifier(name);
    execute(
        client,
        &format!("{verb} ROLE {name} LOGIN PASSWORD '{password}'"),
    )
    .await
}

async fn exists(
    client: &tokio_postgres::Client,
    query: &str,
    name: &str,
) -> Result<bool, DemoError> {
    let row = client.query_opt(query, &[&name]).await;
    Ok(row.map_err(ClusterError::Connect)?.is_some())
}

async fn execute(client: &tokio_postgres::Client, sql: &str) -> Result<(), DemoError> {
    client
        .batch_execute(sql)
        .await
        .map_err(ClusterError::Connect)?;
    Ok(())
}

/// Writes view files into `folder` of the cluster's folder and returns where.
///
/// # Errors
/// [`ClusterError::Folder`].
pub fn write_views(
    cluster: &Cluster,
    folder: &str,
    views: &[(&str, &str)],
) -> Result<PathBuf, ClusterError> {
    let folder = cluster.subfolder(folder)?;
    for (name, text) in views {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| ClusterError::folder(&path, error))?;
    }
    Ok(folder)
}

/// The demo's `rowgate.toml`. It is a file, read back as `rowgate serve` would, so that the other commands
/// work on the running demo with `--config`.
fn toml_text(cluster: &Cluster, setup: &Setup) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let passwords = cluster.gate_passwords();
    let secret = |password: &SecretString| quoted(password.expose_secret());
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
password = {roles_password}
preset = "user_roles"
superuser = "SELECT $1::text = 'admin'"
cache_ms = 0
# The demo and the tests run beside compilers; a busy machine is no outage.
timeout_ms = 10000

[audit]
path = "audit.jsonl"
"#,
        listen = quoted(&setup.listen.to_string()),
        views = quoted(&views.display().to_string()),
        port = cluster.port(),
        database = quoted(&setup.database),
        user = quoted(&options.login),
        password = secret(&passwords.ordinary),
        superuser = quoted(&superuser_login),
        superuser_password = secret(&passwords.superuser),
        roles_password = secret(&passwords.roles),
        admin_password = quoted(cluster.password().expose_secret()),
    );
    let managed = format!(
        "\n[admin]\nuser = \"{GRANTS_LOGIN}\"\npassword = {}\n[admin.roles]\n",
        secret(&passwords.grants)
    );
    let managed = if setup.managed { managed.as_str() } else { "" };
    let text = text + managed + &setup.configuration + &logins();
    match &setup.scenario {
        None => text,
        Some(scenario) => overlaid(&text, scenario, passwords),
    }
}

/// The configuration with what the scenario changes.
fn overlaid(text: &str, scenario: &Scenario, passwords: &GatePasswords) -> String {
    // INVARIANT: our own text above is TOML; were it not, loading what is written would say so.
    let mut config: toml::Table = text.parse().unwrap_or_default();
    let roles = [
        ("user", ROLES_LOGIN),
        ("password", passwords.roles.expose_secret()),
    ];
    let roles = roles.map(|(key, value)| (key.to_owned(), toml::Value::from(value)));
    lay_over(
        &mut config,
        scenario.config.clone(),
        &roles.into_iter().collect(),
    );
    config.to_string()
}

/// Each user may log in as `bob` or, as one writes a name, as `Bob`.
fn logins() -> String {
    let login = |(user, _): &(&str, &str)| {
        let superuser = if *user == "admin" {
            "superuser = true\n"
        } else {
            ""
        };
        let (first, rest) = user.split_at(1);
        let written = format!("{}{rest}", first.to_ascii_uppercase());
        [*user, written.as_str()]
            .map(|name| format!("\n[logins.{name}]\npassword = \"{PASSWORD}\"\nuser_id = \"{user}\"\n{superuser}"))
            .concat()
    };
    USERS.iter().map(login).collect()
}
