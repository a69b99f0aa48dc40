//! The four levels: what each role sees, what the gate itself requires, and the same from tables.

use super::*;
use rowgate::config::AuditSink;
use rowgate::identity::Caller;

const TABLES: [&str; 5] = [
    "accounts",
    "customers",
    "loan_products",
    "loans",
    "transactions",
];

/// What a user may see: (table, columns, rows)
type Sees = &'static [(&'static str, &'static str, &'static str)];

const SAM: Sees = &[
    ("accounts", "id customer_id iban balance", "3"),
    ("customers", "id name branch email phone credit_score", "3"),
    ("loan_products", "id name rate", "2"),
    (
        "loans",
        "id customer_id product_id amount status risk_note",
        "3",
    ),
    (
        "transactions",
        "id account_id amount booked counterparty suspicious",
        "5",
    ),
];
const CARLA: Sees = &[("customers", "id name branch email phone", "2")];
const LOAN_BOT: Sees = &[
    ("loan_products", "id name rate", "2"),
    ("loans", "id customer_id product_id amount status", "2"),
];
const FRAUD_BOT: Sees = &[(
    "transactions",
    "id account_id amount booked counterparty suspicious",
    "2",
)];
const ROOT: Sees = &[
    ("accounts", "id customer_id iban balance", "4"),
    ("customers", "id name branch email phone credit_score", "4"),
    ("loan_products", "id name rate", "2"),
    (
        "loans",
        "id customer_id product_id amount status risk_note",
        "4",
    ),
    (
        "transactions",
        "id account_id amount booked counterparty suspicious",
        "6",
    ),
];

async fn each_role_sees_exactly_its_tables(enforcement: Enforcement) {
    let example = Example::new("ai-permissions", enforcement, |_| {}).await;
    for (user, sees) in [
        ("sam", SAM),
        ("carla", CARLA),
        ("loan-bot", LOAN_BOT),
        ("fraud-bot", FRAUD_BOT),
        ("root", ROOT),
    ] {
        let client = example.connect(user).await.unwrap();
        for table in TABLES {
            let expected = sees.iter().find(|(name, _, _)| *name == table);
            let found = columns(&client, table)
                .await
                .map(|columns| columns.join(" "));
            assert_eq!(
                found.as_deref().map_err(String::as_str),
                expected.map(|(_, columns, _)| *columns).ok_or("42P01"),
                "{user} {table}"
            );
            if let Some((_, _, rows)) = expected {
                let count = ask(&client, &format!("SELECT count(*) FROM {table}")).await;
                assert_eq!(count.unwrap().as_deref(), Some(*rows), "{user} {table}");
            }
        }
    }
    // Masks: the supervisor does not write to customers, nobody but a superuser sees account numbers.
    for (user, sql, expected) in [
        (
            "sam",
            "SELECT email || ' ' || phone FROM customers WHERE id = 1",
            "***@example.com ***",
        ),
        (
            "carla",
            "SELECT email || ' ' || phone FROM customers WHERE id = 1",
            "ada@example.com +49 30 1",
        ),
        ("sam", "SELECT iban FROM accounts WHERE id = 11", "DE**"),
        ("root", "SELECT iban FROM accounts WHERE id = 11", "DE01"),
        ("sam", "SELECT sum(balance) FROM accounts", "1570.00"),
        ("loan-bot", "SELECT sum(amount) FROM loans", "259000.00"),
    ] {
        let found = example.ask(user, sql).await.unwrap();
        assert_eq!(found.as_deref(), Some(expected), "{user} {sql}");
    }
    for (user, sql, code) in [
        ("carla", "SELECT credit_score FROM customers", "42703"),
        ("loan-bot", "SELECT risk_note FROM loans", "42703"),
        (
            "loan-bot",
            "SELECT l.amount FROM loans l JOIN customers c ON c.id = l.customer_id",
            "42P01",
        ),
        ("root", "DELETE FROM loans", "25006"),
    ] {
        let refused = example.ask(user, sql).await.unwrap_err();
        assert_eq!(refused.code().code(), code, "{user} {sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_exactly_its_tables_and_columns() {
    each_role_sees_exactly_its_tables(Enforcement::Barrier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_exactly_its_tables_and_columns_with_inline_bodies() {
    each_role_sees_exactly_its_tables(Enforcement::Inline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gate_requires_is_asked_at_login_and_for_each_statement() {
    let example = Example::new("ai-permissions", Enforcement::Barrier, |_| {}).await;
    let told = |refused: &DbError| {
        assert_eq!(refused.code().code(), "28000");
        assert_eq!(
            refused.message(),
            "permission \"access_ai_chat\" is needed to use this database"
        );
        assert!(refused.hint().unwrap().contains("ask an administrator"));
    };
    told(&refusal(&example.connect("dora").await.err().unwrap()));
    let carla = example.connect("carla").await.unwrap();
    let prepared = carla
        .prepare("SELECT count(*) FROM customers")
        .await
        .unwrap();
    let count: i64 = carla.query_one(&prepared, &[]).await.unwrap().get(0);
    assert_eq!(count, 2);
    let people = example.read("people.json");
    example.write(
        "people.json",
        &people.replace(r#""carla": ["Customer Service Agent"],"#, ""),
    );
    let sql = "SELECT count(*) FROM customers";
    until("the revocation is not seen", async || {
        ask(&carla, sql).await.is_err()
    })
    .await;
    // The session is open; every way of asking is refused, also what asks for nothing of hers.
    told(&ask(&carla, sql).await.unwrap_err());
    told(&ask(&carla, "SELECT 1").await.unwrap_err());
    told(&refusal(&carla.query(&prepared, &[]).await.unwrap_err()));
    told(&refusal(&carla.prepare("SELECT 2").await.err().unwrap()));
    told(&refusal(&example.connect("carla").await.err().unwrap()));
    // A superuser and others are not concerned.
    assert_eq!(
        example.ask("root", sql).await.unwrap().as_deref(),
        Some("4")
    );
    assert_eq!(example.ask("sam", sql).await.unwrap().as_deref(), Some("3"));
    example.write("people.json", &people);
    until("the grant is not seen", async || {
        ask(&carla, sql).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_changes_or_breaks_is_seen_without_a_restart() {
    let example = Example::new("ai-permissions", Enforcement::Barrier, |_| {}).await;
    let bot = example.connect("loan-bot").await.unwrap();
    assert!(columns(&bot, "transactions").await.is_err());
    let categories = example.read("category.json");
    let broken = categories.replace("Use Loan Analysis Tool", "Use Loans");
    example.write("category.json", &broken);
    // Broken: nothing changes for anybody. What is written next is seen, so this was read.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        ask(&bot, "SELECT count(*) FROM loans")
            .await
            .unwrap()
            .as_deref(),
        Some("2")
    );
    let wider = categories.replace(
        "\"actions\": [\"Use Loan Analysis Tool\"]",
        "\"actions\": [\"Use Fraud Detection Tool\"]",
    );
    assert_ne!(wider, categories);
    example.write("category.json", &wider);
    until("the change is not seen", async || {
        columns(&bot, "loans").await.is_err()
    })
    .await;
    assert_eq!(
        ask(&bot, "SELECT count(*) FROM transactions")
            .await
            .unwrap()
            .as_deref(),
        Some("3")
    );
}

/// What an agent steered by a prompt, or a careless row, might bring: names that only look like rights.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_like_rights_are_none() {
    let example = Example::new("ai-permissions", Enforcement::Barrier, |_| {}).await;
    let people = example.read("people.json");
    let with = |user_roles: &str, users: &str, attributes: &str| {
        people
            .replace(
                "\"user_roles\": {",
                &format!("\"user_roles\": {{{user_roles}"),
            )
            .replace("\"users\": {", &format!("\"users\": {{{users}"))
            .replace(
                "\"attributes\": {\n",
                &format!("\"attributes\": {{{attributes}\n"),
            )
    };
    // dora may not use the assistant, whatever she is called, and whatever her attributes say.
    let wild = with(
        r#""dora": ["*", "agent supervisor", "AGENT SUPERVISOR", "Agent Supervisor ", "Agent\u200b Supervisor",
            "Use Customer Insight Tool", "access_ai_chat", "root", "superuser"],"#,
        "",
        "",
    );
    let wild = wild.replace(
        r#""dora": {"branch": ["Berlin"]}"#,
        r#""dora": {"branch": ["Berlin"], "permissions": ["*", "access_ai_chat"], "superuser": ["true"],
            "roles": ["Agent Supervisor"], "access_ai_chat": ["true"]}"#,
    );
    example.write("people.json", &wild);
    // The file has been read when its new user is known.
    let resolver = async || {
        rowgate::app::permissions(&example.gate.config)
            .await
            .unwrap()
            .resolver()
    };
    let dora = resolver()
        .await
        .principal(&Caller::assumed("dora"))
        .await
        .unwrap();
    assert!(
        dora.roles().any(|role| role == "*"),
        "the roles are there, and carry nothing"
    );
    assert_eq!(dora.permissions().len(), 2, "{:?}", dora.permissions());
    assert!(!dora.superuser());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = refusal(&example.connect("dora").await.err().unwrap());
    assert_eq!(refused.code().code(), "28000");
    // A denial that is spelt otherwise denies all the same, also a superuser, and also what a category carries.
    let denied = people.replace(
        "\"superusers\"",
        r#""denied_permissions": {"sam": ["Fetch_Customer"], "root": ["anything"]}, "superusers""#,
    );
    example.write("people.json", &denied);
    let sam = example.connect("sam").await.unwrap();
    until("the denial is not seen", async || {
        columns(&sam, "customers").await.is_err()
    })
    .await;
    assert!(columns(&sam, "loans").await.is_ok());
    let refused = refusal(&example.connect("root").await.err().unwrap());
    assert_eq!(
        refused.code().code(),
        "28000",
        "no superuser any more, and nothing else either"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_and_explain_say_who_gave_each_role() {
    let example = Example::new("ai-permissions", Enforcement::Barrier, |_| {}).await;
    example
        .ask("sam", "SELECT count(*) AS seen FROM loans")
        .await
        .unwrap();
    let AuditSink::File(audit) = &example.gate.config.audit.sink else {
        panic!("the demo audits to a file");
    };
    let line = || {
        let text = std::fs::read_to_string(audit).unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.into_iter().find(|line| {
            line["sql"]
                .as_str()
                .is_some_and(|sql| sql.contains("AS seen"))
        })
    };
    until("no line", async || line().is_some()).await;
    assert_eq!(
        line().unwrap()["role_sources"],
        serde_json::json!({"Agent Supervisor": ["people"]})
    );
    let explain = std::process::Command::new(env!("CARGO_BIN_EXE_rowgate"))
        .args(["explain", "--user", "dora", "SELECT 1", "--config"])
        .arg(example.gate.config.file.as_ref().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&explain.stdout);
    assert_eq!(explain.status.code(), Some(1), "{text}");
    assert!(
        text.contains("28000") && text.contains("access_ai_chat"),
        "{text}"
    );
}

#[test]
fn check_names_what_is_wrong_with_the_levels() {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ai-permissions");
    copy(&from, folder.path());
    let file = folder.path().join("rowgate.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let more =
        "[hierarchy.roles]\nA = [\"B\"]\nB = [\"A\"]\n[upstream]\ndatabase = \"x\"\nuser = \"x\"\n";
    std::fs::write(&file, format!("{config}{more}")).unwrap();
    let actions = folder.path().join("actions.json");
    let text = std::fs::read_to_string(&actions).unwrap();
    std::fs::write(&actions, text.replace("\"fetch_loan\"", "\"fetch_lone\"")).unwrap();
    let check = std::process::Command::new(env!("CARGO_BIN_EXE_rowgate"))
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(2), "{told}");
    for says in [
        "2 problem(s) in who holds what",
        "roles go in a circle: A -> B -> A",
        "actions.json: [0] \"Use Loan Analysis Tool\".permissions[2]: \"fetch_lone\" is no permission; did you mean \
         \"fetch_loan\"?",
    ] {
        assert!(told.contains(says), "{says} in {told}");
    }
}

/// What `check --strict` says to a file of the example with one word changed; without the change it says nothing of it.
const STRAYS: &[(&str, &str, &str, &[&str])] = &[
    (
        "loans.sql",
        "use_ai_loan_tool, fetch_loan",
        "use_ai_loan_tool, fetch_lone",
        &[
            "loans.sql:3: permission \"fetch_lone\" is not in the four levels",
            "did you mean \"fetch_loan\"?",
        ],
    ),
    (
        "loans.sql",
        "column risk_note requires read_risk_note",
        "column risk_note requires Agent_Supervisor",
        &["loans.sql:4: permission \"Agent_Supervisor\" is not in the four levels"],
    ),
    (
        "customers.sql",
        "'***'::text unless read_customer_contact",
        "'***'::text unless read_contact_details",
        &["customers.sql:5: permission \"read_contact_details\""],
    ),
    (
        "transactions.sql",
        "WHERE account_id IN",
        "WHERE rowgate.has_permission('fetch_transactoin') AND account_id IN",
        &[
            "transactions.sql:7: permission \"fetch_transactoin\"",
            "did you mean \"fetch_transaction\"?",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn strict_check_names_permissions_the_levels_do_not_know() {
    let example = Example::new("ai-permissions", Enforcement::Inline, |_| ()).await;
    let check = |strict: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rowgate"))
            .arg("check")
            .args(strict)
            .arg("--config")
            .arg(example.gate.config.file.as_ref().unwrap())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!check(&["--strict"]).contains("four levels"), "all known");
    for (file, from, to, says) in STRAYS {
        let name = format!("views/{file}");
        let text = example.read(&name);
        assert!(text.contains(from), "{file}");
        example.write(&name, &text.replace(from, to));
        let told = check(&["--strict"]);
        for says in *says {
            assert!(told.contains(says), "{says} in {told}");
        }
        assert!(!check(&[]).contains("four levels"), "only if asked");
        example.write(&name, &text);
    }
    // An action is no permission, and is told to be none.
    let config = example.gate.config.file.clone().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let gate = "connect_requires = \"access_ai_chat\"";
    assert!(text.contains(gate), "{text}");
    let action = text.replace(gate, "connect_requires = \"Use Loan Analysis Tool\"");
    std::fs::write(&config, action).unwrap();
    let told = check(&["--strict"]);
    assert!(told.contains("gate.connect_requires: permission"), "{told}");
    assert!(told.contains("it is an action"), "{told}");
}
