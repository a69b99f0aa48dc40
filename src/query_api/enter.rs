//! The first steps of every request: who asks, and what, with a line in the audit for whoever gets no further.

use super::Door;
use super::ask::Ask;
use crate::audit::RequestId;
use crate::gateway::SessionFacts;
use crate::http::{Attempt, Peer, Problem, client_name, identify, json};
use crate::identity::Caller;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use std::time::Duration;

/// How long the body of a request may take to come.
const BODY_MAX: Duration = Duration::from_secs(10);

/// A request whose asker is known.
pub(super) struct Entered {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) facts: SessionFacts,
}

/// Who asks comes before what: a stranger learns nothing from how a body is refused.
pub(super) async fn enter(
    door: &Door,
    peer: Peer,
    id: RequestId,
    headers: &HeaderMap,
) -> Result<Entered, Problem> {
    let gateway = &door.parts.gateway;
    let authenticator = gateway.authenticator();
    let attempt = Attempt {
        request_id: id,
        headers,
        peer,
    };
    let identified = identify(&authenticator, &door.waiting, gateway.audit(), &attempt).await?;
    Ok(Entered {
        id,
        caller: identified.caller,
        // There is no session: its number is 0.
        facts: SessionFacts::new(
            0,
            &peer.address.to_string(),
            client_name(headers).as_deref(),
        ),
    })
}

impl Entered {
    /// The problem of a request that came to no statement; it has its line in the audit, too.
    pub(super) async fn refuse(
        &self,
        door: &Door,
        operation: Option<&'static str>,
        problem: Problem,
    ) -> Problem {
        let slug = match problem.status() {
            StatusCode::NOT_ACCEPTABLE => "not_acceptable",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::REQUEST_TIMEOUT => "body_timeout",
            StatusCode::SERVICE_UNAVAILABLE => "too_many_clients",
            _ => "invalid_body",
        };
        let gateway = &door.parts.gateway;
        let Self { id, caller, facts } = self;
        match operation {
            None => {
                gateway
                    .record_refused(*id, facts, caller, "", None, slug)
                    .await;
            }
            Some(operation) => {
                let told =
                    gateway.record_told(*id, facts, caller, (operation, ""), None, Some(slug));
                // Nothing was answered, so a line that cannot be written changes nothing for the caller.
                if let Err(fault) = told.await {
                    tracing::error!(cause = %fault.cause, request_id = %id, "refusal not recorded");
                }
            }
        }
        problem
    }
}

/// The statement and its values.
pub(super) async fn body(door: &Door, request: Request) -> Result<Ask, Problem> {
    let read = json::<Ask>(request, door.parts.body_bytes_max);
    match tokio::time::timeout(BODY_MAX, read).await {
        Ok(ask) => ask,
        Err(_) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT).detail("the body did not come in time"))
        }
    }
}
