//! The protocol at the socket: hostile frames before and after login, pipelines, transactions, cancel,
//! limits, and a database that goes away. Each hole that a protocol library would open (SECURITY.md) has
//! its test here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../attacks/wire.rs"]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod after_login;
mod audit;
mod before_login;
mod cancel;
mod faults;
mod held;
mod limits;
mod lines;
mod pipelines;
mod tls;
mod transactions;

use client::{Answer, Client};
use rowgate::config::{Config, Enforcement};
use rowgate::demo::{PASSWORD, Setup};
use support::Gate;

/// A gate over the example with a last change of its configuration.
async fn gate(change: impl FnOnce(&mut Config)) -> Gate {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let setup = Setup::example(&format!("wire_{number}"), listen, Enforcement::Barrier);
    support::gate_with(setup, change).await
}

fn login(gate: &Gate, user: &str) -> Client {
    Client::login(gate.address, user, PASSWORD, &gate.database)
        .unwrap_or_else(|answer| panic!("{user} cannot log in: {:?}", answer.error()))
}

/// A login that calls itself `name`.
fn login_as(gate: &Gate, user: &str, name: &str) -> Client {
    let parameters = [
        ("user", user),
        ("database", gate.database.as_str()),
        ("application_name", name),
    ];
    Client::login_with(gate.address, PASSWORD, &parameters)
        .unwrap_or_else(|answer| panic!("{user} cannot log in: {:?}", answer.error()))
}

/// The answer's message types, in order, without ParameterStatus.
fn kinds(answer: &Answer) -> String {
    let kinds = answer.messages.iter().map(|(kind, _)| char::from(*kind));
    kinds.filter(|kind| *kind != 'S').collect()
}

/// The first column of the first row.
fn value(answer: &Answer) -> String {
    answer.rows()[0][0].clone().unwrap_or_default()
}

fn code(answer: &Answer) -> String {
    answer.error().map(|error| error.code).unwrap_or_default()
}

/// A query no machine finishes.
const ENDLESS: &str = "SELECT count(*) FROM invoices a, invoices b, invoices c, invoices d, invoices e, \
     invoices f, invoices g, invoices h, invoices i, invoices j, invoices k, invoices l, invoices m";
