//! The embedded demo: a private PostgreSQL cluster with the running example, and Rowgate in front.
//!
//! [`Cluster`] is the cluster alone; the tests start theirs with it too.

mod binaries;
mod cluster;
mod example;
mod folder;
mod run;
mod scenario;
mod setup;

pub use binaries::find_binaries;
pub use cluster::{Cluster, ClusterOptions};
pub use example::{DATA, MILLION, SCHEMA, VIEWS};
pub use run::run;
pub use scenario::Scenario;
pub use setup::{DemoError, PASSWORD, Setup, USERS, prepare, write_views};

use std::path::{Path, PathBuf};

/// Why there is no cluster. [`ClusterError::hint`] says the next step.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No PostgreSQL server binaries on this machine.
    #[error("no PostgreSQL server found (looked at {searched})")]
    NoBinaries {
        /// The places looked at.
        searched: String,
    },
    /// Running as root, and neither `postgres` nor `nobody` exists.
    #[error("PostgreSQL does not run as root, and there is no user to run it as")]
    NobodyToRunAs,
    /// A file or folder could not be made, read or given to the server's user.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The named folder holds other things.
    #[error("{} is not empty and was not made by rowgate demo", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// Another process has the folder.
    #[error("{} is in use by another rowgate demo", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed:\n{output}")]
    Initdb {
        /// The end of what it said.
        output: String,
    },
    /// The server ended, or did not become ready in time.
    #[error("the PostgreSQL server did not start:\n{log}")]
    DidNotStart {
        /// The end of its log.
        log: String,
    },
    /// The server runs, and a connection or statement failed.
    #[error("PostgreSQL: {}", database_message(.0))]
    Connect(#[source] tokio_postgres::Error),
}

impl ClusterError {
    fn folder(path: &Path, source: std::io::Error) -> Self {
        Self::Folder {
            path: path.to_owned(),
            source,
        }
    }

    /// The next step for the person at the keyboard.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoBinaries { .. } => {
                "Install a server (Debian, Ubuntu: apt-get install postgresql), or set PG_BINDIR to the \
                 folder that holds initdb and postgres."
            }
            Self::NobodyToRunAs => "Run rowgate demo as an ordinary user.",
            Self::Folder { .. } => {
                "Check that the folder exists, has room, and that the user PostgreSQL runs as (postgres, \
                 when you are root) can enter it; --data takes another folder."
            }
            Self::NotOurs { .. } => "Give --data an empty folder, or one that does not exist yet.",
            Self::InUse { .. } => "Stop the other one first, or give --data another folder.",
            Self::Initdb { .. } | Self::DidNotStart { .. } => {
                "The lines above are PostgreSQL's own; with --data DIR the whole log stays in \
                 DIR/server.log."
            }
            Self::Connect(_) => "Run the command again; with --data DIR, look into DIR/server.log.",
        }
    }
}

fn database_message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}

/// 128 random bits, as letters and digits.
fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}
