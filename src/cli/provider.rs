//! `rowgate provider triggers` and `tables`.

use super::serve::load;
use super::{Exit, Failure, Outcome, args, print};
use crate::config::{Config, ProviderKind};
use crate::provider::{Watched, triggers};

pub(super) fn run(arguments: args::Provider) -> Outcome {
    let arguments = match arguments.command {
        args::ProviderCommand::Triggers(arguments) => arguments,
        args::ProviderCommand::Tables { preset } => {
            print(preset.ddl);
            return Ok(Exit::Ok);
        }
    };
    let tables = match &arguments.table {
        Some(table) => vec![
            Watched::parse(table, arguments.user_column.as_deref())
                .map_err(|error| usage(&error))?,
        ],
        None => of_presets(&load(&arguments.config)?, arguments.provider.as_deref())?,
    };
    print(&triggers(&tables));
    Ok(Exit::Ok)
}

/// The tables of the presets that the configuration's providers read.
fn of_presets(config: &Config, name: Option<&str>) -> Result<Vec<Watched>, Failure> {
    let mut tables = Vec::new();
    let mut found = false;
    for provider in &config.providers {
        if name.is_some_and(|name| name != provider.name) {
            continue;
        }
        found = true;
        let ProviderKind::Sql(sql) = &provider.kind else {
            continue;
        };
        for table in sql.preset.iter().flat_map(|preset| preset.tables) {
            let watched =
                Watched::parse(table.name, table.user_column).map_err(|error| usage(&error))?;
            if !tables.contains(&watched) {
                tables.push(watched);
            }
        }
    }
    match (tables.is_empty(), name) {
        (false, _) => Ok(tables),
        (true, Some(name)) if !found => Err(usage(&format!(
            "there is no provider \"{name}\" in the configuration"
        ))),
        (true, _) => Err(usage(
            "no sql provider with a preset is configured, so the tables are not known: name each with \
             --table and --user-column",
        )),
    }
}

fn usage(says: &str) -> Failure {
    Failure::Usage(anyhow::Error::msg(says.to_owned()))
}
