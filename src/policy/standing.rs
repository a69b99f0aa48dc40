//! [`Standing`]: a principal and what it may see, as of one moment.

use super::{DataModel, Grants, Policy, PolicyVersion, PrincipalSettings};
use crate::identity::Principal;
use std::sync::Arc;

/// A principal and what it may see, as of one moment.
#[derive(Debug)]
pub struct Standing {
    principal: Arc<Principal>,
    settings: Arc<PrincipalSettings>,
    grants: Arc<Grants>,
    version: PolicyVersion,
}

impl Standing {
    /// What this policy lets the principal see.
    pub fn new(principal: Arc<Principal>, policy: &Policy) -> Self {
        Self {
            settings: Arc::new(PrincipalSettings::from(&*principal)),
            grants: policy.grants(&principal),
            version: policy.version(),
            principal,
        }
    }

    /// Who it is.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What the database is told about them.
    pub fn settings(&self) -> &Arc<PrincipalSettings> {
        &self.settings
    }

    /// What they may see.
    pub fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// The policy's version.
    pub fn version(&self) -> PolicyVersion {
        self.version
    }

    /// What the principal is and may do, for its own eyes; see [`super::profile`].
    pub fn profile(&self) -> serde_json::Value {
        super::profile(&self.principal, &self.grants)
    }

    /// The tables the principal may read; see [`super::describe`]. `None`: another policy is in force by now.
    pub fn describe(&self, policy: &Policy) -> Option<DataModel> {
        (policy.version() == self.version)
            .then(|| super::describe(policy, &self.principal, &self.grants))
    }

    /// Whether a decision made in the other standing still holds in this one.
    pub fn same_as(&self, other: &Standing) -> bool {
        self.version == other.version
            && self.grants.fingerprint() == other.grants.fingerprint()
            && (Arc::ptr_eq(&self.settings, &other.settings) || self.settings == other.settings)
            && self.principal.superuser() == other.principal.superuser()
    }

    /// The policy's version as one number, for the audit and the connections' caches.
    pub fn policy_number(&self) -> u64 {
        let PolicyVersion(bytes) = self.version;
        bytes
            .first_chunk()
            .map_or(0, |head: &[u8; 8]| u64::from_be_bytes(*head))
    }
}
