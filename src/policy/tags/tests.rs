//! Each rule about tags, once where it gives and once where it denies.

use super::*;

/// A company: staff by domain, partners by two, a deal for two people, a group, one private tag.
fn company() -> TagDefinitions {
    let mut tags = TagDefinitions::default();
    for (tag, access, owner, allowed) in [
        ("press", "public", None, &[][..]),
        ("diary", "private", Some("anne"), &[]),
        ("staff", "domain", None, &["company.com"]),
        (
            "partners",
            "domains",
            Some("eve"),
            &["company.com", "Partner.Example"],
        ),
        ("deal-7", "specific", Some("anne"), &["bob", "carol"]),
        ("legal", "group", None, &["lawyers", "board"]),
        ("empty", "specific", Some("anne"), &[]),
    ] {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        tags.define(tag, access, owner, &allowed).unwrap();
    }
    tags.add_member("lawyers", "dave").unwrap();
    tags.add_member("board", "anne").unwrap();
    tags
}

/// The tags of a user with these attributes.
fn of(user: &str, attributes: &[(&str, &[&str])]) -> Vec<String> {
    let attributes = attributes
        .iter()
        .map(|(name, values)| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            ((*name).to_owned(), values)
        })
        .collect();
    company()
        .accessible(user, &attributes)
        .into_iter()
        .collect()
}

#[test]
fn public_is_for_everyone_who_is_somebody() {
    assert_eq!(of("stranger", &[]), ["press"]);
    assert_eq!(of("", &[("email", &["x@company.com"])]), [""; 0]);
}

#[test]
fn private_is_its_owners_only() {
    assert!(of("anne", &[]).contains(&"diary".to_owned()));
    for other in ["bob", "Anne", "anne ", "anne2"] {
        let attributes: &[(&str, &[&str])] = &[("groups", &["diary", "anne"])];
        assert!(
            !of(other, attributes).contains(&"diary".to_owned()),
            "{other}"
        );
    }
}

#[test]
fn an_owner_has_the_tag_whatever_its_access() {
    // Eve's address is in no domain of "partners", anne is not listed for "deal-7" or "empty".
    assert_eq!(of("eve", &[]), ["partners", "press"]);
    assert_eq!(
        of("anne", &[]),
        ["deal-7", "diary", "empty", "legal", "press"]
    );
    assert_eq!(of("bob", &[]), ["deal-7", "press"]);
}

#[test]
fn a_domain_is_compared_whole() {
    let has = |address: &str, tag: &str| of("x", &[("email", &[address])]).iter().any(|t| t == tag);
    for address in ["x@company.com", "x@COMPANY.COM", "X.Y+z@Company.com"] {
        assert!(has(address, "staff"), "{address}");
        assert!(has(address, "partners"), "{address}");
    }
    assert!(has("x@partner.example", "partners"));
    for address in [
        "x@partner.example",
        "x@evil-company.com",
        "x@evilcompany.com",
        "x@sub.company.com",
        "x@company.com.evil.com",
        "x@company.co",
        "x@ompany.com",
        "x@company.com.",
        "x@company.com@evil.com",
        "\"x@company.com\"@evil.com",
        "x@evil.com,y@company.com",
        "x@c\u{43e}mpany.com",
        "company.com",
        "",
    ] {
        assert!(!has(address, "staff"), "{address:?}");
    }
}

#[test]
fn several_addresses_count_each_for_itself() {
    assert!(of("x", &[("email", &["x@evil.com", "x@company.com"])]).contains(&"staff".to_owned()));
    assert!(
        !of(
            "x",
            &[("email", &["x@evil.com", "company.com", "@company.com"])]
        )
        .contains(&"staff".to_owned())
    );
    // Only the attribute `email` counts.
    assert!(!of("x@company.com", &[("mail", &["x@company.com"])]).contains(&"staff".to_owned()));
}

#[test]
fn groups_are_member_lists_here_or_in_the_attribute() {
    assert_eq!(of("dave", &[]), ["legal", "press"]);
    assert_eq!(
        of("x", &[("groups", &["sales", "board"])]),
        ["legal", "press"]
    );
    for (user, groups) in [
        ("dave2", &["sales"][..]),
        ("x", &["Lawyers"]),
        ("x", &["lawyers "]),
        ("x", &["legal"]),
        ("lawyers", &[]),
    ] {
        assert_eq!(
            of(user, &[("groups", groups)]),
            ["press"],
            "{user} {groups:?}"
        );
    }
}

#[test]
fn specific_users_are_compared_byte_by_byte() {
    assert_eq!(of("carol", &[]), ["deal-7", "press"]);
    for other in ["Carol", "carol\u{200b}", "car\u{43e}l", "carol@company.com"] {
        assert_eq!(of(other, &[]), ["press"], "{other}");
    }
}

#[test]
fn an_unknown_tag_is_nobodys() {
    assert!(company().defines("press"));
    assert!(!company().defines("unheard-of"));
    let all = ["", "anne", "bob", "dave", "eve"];
    for user in all {
        let attributes: &[(&str, &[&str])] = &[
            ("groups", &["unheard-of", "lawyers", "board"]),
            ("email", &["x@company.com"]),
            ("tags", &["unheard-of"]),
        ];
        assert!(!of(user, attributes).contains(&"unheard-of".to_owned()));
    }
}

#[test]
fn definitions_that_are_not_taken() {
    let refused = |tag: &str, access: &str, owner: Option<&str>, allowed: &[&str]| {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        company()
            .define(tag, access, owner, &allowed)
            .unwrap_err()
            .to_string()
    };
    for (tag, access, owner, allowed, word) in [
        ("press", "private", Some("eve"), &[][..], "twice"),
        ("x", "Public", None, &[], "not an access"),
        ("x", "everyone", None, &[], "not an access"),
        ("x", "", None, &[], "not an access"),
        ("x", "private", None, &[], "needs an owner"),
        ("x", "public", None, &["bob"], "without a list"),
        ("x", "private", Some("bob"), &["eve"], "without a list"),
        ("x", "domain", None, &[], "exactly one"),
        ("x", "domain", None, &["a.com", "b.com"], "exactly one"),
        ("x", "domains", None, &["a.com", "b.com."], "not a domain"),
        ("x", "domains", None, &["@a.com"], "not a domain"),
        ("x", "domains", None, &["*.a.com"], "not a domain"),
        ("x", "domains", None, &["bücher.example"], "not a domain"),
        ("x", "domain", None, &[""], "not a domain"),
        ("x", "specific", None, &["bob", ""], "is empty"),
        ("x", "specific", None, &[" bob"], "is empty"),
        ("x", "group", None, &["a\nb"], "is empty"),
        ("", "public", None, &[], "is empty"),
        ("a b", "public", None, &[], "is empty"),
        ("a,b", "public", None, &[], "is empty"),
        ("x", "private", Some(""), &[], "is empty"),
    ] {
        let said = refused(tag, access, owner, allowed);
        assert!(said.contains(word), "{tag} {access} {allowed:?}: {said}");
    }
    assert!(company().add_member("", "bob").is_err());
    assert!(company().add_member("lawyers", "").is_err());
}

#[test]
fn definitions_have_bounds() {
    let mut tags = TagDefinitions::default();
    for number in 0..TAGS_MAX {
        tags.define(&format!("t{number}"), "public", None, &[])
            .unwrap();
    }
    assert_eq!(
        tags.define("one-more", "public", None, &[]),
        Err(TagError::TooMany)
    );
    assert!(tags.define(&"x".repeat(257), "public", None, &[]).is_err());
}
