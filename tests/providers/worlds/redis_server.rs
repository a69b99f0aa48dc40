//! Real Redis servers for tests: one, with TLS, a cluster of three, a sentinel with its master.
//!
//! A small shell stands between: it ends its server when our end of the pipe closes, so also when the test
//! process is killed.

use super::SECRET;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The password of the owner of the data, who may do everything.
pub const ADMIN: &str = "4dmin";
/// The provider's login; its password is [`SECRET`].
pub const LOGIN: &str = "rowgate";
/// The channel changes are announced on.
pub const CHANNEL: &str = "rowgate_invalidate";

/// What rowgate.toml says that the login needs.
const RIGHTS: &str = "~user_roles:* ~user_permissions:* ~role_permissions:* ~user_attributes:* ~superusers resetchannels \
                      &rowgate_invalidate &__keyspace@0__:* +eval +scard +smembers +hlen +hgetall +sismember +subscribe +psubscribe +ping \
                      +cluster|slots +role";

/// One running `redis-server`.
pub struct Server {
    pub port: u16,
    folder: tempfile::TempDir,
    kind: &'static str,
    tls: bool,
    running: Mutex<Option<Running>>,
}

struct Running {
    shell: Child,
    pid: i32,
}

impl Server {
    /// A server with `extra` lines in its configuration; `kind` is "redis" or "sentinel".
    pub async fn start(kind: &'static str, tls: Option<&Path>, extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let bus = free_port();
        let mut text = format!(
            "bind 127.0.0.1\nsave \"\"\nappendonly no\ndir {}\n",
            folder.path().display()
        );
        match tls {
            None => text += &format!("port {port}\n"),
            Some(certificates) => {
                let file = |name: &str| certificates.join(name).display().to_string();
                text += &format!(
                    "port 0\ntls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-auth-clients no\n",
                    file("server.pem"),
                    file("server.key")
                );
            }
        }
        if kind == "redis" {
            text += &format!(
                "user default on >{ADMIN} ~* &* +@all\nuser {LOGIN} on >{SECRET} {RIGHTS}\nmasterauth {ADMIN}\n"
            );
        }
        text += &extra.replace("{bus}", &bus.to_string());
        std::fs::write(folder.path().join("conf"), text).unwrap();
        let server = Self {
            port,
            folder,
            kind,
            tls: tls.is_some(),
            running: Mutex::new(None),
        };
        server.up().await;
        server
    }

    /// Starts it and waits until it answers.
    pub async fn up(&self) {
        const SCRIPT: &str = r#""$0" "$@" >"$LOG" 2>&1 & echo $!; read -r _; kill -9 $!"#;
        let folder = self.folder.path();
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "redis-server"])
            .arg(folder.join("conf"))
            .env("LOG", folder.join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if self.kind == "sentinel" {
            command.arg("--sentinel");
        }
        let mut shell = command.spawn().unwrap();
        let mut line = String::new();
        let out = shell.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        *self.running.lock().unwrap() = Some(Running { shell, pid });
        let started = Instant::now();
        while !self.answers().await {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "tests need Redis (.ci/setup tests installs it): {log}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn answers(&self) -> bool {
        if self.tls {
            return std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        let Ok(mut connection) = self.client().get_multiplexed_async_connection().await else {
            return false;
        };
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
            .is_ok()
    }

    /// Kills it, as a crash would.
    pub fn down(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            drop(running.shell.stdin.take());
            running.shell.wait().unwrap();
        }
    }

    /// Stops it without a word: connections stay open and silent.
    pub fn freeze(&self) {
        self.signal(nix::sys::signal::Signal::SIGSTOP);
    }

    /// Undoes [`Server::freeze`].
    pub fn thaw(&self) {
        self.signal(nix::sys::signal::Signal::SIGCONT);
    }

    fn signal(&self, what: nix::sys::signal::Signal) {
        if let Some(running) = &*self.running.lock().unwrap() {
            signal(running.pid, what);
        }
    }

    /// As the owner of all.
    pub fn client(&self) -> redis::Client {
        let password = if self.kind == "sentinel" {
            SECRET
        } else {
            ADMIN
        };
        let login = format!(":{password}@");
        redis::Client::open(format!("redis://{login}127.0.0.1:{}", self.port)).unwrap()
    }

    /// A connection of the owner's, patient enough for a busy machine.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        connected(&self.client()).await
    }

    pub fn server(&self) -> (String, u16) {
        ("127.0.0.1".to_owned(), self.port)
    }
}

/// A patient connection.
pub async fn connected(client: &redis::Client) -> redis::aio::MultiplexedConnection {
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(30)))
        .set_response_timeout(Some(Duration::from_secs(30)));
    let connection = client.get_multiplexed_async_connection_with_config(&patient);
    connection.await.unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

fn signal(pid: i32, what: nix::sys::signal::Signal) {
    // Our own child's child, which its shell has not reaped: the number cannot be another's.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), what).unwrap();
}

/// A port nobody listens on now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Three masters that share the slots.
pub async fn cluster() -> Vec<Server> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let extra = "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 2000\n";
        nodes.push(Server::start("redis", None, extra).await);
    }
    let mut connections = Vec::new();
    for node in &nodes {
        connections.push(node.connection().await);
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let (first, last) = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)][number];
        let mut command = redis::cmd("CLUSTER");
        command.arg("ADDSLOTSRANGE").arg(first).arg(last);
        command.query_async::<()>(connection).await.unwrap();
    }
    let mut bus = Vec::new();
    for connection in &mut connections {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("cluster-port");
        let pair: Vec<String> = command.query_async(connection).await.unwrap();
        bus.push(pair[1].clone());
    }
    for number in 1..3 {
        let mut command = redis::cmd("CLUSTER");
        command
            .arg("MEET")
            .arg("127.0.0.1")
            .arg(nodes[number].port)
            .arg(&bus[number]);
        command
            .query_async::<()>(&mut connections[0])
            .await
            .unwrap();
    }
    whole(&nodes).await;
    nodes
}

/// Waits until every node says that the cluster is whole.
pub async fn whole(nodes: &[Server]) {
    for node in nodes {
        let mut connection = node.connection().await;
        until(async || {
            let mut command = redis::cmd("CLUSTER");
            let info: String = command
                .arg("INFO")
                .query_async(&mut connection)
                .await
                .unwrap();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
        .await;
    }
}

/// A sentinel that watches `master`; its own password is [`SECRET`].
pub async fn sentinel(master: &Server) -> Server {
    let extra = format!(
        "requirepass {SECRET}\nsentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main {ADMIN}\n\
         sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
        master.port
    );
    Server::start("sentinel", None, &extra).await
}

/// Waits until the sentinel says that its master is up.
pub async fn watched(sentinel: &Server) {
    let mut connection = sentinel.connection().await;
    until(async || {
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg("main");
        let master: std::collections::BTreeMap<String, String> =
            command.query_async(&mut connection).await.unwrap();
        master["flags"] == "master"
    })
    .await;
}

/// Waits, within a bound, until something is so.
pub async fn until(mut so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !so().await {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it never came to be"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A folder with `ca.pem`, and `server.pem` and `server.key` for 127.0.0.1.
pub fn certificates() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
    for (name, text) in [
        ("ca.pem", ca_pem),
        ("server.pem", server.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let ca = folder.path().join("ca.pem");
    (folder, ca)
}
