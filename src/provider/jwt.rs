//! The `jwt` provider: roles, permissions, groups, e-mail and attributes from the claims of the token that
//! proved the session. It asks nobody; a session without a token gets nothing from it.
//!
//! Only `crate::identity` makes a caller with claims, after it has checked the token; that they count no
//! longer than the token does is the gateway's business.

use super::answer::{ANSWER_ITEMS_MAX, ITEM_BYTES_MAX};
use super::{Answer, Asking, Provider, ProviderError};
use crate::config::JwtClaims;
use crate::identity::{Caller, ClaimPath};
use serde_json::Value;
use std::collections::BTreeMap;

type Claims = BTreeMap<String, Value>;

/// Reads claims.
pub struct JwtProvider {
    name: String,
    claims: JwtClaims,
}

impl JwtProvider {
    /// A provider that reads these claims.
    pub fn new(name: &str, claims: JwtClaims) -> Self {
        Self {
            name: name.to_owned(),
            claims,
        }
    }

    fn answer(&self, claims: &Claims) -> Result<Answer, ProviderError> {
        let mut answer = Answer::default();
        for path in &self.claims.roles {
            answer.roles.extend(texts(path, claims, Single::Whole)?);
        }
        for path in &self.claims.permissions {
            let permissions = texts(path, claims, Single::Words)?;
            answer.permissions.extend(permissions);
        }
        for (name, path) in &self.claims.attributes {
            let values = scalars(path, claims)?;
            if !values.is_empty() {
                answer.attributes.insert(name.clone(), values);
            }
        }
        let mut groups = Vec::new();
        for path in &self.claims.groups {
            groups.extend(texts(path, claims, Single::Whole)?);
        }
        groups.sort_unstable();
        groups.dedup();
        if !groups.is_empty() {
            answer.attributes.insert("groups".to_owned(), groups);
        }
        if let Some(email) = self.email(claims)? {
            answer.attributes.insert("email".to_owned(), vec![email]);
        }
        Ok(answer)
    }

    /// The address, where it counts: some issuers let users write any address into their profile and say
    /// only beside it that nobody has checked it.
    fn email(&self, claims: &Claims) -> Result<Option<String>, ProviderError> {
        let Some(path) = &self.claims.email else {
            return Ok(None);
        };
        let email = match found(path, claims)? {
            None => return Ok(None),
            Some(Value::String(email)) => email.clone(),
            Some(_) => return Err(garbage(path, "is not a text")),
        };
        let verified = match &self.claims.email_verified {
            None => true,
            Some(path) => match found(path, claims)? {
                None => false,
                Some(Value::Bool(verified)) => *verified,
                // Some issuers write it as a text.
                Some(Value::String(text)) if text == "true" => true,
                Some(Value::String(text)) if text == "false" => false,
                Some(_) => return Err(garbage(path, "is neither true nor false")),
            },
        };
        Ok(verified.then_some(email))
    }
}

impl Provider for JwtProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        Box::pin(async move { self.answer(caller.claims()) })
    }

    /// The claims are part of the caller's key, and nothing else decides.
    fn generation(&self) -> Option<u64> {
        Some(0)
    }
}

/// What a text that stands where a list may stand means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Single {
    /// One item: role names hold spaces.
    Whole,
    /// Items with spaces between them, as in `scope` (RFC 6749, section 3.3).
    Words,
}

fn texts(path: &ClaimPath, claims: &Claims, single: Single) -> Result<Vec<String>, ProviderError> {
    match found(path, claims)? {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if single == Single::Words => {
            let words = text.split(' ').filter(|word| !word.is_empty());
            words.map(|word| item(path, word)).collect()
        }
        Some(Value::String(text)) => Ok(vec![item(path, text)?]),
        Some(Value::Array(items)) => listed(items)?
            .iter()
            .map(|value| match value {
                Value::String(text) => item(path, text),
                _ => Err(garbage(path, "holds something that is not a text")),
            })
            .collect(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Null) => {
            Err(garbage(path, "is neither a text nor a list of texts"))
        }
    }
}

fn scalars(path: &ClaimPath, claims: &Claims) -> Result<Vec<String>, ProviderError> {
    let scalar = |value: &Value| match value {
        Value::String(text) => value_of(path, text.clone()),
        Value::Number(number) => value_of(path, number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(garbage(path, "holds something that is no single value"))
        }
    };
    match found(path, claims)? {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => listed(items)?.iter().map(scalar).collect(),
        Some(value) => Ok(vec![scalar(value)?]),
    }
}

fn found<'a>(path: &ClaimPath, claims: &'a Claims) -> Result<Option<&'a Value>, ProviderError> {
    path.find(claims)
        .map_err(|_| garbage(path, "lies in something that is not an object"))
}

fn listed(items: &[Value]) -> Result<&[Value], ProviderError> {
    if items.len() > ANSWER_ITEMS_MAX {
        return Err(ProviderError::Oversize(
            "a claim with more than 10000 items",
        ));
    }
    Ok(items)
}

fn item(path: &ClaimPath, text: &str) -> Result<String, ProviderError> {
    if text.is_empty() {
        return Err(garbage(path, "holds an empty text"));
    }
    value_of(path, text.to_owned())
}

fn value_of(path: &ClaimPath, text: String) -> Result<String, ProviderError> {
    if text.len() > ITEM_BYTES_MAX {
        return Err(ProviderError::Oversize("a claim longer than 1024 bytes"));
    }
    if text.contains('\0') {
        return Err(garbage(path, "holds a NUL"));
    }
    Ok(text)
}

/// Names the claim, never what stands in it.
fn garbage(path: &ClaimPath, says: &str) -> ProviderError {
    ProviderError::Garbage(format!("claim `{path}` {says}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> ClaimPath {
        ClaimPath::parse(text).unwrap()
    }

    fn provider() -> JwtProvider {
        let claims = JwtClaims {
            roles: vec![
                path("realm_access.roles"),
                path("https://example.com/roles"),
            ],
            permissions: vec![path("scope"), path("permissions")],
            groups: vec![path("groups")],
            email: Some(path("email")),
            email_verified: Some(path("email_verified")),
            attributes: BTreeMap::from([("region".to_owned(), path("region"))]),
        };
        JwtProvider::new("jwt", claims)
    }

    fn ask(claims: &Value) -> Result<Answer, ProviderError> {
        provider().answer(&serde_json::from_value(claims.clone()).unwrap())
    }

    #[test]
    fn claims_become_roles_permissions_groups_and_attributes() {
        let answer = ask(&json!({
            "realm_access": {"roles": ["HR Manager", "Sales Manager", "HR Manager"]},
            "https://example.com/roles": "Auditor of all",
            "scope": "read:posts  write:posts",
            "permissions": ["fetch_invoice"],
            "groups": ["/staff/hr", "/staff"],
            "email": "bob@example.com", "email_verified": true,
            "region": ["EU", 7, true],
        }))
        .unwrap();
        let listed = |items: &std::collections::BTreeSet<String>| {
            items.iter().cloned().collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            listed(&answer.roles),
            "Auditor of all, HR Manager, Sales Manager"
        );
        assert_eq!(
            listed(&answer.permissions),
            "fetch_invoice, read:posts, write:posts"
        );
        assert_eq!(answer.attributes["groups"], ["/staff", "/staff/hr"]);
        assert_eq!(answer.attributes["email"], ["bob@example.com"]);
        assert_eq!(answer.attributes["region"], ["EU", "7", "true"]);
        assert_eq!(answer.superuser, None, "no claim makes a superuser");
    }

    #[test]
    fn what_is_not_there_grants_nothing() {
        for claims in [
            json!({}),
            json!({"realm_access": null, "scope": null, "email": null, "region": null}),
            json!({"realm_access": {}, "scope": "", "groups": [], "region": []}),
            json!({"roles": ["HR Manager"], "resource_access": {"roles": ["x"]}, "is_superuser": true}),
        ] {
            assert_eq!(ask(&claims), Ok(Answer::default()), "{claims}");
        }
    }

    #[test]
    fn an_address_that_nobody_has_checked_does_not_count() {
        let email = |verified: Value| {
            ask(&json!({"email": "chief@example.com", "email_verified": verified}))
                .map(|answer| answer.attributes.contains_key("email"))
        };
        assert_eq!(email(json!(true)), Ok(true));
        assert_eq!(email(json!("true")), Ok(true));
        for verified in [json!(false), json!("false"), Value::Null] {
            assert_eq!(email(verified.clone()), Ok(false), "{verified}");
        }
        for verified in [json!(1), json!("yes"), json!([true]), json!({})] {
            assert!(email(verified.clone()).is_err(), "{verified}");
        }
        let lenient = JwtProvider::new(
            "jwt",
            JwtClaims {
                email: Some(path("email")),
                ..JwtClaims::default()
            },
        );
        let claims = BTreeMap::from([("email".to_owned(), json!("chief@example.com"))]);
        let answer = lenient.answer(&claims).unwrap();
        assert!(
            answer.attributes.contains_key("email"),
            "the operator says so"
        );
    }

    #[test]
    fn claims_of_the_wrong_kind_refuse() {
        let long = "x".repeat(2_000);
        let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
        for claims in [
            json!({"realm_access": "roles"}),
            json!({"realm_access": ["roles"]}),
            json!({"realm_access": {"roles": {"HR Manager": true}}}),
            json!({"realm_access": {"roles": 7}}),
            json!({"realm_access": {"roles": [["HR Manager"]]}}),
            json!({"realm_access": {"roles": ["HR Manager", null]}}),
            json!({"realm_access": {"roles": ["HR Manager", 7]}}),
            json!({"realm_access": {"roles": [""]}}),
            json!({"realm_access": {"roles": ["HR\0Manager"]}}),
            json!({"realm_access": {"roles": [long]}}),
            json!({"realm_access": {"roles": many}}),
            json!({"scope": true}),
            json!({"scope": {"read:posts": true}}),
            json!({"groups": {"0": "staff"}}),
            json!({"email": ["bob@example.com"], "email_verified": true}),
            json!({"region": {"is": "EU"}}),
            json!({"region": [["EU"]]}),
            json!({"region": "EU\0"}),
        ] {
            let error = ask(&claims).unwrap_err().to_string();
            assert!(!error.contains("HR") && !error.contains("bob@"), "{error}");
        }
    }
}
