//! `pgbench -S` direct, through PgBouncer and through Rowgate, interleaved in one run: queries per second, and CPU
//! time per query of the process in the middle and of the database.
//!
//! Every figure is the median of the rounds, a ratio the median of the rounds' own ratios: a neighbour's burst on the same
//! machine then spoils a round, not the figure.
//!
//! `cargo bench --bench proxy`. Wants `pgbench` and, for that column, `pgbouncer` (Debian: both are packages).
//!
//! - *prepared*: PgBouncer before 1.21 cannot do it with transaction pooling, so it pools sessions there.
//! - *extended*: one text with a parameter, sent with Parse, Bind and Execute each time.
//! - *simple, same texts*: 500 different texts, so that rewrites repeat as an application's or an agent's do.
//! - *simple, new texts*: every text is new to the gate, which therefore reads, rewrites and verifies each.

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

use std::fmt::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{Login, World, cpu_ns, print_table, server_cpu_ns};

const ROUNDS: usize = 9;
const SECONDS: &str = "1";
const CLIENTS: &str = "4";

/// One of the three ways to the database.
struct Way {
    name: &'static str,
    login: Login,
    /// The database's name for prepared statements, if it is another one.
    prepared_database: String,
    process: Option<u32>,
}

/// One round of one way.
struct Round {
    queries_per_second: f64,
    /// CPU time of a query, in microseconds: of the process in the middle, and of the database.
    process_us: f64,
    server_us: f64,
}

fn main() {
    let world = World::start();
    let config = pgbench_database(&world);
    let gate = world.gate(&config, "pgbench");
    let bouncer = PgBouncer::start(&world);
    let mut ways = vec![Way {
        name: "direct",
        login: world.superuser("pgbench"),
        prepared_database: "pgbench".to_owned(),
        process: None,
    }];
    if let Some(bouncer) = &bouncer {
        ways.push(Way {
            name: "PgBouncer",
            login: Login {
                port: bouncer.port,
                ..world.superuser("pgbench")
            },
            prepared_database: "pgbench_sessions".to_owned(),
            process: Some(bouncer.process.id()),
        });
    }
    ways.push(Way {
        name: "Rowgate",
        login: gate.login("bob"),
        prepared_database: "pgbench".to_owned(),
        process: Some(gate.pid()),
    });
    let script = |aids: u32| {
        format!(
            "\\set aid random(1, {aids})\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
        )
    };
    let folder = world.cluster.folder();
    for (name, mode, aids) in [
        ("prepared", "prepared", 500_000),
        ("extended", "extended", 500_000),
        ("simple, same texts", "simple", 500),
        ("simple, new texts", "simple", 500_000),
    ] {
        let file = folder.join("bench.pgbench");
        std::fs::write(&file, script(aids)).unwrap();
        let rounds = interleaved(&world, &ways, mode, &file);
        report(name, &ways, &rounds);
    }
}

fn interleaved(world: &World, ways: &[Way], mode: &str, script: &Path) -> Vec<Vec<Round>> {
    let mut all: Vec<Vec<Round>> = ways.iter().map(|_| Vec::new()).collect();
    // The first round warms caches and is not counted.
    for number in 0..=ROUNDS {
        for (way, rounds) in ways.iter().zip(&mut all) {
            let process = || way.process.map_or(0, cpu_ns);
            let server = || server_cpu_ns(world.postmaster());
            let (process_before, server_before) = (process(), server());
            let (queries, tps) = pgbench(way, mode, script);
            std::thread::sleep(Duration::from_millis(100));
            let per_query = |ns: u64| ns as f64 / 1e3 / queries;
            if number > 0 {
                rounds.push(Round {
                    queries_per_second: tps,
                    process_us: per_query(process() - process_before),
                    server_us: per_query(server() - server_before),
                });
            }
        }
    }
    all
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Queries done, and queries per second.
fn pgbench(way: &Way, mode: &str, script: &Path) -> (f64, f64) {
    let database = match mode {
        "prepared" => &way.prepared_database,
        _ => &way.login.database,
    };
    let output = Command::new("pgbench")
        .args([
            "-n", "-c", CLIENTS, "-j", "1", "-T", SECONDS, "-M", mode, "-f",
        ])
        .arg(script)
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &way.login.port.to_string(),
            "-U",
            &way.login.user,
            database,
        ])
        .env("PGPASSWORD", &way.login.password)
        .env("PGSSLMODE", "disable")
        .output()
        .unwrap_or_else(|error| panic!("pgbench: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |label: &str| -> f64 {
        said.lines()
            .find_map(|line| {
                line.strip_prefix(label)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or_else(|| {
                panic!(
                    "{}: {said}{}",
                    way.name,
                    String::from_utf8_lossy(&output.stderr)
                )
            })
    };
    (
        number("number of transactions actually processed: "),
        number("tps = "),
    )
}

fn report(name: &str, ways: &[Way], all: &[Vec<Round>]) {
    let mut rows = vec![row![
        "way",
        "queries/s",
        "CPU µs/query",
        "of PgBouncer's",
        "database CPU µs/query"
    ]];
    let bouncer = ways.iter().position(|way| way.name == "PgBouncer");
    for (way, rounds) in ways.iter().zip(all) {
        let own = median(rounds.iter().map(|round| round.process_us));
        let (shown, ratio) = match (way.process, bouncer) {
            (None, _) => (String::new(), String::new()),
            (Some(_), None) => (format!("{own:.1}"), String::new()),
            (Some(_), Some(bouncer)) => {
                let both = rounds.iter().zip(&all[bouncer]);
                let ratio = median(both.map(|(own, other)| own.process_us / other.process_us));
                (format!("{own:.1}"), format!("{ratio:.2}x"))
            }
        };
        let server = format!("{:.1}", median(rounds.iter().map(|round| round.server_us)));
        let rate = median(rounds.iter().map(|round| round.queries_per_second));
        rows.push(row![way.name, format!("{rate:.0}"), shown, ratio, server]);
    }
    print_table(
        &format!(
            "pgbench -S, {name}, {CLIENTS} clients (target: Rowgate within 1.5x of PgBouncer's CPU)"
        ),
        &rows,
    );
}

/// pgbench's tables at scale 5, and the gate's configuration.
fn pgbench_database(world: &World) -> PathBuf {
    let tables = "
        CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
        CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
        INSERT INTO pgbench_branches SELECT b, 0, '' FROM generate_series(1, 5) AS b;
        INSERT INTO pgbench_accounts SELECT a, 1 + (a - 1) / 100000, 0, '' FROM generate_series(1, 500000) AS a;";
    let views = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/views");
    let config = world.prepare("pgbench", vec![tables.to_owned()], Some(&views));
    world.run("pgbench", "VACUUM ANALYZE");
    config
}

/// PgBouncer, if the machine has it; ends with the value.
struct PgBouncer {
    process: Child,
    port: u16,
}

impl PgBouncer {
    fn start(world: &World) -> Option<Self> {
        let login = world.superuser("pgbench");
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let users = format!("\"{}\" \"{}\"\n", login.user, login.password);
        let users = world
            .cluster
            .private_file("pgbouncer.users", &users)
            .unwrap();
        let server = format!("host=127.0.0.1 port={} dbname=pgbench", login.port);
        let mut ini = format!(
            "[databases]\npgbench = {server} pool_mode=transaction\npgbench_sessions = {server} pool_mode=session\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\ndefault_pool_size = 10\nlog_connections = 0\nlog_disconnections = 0\nstats_period = 600\n",
            users.display()
        );
        if nix::unistd::Uid::effective().is_root() {
            // It does not run as root either.
            writeln!(ini, "user = postgres").unwrap();
        }
        let ini = world.cluster.private_file("pgbouncer.ini", &ini).unwrap();
        let started = Command::new("pgbouncer")
            .arg("-q")
            .arg(&ini)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!(
                "pgbouncer is not installed: its rows are left out (Debian: apt-get install pgbouncer)"
            );
            return None;
        };
        std::thread::sleep(Duration::from_millis(500));
        Some(Self { process, port })
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
