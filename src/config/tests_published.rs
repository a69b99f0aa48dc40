//! Published keys, claims and caches: what is said of configurations that are not right.

use super::*;

const HEAD: &str = "views = \"views\"\n[upstream]\ndatabase = \"demo\"\nuser = \"rowgate\"\n[logins.bob]\npassword = \"s3cret\"\n";
const FILE: &str = "[[providers]]\nkind = \"file\"\npath = \"roles.json\"\n";
const TOKENS: &str = "[tokens]\naudience = \"a\"\njwks_url = \"https://id.example.com/jwks\"\n";
const SQL: &str = "[[providers]]\nkind = \"sql\"\nuser = \"x\"\npreset = \"ai_permissions\"\n";
const JWT: &str = "[[providers]]\nkind = \"jwt\"\nroles = \"realm_access.roles\"\n";

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("views")).unwrap();
    std::fs::write(folder.path().join("roles.json"), "{}").unwrap();
    Config::parse(text, &folder.path().join("rowgate.toml"))
}

#[test]
fn published_keys_and_claims_have_safe_defaults() {
    let config = parse(&format!("{HEAD}{TOKENS}{JWT}email = \"email\"\n")).unwrap();
    let jwks = config.jwks.unwrap();
    assert_eq!(jwks.retry_min, Duration::from_secs(10));
    assert_eq!(jwks.stale_max, Duration::from_secs(3_600));
    let tokens = config.identity.tokens.unwrap();
    assert!(tokens.keys.is_empty() && tokens.user_claim.to_string() == "sub");
    assert!(
        config
            .warnings
            .iter()
            .any(|warning| warning.contains("tokens.issuer")),
        "{:?}",
        config.warnings
    );
    let ProviderKind::Jwt(claims) = &config.providers[0].kind else {
        panic!("{:?}", config.providers);
    };
    assert_eq!(
        claims.email_verified.as_ref().unwrap().to_string(),
        "email_verified",
        "asked for unless switched off"
    );
    let lenient = format!("{HEAD}{TOKENS}{JWT}email = \"email\"\nrequire_email_verified = false\n");
    let ProviderKind::Jwt(claims) = &parse(&lenient).unwrap().providers[0].kind else {
        panic!("not jwt");
    };
    assert!(claims.email_verified.is_none());
}

#[test]
fn an_address_to_fetch_keys_from_is_safe() {
    for good in [
        "https://id.example.com/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://[::1]/jwks",
        "http://localhost/jwks",
    ] {
        let text = TOKENS.replace("https://id.example.com/jwks", good);
        assert!(parse(&format!("{HEAD}{text}{FILE}")).is_ok(), "{good}");
    }
    for (bad, says) in [
        ("http://id.example.com/jwks", "in clear"),
        ("http://127.0.0.1.example.com/jwks", "in clear"),
        ("http://localhost.example.com/jwks", "in clear"),
        ("http://10.0.0.1/jwks", "in clear"),
        ("file:///etc/passwd", "not an https"),
        ("ftp://id.example.com/jwks", "not an https"),
        ("data:text/plain,x", "not an https"),
        (
            "https://user:s3cret@id.example.com/jwks",
            "user name or password",
        ),
        ("id.example.com/jwks", "not an address"),
        ("", "not an address"),
    ] {
        let text = TOKENS.replace("https://id.example.com/jwks", bad);
        let errors = parse(&format!("{HEAD}{text}{FILE}"))
            .unwrap_err()
            .to_string();
        assert!(
            errors.contains("tokens.jwks_url") && errors.contains(says),
            "{bad}: {errors}"
        );
        assert!(!errors.contains("s3cret"), "{errors}");
    }
}

#[test]
fn one_thing_wrong_with_keys_claims_or_caches() {
    let cases = wrong();
    for (text, says) in cases {
        let errors = parse(&format!("{HEAD}{text}")).unwrap_err().to_string();
        assert!(errors.contains(says), "{says}\n{errors}");
    }
    let config = parse(&format!("{HEAD}{SQL}cache_ms = 60000\n")).unwrap();
    let ProviderKind::Sql(sql) = &config.providers[0].kind else {
        panic!("not sql");
    };
    assert!(sql.listen, "whoever caches listens, unless told otherwise");
    assert!(sql.queries.role_permissions.is_some(), "from the preset");
}

fn wrong() -> Vec<(String, &'static str)> {
    vec![
        (
            format!("{TOKENS}jwks_file = \"a\"\n{FILE}"),
            "tokens.jwks_url: and jwks_file",
        ),
        (
            format!("[tokens]\naudience = \"a\"\njwks_file = \"nowhere\"\n{FILE}"),
            "tokens.jwks_file: cannot read",
        ),
        (
            format!("[tokens]\naudience = \"a\"\njwks_ca = \"x\"\n{FILE}"),
            "tokens.jwks_ca: has nothing to do",
        ),
        (
            format!("{TOKENS}jwks_retry_s = 0\n{FILE}"),
            "tokens.jwks_retry_s: 0 is not between",
        ),
        (
            format!("{TOKENS}jwks_stale_s_max = 1\n{FILE}"),
            "tokens.jwks_stale_s_max: 1 is not between",
        ),
        (
            format!("{TOKENS}user_claim = \"a..b\"\n{FILE}"),
            "tokens.user_claim: has an empty name",
        ),
        (
            format!("[tokens]\naudience = \"a\"\n{FILE}"),
            "tokens.keys: has no usable key",
        ),
        (JWT.to_owned(), "providers[0]: needs a [tokens] section"),
        (
            format!("{TOKENS}[[providers]]\nkind = \"jwt\"\n"),
            "providers[0]: reads no claim",
        ),
        (
            format!("{TOKENS}{}", JWT.replace("realm_access.roles", "/a~2")),
            "providers[0].roles: is not a JSON pointer",
        ),
        (
            format!("{TOKENS}{}", JWT.replace("\"realm_access.roles\"", "7")),
            "providers[0].roles: ",
        ),
        (
            format!("{TOKENS}{JWT}attributes = {{ email = \"x\" }}\n"),
            "providers[0].attributes.email: has a key of its own",
        ),
        (
            format!("{TOKENS}{JWT}superuser = \"x\"\n"),
            "providers[0].superuser: is not a key",
        ),
        (
            format!("{TOKENS}{JWT}cache_ms = 5\n"),
            "providers[0].cache_ms: is not a key",
        ),
        (
            format!("{SQL}cache_ms = 3600001\n"),
            "providers[0].cache_ms: 3600001 is not between",
        ),
        (
            format!("{SQL}cache_entries_max = 0\n"),
            "providers[0].cache_entries_max: 0 is not between",
        ),
        (
            format!("{SQL}cache_ms = \"long\"\n"),
            "providers[0].cache_ms: ",
        ),
    ]
}
