//! Where a user is asked about: the user id as one encoded piece of the address.

use crate::provider::ProviderError;
use anyhow::{Context, bail};
use reqwest::Url;

/// What stands for `{id}` while the address is put in its normal form; needs no encoding.
const MARK: &str = "rowgate-user-id-here";

/// The address, in its normal form, before and after the user id.
#[derive(Debug)]
pub(super) struct Address {
    before: String,
    after: String,
}

impl Address {
    /// # Errors
    /// When they are not an address with one `{id}` in it.
    pub(super) fn new(base: &str, path: &str) -> anyhow::Result<Self> {
        if path.matches("{id}").count() != 1 {
            bail!("the path has to hold {{id}} once");
        }
        let whole = format!(
            "{}{}",
            base.trim_end_matches('/'),
            path.replace("{id}", MARK)
        );
        let service = Url::parse(base).context("not an address")?;
        let url = Url::parse(&whole).context("not an address")?;
        if !url.has_host()
            || url.origin() != service.origin()
            || url.fragment().is_some()
            || url.password().is_some()
        {
            bail!("not an address of a service");
        }
        let (before, after) = url.as_str().split_once(MARK).context("no {id}")?;
        Ok(Self {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    /// The address for one user.
    ///
    /// # Errors
    /// For an id that would become something else on the way: `.` and `..` cannot be written as a piece of a path.
    pub(super) fn of(&self, user_id: &str) -> Result<Url, ProviderError> {
        let text = format!("{}{}{}", self.before, encoded(user_id), self.after);
        match Url::parse(&text) {
            Ok(url) if url.as_str() == text && !user_id.is_empty() => Ok(url),
            _ => Err(ProviderError::Unavailable(
                "this user id cannot be part of an address".to_owned(),
            )),
        }
    }
}

/// Every byte but RFC 3986's unreserved characters as `%XX`.
fn encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(*HEX.get(usize::from(nibble)).unwrap_or(&b'0'));
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://id.example.com/api";
    const PATH: &str = "/users/{id}/permissions";

    #[test]
    fn a_user_id_is_one_piece_of_the_path_whatever_it_holds() {
        let address = Address::new(BASE, PATH).unwrap();
        for (user, piece) in [
            ("bob", "bob"),
            ("bob@example.com", "bob%40example.com"),
            ("jörg", "j%C3%B6rg"),
            ("../anne", "..%2Fanne"),
            ("a/../../keys", "a%2F..%2F..%2Fkeys"),
            ("..\\anne", "..%5Canne"),
            ("anne?x=", "anne%3Fx%3D"),
            ("anne#", "anne%23"),
            ("anne%2f", "anne%252f"),
            ("%2e%2e", "%252e%252e"),
            ("a b\n\t;&=+", "a%20b%0A%09%3B%26%3D%2B"),
            ("...", "..."),
            ("@evil.example", "%40evil.example"),
            ("rowgate-user-id-here", "rowgate-user-id-here"),
        ] {
            let url = address.of(user).unwrap();
            assert_eq!(
                url.as_str(),
                format!("{BASE}/users/{piece}/permissions"),
                "{user}"
            );
            assert_eq!(url.host_str(), Some("id.example.com"));
        }
        for user in [".", "..", ""] {
            assert!(address.of(user).is_err(), "{user}");
        }
    }

    #[test]
    fn the_id_may_stand_elsewhere() {
        for (path, expected) in [
            ("/permissions?user={id}", "/permissions?user=a%26b%3D%2F"),
            ("/u-{id}.json", "/u-a%26b%3D%2F.json"),
            ("/x/../users/{id}", "/users/a%26b%3D%2F"),
        ] {
            let url = Address::new(BASE, path).unwrap().of("a&b=/").unwrap();
            assert_eq!(url.as_str(), format!("{BASE}{expected}"));
        }
        let odd = Address::new(BASE, "/u-{id}.json").unwrap();
        assert!(odd.of("..").unwrap().path().ends_with("/u-...json"));
    }

    #[test]
    fn what_is_no_address_with_one_id_is_refused() {
        for (base, path) in [
            (BASE, "/users"),
            (BASE, "/{id}/{id}"),
            ("id.example.com", PATH),
            ("https://", PATH),
            ("https://u:p@id.example.com", PATH),
            (BASE, "/users#{id}"),
            ("https://{id}.example.com", "/x"),
        ] {
            assert!(Address::new(base, path).is_err(), "{base} {path}");
        }
    }
}
