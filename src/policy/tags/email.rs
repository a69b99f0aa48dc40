//! The domain of an e-mail address, read so strictly that two readers cannot read it differently.
//!
//! Refused rather than interpreted (no domain, so no tag by domain): quoted local parts and comments, which
//! can hold an `@`; more than one `@`; several addresses in one text; display names; a dot at the end; domains
//! that are not ASCII, where what looks like a letter is another one. An international domain is written in its
//! ASCII form (`xn--...`), in definitions and addresses alike.

/// A domain in lower-case ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Domain(String);

/// Longest domain name and label in text form (RFC 1035, section 2.3.4), longest address and local part
/// (RFC 5321, section 4.5.3.1), in bytes.
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
const ADDRESS_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;

impl Domain {
    /// `company.com`: letters, digits and inner hyphens (RFC 1123, section 2.1), case folded as ASCII.
    pub(super) fn read(text: &str) -> Option<Self> {
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= LABEL_BYTES_MAX
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let good = text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(label);
        good.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The domain of exactly one plain address, `local@domain`.
    pub(super) fn of_address(address: &str) -> Option<Self> {
        if address.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let (local, domain) = address.split_once('@')?;
        let atom = |atom: &str| !atom.is_empty() && atom.chars().all(atom_character);
        if local.len() > LOCAL_BYTES_MAX || !local.split('.').all(atom) {
            return None;
        }
        // A second `@` is no character of a domain.
        Self::read(domain)
    }
}

/// `atext` (RFC 5322, section 3.2.3), and letters and digits of any script (RFC 6531).
fn atom_character(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::Domain;

    fn of(address: &str) -> Option<String> {
        Domain::of_address(address).map(|Domain(domain)| domain)
    }

    #[test]
    fn plain_addresses_have_their_domain() {
        for (address, domain) in [
            ("bob@company.com", "company.com"),
            ("Bob.Brown+tag@COMPANY.Com", "company.com"),
            ("o'brien@company.com", "company.com"),
            ("jörg@xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("root@localhost", "localhost"),
            ("bob@evil-company.com", "evil-company.com"),
            ("bob@company.com.evil.com", "company.com.evil.com"),
            ("bob@sub.company.com", "sub.company.com"),
        ] {
            assert_eq!(of(address).as_deref(), Some(domain), "{address}");
        }
    }

    #[test]
    fn whatever_can_be_read_in_two_ways_has_none() {
        let long = format!("{}@company.com", "a".repeat(65));
        for address in [
            "",
            "bob",
            "@company.com",
            "bob@",
            "company.com",
            "bob@company.com@evil.com",
            "\"bob@company.com\"@evil.com",
            "\"bob\"@company.com",
            "bob@company.com.",
            "bob@.company.com",
            "bob@company..com",
            ".bob@company.com",
            "bob.@company.com",
            "bo..b@company.com",
            "bob@company.com ",
            " bob@company.com",
            "bob@ company.com",
            "bob @company.com",
            "bob@company.com\n",
            "bob@company.com\0.evil.com",
            "bob@company.com,eve@evil.com",
            "bob@company.com;eve@evil.com",
            "bob@company.com eve@evil.com",
            "Bob <bob@company.com>",
            "<bob@company.com>",
            "bob(@evil.com)@company.com",
            "bob@company.com(comment)",
            "bob@[127.0.0.1]",
            "bob@company.com:25",
            "bob@company%2ecom",
            "bob@-company.com",
            "bob@company-.com",
            // Cyrillic о, full-width letters, an ideographic full stop, the Kelvin sign, a soft hyphen and a
            // zero-width space inside, a right-to-left override.
            "bob@c\u{43e}mpany.com",
            "bob@\u{ff43}ompany.com",
            "bob@company\u{3002}com",
            "bob@\u{212a}elvin.com",
            "bob@comp\u{ad}any.com",
            "bob@company\u{200b}.com",
            "bob\u{202e}@company.com",
            "bob\u{ff20}company.com",
            "bob@bücher.example",
            long.as_str(),
        ] {
            assert_eq!(of(address), None, "{address:?}");
        }
        let long = format!("bob@{}.com", "a".repeat(64));
        assert_eq!(of(&long), None);
    }
}
