//! What is installed now: the objects in Rowgate's three schemas, read from the catalogs.

use super::{Finding, Severity};
use super::{ddl, tuples};
use crate::policy::compose::{ALL, OPEN, SEALED, installed_name, qualified};
use crate::policy::{ColumnType, PermissionView, RelationName};
use serde::Deserialize;
use std::collections::HashMap;
use tokio_postgres::{Client, Error};

/// What `apply` writes into the comment of each view.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Mark {
    /// [`PermissionView::source_digest`].
    pub(super) source: String,
    pub(super) primary_key: Vec<String>,
    /// Columns that are expressions of the body: see `policy::compose::computed`.
    pub(super) computed: Vec<String>,
    /// md5 of `pg_get_viewdef` right after the view was made.
    pub(super) definition: Option<String>,
}

/// A relation in one of the three schemas.
#[derive(Debug, Clone)]
pub(super) struct InstalledView {
    pub(super) name: RelationName,
    pub(super) kind: String,
    pub(super) columns: Vec<(String, ColumnType)>,
    pub(super) owner: String,
    pub(super) barrier: bool,
    /// `security_invoker` or anything else that nobody asked for.
    pub(super) other_options: bool,
    pub(super) mark: Option<Mark>,
    pub(super) definition: Option<String>,
    /// Who holds any right on it, the owner aside; `PUBLIC` for everyone.
    pub(super) grantees: Vec<String>,
}

impl InstalledView {
    /// Still as it was when `apply` made it.
    fn untouched(&self) -> bool {
        let made = self.mark.as_ref().and_then(|mark| mark.definition.as_ref());
        self.kind == "v"
            && !self.other_options
            && made.is_some()
            && made == self.definition.as_ref()
    }
}

/// A function in schema `rowgate`.
#[derive(Debug, Clone)]
pub(super) struct InstalledFunction {
    pub(super) signature: String,
    pub(super) body: String,
    /// LANGUAGE sql STABLE PARALLEL SAFE, not SECURITY DEFINER, no SET.
    pub(super) plain: bool,
    /// Exactly as [`super::tuples`] makes a walk: LANGUAGE plpgsql, SECURITY DEFINER, its settings.
    pub(super) walks: bool,
    pub(super) owner: String,
    pub(super) grantees: Vec<String>,
}

/// Everything in the three schemas.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) views: Vec<InstalledView>,
    pub(super) functions: Vec<InstalledFunction>,
    /// Schema, owner, grantees.
    pub(super) schemas: Vec<(String, String, Vec<String>)>,
}

const VIEWS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, pg_get_userbyid(c.relowner)::text,
       coalesce('security_barrier=true' = ANY (c.reloptions), false),
       EXISTS (SELECT 1 FROM unnest(c.reloptions) AS o(o) WHERE o <> 'security_barrier=true'),
       obj_description(c.oid, 'pg_class'),
       CASE WHEN c.relkind = 'v' THEN md5(pg_get_viewdef(c.oid)) END,
       ARRAY(SELECT DISTINCT coalesce(r.rolname::text, 'PUBLIC')
             FROM (SELECT c.relacl UNION ALL
                   SELECT a.attacl FROM pg_attribute AS a WHERE a.attrelid = c.oid) AS l(acl),
                  aclexplode(l.acl) AS g LEFT JOIN pg_roles AS r ON r.oid = g.grantee
             WHERE g.grantee <> c.relowner)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('rowgate', 'rowgate_open', 'rowgate_all')
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
ORDER BY n.nspname, c.relname";

const FUNCTIONS: &str = "
SELECT p.proname::text || '(' || pg_get_function_identity_arguments(p.oid) || ') ' || pg_get_function_result(p.oid),
       p.prosrc,
       l.lanname = 'sql' AND p.provolatile = 's' AND p.proparallel = 's' AND p.proconfig IS NULL
         AND NOT p.prosecdef AND NOT p.proisstrict AND NOT p.proleakproof,
       l.lanname = 'plpgsql' AND p.provolatile = 's' AND p.proparallel = 's' AND p.proconfig = $1
         AND p.prosecdef AND NOT p.proisstrict AND NOT p.proleakproof,
       pg_get_userbyid(p.proowner)::text,
       ARRAY(SELECT DISTINCT coalesce(r.rolname::text, 'PUBLIC')
             FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS g
             LEFT JOIN pg_roles AS r ON r.oid = g.grantee WHERE g.grantee <> p.proowner)
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
WHERE n.nspname IN ('rowgate', 'rowgate_open', 'rowgate_all')";

const SCHEMAS: &str = "
SELECT n.nspname::text, pg_get_userbyid(n.nspowner)::text,
       ARRAY(SELECT DISTINCT coalesce(r.rolname::text, 'PUBLIC') FROM aclexplode(n.nspacl) AS g
             LEFT JOIN pg_roles AS r ON r.oid = g.grantee WHERE g.grantee <> n.nspowner)
FROM pg_namespace AS n WHERE n.nspname IN ('rowgate', 'rowgate_open', 'rowgate_all')";

impl State {
    /// Reads the catalogs; any login may. Inside a transaction with an empty `search_path`.
    pub(super) async fn read(client: &Client) -> Result<Self, Error> {
        let mut state = Self::default();
        let mut columns = columns(client).await?;
        for row in client.query(VIEWS, &[]).await? {
            let comment: Option<String> = row.get(7);
            state.views.push(InstalledView {
                name: RelationName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
                kind: row.get(3),
                columns: columns.remove(&row.get::<_, u32>(0)).unwrap_or_default(),
                owner: row.get(4),
                barrier: row.get(5),
                other_options: row.get(6),
                mark: comment.and_then(|text| {
                    serde_json::from_str(text.strip_prefix(ddl::MARK_PREFIX)?).ok()
                }),
                definition: row.get(8),
                grantees: row.get(9),
            });
        }
        let settings: &[&str] = &tuples::SETTINGS;
        for row in client.query(FUNCTIONS, &[&settings]).await? {
            state.functions.push(InstalledFunction {
                signature: row.get(0),
                body: row.get(1),
                plain: row.get(2),
                walks: row.get::<_, Option<bool>>(3) == Some(true),
                owner: row.get(4),
                grantees: row.get(5),
            });
        }
        for row in client.query(SCHEMAS, &[]).await? {
            state.schemas.push((row.get(0), row.get(1), row.get(2)));
        }
        Ok(state)
    }

    pub(super) fn view(&self, schema: &str, relation: &RelationName) -> Option<&InstalledView> {
        let name = installed_name(relation);
        self.views
            .iter()
            .find(|view| view.name.schema == schema && view.name.name == name)
    }

    /// What keeps the installed objects from being what the files say; empty = may be served.
    pub(super) fn differences(&self, views: &[PermissionView]) -> Vec<Finding> {
        let mut found = Vec::new();
        for view in views {
            let relation = view.relation();
            let source = view.source_digest();
            let Some(sealed) = self.view(SEALED, relation) else {
                let what = format!("{} is not installed", view.file());
                found.push(stale(what));
                continue;
            };
            let others = [OPEN, ALL].map(|schema| self.view(schema, relation));
            for installed in others.into_iter().flatten().chain([sealed]) {
                let name = qualified(&installed.name);
                let made_from = installed.mark.as_ref().map(|mark| &mark.source);
                if made_from != Some(&source) {
                    found.push(stale(format!(
                        "{name} was not made from {} as it is now",
                        view.file()
                    )));
                } else if !installed.untouched() {
                    found.push(stale(format!("{name} was changed since it was installed")));
                } else if !installed.barrier && installed.name.schema != OPEN {
                    found.push(stale(format!("{name} is not a security barrier any more")));
                }
            }
        }
        for (name, _, _, _) in ddl::FUNCTIONS {
            let signature = ddl::signature(name);
            let function = self.functions.iter().find(|f| f.signature == signature);
            let body = ddl::function_body(name);
            if !function.is_some_and(|f| f.plain && Some(f.body.as_str()) == body) {
                found.push(stale(format!(
                    "function rowgate.{name}() is missing or was changed"
                )));
            }
        }
        if !tuples::as_it_should_be(self, views) {
            let what = "function rowgate.objects() is missing, was changed, or walks by other rules than [tuples] says";
            found.push(stale(what.to_owned()));
        }
        found
    }

    /// Relations in the schemas that no file asks for.
    pub(super) fn superfluous<'a>(
        &'a self,
        views: &'a [PermissionView],
    ) -> impl Iterator<Item = &'a InstalledView> {
        let names: Vec<String> = views.iter().map(|v| installed_name(v.relation())).collect();
        self.views
            .iter()
            .filter(move |view| !names.contains(&view.name.name))
    }
}

fn stale(what: String) -> Finding {
    Finding {
        severity: Severity::Error,
        what,
        why: "what the database shows is not what the view files say".to_owned(),
        fix: Some("rowgate apply".to_owned()),
    }
}

async fn columns(client: &Client) -> Result<HashMap<u32, Vec<(String, ColumnType)>>, Error> {
    let oids = "SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                WHERE n.nspname IN ('rowgate', 'rowgate_open', 'rowgate_all') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
    let oids = client.query(oids, &[]).await?;
    let oids = oids.iter().map(|row| row.get::<_, u32>(0)).collect();
    let relations = super::catalog::Relations::read(client, &oids, &Default::default()).await?;
    Ok(relations
        .iter()
        .map(|relation| {
            let columns = relation.columns.iter();
            let columns = columns.map(|column| (column.name.clone(), column.type_.clone()));
            (relation.oid, columns.collect())
        })
        .collect())
}
