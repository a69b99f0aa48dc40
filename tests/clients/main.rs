//! Real clients against the gate, one test a client, each as Bob and as Anne. README.md here says what they show;
//! `tests/clients/run [NAME...]` runs them with a line a client.
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

mod in_rust;
mod relay;
mod session;
#[path = "../support/mod.rs"]
mod support;

use relay::Relay;
use rowgate::demo::PASSWORD;
use session::{as_each_user, block_on, gate, go, java, node, of_postgresql, python, relayed, run};
use std::process::Command;

fn client(name: &str, command: impl Fn() -> Command) {
    as_each_user(name, |port, user| run(command(), port, user));
}

/// One test a client: its name, and the program that is the client.
macro_rules! clients {
    ($($name:ident => $command:expr,)*) => {$(
        #[test]
        fn $name() {
            client(stringify!($name), || $command);
        }
    )*};
}

clients! {
    asyncpg => python("with_asyncpg.py", &[]),
    drizzle => node("with_drizzle.js"),
    duckdb => python("with_duckdb.py", &[]),
    jdbc => java("WithJdbc.java"),
    knex => node("with_knex.js"),
    langchain => python("with_langchain.py", &[]),
    lib_pq => go("go/pq/main.go"),
    llamaindex => python("with_llamaindex.py", &[]),
    mcp_server_postgres => node("with_mcp_server.js"),
    node_postgres => node("with_node_postgres.js"),
    pg_promise => node("with_pg_promise.js"),
    pgx => go("go/pgx/main.go"),
    postgres_js => node("with_postgres_js.js"),
    postgres_mcp_pro => python("with_postgres_mcp.py", &[]),
    prisma => node("with_prisma.js"),
    psql => python("with_psql.py", &[of_postgresql("psql").to_str().unwrap()]),
    psycopg2 => python("with_psycopg2.py", &[]),
    psycopg3 => python("with_psycopg.py", &[]),
    sqlalchemy_asyncpg => python("with_sqlalchemy.py", &["asyncpg"]),
    sqlalchemy_psycopg2 => python("with_sqlalchemy.py", &["psycopg2"]),
    sqlalchemy_psycopg3 => python("with_sqlalchemy.py", &["psycopg"]),
    typeorm => node("with_typeorm.js"),
}

#[test]
fn tokio_postgres() {
    as_each_user("tokio_postgres", in_rust::tokio_postgres);
}

#[test]
fn sqlx() {
    as_each_user("sqlx", in_rust::sqlx);
}

/// pgbench: by key, a sum that its script compares, a cursor in a transaction. It asks nothing of the catalogue with a script
/// of one's own, and ends at the first error: what a wrong sum shows.
#[test]
fn pgbench() {
    for user in session::USERS {
        for mode in ["simple", "extended", "prepared"] {
            let mut command = Command::new(of_postgresql("pgbench"));
            let script = session::root().join("tests/clients/pgbench.sql");
            command.args(["-n", "-c", "2", "-t", "10", "-M", mode]);
            command.args(["-D", "below=0", "-D"]);
            command.arg(format!("expected={}", user.sum)).arg("-f");
            command.arg(script);
            let mut wrong = Vec::new();
            let seen = relayed(user, &mut wrong, |port| run(command, port, user));
            let through = seen.contains("actually processed: 20/20");
            assert!(through && wrong.is_empty(), "{mode}: {wrong:?} {seen}");
        }
        println!("pgbench: {} in three modes", user.name);
    }
}

/// The relay would see a hidden name: whoever may see it gets it through the same relay.
#[test]
fn what_admin_sees_is_seen_in_the_bytes() {
    block_on(async {
        let relay = Relay::start(gate().address).await;
        let mut login = tokio_postgres::Config::new();
        login.host("127.0.0.1").port(relay.address.port());
        login
            .dbname(&gate().database)
            .user("admin")
            .password(PASSWORD);
        let (client, connection) = login.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let tables =
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
        client.simple_query(tables).await.unwrap();
        let seen = relay.seen(&["canary_board", "sales_targets", "canary_minutes"]);
        assert_eq!(seen.len(), 2, "{seen:?}");
    });
}
