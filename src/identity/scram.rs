//! SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677; PostgreSQL manual, section 55.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::fmt;
use std::num::NonZeroU32;

/// PostgreSQL's own number of rounds (`scram_iterations`).
pub(super) const ITERATIONS: u32 = 4096;
/// PostgreSQL's own length of a salt, in bytes.
pub(super) const SALT_BYTES: usize = 16;

/// What a server keeps of a password: enough to check it, not enough to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// The salt, as sent to the client.
    pub salt: Vec<u8>,
    /// `H(HMAC(SaltedPassword, "Client Key"))`.
    pub stored_key: [u8; 32],
    /// `HMAC(SaltedPassword, "Server Key")`.
    pub server_key: [u8; 32],
}

/// Keys are secrets: neither shown.
impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl ScramVerifier {
    /// From PostgreSQL's `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` (`pg_authid.rolpassword`).
    ///
    /// # Errors
    /// A sentence that names the part and holds nothing of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text
            .strip_prefix("SCRAM-SHA-256$")
            .ok_or("does not start with SCRAM-SHA-256$")?;
        let (head, keys) = rest.split_once('$').ok_or("has no second $")?;
        let (iterations, salt) = head.split_once(':').ok_or("has no : before the salt")?;
        let (stored, server) = keys.split_once(':').ok_or("has no : between the keys")?;
        let iterations = iterations
            .parse()
            .map_err(|_| "has no number of iterations")?;
        if !(1..=1_000_000).contains(&iterations) {
            return Err("has a number of iterations outside 1 to 1000000");
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| "has a salt that is not base64")?;
        if salt.is_empty() || salt.len() > 64 {
            return Err("has a salt that is not 1 to 64 bytes long");
        }
        let key = |text: &str, what| {
            STANDARD
                .decode(text)
                .ok()
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .ok_or(what)
        };
        Ok(Self {
            iterations,
            salt,
            stored_key: key(stored, "has a stored key that is not 32 bytes of base64")?,
            server_key: key(server, "has a server key that is not 32 bytes of base64")?,
        })
    }

    /// From a password in plain text, prepared as PostgreSQL and libpq do: by SASLprep (RFC 4013) where
    /// it allows the password, else byte for byte.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let prepared = stringprep::saslprep(password).map_or(password.into(), |prepared| prepared);
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            salt,
            prepared.as_bytes(),
            &mut salted,
        );
        let client_key = hmac_sha256(&salted, &[b"Client Key"]);
        let mut stored_key = [0; 32];
        stored_key.copy_from_slice(digest::digest(&digest::SHA256, &client_key).as_ref());
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key,
            server_key: hmac_sha256(&salted, &[b"Server Key"]),
        }
    }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `postgres-protocol` derives the text PostgreSQL stores: an implementation that is not ours.
    #[test]
    fn derive_agrees_with_another_implementation() {
        for password in [
            "demo",
            "pässword",
            "I\u{ad}X",
            "\u{2168}",
            "a\u{a0}b",
            "tab\tinside",
            "",
        ] {
            let parsed = ScramVerifier::parse(&postgres_protocol::password::scram_sha_256(
                password.as_bytes(),
            ))
            .unwrap();
            assert_eq!(parsed.iterations, 4096);
            assert!(
                ScramVerifier::derive(password, &parsed.salt, 4096) == parsed,
                "{password:?}"
            );
            assert!(ScramVerifier::derive("other", &parsed.salt, 4096) != parsed);
        }
    }

    /// RFC 7677, section 3: user, password `pencil`, and the server's signature over the exchange.
    #[test]
    fn derive_agrees_with_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = ScramVerifier::derive("pencil", &salt, 4096);
        let auth_message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac_sha256(&verifier.server_key, &[auth_message.as_bytes()]);
        assert_eq!(
            STANDARD.encode(signature),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn broken_verifiers_are_named_and_not_repeated() {
        let good = postgres_protocol::password::scram_sha_256(b"x");
        let keys = good.rsplit_once('$').unwrap().1;
        for (text, says) in [
            ("md5aaaa".to_owned(), "start"),
            ("SCRAM-SHA-256$4096".to_owned(), "second $"),
            (format!("SCRAM-SHA-256$4096${keys}"), "before the salt"),
            (
                format!("SCRAM-SHA-256$many:AAAA${keys}"),
                "number of iterations",
            ),
            (format!("SCRAM-SHA-256$0:AAAA${keys}"), "outside"),
            (format!("SCRAM-SHA-256$4294967295:AAAA${keys}"), "outside"),
            (format!("SCRAM-SHA-256$4096:${keys}"), "1 to 64"),
            (format!("SCRAM-SHA-256$4096:****${keys}"), "not base64"),
            ("SCRAM-SHA-256$4096:AAAA$AAAA:AAAA".to_owned(), "stored key"),
        ] {
            let error = ScramVerifier::parse(&text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let verifier = ScramVerifier::derive("secret", b"salt", 1);
        assert_eq!(
            format!("{verifier:?}"),
            "ScramVerifier { iterations: 1, .. }"
        );
    }
}
