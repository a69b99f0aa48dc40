//! The walk over relation tuples as `apply` installs it: `rowgate.objects(relation, type)`.
//!
//! It belongs to the owner of the views and is SECURITY DEFINER, because the gate's login may not read the
//! tuples. Whose objects it finds it takes from the transaction's settings, like every other `rowgate.*`
//! function; neither argument names a user.

use super::state::State;
use super::{Finding, InstallOptions, Severity};
use crate::policy::compose::{identifier, literal};
use crate::policy::objects::{EDGE_COLUMNS, TOO_MANY, qualified, rows_to_all, walk};
use crate::policy::{PermissionView, RelationName};
use crate::tuples::{Pair, Tuples};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use tokio_postgres::{Client, Error};

/// As [`super::state`] reads it back.
pub(super) const SIGNATURE: &str = "objects(relation text, type text) text[]";
/// What the walk runs with. The cost of a recursive query is a guess, and compiling it costs more than it.
pub(super) const SETTINGS: [&str; 2] = ["search_path=pg_catalog, pg_temp", "jit=off"];

const FOUND: &str =
    "CASE WHEN pg_catalog.current_setting('rowgate.objects', true) OPERATOR(pg_catalog.<>) ''
  THEN COALESCE(CAST(CAST(pg_catalog.current_setting('rowgate.objects', true) AS pg_catalog.jsonb)
       OPERATOR(pg_catalog.->) $2 OPERATOR(pg_catalog.->>) $1 AS pg_catalog.text[]), CAST('{}' AS pg_catalog.text[]))
  ELSE CAST('{}' AS pg_catalog.text[]) END";

/// The function the views need.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) body: String,
    /// It reads the tuples; else it only asks what a provider found.
    pub(super) walks: bool,
}

/// What the views' calls walk over, and what they ask for; `None` = there are no calls.
pub(super) fn asked(views: &[PermissionView]) -> Option<(&Arc<Tuples>, BTreeSet<Pair>)> {
    let tuples = views.iter().find_map(PermissionView::tuples)?;
    let pairs = views.iter().flat_map(PermissionView::asks).cloned();
    Some((tuples, pairs.collect()))
}

/// The table the views' calls read.
pub(super) fn table(views: &[PermissionView]) -> Option<RelationName> {
    let (tuples, _) = asked(views)?;
    let table = tuples.table.as_ref()?;
    Some(RelationName::new(&table.schema, &table.name))
}

/// The function the views need, if they call it.
pub(super) fn function(views: &[PermissionView]) -> Option<Function> {
    let (tuples, pairs) = asked(views)?;
    let rows = rows_to_all(tuples, &pairs);
    let Some(table) = tuples.table.as_ref().filter(|_| !rows.is_empty()) else {
        return Some(Function {
            body: format!("SELECT {FOUND}"),
            walks: false,
        });
    };
    let edges = format!(
        "SELECT {EDGE_COLUMNS}\n  FROM (VALUES\n  {}) AS e({EDGE_COLUMNS}, targets)\n  WHERE $2 || '#' || $1 = ANY (targets)",
        rows.join(",\n  ")
    );
    let [before, after] = walk(tuples, table, &edges);
    let user = "CASE WHEN current_setting('rowgate.user_id', true) <> '' THEN current_setting('rowgate.user_id', true) END";
    let (max, says) = (tuples.objects_max, literal(TOO_MANY));
    let body = format!(
        "#variable_conflict use_column
DECLARE
  walked bigint;
  found text[];
BEGIN
{before}{user}{after}
SELECT count(*), array_agg(object) FILTER (WHERE namespace = $2 AND relation = $1) INTO walked, found
FROM rowgate_bounded;
IF walked > {max} THEN
  RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = {says};
END IF;
RETURN coalesce(found, '{{}}') || {FOUND};
END"
    );
    Some(Function { body, walks: true })
}

/// Takes it away, after the views, where none calls it any more.
pub(super) fn drop(out: &mut String, views: &[PermissionView], state: &State) {
    let installed = state.functions.iter().any(|f| f.signature == SIGNATURE);
    if installed && asked(views).is_none() {
        out.push_str("DROP FUNCTION rowgate.objects(text, text);\n\n");
    }
}

/// Its DDL, run as the owner.
pub(super) fn create(
    out: &mut String,
    views: &[PermissionView],
    options: &InstallOptions,
    state: &State,
) {
    let installed = state.functions.iter().find(|f| f.signature == SIGNATURE);
    let Some(function) = function(views) else {
        return;
    };
    let mut tag = "$rowgate$".to_owned();
    while function.body.contains(&tag) {
        tag.insert(1, 'x');
    }
    let attributes = match function.walks {
        true => format!(
            "LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER\nSET search_path = pg_catalog, pg_temp SET jit = off AS {tag}"
        ),
        false => format!("LANGUAGE sql STABLE PARALLEL SAFE AS {tag}"),
    };
    out.push_str("-- The walk over relation tuples.\n");
    let _ = writeln!(
        out,
        "CREATE OR REPLACE FUNCTION rowgate.objects(relation text, type text) RETURNS text[]\n{attributes}{}{tag};",
        function.body
    );
    let _ = writeln!(
        out,
        "REVOKE ALL ON FUNCTION rowgate.objects(text, text) FROM PUBLIC;"
    );
    let logins = [Some(&options.login), options.superuser_login.as_ref()];
    let logins: Vec<&String> = logins.into_iter().flatten().collect();
    for login in &logins {
        let login = identifier(login);
        let _ = writeln!(
            out,
            "GRANT EXECUTE ON FUNCTION rowgate.objects(text, text) TO {login};"
        );
    }
    let grantees = installed.map_or(&[][..], |installed| installed.grantees.as_slice());
    for other in grantees.iter().filter(|other| !logins.contains(other)) {
        if other != "PUBLIC" {
            let other = identifier(other);
            let _ = writeln!(
                out,
                "REVOKE ALL ON FUNCTION rowgate.objects(text, text) FROM {other};"
            );
        }
    }
    out.push('\n');
}

/// Whether what is installed is what the views need.
pub(super) fn as_it_should_be(state: &State, views: &[PermissionView]) -> bool {
    let Some(wanted) = function(views) else {
        return true;
    };
    let mut installed = state.functions.iter().filter(|f| f.signature == SIGNATURE);
    installed.any(|found| {
        found.body == wanted.body && found.walks == wanted.walks && (found.plain || found.walks)
    })
}

/// Says so when no index serves a step of the walk; the table is the customer's, so nothing is created.
pub(super) async fn unindexed(
    client: &Client,
    views: &[PermissionView],
) -> Result<Option<Finding>, Error> {
    let table = asked(views).and_then(|(tuples, _)| tuples.table.as_ref());
    let Some(table) = table else {
        return Ok(None);
    };
    let columns = &table.columns;
    let looked_up = [
        columns.subject_namespace.as_str(),
        columns.subject_id.as_str(),
        columns.subject_relation.as_str(),
    ];
    let sql = "SELECT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indpred IS NULL
                 AND (SELECT count(*) FROM generate_subscripts(i.indkey, 1) AS k(k)
                      JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.k]
                      WHERE k.k < 3 AND a.attname = ANY ($2::text[])) = 3)";
    let name = RelationName::new(&table.schema, &table.name).quoted();
    let looked_up: &[&str] = &looked_up;
    let indexed: bool = client.query_one(sql, &[&name, &looked_up]).await?.get(0);
    let keys = [
        &columns.subject_namespace,
        &columns.subject_id,
        &columns.subject_relation,
        &columns.relation,
        &columns.namespace,
        &columns.object,
    ];
    let keys = keys.map(|key| identifier(key)).join(", ");
    let include = columns.expires_at.as_ref();
    let include = include.map_or(String::new(), |key| {
        format!(" INCLUDE ({})", identifier(key))
    });
    Ok((!indexed).then(|| Finding {
        severity: Severity::Warning,
        what: format!("{} has no index on its subjects", qualified(table)),
        why: "each step of rowgate.objects() reads the whole table".to_owned(),
        fix: Some(format!(
            "CREATE INDEX CONCURRENTLY ON {} ({keys}){include};",
            qualified(table)
        )),
    }))
}
