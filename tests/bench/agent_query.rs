//! Three-table queries of an agent over a million invoices: through Rowgate by the simple protocol, and sent directly
//! under native row-level security with the same predicates, interleaved.
//!
//! `cargo bench --bench agent_query`. The first table is throughput, where a repeated query runs as a prepared
//! statement behind the gate; the second is the database's CPU time for the final texts alone, sealed and open.

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

use rowgate::config::Enforcement;
use rowgate::identity::{Findings, Principal};
use rowgate::install;
use rowgate::limits::Limits;
use rowgate::sql::{Form, Options, STACK_BYTES, admit};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{Client, Login, MILLION_DATABASE, World, cpu_ns, median, print_table, server_cpu_ns};

const CLIENTS: usize = 4;
const ROUNDS: usize = 3;
const SPAN: Duration = Duration::from_millis(1500);

/// Customer 4237 is looked after by HRM, which bob sees.
const QUERIES: &[(&str, &str)] = &[
    (
        "one customer",
        "SELECT i.id, i.date, i.amount, t.paid_at, t.method FROM customers c JOIN invoices i ON i.customer_id = c.id \
         LEFT JOIN transactions t ON t.invoice_id = i.id WHERE c.id = 4237 ORDER BY i.date DESC LIMIT 20",
    ),
    (
        "one week",
        "SELECT c.name, COUNT(*) AS invoices, SUM(i.amount) AS billed, SUM(t.amount) AS paid FROM invoices i \
         JOIN customers c ON c.id = i.customer_id LEFT JOIN transactions t ON t.invoice_id = i.id \
         WHERE i.date BETWEEN DATE '2023-01-20' AND DATE '2023-01-26' GROUP BY c.name ORDER BY billed DESC LIMIT 10",
    ),
    (
        "one invoice",
        "SELECT c.name, c.country, i.amount, SUM(t.amount) AS paid FROM invoices i JOIN customers c ON c.id = i.customer_id \
         JOIN transactions t ON t.invoice_id = i.id WHERE i.id = 4236 GROUP BY c.name, c.country, i.amount",
    ),
    // The same shape without a table that has a masked column.
    (
        "no masked table",
        "SELECT d.city, i.amount, SUM(t.amount) AS paid FROM invoices i JOIN departments d ON d.name = i.department \
         JOIN transactions t ON t.invoice_id = i.id WHERE i.id = 4236 GROUP BY d.city, i.amount",
    ),
];

fn main() {
    let world = World::start();
    let config = world.million();
    let native = world.native();
    let gate = world.gate(&config, MILLION_DATABASE);
    throughput(&world, &gate, &native);
    drop(gate);
    forms(&world, config.parent().unwrap(), &native);
}

/// A session of bob's on the copy, with the settings a gate would set for him.
fn native_session(native: &Login) -> Client {
    let mut client = Client::connect(native);
    client.query("SET jit = off");
    be_bob(&mut client);
    client
}

fn be_bob(client: &mut Client) {
    client.query(r#"SELECT set_config('rowgate.user_id', 'bob', false), set_config('rowgate.roles', '{"HR Manager"}', false)"#);
}

#[derive(Default, Clone, Copy)]
struct Sum {
    queries: u64,
    seconds: f64,
    server_ns: u64,
    gate_ns: u64,
}

fn throughput(world: &World, gate: &support::Gate, native: &Login) {
    let through = gate.login("bob");
    let mut rows = vec![row![
        "query",
        "way",
        "queries/s",
        "of direct",
        "database CPU µs/query",
        "gate CPU µs/query"
    ]];
    for (name, query) in QUERIES {
        let ways: [(&str, &(dyn Fn() -> Client + Sync), bool); 3] = [
            ("direct, native RLS", &|| native_session(native), false),
            ("direct, prepared", &|| native_session(native), true),
            ("Rowgate", &|| Client::connect(&through), false),
        ];
        let mut sums = [Sum::default(); 3];
        for round in 0..=ROUNDS {
            for ((_, connect, prepared), sum) in ways.iter().zip(&mut sums) {
                let counted = run(world, gate.pid(), query, connect, *prepared);
                if round > 0 {
                    sum.queries += counted.queries;
                    sum.seconds += counted.seconds;
                    sum.server_ns += counted.server_ns;
                    sum.gate_ns += counted.gate_ns;
                }
            }
        }
        let rate = |sum: &Sum| sum.queries as f64 / sum.seconds;
        for ((way, ..), sum) in ways.iter().zip(&sums) {
            let micros = |ns: u64| format!("{:.0}", ns as f64 / 1e3 / sum.queries as f64);
            let gate = if *way == "Rowgate" {
                micros(sum.gate_ns)
            } else {
                String::new()
            };
            let ratio = format!("{:.2}x", rate(sum) / rate(&sums[0]));
            rows.push(row![
                name,
                way,
                format!("{:.0}", rate(sum)),
                ratio,
                micros(sum.server_ns),
                gate
            ]);
        }
    }
    print_table(
        &format!("A repeated query, {CLIENTS} clients (target: Rowgate at least 2x of direct)"),
        &rows,
    );
}

/// All clients ask the same thing over and over for a while.
fn run(
    world: &World,
    gate: u32,
    query: &str,
    connect: &(dyn Fn() -> Client + Sync),
    prepared: bool,
) -> Sum {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| connect()).collect();
    for client in &mut clients {
        let seen = client.query(query);
        assert!(seen.rows > 0, "no rows: {query}");
        if prepared {
            client.prepare("q", query);
        }
    }
    let (stop, queries) = (AtomicBool::new(false), AtomicU64::new(0));
    let (server, middle) = (server_cpu_ns(world.postmaster()), cpu_ns(gate));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if prepared {
                        client.execute("q");
                    } else {
                        client.query(query);
                    }
                    queries.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(SPAN);
        stop.store(true, Ordering::Relaxed);
    });
    Sum {
        queries: queries.into_inner(),
        seconds: started.elapsed().as_secs_f64(),
        server_ns: server_cpu_ns(world.postmaster()) - server,
        gate_ns: cpu_ns(gate) - middle,
    }
}

/// The final texts: open (if the gate chooses it) and sealed.
fn final_texts(world: &World, gate_folder: &Path) -> Vec<(Option<String>, String)> {
    let policy = world.runtime.block_on(async {
        let client = world.cluster.connect(MILLION_DATABASE).await.unwrap();
        install::load_policy(
            &gate_folder.join("views"),
            &client,
            Enforcement::Barrier,
            None,
        )
        .await
        .unwrap()
    });
    let findings = Findings {
        roles: [("HR Manager".to_owned(), ["bench".to_owned()].into())].into(),
        ..Findings::default()
    };
    let grants = policy.grants(&Principal::new("bob", "bob", findings));
    let text = |query: &str, open_allowed: bool| {
        let options = Options {
            limits: Limits::default(),
            open_allowed,
            parameter_types: Vec::new(),
        };
        let query = admit(query, &grants, &options).unwrap();
        (query.form(), query.text().to_string())
    };
    let both = || -> Vec<(Option<String>, String)> {
        let texts = QUERIES.iter().map(|(_, query)| {
            let (form, chosen) = text(query, true);
            ((form == Form::Open).then_some(chosen), text(query, false).1)
        });
        texts.collect()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, both).unwrap().join().unwrap()
    })
}

fn forms(world: &World, gate_folder: &Path, native: &Login) {
    let mut gated = Client::connect(&world.superuser(MILLION_DATABASE));
    gated.query("SET jit = off");
    gated.query("SET SESSION AUTHORIZATION rowgate");
    be_bob(&mut gated);
    let mut native = native_session(native);
    let mut rows = vec![row![
        "query",
        "text",
        "planned each time µs",
        "of native",
        "prepared µs",
        "of native"
    ]];
    for ((name, query), (open, sealed)) in QUERIES.iter().zip(final_texts(world, gate_folder)) {
        let chosen = open.is_some();
        let mut texts = vec![("native RLS", query.to_string(), false)];
        texts.extend(open.map(|open| ("open (chosen)", open, true)));
        texts.push((
            if chosen { "sealed" } else { "sealed (chosen)" },
            sealed,
            true,
        ));
        let mut times = vec![[Vec::new(), Vec::new()]; texts.len()];
        for _ in 0..5 {
            for ((_, text, through), times) in texts.iter().zip(&mut times) {
                let client = if *through { &mut gated } else { &mut native };
                client.prepare("q", text);
                times[0].push(server_micros(world, || client.query(text).rows));
                times[1].push(server_micros(world, || client.execute("q").rows));
                client.query("DEALLOCATE q");
            }
        }
        let base = [median(&times[0][0]), median(&times[0][1])];
        for ((text, ..), times) in texts.iter().zip(&times) {
            let [planned, prepared] = [median(&times[0]), median(&times[1])];
            let ratio = |time: f64, base: f64| format!("{:.2}x", time / base);
            rows.push(row![
                name,
                text,
                format!("{planned:.0}"),
                ratio(planned, base[0]),
                format!("{prepared:.0}"),
                ratio(prepared, base[1])
            ]);
        }
    }
    print_table(
        "The database's CPU time for one execution (target: the chosen form within 1.3x of native)",
        &rows,
    );
}

/// The database's CPU time for one call, from as many as take a while.
fn server_micros(world: &World, mut call: impl FnMut() -> u64) -> f64 {
    call();
    let (started, server) = (Instant::now(), server_cpu_ns(world.postmaster()));
    let mut calls = 0_u32;
    while started.elapsed() < Duration::from_millis(150) || calls < 3 {
        call();
        calls += 1;
    }
    (server_cpu_ns(world.postmaster()) - server) as f64 / 1e3 / f64::from(calls)
}
