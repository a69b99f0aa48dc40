//! `check`: do files, database and rights still agree, and does any view show a row twice?

use super::catalog;
use super::introspect::{Introspection, ViewFacts, introspect_inside};
use super::state::State;
use super::{Finding, InstallError, InstallOptions, Severity, ddl, tuples};
use crate::config::Enforcement;
use crate::policy::compose::{self, ALL, OPEN, SEALED, identifier, literal, qualified};
use crate::policy::{InlineBody, PermissionView, PrincipalField, array_literal};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Compares files and database: drift, duplicates, row-level security in the way. `client` is an
/// administrator; nothing is changed. `role_samples` are role combinations to look for duplicates with,
/// beside one principal who has every role named in the tables that the body joins.
///
/// # Errors
/// When the files or the database cannot be read at all; what is merely wrong is a finding.
pub async fn check(
    client: &mut Client,
    views: &[PermissionView],
    enforcement: Enforcement,
    options: &InstallOptions,
    role_samples: &[Vec<String>],
) -> Result<Vec<Finding>, InstallError> {
    catalog::begin(client).await?;
    let found = check_inside(client, views, enforcement, options, role_samples).await;
    catalog::end(client).await?;
    found
}

async fn check_inside(
    client: &Client,
    views: &[PermissionView],
    enforcement: Enforcement,
    options: &InstallOptions,
    role_samples: &[Vec<String>],
) -> Result<Vec<Finding>, InstallError> {
    let introspection = introspect_inside(client, views).await?;
    let mut found = Vec::new();
    if enforcement == Enforcement::Barrier {
        let state = State::read(client).await?;
        found.extend(state.differences(views));
        found.extend(rights(&state, options));
        found.extend(superfluous(&state, views));
        found.extend(missing_forms(&state, views, &introspection, options));
        found.extend(row_security(&introspection, options));
    }
    found.extend(tuples::unindexed(client, views).await?);
    found.extend(virtual_tables(views, &introspection));
    for (view, facts) in views.iter().zip(&introspection.views) {
        found.extend(duplicates(client, view, facts, &introspection, role_samples).await?);
    }
    Ok(found)
}

fn rights(state: &State, options: &InstallOptions) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut owned = |what: String, kind: &str, owner: &str| {
        if owner != options.owner {
            found.push(Finding {
                severity: Severity::Error,
                why: format!(
                    "whoever owns it can change it; it must belong to {}",
                    options.owner
                ),
                fix: Some(format!(
                    "ALTER {kind} {what} OWNER TO {};",
                    identifier(&options.owner)
                )),
                what: format!("{what} belongs to {owner}"),
            });
        }
    };
    for (schema, owner, _) in &state.schemas {
        owned(schema.clone(), "SCHEMA", owner);
    }
    for view in state.views.iter().filter(|view| view.kind == "v") {
        owned(qualified(&view.name), "VIEW", &view.owner);
    }
    for function in &state.functions {
        let signature = function.signature.split(')').next().unwrap_or("");
        owned(format!("rowgate.{signature})"), "FUNCTION", &function.owner);
    }
    let mut granted = |what: String, schema: &str, grantees: &[String], kind: &str, both: bool| {
        let superuser = options.superuser_login.as_deref();
        for other in grantees {
            let expected = ddl::reads_schema(schema, other, options)
                || both && Some(other.as_str()) == superuser;
            if !expected {
                let role = if other == "PUBLIC" {
                    other.clone()
                } else {
                    identifier(other)
                };
                found.push(Finding {
                    severity: Severity::Error,
                    what: format!("{other} holds rights on {what}"),
                    why: "only Rowgate's own login may use what Rowgate installs".to_owned(),
                    fix: Some(format!("REVOKE ALL ON {kind}{what} FROM {role};")),
                });
            }
        }
    };
    for (schema, _, grantees) in &state.schemas {
        granted(schema.clone(), schema, grantees, "SCHEMA ", false);
    }
    for view in &state.views {
        granted(
            qualified(&view.name),
            &view.name.schema,
            &view.grantees,
            "",
            false,
        );
    }
    for function in &state.functions {
        let signature = function.signature.split(')').next().unwrap_or("");
        let what = format!("rowgate.{signature})");
        granted(what, SEALED, &function.grantees, "FUNCTION ", true);
    }
    found
}

fn superfluous(state: &State, views: &[PermissionView]) -> Vec<Finding> {
    state
        .superfluous(views)
        .map(|view| Finding {
            severity: Severity::Warning,
            what: format!(
                "{} is installed and no file asks for it",
                qualified(&view.name)
            ),
            why: "Rowgate's schemas hold what `rowgate apply` makes and nothing else".to_owned(),
            fix: Some(match view.kind.as_str() {
                "v" | "m" => "rowgate apply".to_owned(),
                _ => format!(
                    "DROP TABLE {};  -- it is not a view: look at it first",
                    qualified(&view.name)
                ),
            }),
        })
        .collect()
}

/// Forms that apply would make and that are not there (say, since the tables changed).
fn missing_forms(
    state: &State,
    views: &[PermissionView],
    introspection: &Introspection,
    options: &InstallOptions,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (view, facts) in views.iter().zip(&introspection.views) {
        let Some(sealed) = state.view(SEALED, view.relation()) else {
            continue;
        };
        let open = state.view(OPEN, view.relation()).is_some();
        let name = view.relation();
        let mut add = |severity, what: String, why: &str| {
            let (why, fix) = (why.to_owned(), Some("rowgate apply".to_owned()));
            found.push(Finding {
                severity,
                what,
                why,
                fix,
            });
        };
        match (open, compose::open_possible(view, &facts.body)) {
            (false, true) => add(
                Severity::Note,
                format!("{name} has no open form"),
                "queries that are proved harmless could run faster",
            ),
            (true, false) => add(
                Severity::Error,
                format!("{name} has an open form and must not have one"),
                "an output column is computed, so it could fail or be observed on a hidden row",
            ),
            _ => {}
        }
        if state.view(ALL, name).is_none() && options.superuser_login.is_some() {
            let why = "superusers cannot read the table";
            add(
                Severity::Warning,
                format!("{name} is not installed for superusers"),
                why,
            );
        }
        if sealed.columns != facts.columns {
            let why = "the table's columns are not what they were when the view was made";
            add(
                Severity::Warning,
                format!("{name}: the columns' types have changed"),
                why,
            );
        }
    }
    found
}

fn row_security(introspection: &Introspection, options: &InstallOptions) -> Vec<Finding> {
    let tables = introspection.relations.iter();
    tables
        .filter(|table| table.row_security && table.owner != options.owner)
        .map(|table| Finding {
            severity: Severity::Warning,
            what: format!("{} has row-level security", qualified(&table.name)),
            why: format!(
                "its policies apply to {} beside the permission view, so rows may be missing for everybody",
                options.owner
            ),
            fix: Some(format!(
                "CREATE POLICY rowgate ON {} FOR SELECT TO {} USING (true);  -- or leave it, if you want both",
                qualified(&table.name),
                identifier(&options.owner)
            )),
        })
        .collect()
}

fn virtual_tables(views: &[PermissionView], introspection: &Introspection) -> Vec<Finding> {
    views
        .iter()
        .filter(|view| introspection.relations.by_name(view.relation()).is_none())
        .map(|view| Finding {
            severity: Severity::Note,
            what: format!("{}: there is no table {}", view.file(), view.relation()),
            why: "the agent sees it as a table all the same; if that is a slip of the pen, correct it".to_owned(),
            fix: Some("-- table: schema.name".to_owned()),
        })
        .collect()
}

/// Counts rows and distinct keys as principals with several roles.
async fn duplicates(
    client: &Client,
    view: &PermissionView,
    facts: &ViewFacts,
    introspection: &Introspection,
    role_samples: &[Vec<String>],
) -> Result<Option<Finding>, InstallError> {
    if !view.parsed.joins && view.role_column().is_none() {
        return Ok(None);
    }
    let names: Vec<&str> = facts
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let table = introspection.relations.by_name(view.relation());
    let table_key = table.map_or(&[][..], |table| table.primary_key.as_slice());
    let key = if view.key().is_empty() {
        table_key
    } else {
        view.key()
    };
    if key.is_empty() || !key.iter().all(|column| names.contains(&column.as_str())) {
        return Ok(Some(Finding {
            severity: Severity::Note,
            what: format!("{}: cannot tell whether rows come twice", view.file()),
            why: "the body joins tables and no key is known that tells its rows apart".to_owned(),
            fix: Some("-- key: COLUMN".to_owned()),
        }));
    }
    let key: Vec<String> = key.iter().map(|column| identifier(column)).collect();
    let every = every_role(client, view, introspection).await?;
    let body = compose::inline(view, &facts.body, &names);
    for roles in std::iter::once(&every).chain(role_samples) {
        let sql = format!(
            "SELECT count(*), count(DISTINCT ROW({})) FROM (\n{}\n) AS rowgate_check",
            key.join(", "),
            filled(&body, roles)
        );
        client
            .batch_execute("SAVEPOINT rowgate_count; SET LOCAL statement_timeout = '60s'")
            .await?;
        let counted = client.query_one(&sql, &[]).await;
        client
            .batch_execute("ROLLBACK TO SAVEPOINT rowgate_count")
            .await?;
        let row = match counted {
            Ok(row) => row,
            Err(error) => return Ok(Some(uncounted(view, &error))),
        };
        let (rows, keys): (i64, i64) = (row.get(0), row.get(1));
        if rows != keys {
            return Ok(Some(doubled(view, rows, keys, roles)));
        }
    }
    Ok(None)
}

fn doubled(view: &PermissionView, rows: i64, keys: i64, roles: &[String]) -> Finding {
    let fix = match view.role_column() {
        Some(_) => "-- key: must name a key of the table",
        None => {
            "-- role_column: COLUMN and -- key: COLUMN, or a filter instead of the join: \
                 WHERE department IN (SELECT ...)"
        }
    };
    Finding {
        severity: Severity::Error,
        what: format!(
            "{}: {rows} rows with {keys} keys, so rows come twice",
            view.file()
        ),
        why: format!(
            "a SUM counts them twice, for example with the roles {}",
            array_literal(roles.iter().take(10).map(String::as_str))
        ),
        fix: Some(fix.to_owned()),
    }
}

fn uncounted(view: &PermissionView, error: &tokio_postgres::Error) -> Finding {
    let message = error.as_db_error().map_or("", |db| db.message());
    Finding {
        severity: Severity::Warning,
        what: format!("{}: rows could not be counted: {message}", view.file()),
        why: "so whether rows come twice is not known".to_owned(),
        fix: None,
    }
}

/// The texts in the tables that the body joins to its own: the role names are among them.
async fn every_role(
    client: &Client,
    view: &PermissionView,
    introspection: &Introspection,
) -> Result<Vec<String>, InstallError> {
    let mut roles = BTreeSet::new();
    for name in view.reads().iter().filter(|name| *name != view.relation()) {
        let Some(table) = introspection.relations.by_name(name) else {
            continue;
        };
        let texts = table.columns.iter();
        for column in texts.filter(|c| {
            matches!(
                c.type_.name.as_str(),
                "text" | "varchar" | "bpchar" | "name"
            )
        }) {
            let column = identifier(&column.name);
            let sql = format!(
                "SELECT DISTINCT {column}::text FROM {} WHERE {column} IS NOT NULL LIMIT 500",
                qualified(name)
            );
            let rows = client.query(&sql, &[]).await?;
            roles.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
    }
    Ok(roles.into_iter().collect())
}

fn filled(body: &InlineBody, roles: &[String]) -> String {
    let mut out = String::new();
    for (index, piece) in body.pieces.iter().enumerate() {
        out.push_str(piece);
        if let Some(field) = body.holes.get(index) {
            let value = match field {
                PrincipalField::Attributes | PrincipalField::Objects => "{}".to_owned(),
                PrincipalField::Permissions => "{\"*\"}".to_owned(),
                PrincipalField::Roles => array_literal(roles.iter().map(String::as_str)),
                PrincipalField::Tags => "{}".to_owned(),
                PrincipalField::Login | PrincipalField::UserId => String::new(),
            };
            out.push_str(&format!("({}::{})", literal(&value), field.type_name()));
        }
    }
    out
}
