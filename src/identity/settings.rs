//! What the operator decided about logins and tokens, already checked.

use super::{ApiKey, ScramVerifier, TokenVerifier};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// All that an [`super::Authenticator`] is made from.
#[derive(Debug, Clone, Default)]
pub struct IdentitySettings {
    /// Logins by name. No name before a dot of another one's may itself be a login that speaks for
    /// others (the configuration refuses it), so `a.b` never means two things.
    pub logins: BTreeMap<String, Login>,
    /// Which signed tokens are accepted; without it no token is.
    pub tokens: Option<TokenVerifier>,
    /// Ask for a token only over TLS.
    pub token_requires_tls: bool,
    /// The per-statement token comment.
    pub statement_token: StatementToken,
    /// The API keys that logins of `logins` may show over HTTP.
    pub api_keys: BTreeMap<String, ApiKey>,
}

/// One login.
#[derive(Debug, Clone)]
pub struct Login {
    /// How it proves itself.
    pub proof: Proof,
    /// Whose rows it sees when it names nobody. `None`: it has to name somebody.
    pub user_id: Option<String>,
    /// May name an end user without a signature.
    pub may_delegate: bool,
    /// May be a superuser if a provider says so; never through an unsigned delegation.
    pub superuser: bool,
}

/// How a login proves itself.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A password, by SCRAM on the wire.
    Password(SecretString),
    /// A verifier taken over from PostgreSQL.
    Scram(ScramVerifier),
    /// A signed token for each end user, sent as the password.
    Token,
}

/// The per-statement token comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementToken {
    /// Off by default.
    pub enabled: bool,
    /// Logins that may use it; empty = all.
    pub logins: Vec<String>,
}

/// Longest login, user id or delegate, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Whether a text may serve as a login or user id: not empty, not too long, no control character, no
/// white space at its ends, and none of the invisible characters that make two names look like one.
/// Names are compared byte by byte: a look-alike is somebody else.
pub fn valid_name(name: &str) -> bool {
    let invisible = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}')
    };
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.trim() == name
        && !name.chars().any(|c| c.is_control() || invisible(c))
}

#[cfg(test)]
mod tests {
    use super::valid_name;

    #[test]
    fn names_that_are_taken_and_names_that_are_not() {
        for name in [
            "bob",
            "Bob",
            "o'brien",
            "jörg",
            "a.b@c.org",
            "user with spaces",
            "42",
            "\u{430}dmin",
        ] {
            assert!(valid_name(name), "{name:?}");
        }
        for name in [
            "",
            " ",
            " bob",
            "bob ",
            "bo\0b",
            "bob\n",
            "bob\u{200b}",
            "\u{202e}bob",
            "bo\u{feff}b",
            "bob\u{7f}",
            "bob\u{85}",
            "bob\u{3000}",
        ] {
            assert!(!valid_name(name), "{name:?}");
        }
        assert!(valid_name(&"a".repeat(256)));
        assert!(!valid_name(&"a".repeat(257)));
    }
}
