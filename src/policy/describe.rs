//! [`describe`]: the data model one principal sees, in Markdown for an agent's system prompt or as JSON.

use super::grants::{GrantedTable, quote_identifier};
use super::snapshot::{Policy, PolicyColumn};
use crate::identity::Principal;
use crate::policy::Grants;
use serde::Serialize;
use std::fmt::Write as _;

/// The tables a principal may read, and nothing that hints at others. `rowgate describe` and `GET /v1/schema` show this.
///
/// ```json
/// {"tables": [{"schema": "public", "name": "customers", "description": "who we sell to",
///              "columns": [{"name": "id", "type": "bigint"}, {"name": "email", "type": "text", "masked": true}],
///              "primary_key": ["id"]}]}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataModel {
    /// Sorted by name.
    pub tables: Vec<DescribedTable>,
}

/// One table of a [`DataModel`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DescribedTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it holds, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The visible columns, in the view's order.
    pub columns: Vec<DescribedColumn>,
    /// The primary key, if all of it is visible.
    pub primary_key: Vec<String>,
}

/// One column of a [`DescribedTable`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DescribedColumn {
    /// Its name, as stored.
    pub name: String,
    /// Its type as PostgreSQL shows it, such as `character varying(20)`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What it holds, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether this principal sees something else in its place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// The data model of `principal`, whose grants these are.
pub fn describe(policy: &Policy, principal: &Principal, grants: &Grants) -> DataModel {
    let tables = grants.tables().iter();
    DataModel {
        tables: tables
            .map(|table| described(policy, principal, table))
            .collect(),
    }
}

fn described(policy: &Policy, principal: &Principal, table: &GrantedTable) -> DescribedTable {
    let mut views = policy.views().iter();
    let view = views.find(|view| view.relation() == &table.relation);
    // A superuser sees the table itself, where the view does not say otherwise.
    let whole = principal.superuser() && view.is_some_and(|view| view.whole.is_some());
    let columns = table.columns.iter().map(|column| {
        let known = view.and_then(|view| view.columns.iter().find(|c| c.name == column.name));
        DescribedColumn {
            name: column.name.clone(),
            type_: column.type_.display.clone(),
            description: known.and_then(|column| one_line(column.description.as_deref()?)),
            masked: !whole && known.is_some_and(|column| masked(column, principal)),
        }
    });
    DescribedTable {
        schema: table.relation.schema.clone(),
        name: table.relation.name.clone(),
        description: view.and_then(|view| one_line(view.description.as_deref()?)),
        columns: columns.collect(),
        primary_key: table.primary_key.clone(),
    }
}

fn masked(column: &PolicyColumn, principal: &Principal) -> bool {
    match &column.masked {
        None => false,
        Some(None) => true,
        Some(Some(permission)) => !principal.has_permission(permission),
    }
}

/// A comment of the database may have several lines, which would look like lines of the model.
fn one_line(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

impl DataModel {
    /// As a system prompt has it: every name as it has to be written in SQL.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "You can read these PostgreSQL tables. Send one SELECT at a time; nothing can be changed. Every table \
             already holds only the rows the current user may see, so do not filter by user or role.\n\n",
        );
        if self.tables.is_empty() {
            text.push_str("(no table is visible to this user)\n");
        }
        for table in &self.tables {
            // Writing to a String cannot fail.
            table.write(&mut text).ok();
        }
        text
    }
}

impl DescribedTable {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let name = match self.schema.as_str() {
            "public" => spelled(&self.name),
            schema => format!("{}.{}", spelled(schema), spelled(&self.name)),
        };
        let columns = self.columns.iter();
        let columns = columns.map(|column| format!("{} {}", spelled(&column.name), column.type_));
        let columns: Vec<String> = columns.collect();
        writeln!(text, "- Table {name}: {}", columns.join(", "))?;
        if let Some(description) = &self.description {
            writeln!(text, "  - {description}")?;
        }
        if !self.primary_key.is_empty() {
            let key: Vec<String> = self.primary_key.iter().map(|name| spelled(name)).collect();
            writeln!(text, "  - primary key: {}", key.join(", "))?;
        }
        for column in &self.columns {
            let notes = match (&column.description, column.masked) {
                (Some(description), false) => description.clone(),
                (Some(description), true) => format!("{description} (masked)"),
                (None, true) => "masked".to_owned(),
                (None, false) => continue,
            };
            writeln!(text, "  - {}: {notes}", spelled(&column.name))?;
        }
        Ok(())
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
    use super::{DataModel, DescribedColumn, DescribedTable, one_line, spelled};

    #[test]
    fn names_are_spelled_as_they_must_be_written() {
        assert_eq!(spelled("invoices"), "invoices");
        assert_eq!(spelled("user"), "\"user\"");
        assert_eq!(spelled("Amount"), "\"Amount\"");
        assert_eq!(spelled("2024"), "\"2024\"");
        assert_eq!(spelled("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn a_table_is_one_item_of_a_list_and_its_notes_are_items_under_it() {
        let column = |name: &str, description: Option<&str>, masked| DescribedColumn {
            name: name.to_owned(),
            type_: "text".to_owned(),
            description: description.map(str::to_owned),
            masked,
        };
        let table = DescribedTable {
            schema: "crm".to_owned(),
            name: "Customers".to_owned(),
            description: one_line("who\n## we  sell to "),
            columns: vec![
                column("id", None, false),
                column("email", Some("where to write"), true),
                column("order", Some("the last one"), false),
                column("phone", None, true),
            ],
            primary_key: vec!["id".to_owned()],
        };
        let model = DataModel {
            tables: vec![table],
        };
        let text = model.markdown();
        let (_, list) = text.split_once("\n\n").unwrap();
        assert_eq!(
            list,
            "- Table crm.\"Customers\": id text, email text, \"order\" text, phone text\n\
             \x20 - who ## we sell to\n\
             \x20 - primary key: id\n\
             \x20 - email: where to write (masked)\n\
             \x20 - \"order\": the last one\n\
             \x20 - phone: masked\n"
        );
    }
}
