//! The DDL of `plan` and `apply`. Pure: from views, what is known of them, and what is installed to text.
//!
//! Everything in the three schemas belongs to a role that cannot log in and may read the tables; the
//! logins may use the schemas, read the views and call the functions, and hold nothing else. Objects are made *as*
//! the owner, so that a schema or function somebody else put there first stops the run instead of being adopted.

use super::introspect::{Introspection, ViewFacts};
use super::state::{InstalledView, State};
use super::{InstallOptions, tuples};
use crate::policy::compose::{
    self, ALL, OPEN, SEALED, identifier, installed_name, literal, qualified,
};
use crate::policy::{ColumnType, PermissionView, RelationName, whole_table};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Before the JSON in the comment of each installed view.
pub(super) const MARK_PREFIX: &str = "made by rowgate apply; do not change: ";

/// Name, argument, result, body. No `SET search_path` and no sub-select: either would keep PostgreSQL from inlining
/// them, and a call that is not inlined has its body planned anew for each query. The bodies name every operator and
/// function in full instead.
pub(super) const FUNCTIONS: [(&str, &str, &str, &str); 7] = [
    (
        "user_id",
        "",
        "text",
        "SELECT CASE WHEN pg_catalog.current_setting('rowgate.user_id', true) OPERATOR(pg_catalog.<>) ''
  THEN pg_catalog.current_setting('rowgate.user_id', true) END",
    ),
    ("roles", "", "text[]", "SELECT CASE WHEN pg_catalog.current_setting('rowgate.roles', true) OPERATOR(pg_catalog.<>) ''
  THEN CAST(pg_catalog.current_setting('rowgate.roles', true) AS pg_catalog.text[])
  ELSE CAST('{}' AS pg_catalog.text[]) END"),
    ("permissions", "", "text[]", "SELECT CASE WHEN pg_catalog.current_setting('rowgate.permissions', true) OPERATOR(pg_catalog.<>) ''
  THEN CAST(pg_catalog.current_setting('rowgate.permissions', true) AS pg_catalog.text[])
  ELSE CAST('{}' AS pg_catalog.text[]) END"),
    ("tags", "", "text[]", "SELECT CASE WHEN pg_catalog.current_setting('rowgate.tags', true) OPERATOR(pg_catalog.<>) ''
  THEN CAST(pg_catalog.current_setting('rowgate.tags', true) AS pg_catalog.text[])
  ELSE CAST('{}' AS pg_catalog.text[]) END"),
    (
        "has_permission",
        "permission text",
        "boolean",
        "SELECT CASE WHEN pg_catalog.current_setting('rowgate.permission_patterns', true) OPERATOR(pg_catalog.<>) ''
  THEN $1 COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.~~)
       ANY (CAST(pg_catalog.current_setting('rowgate.permission_patterns', true) AS pg_catalog.text[]))
  ELSE false END",
    ),
    (
        "attribute",
        "name text",
        "text",
        "SELECT CASE WHEN pg_catalog.current_setting('rowgate.attributes', true) OPERATOR(pg_catalog.<>) ''
  THEN (CAST(CAST(pg_catalog.current_setting('rowgate.attributes', true) AS pg_catalog.jsonb)
       OPERATOR(pg_catalog.->>) $1 AS pg_catalog.text[]))[1] END",
    ),
    (
        "attributes",
        "name text",
        "text[]",
        "SELECT CASE WHEN pg_catalog.current_setting('rowgate.attributes', true) OPERATOR(pg_catalog.<>) ''
  THEN COALESCE(CAST(CAST(pg_catalog.current_setting('rowgate.attributes', true) AS pg_catalog.jsonb)
       OPERATOR(pg_catalog.->>) $1 AS pg_catalog.text[]), CAST('{}' AS pg_catalog.text[]))
  ELSE CAST('{}' AS pg_catalog.text[]) END",
    ),
];

/// As [`super::state`] reads it back: `roles() text[]`.
pub(super) fn signature(name: &str) -> String {
    FUNCTIONS
        .iter()
        .find(|(function, ..)| *function == name)
        .map(|(name, argument, result, _)| format!("{name}({argument}) {result}"))
        .unwrap_or_default()
}

/// What `pg_proc.prosrc` must hold.
pub(super) fn function_body(name: &str) -> Option<&'static str> {
    FUNCTIONS
        .iter()
        .find(|(function, ..)| *function == name)
        .map(|(_, _, _, body)| *body)
}

/// One view to install.
struct Planned<'a> {
    name: RelationName,
    select: String,
    columns: Vec<(String, ColumnType)>,
    barrier: bool,
    mark: String,
    comment: String,
    reader: &'a str,
}

/// The whole DDL, without BEGIN and COMMIT. `admin_is_superuser` spares a membership.
pub(super) fn write(
    database: &str,
    views: &[PermissionView],
    introspection: &Introspection,
    state: &State,
    options: &InstallOptions,
    admin_is_superuser: bool,
) -> String {
    let whole: Vec<Option<Vec<(String, ColumnType)>>> = views
        .iter()
        .map(|view| {
            let table = introspection.relations.by_name(view.relation());
            let table = table.filter(|_| view.superuser())?;
            let columns = table.columns.iter();
            Some(columns.map(|c| (c.name.clone(), c.type_.clone())).collect())
        })
        .collect();
    let planned = planned(views, introspection, &whole, options);
    let mut out = String::new();
    out.push_str("SET LOCAL search_path = '';\nSET LOCAL lock_timeout = '10s';\n");
    out.push_str(
        "-- One apply at a time.\nSELECT pg_catalog.pg_advisory_xact_lock(8241197346);\n\n",
    );
    roles(&mut out, database, options, admin_is_superuser);
    schemas(&mut out, options);
    reads(&mut out, views, introspection, options);
    let _ = writeln!(out, "SET LOCAL ROLE {};\n", identifier(&options.owner));
    functions(&mut out, options, state);
    tuples::create(&mut out, views, options, state);
    drops(&mut out, &planned, state);
    for view in &planned {
        create(&mut out, view, state);
    }
    tuples::drop(&mut out, views, state);
    strangers(&mut out, state, options);
    remember(&mut out);
    out.push_str("RESET ROLE;\n");
    out
}

fn roles(out: &mut String, database: &str, options: &InstallOptions, admin_is_superuser: bool) {
    out.push_str(
        "-- Roles. No password stands here: `rowgate apply` sets them, as SCRAM verifiers.\n",
    );
    let logins = [Some(&options.login), options.superuser_login.as_ref()];
    let logins: Vec<&String> = logins.into_iter().flatten().collect();
    let all = logins.iter().map(|login| (*login, "LOGIN"));
    for (role, login) in std::iter::once((&options.owner, "NOLOGIN")).chain(all) {
        let body = format!(
            "BEGIN\n  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}) THEN\n    \
             CREATE ROLE {} {login};\n  END IF;\nEND",
            literal(role),
            identifier(role)
        );
        let _ = writeln!(out, "DO {};", dollar(&body));
    }
    if !admin_is_superuser {
        let _ = writeln!(out, "GRANT {} TO CURRENT_USER;", identifier(&options.owner));
    }
    for login in logins {
        let database = identifier(database);
        let _ = writeln!(
            out,
            "GRANT CONNECT ON DATABASE {database} TO {};",
            identifier(login)
        );
    }
    if options.revoke_public {
        let _ = writeln!(out, "REVOKE CREATE ON SCHEMA public FROM PUBLIC;");
        let _ = writeln!(
            out,
            "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC;",
            identifier(database)
        );
    }
    out.push('\n');
}

/// A dollar-quoted string whose tag does not occur in it.
fn dollar(body: &str) -> String {
    let mut tag = "$rowgate$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, 'x');
    }
    format!("{tag}\n{body}\n{tag}")
}

fn schemas(out: &mut String, options: &InstallOptions) {
    let owner = identifier(&options.owner);
    for schema in [SEALED, OPEN, ALL] {
        let _ = writeln!(
            out,
            "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner};"
        );
        let _ = writeln!(out, "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;");
        let reader = match schema {
            ALL => options.superuser_login.as_ref(),
            _ => Some(&options.login),
        };
        if let Some(reader) = reader {
            let _ = writeln!(
                out,
                "GRANT USAGE ON SCHEMA {schema} TO {};",
                identifier(reader)
            );
        }
    }
    out.push('\n');
}

fn reads(
    out: &mut String,
    views: &[PermissionView],
    introspection: &Introspection,
    options: &InstallOptions,
) {
    let tuple_table = tuples::table(views);
    let relations: BTreeSet<&RelationName> = views
        .iter()
        .flat_map(|view| view.reads().iter().chain([view.relation()]))
        .chain(tuple_table.as_ref())
        .filter(|name| introspection.relations.by_name(name).is_some())
        .filter(|name| !matches!(name.schema.as_str(), "pg_catalog" | "information_schema"))
        .collect();
    let schemas: BTreeSet<&String> = relations.iter().map(|name| &name.schema).collect();
    let owner = identifier(&options.owner);
    let _ = writeln!(out, "-- What the bodies read.");
    for schema in schemas {
        let _ = writeln!(
            out,
            "GRANT USAGE ON SCHEMA {} TO {owner};",
            identifier(schema)
        );
    }
    for relation in relations {
        let _ = writeln!(out, "GRANT SELECT ON {} TO {owner};", qualified(relation));
    }
    out.push('\n');
}

fn functions(out: &mut String, options: &InstallOptions, state: &State) {
    out.push_str("-- What a body can ask of the principal.\n");
    for (name, argument, result, body) in FUNCTIONS {
        let _ = writeln!(
            out,
            "CREATE OR REPLACE FUNCTION rowgate.{name}({argument}) RETURNS {result}\n\
             LANGUAGE sql STABLE PARALLEL SAFE AS $rowgate${body}$rowgate$;"
        );
        let types = argument.split(' ').next_back().unwrap_or("");
        let function = format!("rowgate.{name}({types})");
        let _ = writeln!(out, "REVOKE ALL ON FUNCTION {function} FROM PUBLIC;");
        let logins = [Some(&options.login), options.superuser_login.as_ref()];
        let logins: Vec<&String> = logins.into_iter().flatten().collect();
        for login in &logins {
            let _ = writeln!(
                out,
                "GRANT EXECUTE ON FUNCTION {function} TO {};",
                identifier(login)
            );
        }
        let installed = state
            .functions
            .iter()
            .find(|f| f.signature == signature(name));
        for other in installed
            .into_iter()
            .flat_map(|function| &function.grantees)
        {
            if other != "PUBLIC" && !logins.contains(&other) {
                let _ = writeln!(
                    out,
                    "REVOKE ALL ON FUNCTION {function} FROM {};",
                    identifier(other)
                );
            }
        }
    }
    out.push('\n');
}

fn planned<'a>(
    views: &'a [PermissionView],
    introspection: &'a Introspection,
    whole: &'a [Option<Vec<(String, ColumnType)>>],
    options: &'a InstallOptions,
) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for ((view, facts), whole) in views.iter().zip(&introspection.views).zip(whole) {
        let make = |schema: &str, select: String, columns: &[_], reader| Planned {
            name: RelationName::new(schema, installed_name(view.relation())),
            select,
            columns: columns.to_vec(),
            barrier: schema != OPEN,
            mark: mark(view, facts),
            comment: format!("{} ({})", view.relation(), view.file()),
            reader,
        };
        let select = compose::installed(view, &facts.body);
        planned.push(make(SEALED, select.clone(), &facts.columns, &options.login));
        if compose::open_possible(view, &facts.body) {
            let unmasked: Vec<_> = compose::open_columns(view, &facts.body)
                .filter_map(|shown| facts.columns.iter().find(|(name, _)| *name == shown.name))
                .cloned()
                .collect();
            let open = compose::installed_open(view, &facts.body);
            planned.push(make(OPEN, open, &unmasked, &options.login));
        }
        let Some(login) = &options.superuser_login else {
            continue;
        };
        let table = introspection.relations.by_name(view.relation());
        planned.push(match (table, whole) {
            (Some(table), Some(columns)) => {
                let select = whole_table(view.relation(), &table.granted_columns());
                make(ALL, select, columns, login)
            }
            _ => make(ALL, select, &facts.columns, login),
        });
    }
    planned
}

fn mark(view: &PermissionView, facts: &ViewFacts) -> String {
    let value = serde_json::json!({
        "source": view.source_digest(),
        "primary_key": facts.primary_key,
        "computed": compose::computed(view, &facts.body),
    });
    value.to_string()
}

/// CREATE OR REPLACE can only add columns behind those there are.
fn replaceable(installed: &InstalledView, planned: &Planned<'_>) -> bool {
    let shown = |(name, type_): &(String, ColumnType)| (name.clone(), type_.display.clone());
    let old: Vec<_> = installed.columns.iter().map(shown).collect();
    let new: Vec<_> = planned.columns.iter().map(shown).collect();
    installed.kind == "v" && !installed.other_options && new.starts_with(&old)
}

fn drops(out: &mut String, planned: &[Planned<'_>], state: &State) {
    let mut header = "-- Views no file asks for any more, or whose columns change.\n";
    for installed in &state.views {
        let wanted = planned
            .iter()
            .find(|planned| planned.name == installed.name);
        if !wanted.is_some_and(|wanted| replaceable(installed, wanted)) {
            let kind = match installed.kind.as_str() {
                "v" => "VIEW",
                "m" => "MATERIALIZED VIEW",
                // A table here was put by hand; dropping it could lose data, so `check` reports it.
                _ => continue,
            };
            let _ = writeln!(out, "{header}DROP {kind} {};", qualified(&installed.name));
            header = "";
        }
    }
    if header.is_empty() {
        out.push('\n');
    }
}

fn create(out: &mut String, view: &Planned<'_>, state: &State) {
    let name = qualified(&view.name);
    let barrier = if view.barrier {
        " WITH (security_barrier=true)"
    } else {
        ""
    };
    let installed = state
        .views
        .iter()
        .find(|installed| installed.name == view.name);
    let _ = writeln!(out, "-- {}", view.comment.replace(['\n', '\r'], " "));
    let _ = writeln!(
        out,
        "CREATE OR REPLACE VIEW {name}{barrier} AS\n{};",
        view.select
    );
    let mark = literal(&format!("{MARK_PREFIX}{}", view.mark));
    let _ = writeln!(out, "COMMENT ON VIEW {name} IS {mark};");
    let _ = writeln!(out, "REVOKE ALL ON {name} FROM PUBLIC;");
    let grantees = installed.map_or(&[][..], |installed| installed.grantees.as_slice());
    for other in grantees
        .iter()
        .filter(|other| *other != "PUBLIC" && *other != view.reader)
    {
        let _ = writeln!(out, "REVOKE ALL ON {name} FROM {};", identifier(other));
    }
    let _ = writeln!(
        out,
        "GRANT SELECT ON {name} TO {};\n",
        identifier(view.reader)
    );
}

/// Rights on the schemas that somebody else was given.
fn strangers(out: &mut String, state: &State, options: &InstallOptions) {
    for (schema, _, grantees) in &state.schemas {
        for other in grantees
            .iter()
            .filter(|other| !reads_schema(schema, other, options))
        {
            if other != "PUBLIC" {
                let _ = writeln!(
                    out,
                    "REVOKE ALL ON SCHEMA {schema} FROM {};",
                    identifier(other)
                );
            }
        }
    }
}

/// Whether `role` is the one that may use `schema`.
pub(super) fn reads_schema(schema: &str, role: &str, options: &InstallOptions) -> bool {
    match schema {
        ALL => options.superuser_login.as_deref() == Some(role),
        _ => options.login == role,
    }
}

/// Notes beside each view what PostgreSQL made of it, so that a later change shows.
fn remember(out: &mut String) {
    let body = format!(
        "DECLARE\n  v record;\nBEGIN\n  FOR v IN\n    SELECT c.oid, pg_catalog.substr(pg_catalog.obj_description(c.oid, 'pg_class'), {prefix}) AS mark\n    \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace\n    \
         WHERE n.nspname IN ('{SEALED}', '{OPEN}', '{ALL}') AND c.relkind = 'v'\n  LOOP\n    \
         EXECUTE pg_catalog.format('COMMENT ON VIEW %s IS %L', CAST(v.oid AS pg_catalog.regclass), {MARK} ||\n      \
         CAST(CAST(v.mark AS pg_catalog.jsonb) || pg_catalog.jsonb_build_object('definition', pg_catalog.md5(pg_catalog.pg_get_viewdef(v.oid))) AS pg_catalog.text));\n  \
         END LOOP;\nEND",
        prefix = MARK_PREFIX.len() + 1,
        MARK = literal(MARK_PREFIX),
    );
    let _ = writeln!(
        out,
        "-- What PostgreSQL made of each view, so that a later change shows."
    );
    let _ = writeln!(out, "DO {};", dollar(&body));
}
