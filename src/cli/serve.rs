//! `rowgate serve`.

use super::{Exit, Failure, Outcome, args, progress, signals};
use crate::config::Config;

pub(super) async fn run(arguments: args::WithConfig) -> Outcome {
    let config = load(&arguments)?;
    let shutdown = signals::shutdown(false).map_err(|error| Failure::Unreachable(error.into()))?;
    crate::app::serve_at(config, shutdown, |addresses| {
        if let Some(http) = addresses.http {
            progress(&format!("rowgate answers queries over HTTP on {http}"));
        }
        if let Some(metrics) = addresses.metrics {
            progress(&format!("rowgate's metrics are on {metrics}"));
        }
        if let Some(admin) = addresses.admin {
            progress(&format!("rowgate's admin listener is on {admin}"));
        }
        progress(&format!("rowgate listens on {}", addresses.clients));
    })
    .await
    .map_err(Failure::Unreachable)?;
    Ok(Exit::Ok)
}

/// The configuration, every problem of it reported.
pub(super) fn load(arguments: &args::WithConfig) -> Result<Config, Failure> {
    Config::load(&arguments.config).map_err(|errors| Failure::Usage(errors.into()))
}
