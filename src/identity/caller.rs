//! Who connected, as shown at the door ([`Opening`]) and as proved ([`Caller`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a connection says about itself before it has proved anything.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The start-up packet's `user`: a login, or `login.end-user`.
    pub user: String,
    /// The start-up packet's `database`.
    pub database: String,
    /// The end user named by `options=-c rowgate.user_id=...`, if any.
    pub delegate: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The other end.
    pub peer: SocketAddr,
    /// The start-up packet's `application_name`; for the audit only, it never changes who you are.
    pub application_name: Option<String>,
}

/// Who proved to be whom: the login that opened the connection and the user it acts for.
///
/// # Security
/// Only [`crate::identity::Authenticator`] makes one from credentials; the one other way is
/// [`Caller::assumed`], which the operator's own commands use.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    login: String,
    user_id: String,
    /// `login NUL user_id`: neither can contain a NUL.
    key: Arc<str>,
    claims: BTreeMap<String, serde_json::Value>,
    may_be_superuser: bool,
}

impl Caller {
    pub(super) fn new(
        login: &str,
        user_id: &str,
        claims: BTreeMap<String, serde_json::Value>,
        may_be_superuser: bool,
    ) -> Self {
        Self {
            login: login.to_owned(),
            user_id: user_id.to_owned(),
            key: format!("{login}\0{user_id}").into(),
            claims,
            may_be_superuser,
        }
    }

    /// A caller nobody proved to be: for the operator's own commands (`explain`, `describe`) and for
    /// tests. The doors must never call this.
    pub fn assumed(user_id: &str) -> Self {
        Self::new(user_id, user_id, BTreeMap::new(), true)
    }

    /// Who opened the connection.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Whose rows are to be shown.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The claims of the token that proved it; empty for a password.
    pub fn claims(&self) -> &BTreeMap<String, serde_json::Value> {
        &self.claims
    }

    /// Whether a superuser flag found by a provider may take effect.
    pub fn may_be_superuser(&self) -> bool {
        self.may_be_superuser
    }

    /// One key for login and user id together; for caches.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }
}
