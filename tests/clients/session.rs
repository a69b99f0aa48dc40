//! One client's session: who it runs as, what it is expected to see, and how what it printed is judged.

use crate::relay::Relay;
use crate::support::{self, Gate};
use rowgate::config::Enforcement;
use rowgate::demo::{PASSWORD, SCHEMA, Setup};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// What every client shows; a client that leaves one out fails. `tests/clients/README.md` says what each means.
const CHECKS: &[&str] = &[
    "tables",
    "describe",
    "sum",
    "parameter",
    "cursor",
    "error",
    "transaction",
    "hidden",
];

/// Longest that one client may run as one user.
const RUN_MAX: Duration = Duration::from_secs(120);

/// A user, and what follows from who that is. The values stand in fixtures/data.sql and fixture.sql.
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) tables: &'static str,
    pub(crate) sum: &'static str,
    /// Of department Sales; empty: NULL.
    pub(crate) sum_of_sales: &'static str,
    pub(crate) readings: u32,
    /// What must not be in any byte that the gate sends.
    forbidden: &'static [&'static str],
}

pub(crate) const USERS: &[User] = &[
    User {
        name: "bob",
        tables: "customers,departments,employees,invoices,permissions,readings,transactions,user_roles",
        sum: "1300.00",
        sum_of_sales: "",
        readings: 10_000,
        forbidden: &["canary", "sales_targets", "quota"],
    },
    User {
        name: "anne",
        tables: "customers,departments,employees,invoices,permissions,readings,sales_targets,transactions,user_roles",
        sum: "3900.00",
        sum_of_sales: "2600.00",
        readings: 12_000,
        forbidden: &["canary"],
    },
];

/// The visible columns of `invoices`, in their order.
pub(crate) const COLUMNS: &str = "id,amount,date,department,customer_id,note";

/// The tests share one gate, which lives in a runtime that outlives each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static GATE: OnceLock<Gate> = OnceLock::new();

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The example with hidden objects of every kind, and two tables of these tests.
pub(crate) fn gate() -> &'static Gate {
    GATE.get_or_init(|| {
        let here = root().join("tests/clients");
        let views = tempfile::tempdir().unwrap().keep();
        for folder in [root().join("views"), here.join("views")] {
            for file in std::fs::read_dir(folder).unwrap() {
                let file = file.unwrap().path();
                if file.is_file() {
                    std::fs::copy(&file, views.join(file.file_name().unwrap())).unwrap();
                }
            }
        }
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut setup = Setup::example("clients", listen, Enforcement::Barrier);
        assert_eq!(setup.sql[0], SCHEMA);
        setup.views = Some(views.clone());
        setup
            .sql
            .push(include_str!("../catalog/hidden.sql").to_owned());
        setup.sql.push(include_str!("fixture.sql").to_owned());
        setup.configuration = format!(
            "\n[[providers]]\nkind = \"file\"\npath = {:?}\n",
            here.join("permissions.json")
        );
        let gate = block_on(support::gate_with(setup, |_| {}));
        std::fs::remove_dir_all(views).unwrap();
        gate
    })
}

/// Runs what `go` makes for a port and a user, as Bob and as Anne, and fails with everything that is wrong.
pub(crate) fn as_each_user(name: &str, go: impl Fn(u16, &User) -> String) {
    let mut wrong = Vec::new();
    let mut summary = Vec::new();
    for user in USERS {
        let started = Instant::now();
        let mut outcome = Outcome::default();
        relayed(user, &mut outcome.wrong, |port| go(port, user))
            .lines()
            .for_each(|line| outcome.line(line));
        outcome.end();
        let took = started.elapsed().as_millis();
        summary.push(format!(
            "{} {} checks in {took} ms",
            user.name,
            outcome.told.len()
        ));
        wrong.extend(
            outcome
                .wrong
                .iter()
                .map(|line| format!("{}: {line}", user.name)),
        );
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    println!("{name}: {}", summary.join(", "));
}

/// Runs `go` with the port of a relay, and adds to `wrong` what the gate must not have sent.
pub(crate) fn relayed<T>(user: &User, wrong: &mut Vec<String>, go: impl FnOnce(u16) -> T) -> T {
    let relay = block_on(Relay::start(gate().address));
    let done = go(relay.address.port());
    let seen = relay.seen(user.forbidden);
    wrong.extend(seen.iter().map(|word| format!("not ok canary: {word}")));
    if relay.seen(&["scram-sha-256"]).is_empty() {
        wrong.push("not ok login: not by SCRAM, or not in clear".to_owned());
    }
    done
}

/// The runtime of the gate, for clients that are Rust libraries.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// What a client printed: a check that failed, one that is missing and anything else are wrong.
#[derive(Default)]
struct Outcome {
    told: Vec<String>,
    wrong: Vec<String>,
}

impl Outcome {
    fn line(&mut self, line: &str) {
        match line.strip_prefix("ok ") {
            Some(check) => self.told.push(check.to_owned()),
            None if line.trim().is_empty() => {}
            None => self.wrong.push(line.to_owned()),
        }
    }

    fn end(&mut self) {
        let failed = |check: &str| {
            let start = format!("not ok {check}:");
            self.wrong.iter().any(|line| line.starts_with(&start))
        };
        let silent = CHECKS
            .iter()
            .filter(|check| !self.told.iter().any(|told| told == *check) && !failed(check));
        let missing = silent.map(|check| format!("not ok {check}: the client says nothing of it"));
        let missing: Vec<String> = missing.collect();
        self.wrong.extend(missing);
    }
}

/// A client program to its end; its standard output, with what went wrong at the end of it.
pub(crate) fn run(mut command: Command, port: u16, user: &User) -> String {
    command
        .current_dir(root())
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", user.name)
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", &gate().database)
        .env("LC_ALL", "C.UTF-8")
        .env("EXPECT_TABLES", user.tables)
        .env("EXPECT_COLUMNS", COLUMNS)
        .env("EXPECT_SUM", user.sum)
        .env("EXPECT_SUM_OF_SALES", user.sum_of_sales)
        .env("EXPECT_READINGS", user.readings.to_string())
        .stdin(Stdio::null());
    // Into a file, so that what was printed is there also of a client that does not end.
    let out = tempfile::NamedTempFile::new().unwrap();
    command.stdout(out.reopen().unwrap()).stderr(Stdio::piped());
    let ended = block_on(async {
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let run = async { command.spawn()?.wait_with_output().await };
        tokio::time::timeout(RUN_MAX, run).await
    });
    let mut printed = std::fs::read_to_string(out.path()).unwrap();
    match ended {
        Err(_) => printed.push_str(&format!("\nnot ok end: still running after {RUN_MAX:?}")),
        Ok(Err(error)) => {
            panic!("a client program is missing ({error}); `.ci/setup tests` installs it")
        }
        Ok(Ok(ended)) if !ended.status.success() => {
            let errors = String::from_utf8_lossy(&ended.stderr);
            let errors = errors.split_whitespace().collect::<Vec<_>>().join(" ");
            printed.push_str(&format!("\nnot ok end: {}: {errors}", ended.status));
        }
        Ok(Ok(_)) => {}
    }
    printed
}

/// `psql` or `pgbench`, of the server's version where that is possible.
pub(crate) fn of_postgresql(name: &str) -> PathBuf {
    let beside_the_server = rowgate::demo::find_binaries().unwrap().join(name);
    match beside_the_server.exists() {
        true => beside_the_server,
        false => PathBuf::from(name),
    }
}

fn script(program: PathBuf, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(root().join("tests/clients").join(name));
    command
}

/// A script for the Python that `.ci/setup tests` furnishes.
pub(crate) fn python(name: &str, arguments: &[&str]) -> Command {
    let mut command = script(root().join("target/clients/venv/bin/python"), name);
    command.args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A script for Node, with the packages that `.ci/setup tests` fetched.
pub(crate) fn node(name: &str) -> Command {
    let mut command = script(PathBuf::from("node"), name);
    command.env("NODE_PATH", root().join("target/clients/node_modules"));
    command
}

/// A Go program, with the libraries that Debian packages.
pub(crate) fn go(name: &str) -> Command {
    let mut command = Command::new("go");
    command
        .arg("run")
        .arg(root().join("tests/clients").join(name));
    command
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", root().join("target/clients/go-cache"));
    command
}

/// A Java program as source, with Debian's driver.
pub(crate) fn java(name: &str) -> Command {
    let mut command = Command::new("java");
    // Two of these may run at once on a small machine.
    command.args(["-Xmx256m", "-cp", "/usr/share/java/postgresql.jar"]);
    command.arg(root().join("tests/clients").join(name));
    command
}
