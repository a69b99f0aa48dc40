//! The `rowgate` command: reads arguments, prints, and turns every ending into an exit code.
//!
//! Everything it does is in the other modules; this one and its children are the only place that prints.

mod args;
mod catalogue;
mod demo;
mod describe;
mod explain;
mod manage;
mod policy;
mod provider;
mod serve;
mod signals;
mod tag;
mod tags;
mod test;
mod whoami;

use crate::manage::Kind;
use args::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done, nothing to object to.
    Ok,
    /// `check` found something, `explain` shows a refusal, a grant was refused, or a policy test failed.
    Findings,
}

/// Why a command ends early.
#[derive(Debug)]
enum Failure {
    /// The command line, the configuration or a view is wrong.
    Usage(anyhow::Error),
    /// The database, a provider or a port could not be reached or used.
    Unreachable(anyhow::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    fn cause(&self) -> &anyhow::Error {
        match self {
            Self::Usage(cause) | Self::Unreachable(cause) => cause,
        }
    }
}

type Outcome = Result<Exit, Failure>;

/// Runs the command line. Exit codes: 0 done; 1 findings or a refusal; 2 the command line, configuration
/// or a view is wrong; 3 something could not be reached.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    // These have their own words for what happens; only what is wrong comes on top.
    let quiet = matches!(arguments.command, Command::Demo(_) | Command::Test(_)).then_some("warn");
    if let Err(sentence) = crate::telemetry::start(arguments.log.as_deref().or(quiet)) {
        return fail(&Failure::Usage(anyhow::Error::msg(sentence)));
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // SQL is read on the worker threads; see `sql::STACK_BYTES`.
        .thread_stack_size(crate::sql::STACK_BYTES)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(dispatch(arguments.command)),
        Err(error) => Err(Failure::Unreachable(error.into())),
    };
    match outcome {
        Ok(Exit::Ok) => ExitCode::SUCCESS,
        Ok(Exit::Findings) => ExitCode::from(1),
        Err(failure) => fail(&failure),
    }
}

/// As many open files as the system lets this process have: each client is one, and the usual limit of 1,024 is
/// kept only for programs that use `select`.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn dispatch(command: Command) -> Outcome {
    match command {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Plan(arguments) => policy::plan(arguments).await,
        Command::Apply(arguments) => policy::apply(arguments).await,
        Command::Check(arguments) => policy::check(arguments).await,
        Command::Explain(arguments) => explain::run(arguments).await,
        Command::Describe(arguments) => describe::run(arguments).await,
        Command::Whoami(arguments) => whoami::run(arguments).await,
        Command::Test(arguments) => test::run(arguments).await,
        Command::Provider(arguments) => provider::run(arguments),
        Command::Grant(arguments) => manage::grant(arguments).await,
        Command::Revoke(arguments) => manage::revoke(arguments).await,
        Command::Permissions(arguments) => manage::list(arguments, Kind::Permission).await,
        Command::Roles(arguments) => manage::list(arguments, Kind::Role).await,
        Command::Groups(arguments) => manage::list(arguments, Kind::Group).await,
        Command::Tags(args::Tags {
            command: Some(command),
            ..
        }) => tag::run(command).await,
        Command::Tags(arguments) => manage::list(arguments.granted, Kind::Tag).await,
        Command::Tuples(arguments) => manage::tuples(arguments).await,
    }
}

fn fail(failure: &Failure) -> ExitCode {
    use std::io::Write as _;
    // Nobody to tell when standard error is closed.
    writeln!(std::io::stderr(), "rowgate: {:#}", failure.cause()).ok();
    ExitCode::from(failure.code())
}

/// Prints to standard output. A closed pipe (`rowgate plan | head`) is not an error.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// Prints one line of progress to standard error, for whoever waits.
fn progress(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").ok();
}
