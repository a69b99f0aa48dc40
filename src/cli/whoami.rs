//! `rowgate whoami`: what one user is and may do, as `SHOW rowgate.principal` tells them.

use super::policy::{About, about};
use super::{Exit, Outcome, args, print};
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
    let About {
        config: _,
        principal,
        policy,
    } = about(&arguments.config, &arguments.user).await?;
    let profile = policy::profile(&principal, &policy.grants(&principal));
    print(&format!("{profile:#}\n"));
    Ok(Exit::Ok)
}
