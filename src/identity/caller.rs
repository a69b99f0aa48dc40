//! Who connected, as shown at the door ([`Opening`]) and as proved ([`Caller`]).

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

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
    /// `login NUL user_id NUL claims NUL network address`: neither name can contain a NUL.
    key: Arc<str>,
    claims: BTreeMap<String, serde_json::Value>,
    network_address: Option<IpAddr>,
    may_be_superuser: bool,
    /// When what proved it has expired.
    expires: Option<SystemTime>,
}

impl Caller {
    pub(super) fn new(
        login: &str,
        user_id: &str,
        claims: BTreeMap<String, serde_json::Value>,
        network_address: Option<IpAddr>,
        may_be_superuser: bool,
    ) -> Self {
        // Two sessions of one user may carry different claims or come from different networks; what a
        // provider or a condition says of one must not serve the other.
        let signed: String = if claims.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&claims).unwrap_or_default()
        };
        let digest = STANDARD_NO_PAD.encode(Sha256::digest(signed.as_bytes()));
        let from = network_address.map_or_else(String::new, |address| address.to_string());
        Self {
            login: login.to_owned(),
            user_id: user_id.to_owned(),
            key: format!("{login}\0{user_id}\0{digest}\0{from}").into(),
            claims,
            network_address,
            may_be_superuser,
            expires: None,
        }
    }

    /// The same, proved by a token that expires.
    #[must_use]
    pub(super) fn until(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Whether the token that proved it has expired: then it is nobody any more.
    pub fn expired(&self) -> bool {
        self.expires
            .is_some_and(|expires| expires <= SystemTime::now())
    }

    /// A caller nobody proved to be: for the operator's own commands (`explain`, `describe`) and for
    /// tests. The doors must never call this.
    pub fn assumed(user_id: &str) -> Self {
        Self::new(user_id, user_id, BTreeMap::new(), None, true)
    }

    /// A caller with claims and an address, as the doors make it.
    #[cfg(test)]
    pub(crate) fn shown(
        user_id: &str,
        claims: BTreeMap<String, serde_json::Value>,
        network_address: Option<IpAddr>,
    ) -> Self {
        Self::new(user_id, user_id, claims, network_address, true)
    }

    /// The same with other claims and another address: for the operator's policy tests, whose sessions have neither. The
    /// doors must never call this.
    #[must_use]
    pub(crate) fn situated(
        &self,
        claims: &BTreeMap<String, serde_json::Value>,
        network_address: Option<IpAddr>,
    ) -> Self {
        let from = network_address.or(self.network_address);
        Self::new(
            &self.login,
            &self.user_id,
            claims.clone(),
            from,
            self.may_be_superuser,
        )
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

    /// The client's network address; `None` where there is no connection (the operator's commands).
    pub fn network_address(&self) -> Option<IpAddr> {
        self.network_address
    }

    /// Whether a superuser flag found by a provider may take effect.
    pub fn may_be_superuser(&self) -> bool {
        self.may_be_superuser
    }

    /// One key for everything a provider or a condition may decide by (login, user id, claims, network
    /// address); for caches.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_tells_apart_whatever_a_decision_may_depend_on() {
        let claims = |role: &str| BTreeMap::from([("role".to_owned(), role.into())]);
        let near = Some(IpAddr::from([10, 0, 0, 1]));
        let keys = [
            Caller::new("agent", "bob", BTreeMap::new(), None, false),
            Caller::new("agent", "anne", BTreeMap::new(), None, false),
            Caller::new("n8n", "bob", BTreeMap::new(), None, false),
            Caller::new("agent", "bob", claims("HR"), None, false),
            Caller::new("agent", "bob", claims("Sales"), None, false),
            Caller::new("agent", "bob", BTreeMap::new(), near, false),
        ]
        .map(|caller| caller.key().to_string());
        let different: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len(), "{keys:?}");
    }
}
