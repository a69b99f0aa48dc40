//! From a fresh cluster to a database with the example in it and a [`Config`] that serves it.

use super::{Cluster, ClusterError, DATA, SCHEMA, VIEWS, random_password};
use crate::config::{
    Audit, AuditSink, Config, Enforcement, Gate, Provider, ProviderKind, SqlProvider, Upstream,
    UpstreamTls,
};
use crate::identity::{IdentitySettings, Login, Proof, StatementToken};
use crate::install::{self, InstallError, InstallOptions, Passwords};
use crate::limits::Limits;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
            Self::Install(_) | Self::Output(_) => None,
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
    let views_folder = match &setup.views {
        Some(folder) => folder.clone(),
        None => write_views(cluster, VIEWS)?,
    };
    let passwords = Passwords {
        login: Some(SecretString::from(random_password())),
        superuser_login: Some(SecretString::from(random_password())),
    };
    let options = InstallOptions::default();
    let mut admin = cluster.connect(&setup.database).await?;
    let views = install::read_views(&views_folder)?;
    install::apply(&mut admin, &views, &options, &passwords).await?;
    Ok(config(
        cluster,
        setup,
        views_folder,
        &options,
        passwords,
        roles_password,
    ))
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

fn config(
    cluster: &Cluster,
    setup: &Setup,
    views: PathBuf,
    options: &InstallOptions,
    passwords: Passwords,
    roles_password: String,
) -> Config {
    Config {
        listen: setup.listen,
        tls: None,
        upstream: Upstream {
            host: "127.0.0.1".to_owned(),
            port: cluster.port(),
            database: setup.database.clone(),
            user: options.login.clone(),
            password: passwords.login,
            superuser_user: options.superuser_login.clone(),
            superuser_password: passwords.superuser_login,
            admin_user: Some("postgres".to_owned()),
            admin_password: Some(SecretString::from(cluster.password().expose_secret())),
            tls: UpstreamTls::Off,
            pool_size: 16,
            pool_wait: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
        },
        enforcement: setup.enforcement,
        views,
        identity: IdentitySettings {
            logins: logins(),
            tokens: None,
            token_requires_tls: true,
            statement_token: StatementToken::default(),
        },
        providers: vec![roles_provider(cluster, &setup.database, roles_password)],
        audit: audit(cluster.folder()),
        gate: Gate::default(),
        limits: Limits::default(),
        warnings: Vec::new(),
    }
}

fn logins() -> BTreeMap<String, Login> {
    let login = |name: &str| Login {
        proof: Proof::Password(SecretString::from(PASSWORD)),
        user_id: Some(name.to_owned()),
        may_delegate: false,
        superuser: name == "admin",
    };
    USERS
        .iter()
        .map(|(name, _)| ((*name).to_owned(), login(name)))
        .collect()
}

fn roles_provider(cluster: &Cluster, database: &str, password: String) -> Provider {
    let roles = r#"SELECT role FROM public.user_roles WHERE "user" = $1"#;
    let sql = SqlProvider {
        host: "127.0.0.1".to_owned(),
        port: cluster.port(),
        database: database.to_owned(),
        user: ROLES_LOGIN.to_owned(),
        password: Some(SecretString::from(password)),
        tls: UpstreamTls::Off,
        roles: Some(roles.to_owned()),
        permissions: None,
        attributes: None,
        superuser: Some("SELECT $1::text = 'admin'".to_owned()),
        role_permissions: None,
        pool_size: 4,
        timeout: Duration::from_secs(5),
        cache: Duration::ZERO,
        listen: false,
    };
    Provider {
        name: "user_roles".to_owned(),
        kind: ProviderKind::Sql(Box::new(sql)),
    }
}

fn audit(folder: &Path) -> Audit {
    Audit {
        sink: AuditSink::File(folder.join("audit.jsonl")),
        required: true,
        parameters: false,
        sql_bytes_max: 64 * 1024,
    }
}
