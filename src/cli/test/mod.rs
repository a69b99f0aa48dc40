//! `rowgate test`: what users see and what is hidden from them, asserted against the database.
//!
//! The gate itself is started for it, on a loopback port, with a login and a password of this run's own for each
//! tested user: door, session, gateway, database and audit are those of `rowgate serve`.

mod check;
mod compare;
mod file;

use super::serve::load;
use super::{Exit, Failure, Outcome, args, policy, print, progress};
use crate::config::{AuditSink, Config, Situation};
use crate::identity::{IdentitySettings, Login, Proof};
use crate::install;
use anyhow::Context;
use check::{Asker, Ending};
use file::{Check, Rows, TestFile, What};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Most bytes of one answer, where the configuration has no limit: what is read is kept to be compared.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long the gate may take to stop.
const STOP: Duration = Duration::from_secs(10);

const HELP: &str = "\
A test file says for each user what is seen, and what is hidden. Both are needed: a gate that shows everything
passes every `sees`, one that shows nothing every `hidden`.

  tests:
    - user: bob
      name: HR Manager                        # for the report
      sees:
        - table: invoices                     # any of where, count, sum, columns
          count: 6
          sum: {amount: 1300.00}
        - table: employees
          columns: [id, name, department]     # exactly these
        - table: invoices
          where: note IS NULL                 # at least one such row
        - query: SELECT department, count(*) FROM invoices GROUP BY 1
          rows: [[HRM, 4], [Training, 2]]     # in any order, unless `ordered: true`
        - query: SELECT max(date) FROM invoices
          value: 2025-03-15
      hidden:
        - table: payroll                      # no such table, as if it did not exist
        - tables: [api_keys, audit]
        - table: employees
          columns: [salary]                   # no such column
        - table: invoices
          where: department = 'Sales'         # not one such row ...
          seen_by: anne                       # ... though Anne sees some: the test is not empty
        - query: DELETE FROM invoices
          refused: \"25006\"                  # this SQLSTATE, or `any`
        - query: SELECT id FROM invoices WHERE amount > 5000    # returns no row
    - user: eve
      sees:
        - tables: []                          # exactly these tables: none
    - user: mallory
      refused: \"28000\"                      # cannot even log in

Numbers are compared as numbers, everything else as PostgreSQL prints it; null is NULL.

The gate of rowgate.toml is started for the tests on a free port of 127.0.0.1, with a login of its own for each
tested user and a password only this run knows: queries take the same way as in `rowgate serve`, and each leaves its
line in the audit. Users come from the providers. What is not the user's own is supposed, for all of a test's assertions:

    - user: tina
      name: Trader, at her desk
      from: 10.1.2.3                          # the address she connects from
      at: 2026-01-05T10:00:00+01:00           # what time [[conditions]] read; ends of grants are the database's
      claims: {amr: [mfa]}                    # of the token that opened the session
      attributes: {region: EU}                # instead of what the providers say; a value or a list
      sees: ...

Without `at` it is now, without `claims` there are none, and `from` is this machine.

Examples:
  rowgate test                                      policy-tests/*.yaml
  rowgate test --failures policy-tests/hr.yaml      one file; only what fails
  rowgate test --audit test-audit.jsonl             keep this run out of the audit log

Exit codes: 0 all passed, 1 some failed, 2 a file is wrong, 3 something could not be asked.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: args::WithConfig,
    /// Test files, or folders of them
    #[arg(value_name = "FILE", default_value = "policy-tests")]
    files: Vec<PathBuf>,
    /// Show only what does not pass
    #[arg(long)]
    failures: bool,
    /// Where this run's audit lines go, instead of where rowgate.toml says
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let config = load(&arguments.config)?;
    // A broken view is the operator's mistake; found here, it is told as one.
    install::read_views(&config.views, config.tuples.as_ref()).map_err(policy::failure)?;
    let mut files = read_files(&arguments.files)?;
    let situations = situated(&mut files);
    let checks = files
        .iter()
        .flat_map(|file| &file.cases)
        .flat_map(|case| &case.checks);
    let users = checks.map(|check| (check.login.as_str(), check.user.as_str()));
    let (mut config, audit) = for_this_run(config, arguments.audit, &users.collect())?;
    config.situations = situations;
    let gate = Gate::start(config).await.map_err(Failure::Unreachable)?;
    let mut asker = Asker::new(gate.client.clone());
    let mut tally = Tally::default();
    for file in &files {
        run_file(file, &mut asker, arguments.failures, &mut tally).await;
    }
    drop(asker);
    gate.stop().await;
    print(&tally.summary(&audit));
    match (tally.broken, tally.failed) {
        (0, 0) => Ok(Exit::Ok),
        (0, _) => Ok(Exit::Findings),
        (broken, _) => Err(Failure::Unreachable(anyhow::anyhow!(
            "{broken} assertions could not be asked; nothing is proved about them"
        ))),
    }
}

/// Gives each case that supposes something a login of its own, and says what is supposed of it.
fn situated(files: &mut [TestFile]) -> BTreeMap<String, Situation> {
    let users = files.iter().flat_map(|file| &file.cases);
    let users = users.flat_map(|case| case.checks.iter().map(|check| check.user.clone()));
    let users: BTreeSet<String> = users.collect();
    let mut situations = BTreeMap::new();
    for case in files.iter_mut().flat_map(|file| &mut file.cases) {
        let Some(situation) = case.situation.take() else {
            continue;
        };
        // Nobody else's name.
        let mut login = format!("{} (situation {})", case.user, situations.len() + 1);
        while users.contains(&login) {
            login.push('+');
        }
        let own = case
            .checks
            .iter_mut()
            .filter(|check| check.user == case.user);
        own.for_each(|check| check.login.clone_from(&login));
        situations.insert(login, situation);
    }
    situations
}

/// What the run came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    broken: usize,
    took: Duration,
}

impl Tally {
    fn summary(&self, audit: &Path) -> String {
        let mut text = format!("\n{} passed, {} failed", self.passed, self.failed);
        if self.broken > 0 {
            // Writing to a String cannot fail.
            write!(text, ", {} could not be asked", self.broken).ok();
        }
        let audit = audit.display();
        writeln!(text, " in {}; audit: {audit}", milliseconds(self.took)).ok();
        text
    }
}

fn read_files(paths: &[PathBuf]) -> Result<Vec<TestFile>, Failure> {
    let (mut files, mut mistakes) = (Vec::new(), Vec::new());
    for path in test_files(paths)? {
        match file::read(&path) {
            Ok(file) => files.push(file),
            Err(found) => mistakes.extend(found.iter().map(ToString::to_string)),
        }
    }
    if !mistakes.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(mistakes.join("\n"))));
    }
    for file in &files {
        let name = file.path.display();
        if !file.denies() {
            progress(&format!(
                "warning: {name} says nothing about what is hidden; a gate that shows everything would pass it"
            ));
        }
        if !file.grants() {
            progress(&format!(
                "warning: {name} says nothing about what is seen; a gate that shows nothing would pass it"
            ));
        }
    }
    Ok(files)
}

/// The files themselves, and the YAML files of folders.
fn test_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let place = || format!("cannot read the folder {}", path.display());
        let entries = std::fs::read_dir(path)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .with_context(place)
            .map_err(Failure::Usage)?;
        let mut found: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        found.retain(|file| {
            let ending = file.extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("yaml" | "yml"))
        });
        found.sort();
        if found.is_empty() {
            let says = format!("{} holds no .yaml file", path.display());
            return Err(Failure::Usage(anyhow::anyhow!(says)));
        }
        files.extend(found);
    }
    Ok(files)
}

/// The configuration with the tested users as its only logins; where this run's audit goes.
fn for_this_run(
    mut config: Config,
    audit: Option<PathBuf>,
    users: &BTreeSet<(&str, &str)>,
) -> Result<(Config, PathBuf), Failure> {
    let password = SecretString::from(one_time_password());
    let configured = &config.identity.logins;
    let logins = users.iter().map(|(name, user)| {
        // Who has no login of their own comes by a token or a delegation.
        let own = configured.get(*user);
        let login = Login {
            proof: Proof::Password(password.clone()),
            user_id: Some((*user).to_owned()),
            may_delegate: false,
            superuser: own.is_none_or(|login| login.superuser),
        };
        ((*name).to_owned(), login)
    });
    let logins = logins.collect();
    config.identity = IdentitySettings {
        logins,
        ..IdentitySettings::default()
    };
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.tls = None;
    if config.limits.result_bytes_max == 0 {
        config.limits.result_bytes_max = ANSWER_BYTES_MAX;
    }
    let audit = match (audit.as_ref(), &config.audit.sink) {
        (Some(path), _) | (None, AuditSink::File(path)) => path.clone(),
        // Its lines would stand between ours.
        (None, AuditSink::Stdout) => {
            let file = tempfile::Builder::new()
                .prefix("rowgate-test-")
                .suffix(".jsonl")
                .tempfile()
                .context("cannot make a file for the audit")
                .map_err(Failure::Unreachable)?;
            let (_, path) = file
                .keep()
                .context("cannot keep the file of the audit")
                .map_err(Failure::Unreachable)?;
            path
        }
    };
    config.audit.sink = AuditSink::File(audit.clone());
    Ok((config, audit))
}

/// 32 random bytes in hexadecimal: nobody else on this machine can log in to the gate of this run.
fn one_time_password() -> String {
    let (one, other) = (rand::random::<u128>(), rand::random::<u128>());
    format!("{one:032x}{other:032x}")
}

/// The gate of this run.
struct Gate {
    client: tokio_postgres::Config,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Gate {
    async fn start(config: Config) -> anyhow::Result<Self> {
        let mut client = tokio_postgres::Config::new();
        client
            .host("127.0.0.1")
            .dbname(&config.upstream.database)
            .application_name("rowgate test")
            .connect_timeout(Duration::from_secs(30));
        let password = config.identity.logins.values().next();
        if let Some(Proof::Password(password)) = password.map(|login| &login.proof) {
            client.password(password.expose_secret());
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let shutdown = async move {
            // A dropped sender is an order to stop, too.
            stopped.await.ok();
        };
        let serving = tokio::spawn(crate::app::serve(config, shutdown, move |address| {
            ready.send(address).ok();
        }));
        let Ok(address) = is_ready.await else {
            // It ended instead of getting ready, so there is an error.
            serving.await??;
            anyhow::bail!("the gate ended before it served");
        };
        client.port(address.port());
        Ok(Self {
            client,
            stop,
            serving,
        })
    }

    async fn stop(self) {
        drop(self.stop);
        // What it has to say it has said; the audit is flushed in this time.
        let _ended = tokio::time::timeout(STOP, self.serving).await;
    }
}

async fn run_file(file: &TestFile, asker: &mut Asker, failures: bool, tally: &mut Tally) {
    let name = file.path.display();
    print(&format!("{name}\n"));
    for case in &file.cases {
        let mut head = match &case.name {
            Some(says) => format!("  {}: {says}\n", case.user),
            None => format!("  {}\n", case.user),
        };
        if failures {
            head = String::new();
        }
        print(&head);
        for check in &case.checks {
            let (ending, took) = asker.check(check).await;
            tally.took += took;
            let (word, expected, seen) = match &ending {
                Ending::Passed => {
                    tally.passed += 1;
                    ("ok  ", None, None)
                }
                Ending::Failed(expected, seen) => {
                    tally.failed += 1;
                    ("FAIL", Some(expected), Some(seen))
                }
                Ending::Broken(why) => {
                    tally.broken += 1;
                    ("DOWN", None, Some(why))
                }
            };
            if failures && ending == Ending::Passed {
                continue;
            }
            let mut text = format!("    {word}  {}  {}\n", title(check), milliseconds(took));
            if ending != Ending::Passed {
                writeln!(text, "          at {name}:{}", check.line).ok();
            }
            for (label, value) in [("expected", expected), ("seen", seen)] {
                if let Some(value) = value {
                    let value = value.replace('\n', "\n                    ");
                    writeln!(text, "          {label:<9} {value}").ok();
                }
            }
            print(&text);
        }
    }
}

/// What is asserted, in words.
fn title(check: &Check) -> String {
    let user = &check.user;
    let rows = |rows: &Rows| match &rows.condition {
        Some(condition) => format!("{} where {}", rows.table, one_line(condition)),
        None => rows.table.clone(),
    };
    match &check.what {
        What::LoginRefused(sqlstate) => format!("{user} cannot log in ({sqlstate})"),
        What::Tables(tables) if tables.is_empty() => format!("{user} sees no table"),
        What::Tables(tables) => format!("{user} sees exactly the tables {}", tables.join(", ")),
        What::Table(of) => format!("{user} sees {}", rows(of)),
        What::Columns(table, columns) => {
            format!("{user} sees exactly {} of {table}", columns.join(", "))
        }
        What::Column(table, column) => format!("{user} sees column {table}.{column}"),
        What::Count(of, count) => format!("{user} sees {} of {}", in_words(*count), rows(of)),
        What::Sum(of, column, sum) => {
            let sum = sum.as_deref().unwrap_or("NULL");
            format!("{user}: the sum of {column} is {sum} in {}", rows(of))
        }
        What::Answer { query, rows, .. } => {
            let count = in_words(rows.len() as u64);
            format!("{user} gets {count} as listed: {}", one_line(query))
        }
        What::Value(query, value) => {
            let value = value.as_deref().unwrap_or("NULL");
            format!("{user} gets {value}: {}", one_line(query))
        }
        What::AnswerCount(query, count) => {
            format!("{user} gets {}: {}", in_words(*count), one_line(query))
        }
        What::NoTable(table) => format!("{user} has no table {table}"),
        What::NoColumn(table, column) => format!("{user} has no column {table}.{column}"),
        What::NoRow(of) => format!("{user} sees no row of {}", rows(of)),
        What::Refused(query, sqlstate) => {
            let sqlstate = sqlstate.as_deref().unwrap_or("any");
            format!("{user} is refused ({sqlstate}): {}", one_line(query))
        }
    }
}

fn in_words(rows: u64) -> String {
    match rows {
        0 => "no row".to_owned(),
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

/// A text on one line, cut where it gets long.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
