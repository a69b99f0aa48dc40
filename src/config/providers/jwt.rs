//! `kind = "jwt"`: which claims of the token that proved the session count for what.

use crate::config::check::{Check, join};
use crate::config::{JwtClaims, ProviderKind, raw};
use crate::identity::ClaimPath;
use toml::Table;

/// Most paths for one thing, and most attributes.
const PATHS_MAX: usize = 100;

pub(super) fn provider(
    check: &mut Check,
    path: &str,
    table: Table,
    tokens: bool,
) -> Option<(String, ProviderKind)> {
    let raw: raw::JwtProvider = check.section(path, table);
    if !tokens {
        check.problem(
            path,
            "needs a [tokens] section that is right",
            "Say there which tokens are accepted; only their claims count.",
        );
    }
    let mut attributes = std::collections::BTreeMap::new();
    for (name, claim) in raw.attributes.unwrap_or_default() {
        let key = join(&join(path, "attributes"), &name);
        if matches!(name.as_str(), "email" | "groups") {
            let hint = "Write email = \"...\" or groups = \"...\" in the provider itself.";
            check.problem(key, "has a key of its own", hint);
        } else if let Some(claim) = claim_path(check, &key, &claim) {
            attributes.insert(name, claim);
        }
    }
    if attributes.len() > PATHS_MAX {
        check.problem(join(path, "attributes"), "are more than 100", "");
    }
    let email = raw
        .email
        .and_then(|email| claim_path(check, &join(path, "email"), &email));
    let verified = raw
        .email_verified
        .unwrap_or_else(|| "email_verified".to_owned());
    let verified = claim_path(check, &join(path, "email_verified"), &verified);
    let claims = JwtClaims {
        roles: paths(check, path, "roles", raw.roles),
        permissions: paths(check, path, "permissions", raw.permissions),
        groups: paths(check, path, "groups", raw.groups),
        email_verified: verified.filter(|_| raw.require_email_verified.unwrap_or(true)),
        email,
        attributes,
    };
    let asks_nothing = claims.roles.is_empty()
        && claims.permissions.is_empty()
        && claims.groups.is_empty()
        && claims.email.is_none()
        && claims.attributes.is_empty();
    if asks_nothing && check.problems.is_empty() {
        check.problem(
            path,
            "reads no claim",
            "Name one, such as roles = \"realm_access.roles\" or permissions = \"scope\".",
        );
    }
    let name = raw.name.unwrap_or_else(|| "jwt".to_owned());
    Some((name, ProviderKind::Jwt(claims)))
}

fn paths(check: &mut Check, path: &str, key: &str, raw: Option<raw::Paths>) -> Vec<ClaimPath> {
    let texts = match raw {
        None => Vec::new(),
        Some(raw::Paths::One(text)) => vec![text],
        Some(raw::Paths::Several(texts)) => texts,
    };
    let key = join(path, key);
    if texts.len() > PATHS_MAX {
        check.problem(key, "are more than 100", "");
        return Vec::new();
    }
    texts
        .iter()
        .filter_map(|text| claim_path(check, &key, text))
        .collect()
}

/// A path into the claims.
pub(in crate::config) fn claim_path(check: &mut Check, key: &str, text: &str) -> Option<ClaimPath> {
    ClaimPath::parse(text)
        .map_err(|error| {
            check.problem(
                key,
                error,
                "Write names with dots (realm_access.roles), one namespaced name (https://example.com/roles) \
                 or a JSON pointer (/realm_access/roles).",
            );
        })
        .ok()
}
