//! `POST /api/KIND/grant`, `/revoke` and `GET /api/KIND/{user}`, alike for each kind.

use super::{Asker, Door, rights};
use crate::audit::RequestId;
use crate::http::{Peer, Problem, json};
use crate::identity::valid_name;
use crate::manage::{Action, Change, Done, Item, Kind, ManageError, Until};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(kind: Kind) -> Router<Arc<Door>> {
    let base = format!("/api/{}", kind.plural());
    Router::new()
        .route(
            &format!("{base}/grant"),
            post(move |door, request| change(door, kind, Action::Grant, request)),
        )
        .route(
            &format!("{base}/revoke"),
            post(move |door, request| change(door, kind, Action::Revoke, request)),
        )
        .route(
            &format!("{base}/{{user}}"),
            get(move |door, peer, id, user, request| list(door, kind, peer, id, user, request)),
        )
}

/// What a body may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    user: String,
    #[serde(default)]
    permission: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
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
            let done = make(&door, &asker, &change).await?;
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
    rights::may_change(asker, &change).map_err(|refusal| because(refusal.into()))?;
    let doubt = match (kind, action) {
        (Kind::Permission, Action::Grant) => door.known().doubt(change.item.name()),
        (Kind::Permission, Action::Revoke) | (Kind::Role, _) => None,
    };
    if let (Some(doubt), true) = (&doubt, strict) {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY);
        return Err(because(problem.slug("unknown_permission").detail(doubt)));
    }
    Ok((change, doubt))
}

/// In a task of its own: a client that leaves must not end a change half-way through its commit.
async fn make(door: &Arc<Door>, asker: &Asker, change: &Change) -> Result<Done, Problem> {
    let (door_, by, change_) = (Arc::clone(door), asker.by.clone(), change.clone());
    let making = tokio::spawn(async move { door_.parts.manager.change(&by, &change_).await });
    let done = making
        .await
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR))?;
    let done = done?;
    if done.changed {
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
        until,
        strict: _,
    } = asked;
    let item = match (kind, permission, role) {
        (Kind::Permission, Some(permission), None) => Item::permission(user, permission),
        (Kind::Role, None, Some(role)) => Item::role(user, role),
        (Kind::Permission | Kind::Role, _, _) => {
            return Err(ManageError::Invalid {
                message: format!("the body has to name {}", kind.columns().join(" and ")),
                hint: "Send only what this address is about.",
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

async fn list(
    State(door): State<Arc<Door>>,
    kind: Kind,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let asker = door.asker(request.headers(), peer, request_id).await?;
    let named: String = user.chars().take(300).collect();
    let item = json!({"kind": kind.plural(), "user": named});
    let listed = match may_list(&asker, &user) {
        Ok(()) => {
            let listed = door.parts.manager.list(kind, &[Some(&user)]).await;
            listed.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(problem) => return Err(refused(&door, &asker, "list", &item, problem).await),
    };
    door.parts.manager.looked(&asker.by, "list", &item).await?;
    let name = kind.columns().last().copied().unwrap_or_default();
    let rows: Vec<Value> = listed
        .rows
        .iter()
        .map(|row| json!({name: row.keys.last(), "until": row.until}))
        .collect();
    Ok(reply(
        &json!({"user": user, kind.plural(): rows, "truncated": listed.truncated}),
    ))
}

fn may_list(asker: &Asker, user: &str) -> Result<(), Problem> {
    rights::may_manage(asker)?;
    if valid_name(user) {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY);
    Err(problem
        .slug("invalid_name")
        .detail("the user is not a name"))
}

/// Leaves the audit's line of a request that is refused.
async fn refused(
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

fn facts(request: &Request) -> Result<(Peer, RequestId), Problem> {
    let extensions = request.extensions();
    match (extensions.get::<Peer>(), extensions.get::<RequestId>()) {
        (Some(peer), Some(id)) => Ok((*peer, *id)),
        _ => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

fn reply(body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, body.to_string()).into_response()
}
