//! Asking a service over HTTP, the same way whichever provider asks: to the configured address and nowhere else, within
//! bounds, and with words about what failed that hold neither the key nor whom the question was about.

use super::ProviderError;
use crate::config::UpstreamTls;
use crate::control::{causes, client_tls, trusts_nobody};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{ClientBuilder, Response, redirect};
use secrecy::{ExposeSecret, SecretString};

/// A client for what begins with `base`, showing the bearer key if there is one.
///
/// # Errors
/// Certificates that cannot be read, or a key that cannot stand in a header.
pub(super) fn client(
    base: &str,
    key: Option<&SecretString>,
    tls: &UpstreamTls,
) -> anyhow::Result<ClientBuilder> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
            .map_err(|_| anyhow::anyhow!("the key cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    // The library wants one even where it will not use it.
    let tls = match client_tls(tls)? {
        Some(tls) => tls,
        None => trusts_nobody()?,
    };
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .https_only(base.starts_with("https:"))
        // A redirect could lead, with the key, into the network the gate stands in.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("rowgate/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers))
}

/// What is said of a client that the library does not make.
pub(super) fn unmade(_: reqwest::Error) -> anyhow::Error {
    anyhow::anyhow!("the HTTP client cannot be made")
}

/// The body, if it has no more than `bytes_max` bytes; otherwise `oversize`.
pub(super) async fn body(
    response: &mut Response,
    bytes_max: usize,
    oversize: &'static str,
) -> Result<Vec<u8>, ProviderError> {
    let mut bytes = Vec::new();
    if response.content_length().unwrap_or(0) > bytes_max as u64 {
        return Err(ProviderError::Oversize(oversize));
    }
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if bytes.len() + piece.len() > bytes_max {
            return Err(ProviderError::Oversize(oversize));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What is said of a status that is no answer.
pub(super) fn not_answered(who: &str, response: &Response) -> ProviderError {
    let status = response.status();
    let redirected = if status.is_redirection() {
        "; redirects are not followed"
    } else {
        ""
    };
    ProviderError::Unavailable(format!("{who} answered {}{redirected}", status.as_u16()))
}

/// Every cause, without the address, which may name the user. The key is in none of them.
pub(super) fn failed(error: reqwest::Error) -> ProviderError {
    if error.is_timeout() {
        return ProviderError::Timeout;
    }
    ProviderError::Unavailable(causes(&error.without_url()))
}
