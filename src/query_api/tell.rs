//! `GET /v1/schema` and `POST /v1/explain`: what a caller may know of its own rights. Nothing runs.

use super::Door;
use super::ask::Ask;
use super::enter::{Entered, body, enter};
use super::format::best;
use super::run::{binding, moved, one_query, own_parameters};
use crate::audit::RequestId;
use crate::error::{Error, Fault, FaultKind, Refusal};
use crate::gateway::{Asked, Decided, Memory, Standing};
use crate::http::{Peer, Problem};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;

const JSON: &str = "application/json";
const MARKDOWN: &str = "text/markdown; charset=utf-8";

/// The tables and columns the caller may read: JSON, or Markdown for a system prompt.
pub(super) async fn schema(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let entered = enter(&door, peer, id, &headers).await?;
    let offered = [
        (JSON, "application/json"),
        (MARKDOWN, "text/markdown"),
        (MARKDOWN, "text/plain"),
    ];
    let Some(media_type) = best(&headers, &offered) else {
        let problem = Problem::new(StatusCode::NOT_ACCEPTABLE)
            .detail("none of the accepted media types can be given")
            .hint("Accept application/json or text/markdown.");
        return Err(entered.refuse(&door, Some("schema"), problem).await);
    };
    to_its_end(async move { tell_schema(&door, &entered, media_type).await }).await
}

async fn tell_schema(
    door: &Door,
    entered: &Entered,
    media_type: &'static str,
) -> Result<Response, Problem> {
    let gateway = &door.parts.gateway;
    let Entered { id, caller, facts } = entered;
    let asked = ("schema", "");
    let standing = match gateway.standing(caller, &mut Memory::default()).await {
        Ok(standing) => standing,
        Err(error) => return Err(fail(door, entered, asked, None, error).await),
    };
    let model = standing.describe(&gateway.policy());
    // The policy was replaced within this very moment.
    let Some(model) = model else {
        let fault = Fault::because(FaultKind::UpstreamLost, "the policy has just changed");
        return Err(fail(door, entered, asked, Some(&standing), fault.into()).await);
    };
    gateway
        .record_told(*id, facts, caller, asked, Some(&standing), None)
        .await?;
    match media_type {
        JSON => Ok(json(&model)),
        _ => Ok(answer(media_type, model.markdown())),
    }
}

/// What `POST /v1/query` would do with the same body.
pub(super) async fn explain(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let entered = enter(&door, peer, id, request.headers()).await?;
    let accepted = best(request.headers(), &[((), JSON)]);
    let asked = match accepted {
        Some(()) => body(&door, request).await,
        None => Err(Problem::new(StatusCode::NOT_ACCEPTABLE)
            .detail("none of the accepted media types can be given")
            .hint("Accept application/json.")),
    };
    match asked {
        Ok(ask) => to_its_end(async move { tell_plan(&door, &entered, &ask).await }).await,
        Err(problem) => Err(entered.refuse(&door, Some("explain"), problem).await),
    }
}

/// In a task of its own: it has its line in the audit also when its client leaves.
async fn to_its_end(
    telling: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    match tokio::spawn(telling).await {
        Ok(told) => told,
        Err(error) => Err(Fault::new(FaultKind::Internal, error).into()),
    }
}

/// Whether a query would run, and why not: in the words the query itself would get.
#[derive(Debug, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
enum Verdict {
    Allowed {
        /// The tables read, `schema.name`.
        tables: Vec<String>,
        /// Those of them whose rows may be held back.
        filtered: Vec<String>,
        /// How many values it takes.
        parameters: u16,
    },
    Refused {
        reason: &'static str,
        sqlstate: &'static str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<u32>,
    },
}

#[derive(Debug, Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    verdict: Verdict,
    user_id: &'a str,
    roles: Vec<&'a str>,
    superuser: bool,
    request_id: RequestId,
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Verdict::Refused {
            reason: refusal.reason.slug(),
            sqlstate: refusal.reason.sqlstate(),
            detail: refusal.message,
            hint: refusal.hint,
            position: refusal.position,
        }
    }
}

async fn tell_plan(door: &Door, entered: &Entered, ask: &Ask) -> Result<Response, Problem> {
    let gateway = &door.parts.gateway;
    let Entered { id, caller, facts } = entered;
    let asked = ("explain", ask.sql.as_str());
    // Who a token in the text names, if there is one; else the caller.
    let memory = &mut Memory::default();
    let standing = match gateway.standing_of(caller, &ask.sql, memory).await {
        Ok((standing, _)) => standing,
        Err(error) => return Err(fail(door, entered, asked, None, error).await),
    };
    let verdict = match decide(door, entered, ask).await {
        Ok(decided) => Verdict::Allowed {
            tables: decided.rewrite.tables.to_vec(),
            filtered: gateway.filtered(&decided),
            parameters: own_parameters(&decided),
        },
        Err(Error::Refused(refusal)) => refusal.into(),
        Err(error) => return Err(fail(door, entered, asked, Some(&standing), error).await),
    };
    let slug = match &verdict {
        Verdict::Allowed { .. } => None,
        Verdict::Refused { reason, .. } => Some(*reason),
    };
    gateway
        .record_told(*id, facts, caller, asked, Some(&standing), slug)
        .await?;
    let principal = standing.principal();
    Ok(json(&Explained {
        verdict,
        user_id: principal.user_id(),
        roles: principal.roles().collect(),
        superuser: principal.superuser(),
        request_id: *id,
    }))
}

/// As for a query, up to the connection.
async fn decide(door: &Door, entered: &Entered, ask: &Ask) -> Result<Decided, Error> {
    let gateway = &door.parts.gateway;
    let statement = one_query(gateway, &ask.sql)?;
    let asked = match ask.params.is_empty() {
        true => Asked::Simple,
        false => Asked::Prepared {
            types: &[],
            before: None,
        },
    };
    let memory = &mut Memory::default();
    let decided = gateway
        .decide(
            &entered.caller,
            memory,
            statement.text.as_str().into(),
            asked,
        )
        .await;
    let decided = decided.map_err(|(error, _)| moved(error, statement.offset_chars))?;
    binding(ask, &decided)?;
    Ok(decided)
}

/// Records why there is no answer.
async fn fail(
    door: &Door,
    entered: &Entered,
    asked: (&'static str, &str),
    standing: Option<&Arc<Standing>>,
    error: Error,
) -> Problem {
    let slug = match &error {
        Error::Refused(refusal) => refusal.reason.slug(),
        Error::Failed(fault) => fault.kind.slug(),
    };
    let Entered { id, caller, facts } = entered;
    let gateway = &door.parts.gateway;
    let recorded = gateway.record_told(*id, facts, caller, asked, standing, Some(slug));
    // Nothing is answered, so a line that cannot be written changes nothing for the caller.
    if let Err(fault) = recorded.await {
        tracing::error!(cause = %fault.cause, request_id = %id, "refusal not recorded");
    }
    error.into()
}

fn json(told: &impl Serialize) -> Response {
    // Names and numbers: serialization cannot fail.
    answer(JSON, serde_json::to_string(told).unwrap_or_default())
}

fn answer(media_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let media_type = HeaderValue::from_static(media_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}
