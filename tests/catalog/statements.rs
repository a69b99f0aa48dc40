//! What clients send on their own, recorded: `statements.jsonl`, and running one of them through a gate.
//!
//! A line is a statement and who sends it. `{name}` stands for the number the server gave to the object of that name
//! (a table, an index, a type, a function); hidden objects are among them. `before` is sent first.

use crate::support;
use bytes::BytesMut;
use serde::Deserialize;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

#[derive(Deserialize)]
pub struct Statement {
    pub id: String,
    pub sent_by: Vec<String>,
    pub protocol: String,
    types: Vec<u32>,
    parameters: Vec<String>,
    pub before: String,
    pub sql: String,
}

pub fn all() -> Vec<Statement> {
    include_str!("statements.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The number of each object by its name, as the server knows them.
pub async fn numbers(server: &Client) -> HashMap<String, u32> {
    let sql = "SELECT c.relname::text, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = \
               'public' UNION ALL SELECT typname::text, oid FROM pg_type WHERE typtype IN ('e', 'd') UNION ALL SELECT \
               proname::text, oid FROM pg_proc WHERE proname = 'canary_function'";
    let rows = server.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// `{name}` becomes its number; one that no object has where there is none of that name.
fn numbered(text: &str, numbers: &HashMap<String, u32>) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        done.push_str(before);
        let name = after
            .split_once('}')
            .filter(|(name, _)| *name == "{" || is_name(name));
        match name {
            Some((name, behind)) => {
                let number = numbers.get(name).copied().unwrap_or(2_000_000_000);
                done.push_str(&number.to_string());
                rest = behind;
            }
            None => {
                done.push('{');
                rest = after;
            }
        }
    }
    done + rest
}

fn is_name(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        || [
            "invoices",
            "customers",
            "departments",
            "employees",
            "transactions",
            "permissions",
        ]
        .contains(&text)
}

impl Statement {
    /// The text for a server whose objects have these numbers.
    pub fn text(&self, numbers: &HashMap<String, u32>) -> String {
        numbered(&self.sql, numbers)
    }

    /// The same with the parameters written into it.
    pub fn inlined(&self, numbers: &HashMap<String, u32>) -> String {
        let mut text = self.text(numbers);
        for (index, value) in self.parameters.iter().enumerate().rev() {
            let value = numbered(value, numbers).replace('\'', "''");
            text = text.replace(&format!("${}", index + 1), &format!("'{value}'"));
        }
        text
    }

    /// Sends it as its client does; what the gate refused it with, and its hint.
    pub async fn send(
        &self,
        client: &Client,
        numbers: &HashMap<String, u32>,
    ) -> Result<(), Refused> {
        if !self.before.is_empty() {
            client.batch_execute(&self.before).await.unwrap();
        }
        let text = self.text(numbers);
        let answer = if self.protocol == "extended" {
            self.send_extended(client, &text, numbers).await
        } else {
            client.simple_query(&text).await.map(drop)
        };
        client.batch_execute("ROLLBACK").await.unwrap();
        answer.map_err(|error| {
            let Some(error) = error.as_db_error() else {
                panic!("{}: {error:?}", self.id);
            };
            Refused {
                sqlstate: error.code().code().to_owned(),
                message: error.message().to_owned(),
                hint: error.hint().unwrap_or_default().to_owned(),
            }
        })
    }

    async fn send_extended(
        &self,
        client: &Client,
        text: &str,
        numbers: &HashMap<String, u32>,
    ) -> Result<(), tokio_postgres::Error> {
        let values: Vec<Value> = self
            .parameters
            .iter()
            .map(|value| Value(numbered(value, numbers)))
            .collect();
        let types: Vec<Type> = self
            .types
            .iter()
            .zip(&values)
            .map(|(oid, value)| value.type_(*oid))
            .collect();
        let statement = client.prepare_typed(text, &types).await?;
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|v| v as &(dyn ToSql + Sync)).collect();
        client.query(&statement, &values).await.map(drop)
    }
}

/// A refusal as the client saw it.
#[derive(Debug)]
pub struct Refused {
    pub sqlstate: String,
    pub message: String,
    pub hint: String,
}

/// A parameter's text; sent in the binary form of whatever type it is to have.
#[derive(Debug)]
struct Value(String);

impl Value {
    /// The declared type. A client that declares small integers by their size declares a large one as a larger type.
    fn type_(&self, oid: u32) -> Type {
        match Type::from_oid(oid) {
            Some(Type::INT2) if self.0.parse::<i16>().is_err() => Type::INT4,
            Some(known) => known,
            None => Type::UNKNOWN,
        }
    }

    fn elements(&self) -> Vec<String> {
        let inner = self.0.trim_start_matches('{').trim_end_matches('}');
        inner.split(',').map(str::to_owned).collect()
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        type_: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let text = &self.0;
        match *type_ {
            Type::BOOL => (text == "true").to_sql(type_, out),
            Type::INT2 => text.parse::<i16>()?.to_sql(type_, out),
            Type::INT4 => text.parse::<i32>()?.to_sql(type_, out),
            Type::INT8 => text.parse::<i64>()?.to_sql(type_, out),
            Type::OID => text.parse::<u32>()?.to_sql(type_, out),
            Type::OID_ARRAY => {
                let numbers: Result<Vec<u32>, _> =
                    self.elements().iter().map(|e| e.parse()).collect();
                numbers?.to_sql(type_, out)
            }
            Type::NAME_ARRAY | Type::TEXT_ARRAY => self.elements().to_sql(type_, out),
            Type::CHAR => {
                let byte = text.bytes().next().unwrap_or(0);
                out.extend_from_slice(&[byte]);
                Ok(IsNull::No)
            }
            _ => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A connection whose received bytes are kept.
pub struct Tapped {
    pub client: Client,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Tapped {
    pub async fn connect(gate: &support::Gate, user: &str) -> Self {
        let received = Arc::default();
        let stream = Tap {
            stream: TcpStream::connect(gate.address).await.unwrap(),
            received: Arc::clone(&received),
        };
        let (client, connection) = gate.login(user).connect_raw(stream, NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { client, received }
    }

    /// What was received since the last call.
    pub fn bytes(&self) -> Vec<u8> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }

    /// The same as text, in lower case.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).to_lowercase()
    }
}

struct Tap {
    stream: TcpStream,
    received: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let new = &buffer.filled()[before..];
        self.received.lock().unwrap().extend_from_slice(new);
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
