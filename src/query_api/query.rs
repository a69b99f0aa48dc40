//! `POST /v1/query`.

use super::Door;
use super::ask::Ask;
use super::enter::{Entered, body, enter};
use super::format::Format;
use super::pipe::PIECES_MAX;
use super::run::{End, Request, run};
use crate::audit::RequestId;
use crate::error::{Fault, FaultKind};
use crate::http::{Peer, Problem};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use std::io;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;

pub(super) async fn query(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    request: axum::extract::Request,
) -> Result<Response, Problem> {
    let entered = enter(&door, peer, id, request.headers()).await?;
    let (format, ask, permit) = match understood(&door, request).await {
        Ok(understood) => understood,
        Err(problem) => return Err(entered.refuse(&door, None, problem).await),
    };
    let Entered { id, caller, facts } = entered;
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

/// What is asked, in which form it is to be answered, and a place to run in.
async fn understood(
    door: &Door,
    request: axum::extract::Request,
) -> Result<(Format, Ask, OwnedSemaphorePermit), Problem> {
    let format = Format::accepted(request.headers())?;
    let ask = body(door, request).await?;
    let permit = Arc::clone(&door.running).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let cause = "more requests than the listener takes";
        Fault::because(FaultKind::TooManyClients, cause)
    })?;
    Ok((format, ask, permit))
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
