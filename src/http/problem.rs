//! Errors over HTTP: problem details (RFC 9457), with the SQLSTATE, hint and position of the wire. They say
//! what the wire says and no more.

use crate::audit::RequestId;
use crate::error::{Error, Fault, FaultKind, Reason, Refusal};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;

/// Before the slug.
const URN: &str = "urn:rowgate:problem:";

/// An error as it is told over HTTP.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// A URN for the kind of problem, or `about:blank` where the status says it all.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "number")]
    status: StatusCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem that the status alone names.
    pub fn new(status: StatusCode) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: None,
            hint: None,
            sqlstate: None,
            position: None,
            request_id: None,
            retry_after_s: None,
        }
    }

    /// What is wrong with this request: one line, lower case.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The next step, a full sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The stable word for the kind of problem; it becomes a URN.
    #[must_use]
    pub fn slug(mut self, slug: &str) -> Self {
        self.kind = format!("{URN}{slug}");
        self
    }

    /// The SQLSTATE the wire says it with.
    #[must_use]
    pub fn state(mut self, sqlstate: impl Into<Cow<'static, str>>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }

    /// Where in the caller's text, in characters, 1-based.
    #[must_use]
    pub fn at(mut self, position: Option<u32>) -> Self {
        self.position = position;
        self
    }

    /// With the request's id: for an answer that has begun, where the guard cannot add it.
    #[must_use]
    pub fn identified(mut self, request_id: RequestId) -> Self {
        self.request_id = Some(request_id);
        self
    }

    /// The SQLSTATE, where it has one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// When to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The stable word for the kind of problem; where the status says it all, that.
    pub fn reason(&self) -> &str {
        self.kind.strip_prefix(URN).unwrap_or(self.title)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer itself; the guard adds the request's id.
    pub(super) fn render(self, request_id: RequestId) -> Response {
        let this = self.identified(request_id);
        // Strings and numbers: serialization cannot fail.
        let body = serde_json::to_vec(&this).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = this.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if this.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"rowgate\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(seconds) = this.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// A response without a body that carries the problem for the guard, which knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => refusal.into(),
            Error::Failed(fault) => fault.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason;
        Self {
            detail: Some(refusal.message),
            hint: refusal.hint,
            sqlstate: Some(reason.sqlstate().into()),
            position: refusal.position,
            ..Self::new(refusal_status(reason)).slug(reason.slug())
        }
    }
}

impl From<Fault> for Problem {
    /// The cause goes to the log; the caller is told the general sentence.
    fn from(fault: Fault) -> Self {
        let Fault { kind, cause } = fault;
        tracing::error!(fault = kind.slug(), cause = %format_args!("{cause:#}"), "request failed");
        Self {
            sqlstate: Some(kind.sqlstate().into()),
            ..Self::new(fault_status(kind))
                .slug(kind.slug())
                .detail(kind.message())
                .hint(kind.hint())
        }
    }
}

fn refusal_status(reason: Reason) -> StatusCode {
    match reason {
        Reason::AuthenticationFailed | Reason::TokenExpired => StatusCode::UNAUTHORIZED,
        Reason::NotAuthorized => StatusCode::FORBIDDEN,
        Reason::TooComplex | Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::CastNotAllowed
        | Reason::ColumnUnknown
        | Reason::FeatureNotSupported
        | Reason::FunctionNotAllowed
        | Reason::MultipleStatements
        | Reason::NotARead
        | Reason::ObjectUnknown
        | Reason::OperatorNotAllowed
        | Reason::ParameterNotAllowed
        | Reason::ParameterUnknown
        | Reason::ParsersDisagree
        | Reason::ProtocolViolation
        | Reason::RelationUnknown
        | Reason::SyntaxError
        | Reason::TransactionFailed
        | Reason::UnsupportedSyntax => StatusCode::BAD_REQUEST,
    }
}

fn fault_status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        FaultKind::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        FaultKind::AuditUnavailable
        | FaultKind::PoolExhausted
        | FaultKind::ProviderUnavailable
        | FaultKind::TooManyClients
        | FaultKind::UpstreamLost => StatusCode::SERVICE_UNAVAILABLE,
    }
}
