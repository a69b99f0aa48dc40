//! `POST /api/KIND/grant` and `/revoke`, alike for each kind.

use super::{Asker, Door, lists, rights};
use crate::audit::RequestId;
use crate::http::{Peer, Problem, json};
use crate::manage::{Action, Change, Done, Item, Kind, ManageError, Until};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;

pub(super) fn routes(kind: Kind) -> Router<Arc<Door>> {
    let base = format!("/api/{}", kind.plural());
    let to = |action: Action| post(move |door, request| change(door, kind, action, request));
    let router = Router::new()
        .route(&format!("{base}/grant"), to(Action::Grant))
        .route(&format!("{base}/revoke"), to(Action::Revoke));
    match kind {
        Kind::Tuple => router.route(&base, get(lists::tuples)),
        Kind::Permission | Kind::Role | Kind::Group | Kind::Tag => {
            let of = move |door, user, request| lists::of_user(door, kind, user, request);
            router.route(&format!("{base}/{{user}}"), get(of))
        }
    }
}

/// What a body may say: `user` and one more name, or a tuple.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    user: Option<String>,
    permission: Option<String>,
    role: Option<String>,
    group: Option<String>,
    tag: Option<String>,
    tuple: Option<String>,
    until: Option<String>,
    strict: Option<bool>,
}

async fn change(
    State(door): State<Arc<Door>>,
    kind: Kind,
    action: Action,
    request: Request,
) -> Result<Response, Problem> {
    let (peer, request_id) = facts(&request)?;
    // Who asks comes before what: a stranger learns nothing from how a body is refused.
    let asker = door.asker(request.headers(), peer, request_id).await?;
    match decide(&door, &asker, kind, action, request).await {
        Ok((change, doubt)) => {
            let (maker, by, made) = (Arc::clone(&door), asker.by.clone(), change.clone());
            let making = async move { maker.parts.manager.change(&by, &made).await };
            let done = make(&door, making, |done| done.changed).await?;
            Ok(answer(&change, &done, doubt))
        }
        Err((item, problem)) => Err(refused(&door, &asker, action.word(), &item, problem).await),
    }
}

/// The change a request asks for, if it may be made, and what is odd about it; else what it was about, as far as known,
/// and why not.
async fn decide(
    door: &Door,
    asker: &Asker,
    kind: Kind,
    action: Action,
    request: Request,
) -> Result<(Change, Option<String>), (Value, Problem)> {
    let unread = |problem: Problem| (json!({"kind": kind.plural()}), problem);
    rights::may_manage(asker).map_err(|refusal| unread(refusal.into()))?;
    let asked = json::<Asked>(request, door.parts.body_bytes_max).await;
    let asked = asked.map_err(unread)?;
    let strict = door.parts.strict || asked.strict == Some(true);
    let change = to_change(kind, action, asked).map_err(|error| unread(error.into()))?;
    let because = |problem: Problem| (change.item.json(), problem);
    rights::may_change(door, asker, &change).map_err(|refusal| because(refusal.into()))?;
    let doubt = match action {
        Action::Grant => door.known().doubt(&change.item),
        Action::Revoke => None,
    };
    if let (Some(doubt), true) = (&doubt, strict) {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY);
        return Err(because(problem.slug("unknown_permission").detail(doubt)));
    }
    Ok((change, doubt))
}

/// Makes a change in a task of its own: a client that leaves must not end it half-way through its commit.
pub(super) async fn make<T: Send + 'static>(
    door: &Door,
    making: impl Future<Output = Result<T, ManageError>> + Send + 'static,
    changed: impl Fn(&T) -> bool,
) -> Result<T, Problem> {
    let done = tokio::spawn(making)
        .await
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR))?;
    let done = done?;
    if changed(&done) {
        // This instance need not wait for its own notification.
        door.parts.resolver.load().clear();
    }
    Ok(done)
}

fn answer(change: &Change, done: &Done, doubt: Option<String>) -> Response {
    let says = match (change.action, done.changed) {
        (Action::Grant, true) => "granted",
        (Action::Grant, false) => "already granted",
        (Action::Revoke, true) => "revoked",
        (Action::Revoke, false) => "already not granted",
    };
    let warnings: Vec<String> = doubt.into_iter().collect();
    reply(&json!({
        "result": says,
        "changed": done.changed,
        "item": change.item.json(),
        "before": done.before,
        "after": done.after,
        "warnings": warnings,
    }))
}

fn to_change(kind: Kind, action: Action, asked: Asked) -> Result<Change, ManageError> {
    let Asked {
        user,
        permission,
        role,
        group,
        tag,
        tuple,
        until,
        strict: _,
    } = asked;
    let named = [
        (Kind::Permission, permission),
        (Kind::Role, role),
        (Kind::Group, group),
        (Kind::Tag, tag),
        (Kind::Tuple, tuple),
    ];
    let mut named = named
        .into_iter()
        .filter_map(|(kind, name)| Some((kind, name?)));
    let item = match (named.next(), named.next(), user) {
        (Some((Kind::Tuple, tuple)), None, None) if kind == Kind::Tuple => Item::tuple(&tuple)?,
        (Some((of, name)), None, Some(user)) if of == kind && kind != Kind::Tuple => {
            Item::of_user(kind, user, name)
        }
        _ => {
            let names = match kind {
                Kind::Tuple => "tuple".to_owned(),
                _ => format!("user and {}", kind.singular()),
            };
            return Err(ManageError::Invalid {
                message: format!("the body has to name {names}, and nothing else"),
                hint: "Beside them it may hold until and strict.",
            });
        }
    };
    let until = until.as_deref().map(Until::parse).transpose()?;
    Ok(Change {
        action,
        item,
        until,
    })
}

/// Leaves the audit's line of a request that is refused.
pub(super) async fn refused(
    door: &Door,
    asker: &Asker,
    action: &'static str,
    item: &Value,
    problem: Problem,
) -> Problem {
    let reason = problem.reason();
    door.parts
        .manager
        .refused(&asker.by, action, item, reason)
        .await;
    problem
}

pub(super) fn facts(request: &Request) -> Result<(Peer, RequestId), Problem> {
    let extensions = request.extensions();
    match (extensions.get::<Peer>(), extensions.get::<RequestId>()) {
        (Some(peer), Some(id)) => Ok((*peer, *id)),
        _ => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

pub(super) fn reply(body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, body.to_string()).into_response()
}
