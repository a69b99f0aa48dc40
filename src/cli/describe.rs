//! `rowgate describe`: the data model one user sees, for an agent's system prompt.

use super::policy::{connect, failure};
use super::serve::load;
use super::{Exit, Failure, Outcome, args, print};
use crate::app::{self, ControlLogin};
use crate::identity::Principal;
use crate::install;
use crate::policy::{GrantedTable, Policy, PolicyColumn, PolicyView, quote_identifier};
use std::fmt::Write as _;

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
        spelled(&name.name)
    } else {
        format!("{}.{}", spelled(&name.schema), spelled(&name.name))
    };
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("{} {}", spelled(&column.name), column.type_.display))
        .collect();
    // Writing to a String cannot fail.
    writeln!(text, "\nTable {shown}: {}", columns.join(", ")).ok();
    if let Some(description) = view.and_then(|view| view.description.as_deref()) {
        writeln!(text, "  {description}").ok();
    }
    if !table.primary_key.is_empty() {
        let key: Vec<String> = table.primary_key.iter().map(|name| spelled(name)).collect();
        writeln!(text, "  primary key: {}", key.join(", ")).ok();
    }
    for column in &table.columns {
        let known = view.and_then(|view| view.columns.iter().find(|c| c.name == column.name));
        if let Some(notes) = known.and_then(|column| column_notes(column, principal)) {
            writeln!(text, "  {}: {notes}", spelled(&column.name)).ok();
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

/// A name as the agent has to write it: in quotes where PostgreSQL would read it differently without.
fn spelled(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain {
        name.to_owned()
    } else {
        quote_identifier(name)
    }
}

/// Words PostgreSQL reserves, also those that may be a type or function name (manual, appendix C).
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "binary",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "notnull",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "overlaps",
    "placing",
    "primary",
    "references",
    "returning",
    "right",
    "select",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn names_are_spelled_as_they_must_be_written() {
        assert_eq!(spelled("invoices"), "invoices");
        assert_eq!(spelled("user"), "\"user\"");
        assert_eq!(spelled("Amount"), "\"Amount\"");
        assert_eq!(spelled("2024"), "\"2024\"");
        assert_eq!(spelled("a\"b"), "\"a\"\"b\"");
    }
}
