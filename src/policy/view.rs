//! A permission view: one file in `views/`, header and body.

use super::body::{self, Body};
use super::compose::installed_name;
use super::header::{self, Errors, Header};
use crate::policy::RelationName;
use crate::tuples::{Pair, Tuples};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What is wrong with a file in `views/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file's name.
    pub file: String,
    /// 1-based line, where one can be named.
    pub line: Option<usize>,
    /// One line, lower case.
    pub message: String,
    /// What to write instead, a full sentence.
    pub hint: Option<String>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PolicyError {}

/// `role_column: allowed_role` with `key: id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleColumn {
    /// The body's column that names a role.
    pub column: String,
    /// The columns that tell rows apart.
    pub key: Vec<String>,
}

/// `mask COLUMN: EXPR [unless PERMISSION]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// What is shown instead, an SQL expression over the view's columns.
    pub expression: String,
    /// Who sees the value itself.
    pub unless: Option<String>,
    /// 1-based line in the file.
    pub line: usize,
}

/// One permission view, parsed and checked as far as that goes without a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionView {
    pub(crate) file: String,
    pub(crate) relation: RelationName,
    pub(crate) description: Option<String>,
    pub(crate) column_descriptions: BTreeMap<String, String>,
    pub(crate) requires: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) key: Vec<String>,
    pub(crate) role_column: Option<RoleColumn>,
    pub(crate) masks: BTreeMap<String, Mask>,
    pub(crate) column_requires: BTreeMap<String, Vec<String>>,
    pub(crate) column_tags: BTreeMap<String, Vec<String>>,
    pub(crate) superuser: bool,
    pub(crate) body: String,
    pub(crate) body_line: usize,
    pub(crate) lines: BTreeMap<String, usize>,
    pub(crate) parsed: Body,
    pub(crate) parsed_masks: BTreeMap<String, Body>,
}

impl PermissionView {
    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The table it stands for.
    pub fn relation(&self) -> &RelationName {
        &self.relation
    }

    /// `description:`.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// `requires:`: permissions, all needed, to see the table at all.
    pub fn requires(&self) -> &[String] {
        &self.requires
    }

    /// `tags:`: who may access none of them does not see the table; none = everyone may.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// `column COLUMN requires PERMISSION`, by column.
    pub fn column_requires(&self) -> &BTreeMap<String, Vec<String>> {
        &self.column_requires
    }

    /// `column COLUMN tags TAG`, by column.
    pub fn column_tags(&self) -> &BTreeMap<String, Vec<String>> {
        &self.column_tags
    }

    /// `mask COLUMN: ...`, by column.
    pub fn masks(&self) -> &BTreeMap<String, Mask> {
        &self.masks
    }

    /// `superuser: no` means that the superuser flag changes nothing for this table.
    pub fn superuser(&self) -> bool {
        self.superuser
    }

    /// `role_column:` with its `key:`.
    pub fn role_column(&self) -> Option<&RoleColumn> {
        self.role_column.as_ref()
    }

    /// `key:`, the columns that tell rows apart.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// `column COLUMN description:`, by column.
    pub fn column_descriptions(&self) -> &BTreeMap<String, String> {
        &self.column_descriptions
    }

    /// What its calls of `rowgate.objects` ask for, masks included.
    pub fn asks(&self) -> impl Iterator<Item = &Pair> {
        let masks = self.parsed_masks.values();
        std::iter::once(&self.parsed)
            .chain(masks)
            .flat_map(Body::pairs)
    }

    /// What those calls walk over, if there are any.
    pub(crate) fn tuples(&self) -> Option<&Arc<Tuples>> {
        let masks = self.parsed_masks.values();
        std::iter::once(&self.parsed)
            .chain(masks)
            .find_map(Body::tuples)
    }

    /// The relations the body reads; the table of tuples is not among them.
    pub fn reads(&self) -> &[RelationName] {
        &self.parsed.relations
    }

    /// What has to be readable to run the body: its relations, and the table of tuples.
    pub fn needs(&self) -> impl Iterator<Item = RelationName> {
        let tuples = self.tuples().and_then(|tuples| tuples.table.as_ref());
        let tuples = tuples.map(|table| RelationName::new(&table.schema, &table.name));
        self.reads().iter().cloned().chain(tuples)
    }

    /// Identifies what is to be installed: everything but the descriptions, `requires` and `tags`.
    pub(crate) fn source_digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let rules: Vec<_> = self
            .masks
            .iter()
            .map(|(column, mask)| (column, &mask.expression, &mask.unless))
            .collect();
        let mut source = format!(
            "{:?}{:?}{:?}{rules:?}{:?}{}",
            self.relation, self.body, self.role_column, self.column_requires, self.superuser
        );
        // Only then, so that views installed before there were tags count as unchanged.
        if !self.column_tags.is_empty() {
            source.push_str(&format!("{:?}", self.column_tags));
        }
        let digest = Sha256::digest(source);
        digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// Whether the view may give fewer rows than its table has: unless it is surely the whole table.
    pub fn may_hold_back(&self, superuser: bool) -> bool {
        let single = self.parsed.single.as_ref();
        let whole = single.is_some_and(|item| item.relation == self.relation)
            && self.parsed.unconditional
            && self.role_column.is_none();
        !(whole || superuser && self.superuser)
    }

    /// The SELECT as written.
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// Reads one view file. `file_name` is the name without folders, such as `invoices.sql`.
///
/// # Errors
/// Every error found in the file, with line and hint.
pub fn parse_view_file(file_name: &str, text: &str) -> Result<PermissionView, Vec<PolicyError>> {
    let mut errors = Errors {
        file: file_name,
        list: Vec::new(),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let split = header::split(text);
    let header = header::parse(&split.header, &mut errors);
    let relation = header
        .table
        .clone()
        .or_else(|| relation_of_file(file_name, &mut errors));
    let role_column = role_column(&header, &mut errors);
    let mut parsed_masks = BTreeMap::new();
    for (column, mask) in &header.masks {
        if let Some(expression) = body::parse_expression(&mask.expression, mask.line, &mut errors) {
            parsed_masks.insert(column.clone(), expression);
        }
    }
    let parsed = Body::parse(split.body, split.body_line, &mut errors);
    match (relation, parsed) {
        (Some(relation), Some(parsed)) if errors.list.is_empty() => Ok(PermissionView {
            file: file_name.to_owned(),
            relation,
            description: header.description,
            column_descriptions: header.column_descriptions,
            requires: header.requires,
            tags: header.tags,
            key: header.key,
            role_column,
            masks: header.masks,
            column_requires: header.column_requires,
            column_tags: header.column_tags,
            superuser: header.superuser.unwrap_or(true),
            body: split.body.trim().to_owned(),
            body_line: split.body_line,
            lines: header.lines,
            parsed,
            parsed_masks,
        }),
        _ => Err(errors.list),
    }
}

/// `invoices.sql` is `public.invoices`, `sales.invoices.sql` is `sales.invoices`.
fn relation_of_file(file_name: &str, errors: &mut Errors<'_>) -> Option<RelationName> {
    let stem = file_name.strip_suffix(".sql").unwrap_or(file_name);
    let parts: Vec<&str> = stem.split('.').collect();
    let fits = |part: &&str| !part.is_empty() && part.len() <= header::IDENTIFIER_BYTES_MAX;
    match parts.as_slice() {
        [name] if fits(name) => Some(RelationName::new("public", *name)),
        [schema, name] if fits(schema) && fits(name) => Some(RelationName::new(*schema, *name)),
        _ => {
            let hint = "Add `-- table: schema.name` to the header.";
            errors.add(1, "the file's name does not name a table", hint);
            None
        }
    }
}

fn role_column(header: &Header, errors: &mut Errors<'_>) -> Option<RoleColumn> {
    let line = header.line("role_column").unwrap_or(1);
    match &header.role_column {
        None => None,
        Some(_) if header.key.is_empty() => {
            let hint = "Add `-- key: id`, the column that tells rows apart, so that nobody sees a row twice.";
            errors.add(line, "role_column needs a key", hint);
            None
        }
        Some(column) if header.key.contains(column) => {
            let hint = "The key tells rows apart whatever the role; name the table's own key.";
            errors.add(line, "the role column cannot be part of the key", hint);
            None
        }
        Some(column) => Some(RoleColumn {
            column: column.clone(),
            key: header.key.clone(),
        }),
    }
}

/// Errors that only all files together show: two files for one table.
pub(crate) fn check_together(views: &[PermissionView]) -> Vec<PolicyError> {
    let mut errors = Vec::new();
    for (index, view) in views.iter().enumerate() {
        let name = installed_name(&view.relation);
        let earlier = views.iter().take(index);
        if let Some(first) = earlier
            .clone()
            .find(|other| installed_name(&other.relation) == name)
        {
            errors.push(PolicyError {
                file: view.file.clone(),
                line: None,
                message: format!("{} already has a view, in {}", view.relation, first.file),
                hint: Some(
                    "Keep one file a table; several roles are an OR in one body.".to_owned(),
                ),
            });
        }
    }
    errors
}

/// Tells every view what its calls of `rowgate.objects` walk over, and checks that there is such a thing.
pub(crate) fn with_tuples(
    views: &mut [PermissionView],
    tuples: Option<&Arc<Tuples>>,
) -> Vec<PolicyError> {
    let mut errors = Vec::new();
    for view in views {
        let mut error = |message: String, hint: String| {
            errors.push(PolicyError {
                file: view.file.clone(),
                line: Some(view.parsed.line()),
                message,
                hint: Some(hint),
            });
        };
        for pair in view.asks() {
            let Pair {
                namespace,
                relation,
            } = pair;
            let Some(tuples) = tuples else {
                let hint = "Add [tuples] to the configuration, with its namespaces and where the tuples are.";
                error(
                    "rowgate.objects() has no relation tuples to look at".to_owned(),
                    hint.to_owned(),
                );
                break;
            };
            if !tuples.namespaces.has(pair) {
                let known: Vec<String> = tuples.namespaces.pairs().map(|p| p.to_string()).collect();
                error(
                    format!(
                        "rowgate.objects('{relation}', '{namespace}') asks for a relation that [tuples] does not declare"
                    ),
                    format!("Declared are {}.", known.join(", ")),
                );
            }
        }
        if let Some(tuples) = tuples {
            view.parsed.with_tuples(tuples);
            view.parsed_masks
                .values_mut()
                .for_each(|mask| mask.with_tuples(tuples));
        }
    }
    errors
}
