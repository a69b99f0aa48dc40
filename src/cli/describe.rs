//! `rowgate describe`: the data model one user sees, for an agent's system prompt.

use super::policy::{connect, failure};
use super::serve::load;
use super::{Exit, Failure, Outcome, args, print};
use crate::app::{self, ControlLogin};
use crate::identity::Principal;
use crate::install;
use crate::policy::{GrantedTable, Policy, PolicyColumn, PolicyView};
use std::fmt::Write as _;

pub(super) async fn run(arguments: args::Describe) -> Outcome {
    let config = load(&arguments.config)?;
    let principal = app::principal(&config, &arguments.user)
        .await
        .map_err(Failure::Unreachable)?;
    let client = connect(&config, ControlLogin::Gate).await?;
    let policy = install::load_policy(&config.views, &client, config.enforcement)
        .await
        .map_err(failure)?;
    print(&data_model(&policy, &principal));
    Ok(Exit::Ok)
}

/// Only what `principal` may see; nothing hints at the rest.
fn data_model(policy: &Policy, principal: &Principal) -> String {
    let grants = policy.grants(principal);
    let mut text = String::from(
        "You can read these PostgreSQL tables. Send one SELECT at a time; nothing can be changed.\n\
         Every table already holds only the rows the current user may see, so do not filter by user or \
         role.\n",
    );
    if grants.tables().is_empty() {
        text.push_str("\n(no table is visible to this user)\n");
    }
    for table in grants.tables() {
        let view = policy
            .views()
            .iter()
            .find(|view| view.relation() == &table.relation);
        describe_table(&mut text, table, view, principal);
    }
    text
}

fn describe_table(
    text: &mut String,
    table: &GrantedTable,
    view: Option<&PolicyView>,
    principal: &Principal,
) {
    let name = &table.relation;
    let shown = if name.schema == "public" {
        name.name.clone()
    } else {
        name.to_string()
    };
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("{} {}", column.name, column.type_.display))
        .collect();
    // Writing to a String cannot fail.
    writeln!(text, "\nTable {shown}: {}", columns.join(", ")).ok();
    if let Some(description) = view.and_then(|view| view.description.as_deref()) {
        writeln!(text, "  {description}").ok();
    }
    if !table.primary_key.is_empty() {
        writeln!(text, "  primary key: {}", table.primary_key.join(", ")).ok();
    }
    for column in &table.columns {
        let known = view.and_then(|view| view.columns.iter().find(|c| c.name == column.name));
        if let Some(notes) = known.and_then(|column| column_notes(column, principal)) {
            writeln!(text, "  {}: {notes}", column.name).ok();
        }
    }
}

fn column_notes(column: &PolicyColumn, principal: &Principal) -> Option<String> {
    let masked = match &column.masked {
        None => false,
        Some(None) => true,
        Some(Some(permission)) => !principal.has_permission(permission),
    };
    match (&column.description, masked) {
        (Some(description), false) => Some(description.clone()),
        (Some(description), true) => Some(format!("{description} (masked)")),
        (None, true) => Some("masked".to_owned()),
        (None, false) => None,
    }
}
