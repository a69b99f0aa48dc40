//! Credentials of one request over HTTP: a signed token, or the API key of a service login. The counterpart of
//! [`Opening`](super::Opening) and its exchange, without a connection that stays.

use super::authenticator::{Authenticator, Why};
use super::settings::valid_name;
use super::{Caller, Proof};
use crate::error::{Reason, Refusal};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What a request shows.
#[derive(Debug, Clone)]
pub enum Shown {
    /// The API key of a service login.
    Key {
        /// The key.
        key: SecretString,
        /// The end user the service names; unsigned.
        user: Option<String>,
    },
    /// A signed token.
    Token {
        /// Which of several logins that show tokens.
        login: Option<String>,
        /// The token.
        token: SecretString,
    },
}

/// A service login's API key, kept as its hash: it is random and long, so no salt is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// Shortest key, in bytes: 16 random bytes in hexadecimal.
    pub const BYTES_MIN: usize = 32;

    /// The key's hash.
    ///
    /// # Errors
    /// A sentence that holds nothing of the key.
    pub fn new(key: &SecretString) -> Result<Self, &'static str> {
        let key = key.expose_secret();
        if key.len() < Self::BYTES_MIN {
            return Err("is shorter than 32 bytes, so it could be guessed");
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds a character that a header cannot carry");
        }
        Ok(Self(Sha256::digest(key.as_bytes()).into()))
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// The one answer to credentials that are not accepted.
pub fn not_accepted() -> Refusal {
    Refusal::new(Reason::AuthenticationFailed, "authentication failed")
}

impl Authenticator {
    /// How long to wait before answering: zero until attempts from there have failed.
    pub fn shown_delay(&self, shown: &Shown, peer: SocketAddr) -> Duration {
        self.throttle.delay(peer.ip(), throttled_as(shown))
    }

    /// To be awaited before [`Authenticator::accept_shown`]: a token signed with a key that was published
    /// only now makes the published keys be looked for. Bounded in time, and seldom.
    pub async fn prepare_shown(&self, shown: &Shown) {
        if let (Some(tokens), Shown::Token { token, .. }) = (&self.tokens, shown) {
            tokens.prepare(token.expose_secret()).await;
        }
    }

    /// The caller a request's credentials prove.
    ///
    /// # Errors
    /// [`Reason::AuthenticationFailed`], in one text for every cause.
    pub fn accept_shown(
        &self,
        shown: &Shown,
        tls: bool,
        peer: SocketAddr,
    ) -> Result<Caller, Refusal> {
        let name = throttled_as(shown);
        let caller = match shown {
            Shown::Token { login, token } => self.by_token(login.as_deref(), token, tls, peer),
            Shown::Key { key, user } => self.by_key(key, user.as_deref(), peer),
        };
        match caller {
            Ok(caller) => {
                self.throttle.succeeded(peer.ip(), name);
                Ok(caller)
            }
            Err(why) => {
                self.throttle.failed(peer.ip(), name);
                tracing::warn!(%peer, %why, "request's credentials refused");
                Err(not_accepted())
            }
        }
    }

    fn by_token(
        &self,
        login: Option<&str>,
        token: &SecretString,
        tls: bool,
        peer: SocketAddr,
    ) -> Result<Caller, Why> {
        if self.token_requires_tls && !tls {
            return Err(Why::NeedsTls);
        }
        let mut able = self.logins.iter().filter(|(name, entry)| {
            matches!(entry.login.proof, Proof::Token) && login.is_none_or(|login| login == *name)
        });
        // As on the wire, a token counts for a login that shows tokens; of several the request names one.
        let (Some((name, entry)), None) = (able.next(), able.next()) else {
            return Err(Why::UnknownLogin);
        };
        let tokens = self.tokens.as_ref().ok_or(Why::WrongProof)?;
        let token = tokens.verify(token.expose_secret())?;
        let proved = Caller::new(
            name,
            &token.subject,
            token.claims,
            Some(peer.ip()),
            entry.login.superuser,
        );
        Ok(proved.until(token.expires))
    }

    fn by_key(
        &self,
        key: &SecretString,
        user: Option<&str>,
        peer: SocketAddr,
    ) -> Result<Caller, Why> {
        let shown: [u8; 32] = Sha256::digest(key.expose_secret().as_bytes()).into();
        // Every key is looked at, whichever fits.
        let mut found = u32::MAX;
        for (index, (_, ApiKey(known))) in (0_u32..).zip(&self.api_keys) {
            let fits: Choice = known.ct_eq(&shown);
            found.conditional_assign(&index, fits);
        }
        let entry = usize::try_from(found).ok();
        let (name, _) = entry
            .and_then(|index| self.api_keys.get(index))
            .ok_or(Why::Password)?;
        let login = &self.logins.get(name).ok_or(Why::UnknownLogin)?.login;
        let user = match user {
            Some(_) if !login.may_delegate => return Err(Why::MayNotDelegate),
            Some(user) if !valid_name(user) => return Err(Why::NoDelegate),
            Some(user) => user,
            None => login.user_id.as_deref().ok_or(Why::NobodyNamed)?,
        };
        // Never a superuser: whoever holds the key says for whom.
        Ok(Caller::new(
            name,
            user,
            BTreeMap::new(),
            Some(peer.ip()),
            false,
        ))
    }
}

/// What failures are remembered under, beside the address: a request has no name before it is proved.
fn throttled_as(shown: &Shown) -> &'static str {
    match shown {
        Shown::Key { .. } => "(api key)",
        Shown::Token { .. } => "(token)",
    }
}
