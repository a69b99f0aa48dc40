//! Reading a request's body: JSON, bounded, nothing unknown in it.

use super::Problem;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

/// Longest part of the reader's words that is told.
const SAYS_CHARS_MAX: usize = 200;

/// The body of a request as `T`.
///
/// # Errors
/// 415 for another media type, 413 beyond `bytes_max`, 400 for what is not JSON, 422 for what is not a `T`.
pub async fn json<T: DeserializeOwned>(request: Request, bytes_max: usize) -> Result<T, Problem> {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .detail("the body has to be JSON")
            .hint("Send it with Content-Type: application/json."));
    }
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .detail("an encoded body is not read")
            .hint("Send it as it is, without Content-Encoding."));
    }
    let bytes = read(&head.headers, body, bytes_max).await?;
    // A list of values by position would be read as an object, too.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY)
            .slug("invalid_body")
            .detail("the body: it has to be an object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let status = if error.is_data() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::BAD_REQUEST
        };
        let says: String = error.to_string().chars().take(SAYS_CHARS_MAX).collect();
        Problem::new(status)
            .slug("invalid_body")
            .detail(format!("the body: {says}"))
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let only = only.to_str().unwrap_or_default();
    let mut parts = only.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let charset = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or_default();
        let utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
        utf8 || !name.eq_ignore_ascii_case("charset")
    };
    essence.eq_ignore_ascii_case("application/json") && parts.all(charset)
}

async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
            .detail(format!("the body is longer than {bytes_max} bytes"))
    };
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    // One byte more than the bound tells "too long" from "broken off".
    let bytes = to_bytes(body, bytes_max.saturating_add(1)).await;
    match bytes {
        Ok(bytes) if bytes.len() <= bytes_max => Ok(bytes.into()),
        Ok(_) => Err(too_large()),
        Err(error) if is_limit(&error) => Err(too_large()),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST).detail("the body broke off")),
    }
}

/// Whether reading stopped at the bound rather than at the client's doing.
fn is_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|cause| cause.to_string().contains("length limit exceeded"))
}
