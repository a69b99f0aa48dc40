//! For whoever runs the gate: `/metrics` in OpenMetrics text, and `/readyz`. No user, role, table, text or address is
//! in either.
//!
//! Both have a listener of their own (`[metrics]`); readiness is told on every HTTP listener, because a load balancer
//! asks where it sends.

mod page;
mod ready;

pub use page::Page;
pub use ready::{Readiness, Stale};

use crate::http::Problem;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What the metrics listener is made of.
pub struct Parts {
    /// What is shown.
    pub page: Page,
    /// Whether requests would be answered.
    pub readiness: Arc<Readiness>,
    /// What a scraper has to show, if anything.
    pub token: Option<SecretString>,
}

/// `GET /healthz`: the process answers. `GET /readyz`: so would a query.
pub fn health(readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

/// The routes of the metrics listener.
pub fn routes(parts: Parts) -> Router {
    let readiness = Arc::clone(&parts.readiness);
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::new(parts))
        .merge(health(readiness))
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Result<Response, Problem> {
    let report = readiness.report().await;
    if !report.ready {
        let failed: Vec<&str> = report.failed().collect();
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .slug("not_ready")
            .detail(format!("not ready: {}", failed.join(", ")))
            .retry_after(1));
    }
    // Words of our own: serialization cannot fail.
    let body = serde_json::to_string(&*report).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn metrics(State(parts): State<Arc<Parts>>, headers: HeaderMap) -> Result<Response, Problem> {
    if !parts
        .token
        .as_ref()
        .is_none_or(|token| shows(&headers, token))
    {
        return Err(Problem::from(crate::identity::not_accepted()));
    }
    let mut response = Response::new(Body::from(parts.page.text()));
    let kind = HeaderValue::from_static(page::MEDIA_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Whether exactly one `Authorization: Bearer` shows the token.
fn shows(headers: &HeaderMap, token: &SecretString) -> bool {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (shown.next(), shown.next()) else {
        return false;
    };
    let Some((scheme, shown)) = only.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return false;
    };
    let same = shown.as_bytes().ct_eq(token.expose_secret().as_bytes());
    scheme.eq_ignore_ascii_case("bearer") && bool::from(same)
}
