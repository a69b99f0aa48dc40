//! `rowgate describe`: the data model one user sees, for an agent's system prompt.

use super::policy::{connect, failure};
use super::serve::load;
use super::{Exit, Failure, Outcome, args, print};
use crate::app::{self, ControlLogin};
use crate::install;
use crate::policy;

pub(super) async fn run(arguments: args::Describe) -> Outcome {
    let config = load(&arguments.config)?;
    let principal = app::principal(&config, &arguments.user)
        .await
        .map_err(Failure::Unreachable)?;
    let client = connect(&config, ControlLogin::Gate).await?;
    let policy = install::load_policy(
        &config.views,
        &client,
        config.enforcement,
        config.tuples.as_ref(),
    )
    .await
    .map_err(failure)?;
    let model = policy::describe(&policy, &principal, &policy.grants(&principal));
    print(&model.markdown());
    Ok(Exit::Ok)
}
