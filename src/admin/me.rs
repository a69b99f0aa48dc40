//! `GET /api/me`: what the asker is and may do, so that a front end can grey out what is not available.

use super::{Door, rights};
use crate::audit::RequestId;
use crate::http::{Peer, Problem};
use crate::policy::profile;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use serde_json::json;
use std::sync::Arc;

pub(super) async fn me(
    State(door): State<Arc<Door>>,
    Extension(peer): Extension<Peer>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let asker = door.asker(&headers, peer, request_id).await?;
    let principal = &asker.principal;
    let item = json!({"user": principal.user_id()});
    if let Err(refusal) = rights::may_enter(&asker, door.parts.connect_requires.as_deref()) {
        let reason = refusal.reason.slug();
        door.parts
            .manager
            .refused(&asker.by, "me", &item, reason)
            .await;
        return Err(refusal.into());
    }
    door.parts.manager.looked(&asker.by, "me", &item).await?;
    let grants = door.parts.policy.load().grants(principal);
    let body = profile(principal, &grants);
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, body.to_string()))
}
