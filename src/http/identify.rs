//! From a request's headers to a [`Caller`]: a signed token (`Authorization: Bearer`), or the API key of a
//! service login (`X-API-Key`) with, where that login may speak for others, the user it names
//! (`X-User-Id`).

use super::{Peer, Problem};
use crate::identity::{Authenticator, Caller, Shown};
use axum::http::{HeaderMap, StatusCode, header};
use secrecy::SecretString;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Most requests of a listener that wait out a delay after failures at once: beyond that they are turned away, so
/// that guessing cannot take every connection.
const WAITING_MAX: usize = 16;

/// The places for requests that wait out a delay after failures; one a listener.
pub struct Waiting(Semaphore);

impl Default for Waiting {
    fn default() -> Self {
        Self(Semaphore::new(WAITING_MAX))
    }
}

/// A caller, and how it was proved.
#[derive(Debug, Clone)]
pub struct Identified {
    /// Who.
    pub caller: Caller,
    /// Whether a signed token said so: an API key speaks for whoever it names, so it carries no right to
    /// change anybody's.
    pub signed: bool,
}

/// Who asks. Fails closed: what is missing, doubled or contradictory is nobody.
///
/// # Errors
/// 401 in one text for every cause; 429 when too many wait after failures.
pub async fn identify(
    authenticator: &Authenticator,
    waiting: &Waiting,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<Identified, Problem> {
    let shown = shown(headers)?;
    let signed = matches!(shown, Shown::Token { .. });
    wait(waiting, authenticator.shown_delay(&shown, peer.address)).await?;
    authenticator.prepare_shown(&shown).await;
    let caller = authenticator
        .accept_shown(&shown, peer.tls, peer.address)
        .map_err(Problem::from)?;
    Ok(Identified { caller, signed })
}

async fn wait(waiting: &Waiting, delay: Duration) -> Result<(), Problem> {
    if delay.is_zero() {
        return Ok(());
    }
    let Ok(_permit) = waiting.0.try_acquire() else {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS)
            .detail("too many failed logins")
            .retry_after(delay.as_secs().max(1)));
    };
    tokio::time::sleep(delay).await;
    Ok(())
}

/// What the headers show; each of them at most once.
fn shown(headers: &HeaderMap) -> Result<Shown, Problem> {
    let bearer = only(headers, header::AUTHORIZATION.as_str())?;
    let key = only(headers, "x-api-key")?;
    let user = only(headers, "x-user-id")?.map(str::to_owned);
    let login = only(headers, "x-rowgate-login")?.map(str::to_owned);
    match (bearer, key) {
        (Some(bearer), None) => {
            let (scheme, token) = bearer.split_once(' ').unwrap_or((bearer, ""));
            if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
                return Err(nobody());
            }
            // The token alone says for whom: a name beside it could only contradict it.
            if user.is_some() {
                return Err(nobody());
            }
            let token = SecretString::from(token.trim_start().to_owned());
            Ok(Shown::Token { login, token })
        }
        (None, Some(key)) => Ok(Shown::Key {
            key: SecretString::from(key.to_owned()),
            user,
        }),
        (None, None) | (Some(_), Some(_)) => Err(nobody()),
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // A user's name may be any UTF-8.
        (Some(value), None) => std::str::from_utf8(value.as_bytes())
            .map(Some)
            .map_err(|_| nobody()),
        (Some(_), Some(_)) => Err(nobody()),
    }
}

fn nobody() -> Problem {
    Problem::from(crate::identity::not_accepted())
}
