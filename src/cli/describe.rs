//! `rowgate describe`: the data model one user sees, for an agent's system prompt.

use super::policy::{About, about};
use super::{Exit, Outcome, args, print};
use crate::policy;

pub(super) async fn run(arguments: args::Describe) -> Outcome {
    let About {
        config: _,
        principal,
        policy,
    } = about(&arguments.config, &arguments.user).await?;
    let model = policy::describe(&policy, &principal, &policy.grants(&principal));
    print(&model.markdown());
    Ok(Exit::Ok)
}
