//! What stands in the place of `pg_catalog` and `information_schema`: for each of their relations a body that shows
//! granted tables and visible columns only, or the reason why it is absent. The list is data, `relations.toml`.
//!
//! # Security
//! A body is a pure function of [`Grants`] and reads the real catalogue by name: it holds the granted names as
//! constants, joins them to the catalogue, and keeps no object's number, so a table may be dropped and created again.
//! It becomes an `AS MATERIALIZED` query: no condition of the caller's is ever evaluated on a catalogue row that the
//! body does not show. No column has a type whose input looks something up by name (`reg*`, `aclitem`), because
//! comparing such a column with a literal asks the whole catalogue.

mod functions;
#[cfg(test)]
mod tests;

pub(crate) use functions::{
    ANSWERS, Replacement, answer, lookup_all_shown, lookup_function, lookup_number, lookup_shown,
    lookup_type, replacement, replaces, setting_is_known,
};

use crate::error::{Reason, Refusal};
use crate::policy::compose::literal;
use crate::policy::{Description, GrantedTable, Grants, RelationName, TypeKind, quote_identifier};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// Most bytes of one body: about 10,000 granted columns. It is sent with every statement that reads the catalogue.
const BODY_BYTES_MAX: usize = 1_000_000;

/// The block with the caller's name.
const CALLER: &str = "caller";

const SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    shadow: Vec<ShadowEntry>,
    absent: Vec<AbsentEntry>,
    block: BTreeMap<String, Block>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShadowEntry {
    name: String,
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    from: String,
    columns: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AbsentEntry {
    reason: String,
    names: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    body: String,
}

/// One column of a catalogue shadow.
struct Column {
    name: String,
    type_: String,
    /// NULL where there is none.
    expression: Option<String>,
}

/// How a catalogue relation is shadowed.
pub(crate) struct Catalogued {
    relation: RelationName,
    with: Vec<String>,
    from: String,
    columns: Vec<Column>,
}

impl Catalogued {
    fn new(relation: RelationName, entry: &ShadowEntry) -> Self {
        Self {
            relation,
            with: entry.with.split_whitespace().map(str::to_owned).collect(),
            from: entry.from.clone(),
            columns: entry.columns.lines().filter_map(Column::parse).collect(),
        }
    }

    /// Its name.
    pub(crate) fn relation(&self) -> &RelationName {
        &self.relation
    }

    /// Its columns, in order.
    pub(crate) fn column_names(&self) -> Vec<String> {
        self.columns.iter().map(|c| c.name.clone()).collect()
    }

    /// Whether its body asks who the caller is.
    pub(crate) fn names_caller(&self) -> bool {
        self.with.iter().any(|block| block == CALLER)
    }

    /// The body of its shadow for a principal with these grants; `caller` is an expression of the caller's name.
    ///
    /// # Errors
    /// `TooLarge` where so much is granted that the names do not fit into a statement.
    pub(crate) fn body(&self, grants: &Grants, caller: &str) -> Result<String, Refusal> {
        let mut entries = Vec::new();
        for block in &self.with {
            let body = match block.as_str() {
                "granted_tables" => granted_tables(grants),
                "granted_columns" => granted_columns(grants),
                "granted_descriptions" => granted_descriptions(grants),
                CALLER => format!("SELECT ({caller})::pg_catalog.name AS name"),
                "search_path" => functions::search_path(grants),
                _ => LIST.blocks.get(block).cloned().unwrap_or_default(),
            };
            entries.push(format!("{block} AS MATERIALIZED ({body})"));
        }
        let head = if entries.is_empty() {
            String::new()
        } else {
            format!("WITH {} ", entries.join(", "))
        };
        let columns: Vec<String> = self.columns.iter().map(Column::printed).collect();
        let columns = columns.join(", ");
        let text = if self.from.is_empty() {
            format!("{head}SELECT {columns} WHERE false")
        } else {
            format!("{head}SELECT {columns} FROM {}", self.from)
        };
        if text.len() > BODY_BYTES_MAX {
            return Err(Refusal::new(
                Reason::TooLarge,
                "the catalogue of your tables is too large to be read here",
            )
            .hint("Read the tables themselves by their names."));
        }
        Ok(text)
    }
}

impl Column {
    fn parse(line: &str) -> Option<Self> {
        let (head, expression) = match line.split_once(" = ") {
            Some((head, expression)) => (head, Some(expression.to_owned())),
            None => (line, None),
        };
        let (name, type_) = head.split_once(' ')?;
        Some(Self {
            name: name.to_owned(),
            type_: type_.to_owned(),
            expression,
        })
    }

    fn printed(&self) -> String {
        let expression = self.expression.as_deref().unwrap_or("NULL");
        format!(
            "({expression})::pg_catalog.{} AS {}",
            self.type_,
            quote_identifier(&self.name)
        )
    }
}

#[derive(Default)]
struct List {
    shadows: HashMap<RelationName, Catalogued>,
    absent: HashMap<RelationName, String>,
    blocks: BTreeMap<String, String>,
}

fn relation_name(full: &str) -> RelationName {
    let (schema, name) = full.split_once('.').unwrap_or(("pg_catalog", full));
    RelationName::new(schema, name)
}

fn load() -> Result<List, toml::de::Error> {
    let file: File = toml::from_str(include_str!("relations.toml"))?;
    let shadows = file.shadow.into_iter().map(|entry| {
        let relation = relation_name(&entry.name);
        (relation.clone(), Catalogued::new(relation, &entry))
    });
    let absent = file.absent.into_iter().flat_map(|entry| {
        let names = entry.names.split_whitespace().map(str::to_owned);
        let names: Vec<String> = names.collect();
        names
            .into_iter()
            .map(move |name| (relation_name(&name), entry.reason.clone()))
    });
    let blocks = file.block.into_iter();
    Ok(List {
        shadows: shadows.collect(),
        absent: absent.collect(),
        blocks: blocks.map(|(name, block)| (name, block.body)).collect(),
    })
}

/// Part of the program; could it not be read, no catalogue relation would exist. A test reads it.
static LIST: LazyLock<List> = LazyLock::new(|| load().unwrap_or_default());

/// What a name in FROM means in the catalogue.
pub(crate) enum Found {
    /// A relation with a shadow.
    Shadowed(&'static Catalogued),
    /// A relation that does not exist here, and why: a sentence.
    Absent(&'static str),
}

/// The catalogue relation of this name; without a schema one of `pg_catalog`, which PostgreSQL searches before
/// everything else (manual, section 5.10.5).
pub(crate) fn find(schema: Option<&str>, name: &str) -> Option<Found> {
    let schema = schema.unwrap_or("pg_catalog");
    if !SCHEMAS.contains(&schema) {
        return None;
    }
    let relation = RelationName::new(schema, name);
    match LIST.shadows.get(&relation) {
        Some(shadow) => Some(Found::Shadowed(shadow)),
        None => LIST.absent.get(&relation).map(|why| Found::Absent(why)),
    }
}

/// As [`find`] of a full name, and the answers as well: what may stand at the head of a final text.
pub(crate) fn at_the_head(schema: &str, name: &str) -> Option<&'static Catalogued> {
    match find(Some(schema), name) {
        Some(Found::Shadowed(shadow)) => Some(shadow),
        Some(Found::Absent(_)) => None,
        None => answer(name).filter(|answer| answer.relation().schema == schema),
    }
}

/// Whether `pg_catalog` has a relation of this name: public knowledge, whether it has a shadow or not.
pub(crate) fn is_catalogue(name: &str) -> bool {
    find(None, name).is_some()
}

/// A query with these rows of constants as columns of these names and types.
fn values(rows: &[String], columns: &[(&str, &str)]) -> String {
    let typed = |value: &dyn Fn(&str) -> String| {
        let columns: Vec<String> = columns
            .iter()
            .map(|(name, type_)| format!("({})::pg_catalog.{type_} AS {name}", value(name)))
            .collect();
        columns.join(", ")
    };
    if rows.is_empty() {
        return format!("SELECT {} WHERE false", typed(&|_| "NULL".to_owned()));
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    format!(
        "SELECT {} FROM (VALUES {}) AS g ({})",
        typed(&|name| format!("g.{name}")),
        rows.join(", "),
        names.join(", ")
    )
}

fn granted_tables(grants: &Grants) -> String {
    let row = |table: &GrantedTable| {
        let RelationName { schema, name } = &table.relation;
        format!("({}, {})", literal(schema), literal(name))
    };
    let rows: Vec<String> = grants.tables().iter().map(row).collect();
    values(&rows, &[("nspname", "name"), ("relname", "name")])
}

fn granted_descriptions(grants: &Grants) -> String {
    let row = |description: &Description| {
        let Description {
            relation: RelationName { schema, name },
            column,
            text,
        } = description;
        format!(
            "({}, {}, {}, {})",
            literal(schema),
            literal(name),
            column.as_deref().map_or("NULL".to_owned(), literal),
            literal(text)
        )
    };
    let rows: Vec<String> = grants.descriptions().iter().map(row).collect();
    let columns = [
        ("nspname", "name"),
        ("relname", "name"),
        ("attname", "name"),
        ("description", "text"),
    ];
    values(&rows, &columns)
}

fn granted_columns(grants: &Grants) -> String {
    let mut rows = Vec::new();
    for table in grants.tables() {
        for (index, column) in table.columns.iter().enumerate() {
            let typname = match column.type_.kind {
                TypeKind::Array | TypeKind::Builtin => column.type_.name.as_str(),
                TypeKind::Composite | TypeKind::Domain | TypeKind::Enum | TypeKind::Other => "",
            };
            rows.push(format!(
                "({}, {}, {}, {}, {}, {}, {})",
                literal(&table.relation.schema),
                literal(&table.relation.name),
                literal(&column.name),
                literal(typname),
                literal(&column.type_.display),
                column.plain,
                index + 1,
            ));
        }
    }
    let columns = [
        ("nspname", "name"),
        ("relname", "name"),
        ("attname", "name"),
        ("typname", "name"),
        ("display", "text"),
        ("plain", "bool"),
        ("ordinal", "int4"),
    ];
    values(&rows, &columns)
}
