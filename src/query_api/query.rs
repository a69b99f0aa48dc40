//! `POST /v1/query`.

use super::Door;
use super::ask::Ask;
use super::format::Format;
use super::pipe::PIECES_MAX;
use super::run::{End, Request, run};
use crate::audit::RequestId;
use crate::error::{Fault, FaultKind};
use crate::gateway::SessionFacts;
use crate::http::{Peer, Problem, identify, json};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;

/// How long the body of a request may take to come.
const BODY_MAX: Duration = Duration::from_secs(10);
/// Longest word for itself that is kept of a client.
const NAME_CHARS_MAX: usize = 64;

pub(super) async fn query(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    // Who asks comes before what: a stranger learns nothing from how a body is refused.
    let authenticator = door.parts.gateway.authenticator();
    let caller = identify(&authenticator, &door.waiting, headers, peer)
        .await?
        .caller;
    let format = Format::accepted(headers)?;
    let facts = facts(peer, headers);
    let ask = body(&door, request).await?;
    let Ok(permit) = Arc::clone(&door.running).try_acquire_owned() else {
        let fault = Fault::because(
            FaultKind::TooManyClients,
            "more requests than the listener takes",
        );
        return Err(fault.into());
    };
    let request = Request {
        id,
        caller,
        facts,
        ask,
        format,
    };
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let task = tokio::spawn(async move {
        let end = run(&door, request, sender).await;
        drop(permit);
        end
    });
    match format {
        Format::Json => whole(pieces, task).await,
        Format::Ndjson | Format::Csv => streamed(format, pieces, task).await,
    }
}

async fn body(door: &Door, request: axum::extract::Request) -> Result<Ask, Problem> {
    let read = json::<Ask>(request, door.parts.body_bytes_max);
    match tokio::time::timeout(BODY_MAX, read).await {
        Ok(ask) => ask,
        Err(_) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT).detail("the body did not come in time"))
        }
    }
}

/// There is no session: its number is 0.
fn facts(peer: Peer, headers: &HeaderMap) -> SessionFacts {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    SessionFacts {
        number: 0,
        peer: peer.address.to_string().into(),
        application_name: agent.map(|agent| agent.chars().take(NAME_CHARS_MAX).collect()),
    }
}

/// The answer in one piece: an error still has its status.
async fn whole(mut pieces: Receiver<Bytes>, task: JoinHandle<End>) -> Result<Response, Problem> {
    let mut document = Vec::new();
    while let Some(piece) = pieces.recv().await {
        document.extend_from_slice(&piece);
    }
    ended(task).await?;
    Ok(answer(Format::Json, Body::from(document)))
}

/// The answer as it comes; its status is settled by the first row or the end.
async fn streamed(
    format: Format,
    mut pieces: Receiver<Bytes>,
    task: JoinHandle<End>,
) -> Result<Response, Problem> {
    let Some(first) = pieces.recv().await else {
        ended(task).await?;
        return Ok(answer(format, Body::empty()));
    };
    let begin = (Some(first), pieces, Some(task));
    let body = stream::unfold(begin, async |(first, mut pieces, mut task)| {
        let next = match first {
            Some(first) => Some(first),
            None => pieces.recv().await,
        };
        if let Some(piece) = next {
            return Some((Ok(piece), (None, pieces, task)));
        }
        // The transfer is broken off: a part must not look like the whole.
        let broken = ended(task.take()?).await.is_err();
        let error = io::Error::other("the answer broke off");
        broken.then_some((Err(error), (None, pieces, None)))
    });
    Ok(answer(format, Body::from_stream(body)))
}

async fn ended(task: JoinHandle<End>) -> Result<(), Problem> {
    match task.await {
        Ok(End::Whole) => Ok(()),
        Ok(End::Problem(problem)) => Err(*problem),
        Ok(End::Broken) => Err(Fault::because(FaultKind::Internal, "an answer broke off").into()),
        Err(error) => Err(Fault::new(FaultKind::Internal, error).into()),
    }
}

fn answer(format: Format, body: Body) -> Response {
    let mut response = Response::new(body);
    let media_type = HeaderValue::from_static(format.media_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}
