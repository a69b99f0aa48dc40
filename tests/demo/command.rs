//! `rowgate demo` as a built program: what a person sees, types, and finds left behind.

use crate::process::{Demo, Temporary, children_of, is_running};
use std::time::Duration;

/// The rows each user may see, in plain SQL over the unfiltered tables, from the fixtures' header.
const VISIBLE: &[(&str, &str)] = &[
    ("bob", "department IN ('HRM', 'Training')"),
    ("anne", "department IN ('HRM', 'Training', 'Sales')"),
    ("eve", "false"),
    ("admin", "true"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_user_gets_the_sum_of_exactly_their_rows() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    let direct = demo.direct().await;
    for table in ["invoices", "transactions"] {
        for (user, rows) in VISIBLE {
            let by_hand = format!("SELECT sum(amount)::text FROM public.{table} WHERE {rows}");
            let expected: Option<String> = direct.query_one(&by_hand, &[]).await.unwrap().get(0);
            let seen = demo.psql(user, &format!("SELECT SUM(amount) FROM {table}"));
            assert_eq!(
                seen.out,
                expected.unwrap_or_default(),
                "{user}, {table}: {}",
                seen.err
            );
        }
    }
}

#[test]
fn bob_and_anne_see_the_sums_the_readme_shows() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    let sum = "SELECT SUM(amount) FROM invoices";
    assert_eq!(demo.psql("bob", sum).out, "1300.00");
    assert_eq!(demo.psql("anne", sum).out, "3900.00");
    assert_eq!(
        demo.psql("Bob", sum).out,
        "1300.00",
        "also as one writes a name"
    );
    // Training is open to both of Anne's roles; its rows count once.
    let training = "SELECT SUM(amount) FROM transactions WHERE department = 'Training'";
    assert_eq!(demo.psql("anne", training).out, "240.00");
    for answer in ["1300.00", "3900.00", "17900.00", "240.00"] {
        assert!(demo.greeting.contains(answer), "{}", demo.greeting);
    }
}

/// User, SQL, SQLSTATE, a word of the message; each refusal has a hint.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("bob", "DELETE FROM invoices", "25006", "delete"),
    ("admin", "DELETE FROM invoices", "25006", "delete"),
    ("bob", "UPDATE invoices SET amount = 0", "25006", "update"),
    ("bob", "DROP TABLE invoices", "25006", "drop"),
    ("bob", "SELECT secret FROM api_keys", "42P01", "api_keys"),
    ("admin", "SELECT secret FROM api_keys", "42P01", "api_keys"),
    (
        "bob",
        "SELECT no_such FROM no_such_table",
        "42P01",
        "no_such_table",
    ),
    (
        "bob",
        "SELECT tax_number FROM customers",
        "42703",
        "tax_number",
    ),
    ("anne", "SELECT salary FROM employees", "42703", "salary"),
    ("bob", "SELECT pg_sleep(1)", "42501", "pg_sleep"),
    (
        "bob",
        "SELECT 1 FROM invoices; DELETE FROM invoices",
        "25006",
        "delete",
    ),
];

#[test]
fn refusals_carry_the_sqlstate_and_a_hint() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    for (user, sql, sqlstate, word) in REFUSED {
        let seen = demo.psql(user, sql);
        let said = seen.err.to_lowercase();
        assert!(
            said.contains(&sqlstate.to_lowercase()),
            "{user}: {sql}: {}",
            seen.err
        );
        assert!(said.contains(word), "{user}: {sql}: {}", seen.err);
        assert!(said.contains("hint:"), "{user}: {sql}: {}", seen.err);
        assert!(!said.contains("canary"), "{user}: {sql}: {}", seen.err);
    }
    // And nothing has changed.
    assert_eq!(
        demo.psql("admin", "SELECT count(*) FROM invoices").out,
        "13"
    );
}

#[test]
fn a_masked_column_is_masked() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    let seen = demo.psql("bob", "SELECT email FROM customers WHERE id = 3");
    assert_eq!(seen.out, "***@cobalt.example", "{}", seen.err);
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_words() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    let wrong = demo.psql_with("bob", "wrong", "SELECT 1");
    let unknown = demo.psql_with("nobody_knows_me", "wrong", "SELECT 1");
    let words = |said: &str| {
        said.replace("nobody_knows_me", "USER")
            .replace("bob", "USER")
    };
    assert!(wrong.err.contains("FATAL"), "{}", wrong.err);
    assert_eq!(words(&wrong.err), words(&unknown.err));
}

#[test]
fn ctrl_c_and_sigterm_leave_nothing_behind() {
    use nix::sys::signal::Signal;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let temporary = Temporary::new();
        let mut demo = Demo::start(&temporary, &[]);
        let server = demo.server_pid();
        assert!(!temporary.entries().is_empty());
        assert_eq!(demo.end(signal), Some(0), "{signal}");
        assert_eq!(temporary.entries(), Vec::<String>::new(), "{signal}");
        assert!(!is_running(server), "{signal}");
    }
}

#[test]
fn a_killed_demo_takes_its_server_along() {
    let temporary = Temporary::new();
    let mut demo = Demo::start(&temporary, &[]);
    let server = demo.server_pid();
    demo.end(nix::sys::signal::Signal::SIGKILL);
    temporary.wait_until_empty(Duration::from_secs(20));
    assert!(!is_running(server));
}

#[test]
fn what_even_the_supervisor_could_not_clean_the_next_start_does() {
    use nix::sys::signal::Signal;
    let temporary = Temporary::new();
    let mut demo = Demo::start(&temporary, &[]);
    let server = demo.server_pid();
    for shell in children_of(demo.pid()) {
        nix::sys::signal::kill(shell, Signal::SIGKILL).unwrap();
    }
    demo.end(Signal::SIGKILL);
    assert!(is_running(server), "the orphan this test is about");
    let left = temporary.entries();
    assert_eq!(left.len(), 1, "{left:?}");
    let next = Demo::start(&temporary, &[]);
    assert!(
        next.greeting.contains(&format!("{}, left behind", left[0])),
        "{}",
        next.greeting
    );
    assert!(!is_running(server));
    drop(next);
    assert_eq!(temporary.entries(), Vec::<String>::new());
}

#[test]
fn explain_and_describe_work_on_the_running_demo() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    let allowed = demo.rowgate(&[
        "explain",
        "--user",
        "bob",
        "SELECT sum(amount) FROM invoices",
    ]);
    assert_eq!(allowed.code, Some(0), "{}", allowed.err);
    for part in [
        "allowed",
        "HR Manager (from user_roles)",
        "invoices.sql",
        "rowgate",
    ] {
        assert!(allowed.out.contains(part), "{part}: {}", allowed.out);
    }
    let refused = demo.rowgate(&["explain", "--user", "bob", "DELETE FROM invoices"]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert!(
        refused.out.contains("not_a_read (SQLSTATE 25006)"),
        "{}",
        refused.out
    );
    let described = demo.rowgate(&["describe", "--user", "bob"]);
    assert_eq!(described.code, Some(0), "{}", described.err);
    assert!(
        described
            .out
            .contains("Table invoices: id bigint, amount numeric"),
        "{}",
        described.out
    );
    for hidden in ["api_keys", "payroll", "tax_number", "salary"] {
        assert!(
            !described.out.contains(hidden),
            "{hidden}: {}",
            described.out
        );
    }
}

/// A grant with an end, in the demo as it comes.
#[test]
fn a_role_can_be_lent_in_the_running_demo() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &[]);
    let sum = "SELECT SUM(amount) FROM invoices";
    assert_eq!(demo.psql("eve", sum).out, "");
    let lend = |user: &'static str, until: &'static str| {
        let role = ["grant", "--user", user, "--role", "HR Manager", "--until"];
        demo.rowgate(&[&role[..], &[until]].concat())
    };
    let lent = lend("eve", "2099-12-31T23:59:59Z");
    assert_eq!(lent.code, Some(0), "{}", lent.err);
    assert_eq!(
        demo.psql("eve", sum).out,
        "1300.00",
        "from the next statement on"
    );
    let roles = demo.rowgate(&["roles", "--user", "eve"]);
    assert!(
        roles.out.contains("until 2099-12-31T23:59:59"),
        "{}",
        roles.out
    );
    let past = lend("bob", "2001-01-01T00:00:00Z");
    assert_eq!(past.code, Some(2), "{}", past.err);
    assert_eq!(demo.psql("bob", sum).out, "1300.00", "nothing has changed");
    // What grants nothing: the login may change these rows, and nothing else.
    let permission = ["grant", "--user", "eve", "--permission", "read:pii"];
    assert_eq!(demo.rowgate(&permission).code, Some(2));
}

#[test]
fn inline_enforcement_answers_the_same() {
    let temporary = Temporary::new();
    let demo = Demo::start(&temporary, &["--enforcement", "inline"]);
    let sum = "SELECT SUM(amount) FROM invoices";
    assert_eq!(demo.psql("bob", sum).out, "1300.00");
    assert_eq!(demo.psql("anne", sum).out, "3900.00");
}

/// A folder with everything an example may bring: its own table, view, login, provider file and statement.
#[test]
fn an_example_of_ones_own_brings_its_data_views_and_configuration() {
    let temporary = Temporary::new();
    let folder = temporary.path().join("example");
    for (name, text) in [
        (
            "fixtures/1.sql",
            "CREATE TABLE public.parcels (id int PRIMARY KEY, depot text); \
             INSERT INTO public.parcels VALUES (1, 'north'), (2, 'south'), (3, 'north');",
        ),
        (
            "views/parcels.sql",
            "-- table: public.parcels\nSELECT id, depot FROM public.parcels WHERE depot = ANY (rowgate.roles())",
        ),
        (
            "rowgate.toml",
            "[logins.piet]\npassword = 'secret'\n[[providers]]\nkind = 'file'\npath = 'roles.json'\n",
        ),
        ("roles.json", r#"{"user_roles": {"piet": ["north"]}}"#),
        ("try.sql", "-- all he sees\nSELECT count(*) FROM parcels;\n"),
    ] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let demo = Demo::start(&temporary, &["--example", folder.to_str().unwrap()]);
    assert!(
        demo.greeting
            .contains("SELECT count(*) FROM parcels;\n    piet  2\n"),
        "{}",
        demo.greeting
    );
    // What else it tells to try is about this example, and nothing of another one.
    assert!(
        demo.greeting
            .contains("--user piet 'SELECT count(*) FROM parcels'"),
        "{}",
        demo.greeting
    );
    for other in ["bob", "invoices", "HR Manager"] {
        assert!(!demo.greeting.contains(other), "{other}: {}", demo.greeting);
    }
    let seen = demo.psql_with(
        "piet",
        "secret",
        "SELECT string_agg(id::text, ' ' ORDER BY id) FROM parcels",
    );
    assert_eq!(seen.out, "1 3", "{}", seen.err);
    // The example's own file is watched, not a copy of it.
    std::fs::write(
        folder.join("roles.json"),
        r#"{"user_roles": {"piet": ["south"]}}"#,
    )
    .unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    let sql = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM parcels";
    while demo.psql_with("piet", "secret", sql).out != "2" {
        assert!(std::time::Instant::now() < until, "the change was not seen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_example_that_cannot_be_read_is_named() {
    let temporary = Temporary::new();
    let folder = temporary.path().join("broken");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("rowgate.toml"), "[logins\n").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rowgate"))
        .args(["demo", "--listen", "127.0.0.1:0", "--example"])
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("rowgate.toml"), "{said}");
}
