//! Inheritance and conditions through a running gate.

use super::*;
use jiff::Timestamp;
use rowgate::config::Condition;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_shows_what_it_says() {
    let example = Example::new("hierarchy-and-conditions", Enforcement::Barrier, |_| {}).await;
    // HRM has sent 1000.00, Sales 2600.00, Training 300.00.
    for (user, sum) in [
        ("dina", Some("3900.00")),
        ("paul", Some("3900.00")),
        ("tom", None),
        ("nick", None),
        ("lena", Some("1300.00")),
    ] {
        let found = example
            .ask(user, "SELECT sum(amount) FROM invoices")
            .await
            .unwrap();
        assert_eq!(found.as_deref(), sum, "{user}");
    }
    let salaries = "SELECT sum(salary) FROM employees";
    assert_eq!(
        example.ask("dina", salaries).await.unwrap().as_deref(),
        Some("300617.25")
    );
    let refused = example.ask("paul", salaries).await.unwrap_err();
    assert_eq!(
        refused.code().code(),
        "42703",
        "a denial wins over what is inherited"
    );
    let email = "SELECT count(*) FROM customers WHERE email LIKE '***%'";
    assert_eq!(
        example.ask("paul", email).await.unwrap().as_deref(),
        Some("0"),
        "the rest is his"
    );
    // Her department changes while she is connected.
    let lena = example.connect("lena").await.unwrap();
    let people = example.read("people.json");
    example.write(
        "people.json",
        &people.replace("[\"Payroll\"]", "[\"Legal\"]"),
    );
    let sum = "SELECT sum(amount) FROM invoices";
    until("the change is not seen", async || {
        ask(&lena, sum).await.unwrap().is_none()
    })
    .await;
}

fn on(role: &str) -> Condition {
    Condition {
        roles: vec![role.to_owned()],
        ..Condition::default()
    }
}

/// A gate at which the Sales Manager's access ends in a few seconds; a busy machine gets more of them.
async fn with_time_left() -> (Example, Timestamp) {
    for seconds in [6, 12, 24, 48, 96] {
        let ends = Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let example = Example::new("hierarchy-and-conditions", Enforcement::Barrier, |config| {
            config.conditions = vec![Condition {
                until: Some(ends),
                ..on("Sales Manager")
            }];
        })
        .await;
        if ends.duration_since(Timestamp::now()) > jiff::SignedDuration::from_secs(seconds / 2) {
            return (example, ends);
        }
    }
    panic!("no gate starts within 48 seconds here");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_ends_at_its_moment_in_an_open_session() {
    let (example, ends) = with_time_left().await;
    let tom = example.connect("tom").await.unwrap();
    let prepared = tom
        .prepare("SELECT sum(amount)::text FROM invoices")
        .await
        .unwrap();
    let sum = async || -> Option<String> { tom.query_one(&prepared, &[]).await.unwrap().get(0) };
    assert_eq!(sum().await.as_deref(), Some("2900.00"));
    tom.batch_execute("BEGIN").await.unwrap();
    assert_eq!(sum().await.as_deref(), Some("2900.00"));
    while Timestamp::now() < ends {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        sum().await,
        None,
        "the very next statement, also inside a transaction"
    );
    tom.batch_execute("COMMIT").await.unwrap();
    assert_eq!(sum().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_that_of_the_connection() {
    for (network, sum) in [
        ("127.0.0.0/8", Some("2900.00")),
        ("10.0.0.0/8", None),
        ("::1/128", None),
    ] {
        let example = Example::new("hierarchy-and-conditions", Enforcement::Barrier, |config| {
            let networks = vec![network.parse().unwrap()];
            config.conditions = vec![Condition {
                networks,
                ..on("Sales Manager")
            }];
        })
        .await;
        let found = example
            .ask("tom", "SELECT sum(amount) FROM invoices")
            .await
            .unwrap();
        assert_eq!(found.as_deref(), sum, "{network}");
        // Nothing a client says of itself changes where it comes from.
        let mut login = example.gate.login("tom");
        login
            .password("demo")
            .application_name("10.0.0.1")
            .options("-c rowgate.user_id=dina");
        let refused = login.connect(NoTls).await.err().unwrap();
        assert_eq!(refused.code().unwrap().code(), "28P01", "{refused:?}");
    }
}

/// A line of a test, and what is said of it.
const SUPPOSED_WRONGLY: &[(&str, &str)] = &[
    ("from: here", "`from` is not an address"),
    ("from: 10.0.0.0/8", "`from` is not an address"),
    ("at: tomorrow", "`at` is not a moment"),
    ("at: 2026-01-05T08:00:00", "`at` is not a moment"),
    ("attributes: {a: {b: c}}", "attribute `a` has no such value"),
    ("attributes: {a: null}", "attribute `a` has no such value"),
    ("claim: {a: 1}", "did you mean `claims`?"),
];

/// Where a condition holds and where it does not, as the example's own policy tests have it; and turned round, each fails.
#[tokio::test(flavor = "multi_thread")]
async fn policy_tests_suppose_place_time_claims_and_attributes() {
    for enforcement in [Enforcement::Barrier, Enforcement::Inline] {
        let example = Example::new("hierarchy-and-conditions", enforcement, |_| ()).await;
        let config = example.gate.config.file.as_ref().unwrap();
        let test = |file: &Path| {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_rowgate"))
                .args(["test", "--audit", "/dev/null", "--config"])
                .arg(config)
                .arg(file)
                .output()
                .unwrap();
            let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            (output.status.code(), told.concat())
        };
        let file = example.folder.path().join("policy-tests/conditions.yaml");
        let (code, told) = test(&file);
        assert_eq!(code, Some(0), "{told}");
        assert!(told.contains(" 0 failed"), "{told}");
        if enforcement == Enforcement::Inline {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let mut turned = Vec::new();
        for (from, to) in [
            ("from: 10.1.2.3", "from: 9.1.2.3"),
            ("from: fd00::17", "from: fe00::17"),
            ("from: 11.1.2.3", "from: \"::ffff:10.1.2.3\""),
            (
                "at: 2026-01-05T08:00:00+01:00",
                "at: 2026-01-05T08:00:00+02:00",
            ),
            (
                "at: 2026-01-05T18:00:00+01:00",
                "at: 2026-01-05T17:59:59+01:00",
            ),
            ("at: 2025-12-31T23:59:59+01:00", "at: 2025-12-31T23:59:59Z"),
            ("department: [Choir, HR]", "department: [Choir, hr]"),
            ("department: Sales}", "department: Payroll}"),
            ("claims: {amr: [pwd, mfa]}", "claims: {amr: [pwd]}"),
            ("claims: {amr: pwd}", "claims: {amr: mfa}"),
        ] {
            assert!(text.contains(from), "{from}");
            let other = example.folder.path().join("turned.yaml");
            std::fs::write(&other, text.replacen(from, to, 1)).unwrap();
            let (code, told) = test(&other);
            if code != Some(1) {
                turned.push(format!("{from} -> {to}: {told}"));
            }
        }
        assert!(turned.is_empty(), "{turned:#?}");
        for (wrong, says) in SUPPOSED_WRONGLY {
            let other = example.folder.path().join("wrong.yaml");
            let text =
                format!("tests:\n  - user: nick\n    {wrong}\n    hidden: [{{table: payroll}}]\n");
            std::fs::write(&other, text).unwrap();
            let (code, told) = test(&other);
            assert_eq!(code, Some(2), "{wrong}: {told}");
            assert!(
                told.contains(says) && told.contains("wrong.yaml:"),
                "{wrong}: {told}"
            );
        }
    }
}
