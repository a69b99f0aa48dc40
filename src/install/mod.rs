//! What stands in the database: reading it (`introspect`, `check`, `posture`) and installing the
//! permission views (`plan`, `apply`).

mod catalog;
mod check;
mod ddl;
mod introspect;
mod posture;
mod run;
mod state;
mod tuples;

use crate::policy::PolicyError;
use secrecy::SecretString;
use std::fmt;

pub use check::check;
pub use introspect::{Introspection, introspect};
pub use posture::posture;
pub use run::{apply, load_policy, plan, policy_of, read_views};

/// Why the policy could not be loaded, planned or applied.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Something is wrong with the view files; all of it.
    #[error("{}", list(.0))]
    Policy(Vec<PolicyError>),
    /// The folder cannot be read.
    #[error("cannot read the views: {0}")]
    Files(#[from] std::io::Error),
    /// The database refused or went away.
    #[error("database: {}", database_message(.0))]
    Database(#[from] tokio_postgres::Error),
    /// What is installed is not what the files say.
    #[error("{0}")]
    Drift(String),
}

fn list(errors: &[PolicyError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn database_message(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{}: {}", db.code().code(), db.message()),
    )
}

/// The roles that own and read what is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallOptions {
    /// NOLOGIN role that owns the views and may read the tables.
    pub owner: String,
    /// The login queries run as.
    pub login: String,
    /// The login superusers' queries run as; `None` = nothing is installed for superusers.
    pub superuser_login: Option<String>,
    /// Also take CREATE on schemas and TEMPORARY on the database away from PUBLIC.
    pub revoke_public: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            owner: "rowgate_owner".to_owned(),
            login: "rowgate".to_owned(),
            superuser_login: Some("rowgate_super".to_owned()),
            revoke_public: false,
        }
    }
}

/// The logins' passwords, set by `apply` as SCRAM verifiers; the plain text is never sent.
/// `None` leaves the role's password alone.
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    /// Of [`InstallOptions::login`].
    pub login: Option<SecretString>,
    /// Of [`InstallOptions::superuser_login`].
    pub superuser_login: Option<SecretString>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Ought to be changed; Rowgate serves.
    Warning,
    /// Rowgate refuses to serve.
    Error,
}

/// One thing `check` or `posture` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// The exact SQL (or command) that mends it.
    pub fix: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}\n  why: {}", self.what, self.why)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

/// What a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginKind {
    /// Everyone's queries: `rowgate` and `rowgate_open` (barrier), or the tables (inline).
    Ordinary,
    /// Superusers' queries: `rowgate_all` only.
    Superuser,
}
