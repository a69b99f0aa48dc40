//! `rowgate serve` as a child process, the database behind it, and raw clients in front of it.

use crate::support;
use crate::wire::{Answer, Client, startup};
use rowgate::config::Enforcement;
use rowgate::demo::{Cluster, PASSWORD, Setup};
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rowgate");

pub const SUM: &str = "SELECT sum(amount) FROM invoices";
/// Hours of work, no row before its end.
pub const LONG: &str =
    "SELECT count(*) FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b";
/// Rows without end, from the first moment on.
pub const ENDLESS: &str = "SELECT a, b, repeat('x', 1000) FROM generate_series(1, 50000) AS a, \
     generate_series(1, 50000) AS b";

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// The tests block; what is asynchronous runs here.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// Asks until it is so; says what was waited for when it never is.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The example in a database of its own, and the file that serves it.
pub struct Site {
    pub database: String,
    pub file: PathBuf,
    admin: tokio_postgres::Client,
}

impl Site {
    pub fn new(database: &str) -> Self {
        Self::on(support::cluster(), database)
    }

    pub fn on(cluster: &Cluster, database: &str) -> Self {
        Self::with(cluster, database, Enforcement::Barrier)
    }

    /// Nothing is installed: the views are in the files only.
    pub fn inline(database: &str) -> Self {
        Self::with(support::cluster(), database, Enforcement::Inline)
    }

    fn with(cluster: &Cluster, database: &str, enforcement: Enforcement) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let setup = Setup::example(database, listen, enforcement);
        let config = run(support::prepare(cluster, &setup));
        Self {
            database: database.to_owned(),
            file: config.file.unwrap(),
            admin: run(cluster.connect(database)).unwrap(),
        }
    }

    /// Lines behind `[section]`, which is added if it is not there.
    pub fn set(&self, section: &str, lines: &str) -> &Self {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let head = format!("[{section}]\n");
        let text = if text.contains(&head) {
            text.replacen(&head, &format!("{head}{lines}\n"), 1)
        } else {
            format!("{text}\n{head}{lines}\n")
        };
        replace(&self.file, &text);
        self
    }

    pub fn edit(&self, from: &str, to: &str) -> &Self {
        let text = std::fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "{from}");
        replace(&self.file, &text.replace(from, to));
        self
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap().join(name)
    }

    pub fn view(&self, name: &str) -> PathBuf {
        self.beside("views").join(format!("{name}.sql"))
    }

    /// As the database's superuser.
    pub fn sql(&self, text: &str) {
        run(self.admin.batch_execute(text)).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    }

    pub fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, text: &str) -> T {
        run(self.admin.query_one(text, &[])).unwrap().get(0)
    }

    /// Process ids of the backends that run a query of the gate's in this database.
    pub fn busy(&self) -> Vec<i32> {
        let text = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                    AND usename = 'rowgate' AND state = 'active' AND query LIKE '%generate_series%'";
        let rows = run(self.admin.query(text, &[])).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many backends of the gate's run a statement that starts with this.
    pub fn running(&self, word: &str) -> i64 {
        self.one(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'rowgate' \
             AND state = 'active' AND query LIKE '{word}%'"
        ))
    }

    pub fn serve(&self) -> Served {
        Served::start(&self.file).unwrap_or_else(|(code, log)| panic!("ended with {code:?}: {log}"))
    }

    /// What it ends with instead of serving.
    pub fn refusal(&self) -> (i32, String) {
        match Served::start(&self.file) {
            Ok(served) => panic!("serves: {}", served.log()),
            Err((code, log)) => (code.unwrap(), log),
        }
    }

    /// Another command of the program on the same file.
    pub fn command(&self, name: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args([name, "--config"]).arg(&self.file);
        command.output().unwrap()
    }

    pub fn apply(&self) {
        let output = self.command("apply");
        assert!(output.status.success(), "{output:?}");
    }
}

/// By renaming, so that nobody reads a half of it.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A running gate; killed with the value.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Served {
    pub fn start(file: &Path) -> Result<Self, (Option<i32>, String)> {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(file);
        Self::spawn(command)
    }

    /// Waits until it listens, or for its end: exit code and log.
    pub fn spawn(mut command: Command) -> Result<Self, (Option<i32>, String)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (listens, listening) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("rowgate listens on ") {
                    listens.send(address.parse().unwrap()).ok();
                }
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        match listening.recv_timeout(Duration::from_secs(60)) {
            Ok(address) => Ok(Self {
                child,
                address,
                log,
            }),
            Err(_) => {
                child.kill().ok();
                let code = child.wait().unwrap().code();
                Err((code, log.lock().unwrap().clone()))
            }
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn until_logged(&self, words: &str) {
        let started = Instant::now();
        while !self.log().contains(words) {
            let late = started.elapsed() > Duration::from_secs(20);
            assert!(!late, "never logged: {words}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits for its end; the exit code.
    pub fn end(&mut self) -> Option<i32> {
        let mut code = None;
        until("it ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }

    /// Resident memory, in kB.
    pub fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn connect(&self, site: &Site, user: &str) -> Client {
        Client::login(self.address, user, PASSWORD, &site.database)
            .map_err(|answer| format!("{:?} {}", answer.error(), self.log()))
            .unwrap()
    }

    /// A login and what a cancel request needs.
    pub fn connect_cancellable(&self, site: &Site, user: &str) -> (Client, Vec<u8>) {
        let mut client = Client::open(self.address);
        client.send(&startup(&[("user", user), ("database", &site.database)]));
        let seen = client.authenticate(PASSWORD);
        let key = seen.messages.iter().find(|(kind, _)| *kind == b'K');
        (client, key.unwrap().1.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the gate's log\n{}", self.log());
        }
    }
}

/// SQLSTATE of what went wrong; "" when nothing did.
pub fn code(answer: &Answer) -> String {
    answer.error().map(|error| error.code).unwrap_or_default()
}

/// The one value of an answer.
#[track_caller]
pub fn value(answer: &Answer) -> Option<String> {
    assert!(answer.error().is_none(), "{:?}", answer.error());
    let [row] = answer.rows().try_into().unwrap();
    let [value] = row.try_into().unwrap();
    value
}

/// What Bob and Anne see, by `fixtures/data.sql`.
pub const BOBS: &str = "1300.00";
pub const ANNES: &str = "3900.00";

#[track_caller]
pub fn sees(client: &mut Client, sum: &str) {
    assert_eq!(value(&client.simple(SUM)).as_deref(), Some(sum));
}
