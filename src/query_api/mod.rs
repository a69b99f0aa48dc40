//! The query listener: one SELECT a request over HTTP, by the same walk as on the wire.
//!
//! ```text
//! http (bounds, Host) -> identify -> body -> gateway: decide, lease, record -> relay -> JSON | NDJSON | CSV
//! ```
//!
//! A request is one statement and leaves one `request` line in the audit, whatever becomes of the client. There is no
//! session: nothing of one request is left for the next.

mod ask;
mod encode;
mod enter;
mod format;
mod pipe;
mod query;
mod run;
mod tell;
mod value;

use crate::gateway::Gateway;
use crate::http::Waiting;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the query listener is made of.
pub struct Parts {
    /// All stages of a request.
    pub gateway: Arc<Gateway>,
    /// Longest body, in bytes.
    pub body_bytes_max: usize,
    /// Most rows of an answer in JSON; more are cut off, and the answer says so.
    pub json_rows_max: u64,
    /// Most bytes of rows, as the database sends them, of an answer in JSON.
    pub json_bytes_max: u64,
    /// Most requests at once, those whose client has just left included.
    pub requests_max: usize,
}

/// The routes below, in OpenAPI 3.1; `tests/http/openapi.rs` holds it against them.
const OPENAPI: &str = include_str!("openapi.json");

/// Nobody's secret, so nobody is asked who they are.
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

struct Door {
    parts: Parts,
    waiting: Waiting,
    running: Arc<Semaphore>,
}

/// The routes, for [`crate::http::serve`].
pub fn routes(parts: Parts) -> Router {
    let door = Arc::new(Door {
        running: Arc::new(Semaphore::new(parts.requests_max)),
        parts,
        waiting: Waiting::default(),
    });
    Router::new()
        .route("/v1/query", post(query::query))
        .route("/v1/schema", get(tell::schema))
        .route("/v1/explain", post(tell::explain))
        .route("/v1/openapi.json", get(openapi))
        .with_state(door)
}
