//! The login's exchange: SCRAM-SHA-256 (RFC 5802, RFC 7677) or, for tokens, a password in clear over TLS.

use crate::error::Refusal;
use crate::identity::{Authenticator, Caller, Challenge, Opening, ScramVerifier};
use crate::session::{Client, Told};
use bytes::BufMut;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use secrecy::SecretString;

const MECHANISM: &str = "SCRAM-SHA-256";

/// How a login failed.
pub(super) enum Failed {
    /// Tell and close.
    Told(Told),
    /// The client left.
    Left,
}

impl From<Told> for Failed {
    fn from(told: Told) -> Self {
        Failed::Told(told)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Told(Told::fatal(&refusal.into()))
    }
}

impl From<std::io::Error> for Failed {
    fn from(_: std::io::Error) -> Self {
        Failed::Left
    }
}

/// Asks for the proof and checks it.
pub(super) async fn authenticate(
    client: &mut Client,
    authenticator: &Authenticator,
    opening: &Opening,
) -> Result<Caller, Failed> {
    // Zero until attempts have failed; bounded by the login's own time limit.
    tokio::time::sleep(authenticator.delay(opening)).await;
    match authenticator.challenge(opening) {
        Challenge::Cleartext => {
            request(client.out_mut(), 3, &[]);
            let body = password_message(client).await?;
            let password = match body.split_last() {
                Some((0, password)) if !password.contains(&0) => std::str::from_utf8(password).ok(),
                _ => None,
            };
            let password = password.ok_or_else(|| Told::violation("invalid password packet"))?;
            let password = SecretString::from(password.to_owned());
            authenticator.prepare_password(opening, &password).await;
            Ok(authenticator.accept_password(opening, &password)?)
        }
        Challenge::Scram(verifier) => {
            scram(client, authenticator, opening, verifier).await?;
            Ok(authenticator.accept_scram(opening)?)
        }
    }
}

async fn scram(
    client: &mut Client,
    authenticator: &Authenticator,
    opening: &Opening,
    verifier: ScramVerifier,
) -> Result<(), Failed> {
    // Never -PLUS: it is not spoken, and announcing it in clear makes libpq refuse.
    request(client.out_mut(), 10, b"SCRAM-SHA-256\0\0");
    let body = password_message(client).await?;
    let first = initial_response(&body)
        .ok_or_else(|| Told::violation("invalid SASLInitialResponse message"))?;
    let ScramVerifier {
        iterations,
        salt,
        stored_key,
        server_key,
    } = verifier;
    let secret = ScramSecret::Verifier {
        salt,
        iterations: usize::try_from(iterations).unwrap_or(usize::MAX),
        stored_key: stored_key.to_vec(),
        server_key: server_key.to_vec(),
    };
    let (answer, exchange) = ScramServerAuth::new()
        .on_client_first_message_with_secret(first, secret)
        .map_err(|_| Told::violation("malformed SCRAM message"))?;
    request(client.out_mut(), 11, answer.as_bytes());
    let body = password_message(client).await?;
    let last = exchange
        .on_client_final_message(&body)
        .map_err(|_| Failed::from(authenticator.failed(opening)))?;
    request(client.out_mut(), 12, last.as_bytes());
    Ok(())
}

/// Mechanism, length and data of a SASLInitialResponse.
fn initial_response(body: &[u8]) -> Option<&[u8]> {
    let rest = body
        .strip_prefix(MECHANISM.as_bytes())?
        .strip_prefix(b"\0")?;
    let (length, data) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    (data.len() == length).then_some(data)
}

/// An Authentication message.
pub(super) fn request(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
    out.put_u8(b'R');
    out.put_u32(u32::try_from(data.len() + 8).unwrap_or(u32::MAX));
    out.put_u32(kind);
    out.put_slice(data);
}

/// Sends what waits and takes the one message a client may send now.
async fn password_message(client: &mut Client) -> Result<Vec<u8>, Failed> {
    client.flush().await?;
    loop {
        match client.frame()? {
            Some((b'p', body)) => return Ok(body),
            Some(_) => return Err(Told::violation("expected a password message").into()),
            None if client.read().await? => {}
            None => return Err(Failed::Left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initial_response_is_read_to_its_last_byte() {
        let good = b"SCRAM-SHA-256\0\0\0\0\x03abc";
        assert_eq!(initial_response(good), Some(&b"abc"[..]));
        for body in [
            &b""[..],
            b"SCRAM-SHA-256",
            b"SCRAM-SHA-256\0",
            b"SCRAM-SHA-256\0\0\0\0\x04abc",
            b"SCRAM-SHA-256\0\0\0\0\x02abc",
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
            b"SCRAM-SHA-256-PLUS\0\0\0\0\x03abc",
            b"PLAIN\0\0\0\0\x03abc",
        ] {
            assert_eq!(initial_response(body), None, "{body:?}");
        }
    }
}
