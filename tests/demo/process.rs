//! The built program as a child process, psql, and what the system says about processes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rowgate");

/// A temporary directory of a test's own, so that what is left behind can be seen.
pub struct Temporary(tempfile::TempDir);

impl Temporary {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server's user must be able to enter it, whoever runs the tests.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        std::fs::set_permissions(folder.path(), open).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Names in it, sorted.
    pub fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn wait_until_empty(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.entries().is_empty() {
            assert!(
                Instant::now() < deadline,
                "left behind: {:?}",
                self.entries()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a program printed and how it ended.
pub struct Seen {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
}

fn run(command: &mut Command) -> Seen {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Seen {
        out: text(&output.stdout),
        err: text(&output.stderr),
        code: output.status.code(),
    }
}

/// A running `rowgate demo`.
pub struct Demo {
    child: Child,
    /// Everything printed until clients could connect.
    pub greeting: String,
    /// The demo's `rowgate.toml`.
    config: PathBuf,
}

impl Demo {
    /// Starts it on a free port and waits until it says how to stop it.
    pub fn start(temporary: &Temporary, arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !greeting.contains("Press Ctrl-C") {
            match lines.next() {
                Some(line) => greeting.push_str(&(line.unwrap() + "\n")),
                None => panic!("the demo ended early:\n{greeting}"),
            }
        }
        // Keep reading: what is written when it stops must not meet a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let after = greeting.split("--config ").nth(1).unwrap();
        let config = PathBuf::from(after.split_whitespace().next().unwrap());
        Self {
            child,
            greeting,
            config,
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal and waits for the end; its exit code.
    pub fn end(&mut self, signal: Signal) -> Option<i32> {
        kill(self.pid(), signal).unwrap();
        self.child.wait().unwrap().code()
    }

    /// Where Rowgate listens.
    pub fn port(&self) -> &str {
        let after = self.greeting.split("-p ").nth(1).unwrap();
        after.split_whitespace().next().unwrap()
    }

    /// One query by the real psql, with the demo's password.
    pub fn psql(&self, user: &str, sql: &str) -> Seen {
        self.psql_with(user, rowgate::demo::PASSWORD, sql)
    }

    pub fn psql_with(&self, user: &str, password: &str, sql: &str) -> Seen {
        let port = self.port();
        let beside_the_server = rowgate::demo::find_binaries().unwrap().join("psql");
        let psql = if beside_the_server.exists() {
            beside_the_server
        } else {
            PathBuf::from("psql")
        };
        let mut command = Command::new(psql);
        command
            .args([
                "-X",
                "-At",
                "-v",
                "VERBOSITY=verbose",
                "-h",
                "127.0.0.1",
                "-p",
                port,
            ])
            .args(["-U", user, "-d", "demo", "-c", sql])
            .env("PGPASSWORD", password)
            .env("LC_ALL", "C");
        run(&mut command)
    }

    /// Another command of the program, on this demo's configuration.
    pub fn rowgate(&self, arguments: &[&str]) -> Seen {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(&self.config);
        run(&mut command)
    }

    /// The cluster behind, without the gate, as its superuser.
    pub async fn direct(&self) -> tokio_postgres::Client {
        let text = std::fs::read_to_string(&self.config).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let upstream = config["upstream"].as_table().unwrap();
        let mut direct = tokio_postgres::Config::new();
        direct
            .host("127.0.0.1")
            .port(u16::try_from(upstream["port"].as_integer().unwrap()).unwrap())
            .dbname("demo")
            .user("postgres")
            .password(upstream["admin_password"].as_str().unwrap());
        let (client, connection) = direct.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The cluster's server process.
    pub fn server_pid(&self) -> Pid {
        let folder = self.config.parent().unwrap().parent().unwrap();
        let text = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.end(Signal::SIGTERM);
        }
    }
}

/// Whether a process exists (a zombie does not count).
pub fn is_running(pid: Pid) -> bool {
    status_line(pid, "State:").is_some_and(|state| !state.starts_with('Z'))
}

/// The processes `parent` started.
pub fn children_of(parent: Pid) -> Vec<Pid> {
    let numbers = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str()?.parse().ok().map(Pid::from_raw)
    });
    numbers
        .filter(|pid| status_line(*pid, "PPid:").is_some_and(|text| text == parent.to_string()))
        .collect()
}

fn status_line(pid: Pid, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}
