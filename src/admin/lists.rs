//! `GET /api/KIND/{user}` and `GET /api/tuples`: what the tables grant.

use super::grants::{facts, refused, reply};
use super::{Asker, Door, rights};
use crate::http::Problem;
use crate::identity::valid_name;
use crate::manage::{Item, Kind, Listed};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn of_user(
    State(door): State<Arc<Door>>,
    kind: Kind,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (peer, request_id) = facts(&request)?;
    let asker = door.asker(request.headers(), peer, request_id).await?;
    let item = json!({"kind": kind.plural(), "user": shown(&user)});
    let keys = [Some(user.as_str())];
    let listed = listed(&door, &asker, kind, &keys, &item).await?;
    let rows = listed
        .rows
        .iter()
        .map(|row| json!({kind.singular(): row.keys.last(), "until": row.until}));
    let rows: Vec<Value> = rows.collect();
    Ok(reply(
        &json!({"user": user, kind.plural(): rows, "truncated": listed.truncated}),
    ))
}

/// Which tuples: of an object, of a subject, or of both.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// `document:7`
    object: Option<String>,
    /// `user:bob`
    subject: Option<String>,
}

pub(super) async fn tuples(
    State(door): State<Arc<Door>>,
    Query(which): Query<Which>,
    request: Request,
) -> Result<Response, Problem> {
    let (peer, request_id) = facts(&request)?;
    let asker = door.asker(request.headers(), peer, request_id).await?;
    let Which { object, subject } = which;
    let (object, subject) = (object.as_deref(), subject.as_deref());
    let item =
        json!({"kind": "tuples", "object": object.map(shown), "subject": subject.map(shown)});
    let part = |text: Option<&str>| match text {
        None => Ok((None, None)),
        Some(text) => match text.split_once(':') {
            Some((namespace, id)) => Ok((Some(namespace.to_owned()), Some(id.to_owned()))),
            None => Err(unreadable(
                "object and subject are written as in document:7 and user:bob",
            )),
        },
    };
    let (object, subject) = match (part(object), part(subject)) {
        (Ok(object), Ok(subject)) => (object, subject),
        (Err(problem), _) | (_, Err(problem)) => {
            return Err(refused(&door, &asker, "list", &item, problem).await);
        }
    };
    let keys = [&object.0, &object.1, &None, &subject.0, &subject.1];
    let keys = keys.map(Option::as_deref);
    let listed = listed(&door, &asker, Kind::Tuple, &keys, &item).await?;
    let rows = listed.rows.iter().map(|row| {
        let tuple = Item::from_row(Kind::Tuple, row);
        json!({"tuple": tuple.name(), "until": row.until})
    });
    let rows: Vec<Value> = rows.collect();
    Ok(reply(
        &json!({"tuples": rows, "truncated": listed.truncated}),
    ))
}

/// The rows, after who asks may have them and the audit has its line.
async fn listed(
    door: &Door,
    asker: &Asker,
    kind: Kind,
    keys: &[Option<&str>],
    item: &Value,
) -> Result<Listed, Problem> {
    let listed = match may_list(asker, keys) {
        Ok(()) => door
            .parts
            .manager
            .list(kind, keys)
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match listed {
        Ok(listed) => {
            door.parts.manager.looked(&asker.by, "list", item).await?;
            Ok(listed)
        }
        Err(problem) => Err(refused(door, asker, "list", item, problem).await),
    }
}

fn may_list(asker: &Asker, keys: &[Option<&str>]) -> Result<(), Problem> {
    rights::may_manage(asker)?;
    match keys.iter().flatten().all(|key| valid_name(key)) {
        true => Ok(()),
        false => Err(unreadable("this is not a name")),
    }
}

fn unreadable(says: &str) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY);
    problem.slug("invalid_name").detail(says)
}

fn shown(text: &str) -> String {
    text.chars().take(300).collect()
}
