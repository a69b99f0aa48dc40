//! Type-checks every view body against the database and learns what is needed to write it.

use super::InstallError;
use super::catalog::{self, Described, Relation, Relations};
use crate::policy::compose::{self, BodyColumn, BodyFacts, Origin};
use crate::policy::{
    ColumnType, PermissionView, PolicyColumn, PolicyError, PolicyView, RelationName, ViewSource,
    WholeTable, check_together,
};
use std::collections::HashSet;
use tokio_postgres::{Client, error::ErrorPosition};

/// What the database says about all views.
#[derive(Debug)]
pub struct Introspection {
    pub(super) views: Vec<ViewFacts>,
    pub(super) relations: Relations,
}

/// What the database says about one view.
#[derive(Debug, Clone)]
pub(super) struct ViewFacts {
    pub(super) body: BodyFacts,
    /// Columns of the view as installed, with type modifiers.
    pub(super) columns: Vec<(String, ColumnType)>,
    pub(super) primary_key: Vec<String>,
}

/// Types, keys, comments and indexes behind `views`, in their order; every body is type-checked.
///
/// # Errors
/// All errors of all files together.
pub async fn introspect(
    client: &Client,
    views: &[PermissionView],
) -> Result<Introspection, InstallError> {
    catalog::begin(client).await?;
    let result = introspect_inside(client, views).await;
    catalog::end(client).await?;
    result
}

/// The same inside a transaction with an empty `search_path`.
pub(super) async fn introspect_inside(
    client: &Client,
    views: &[PermissionView],
) -> Result<Introspection, InstallError> {
    let mut errors = check_together(views);
    let mut described = Vec::new();
    for view in views {
        let sql = compose::without_principal(&compose::as_written(view));
        match catalog::describe(client, &sql).await? {
            Ok(columns) => described.push(columns),
            Err(error) => {
                described.push(Vec::new());
                errors.push(refused(view, &sql, &error, view.parsed.line()));
            }
        }
    }
    if !errors.is_empty() {
        return Err(InstallError::Policy(errors));
    }
    let oids = described.iter().flatten().filter_map(|c| c.table).collect();
    let read = views.iter().flat_map(|view| view.reads());
    let names: HashSet<RelationName> = views
        .iter()
        .map(|v| v.relation())
        .chain(read)
        .cloned()
        .chain(super::tuples::table(views))
        .collect();
    let relations = Relations::read(client, &oids, &names).await?;
    let mut facts = Vec::new();
    for (view, columns) in views.iter().zip(described) {
        errors.extend(rules(view, &columns));
        if errors.is_empty() {
            match settle(client, view, columns, &relations).await? {
                Ok(settled) => facts.push(settled),
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() {
        Ok(Introspection {
            views: facts,
            relations,
        })
    } else {
        Err(InstallError::Policy(errors))
    }
}

/// What PostgreSQL said about a body, at its line in the file.
fn refused(
    view: &PermissionView,
    sql: &str,
    error: &tokio_postgres::Error,
    first_line: usize,
) -> PolicyError {
    let db = error.as_db_error();
    let line = match db.and_then(|db| db.position()) {
        Some(ErrorPosition::Original(position)) => {
            let before = usize::try_from(*position).unwrap_or(1).saturating_sub(1);
            let newlines = sql.chars().take(before).filter(|c| *c == '\n').count();
            first_line + newlines
        }
        _ => first_line,
    };
    let message = db.map_or_else(|| error.to_string(), |db| db.message().to_owned());
    let hint = match db {
        Some(_) if message.contains("table \"rowgate\"") => {
            Some("Call functions with parentheses: rowgate.roles().".to_owned())
        }
        Some(db) if message.starts_with("function ") => Some(
            "Outside pg_catalog write the schema: unqualified names mean pg_catalog only."
                .to_owned(),
        )
        .filter(|_| db.hint().is_some()),
        Some(db) => db.hint().map(str::to_owned),
        None => None,
    };
    PolicyError {
        file: view.file().to_owned(),
        line: Some(line),
        message: format!("the database refuses the body: {message}"),
        hint,
    }
}

/// Every column that the header names must exist; no two columns of a name.
fn rules(view: &PermissionView, columns: &[Described]) -> Vec<PolicyError> {
    let role = view.role_column.as_ref();
    let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let error = |key: &str, message: String| PolicyError {
        file: view.file().to_owned(),
        line: view.lines.get(key).copied().or(Some(view.parsed.line())),
        message,
        hint: Some(format!("The body's columns are {}.", known.join(", "))),
    };
    let mut errors = Vec::new();
    for (index, name) in known.iter().enumerate() {
        if known.iter().take(index).any(|earlier| earlier == name) {
            let message = format!("the body has two columns called \"{name}\"");
            errors.push(error("", message));
        }
    }
    for column in columns {
        if column.name == "?column?" {
            errors.push(error("", "an output column has no name".to_owned()));
        }
        if matches!(
            column.type_.name.as_str(),
            "record" | "void" | "unknown" | "_record"
        ) {
            let message = format!("column \"{}\" has no type of its own", column.name);
            errors.push(error("", message));
        }
    }
    let named = role
        .map(|role| ("role_column".to_owned(), &role.column))
        .into_iter()
        .chain(view.key.iter().map(|column| ("key".to_owned(), column)))
        .chain(view.masks.keys().map(|c| (format!("mask {c}"), c)))
        .chain(
            view.column_requires
                .keys()
                .map(|c| (format!("column {c} requires"), c)),
        )
        .chain(
            view.column_tags
                .keys()
                .map(|c| (format!("column {c} tags"), c)),
        )
        .chain(
            view.column_descriptions
                .keys()
                .map(|c| (format!("column {c} description"), c)),
        );
    for (key, column) in named {
        let is_role = role.is_some_and(|role| role.column == *column) && key != "role_column";
        if !known.contains(&column.as_str()) {
            errors.push(error(&key, format!("the body has no column \"{column}\"")));
        } else if is_role {
            errors.push(error(
                &key,
                format!("\"{column}\" is the role column, which nobody sees"),
            ));
        }
    }
    if role.is_some() && known.len() < 2 {
        errors.push(error(
            "role_column",
            "the body has no column but the role's".to_owned(),
        ));
    }
    errors
}

/// Decides how the view is written, and type-checks what is going to be installed.
async fn settle(
    client: &Client,
    view: &PermissionView,
    columns: Vec<Described>,
    relations: &Relations,
) -> Result<Result<ViewFacts, PolicyError>, InstallError> {
    let mut body = BodyFacts {
        arrays: arrays(client, view, relations).await?,
        indexed: view
            .reads()
            .iter()
            .filter_map(|name| relations.by_name(name))
            .flat_map(|relation| {
                let columns = relation.indexed.iter().cloned();
                columns.map(|column| (relation.name.clone(), column))
            })
            .collect(),
        columns: columns
            .iter()
            .map(|column| body_column(column, relations))
            .collect(),
    };
    let expected: Vec<_> = compose::columns(view, &body)
        .map(|column| (column.name.clone(), column.type_.name.clone()))
        .collect();
    let names: Vec<String> = expected.iter().map(|(name, _)| name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // First as fast as can be, then as it is written: a rewriting that does not type-check, or not to
    // the same columns, is not used.
    loop {
        let sql = compose::without_principal(&compose::inline(view, &body, &names));
        let answer = catalog::describe(client, &sql).await?;
        let error = match answer {
            Ok(found) => {
                let found: Vec<_> = found.into_iter().map(|c| (c.name, c.type_)).collect();
                let same = found.iter().map(|(name, type_)| (name, &type_.name));
                if same.eq(expected.iter().map(|(name, type_)| (name, type_))) {
                    let primary_key = primary_key(view, &body, relations);
                    return Ok(Ok(ViewFacts {
                        body,
                        columns: found,
                        primary_key,
                    }));
                }
                PolicyError {
                    file: view.file().to_owned(),
                    line: Some(view.parsed.line()),
                    message: "the view's columns are not the body's".to_owned(),
                    hint: None,
                }
            }
            Err(error) => {
                let line = view.masks.values().map(|mask| mask.line).next();
                refused(view, "", &error, line.unwrap_or(view.parsed.line()))
            }
        };
        if body.arrays.iter().any(|array| *array) || !body.indexed.is_empty() {
            body.arrays.iter_mut().for_each(|array| *array = false);
            body.indexed.clear();
        } else {
            return Ok(Err(error));
        }
    }
}

/// Which `COLUMN IN (SELECT ...)` become arrays: the column leads an index, and the SELECT stands on its
/// own, so that it runs once. Without an index the array would be searched from end to end for each row.
async fn arrays(
    client: &Client,
    view: &PermissionView,
    relations: &Relations,
) -> Result<Vec<bool>, InstallError> {
    let table = view.parsed.single.as_ref().map(|single| &single.relation);
    let table = table.and_then(|name| relations.by_name(name));
    let mut arrays = Vec::new();
    for select in &view.parsed.in_selects {
        let indexed = table.is_some_and(|table| table.indexed.contains(&select.column));
        let alone = view
            .parsed
            .render_range(select.select.clone(), crate::policy::body::Spelling::Inline);
        let sql = compose::without_principal(&alone);
        arrays.push(indexed && catalog::describe(client, &sql).await?.is_ok());
    }
    Ok(arrays)
}

fn body_column(column: &Described, relations: &Relations) -> BodyColumn {
    let origin = column.table.zip(column.column).and_then(|(table, number)| {
        let relation = relations.by_oid(table)?;
        let column = relation.columns.iter().find(|c| c.number == number)?;
        Some(Origin {
            relation: relation.name.clone(),
            column: column.name.clone(),
            stored: relation.stored() && !column.generated,
            computed: relation.kind == "v" || column.generated,
        })
    });
    BodyColumn {
        name: column.name.clone(),
        type_: column.type_.clone(),
        origin,
    }
}

/// The table's primary key, if the view shows each of its columns as it is, under its own name.
///
/// A wrong claim could not show a row that is hidden: the rewriter only adds columns to GROUP BY, so
/// groups get smaller, and each still holds only rows of the view. It could only answer where
/// PostgreSQL would say "must appear in the GROUP BY clause". Still the claim is strict: PostgreSQL
/// itself names the table and column that each output column is (RowDescription), a masked column
/// does not count, and neither does a body that may repeat rows of its table.
fn primary_key(view: &PermissionView, body: &BodyFacts, relations: &Relations) -> Vec<String> {
    let Some(table) = relations.by_name(view.relation()) else {
        return Vec::new();
    };
    let once = !view.parsed.joins || view.role_column.is_some();
    let shown = |key: &String| {
        !view.masks.contains_key(key)
            && body.columns.iter().any(|column| {
                let origin = column.origin.as_ref();
                column.name == *key
                    && origin.is_some_and(|o| o.relation == table.name && o.column == *key)
            })
    };
    if once && table.primary_key.iter().all(shown) {
        table.primary_key.clone()
    } else {
        Vec::new()
    }
}

/// A view as the policy keeps it.
pub(super) fn policy_view(
    view: &PermissionView,
    columns: &[(String, ColumnType)],
    computed: &[String],
    primary_key: &[String],
    table: Option<&Relation>,
    source: ViewSource,
) -> PolicyView {
    let comment = |name: &str| {
        let column = table?.columns.iter().find(|column| column.name == name)?;
        column.comment.clone()
    };
    let columns = columns
        .iter()
        .map(|(name, type_)| PolicyColumn {
            name: name.clone(),
            type_: type_.clone(),
            description: view
                .column_descriptions
                .get(name)
                .cloned()
                .or_else(|| comment(name)),
            requires: view.column_requires.get(name).cloned().unwrap_or_default(),
            tags: view.column_tags.get(name).cloned().unwrap_or_default(),
            computed: computed.contains(name),
            masked: view.masks.get(name).map(|mask| mask.unless.clone()),
        })
        .collect();
    let description = view.description.clone();
    let whole = table.filter(|_| view.superuser).map(|table| WholeTable {
        columns: table.granted_columns(),
        primary_key: table.primary_key.clone(),
    });
    PolicyView {
        description: description.or_else(|| table.and_then(|table| table.comment.clone())),
        view: view.clone(),
        columns,
        primary_key: primary_key.to_vec(),
        source,
        origins: Vec::new(),
        whole,
    }
}
