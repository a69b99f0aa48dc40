//! A million rows through the gate and directly, interleaved: MB/s and CPU; then a gigabyte and a slow client, and
//! the most memory the gate ever had.
//!
//! `cargo bench --bench stream`.

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

use std::time::{Duration, Instant};
use support::{Client, Login, MILLION_DATABASE, World, cpu_ns, median, memory_kb, print_table};

const ROUNDS: usize = 5;
const QUERY: &str = "SELECT id, amount, date, department, customer_id, note FROM invoices";
/// Every row 18 times: more than a gigabyte.
const GIGABYTE: &str = "SELECT i.id, i.amount, i.date, i.department, i.customer_id, i.note \
    FROM invoices AS i CROSS JOIN generate_series(1, 18) AS n";

/// Megabytes per second, and bytes.
fn stream(login: &Login, query: &str) -> (f64, u64) {
    let mut client = Client::connect(login).with_buffer(256 * 1024);
    let started = Instant::now();
    let seen = client.query(query);
    (
        seen.bytes as f64 / 1e6 / started.elapsed().as_secs_f64(),
        seen.bytes,
    )
}

fn main() {
    let world = World::start();
    let config = world.million();
    let gate = world.gate(&config, MILLION_DATABASE);
    // Zoe sees every department.
    let (through, direct) = (gate.login("zoe"), world.superuser(MILLION_DATABASE));
    let (mut rates_through, mut rates_direct, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bytes, mut gate_ns) = (0, 0);
    for round in 0..=ROUNDS {
        let (rate_direct, _) = stream(&direct, QUERY);
        let before = cpu_ns(gate.pid());
        let (rate_through, seen) = stream(&through, QUERY);
        if round > 0 {
            gate_ns += cpu_ns(gate.pid()) - before;
            bytes += seen;
            rates_direct.push(rate_direct);
            rates_through.push(rate_through);
            ratios.push(rate_through / rate_direct);
        }
    }
    let percent = |ratio: f64| format!("{:.0} %", 100.0 * ratio);
    print_table(
        "A million rows (median of the rounds; target: at least 80 % of direct)",
        &[
            row!["way", "MB/s", "of direct", "gate CPU ms/GB"],
            row!["direct", format!("{:.0}", median(&rates_direct)), "", ""],
            row![
                "Rowgate",
                format!("{:.0}", median(&rates_through)),
                percent(median(&ratios)),
                format!("{:.0}", gate_ns as f64 / 1e6 / (bytes as f64 / 1e9))
            ],
        ],
    );
    let mut rows = vec![row!["then", "MB sent", "RSS MB", "peak RSS MB"]];
    let megabytes = |what: &str| format!("{:.1}", memory_kb(gate.pid(), what) as f64 / 1024.0);
    rows.push(row![
        "after these",
        bytes / 1_000_000,
        megabytes("VmRSS"),
        megabytes("VmHWM")
    ]);
    let slow = slow_client(&through, gate.pid());
    rows.push(row![
        "a client that reads nothing",
        "",
        format!("{slow:.1}"),
        megabytes("VmHWM")
    ]);
    let (_, gigabyte) = stream(&through, GIGABYTE);
    rows.push(row![
        "a gigabyte",
        gigabyte / 1_000_000,
        megabytes("VmRSS"),
        megabytes("VmHWM")
    ]);
    print_table("Memory of the gate (target: at most 64 MB)", &rows);
}

/// Asks for a gigabyte, takes sips, and then nothing for two seconds; the gate's RSS then, in MB.
fn slow_client(login: &Login, gate: u32) -> f64 {
    let mut client = Client::connect(login);
    client.send(GIGABYTE);
    for _ in 0..20 {
        client.sip(4096);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));
    memory_kb(gate, "VmRSS") as f64 / 1024.0
}
