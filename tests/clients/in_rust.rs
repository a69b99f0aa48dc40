//! The clients that are Rust libraries: tokio-postgres and sqlx, in the tests' own process.

use crate::session::{COLUMNS, User, block_on, gate};
use futures_util::{StreamExt, TryStreamExt};
use rowgate::demo::PASSWORD;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Column, Connection, Executor, Row};
use std::fmt::Write;
use std::pin::pin;

const LIST_TABLES: &str = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
const LIST_COLUMNS: &str = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position";
const TOTAL: &str = "SELECT SUM(amount)::text FROM invoices";
const TOTAL_OF: &str = "SELECT SUM(amount)::text FROM invoices WHERE department = $1";
const READ: &str = "SELECT id, value FROM readings ORDER BY id";
const WRITE: &str = "DELETE FROM invoices";
const HIDDEN: &str = "SELECT secret FROM api_keys";

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The line of a check.
fn note(printed: &mut String, name: &str, outcome: Outcome) {
    match outcome {
        Ok(()) => writeln!(printed, "ok {name}").unwrap(),
        Err(error) => writeln!(printed, "not ok {name}: {error}: {error:?}").unwrap(),
    }
}

fn equal<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(seen: T, expected: U) -> Outcome {
    match seen == expected {
        true => Ok(()),
        false => Err(format!("saw {seen:?}, not {expected:?}").into()),
    }
}

fn sales(user: &User) -> Option<String> {
    (!user.sum_of_sales.is_empty()).then(|| user.sum_of_sales.to_owned())
}

/// Whether these are all the readings, in their order.
fn all_readings(seen: &[(i64, i32)], user: &User) -> Outcome {
    let expected: Vec<(i64, i32)> = (1..=user.readings as i32)
        .map(|n| (i64::from(n), n % 100))
        .collect();
    equal(seen.len(), expected.len())?;
    equal(seen, &expected[..])
}

pub(crate) fn tokio_postgres(port: u16, user: &User) -> String {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname(&gate().database);
    config.user(user.name).password(PASSWORD);
    let mut printed = String::new();
    block_on(async {
        let (mut client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let out = &mut printed;
        note(out, "tables", tables_of_tokio(&client, user).await);
        note(out, "describe", describe_of_tokio(&client).await);
        note(out, "sum", sum_of_tokio(&client, user).await);
        note(out, "parameter", parameter_of_tokio(&client, user).await);
        note(out, "cursor", cursor_of_tokio(&mut client, user).await);
        note(out, "copy", copy_of_tokio(&client, user).await);
        note(out, "error", error_of_tokio(&client).await);
        note(
            out,
            "transaction",
            transaction_of_tokio(&mut client, user).await,
        );
        let hidden = client.query(HIDDEN, &[]).await;
        note(out, "hidden", refused_of_tokio(hidden, "42P01"));
    });
    printed
}

async fn tables_of_tokio(client: &tokio_postgres::Client, user: &User) -> Outcome {
    let rows = client.query(LIST_TABLES, &[]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    equal(names.join(","), user.tables)
}

async fn describe_of_tokio(client: &tokio_postgres::Client) -> Outcome {
    let rows = client.query(LIST_COLUMNS, &[&"invoices"]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    equal(names.join(","), COLUMNS)?;
    let statement = client.prepare("SELECT * FROM invoices").await?;
    let names: Vec<&str> = statement.columns().iter().map(|c| c.name()).collect();
    equal(names.join(","), COLUMNS)
}

async fn sum_of_tokio(client: &tokio_postgres::Client, user: &User) -> Outcome {
    let row = client.query_one(TOTAL, &[]).await?;
    equal(row.get::<_, String>(0), user.sum)?;
    let messages = client.simple_query(TOTAL).await?;
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    equal(rows.collect::<Vec<_>>(), [user.sum])
}

async fn parameter_of_tokio(client: &tokio_postgres::Client, user: &User) -> Outcome {
    let row = client.query_one(TOTAL_OF, &[&"Sales"]).await?;
    equal(row.get::<_, Option<String>>(0), sales(user))?;
    // Two in flight at once.
    let both = tokio::try_join!(
        client.query_one("SELECT $1::bigint", &[&1_i64]),
        client.query_one("SELECT $1::bigint", &[&2_i64]),
    )?;
    equal((both.0.get::<_, i64>(0), both.1.get::<_, i64>(0)), (1, 2))
}

async fn cursor_of_tokio(client: &mut tokio_postgres::Client, user: &User) -> Outcome {
    let transaction = client.transaction().await?;
    let portal = transaction.bind(READ, &[]).await?;
    let mut seen = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 1000).await?;
        if rows.is_empty() {
            break;
        }
        seen.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    }
    transaction.commit().await?;
    all_readings(&seen, user)
}

async fn copy_of_tokio(client: &tokio_postgres::Client, user: &User) -> Outcome {
    let copied = client.copy_out(&format!("COPY ({READ}) TO STDOUT")).await?;
    let chunks: Vec<bytes::Bytes> = pin!(copied).try_collect().await?;
    let mut seen = Vec::new();
    for line in String::from_utf8(chunks.concat())?.lines() {
        let (id, value) = line.split_once('\t').ok_or("no tab")?;
        seen.push((id.parse()?, value.parse()?));
    }
    all_readings(&seen, user)
}

fn refused_of_tokio<T>(outcome: Result<T, tokio_postgres::Error>, state: &str) -> Outcome {
    let error = outcome.err().ok_or("nothing was refused")?;
    equal(error.code().map(|code| code.code()), Some(state))
}

async fn error_of_tokio(client: &tokio_postgres::Client) -> Outcome {
    refused_of_tokio(client.execute(WRITE, &[]).await, "25006")?;
    refused_of_tokio(client.query("SELECT 1 / $1::int", &[&0_i32]).await, "22012")?;
    equal(client.query_one("SELECT 1", &[]).await?.get::<_, i32>(0), 1)
}

async fn transaction_of_tokio(client: &mut tokio_postgres::Client, user: &User) -> Outcome {
    let transaction = client.transaction().await?;
    refused_of_tokio(transaction.execute(WRITE, &[]).await, "25006")?;
    refused_of_tokio(transaction.query("SELECT 1", &[]).await, "25P02")?;
    transaction.rollback().await?;
    let level = tokio_postgres::IsolationLevel::RepeatableRead;
    let build = client
        .build_transaction()
        .isolation_level(level)
        .read_only(true);
    let mut transaction = build.start().await?;
    let savepoint = transaction.savepoint("s1").await?;
    refused_of_tokio(savepoint.query("SELECT 1/0", &[]).await, "22012")?;
    savepoint.rollback().await?;
    let row = transaction.query_one(TOTAL, &[]).await?;
    equal(row.get::<_, String>(0), user.sum)?;
    Ok(transaction.commit().await?)
}

pub(crate) fn sqlx(port: u16, user: &User) -> String {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .database(&gate().database)
        .username(user.name)
        .password(PASSWORD)
        .ssl_mode(PgSslMode::Prefer);
    let mut printed = String::new();
    block_on(async {
        let pool = PgPoolOptions::new().max_connections(2);
        let pool = pool.connect_with(options).await.unwrap();
        let out = &mut printed;
        note(out, "tables", tables_of_sqlx(&pool, user).await);
        note(out, "describe", describe_of_sqlx(&pool).await);
        note(out, "sum", sum_of_sqlx(&pool, user).await);
        note(out, "parameter", parameter_of_sqlx(&pool, user).await);
        note(out, "cursor", cursor_of_sqlx(&pool, user).await);
        note(out, "error", error_of_sqlx(&pool).await);
        note(out, "transaction", transaction_of_sqlx(&pool, user).await);
        let hidden = pool.execute(HIDDEN).await;
        note(out, "hidden", refused_of_sqlx(hidden, "42P01"));
        pool.close().await;
    });
    printed
}

async fn tables_of_sqlx(pool: &sqlx::PgPool, user: &User) -> Outcome {
    let names: Vec<String> = sqlx::query_scalar(LIST_TABLES).fetch_all(pool).await?;
    equal(names.join(","), user.tables)
}

async fn describe_of_sqlx(pool: &sqlx::PgPool) -> Outcome {
    let names = sqlx::query_scalar(LIST_COLUMNS).bind("invoices");
    let names: Vec<String> = names.fetch_all(pool).await?;
    equal(names.join(","), COLUMNS)?;
    let row = sqlx::query("SELECT * FROM invoices")
        .fetch_one(pool)
        .await?;
    let names: Vec<&str> = row.columns().iter().map(Column::name).collect();
    equal(names.join(","), COLUMNS)
}

async fn sum_of_sqlx(pool: &sqlx::PgPool, user: &User) -> Outcome {
    let sum: String = sqlx::query_scalar(TOTAL).fetch_one(pool).await?;
    equal(sum, user.sum)
}

async fn parameter_of_sqlx(pool: &sqlx::PgPool, user: &User) -> Outcome {
    for _ in 0..3 {
        let sum = sqlx::query_scalar(TOTAL_OF).bind("Sales");
        let sum: Option<String> = sum.fetch_one(pool).await?;
        equal(sum, sales(user))?;
    }
    Ok(())
}

async fn cursor_of_sqlx(pool: &sqlx::PgPool, user: &User) -> Outcome {
    let mut rows = sqlx::query_as::<_, (i64, i32)>(READ).fetch(pool);
    let mut seen = Vec::new();
    while let Some(row) = rows.next().await {
        seen.push(row?);
    }
    all_readings(&seen, user)
}

fn refused_of_sqlx<T>(outcome: Result<T, sqlx::Error>, state: &str) -> Outcome {
    let error = outcome.err().ok_or("nothing was refused")?;
    let said = error.as_database_error().and_then(|error| error.code());
    equal(said.as_deref(), Some(state))
}

async fn error_of_sqlx(pool: &sqlx::PgPool) -> Outcome {
    refused_of_sqlx(pool.execute(WRITE).await, "25006")?;
    let divided = sqlx::query("SELECT 1 / $1").bind(0_i32).fetch_one(pool);
    refused_of_sqlx(divided.await, "22012")?;
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(pool).await?;
    equal(one, 1)
}

async fn transaction_of_sqlx(pool: &sqlx::PgPool, user: &User) -> Outcome {
    let mut transaction = pool.begin().await?;
    refused_of_sqlx(sqlx::query(WRITE).execute(&mut *transaction).await, "25006")?;
    transaction.rollback().await?;
    let mut transaction = pool.begin_with("BEGIN READ ONLY").await?;
    let mut savepoint = transaction.begin().await?;
    let failed = sqlx::query("SELECT 1/0").fetch_one(&mut *savepoint).await;
    refused_of_sqlx(failed, "22012")?;
    savepoint.rollback().await?;
    let sum = sqlx::query_scalar(TOTAL);
    let sum: String = sum.fetch_one(&mut *transaction).await?;
    equal(sum, user.sum)?;
    Ok(transaction.commit().await?)
}
