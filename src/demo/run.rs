//! `rowgate demo`: cluster, example, gate, and the lines to paste.

use super::scenario::{POLICY_TESTS, Scenario};
use super::setup::{CONFIG_FILE, DemoError, PASSWORD, Setup, USERS, prepare};
use super::{Cluster, ClusterOptions};
use crate::app;
use std::fmt::Write as _;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use tokio::sync::oneshot;

const SUM: &str = "SELECT SUM(amount) FROM invoices";

/// Three statements worth trying. The Training one shows that two roles do not double a row.
const QUERIES: &[&str] = &[
    SUM,
    "SELECT SUM(amount) FROM transactions WHERE department = 'Training'",
    "DELETE FROM invoices",
];

/// Runs the demo until `shutdown` resolves, then stops the cluster; a temporary folder is removed.
///
/// # Errors
/// [`DemoError`]; also then nothing is left running.
pub async fn run(
    cluster_options: ClusterOptions,
    setup: impl FnOnce(&Cluster) -> Setup,
    shutdown: impl Future<Output = ()> + Send + 'static,
    out: &mut (dyn Write + Send),
) -> Result<(), DemoError> {
    let started = tokio::time::Instant::now();
    say(out, "Starting a private PostgreSQL ...")?;
    let start = tokio::task::spawn_blocking(move || Cluster::start(&cluster_options));
    let mut shutdown = Box::pin(shutdown);
    // `start` cannot be interrupted; when Ctrl-C comes first, its result is dropped, and so stopped.
    let cluster = tokio::select! {
        () = &mut shutdown => return Ok(()),
        cluster = start => cluster.map_err(|error| DemoError::Serve(error.into()))??,
    };
    for folder in cluster.removed() {
        say(
            out,
            &format!(
                "Removed {}, left behind by an earlier run.",
                folder.display()
            ),
        )?;
    }
    let result = serve(&cluster, &setup(&cluster), shutdown, started, out).await;
    say(out, "Stopping PostgreSQL ...")?;
    tokio::task::spawn_blocking(move || drop(cluster))
        .await
        .map_err(|error| DemoError::Serve(error.into()))?;
    result
}

async fn serve(
    cluster: &Cluster,
    setup: &Setup,
    mut shutdown: std::pin::Pin<Box<impl Future<Output = ()> + Send + 'static>>,
    started: tokio::time::Instant,
    out: &mut (dyn Write + Send),
) -> Result<(), DemoError> {
    say(
        out,
        "Loading the example and installing its permission views ...",
    )?;
    let config = tokio::select! {
        () = &mut shutdown => return Ok(()),
        config = prepare(cluster, setup) => config?,
    };
    let database = config.upstream.database.clone();
    let folder = cluster.folder().join(format!("gate-{database}"));
    let (ready, mut became_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut gate = tokio::spawn(app::serve(
        config,
        async move {
            // A dropped sender is an order to stop, too.
            stopped.await.ok();
        },
        move |address| {
            ready.send(address).ok();
        },
    ));
    let ended = |result: Result<anyhow::Result<()>, tokio::task::JoinError>| {
        result
            .map_err(anyhow::Error::from)
            .and_then(|inner| inner)
            .map_err(DemoError::Serve)
    };
    let address = tokio::select! {
        address = &mut became_ready => address,
        () = &mut shutdown => return Ok(()),
        result = &mut gate => return ended(result),
    };
    if let Ok(address) = address {
        let seconds = started.elapsed().as_secs_f32();
        let text = welcome(
            address,
            &database,
            seconds,
            &folder,
            setup.scenario.as_ref(),
        )
        .await;
        say(out, &text)?;
    }
    tokio::select! {
        () = &mut shutdown => {}
        result = &mut gate => return ended(result),
    }
    drop(stop);
    ended(gate.await)
}

/// The text a person sees when clients can connect; the answers are asked of the gate itself.
async fn welcome(
    address: SocketAddr,
    database: &str,
    seconds: f32,
    folder: &Path,
    scenario: Option<&Scenario>,
) -> String {
    let (users, statements) = shown(scenario);
    let mut text = String::new();
    let (host, port) = (address.ip(), address.port());
    // Writing to a String cannot fail.
    writeln!(
        text,
        "\nReady in {seconds:.1} s. Rowgate listens on {address}; paste into another terminal:\n"
    )
    .ok();
    let widest = users.iter().map(|(user, ..)| user.len()).max().unwrap_or(0);
    for (user, password, who) in &users {
        writeln!(
            text,
            "  PGPASSWORD={password} psql -h {host} -p {port} -U {user:<widest$} {database}{}{who}",
            if who.is_empty() { "" } else { "   # " }
        )
        .ok();
    }
    writeln!(text, "\nStatements worth trying, and what each user gets:").ok();
    for query in &statements {
        writeln!(text, "\n  {query};").ok();
        for (user, password, _) in &users {
            let answer = ask(address, database, (user, password), query).await;
            writeln!(text, "    {user:<widest$}  {answer}").ok();
        }
    }
    let user = users.first().map_or("bob", |(user, ..)| user);
    let statement = statements.first().map_or(SUM, String::as_str);
    commands(&mut text, folder, (user, statement), scenario);
    write!(text, "Press Ctrl-C to stop.").ok();
    text
}

/// What else can be done with the running demo, or with the folder that it shows.
fn commands(
    text: &mut String,
    folder: &Path,
    (user, statement): (&str, &str),
    scenario: Option<&Scenario>,
) {
    let file = folder.join(CONFIG_FILE);
    let file = file.display();
    let program = std::env::current_exe().unwrap_or_else(|_| "rowgate".into());
    let program = program.display();
    let audit = folder.join("audit.jsonl");
    let granting = format!(
        "Who may what, changed while they are connected; it holds from the next statement on:\n\n  \
         {program} grant --config {file} --user eve --role 'HR Manager' --until 2099-12-31T23:59:59Z\n\n"
    );
    let testing = format!(
        "Who sees what, and what is hidden from them, asserted:\n\n  \
         {program} test --config {file} {}\n\n",
        folder.join(POLICY_TESTS).display()
    );
    let more = match scenario {
        None => granting,
        Some(scenario) if scenario.has_policy_tests() => testing,
        Some(_) => String::new(),
    };
    let (user, statement) = (shell(user), shell(statement));
    // Writing to a String cannot fail.
    write!(
        text,
        "
What happens to a query, and why; and what an agent is told about the data:

  {program} explain --config {file} --user {user} {statement}
  {program} describe --config {file} --user {user}

{more}The audit log: {}
",
        audit.display()
    )
    .ok();
}

/// One word of a shell's command line.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Users (name, password, who they are) and statements to show.
fn shown(scenario: Option<&Scenario>) -> (Vec<(String, String, String)>, Vec<String>) {
    let users: Vec<_> = scenario.map(Scenario::users).unwrap_or_default();
    let users = if users.is_empty() {
        let known = |(user, who): &(&str, &str)| {
            let who = scenario.map_or(*who, |_| "");
            (user.to_string(), PASSWORD.to_owned(), who.to_owned())
        };
        USERS.iter().map(known).collect()
    } else {
        let named = |(user, password)| (user, password, String::new());
        users.into_iter().map(named).collect()
    };
    let statements = match scenario {
        Some(scenario) if !scenario.statements.is_empty() => scenario.statements.clone(),
        _ => QUERIES.iter().map(|query| (*query).to_owned()).collect(),
    };
    (users, statements)
}

/// One query through the gate, as one user: the first value, or the refusal.
async fn ask(address: SocketAddr, database: &str, user: (&str, &str), query: &str) -> String {
    match try_ask(address, database, user, query).await {
        Ok(Some(value)) => value,
        Ok(None) => "(null: no row is visible)".to_owned(),
        Err(error) => match error.as_db_error() {
            Some(db) => {
                let hint = db
                    .hint()
                    .map(|hint| format!("  HINT: {hint}"))
                    .unwrap_or_default();
                format!("ERROR {}: {}{hint}", db.code().code(), db.message())
            }
            None => format!("{error}"),
        },
    }
}

async fn try_ask(
    address: SocketAddr,
    database: &str,
    (user, password): (&str, &str),
    query: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(address.ip().to_string())
        .port(address.port())
        .user(user)
        .password(password)
        .dbname(database)
        .connect_timeout(std::time::Duration::from_secs(5));
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let answer = client.simple_query(query).await;
    driver.abort();
    let value = answer?.into_iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    Ok(value.flatten())
}

fn say(out: &mut (dyn Write + Send), text: &str) -> Result<(), DemoError> {
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(DemoError::Output)
}

#[cfg(test)]
mod tests {
    use super::shell;

    #[test]
    fn a_word_stays_one_word() {
        for (word, expected) in [
            ("bob", "bob"),
            ("loan-bot", "loan-bot"),
            ("SELECT 1", "'SELECT 1'"),
            ("title = 'Diary'", r"'title = '\''Diary'\'''"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(shell(word), expected);
        }
    }
}
