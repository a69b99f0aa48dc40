//! [`Authenticator`]: credentials in, [`Caller`] out, one text for every cause of refusal.

use super::scram::{ITERATIONS, SALT_BYTES, hmac_sha256};
use super::settings::valid_name;
use super::throttle::Throttle;
use super::token::{TokenError, TokenVerifier};
use super::{
    ApiKey, Caller, IdentitySettings, Login, Opening, Proof, ScramVerifier, StatementToken,
};
use crate::error::{Reason, Refusal};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How a connection has to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A signed token as the password, in clear (over TLS).
    Cleartext,
    /// A password by SCRAM-SHA-256; for an unknown user the verifier is a mock that no password fits.
    Scram(ScramVerifier),
}

/// Decides who a connection is. Immutable but for the memory of failures; a reload makes a new one
/// ([`Authenticator::reloaded`]).
pub struct Authenticator {
    pub(super) logins: HashMap<String, Entry>,
    pub(super) tokens: Option<TokenVerifier>,
    pub(super) token_requires_tls: bool,
    statement_token: StatementToken,
    pub(super) api_keys: Vec<(String, ApiKey)>,
    pub(super) throttle: Arc<Throttle>,
    mock_key: [u8; 32],
    /// Iterations and salt length of every SCRAM login; a mock takes one of them.
    shapes: Vec<(u32, usize)>,
}

pub(super) struct Entry {
    pub(super) login: Login,
    /// `None` for a login that shows tokens.
    verifier: Option<ScramVerifier>,
}

/// An opening whose names mean something.
struct Meant<'a> {
    login: &'a str,
    entry: &'a Entry,
    delegate: Option<&'a str>,
}

/// Why somebody was not let in: for the log, never for the caller.
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("the login may not name an end user")]
    MayNotDelegate,
    #[error("a token is accepted over TLS only")]
    NeedsTls,
    #[error(
        "the end user named is not a name, or the user name and the options name different ones"
    )]
    NoDelegate,
    #[error("the login has to name an end user and did not")]
    NobodyNamed,
    #[error("the token is for another user than the one named")]
    OtherSubject,
    #[error("the password is wrong")]
    Password,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the login is unknown")]
    UnknownLogin,
    #[error("this login proves itself in another way")]
    WrongProof,
}

impl Authenticator {
    /// An authenticator with no memory of failures.
    pub fn new(settings: IdentitySettings) -> Self {
        Self::with_throttle(settings, Arc::new(Throttle::new()))
    }

    /// One with new settings that remembers this one's failures.
    #[must_use]
    pub fn reloaded(&self, settings: IdentitySettings) -> Self {
        Self::with_throttle(settings, Arc::clone(&self.throttle))
    }

    fn with_throttle(settings: IdentitySettings, throttle: Arc<Throttle>) -> Self {
        let mock_key = mock_key(&settings);
        let mut shapes = Vec::new();
        let logins = settings.logins.into_iter().map(|(name, login)| {
            let verifier = match &login.proof {
                Proof::Password(password) => {
                    let salt = salt(&mock_key, &name, SALT_BYTES);
                    Some(ScramVerifier::derive(
                        password.expose_secret(),
                        &salt,
                        ITERATIONS,
                    ))
                }
                Proof::Scram(verifier) => Some(verifier.clone()),
                Proof::Token => None,
            };
            shapes.extend(verifier.as_ref().map(|v| (v.iterations, v.salt.len())));
            (name, Entry { login, verifier })
        });
        let logins = logins.collect();
        Self {
            logins,
            tokens: settings.tokens,
            token_requires_tls: settings.token_requires_tls,
            statement_token: settings.statement_token,
            api_keys: settings.api_keys.into_iter().collect(),
            throttle,
            mock_key,
            shapes,
        }
    }

    /// How long to wait before answering this peer and login: zero until attempts have failed. Sleep
    /// this long before sending the challenge.
    pub fn delay(&self, opening: &Opening) -> Duration {
        self.throttle.delay(opening.peer.ip(), head(&opening.user))
    }

    /// To be called when a SCRAM exchange failed ([`Authenticator::accept_scram`] and
    /// [`Authenticator::accept_password`] count by themselves). Returns the refusal to send.
    pub fn failed(&self, opening: &Opening) -> Refusal {
        let why = match self.meant(opening) {
            Ok(_) => Why::Password,
            Err(why) => why,
        };
        self.refuse(opening, &why)
    }

    /// How this connection is to prove who it is. Unknown users get the same course as known ones.
    pub fn challenge(&self, opening: &Opening) -> Challenge {
        match self.meant(opening) {
            Ok(Meant {
                entry:
                    Entry {
                        verifier: Some(verifier),
                        ..
                    },
                ..
            }) => Challenge::Scram(verifier.clone()),
            // Without TLS the token must not even be asked for: the client would send it in clear.
            Ok(_) if opening.tls || !self.token_requires_tls => Challenge::Cleartext,
            Ok(_) | Err(_) => Challenge::Scram(self.mock(&opening.user)),
        }
    }

    /// The caller, after the SCRAM exchange with the verifier of [`Authenticator::challenge`] succeeded.
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`], in one text for every cause.
    pub fn accept_scram(&self, opening: &Opening) -> Result<Caller, Refusal> {
        self.scram_caller(opening)
            .inspect(|_| self.succeeded(opening))
            .map_err(|why| self.refuse(opening, &why))
    }

    /// To be awaited before [`Authenticator::accept_password`]: a token signed with a key that was published
    /// only now makes the published keys be looked for. Bounded in time, and seldom.
    pub async fn prepare_password(&self, opening: &Opening, password: &SecretString) {
        let shows_tokens = self
            .meant(opening)
            .is_ok_and(|meant| meant.entry.verifier.is_none());
        if let (Some(tokens), true) = (&self.tokens, shows_tokens) {
            tokens.prepare(password.expose_secret()).await;
        }
    }

    /// To be awaited before [`Authenticator::statement_token`], for the same reason.
    pub async fn prepare_statement_token(&self, text: &str) {
        if self.statement_token.enabled
            && let Some(tokens) = &self.tokens
            && let Leading::Token(token) = leading_token(text)
        {
            tokens.prepare(token).await;
        }
    }

    /// The caller, from a token sent as the password ([`Challenge::Cleartext`]).
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`], in one text for every cause.
    pub fn accept_password(
        &self,
        opening: &Opening,
        password: &SecretString,
    ) -> Result<Caller, Refusal> {
        self.token_caller(opening, password)
            .inspect(|_| self.succeeded(opening))
            .map_err(|why| self.refuse(opening, &why))
    }

    /// Whether [`Authenticator::statement_token`] could come to anything but `Ok(None)` for this text.
    pub fn may_hold_token(text: &str) -> bool {
        text.starts_with("/*")
    }

    /// The caller of one statement whose text starts with `/* rowgate.token=<JWT> */`; `None` when it
    /// does not. Call it once per statement, with that statement's own text from its first byte.
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`] when there is such a comment and it is not acceptable, also
    /// because the feature is off: a text meant for one user's rows must not return another's.
    pub fn statement_token(&self, caller: &Caller, text: &str) -> Result<Option<Caller>, Refusal> {
        let token = match leading_token(text) {
            Leading::None => return Ok(None),
            Leading::Broken => {
                return Err(statement_refusal("the token comment is not well formed"));
            }
            Leading::Token(token) => token,
        };
        let allowed = self.statement_token.enabled
            && (self.statement_token.logins.is_empty()
                || self
                    .statement_token
                    .logins
                    .iter()
                    .any(|login| login == caller.login()));
        let (Some(tokens), true) = (&self.tokens, allowed) else {
            return Err(statement_refusal(
                "statement tokens are not enabled for this login",
            ));
        };
        let superuser = self
            .logins
            .get(caller.login())
            .is_some_and(|entry| entry.login.superuser);
        match tokens.verify(token) {
            Ok(token) => {
                let proved = Caller::new(
                    caller.login(),
                    &token.subject,
                    token.claims,
                    caller.network_address(),
                    superuser,
                );
                Ok(Some(proved.until(token.expires)))
            }
            Err(why) => {
                tracing::warn!(login = caller.login(), %why, "statement token refused");
                Err(statement_refusal("the statement's token was not accepted"))
            }
        }
    }

    /// Finds the login and the end user an opening names; proves nothing.
    fn meant<'a>(&'a self, opening: &'a Opening) -> Result<Meant<'a>, Why> {
        let user = opening.user.as_str();
        if !valid_name(user) {
            return Err(Why::UnknownLogin);
        }
        let (login, entry, named) = match self.logins.get_key_value(user) {
            Some((name, entry)) => (name, entry, None),
            None => {
                let (login, delegate) = user.split_once('.').ok_or(Why::UnknownLogin)?;
                let (name, entry) = self.logins.get_key_value(login).ok_or(Why::UnknownLogin)?;
                (name, entry, Some(delegate))
            }
        };
        let delegate = match (named, opening.delegate.as_deref()) {
            (Some(named), Some(option)) if named != option => return Err(Why::NoDelegate),
            (named, option) => named.or(option),
        };
        if let Some(delegate) = delegate {
            if !valid_name(delegate) {
                return Err(Why::NoDelegate);
            }
            if !entry.login.may_delegate && entry.verifier.is_some() {
                return Err(Why::MayNotDelegate);
            }
        }
        Ok(Meant {
            login,
            entry,
            delegate,
        })
    }

    fn scram_caller(&self, opening: &Opening) -> Result<Caller, Why> {
        let meant = self.meant(opening)?;
        if meant.entry.verifier.is_none() {
            return Err(Why::WrongProof);
        }
        let login = &meant.entry.login;
        match meant.delegate {
            // Unsigned: never a superuser, whoever is named.
            Some(delegate) => Ok(Caller::new(
                meant.login,
                delegate,
                BTreeMap::new(),
                Some(opening.peer.ip()),
                false,
            )),
            None => {
                let user_id = login.user_id.as_deref().ok_or(Why::NobodyNamed)?;
                Ok(Caller::new(
                    meant.login,
                    user_id,
                    BTreeMap::new(),
                    Some(opening.peer.ip()),
                    login.superuser,
                ))
            }
        }
    }

    fn token_caller(&self, opening: &Opening, password: &SecretString) -> Result<Caller, Why> {
        let meant = self.meant(opening)?;
        if meant.entry.verifier.is_some() {
            return Err(Why::WrongProof);
        }
        if self.token_requires_tls && !opening.tls {
            return Err(Why::NeedsTls);
        }
        let delegate = meant.delegate.ok_or(Why::NobodyNamed)?;
        let tokens = self.tokens.as_ref().ok_or(Why::WrongProof)?;
        let token = tokens.verify(password.expose_secret())?;
        if token.subject != delegate {
            return Err(Why::OtherSubject);
        }
        let proved = Caller::new(
            meant.login,
            delegate,
            token.claims,
            Some(opening.peer.ip()),
            meant.entry.login.superuser,
        );
        Ok(proved.until(token.expires))
    }

    /// What an unknown user is shown: always the same for the same name, so that asking twice tells
    /// nothing; its keys come from no password.
    fn mock(&self, user: &str) -> ScramVerifier {
        let name = head(user);
        let pick = hmac_sha256(&self.mock_key, &[b"shape\0", name.as_bytes()]);
        let index = usize::from(u16::from_be_bytes([pick[0], pick[1]])) % self.shapes.len().max(1);
        let (iterations, salt_bytes) = self
            .shapes
            .get(index)
            .copied()
            .unwrap_or((ITERATIONS, SALT_BYTES));
        ScramVerifier {
            iterations,
            salt: salt(&self.mock_key, user, salt_bytes),
            stored_key: hmac_sha256(&self.mock_key, &[b"stored\0", user.as_bytes()]),
            server_key: hmac_sha256(&self.mock_key, &[b"server\0", user.as_bytes()]),
        }
    }

    fn succeeded(&self, opening: &Opening) {
        self.throttle
            .succeeded(opening.peer.ip(), head(&opening.user));
    }

    fn refuse(&self, opening: &Opening, why: &Why) -> Refusal {
        self.throttle.failed(opening.peer.ip(), head(&opening.user));
        tracing::warn!(user = ?opening.user, peer = %opening.peer, %why, "login refused");
        let shown: String = opening.user.escape_debug().take(80).collect();
        Refusal::new(
            Reason::AuthenticationFailed,
            format!("authentication failed for user \"{shown}\""),
        )
    }
}

/// The part of a user name before its first dot. Salts and delays go by it, so that `n8n.bob` and
/// `n8n.anne` look alike whether there is a login `n8n` or not.
fn head(user: &str) -> &str {
    user.split_once('.').map_or(user, |(head, _)| head)
}

fn salt(key: &[u8; 32], user: &str, bytes: usize) -> Vec<u8> {
    let mut salt = Vec::with_capacity(bytes);
    let mut block = 0_u8;
    while salt.len() < bytes {
        salt.extend(hmac_sha256(
            key,
            &[b"salt", &[block], head(user).as_bytes()],
        ));
        block = block.wrapping_add(1);
    }
    salt.truncate(bytes);
    salt
}

/// A key that stays the same over restarts as long as the secrets do, and that nobody knows who does
/// not know them.
fn mock_key(settings: &IdentitySettings) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, login) in &settings.logins {
        hash.update(name.as_bytes());
        match &login.proof {
            Proof::Password(password) => hash.update(password.expose_secret().as_bytes()),
            Proof::Scram(verifier) => hash.update(verifier.server_key),
            Proof::Token => {}
        }
        hash.update([0]);
    }
    hash.finalize().into()
}

#[derive(Debug, PartialEq, Eq)]
enum Leading<'a> {
    None,
    Broken,
    Token(&'a str),
}

/// The token of a comment at the very start of a text. Anything else that starts with such a comment
/// is broken rather than absent.
fn leading_token(text: &str) -> Leading<'_> {
    let Some(rest) = text.strip_prefix("/*") else {
        return Leading::None;
    };
    let Some(rest) = rest.trim_start_matches(' ').strip_prefix("rowgate.token") else {
        return Leading::None;
    };
    let Some(rest) = rest.strip_prefix('=') else {
        return Leading::Broken;
    };
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let end = rest.find(|c| !of_token(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    if token.is_empty() || !after.trim_start_matches(' ').starts_with("*/") {
        return Leading::Broken;
    }
    Leading::Token(token)
}

fn statement_refusal(message: &str) -> Refusal {
    Refusal::new(Reason::AuthenticationFailed, message).hint(
        "Start the statement with /* rowgate.token=<signed token> */ or leave the comment out.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comment_counts_only_at_the_very_start() {
        for (text, expected) in [
            (
                "/* rowgate.token=a.b-c_D.9 */ SELECT 1",
                Leading::Token("a.b-c_D.9"),
            ),
            ("/*rowgate.token=a.b.c*/SELECT 1", Leading::Token("a.b.c")),
            ("SELECT 1 /* rowgate.token=a.b.c */", Leading::None),
            (" /* rowgate.token=a.b.c */ SELECT 1", Leading::None),
            ("-- rowgate.token=a.b.c\nSELECT 1", Leading::None),
            ("/* /* rowgate.token=a.b.c */ */ SELECT 1", Leading::None),
            ("/* hello */ SELECT 1", Leading::None),
            ("/* rowgate.tokenx", Leading::Broken),
            ("/* rowgate.token=*/ SELECT 1", Leading::Broken),
            ("/* rowgate.token=a b */ SELECT 1", Leading::Broken),
            ("/* rowgate.token=a.b.c /* */ SELECT 1", Leading::Broken),
            ("/* rowgate.token=a.b.c", Leading::Broken),
            ("/* rowgate.token = a.b.c */", Leading::Broken),
            ("", Leading::None),
        ] {
            assert_eq!(leading_token(text), expected, "{text}");
        }
    }
}
