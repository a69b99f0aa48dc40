//! The oracle. The promise is that a query through the gate answers as it would on a database that holds
//! exactly what its user may see; so each generated query runs three times and must give the same columns,
//! types and rows (as multisets):
//!
//! - through the gate, in both enforcement modes;
//! - under native row-level security policies that say the same;
//! - on the filtered twin, a database whose tables hold exactly what the user's permission views return.
//!
//! `ROWGATE_ORACLE_SEED` and `ROWGATE_ORACLE_QUERIES` change what is generated.

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

mod asked;
mod barrier;
mod generate;
mod poison;
#[path = "../support/mod.rs"]
mod support;
#[path = "../attacks/wire.rs"]
mod wire;

use generate::{Dice, query};
use rowgate::config::Enforcement;
use rowgate::demo::PASSWORD;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use wire::{Answer, Client};

/// Users and their roles, as `fixtures/data.sql` has them.
const USERS: &[(&str, &str)] = &[
    ("bob", "HR Manager"),
    ("anne", "HR Manager,Sales Manager"),
    ("eve", ""),
];

/// What each user sees of each table: the permission views said once more, by hand, over `$roles` (a text
/// array) and `$user`. Columns first, because the views leave some out and mask one.
const VISIBLE: &[(&str, &str, &str)] = &[
    (
        "permissions",
        "department, allowed_role",
        "allowed_role = ANY ($roles)",
    ),
    ("user_roles", "\"user\", role", "\"user\" = $user"),
    ("departments", "name, city, budget", "name IN $allowed"),
    (
        "customers",
        "id, name, department, country, regexp_replace(email, '^[^@]+', '***') AS email, since",
        "department IN $allowed",
    ),
    (
        "invoices",
        "id, amount, date, department, customer_id, note",
        "department IN $allowed",
    ),
    (
        "transactions",
        "id, invoice_id, department, amount, paid_at, method",
        "department IN $allowed",
    ),
    (
        "employees",
        "id, name, department, title, hired",
        "department IN $allowed",
    ),
];

const ALLOWED: &str =
    "(SELECT p.department FROM everything.permissions p WHERE p.allowed_role = ANY ($roles))";

/// A database of the example whose tables moved to schema `everything`; `public` is filled by `fill`.
async fn database(fill: impl Fn(&str, &str, &str) -> String) -> String {
    let name = support::example_database().await;
    let client = support::cluster().connect(&name).await.unwrap();
    client
        .batch_execute("ALTER SCHEMA public RENAME TO everything; CREATE SCHEMA public")
        .await
        .unwrap();
    for (table, columns, filter) in VISIBLE {
        client
            .batch_execute(&fill(table, columns, filter))
            .await
            .unwrap();
    }
    name
}

/// The twin of one user.
async fn twin(user: &str, roles: &str) -> String {
    let roles = format!("string_to_array('{roles}', ',')");
    database(|table, columns, filter| {
        let filter = filter
            .replace("$allowed", ALLOWED)
            .replace("$roles", &roles)
            .replace("$user", &format!("'{user}'"));
        format!(
            "CREATE TABLE public.{table} AS SELECT {columns} FROM everything.{table} WHERE {filter}"
        )
    })
    .await
}

/// One database for all users, under row-level security; each has a role of the same name.
async fn native() -> String {
    let name = database(|table, columns, filter| {
        let filter = filter
            .replace("$allowed", ALLOWED)
            .replace(
                "$roles",
                "string_to_array(current_setting('oracle.roles'), ',')",
            )
            .replace("$user", "current_setting('oracle.who')");
        format!(
            "CREATE TABLE public.{table} AS SELECT {columns} FROM everything.{table}; \
             ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY p ON public.{table} FOR SELECT USING ({filter}); \
             GRANT SELECT ON public.{table} TO PUBLIC"
        )
    })
    .await;
    let client = support::cluster().connect(&name).await.unwrap();
    client
        .batch_execute(
            "GRANT USAGE ON SCHEMA public, everything TO PUBLIC; GRANT SELECT ON everything.permissions TO PUBLIC",
        )
        .await
        .unwrap();
    for (user, roles) in USERS {
        let sql = format!(
            "CREATE ROLE oracle_{user} LOGIN PASSWORD 'oracle'; \
             ALTER ROLE oracle_{user} SET oracle.roles = '{roles}'; \
             ALTER ROLE oracle_{user} SET oracle.who = '{user}'"
        );
        client.batch_execute(&sql).await.unwrap();
    }
    name
}

/// Column names with type OIDs, and the rows.
type Comparable = (Vec<(String, u32)>, Vec<Vec<Option<String>>>);

/// Column names and type OIDs, the rows sorted, or the SQLSTATE.
fn comparable(answer: &Answer) -> Result<Comparable, String> {
    if let Some(error) = answer.error() {
        return Err(error.code);
    }
    let mut rows = answer.rows();
    rows.sort();
    Ok((answer.columns(), rows))
}

fn compare(
    gates: &[(&str, SocketAddr, String)],
    server: SocketAddr,
    native: &str,
    twins: &[String],
) -> Vec<String> {
    let number = |name: &str, default| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    };
    let (seed, count) = (
        number("ROWGATE_ORACLE_SEED", 1),
        number("ROWGATE_ORACLE_QUERIES", 1_500),
    );
    let root = support::cluster().password().expose_secret();
    let mut wrong = Vec::new();
    let (mut answered, mut failed, mut refused, mut with_rows) = (0, 0, 0, 0);
    for ((user, _), twin) in USERS.iter().zip(twins) {
        let login = format!("oracle_{user}");
        let mut native = Client::login(server, &login, "oracle", native)
            .ok()
            .unwrap();
        let mut twin = Client::login(server, "postgres", root, twin).ok().unwrap();
        let mut through: Vec<(&str, Client)> = gates
            .iter()
            .map(|(mode, address, database)| {
                (
                    *mode,
                    Client::login(*address, user, PASSWORD, database)
                        .ok()
                        .unwrap(),
                )
            })
            .collect();
        let mut dice = Dice::new(seed);
        for _ in 0..count {
            let sql = query(&mut dice);
            let expected = comparable(&twin.simple(&sql));
            let by_policies = comparable(&native.simple(&sql));
            if expected != by_policies {
                // The two oracles must agree before they judge anybody, but an error may depend on the plan.
                if expected.is_ok() && by_policies.is_ok() {
                    wrong.push(format!(
                        "[{user}] the oracles differ: {sql}\n  {expected:?}\n  {by_policies:?}"
                    ));
                }
                continue;
            }
            with_rows += usize::from(expected.as_ref().is_ok_and(|(_, rows)| !rows.is_empty()));
            for (mode, client) in &mut through {
                let answer = client.simple(&sql);
                let got = comparable(&answer);
                match (&expected, &got) {
                    (Ok(_), Err(code)) => {
                        refused += 1;
                        wrong.push(format!(
                            "[{user} {mode}] {code} {:?}: {sql}",
                            answer.error().map(|e| e.message)
                        ));
                    }
                    _ if expected == got => match got {
                        Ok(_) => answered += 1,
                        Err(_) => failed += 1,
                    },
                    (Err(code), Ok(_)) if code.starts_with("22") => {
                        // Whether an error in a predicate is met is the plan's choice.
                        failed += 1;
                    }
                    _ => wrong.push(format!("[{user} {mode}] {sql}\n  {expected:?}\n  {got:?}")),
                }
            }
        }
    }
    println!(
        "{answered} answers equal ({with_rows} queries with rows), {failed} errors alike, {refused} refused"
    );
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_answers_as_policies_and_as_the_filtered_twin_do() {
    let barrier = support::gate(Enforcement::Barrier).await;
    let inline = support::gate(Enforcement::Inline).await;
    let native = native().await;
    let mut twins = Vec::new();
    for (user, roles) in USERS {
        twins.push(twin(user, roles).await);
    }
    let server = SocketAddr::from(([127, 0, 0, 1], support::cluster().port()));
    let gates = [
        ("barrier", barrier.address, barrier.database.clone()),
        ("inline", inline.address, inline.database.clone()),
    ];
    let wrong = tokio::task::spawn_blocking(move || compare(&gates, server, &native, &twins))
        .await
        .unwrap();
    assert!(
        wrong.is_empty(),
        "{} differences, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}
