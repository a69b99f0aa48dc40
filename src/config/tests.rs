//! Configurations that are right, and what is said of those that are not.

use super::*;
use crate::identity::Proof;
use secrecy::ExposeSecret;

const MINIMAL: &str = r#"
views = "views"
[upstream]
database = "demo"
user = "rowgate"
[logins.bob]
password = "s3cret"
[[providers]]
kind = "file"
path = "roles.json"
"#;

/// A folder in which the paths of [`MINIMAL`] exist.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("views")).unwrap();
    std::fs::write(folder.path().join("roles.json"), "{}").unwrap();
    std::fs::write(folder.path().join("password"), "from a file\n").unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    folder
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let folder = folder();
    Config::parse(text, &folder.path().join("rowgate.toml"))
}

/// `key: message` of every problem.
fn problems(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .problems
        .into_iter()
        .map(|p| format!("{}: {}", p.key, p.message))
        .collect()
}

#[test]
fn a_minimal_file_gets_safe_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:6432");
    assert_eq!(config.enforcement, Enforcement::Barrier);
    assert!(
        config.views.is_absolute() && config.views.ends_with("views"),
        "relative to the file"
    );
    assert_eq!(config.upstream.tls, UpstreamTls::Off, "on this machine");
    let bob = &config.identity.logins["bob"];
    assert_eq!(bob.user_id.as_deref(), Some("bob"));
    assert!(!bob.may_delegate && !bob.superuser);
    assert!(config.identity.tokens.is_none() && !config.identity.statement_token.enabled);
    assert!(config.audit.required && !config.audit.parameters);
    assert_eq!(config.audit.sink, AuditSink::Stdout);
    assert_eq!(config.limits.clients_max, 5_000);
}

/// The file in the repository: the keys in force, then with every example switched on.
#[test]
fn the_explained_file_is_right_with_and_without_its_examples() {
    let text = include_str!("../../rowgate.toml");
    let secrets = |text: &str| {
        let mut out = String::new();
        for line in text.lines() {
            match line.split_once("\"env:") {
                Some((head, _)) => out.push_str(&format!("{head}\"{}\"\n", "x".repeat(32))),
                None => out.push_str(&format!("{line}\n")),
            }
        }
        out
    };
    let folder = folder();
    std::fs::create_dir(folder.path().join("fixtures")).unwrap();
    for name in ["permissions", "actions", "category", "roles"] {
        std::fs::write(folder.path().join(format!("fixtures/{name}.json")), "").unwrap();
    }
    for name in [
        "server.pem",
        "server.key",
        "ca.pem",
        "hierarchy.json",
        "tags.yaml",
    ] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let file = folder.path().join("rowgate.toml");
    let config = Config::parse(&secrets(text), &file).unwrap();
    assert_eq!(config.providers.len(), 1);
    let switched_on: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest)
                if rest.starts_with('[')
                    || rest.split_once(" = ").is_some_and(|(key, _)| {
                        key.starts_with('"')
                            || key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                    }) =>
            {
                rest
            }
            _ => line,
        })
        .collect();
    let config = Config::parse(&secrets(&switched_on.join("\n")), &file).unwrap();
    let shown = text.lines().map(|line| line.trim_start_matches('#'));
    let shown = shown.filter(|line| line.starts_with("[[providers]]"));
    assert_eq!(config.providers.len(), shown.count());
    assert!(config.hierarchy.roles["Director"].contains("HR Manager"));
    assert!(config.hierarchy.permissions["admin:posts"].contains("write:posts"));
    assert!(config.hierarchy.file.is_some());
    let condition = &config.conditions[0];
    assert_eq!(condition.times.len(), 3);
    assert!(condition.claim.is_some() && condition.attribute.is_some());
    assert_eq!((condition.networks.len(), condition.superuser), (2, false));
    assert!(matches!(config.tags, Some(Tags::File { .. })));
    assert!(config.identity.logins["n8n"].may_delegate);
    assert_eq!(
        config.identity.logins["n8n"].user_id, None,
        "has to name somebody"
    );
    assert!(matches!(
        config.identity.logins["agent"].proof,
        Proof::Token
    ));
    assert_eq!(
        config.gate.connect_requires.as_deref(),
        Some("access_ai_chat")
    );
    assert_eq!(
        format!("{:?}", config.limits),
        format!("{:?}", Limits::default()),
        "the file shows the defaults, all of them"
    );
    let shown = text.lines().skip_while(|line| *line != "#[limits]").count() - 1;
    assert_eq!(
        shown,
        format!("{:?}", config.limits).matches(": ").count(),
        "and every limit"
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let found = problems(
        r#"
listn = "127.0.0.1:1"
views = "nowhere"
enforcement = "hope"
[upstream]
databse = "demo"
port = "5432"
[logins.bob]
password = "s3cret"
token = true
[logins.eve]
pasword = "s3cret"
[[providers]]
kind = "ldap"
[limits]
rows_max = -1
lock_ms_max = 0
"#,
    );
    for expected in [
        "listn: is not a key",
        "enforcement: \"hope\"",
        "upstream.databse: is not a key",
        "upstream.port: has the wrong type",
        "upstream.database: is missing",
        "upstream.user: is missing",
        "logins.bob: has more than one way",
        "logins.eve.pasword: is not a key",
        "logins.eve: has no usable way",
        "providers[0].kind: is missing or not a kind",
        "limits.rows_max: has the wrong type",
        "limits.lock_ms_max: is 0",
        "views: ",
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{expected} in {found:#?}"
        );
    }
}

#[test]
fn near_misses_are_named() {
    for (wrong, right) in [
        ("[upstream]\ndatabse = 1", "Did you mean \"database\"?"),
        ("[upstreem]\nx = 1", "Did you mean \"upstream\"?"),
        (
            "[logins.x]\nmay_deligate = true",
            "Did you mean \"may_delegate\"?",
        ),
        ("[audit]\nrequierd = true", "Did you mean \"required\"?"),
        ("[limits]\nrow_max = 1", "Did you mean \"rows_max\"?"),
        (
            "[[providers]]\nkind = \"sql\"\nrolse = \"x\"",
            "Did you mean \"roles\"?",
        ),
        (
            "[audit]\nzzzzzz = true",
            "Known here: path, required, parameters, sql_bytes_max.",
        ),
    ] {
        let errors = parse(wrong).unwrap_err();
        let hints: Vec<_> = errors
            .problems
            .iter()
            .filter_map(|p| p.hint.as_deref())
            .collect();
        assert!(hints.contains(&right), "{right} in {hints:#?}");
    }
}

/// The one provider of [`MINIMAL`].
const FILE: &str = "kind = \"file\"\npath = \"roles.json\"";

/// Each is [`MINIMAL`] with one thing wrong: (replace, by, says)
#[test]
fn one_thing_wrong() {
    let token = "[tokens]\naudience = \"a\"\n[[tokens.keys]]\nalgorithm = \"HS256\"\nsecret = \"12345678901234567890123456789012\"\n";
    let bob = "password = \"s3cret\"";
    for (replace, by, says) in [
        ("database = \"demo\"", "", "upstream.database: is missing"),
        ("\"views\"", "\"nowhere\"", "is not a folder"),
        (
            "\"roles.json\"",
            "\"gone.json\"",
            "providers[0].path: cannot read",
        ),
        (
            "\"roles.json\"",
            "\"password\"",
            "providers[0].path: has to end in .json, .yaml, .yml or .toml",
        ),
        (
            bob,
            "password = 5",
            "logins.bob.password: has the wrong type (integer)",
        ),
        (bob, "password = \"\"", "logins.bob.password: is empty"),
        (
            bob,
            "password = \"env:ROWGATE_NOT_SET_ANYWHERE\"",
            "the environment variable ROWGATE_NOT_SET_ANYWHERE",
        ),
        (
            bob,
            "password = \"file:gone\"",
            "logins.bob.password: cannot read",
        ),
        (bob, "password = \"file:empty\"", "the file is empty"),
        (
            bob,
            "scram = \"md5abc\"",
            "logins.bob.scram: does not start with SCRAM-SHA-256$",
        ),
        (
            bob,
            "token = true",
            "logins.bob.token: needs a [tokens] section",
        ),
        (bob, "token = false", "logins.bob: has no usable way"),
        (
            bob,
            "password = \"x\"\nuser_id = \"a\\u0000b\"",
            "logins.bob.user_id: is not a user id",
        ),
        ("[logins.bob]", "[logins.\"bob \"]", "is not a login name"),
        (
            "[logins.bob]\npassword = \"s3cret\"",
            "",
            "logins: has no login",
        ),
        (
            "[logins.bob]",
            "[logins.n8n]\npassword = \"x\"\nmay_delegate = true\n[logins.\"n8n.bob\"]",
            "logins.n8n.bob: could also mean",
        ),
        (
            "[upstream]",
            "[upstream]\ntls = \"maybe\"",
            "upstream.tls: \"maybe\"",
        ),
        (
            "[upstream]",
            "[upstream]\nsuperuser_user = \"rowgate\"",
            "upstream.superuser_user: is the same login",
        ),
        (
            "[upstream]",
            "[upstream]\npool_size = 0",
            "upstream.pool_size: 0 is not between",
        ),
        (
            "kind = \"file\"\npath = \"roles.json\"",
            "kind = \"sql\"\nuser = \"x\"",
            "providers[0]: asks nothing",
        ),
        (
            "kind = \"file\"\npath = \"roles.json\"",
            "kind = \"sql\"\npreset = \"user_roles\"",
            "providers[0].user: is missing",
        ),
        (
            "kind = \"file\"\npath = \"roles.json\"",
            "kind = \"sql\"\nuser = \"x\"\npreset = \"nope\"",
            "providers[0].preset: \"nope\"",
        ),
        (
            FILE,
            "kind = \"redis\"\nuser = \"x\"",
            "providers[0].password: is missing",
        ),
        (
            FILE,
            "kind = \"redis\"\nmode = \"both\"",
            "providers[0].mode: \"both\"",
        ),
        (
            FILE,
            "kind = \"redis\"\nmode = \"sentinel\"",
            "providers[0].sentinel_master: is missing",
        ),
        (
            FILE,
            "kind = \"redis\"\nsentinel_master = \"m\"",
            "providers[0].mode: has no sentinels",
        ),
        (
            FILE,
            "kind = \"redis\"\nservers = []",
            "providers[0].servers: names 0",
        ),
        (
            FILE,
            "kind = \"redis\"\nservers = [\"a\", \"b\"]",
            "providers[0].servers: names 2",
        ),
        (
            FILE,
            "kind = \"redis\"\nservers = [\"redis://:s3cret@h\"]",
            "providers[0].servers: holds what",
        ),
        (
            FILE,
            "kind = \"redis\"\nservers = [\"h:0\"]",
            "providers[0].servers: holds what",
        ),
        (
            FILE,
            "kind = \"redis\"\nuser_roles_prefix = \"\"",
            "providers[0].user_roles_prefix: is empty or the beginning",
        ),
        (
            FILE,
            "kind = \"redis\"\nuser_roles_prefix = \"user:\"\nuser_permissions_prefix = \"user:permissions:\"",
            "providers[0].user_roles_prefix: is empty or the beginning",
        ),
        (
            FILE,
            "kind = \"redis\"\nuser_roles_prefix = \"r:\"\nrole_permissions_prefix = \"r:\"",
            "providers[0].role_permissions_prefix: is empty or the beginning",
        ),
        (
            FILE,
            "kind = \"redis\"\nuser_attributes_prefix = \"user_\"",
            "providers[0].user_attributes_prefix: is empty or the beginning",
        ),
        (
            FILE,
            "kind = \"redis\"\nsuperusers_key = \"user_roles:x\"",
            "providers[0].user_roles_prefix: is empty or the beginning",
        ),
        (
            FILE,
            "kind = \"redis\"\nsuperusers_key = \"\"",
            "providers[0].superusers_key: is empty or the beginning",
        ),
        (
            FILE,
            "kind = \"redis\"\ninvalidate_channel = \"c\"",
            "providers[0]: listens for changes but",
        ),
        (
            FILE,
            "kind = \"redis\"\nmode = \"cluster\"\ncache_ms = 5\nkeyspace_notifications = true",
            "providers[0].keyspace_notifications: do not leave",
        ),
        (
            FILE,
            "kind = \"redis\"\nmode = \"cluster\"\ndatabase = 1",
            "providers[0].database: is not 0",
        ),
        (FILE, "kind = \"http\"", "providers[0].base: is missing"),
        (
            FILE,
            "kind = \"http\"\nbase = \"id.example.com\"",
            "providers[0].base: is not an address",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"ftp://x\"",
            "providers[0].base: is not an address",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"http://id.example.com\"",
            "would travel in clear",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://u:p@x\"",
            "providers[0].base: is not the address of",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x?key=s3cret\"",
            "providers[0].base: is not the address of",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x\"\ntls = \"off\"",
            "providers[0].tls: is \"off\"",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x\"\npath = \"/users\"",
            "providers[0].path: is not a path",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x\"\nroles_pointer = \"roles\"",
            "providers[0].roles_pointer: is not a JSON",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x\"\nnot_found = \"ok\"",
            "providers[0].not_found: is not a known",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x\"\nroles_pointer = \"none\"\npermissions_pointer = \"none\"\nattributes_pointer = \"none\"",
            "providers[0]: reads nothing",
        ),
        (
            FILE,
            "kind = \"http\"\nbase = \"https://x\"\nkey = \"\"",
            "providers[0].key: is empty",
        ),
        (
            "[[providers]]",
            "[[providers]]\nkind = \"file\"\npath = \"roles.json\"\n[[providers]]",
            "providers[1].name: \"file\" is another",
        ),
        (
            "[upstream]",
            "[statement_token]\nenabled = true\n[upstream]",
            "statement_token.enabled: needs a [tokens]",
        ),
        (
            "[upstream]",
            &format!("{token}[statement_token]\nlogins = [\"eve\"]\n[upstream]"),
            "\"eve\" is not a login",
        ),
        (
            "[upstream]",
            &format!("{}[upstream]", token.replace("HS256", "none")),
            "tokens.keys[0].algorithm: \"none\"",
        ),
        (
            "[upstream]",
            &format!("{}[upstream]", token.replace("HS256", "HS512")),
            "tokens.keys[0].algorithm: \"HS512\"",
        ),
        (
            "[upstream]",
            &format!("{}[upstream]", token.replace("secret =", "public_key =")),
            "tokens.keys[0]: takes only",
        ),
        (
            "[upstream]",
            &format!(
                "{}[upstream]",
                token.replace("12345678901234567890123456789012", "short")
            ),
            "tokens.keys[0].secret: is shorter",
        ),
        (
            "[upstream]",
            &format!("{}[upstream]", token.replace("audience = \"a\"", "")),
            "tokens.audience: is missing",
        ),
        (
            "[upstream]",
            &format!(
                "{token}[[tokens.keys]]\nalgorithm = \"HS256\"\nsecret = \"12345678901234567890123456789012\"\n[upstream]"
            ),
            "tokens.keys[1].id: is another key's too",
        ),
        (
            "[upstream]",
            "[tls]\ncert = \"gone.pem\"\nkey = \"gone.key\"\n[upstream]",
            "tls.key: cannot read",
        ),
        (
            "views = \"views\"",
            "views = \"views\"\nlisten = \"6432\"",
            "listen: \"6432\" is not an address",
        ),
        (
            "views = \"views\"",
            "views = \"views\"\nlisten = 6432",
            "listen: has the wrong type",
        ),
        (
            "[upstream]",
            "tls = 3\n[upstream]",
            "tls: has to be a section",
        ),
        ("[upstream]", "[upstream", "line 3: "),
    ] {
        let text = MINIMAL.replacen(replace, by, 1);
        assert_ne!(text, MINIMAL, "{replace}");
        let found = problems(&text);
        assert!(
            found.iter().any(|problem| problem.contains(says)),
            "{says} in {found:#?}"
        );
    }
}

#[test]
fn secrets_come_by_value_from_a_file_or_the_environment() {
    let with = |value: &str| {
        let config = parse(&MINIMAL.replace("s3cret", value)).unwrap();
        match &config.identity.logins["bob"].proof {
            Proof::Password(password) => password.expose_secret().to_owned(),
            _ => panic!("not a password"),
        }
    };
    assert_eq!(with("plain"), "plain");
    assert_eq!(with("file:password"), "from a file", "without the line end");
    assert_eq!(with("env:PATH"), std::env::var("PATH").unwrap());
}

#[test]
fn no_message_holds_a_secret() {
    for text in [
        MINIMAL.replace("password = \"s3cret\"", "password = [\"s3cret\"]"),
        MINIMAL.replace("password = \"s3cret\"", "scram = \"s3cret\""),
        MINIMAL.replace("password = \"s3cret\"", "password = \"s3cret"),
        MINIMAL.replace("password = \"s3cret\"", "password = \"s3cret\" oops"),
        MINIMAL.replace("password = \"s3cret\"", "password = { s3cret = 1 }"),
    ] {
        let errors = parse(&text).unwrap_err();
        assert!(!errors.problems.is_empty());
        assert!(
            !format!("{errors} {errors:?}").contains("s3cret"),
            "{errors}"
        );
    }
    assert!(!format!("{:?}", parse(MINIMAL).unwrap()).contains("s3cret"));
}

#[test]
fn another_machine_is_reached_with_tls_unless_told_otherwise() {
    let with = |host: &str, more: &str| {
        parse(&MINIMAL.replace(
            "[upstream]",
            &format!("[upstream]\nhost = \"{host}\"\n{more}"),
        ))
        .unwrap()
        .upstream
        .tls
    };
    assert_eq!(with("db.example.com", ""), UpstreamTls::Verify { ca: None });
    assert_eq!(with("192.0.2.1", ""), UpstreamTls::Verify { ca: None });
    assert_eq!(with("192.0.2.1", "tls = \"off\""), UpstreamTls::Off);
    assert_eq!(with("localhost", ""), UpstreamTls::Off);
    assert_eq!(with("/run/postgresql", ""), UpstreamTls::Off);
    assert_eq!(
        with("::1", "tls = \"verify\""),
        UpstreamTls::Verify { ca: None }
    );
}

#[test]
fn what_is_risky_but_allowed_is_a_warning() {
    let text = MINIMAL.replace(
        "views = \"views\"",
        "views = \"views\"\nlisten = \"0.0.0.0:6432\"",
    );
    let config = parse(&format!("{text}[audit]\nrequired = false\n")).unwrap();
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
}

#[test]
fn the_metrics_listener_is_somewhere_safe_or_not_at_all() {
    assert!(parse(MINIMAL).unwrap().metrics.is_none());
    let with = |lines: &str| format!("{MINIMAL}\n[metrics]\n{lines}\n");
    let good = parse(&with(
        "listen = \"127.0.0.1:6435\"\ntoken = \"0123456789abcdef\"",
    ));
    let metrics = good.unwrap().metrics.unwrap();
    assert_eq!(
        (metrics.listen.to_string().as_str(), metrics.connections_max),
        ("127.0.0.1:6435", 16)
    );
    assert!(!format!("{metrics:?}").contains("0123456789abcdef"));
    for (lines, problem) in [
        ("", "metrics.listen"),
        ("listen = \"here\"", "metrics.listen"),
        ("listen = \"192.0.2.1:6435\"", "metrics.listen"),
        (
            "listen = \"127.0.0.1:6435\"\ntoken = \"short\"",
            "metrics.token",
        ),
        (
            "listen = \"127.0.0.1:6435\"\nconnections_max = 0",
            "metrics.connections_max",
        ),
        ("listen = \"127.0.0.1:6435\"\npath = \"/m\"", "metrics.path"),
    ] {
        let found = problems(&with(lines));
        assert!(
            found.len() == 1 && found[0].starts_with(problem),
            "{lines}: {found:?}"
        );
    }
}
