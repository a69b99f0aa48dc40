//! Signed tokens (JWT, RFC 7519; JWS, RFC 7515; best practice, RFC 8725).
//!
//! Each key is bound to one algorithm when it is configured, so a token cannot choose how its key is
//! used: `alg: none` and an HMAC made with a public key have nothing to verify against.

use super::claim::ClaimPath;
use super::jwks::Published;
use super::settings::valid_name;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Shortest HMAC secret, in bytes: the length of the hash (RFC 7518, section 3.2).
const HMAC_BYTES_MIN: usize = 32;

/// The algorithms there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

impl TokenAlgorithm {
    /// By its name in RFC 7518 or RFC 8037.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    fn jws(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

/// One verification key and the one algorithm it is for.
#[derive(Clone)]
pub struct TokenKey {
    id: Option<String>,
    algorithm: TokenAlgorithm,
    key: DecodingKey,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({:?}, {:?})", self.id, self.algorithm)
    }
}

impl TokenKey {
    /// A key from its secret (HS256) or its public key as PEM (the others).
    ///
    /// # Errors
    /// A sentence that holds nothing of the material.
    pub fn new(
        id: Option<String>,
        algorithm: TokenAlgorithm,
        material: &SecretString,
    ) -> Result<Self, &'static str> {
        let text = material.expose_secret();
        if text.contains("PRIVATE KEY") {
            return Err("is a private key; only the public one belongs here");
        }
        let bytes = text.as_bytes();
        let key = match algorithm {
            TokenAlgorithm::Hs256 if text.contains("-----BEGIN") => {
                return Err(
                    "is a PEM key, but HS256 takes a shared secret: a public key is no secret",
                );
            }
            TokenAlgorithm::Hs256 if bytes.len() < HMAC_BYTES_MIN => {
                return Err("is shorter than 32 bytes, so it could be guessed");
            }
            TokenAlgorithm::Hs256 => Ok(DecodingKey::from_secret(bytes)),
            TokenAlgorithm::Es256 => DecodingKey::from_ec_pem(bytes),
            TokenAlgorithm::EdDsa => DecodingKey::from_ed_pem(bytes),
            TokenAlgorithm::Rs256 => DecodingKey::from_rsa_pem(bytes),
        };
        let key = key.map_err(|_| "is not a public key in PEM of this algorithm's kind")?;
        Ok(Self { id, algorithm, key })
    }

    /// An RSA key for RS256, from its parts as base64url.
    pub(super) fn of_rsa(
        id: Option<String>,
        modulus: &str,
        exponent: &str,
    ) -> Result<Self, &'static str> {
        let key = DecodingKey::from_rsa_components(modulus, exponent);
        Self::of(id, TokenAlgorithm::Rs256, key)
    }

    /// A point on P-256 for ES256, from its parts as base64url.
    pub(super) fn of_ec(id: Option<String>, x: &str, y: &str) -> Result<Self, &'static str> {
        Self::of(
            id,
            TokenAlgorithm::Es256,
            DecodingKey::from_ec_components(x, y),
        )
    }

    /// An Ed25519 key for EdDSA, as base64url.
    pub(super) fn of_ed(id: Option<String>, x: &str) -> Result<Self, &'static str> {
        Self::of(
            id,
            TokenAlgorithm::EdDsa,
            DecodingKey::from_ed_components(x),
        )
    }

    fn of(
        id: Option<String>,
        algorithm: TokenAlgorithm,
        key: jsonwebtoken::errors::Result<DecodingKey>,
    ) -> Result<Self, &'static str> {
        let key = key.map_err(|_| "is not a key of its kind")?;
        Ok(Self { id, algorithm, key })
    }

    /// The key's `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// Which signed tokens are accepted.
#[derive(Debug, Clone)]
pub struct TokenVerifier {
    /// The configured keys; a token that names one (`kid`) is checked with that one only.
    pub keys: Vec<TokenKey>,
    /// Keys that somebody publishes; of two with the same id the configured one counts.
    pub published: Published,
    /// Which claim is the user id: `sub`, unless told otherwise.
    pub user_claim: ClaimPath,
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must contain this.
    pub audience: String,
    /// Clock skew allowed.
    pub leeway: Duration,
    /// Longest life a token may have, from `iat` (else from now) to `exp`.
    pub lifetime_max: Duration,
}

/// What an accepted token says.
#[derive(Debug, PartialEq)]
pub(super) struct Token {
    pub(super) subject: String,
    pub(super) claims: BTreeMap<String, Value>,
    /// When it has expired, skew allowed for.
    pub(super) expires: SystemTime,
}

/// Why a token was not accepted: for the log, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token has a `crit` header this gate does not know")]
    Critical,
    #[error("the token has expired")]
    Expired,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token names a key that is not configured, or none where there are several")]
    Key,
    #[error("the token lives longer than tokens.lifetime_s_max allows")]
    Lifetime,
    #[error("the token is not a JWT, or a required claim is missing or of the wrong type")]
    Malformed,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token's signature does not fit")]
    Signature,
    #[error("the user id is an e-mail address, and the token does not say that it is verified")]
    Unverified,
    #[error("the token's claim for the user id is missing, not a string, or not a name")]
    Subject,
}

impl TokenVerifier {
    /// Checks signature, audience, issuer, times and subject.
    pub(super) fn verify(&self, token: &str) -> Result<Token, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|error| reason(&error))?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let published = self.published.keys();
        let key = self.key(published.as_deref(), header.kid.as_deref(), header.alg)?;
        let mut validation = Validation::new(key.algorithm.jws());
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        if self.user_claim.is("sub") {
            validation.required_spec_claims.insert("sub".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let claims = decode::<BTreeMap<String, Value>>(token, &key.key, &validation)
            .map_err(|error| reason(&error))?
            .claims;
        let expires = self.check_life(&claims)?;
        // Some issuers let users write any address into their profile: unchecked it would make them anybody.
        if self.user_claim.ends_with("email")
            && claims.get("email_verified") != Some(&Value::Bool(true))
        {
            return Err(TokenError::Unverified);
        }
        match self.user_claim.find(&claims) {
            Ok(Some(Value::String(subject))) if valid_name(subject) => Ok(Token {
                subject: subject.clone(),
                claims,
                expires,
            }),
            _ => Err(TokenError::Subject),
        }
    }

    /// Looks for new published keys when the token names one that is not known yet. Nothing in the token
    /// says where.
    pub(super) async fn prepare(&self, token: &str) {
        let Some(published) = self.published.keys() else {
            return;
        };
        if token.len() > TOKEN_BYTES_MAX {
            return;
        }
        let Ok(header) = decode_header(token) else {
            return;
        };
        let key = self.key(Some(&published), header.kid.as_deref(), header.alg);
        let unknown = match key {
            Ok(_) => false,
            Err(TokenError::Key) => true,
            // Without an id the algorithm has to say which; a new key may be of another kind.
            Err(_) => header.kid.is_none(),
        };
        if unknown {
            self.published.renew().await;
        }
    }

    /// The one key a header points to. A header without `kid` is served only where the algorithm
    /// leaves one choice; then the key's own `kid` need not be named.
    fn key<'a>(
        &'a self,
        published: Option<&'a [TokenKey]>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&'a TokenKey, TokenError> {
        let all = || self.keys.iter().chain(published.unwrap_or_default());
        if let Some(id) = id {
            let key = all().find(|key| key.id.as_deref() == Some(id));
            let key = match (key, self.keys.as_slice()) {
                (Some(key), _) => key,
                // A single key without an id: the issuer's naming does not matter.
                (None, [only]) if only.id.is_none() && published.is_none() => only,
                (None, _) => return Err(TokenError::Key),
            };
            return if key.algorithm.jws() == algorithm {
                Ok(key)
            } else {
                Err(TokenError::Algorithm)
            };
        }
        let mut fitting = all().filter(|key| key.algorithm.jws() == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(TokenError::Algorithm),
            (Some(_), Some(_)) => Err(TokenError::Key),
        }
    }

    /// `iat` not in the future and `exp` not too far: a stolen token must not serve for years. Returns when
    /// it has expired, skew allowed for.
    fn check_life(&self, claims: &BTreeMap<String, Value>) -> Result<SystemTime, TokenError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |now| now.as_secs_f64());
        let leeway = self.leeway.as_secs_f64();
        let seconds = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(TokenError::Malformed),
        };
        let issued = seconds("iat")?;
        let expires = seconds("exp")?.ok_or(TokenError::Malformed)?;
        if issued.is_some_and(|issued| issued > now + leeway) {
            return Err(TokenError::NotYet);
        }
        // "On or after" (RFC 7519, section 4.1.4); the library counts whole seconds.
        if expires + leeway <= now {
            return Err(TokenError::Expired);
        }
        // INVARIANT: a NaN cannot come from JSON, so the comparison is total.
        if expires - issued.unwrap_or(now) > self.lifetime_max.as_secs_f64() + leeway {
            return Err(TokenError::Lifetime);
        }
        Duration::try_from_secs_f64(expires + leeway)
            .ok()
            .and_then(|since| UNIX_EPOCH.checked_add(since))
            .ok_or(TokenError::Malformed)
    }
}

fn reason(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidSignature => TokenError::Signature,
        // The set of kinds is open (non-exhaustive) in the library.
        _ => TokenError::Malformed,
    }
}
