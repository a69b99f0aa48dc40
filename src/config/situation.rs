//! What a policy test supposes of a session. No key of the configuration file leads here.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What is supposed of the sessions of a login, beside who it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Situation {
    /// Claims of the token that opened them.
    pub claims: BTreeMap<String, serde_json::Value>,
    /// Attributes, instead of what each provider says of them.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Where they come from.
    pub network: Option<IpAddr>,
    /// What time it is for conditions.
    pub at: Option<Timestamp>,
}
