//! Logins and the statement token: `[logins]`, `[statement_token]`.

use super::check::{Check, join};
use super::{JwksSettings, raw, tokens};
use crate::identity::{
    ApiKey, IdentitySettings, Login, Proof, ScramVerifier, StatementToken, valid_name,
};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use toml::Table;

pub(super) fn identity(
    check: &mut Check,
    top: &mut Table,
) -> (IdentitySettings, Option<JwksSettings>) {
    let (tokens, token_requires_tls, jwks) = tokens::tokens(check, top);
    let mut logins = BTreeMap::new();
    let mut api_keys: BTreeMap<String, ApiKey> = BTreeMap::new();
    let mut section = check.table(top, "", "logins").unwrap_or_default();
    let names: Vec<String> = section.keys().cloned().collect();
    for name in names {
        let path = format!("logins.{name}");
        if !valid_name(&name) {
            check.problem(
                format!("logins.{name:?}"),
                "is not a login name",
                "Use 1 to 256 bytes without control or invisible characters.",
            );
        }
        let Some(mut table) = check.table(&mut section, "logins", &name) else {
            continue;
        };
        if let Some(key) = api_key(check, &path, &mut table) {
            if api_keys.values().any(|known| *known == key) {
                check.problem(
                    join(&path, "api_key"),
                    "is another login's too",
                    "Give each login a key of its own.",
                );
            }
            api_keys.insert(name.clone(), key);
        }
        if let Some(login) = login(check, &path, &name, table, tokens.is_some()) {
            logins.insert(name, login);
        }
    }
    for name in logins.keys() {
        let speaks = |head: &str| {
            logins
                .get(head)
                .is_some_and(|l: &Login| l.may_delegate || matches!(l.proof, Proof::Token))
        };
        if let Some((head, _)) = name.split_once('.')
            && speaks(head)
        {
            let says = format!("could also mean that login \"{head}\" speaks for somebody");
            check.problem(format!("logins.{name}"), says, "Rename one of the two.");
        }
    }
    if logins.is_empty() && check.problems.is_empty() {
        check.problem(
            "logins",
            "has no login, so nobody could connect",
            "Add [logins.bob] with a password.",
        );
    }
    let statement_token = statement_token(check, top, &logins, tokens.is_some());
    let settings = IdentitySettings {
        logins,
        tokens,
        token_requires_tls,
        statement_token,
        api_keys,
    };
    (settings, jwks)
}

/// The key a service login may show over HTTP, beside its way to prove itself on the wire.
fn api_key(check: &mut Check, path: &str, table: &mut Table) -> Option<ApiKey> {
    let key = join(path, "api_key");
    let value = match table.remove("api_key")? {
        toml::Value::String(value) => SecretString::from(value),
        _ => {
            check.problem(key, "has to be a text", "Give it as env:NAME or file:PATH.");
            return None;
        }
    };
    let value = check.secret(&key, Some(value))?;
    let hint = "Make one with `openssl rand -hex 32`.";
    ApiKey::new(&value)
        .map_err(|error| check.problem(key, error, hint))
        .ok()
}

fn login(check: &mut Check, path: &str, name: &str, table: Table, tokens: bool) -> Option<Login> {
    let had_proof = ["password", "scram"]
        .iter()
        .any(|key| table.contains_key(*key));
    let raw: raw::Login = check.section(path, table);
    let (user_id, may_delegate) = (raw.user_id.clone(), raw.may_delegate.unwrap_or(false));
    let superuser = raw.superuser.unwrap_or(false);
    let proof = proof(check, path, raw);
    if proof.is_none() && !had_proof {
        check.problem(
            path,
            "has no usable way to prove itself",
            "Give it password, scram, or token = true; an api_key is for HTTP, beside one of them.",
        );
    }
    let is_token = matches!(proof, Some(Proof::Token));
    if is_token && !tokens {
        check.problem(
            join(path, "token"),
            "needs a [tokens] section that is right",
            "Say there which tokens are accepted.",
        );
    }
    if is_token && (may_delegate || user_id.is_some()) {
        check.problem(
            path,
            "shows tokens, so the token alone says for whom",
            "Leave may_delegate and user_id out.",
        );
    }
    if let Some(user_id) = &user_id
        && !valid_name(user_id)
    {
        check.problem(
            join(path, "user_id"),
            "is not a user id",
            "Use 1 to 256 bytes without control or invisible characters.",
        );
    }
    let own = (!may_delegate && !is_token).then(|| name.to_owned());
    Some(Login {
        proof: proof?,
        user_id: user_id.or(own),
        may_delegate,
        superuser,
    })
}

/// The one way a login proves itself, every problem with it reported.
fn proof(check: &mut Check, path: &str, raw: raw::Login) -> Option<Proof> {
    match (raw.password, raw.scram, raw.token.unwrap_or(false)) {
        (Some(password), None, false) => check
            .secret(&join(path, "password"), Some(password))
            .map(Proof::Password),
        (None, Some(scram), false) => {
            let key = join(path, "scram");
            let scram = check.secret(&key, Some(scram))?;
            ScramVerifier::parse(scram.expose_secret())
                .map_err(|error| check.problem(key, error, "Copy it from pg_authid.rolpassword."))
                .ok()
                .map(Proof::Scram)
        }
        (None, None, true) => Some(Proof::Token),
        (None, None, false) => None,
        _ => {
            let hint = "Keep one of password, scram and token.";
            check.problem(path, "has more than one way to prove itself", hint);
            None
        }
    }
}

fn statement_token(
    check: &mut Check,
    top: &mut Table,
    logins: &BTreeMap<String, Login>,
    tokens: bool,
) -> StatementToken {
    let table = check.table(top, "", "statement_token").unwrap_or_default();
    let raw: raw::StatementToken = check.section("statement_token", table);
    let enabled = raw.enabled.unwrap_or(false);
    if enabled && !tokens {
        check.problem(
            "statement_token.enabled",
            "needs a [tokens] section that is right",
            "Say there which tokens are accepted.",
        );
    }
    let allowed = raw.logins.unwrap_or_default();
    for name in &allowed {
        if !logins.contains_key(name) {
            check.problem(
                "statement_token.logins",
                format!("\"{name}\" is not a login"),
                "Name logins of [logins].",
            );
        }
    }
    StatementToken {
        enabled,
        logins: allowed,
    }
}
