//! `GET /api/tags`, `POST /api/tags/define` and `/api/tags/drop`: tags themselves.
//!
//! A definition opens what carries the tag, so nobody defines one that lets themselves in where they were not: that is the
//! operator's to do.

use super::grants::{facts, make, refused, reply};
use super::{Asker, Door, rights};
use crate::error::{Reason, Refusal};
use crate::http::{Problem, json};
use crate::manage::{Item, Kind, TagChange, TagDefinition};
use crate::policy::TagDefinitions;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The attribute with the groups a user is a member of.
const GROUPS: &str = "groups";

pub(super) fn routes() -> Router<Arc<Door>> {
    let to = |defines: bool| post(move |door, request| change(door, defines, request));
    Router::new()
        .route("/api/tags/define", to(true))
        .route("/api/tags/drop", to(false))
        .route("/api/tags", get(list))
}

/// What a body may say; all but `tag` for a definition only.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    tag: String,
    access: Option<String>,
    owner: Option<String>,
    allowed: Option<Vec<String>>,
}

async fn change(
    State(door): State<Arc<Door>>,
    defines: bool,
    request: Request,
) -> Result<Response, Problem> {
    let (peer, request_id) = facts(&request)?;
    // Who asks comes before what: a stranger learns nothing from how a body is refused.
    let asker = door.asker(request.headers(), peer, request_id).await?;
    let word = if defines { "define" } else { "drop" };
    let change = match decide(&door, &asker, defines, request).await {
        Ok(change) => change,
        Err((item, problem)) => return Err(refused(&door, &asker, word, &item, problem).await),
    };
    let (maker, by, made) = (Arc::clone(&door), asker.by.clone(), change.clone());
    let making = async move { maker.parts.manager.change_tag(&by, &made).await };
    let done = make(&door, making, |done| done.changed).await?;
    let says = match (defines, done.changed) {
        (true, true) => "defined",
        (true, false) => "already defined so",
        (false, true) => "dropped",
        (false, false) => "already not defined",
    };
    Ok(reply(&json!({
        "result": says,
        "changed": done.changed,
        "tag": change.tag(),
        "before": done.before,
        "after": done.after,
    })))
}

async fn decide(
    door: &Door,
    asker: &Asker,
    defines: bool,
    request: Request,
) -> Result<TagChange, (Value, Problem)> {
    let unread = |problem: Problem| (json!({"kind": "tag definitions"}), problem);
    rights::may_manage(asker).map_err(|refusal| unread(refusal.into()))?;
    let asked = json::<Asked>(request, door.parts.body_bytes_max).await;
    let change = to_change(defines, asked.map_err(unread)?).map_err(unread)?;
    let because = |problem: Problem| (change.item(), problem);
    // What is no definition opens nothing, and is told as that.
    change.check().map_err(|error| because(error.into()))?;
    may_define(door, asker, &change).await.map_err(because)?;
    Ok(change)
}

fn to_change(defines: bool, asked: Asked) -> Result<TagChange, Problem> {
    let Asked {
        tag,
        access,
        owner,
        allowed,
    } = asked;
    match (defines, access, owner, allowed) {
        (true, Some(access), owner, allowed) => Ok(TagChange::Define(TagDefinition {
            tag,
            access,
            owner,
            allowed: allowed.unwrap_or_default(),
        })),
        (false, None, None, None) => Ok(TagChange::Drop(tag)),
        (true, None, ..) => Err(unreadable("the body has to name tag and access")),
        (false, ..) => Err(unreadable("the body has to name tag, and nothing else")),
    }
}

fn unreadable(says: &str) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY);
    problem.slug("invalid_change").detail(says)
}

/// Whether this asker may define or drop this tag.
async fn may_define(door: &Door, asker: &Asker, change: &TagChange) -> Result<(), Problem> {
    let refuse = |says: String| Err(Refusal::new(Reason::NotAuthorized, says).into());
    let store = door.parts.manager.store();
    let tag = change.tag();
    if store.operator_only(&Item::of_user(Kind::Tag, "", tag)) {
        return refuse(format!("tag {tag:?} is the operator's to change"));
    }
    let TagChange::Define(definition) = change else {
        return Ok(());
    };
    if asker.principal.tags().contains(tag) {
        return Ok(());
    }
    let mut attributes = asker.principal.attributes().clone();
    if definition.access == "group" {
        if !store.manages(Kind::Group) {
            return refuse("who is in a group is not managed here, so it may be you".to_owned());
        }
        let of_asker = [Some(asker.principal.user_id())];
        let listed = door.parts.manager.list(Kind::Group, &of_asker).await?;
        let groups = listed
            .rows
            .into_iter()
            .filter_map(|row| row.keys.into_iter().last());
        attributes
            .entry(GROUPS.to_owned())
            .or_default()
            .extend(groups);
        if listed.truncated {
            return refuse("you are in too many groups to tell".to_owned());
        }
    }
    let mut alone = TagDefinitions::default();
    let owner = definition.owner.as_deref();
    alone
        .define(tag, &definition.access, owner, &definition.allowed)
        .map_err(|error| unreadable(&error.to_string()))?;
    let opened = alone.accessible(asker.principal.user_id(), &attributes);
    match opened.is_empty() {
        true => Ok(()),
        false => refuse(format!("nobody opens tag {tag:?} to themselves")),
    }
}

async fn list(State(door): State<Arc<Door>>, request: Request) -> Result<Response, Problem> {
    let (peer, request_id) = facts(&request)?;
    let asker = door.asker(request.headers(), peer, request_id).await?;
    let item = json!({"kind": "tag definitions"});
    let listed = match rights::may_manage(&asker) {
        Ok(()) => door.parts.manager.tags().await.map_err(Problem::from),
        Err(refusal) => Err(refusal.into()),
    };
    match listed {
        Ok(listed) => {
            door.parts.manager.looked(&asker.by, "list", &item).await?;
            Ok(reply(&json!(listed)))
        }
        Err(problem) => Err(refused(&door, &asker, "list", &item, problem).await),
    }
}
