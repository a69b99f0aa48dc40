//! The running gate as its operator sees it: who gets in, what is reloaded, what is recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

use rowgate::config::{AuditSink, CacheSettings, Enforcement, Provider, ProviderKind};
use rowgate::demo::Setup;
use rowgate::identity::{
    ClaimPath, Login, Proof, Published, TokenAlgorithm, TokenKey, TokenVerifier,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::Gate;
use tokio_postgres::{Client, NoTls};

const SUM: &str = "SELECT sum(amount)::text FROM invoices";
const SECRET: &str = "a secret of at least thirty-two bytes";

async fn gate_with(name: &str, change: impl FnOnce(&mut rowgate::config::Config)) -> Gate {
    let listen = ([127, 0, 0, 1], 0).into();
    support::gate_with(Setup::example(name, listen, Enforcement::Barrier), change).await
}

async fn sum(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(client.query_one(SUM, &[]).await?.get(0))
}

/// Connects as `user`, with what else a driver could put into its connection string.
async fn connect(
    gate: &Gate,
    user: &str,
    password: &str,
    options: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = gate.login(user);
    config.password(password);
    if !options.is_empty() {
        config.options(options);
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn sqlstate(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("no code", |code| code.code())
}

fn token(subject: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = json!({"sub": subject, "aud": "rowgate", "exp": now + 60});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// Logins beside the example's: one that may speak for others, one that shows tokens (in clear, for the test).
fn more_logins(config: &mut rowgate::config::Config) {
    let identity = &mut config.identity;
    let login = |proof, may_delegate| Login {
        proof,
        user_id: None,
        may_delegate,
        superuser: true,
    };
    identity.logins.insert(
        "n8n".to_owned(),
        login(Proof::Password("flow".into()), true),
    );
    identity
        .logins
        .insert("agent".to_owned(), login(Proof::Token, false));
    identity.tokens = Some(TokenVerifier {
        keys: vec![TokenKey::new(None, TokenAlgorithm::Hs256, &SECRET.into()).unwrap()],
        published: Published::default(),
        user_claim: ClaimPath::parse("sub").unwrap(),
        issuer: None,
        audience: "rowgate".to_owned(),
        leeway: Duration::ZERO,
        lifetime_max: Duration::from_secs(60),
    });
    identity.token_requires_tls = false;
    identity.statement_token.enabled = true;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_in_and_sees_whose_rows() {
    let gate = gate_with("who", more_logins).await;
    let (bob, anne) = (gate.connect("bob").await, gate.connect("anne").await);
    let (bobs, annes) = (sum(&bob).await.unwrap(), sum(&anne).await.unwrap());
    assert_ne!(bobs, annes, "otherwise nothing below proves anything");
    let (for_bob, for_anne) = (token("bob"), token("anne"));
    for (user, password, options, expected) in [
        ("n8n.bob", "flow", "", &bobs),
        ("n8n.anne", "flow", "", &annes),
        ("n8n", "flow", "-c rowgate.user_id=anne", &annes),
        ("n8n.anne", "flow", "-c rowgate.user_id=anne", &annes),
        ("n8n.nobody", "flow", "", &None),
        ("agent.bob", for_bob.as_str(), "", &bobs),
        ("agent.anne", for_anne.as_str(), "", &annes),
    ] {
        let client = connect(&gate, user, password, options).await.unwrap();
        assert_eq!(&sum(&client).await.unwrap(), expected, "{user} {options}");
    }
    for (user, password, options, code) in [
        ("bob", "wrong", "", "28P01"),
        ("nobody", "demo", "", "28P01"),
        ("n8n", "flow", "", "28P01"),
        ("n8n.", "flow", "", "28P01"),
        ("n8n.bob", "flow", "-c rowgate.user_id=anne", "28P01"),
        ("bob", "demo", "-c rowgate.user_id=anne", "28P01"),
        ("bob.anne", "demo", "", "28P01"),
        ("agent.anne", for_bob.as_str(), "", "28P01"),
        ("agent", for_bob.as_str(), "", "28P01"),
        ("agent.bob", "demo", "", "28P01"),
    ] {
        let error = connect(&gate, user, password, options).await.err().unwrap();
        assert_eq!(sqlstate(&error), code, "{user} {options}: {error:?}");
    }
    // Never a superuser without a signature, whatever the login itself may be.
    let refused = match connect(&gate, "n8n.admin", "flow", "").await {
        Err(error) => error,
        Ok(client) => sum(&client).await.err().unwrap(),
    };
    assert_eq!(sqlstate(&refused), "28000", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_token_counts_for_one_statement() {
    let gate = gate_with("statement", more_logins).await;
    let bob = gate.connect("bob").await;
    let bobs = sum(&bob).await.unwrap();
    let as_anne = format!("/* rowgate.token={} */ {SUM}", token("anne"));
    let annes: Option<String> = bob.query_one(&as_anne, &[]).await.unwrap().get(0);
    assert_ne!(annes, bobs);
    assert_eq!(
        sum(&bob).await.unwrap(),
        bobs,
        "the next statement is bob's again"
    );
    let who = "SHOW rowgate.principal";
    for (text, user) in [
        (who.to_owned(), "bob"),
        (
            format!("/* rowgate.token={} */ {who}", token("anne")),
            "anne",
        ),
        (who.to_owned(), "bob"),
    ] {
        let shown: String = bob.query_one(&text, &[]).await.unwrap().get(0);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["user_id"], user);
    }
    let forged = format!("/* rowgate.token={}x */ {SUM}", token("anne"));
    assert_eq!(
        sqlstate(&bob.query_one(&forged, &[]).await.unwrap_err()),
        "28P01"
    );
    assert_eq!(sum(&bob).await.unwrap(), bobs, "and the session is usable");
}

/// Also where it is the database that refuses to prepare it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_asks_for_is_recorded_as_its_users() {
    let gate = gate_with("recorded", more_logins).await;
    let bob = gate.connect("bob").await;
    sum(&bob).await.unwrap();
    let wrong = "SELECT id FROM invoices WHERE id > $1";
    let as_anne = format!("/* rowgate.token={} */ {wrong}", token("anne"));
    let text = tokio_postgres::types::Type::TEXT;
    for sql in [as_anne.as_str(), wrong] {
        let error = bob.prepare_typed(sql, std::slice::from_ref(&text)).await;
        assert_eq!(sqlstate(&error.unwrap_err()), "42883");
    }
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("the example's audit log is a file");
    };
    let log = std::fs::read_to_string(path).unwrap();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<(String, String)> = lines
        .filter(|line| line["decision"] == "refuse")
        .map(|line| {
            (
                line["user_id"].as_str().unwrap().to_owned(),
                line["sql"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [
        ("anne", format!("/* rowgate.token=... */ {wrong}")),
        ("bob", wrong.to_owned()),
    ];
    let expected = expected.map(|(user, sql)| (user.to_owned(), sql));
    assert_eq!(refused, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_taken_away_is_gone_for_the_next_statement() {
    let gate = gate_with("revoke", |_| {}).await;
    let client = gate.connect("bob").await;
    assert!(sum(&client).await.unwrap().is_some());
    let owner = support::cluster().connect(&gate.database).await.unwrap();
    owner
        .batch_execute("DELETE FROM user_roles WHERE \"user\" = 'bob'")
        .await
        .unwrap();
    assert_eq!(sum(&client).await.unwrap(), None);
    owner
        .batch_execute("INSERT INTO user_roles VALUES ('bob', 'HR Manager')")
        .await
        .unwrap();
    assert!(sum(&client).await.unwrap().is_some());
    owner
        .batch_execute("ALTER TABLE user_roles RENAME TO away")
        .await
        .unwrap();
    let error = sum(&client).await.unwrap_err();
    assert_eq!(sqlstate(&error), "58000", "never: no roles, carry on");
    owner
        .batch_execute("ALTER TABLE away RENAME TO user_roles")
        .await
        .unwrap();
    assert!(
        sum(&client).await.unwrap().is_some(),
        "the session is usable"
    );
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_reloaded_under_a_running_session() {
    let folder = tempfile::tempdir().unwrap();
    let roles = folder.path().join("roles.json");
    std::fs::write(&roles, r#"{"user_roles": {"bob": ["HR Manager"]}}"#).unwrap();
    let path = roles.clone();
    let gate = gate_with("files", move |config| {
        let kind = ProviderKind::File {
            path,
            stale_max: Duration::from_secs(600),
        };
        config.providers = vec![Provider {
            name: "file".to_owned(),
            kind,
            cache: CacheSettings::default(),
        }];
    })
    .await;
    let client = gate.connect("bob").await;
    assert!(sum(&client).await.unwrap().is_some());
    replace(&roles, r#"{"user_roles": {}}"#);
    until("the role is gone", async || {
        sum(&client).await.unwrap().is_none()
    })
    .await;
    replace(&roles, r#"{"user_roles": {"bob": ["HR Manager"]}}"#);
    until("the role is back", async || {
        sum(&client).await.unwrap().is_some()
    })
    .await;
    replace(&roles, "{");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        sum(&client).await.unwrap().is_some(),
        "a broken file leaves the last good one in force"
    );

    let view = gate.config.views.join("invoices.sql");
    let good = std::fs::read_to_string(&view).unwrap();
    replace(&view, "SELECT nonsense");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        sum(&client).await.unwrap().is_some(),
        "a broken view leaves the last good ones in force"
    );
    replace(&view, &good);
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parameter_values_are_recorded_if_asked_and_only_then() {
    for asked in [true, false] {
        let name = format!("values_{asked}");
        let gate = gate_with(&name, |config| config.audit.parameters = asked).await;
        let AuditSink::File(path) = &gate.config.audit.sink else {
            panic!("not a file")
        };
        let client = gate.connect("bob").await;
        let sql = format!("SELECT id FROM invoices WHERE note = $1 AND '{name}' <> ''");
        client.query(&sql, &[&"never-a-note"]).await.unwrap();
        let [line] = <[Value; 1]>::try_from(
            lines(path)
                .into_iter()
                .filter(|line| line["sql"] == *sql)
                .collect::<Vec<_>>(),
        )
        .unwrap();
        // The library sends values in binary, which the audit shows in hexadecimal.
        let digits: String = "never-a-note"
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expected = match asked {
            true => json!([format!("\\x{digits}")]),
            false => Value::Null,
        };
        assert_eq!(line["parameters"], expected, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_its_line_before_and_what_ran_one_after() {
    let gate = gate_with("audit", |_| {}).await;
    let AuditSink::File(path) = &gate.config.audit.sink else {
        panic!("not a file")
    };
    // Several gates of this process may share the file's folder, so lines are told by their text.
    let client = gate.connect("bob").await;
    let refused = "DELETE FROM invoices WHERE 'only_here' = 'x'";
    assert_eq!(
        sqlstate(&client.batch_execute(refused).await.unwrap_err()),
        "25006"
    );
    let of = |sql: &str| -> Vec<Value> {
        lines(path)
            .into_iter()
            .filter(|line| line["sql"] == sql)
            .collect()
    };
    until("the refusal is recorded", async || !of(refused).is_empty()).await;
    let [no] = of(refused).try_into().unwrap();
    assert_eq!(
        (no["decision"].as_str(), no["reason"].as_str()),
        (Some("refuse"), Some("not_a_read"))
    );
    client
        .batch_execute("SELECT sum(amount) AS only_here FROM invoices")
        .await
        .unwrap();
    let [yes] = of("SELECT sum(amount) AS only_here FROM invoices")
        .try_into()
        .unwrap();
    assert_eq!(yes["decision"], "allow");
    assert_eq!(yes["user_id"], "bob");
    assert_eq!(yes["roles"], json!(["HR Manager"]));
    assert_eq!(yes["tables"], json!(["public.invoices"]));
    assert_eq!(yes["final_sql_sha256"].as_str().unwrap().len(), 64);
    let outcome = |id: &Value| {
        lines(path)
            .into_iter()
            .filter(|l| l["event"] == "outcome" && &l["request_id"] == id)
            .count()
    };
    until("what ran has its outcome", async || {
        outcome(&yes["request_id"]) == 1
    })
    .await;
    assert_eq!(
        outcome(&no["request_id"]),
        0,
        "a refusal ended with its one line"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_run() {
    let full = |required| {
        move |config: &mut rowgate::config::Config| {
            config.audit.sink = AuditSink::File(PathBuf::from("/dev/full"));
            config.audit.required = required;
        }
    };
    let gate = gate_with("full", full(true)).await;
    let client = gate.connect("bob").await;
    assert_eq!(sqlstate(&sum(&client).await.unwrap_err()), "58000");
    assert_eq!(
        sqlstate(&sum(&client).await.unwrap_err()),
        "58000",
        "and the session is usable"
    );
    let gate = gate_with("full_but_not_required", full(false)).await;
    assert!(sum(&gate.connect("bob").await).await.unwrap().is_some());
}
