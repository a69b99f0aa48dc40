//! `rowgate.toml` as it is written, one struct a section; nothing is checked here but names and types.

use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Top {
    pub(super) listen: Option<String>,
    pub(super) enforcement: Option<String>,
    pub(super) views: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) require: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretString>,
    pub(super) superuser_user: Option<String>,
    pub(super) superuser_password: Option<SecretString>,
    pub(super) admin_user: Option<String>,
    pub(super) admin_password: Option<SecretString>,
    pub(super) tls: Option<String>,
    pub(super) tls_ca: Option<String>,
    pub(super) pool_size: Option<usize>,
    pub(super) pool_wait_ms: Option<u64>,
    pub(super) connect_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Login {
    pub(super) password: Option<SecretString>,
    pub(super) scram: Option<SecretString>,
    pub(super) token: Option<bool>,
    pub(super) may_delegate: Option<bool>,
    pub(super) user_id: Option<String>,
    pub(super) superuser: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) leeway_s: Option<u64>,
    pub(super) lifetime_s_max: Option<u64>,
    pub(super) require_tls: Option<bool>,
    pub(super) user_claim: Option<String>,
    pub(super) jwks_url: Option<String>,
    pub(super) jwks_file: Option<String>,
    pub(super) jwks_ca: Option<String>,
    pub(super) jwks_refresh_s: Option<u64>,
    pub(super) jwks_retry_s: Option<u64>,
    pub(super) jwks_stale_s_max: Option<u64>,
    pub(super) jwks_timeout_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct JwtProvider {
    pub(super) name: Option<String>,
    pub(super) roles: Option<Paths>,
    pub(super) permissions: Option<Paths>,
    pub(super) groups: Option<Paths>,
    pub(super) email: Option<String>,
    pub(super) email_verified: Option<String>,
    pub(super) require_email_verified: Option<bool>,
    pub(super) attributes: Option<BTreeMap<String, String>>,
}

/// One or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Paths {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TokenKey {
    pub(super) id: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) secret: Option<SecretString>,
    pub(super) public_key: Option<SecretString>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StatementToken {
    pub(super) enabled: Option<bool>,
    pub(super) logins: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileProvider {
    pub(super) name: Option<String>,
    pub(super) path: Option<String>,
    pub(super) stale_s_max: Option<u64>,
}

/// The keys of every provider that may be cached.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) cache_ms: Option<u64>,
    pub(super) cache_entries_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SqlProvider {
    pub(super) name: Option<String>,
    pub(super) preset: Option<String>,
    pub(super) roles: Option<String>,
    pub(super) permissions: Option<String>,
    pub(super) attributes: Option<String>,
    pub(super) groups: Option<String>,
    pub(super) superuser: Option<String>,
    pub(super) denied_roles: Option<String>,
    pub(super) denied_permissions: Option<String>,
    pub(super) expires: Option<String>,
    pub(super) role_permissions: Option<String>,
    pub(super) inherited_roles: Option<String>,
    pub(super) inherited_permissions: Option<String>,
    pub(super) pool_size: Option<usize>,
    pub(super) listen: Option<bool>,
    pub(super) unheard_cache_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tags {
    pub(super) file: Option<String>,
    pub(super) stale_s_max: Option<u64>,
    pub(super) query: Option<String>,
    pub(super) groups_query: Option<String>,
    pub(super) cache_ms: Option<u64>,
    pub(super) listen: Option<bool>,
    pub(super) unheard_cache_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Audit {
    pub(super) path: Option<String>,
    pub(super) required: Option<bool>,
    pub(super) parameters: Option<bool>,
    pub(super) sql_bytes_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Gate {
    pub(super) connect_requires: Option<String>,
    pub(super) always_sealed: Option<bool>,
    pub(super) notice_filtered: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Hierarchy {
    pub(super) file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tuples {
    pub(super) table: Option<String>,
    pub(super) user: Option<String>,
    pub(super) namespaces_file: Option<String>,
    pub(super) objects_max: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TupleColumns {
    pub(super) namespace: Option<String>,
    pub(super) object: Option<String>,
    pub(super) relation: Option<String>,
    pub(super) subject_namespace: Option<String>,
    pub(super) subject_id: Option<String>,
    pub(super) subject_relation: Option<String>,
    pub(super) expires_at: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TupleRelation {
    pub(super) union: Option<Vec<String>>,
    pub(super) subjects: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Condition {
    pub(super) roles: Vec<String>,
    pub(super) permissions: Vec<String>,
    pub(super) superuser: bool,
    pub(super) users: Vec<String>,
    pub(super) times: Vec<String>,
    pub(super) zone: Option<String>,
    pub(super) from: Option<toml::value::Datetime>,
    pub(super) until: Option<toml::value::Datetime>,
    pub(super) networks: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Match {
    pub(super) name: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) is: Option<toml::Value>,
    pub(super) r#in: Option<Vec<toml::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AiPermissions {
    pub(super) name: Option<String>,
    pub(super) permissions: Option<String>,
    pub(super) actions: Option<String>,
    pub(super) categories: Option<String>,
    pub(super) roles: Option<String>,
    pub(super) stale_s_max: Option<u64>,
}
