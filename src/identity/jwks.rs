//! Published keys: a JSON Web Key Set (RFC 7517) as text, read into [`TokenKey`]s; and the holder of those in
//! force ([`KeySource`]), which somebody else fills: nothing is fetched here.
//!
//! Each key serves the one algorithm it was published for, as configured keys do. A set that cannot be
//! meant (private or shared keys in public, a key id given twice) is refused as a whole; a key for another
//! purpose or of another kind is passed over.

use super::token::{TokenAlgorithm, TokenKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Largest set, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a set.
const KEYS_MAX: usize = 100;
/// Longest key id, in bytes.
const ID_BYTES_MAX: usize = 512;
/// Sizes of an RSA modulus that serve, in bytes: 2048 bits or more (RFC 7518, section 3.3), and not so many
/// that a check takes long.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys that somebody else publishes and changes.
pub trait KeySource: Send + Sync {
    /// The keys in force; empty when none could be had, or the last ones are too old.
    fn keys(&self) -> Arc<[TokenKey]>;

    /// Looks whether there are new ones, unless that was done a moment ago. Bounded in time.
    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The published keys of a [`super::TokenVerifier`]; by default there are none.
#[derive(Clone, Default)]
pub struct Published(Option<Arc<dyn KeySource>>);

impl Published {
    /// Keys of this source.
    pub fn by(source: Arc<dyn KeySource>) -> Self {
        Self(Some(source))
    }

    pub(super) fn keys(&self) -> Option<Arc<[TokenKey]>> {
        self.0.as_ref().map(|source| source.keys())
    }

    pub(super) async fn renew(&self) {
        if let Some(source) = &self.0 {
            source.renew().await;
        }
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Published(..)"
        } else {
            "Published(none)"
        })
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    // Only whether they are there: a private key must not be published.
    d: Option<Value>,
    k: Option<Value>,
}

/// The keys of a set that can check a signature of this gate's algorithms.
///
/// # Errors
/// What is wrong with it, with nothing of its content but a key's number.
pub fn parse_jwks(text: &[u8]) -> Result<Vec<TokenKey>, String> {
    if text.len() > JWKS_BYTES_MAX {
        return Err("the key set is larger than 256 kB".to_owned());
    }
    let set: Set = serde_json::from_slice(text)
        .map_err(|_| "the key set is not a JSON object with a list `keys`".to_owned())?;
    if set.keys.len() > KEYS_MAX {
        return Err("the key set has more than 100 keys".to_owned());
    }
    let mut keys = Vec::new();
    let mut ids = BTreeSet::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        let number = index + 1;
        let jwk: Jwk = serde_json::from_value(value)
            .map_err(|_| format!("key {number} is not a JSON Web Key"))?;
        if jwk.d.is_some() {
            return Err(format!(
                "key {number} is a private key; it is known to everybody now"
            ));
        }
        if jwk.kty == "oct" || jwk.k.is_some() {
            return Err(format!(
                "key {number} is a shared secret, which cannot be published"
            ));
        }
        let Some(algorithm) = algorithm(&jwk) else {
            continue;
        };
        if jwk.kid.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
            return Err(format!("key {number} has an id longer than 512 bytes"));
        }
        // Two keys without an id are told apart by their algorithm, or not at all: see `TokenVerifier`.
        if let Some(id) = &jwk.kid
            && !ids.insert(id.clone())
        {
            return Err(format!("key {number} has the id of another key"));
        }
        keys.push(key(jwk, algorithm).map_err(|says| format!("key {number} {says}"))?);
    }
    if keys.is_empty() {
        return Err("the key set has no key to check a signature with".to_owned());
    }
    Ok(keys)
}

/// The one algorithm a key is for; `None` where it is not for any of ours.
fn algorithm(jwk: &Jwk) -> Option<TokenAlgorithm> {
    if jwk
        .purpose
        .as_deref()
        .is_some_and(|purpose| purpose != "sig")
    {
        return None;
    }
    if jwk
        .key_ops
        .as_ref()
        .is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return None;
    }
    let of_kind = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => TokenAlgorithm::Rs256,
        ("EC", Some("P-256")) => TokenAlgorithm::Es256,
        ("OKP", Some("Ed25519")) => TokenAlgorithm::EdDsa,
        _ => return None,
    };
    match jwk.alg.as_deref() {
        None => Some(of_kind),
        // RFC 9864 names the curve instead of the family.
        Some("Ed25519") => (of_kind == TokenAlgorithm::EdDsa).then_some(of_kind),
        Some(name) => TokenAlgorithm::parse(name).filter(|named| *named == of_kind),
    }
}

fn key(jwk: Jwk, algorithm: TokenAlgorithm) -> Result<TokenKey, &'static str> {
    let part = |part: Option<String>| part.ok_or("lacks a part of a key of its kind");
    match algorithm {
        TokenAlgorithm::Rs256 => {
            let (modulus, exponent) = (part(jwk.n)?, part(jwk.e)?);
            let bytes = decoded(&modulus)?;
            let significant = bytes.len() - bytes.iter().take_while(|byte| **byte == 0).count();
            if !RSA_BYTES.contains(&significant) {
                return Err("is an RSA key of less than 2048 or more than 8192 bits");
            }
            let bytes = decoded(&exponent)?;
            // 3 to 2^32, and odd: 1 would make every text its own signature.
            let odd = bytes.last().is_some_and(|last| last % 2 == 1);
            if bytes.len() > 4
                || !odd
                || bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() == 1
            {
                return Err("is an RSA key with an exponent that is not safe");
            }
            TokenKey::of_rsa(jwk.kid, &modulus, &exponent)
        }
        TokenAlgorithm::Es256 => {
            let (x, y) = (part(jwk.x)?, part(jwk.y)?);
            if decoded(&x)?.len() != 32 || decoded(&y)?.len() != 32 {
                return Err("is not a point of P-256");
            }
            TokenKey::of_ec(jwk.kid, &x, &y)
        }
        TokenAlgorithm::EdDsa => {
            let x = part(jwk.x)?;
            if decoded(&x)?.len() != 32 {
                return Err("is not an Ed25519 key");
            }
            TokenKey::of_ed(jwk.kid, &x)
        }
        TokenAlgorithm::Hs256 => Err("is a shared secret, which cannot be published"),
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "has a part that is not base64url")
}
