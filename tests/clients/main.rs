//! Real clients against the gate: psql, pgbench, psycopg 3, asyncpg and node-postgres.
//!
//! `.ci/setup tests` installs them. A client that is missing fails its test; nothing is skipped.

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

use rowgate::config::Enforcement;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::Gate;

/// Runs a client to its end on a blocking thread; its standard output. Any failure fails the test.
async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || {
        command
            .stdin(Stdio::null())
            .output()
            .map(|output| (output, command))
    });
    let (output, command) = output.await.unwrap().unwrap_or_else(|error| {
        panic!("a client program is missing ({error}); `.ci/setup tests` installs it")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out
}

/// A client program with the gate's address in libpq's variables, which every client here reads.
fn client(program: impl AsRef<Path>, gate: &Gate, user: &str) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", gate.address.port().to_string())
        .env("PGUSER", user)
        .env("PGPASSWORD", rowgate::demo::PASSWORD)
        .env("PGDATABASE", &gate.database)
        .env("LC_ALL", "C");
    command
}

/// `psql` or `pgbench`, of the server's version where that is possible.
fn of_postgresql(name: &str) -> PathBuf {
    let beside_the_server = rowgate::demo::find_binaries().unwrap().join(name);
    if beside_the_server.exists() {
        beside_the_server
    } else {
        PathBuf::from(name)
    }
}

/// A Python that has the package: the one on PATH, else the system's.
fn python_with(package: &str) -> &'static str {
    let has = |program: &&str| {
        let mut command = Command::new(program);
        command.args(["-c", &format!("import {package}")]);
        command
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(has)
        .unwrap_or_else(|| panic!("no Python has {package}; `.ci/setup tests` installs it"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_runs_a_session() {
    let gate = support::gate(Enforcement::Barrier).await;
    let mut command = client(of_postgresql("psql"), &gate, "anne");
    command
        .args(["-X", "-At", "-v", "ON_ERROR_STOP=0", "-f"])
        .arg(script("session.sql"));
    let seen = run(command).await;
    let expected = std::fs::read_to_string(script("session.out")).unwrap();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_works() {
    let gate = support::gate(Enforcement::Barrier).await;
    let mut command = client(python_with("psycopg"), &gate, "bob");
    command.arg(script("with_psycopg.py"));
    assert_eq!(run(command).await.trim(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncpg_works() {
    let gate = support::gate(Enforcement::Barrier).await;
    let mut command = client(python_with("asyncpg"), &gate, "bob");
    command.arg(script("with_asyncpg.py"));
    assert_eq!(run(command).await.trim(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_works() {
    let gate = support::gate(Enforcement::Barrier).await;
    let mut command = client("node", &gate, "bob");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/node_modules");
    command
        .env(
            "NODE_PATH",
            format!("{}:/usr/share/nodejs:/usr/lib/nodejs", own.display()),
        )
        .arg(script("with_node.js"));
    assert_eq!(run(command).await.trim(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_in_all_three_modes() {
    let views = tempfile::tempdir().unwrap();
    for (table, key) in [("accounts", "aid"), ("branches", "bid")] {
        let text = format!(
            "-- table: public.pgbench_{table}\nSELECT * FROM public.pgbench_{table} WHERE {key} > 0\n"
        );
        std::fs::write(views.path().join(format!("pgbench_{table}.sql")), text).unwrap();
    }
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let mut setup = rowgate::demo::Setup::example("pgbench", listen, Enforcement::Barrier);
    setup.views = Some(views.path().to_owned());
    setup.sql.push(
        "CREATE TABLE public.pgbench_branches (bid int PRIMARY KEY, bbalance int);
         CREATE TABLE public.pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
         INSERT INTO public.pgbench_branches VALUES (1, 0);
         INSERT INTO public.pgbench_accounts SELECT a, 1, a % 7, '' FROM generate_series(1, 100000) AS a;
         ANALYZE;"
            .to_owned(),
    );
    let gate = support::gate_with(setup, |_| {}).await;
    for mode in ["simple", "extended", "prepared"] {
        let mut command = client(of_postgresql("pgbench"), &gate, "bob");
        command.args(["-S", "-n", "-c", "2", "-t", "50", "-M", mode]);
        let seen = run(command).await;
        assert!(
            seen.contains("actually processed: 100/100"),
            "{mode}: {seen}"
        );
    }
}
