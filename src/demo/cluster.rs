//! A private PostgreSQL cluster: made, started, stopped, removed.

use super::ClusterError;
use super::binaries::find_binaries;
use super::folder::{Folder, RunAs, is_server_of, remove_stale, server_pid, stop_orphan};
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to accept connections.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How to make a [`Cluster`].
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Keep the data here and use it again; `None`: a temporary folder, removed at the end.
    pub folder: Option<PathBuf>,
    /// Server settings, as `postgres -c name=value`.
    pub settings: Vec<(String, String)>,
    /// The folder of `initdb` and `postgres`; `None`: found as [`find_binaries`] finds it.
    pub binaries: Option<PathBuf>,
}

/// A PostgreSQL server of our own, on a free port of 127.0.0.1 and on a unix socket in its folder.
///
/// It ends with the value, and also when this process dies in any other way: the server's parent is a
/// small shell that waits on a pipe from this process, and a pipe closes whatever happens to its writer.
/// What even that leaves (power loss) the next [`Cluster::start`] removes.
///
/// Everybody logs in by SCRAM-SHA-256; the superuser is `postgres` with a random password.
#[derive(Debug)]
pub struct Cluster {
    folder: Folder,
    binaries: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    password: SecretString,
    gate_passwords: GatePasswords,
    is_new: bool,
    removed: Vec<PathBuf>,
    supervisor: Option<Child>,
}

/// Passwords of the logins a gate in front of this cluster uses; roles belong to the whole cluster, so
/// every database of it shares them. New at each start.
#[derive(Debug)]
pub(super) struct GatePasswords {
    pub ordinary: SecretString,
    pub superuser: SecretString,
    pub roles: SecretString,
    pub grants: SecretString,
}

impl Cluster {
    /// Makes the folder if needed, runs `initdb` if needed, starts the server, returns when it accepts
    /// connections. Blocks; from async code call it with `spawn_blocking`.
    ///
    /// # Errors
    /// [`ClusterError`], each of which has a hint with the next step.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let binaries = match &options.binaries {
            Some(folder) => folder.clone(),
            None => find_binaries()?,
        };
        let run_as = RunAs::find()?;
        let removed = remove_stale(run_as);
        let folder = match &options.folder {
            Some(path) => Folder::named(path, run_as)?,
            None => Folder::temporary(run_as)?,
        };
        let data = folder.path.join("data");
        if !stop_orphan(&data) {
            return Err(ClusterError::InUse { path: folder.path });
        }
        // Written last by `init`, so a folder without it was interrupted.
        let kept = std::fs::read_to_string(folder.path.join("secret")).ok();
        let mut cluster = Self {
            binaries,
            settings: options.settings.clone(),
            port: 0,
            is_new: kept.is_none(),
            password: SecretString::from(kept.unwrap_or_else(super::random_password)),
            gate_passwords: GatePasswords {
                ordinary: SecretString::from(super::random_password()),
                superuser: SecretString::from(super::random_password()),
                roles: SecretString::from(super::random_password()),
                grants: SecretString::from(super::random_password()),
            },
            removed,
            supervisor: None,
            folder,
        };
        if cluster.is_new {
            cluster.init()?;
        }
        cluster.start_server()?;
        Ok(cluster)
    }

    /// Whether this start made the cluster (and so nothing is in it yet).
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the unix socket, for `host=`.
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.path.join("socket")
    }

    /// The folder that holds everything of this cluster.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// What earlier runs had left behind and this start removed.
    pub fn removed(&self) -> &[PathBuf] {
        &self.removed
    }

    /// The password of the superuser `postgres`.
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    pub(super) fn gate_passwords(&self) -> &GatePasswords {
        &self.gate_passwords
    }

    /// A folder inside the cluster's, removed with it.
    ///
    /// # Errors
    /// [`ClusterError::Folder`].
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, ClusterError> {
        self.folder.subfolder(name)
    }

    /// A file inside the cluster's folder that only its user (and root) can read, removed with it.
    ///
    /// # Errors
    /// [`ClusterError::Folder`].
    pub fn private_file(&self, name: &str, content: &str) -> Result<PathBuf, ClusterError> {
        self.folder.private_file(name, content)
    }

    /// Connection parameters for a user of this cluster.
    pub fn config(&self, database: &str, user: &str, password: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .dbname(database)
            .user(user)
            .password(password)
            .connect_timeout(Duration::from_secs(10));
        config
    }

    /// A connection as the superuser `postgres`.
    ///
    /// # Errors
    /// [`ClusterError::Connect`].
    pub async fn connect(&self, database: &str) -> Result<tokio_postgres::Client, ClusterError> {
        let config = self.config(database, "postgres", self.password.expose_secret());
        let (client, connection) = config
            .connect(tokio_postgres::NoTls)
            .await
            .map_err(ClusterError::Connect)?;
        tokio::spawn(async move {
            // The client sees the same error at its next call.
            connection.await.ok();
        });
        Ok(client)
    }

    /// Kills the server without warning (SIGKILL), for tests of what happens then.
    pub fn kill_server(&mut self) {
        let data = self.folder.path.join("data");
        if let Some(pid) = server_pid(&data)
            && is_server_of(pid, &data)
        {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
            let deadline = Instant::now() + Duration::from_secs(10);
            while is_server_of(pid, &data) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Starts the server again on the same port after [`Cluster::kill_server`].
    ///
    /// # Errors
    /// [`ClusterError::DidNotStart`].
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        // The shell of the killed server must not remove the folder when its pipe closes.
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill().ok();
            supervisor.wait().ok();
        }
        // Backends of the killed server hold its shared memory until they notice, so try again.
        let port = self.port;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.spawn_server(port) {
                Err(ClusterError::DidNotStart { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                result => return result,
            }
        }
    }

    /// Stops the server; a temporary folder is removed.
    pub fn stop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // Closing the pipe is the order to stop.
            drop(supervisor.stdin.take());
            supervisor.wait().ok();
        }
        if !self.folder.keep && self.folder.path.exists() {
            std::fs::remove_dir_all(&self.folder.path).ok();
        }
    }

    fn init(&mut self) -> Result<(), ClusterError> {
        let data = self.folder.path.join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).map_err(|e| ClusterError::folder(&data, e))?;
        }
        let data = self.folder.subfolder("data")?;
        self.folder.subfolder("socket")?;
        let secret = self.password.expose_secret().to_owned();
        let password_file = self.folder.private_file("initial-password", &secret)?;
        let mut command = self.command(&self.binaries.join("initdb"));
        command
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(&password_file)
            .args([
                "--username=postgres",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "--no-sync"]);
        let output = command
            .output()
            .map_err(|e| ClusterError::folder(&self.binaries, e))?;
        std::fs::remove_file(&password_file)
            .map_err(|e| ClusterError::folder(&password_file, e))?;
        if !output.status.success() {
            return Err(ClusterError::Initdb {
                output: tail(&String::from_utf8_lossy(&output.stderr)),
            });
        }
        self.folder.private_file("secret", &secret)?;
        Ok(())
    }

    fn start_server(&mut self) -> Result<(), ClusterError> {
        // Somebody may take the port between our asking for a free one and the server's binding it.
        let mut last = None;
        for _ in 0..3 {
            let port = free_port().map_err(|e| ClusterError::folder(&self.folder.path, e))?;
            match self.spawn_server(port) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ClusterError::DidNotStart { log: String::new() }))
    }

    fn spawn_server(&mut self, port: u16) -> Result<(), ClusterError> {
        // `read` returns when the pipe's writer, this process, closes it or is gone.
        const SUPERVISE: &str = r#"
            keep=$1; folder=$2; signal=$3; shift 3
            "$@" >>"$folder/server.log" 2>&1 </dev/null &
            server=$!
            read -r _
            kill "-$signal" "$server" 2>/dev/null
            wait "$server"
            [ "$keep" = yes ] || rm -rf "$folder"
        "#;
        let keep = self.folder.keep;
        let mut command = self.command(Path::new("/bin/sh"));
        command
            .args(["-c", SUPERVISE, "rowgate-demo-postgres"])
            .arg(if keep { "yes" } else { "no" })
            .arg(&self.folder.path)
            // Fast shutdown where the data matter, immediate where they do not.
            .arg(if keep { "INT" } else { "QUIT" })
            .arg(self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.folder.path.join("data"))
            .args(self.server_arguments(port))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal is for us; the server stops when we say so.
            .process_group(0);
        // A word of an earlier server must not be taken for this one's.
        std::fs::remove_file(self.folder.path.join("data/postmaster.pid")).ok();
        let supervisor = command
            .spawn()
            .map_err(|e| ClusterError::folder(Path::new("/bin/sh"), e))?;
        self.supervisor = Some(supervisor);
        self.port = port;
        self.wait_until_ready()
    }

    fn server_arguments(&self, port: u16) -> Vec<String> {
        let socket = self.folder.path.join("socket");
        // A socket's whole path has a limit of 107 bytes; without room there is only TCP.
        let socket = if socket.as_os_str().len() < 85 {
            socket.display().to_string()
        } else {
            String::new()
        };
        let mut settings = vec![
            ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
            ("port".to_owned(), port.to_string()),
            ("unix_socket_directories".to_owned(), socket),
            ("password_encryption".to_owned(), "scram-sha-256".to_owned()),
        ];
        if !self.folder.keep {
            // Nothing in a temporary folder outlives the machine's crash anyway. Commits stay synchronous: the
            // server's own crash recovery, which the tests provoke, must not lose a password just set.
            for name in ["fsync", "full_page_writes"] {
                settings.push((name.to_owned(), "off".to_owned()));
            }
        }
        settings.extend(self.settings.iter().cloned());
        settings
            .into_iter()
            .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
            .collect()
    }

    /// The server writes `ready` as the eighth line of `postmaster.pid` (since version 10).
    fn wait_until_ready(&mut self) -> Result<(), ClusterError> {
        let data = self.folder.path.join("data");
        let started = Instant::now();
        let mut seen = false;
        while started.elapsed() < START_LIMIT {
            let status = std::fs::read_to_string(data.join("postmaster.pid")).ok();
            match status {
                Some(text)
                    if text
                        .lines()
                        .nth(7)
                        .is_some_and(|line| line.trim() == "ready") =>
                {
                    return Ok(());
                }
                Some(_) => seen = true,
                // It was there and is gone, or never came: the server has ended.
                None if seen || started.elapsed() > Duration::from_secs(5) => break,
                None => {}
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = std::fs::read_to_string(self.folder.path.join("server.log")).unwrap_or_default();
        if let Some(mut supervisor) = self.supervisor.take() {
            // Kill the shell, so that it does not remove the folder we may try again with.
            supervisor.kill().ok();
            supervisor.wait().ok();
            stop_orphan(&data);
        }
        Err(ClusterError::DidNotStart { log: tail(&log) })
    }

    /// A command that runs as the server's user, in a folder that user can enter.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder.path)
            .env("LC_ALL", "C")
            .env_remove("PGDATA")
            .env_remove("PGPORT");
        let run_as = self.folder.run_as;
        if run_as.step_down {
            // As root this also drops the supplementary groups.
            command.gid(run_as.gid.as_raw()).uid(run_as.uid.as_raw());
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

/// The last lines: enough to see the cause.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(12);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}
