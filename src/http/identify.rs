//! From a request's headers to a [`Caller`]: a signed token (`Authorization: Bearer`), or the API key of a
//! service login (`X-API-Key`) with, where that login may speak for others, the user it names
//! (`X-User-Id`).

use super::{Peer, Problem};
use crate::audit::{AuditLog, LoginRefused, RequestId};
use crate::error::Reason;
use crate::identity::{Authenticator, Caller, Shown};
use axum::http::{HeaderMap, StatusCode, header};
use secrecy::SecretString;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Most requests of a listener that wait out a delay after failures at once: beyond that they are turned away, so
/// that guessing cannot take every connection.
const WAITING_MAX: usize = 16;

/// Longest word for itself that is kept of a client.
const NAME_CHARS_MAX: usize = 64;

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

/// What a request shows of who asks.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Names the request.
    pub request_id: RequestId,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Where it comes from.
    pub peer: Peer,
}

/// Who asks. Fails closed: what is missing, doubled or contradictory is nobody, and leaves the audit's line of a refused
/// login.
///
/// # Errors
/// 401 in one text for every cause; 429 when too many wait after failures.
pub async fn identify(
    authenticator: &Authenticator,
    waiting: &Waiting,
    audit: &AuditLog,
    attempt: &Attempt<'_>,
) -> Result<Identified, Problem> {
    let identified = proved(authenticator, waiting, attempt.headers, attempt.peer).await;
    if let Err(problem) = &identified {
        record_refused(audit, attempt, problem.status());
    }
    identified
}

/// As on the wire: who it said it was, of which nothing is proved; never what was shown as proof.
fn record_refused(audit: &AuditLog, attempt: &Attempt<'_>, status: StatusCode) {
    let sent = |name: &str| {
        let value = attempt.headers.get(name)?;
        std::str::from_utf8(value.as_bytes()).ok()
    };
    audit.login_refused(&LoginRefused {
        request_id: attempt.request_id,
        peer: &attempt.peer.address.to_string(),
        application_name: client_name(attempt.headers).as_deref(),
        login: sent("x-rowgate-login").unwrap_or_default(),
        user_id: sent("x-user-id"),
        database: None,
        reason: match status {
            StatusCode::TOO_MANY_REQUESTS => "too_many_failures",
            _ => Reason::AuthenticationFailed.slug(),
        },
    });
}

/// The client's own word for itself, as far as it is kept.
pub fn client_name(headers: &HeaderMap) -> Option<String> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().take(NAME_CHARS_MAX).collect())
}

async fn proved(
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
