//! `rowgate demo`.

use super::{Exit, Failure, Outcome, args, signals};
use crate::demo::{ClusterOptions, DemoError, Scenario, Setup};

pub(super) async fn run(arguments: args::Demo) -> Outcome {
    let shutdown = signals::shutdown(true).map_err(|error| Failure::Unreachable(error.into()))?;
    let options = ClusterOptions {
        folder: arguments.data,
        ..ClusterOptions::default()
    };
    let scenario = arguments.example.as_deref().map(Scenario::read);
    let scenario = scenario.transpose().map_err(failure)?;
    let setup = |_: &crate::demo::Cluster| {
        let setup = Setup {
            views: arguments
                .views
                .map(|folder| folder.canonicalize().unwrap_or(folder)),
            managed: true,
            ..Setup::example("demo", arguments.listen, arguments.enforcement.into())
        };
        match scenario {
            Some(scenario) => setup.with_scenario(scenario),
            None => setup,
        }
    };
    let mut out = std::io::stdout();
    match crate::demo::run(options, setup, shutdown, &mut out).await {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => Err(failure(error)),
    }
}

fn failure(error: DemoError) -> Failure {
    let hint = error.hint();
    let usage = matches!(
        error,
        DemoError::Install(_) | DemoError::Config(_) | DemoError::Scenario(..)
    );
    let mut cause = anyhow::Error::from(error);
    if let Some(hint) = hint {
        cause = anyhow::anyhow!("{cause:#}\nhint: {hint}");
    }
    if usage {
        Failure::Usage(cause)
    } else {
        Failure::Unreachable(cause)
    }
}
