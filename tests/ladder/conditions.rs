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
