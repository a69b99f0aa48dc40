//! `rowgate whoami`: what one user is and may do, as `SHOW rowgate.principal` tells them.

use super::policy::{connect, failure};
use super::serve::load;
use super::{Exit, Failure, Outcome, args, print};
use crate::app::{self, ControlLogin};
use crate::install;
use crate::policy;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  rowgate whoami --user bob | jq '.tables[].name'

The same as SQL, for whoever is connected:  SHOW rowgate.principal
Roles come with the providers that gave them; what the user lacks is not mentioned.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: args::WithConfig,
    /// Who
    #[arg(long, short, value_name = "USER")]
    user: String,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let config = load(&arguments.config)?;
    let principal = app::principal(&config, &arguments.user)
        .await
        .map_err(Failure::Unreachable)?;
    let client = connect(&config, ControlLogin::Gate).await?;
    let views = install::load_policy(
        &config.views,
        &client,
        config.enforcement,
        config.tuples.as_ref(),
    )
    .await
    .map_err(failure)?;
    let profile = policy::profile(&principal, &views.grants(&principal));
    print(&format!("{profile:#}\n"));
    Ok(Exit::Ok)
}
