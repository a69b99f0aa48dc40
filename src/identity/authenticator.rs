//! [`Authenticator`]: credentials in, [`Caller`] out, one text for every cause of refusal.

use super::{Caller, Opening, ScramVerifier};
use crate::error::{Reason, Refusal};
use secrecy::SecretString;
use std::time::Duration;

/// How a connection has to prove who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A signed token as the password, in clear (over TLS).
    Cleartext,
    /// A password by SCRAM-SHA-256; for an unknown user the verifier is a mock that no password fits.
    Scram(ScramVerifier),
}

/// Decides who a connection is. Immutable; a reload makes a new one.
pub struct Authenticator {}

impl Authenticator {
    /// How long to wait before answering this peer and login: zero until attempts have failed. Sleep
    /// this long before sending the challenge.
    pub fn delay(&self, _opening: &Opening) -> Duration {
        Duration::ZERO
    }

    /// To be called when a SCRAM exchange failed ([`Authenticator::accept_password`] counts by itself).
    /// Returns the refusal to send.
    pub fn failed(&self, opening: &Opening) -> Refusal {
        refusal(&opening.user)
    }

    /// How this connection is to prove who it is. The same course for known and unknown users.
    pub fn challenge(&self, _opening: &Opening) -> Challenge {
        Challenge::Cleartext
    }

    /// The caller, after the SCRAM exchange with the verifier of [`Authenticator::challenge`] succeeded.
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`], in one text for every cause.
    pub fn accept_scram(&self, opening: &Opening) -> Result<Caller, Refusal> {
        Err(refusal(&opening.user))
    }

    /// The caller, from a token sent as the password ([`Challenge::Cleartext`]).
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`], in one text for every cause.
    pub fn accept_password(
        &self,
        opening: &Opening,
        _password: &SecretString,
    ) -> Result<Caller, Refusal> {
        Err(refusal(&opening.user))
    }

    /// The caller of one statement that starts with `/* rowgate.token=<JWT> */`; `None` when it does
    /// not. Call it once per statement, with that statement's own text from its first byte.
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`] when there is such a comment and it is not acceptable.
    pub fn statement_token(
        &self,
        _caller: &Caller,
        _text: &str,
    ) -> Result<Option<Caller>, Refusal> {
        Ok(None)
    }
}

fn refusal(user: &str) -> Refusal {
    Refusal::new(
        Reason::AuthenticationFailed,
        format!("authentication failed for user \"{user}\""),
    )
}
