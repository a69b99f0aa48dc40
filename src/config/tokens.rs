//! Which signed tokens are accepted: `[tokens]`.

use super::check::{Check, join};
use super::providers::claim_path;
use super::{JwksSettings, JwksSource, raw};
use crate::identity::{Published, TokenAlgorithm, TokenKey, TokenVerifier};
use std::time::Duration;
use toml::Table;

pub(super) fn tokens(
    check: &mut Check,
    top: &mut Table,
) -> (Option<TokenVerifier>, bool, Option<JwksSettings>) {
    let Some(mut table) = check.table(top, "", "tokens") else {
        return (None, true, None);
    };
    let entries = check.tables(&mut table, "tokens", "keys");
    let raw: raw::Tokens = check.section("tokens", table);
    let jwks = jwks(check, &raw);
    let audience = check.required(
        "tokens.audience",
        raw.audience.filter(|audience| !audience.is_empty()),
        "Name this gate, such as \"rowgate\", so that a token made for another service is refused.",
    );
    let leeway = check.within("tokens.leeway_s", raw.leeway_s, 30, 0, 300);
    let lifetime = check.within(
        "tokens.lifetime_s_max",
        raw.lifetime_s_max,
        3_600,
        1,
        31_536_000,
    );
    let keys = keys(check, entries);
    if keys.is_empty() && jwks.is_none() {
        check.problem(
            "tokens.keys",
            "has no usable key",
            "Add [[tokens.keys]] with algorithm and secret or public_key, or jwks_url, or jwks_file.",
        );
    }
    let user_claim = raw.user_claim.as_deref().unwrap_or("sub");
    let user_claim = claim_path(check, "tokens.user_claim", user_claim);
    let verifier = audience
        .filter(|_| !keys.is_empty() || jwks.is_some())
        .zip(user_claim)
        .map(|(audience, user_claim)| TokenVerifier {
            keys,
            published: Published::default(),
            user_claim,
            issuer: raw.issuer,
            audience,
            leeway: Duration::from_secs(leeway),
            lifetime_max: Duration::from_secs(lifetime),
        });
    (verifier, raw.require_tls.unwrap_or(true), jwks)
}

fn keys(check: &mut Check, entries: Vec<Table>) -> Vec<TokenKey> {
    let mut keys: Vec<TokenKey> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("tokens.keys[{index}]");
        if let Some(key) = token_key(check, &path, entry) {
            if keys.iter().any(|known| known.id() == key.id()) {
                check.problem(
                    join(&path, "id"),
                    "is another key's too",
                    "Give each key its own id, the token's `kid`.",
                );
            }
            keys.push(key);
        }
    }
    keys
}

/// Keys that somebody publishes, if the configuration says where.
fn jwks(check: &mut Check, raw: &raw::Tokens) -> Option<JwksSettings> {
    let source = match (&raw.jwks_url, &raw.jwks_file) {
        (None, None) => {
            if raw.jwks_ca.is_some() {
                let hint = "It is for jwks_url, which is missing.";
                check.problem("tokens.jwks_ca", "has nothing to do", hint);
            }
            return None;
        }
        (Some(_), Some(_)) => {
            let hint = "Keep one of jwks_url and jwks_file.";
            check.problem("tokens.jwks_url", "and jwks_file are both there", hint);
            return None;
        }
        (None, Some(file)) => JwksSource::File(check.file("tokens.jwks_file", file)),
        (Some(url), None) => JwksSource::Url {
            url: check.url("tokens.jwks_url", url)?,
            ca: raw
                .jwks_ca
                .as_ref()
                .map(|ca| check.file("tokens.jwks_ca", ca)),
        },
    };
    if raw.issuer.is_none() {
        check.warnings.push(
            "tokens.issuer is not set: whatever the publisher of the keys signs for this audience is accepted"
                .to_owned(),
        );
    }
    // A file costs nothing to read again.
    let refresh = match source {
        JwksSource::File(_) => 5,
        JwksSource::Url { .. } => 300,
    };
    let refresh = check.within(
        "tokens.jwks_refresh_s",
        raw.jwks_refresh_s,
        refresh,
        1,
        86_400,
    );
    let retry = check.within("tokens.jwks_retry_s", raw.jwks_retry_s, 10, 1, 3_600);
    let stale = check.within(
        "tokens.jwks_stale_s_max",
        raw.jwks_stale_s_max,
        3_600,
        10,
        604_800,
    );
    let timeout = check.within(
        "tokens.jwks_timeout_ms",
        raw.jwks_timeout_ms,
        3_000,
        10,
        10_000,
    );
    Some(JwksSettings {
        source,
        refresh: Duration::from_secs(refresh),
        retry_min: Duration::from_secs(retry),
        stale_max: Duration::from_secs(stale),
        timeout: Duration::from_millis(timeout),
    })
}

fn token_key(check: &mut Check, path: &str, table: Table) -> Option<TokenKey> {
    let raw: raw::TokenKey = check.section(path, table);
    let key = join(path, "algorithm");
    let hint = "Choose HS256, RS256, ES256 or EdDSA; each key serves exactly one.";
    let name = check.required(key.clone(), raw.algorithm, hint)?;
    let Some(algorithm) = TokenAlgorithm::parse(&name) else {
        check.problem(
            key,
            format!("\"{name}\" is not an algorithm this gate accepts"),
            hint,
        );
        return None;
    };
    let (field, material, other) = match algorithm {
        TokenAlgorithm::Hs256 => ("secret", raw.secret, raw.public_key),
        _ => ("public_key", raw.public_key, raw.secret),
    };
    let field = join(path, field);
    if other.is_some() {
        check.problem(path, format!("takes only {field} with {name}"), hint);
    }
    let material = check.required(field.clone(), material, "Give it as env:NAME or file:PATH.")?;
    let material = check.secret(&field, Some(material))?;
    TokenKey::new(raw.id, algorithm, &material)
        .map_err(|error| {
            check.problem(
                field,
                error,
                "HS256 takes a long random secret, the others a public key as PEM.",
            )
        })
        .ok()
}
