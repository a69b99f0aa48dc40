//! Memory of the gate per idle client, at 1,000 connections: logged in, and after a query each.
//!
//! `cargo bench --bench idle`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark fails by panicking, and prints"
)]

mod support;

use support::{Client, World, memory_kb, print_table};

const CLIENTS: u64 = 1_000;

fn main() {
    // Two ends of a thousand sockets; the usual limit is 1,024.
    let (_, most) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most).unwrap();
    let world = World::start();
    let config = world.example();
    let gate = world.gate(&config, "example");
    let login = gate.login("bob");
    // What one client needs anyway (the pool, the first rewrite) is not counted.
    Client::connect(&login).query("SELECT sum(amount) FROM invoices");
    let before = memory_kb(gate.pid(), "VmRSS");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(&login)).collect();
    let connected = memory_kb(gate.pid(), "VmRSS");
    for client in &mut clients {
        client.query("SELECT sum(amount) FROM invoices");
    }
    let asked = memory_kb(gate.pid(), "VmRSS");
    let each = |now: u64| format!("{:.1}", (now - before) as f64 / CLIENTS as f64);
    print_table(
        &format!("Idle clients: memory of the gate at {CLIENTS} connections"),
        &[
            row!["state", "RSS kB", "kB per client"],
            row!["one client, gone", before, ""],
            row!["logged in", connected, each(connected)],
            row!["idle after a query each", asked, each(asked)],
        ],
    );
}
