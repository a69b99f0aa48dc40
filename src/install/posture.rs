//! Looks at what the connected login may do, before it is let near an agent.
//!
//! The rewriting keeps an agent from asking for anything else; this keeps the database from giving it if
//! a hole is ever found there. Refused is what could write, read past the views, or change how they
//! are read. Only warned about is TEMPORARY on the database: PUBLIC has it by default, a temporary table is nobody
//! else's, and none can be made in the read-only transactions Rowgate runs in.

use super::{Finding, LoginKind, Severity, catalog};
use crate::config::Enforcement;
use crate::policy::compose::{ALL, OPEN, SEALED, installed_name};
use crate::policy::{PermissionView, RelationName};
use std::collections::BTreeSet;
use tokio_postgres::{Client, Error};

/// Looks at what the connected login may do. `Ok` = may serve, with warnings and notes; `Err` = refuse
/// to serve, with everything found.
///
/// # Errors
/// The findings, at least one of which is [`Severity::Error`].
pub async fn posture(
    client: &Client,
    enforcement: Enforcement,
    kind: LoginKind,
    views: &[PermissionView],
) -> Result<Vec<Finding>, Vec<Finding>> {
    let mut found = Vec::new();
    let looked = async {
        catalog::begin(client).await?;
        let looked = look(client, enforcement, kind, views, &mut found).await;
        catalog::end(client).await?;
        looked
    };
    if let Err(error) = looked.await {
        let cause = error
            .as_db_error()
            .map_or_else(|| error.to_string(), |db| db.message().to_owned());
        found.push(Finding {
            severity: Severity::Error,
            what: format!("the login's rights cannot be read: {cause}"),
            why: "what is not known is not allowed".to_owned(),
            fix: None,
        });
    }
    if found
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        Err(found)
    } else {
        Ok(found)
    }
}

/// One question to the catalogs: rows of (what, fix), all for the same reason.
struct Question {
    severity: Severity,
    why: &'static str,
    sql: &'static str,
}

/// `me` in each is the connected login.
const QUESTIONS: &[Question] = &[
    Question {
        severity: Severity::Error,
        why: "such a role can do, or become able to do, what no filter stops",
        sql: "SELECT format('role %I is %s', r.rolname, a.state), format('ALTER ROLE %I %s;', r.rolname, a.fix)
              FROM pg_roles AS r, LATERAL (VALUES
                (r.rolsuper, 'a superuser', 'NOSUPERUSER'), (r.rolbypassrls, 'BYPASSRLS', 'NOBYPASSRLS'),
                (r.rolcreaterole, 'CREATEROLE', 'NOCREATEROLE'), (r.rolcreatedb, 'CREATEDB', 'NOCREATEDB'),
                (r.rolreplication, 'REPLICATION', 'NOREPLICATION')) AS a(has, state, fix)
              WHERE r.rolname = session_user AND a.has",
    },
    Question {
        severity: Severity::Error,
        why: "it can become that role, and do whatever that role may",
        sql: "WITH RECURSIVE member(role, through) AS (
                SELECT m.roleid, m.member FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.member
                WHERE r.rolname = session_user
                UNION SELECT m.roleid, m.member FROM pg_auth_members AS m JOIN member ON m.member = member.role)
              SELECT format('role %I is a member of %I', session_user, r.rolname),
                     format('REVOKE %I FROM %I;', r.rolname, t.rolname)
              FROM member JOIN pg_roles AS r ON r.oid = member.role JOIN pg_roles AS t ON t.oid = member.through",
    },
    Question {
        severity: Severity::Error,
        why: "an owner may do anything with what it owns",
        sql: "SELECT format('role %I owns %s', session_user,
                       CASE WHEN d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                            THEN coalesce(pg_describe_object(d.classid, d.objid, d.objsubid), 'an object')
                            ELSE 'an object in database ' || (SELECT datname FROM pg_database WHERE oid = d.dbid) END),
                     format('REASSIGN OWNED BY %I TO postgres;  -- or to whoever should own it, in its database', session_user)
              FROM pg_shdepend AS d JOIN pg_roles AS r ON r.oid = d.refobjid
              WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = session_user",
    },
    Question {
        severity: Severity::Error,
        why: "Rowgate's login only reads",
        sql: "SELECT format('role %I may write %s', session_user, c.oid::regclass),
                     format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON %s FROM %I, PUBLIC;', c.oid::regclass, session_user)
              FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast)'
                AND (has_table_privilege(session_user, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                     OR has_any_column_privilege(session_user, c.oid, 'INSERT, UPDATE, REFERENCES'))
              UNION ALL
              SELECT format('role %I may use sequence %s', session_user, c.oid::regclass),
                     format('REVOKE ALL ON SEQUENCE %s FROM %I, PUBLIC;', c.oid::regclass, session_user)
              FROM pg_class AS c
              WHERE c.relkind = 'S' AND has_sequence_privilege(session_user, c.oid, 'USAGE, SELECT, UPDATE')
              UNION ALL
              SELECT format('role %I may use large object %s', session_user, l.oid),
                     format('REVOKE ALL ON LARGE OBJECT %s FROM %I, PUBLIC;', l.oid, session_user)
              FROM pg_largeobject_metadata AS l, aclexplode(l.lomacl) AS g
              WHERE g.grantee IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))",
    },
    Question {
        severity: Severity::Error,
        why: "who can create objects can put them in the way of others' queries, and write",
        sql: "SELECT format('role %I may create in schema %I', session_user, n.nspname),
                     format('REVOKE CREATE ON SCHEMA %I FROM %I, PUBLIC;', n.nspname, session_user)
              FROM pg_namespace AS n
              WHERE n.nspname !~ '^pg_(temp|toast)' AND has_schema_privilege(session_user, n.oid, 'CREATE')
              UNION ALL
              SELECT format('role %I may create schemas in database %I', session_user, current_database()),
                     format('REVOKE CREATE ON DATABASE %I FROM %I, PUBLIC;', current_database(), session_user)
              WHERE has_database_privilege(session_user, current_database(), 'CREATE')",
    },
    Question {
        severity: Severity::Warning,
        why: "temporary tables use up disk; Rowgate's read-only transactions cannot make any, so this is a second wall only",
        sql: "SELECT format('role %I may create temporary tables in database %I', session_user, current_database()),
                     format('REVOKE TEMPORARY ON DATABASE %I FROM %I, PUBLIC;', current_database(), session_user)
              WHERE has_database_privilege(session_user, current_database(), 'TEMPORARY')",
    },
    Question {
        severity: Severity::Error,
        why: "it shows what PostgreSQL keeps from ordinary roles",
        sql: "SELECT format('role %I may read %s', session_user, c.oid::regclass),
                     format('REVOKE ALL ON %s FROM %I, PUBLIC;', c.oid::regclass, session_user)
              FROM pg_class AS c
              WHERE c.relnamespace = 'pg_catalog'::regnamespace
                AND c.relname IN ('pg_authid', 'pg_shadow', 'pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject',
                  'pg_user_mapping', 'pg_hba_file_rules', 'pg_ident_file_mappings', 'pg_file_settings', 'pg_subscription',
                  'pg_config', 'pg_backend_memory_contexts', 'pg_shmem_allocations')
                AND has_table_privilege(session_user, c.oid, 'SELECT')
              UNION ALL
              SELECT format('role %I may call %s', session_user, p.oid::regprocedure),
                     format('REVOKE ALL ON FUNCTION %s FROM %I, PUBLIC;', p.oid::regprocedure, session_user)
              FROM pg_proc AS p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace
                AND p.proname IN ('pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'pg_stat_file', 'lo_import', 'lo_export',
                  'pg_ls_logdir', 'pg_ls_waldir', 'pg_ls_tmpdir', 'pg_ls_archive_statusdir', 'pg_reload_conf', 'pg_rotate_logfile',
                  'pg_current_logfile', 'pg_switch_wal', 'pg_create_restore_point', 'pg_promote')
                AND has_function_privilege(session_user, p.oid, 'EXECUTE')",
    },
    Question {
        severity: Severity::Error,
        why: "a SECURITY DEFINER function acts with its owner's rights, past every permission view",
        sql: "SELECT format('role %I may call %s, which is SECURITY DEFINER', session_user, p.oid::regprocedure),
                     format('REVOKE EXECUTE ON FUNCTION %s FROM %I, PUBLIC;', p.oid::regprocedure, session_user)
              FROM pg_proc AS p
              WHERE p.prosecdef AND has_function_privilege(session_user, p.oid, 'EXECUTE')
                AND has_schema_privilege(session_user, p.pronamespace, 'USAGE')
                -- The walk over relation tuples, which asks for nobody but the principal; what it is made of is compared at load.
                AND NOT EXISTS (SELECT FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = p.proowner
                                WHERE n.oid = p.pronamespace AND n.nspname = 'rowgate' AND n.nspowner = p.proowner
                                  AND NOT r.rolsuper AND p.proname = 'objects'
                                  AND p.proargtypes = '25 25'::oidvector)",
    },
    Question {
        severity: Severity::Error,
        why: "the setting changes how queries or views are read, before Rowgate says a word",
        sql: "SELECT format('%s is set for %s', s.name,
                       CASE WHEN d.setrole = 0 THEN 'everyone' ELSE 'role ' || quote_ident(session_user::text) END),
                     CASE WHEN d.setrole = 0 AND d.setdatabase = 0 THEN format('ALTER ROLE ALL RESET %s;', s.name)
                          WHEN d.setrole = 0 THEN format('ALTER DATABASE %I RESET %s;', current_database(), s.name)
                          WHEN d.setdatabase = 0 THEN format('ALTER ROLE %I RESET %s;', session_user, s.name)
                          ELSE format('ALTER ROLE %I IN DATABASE %I RESET %s;', session_user, current_database(), s.name) END
              FROM pg_db_role_setting AS d, unnest(d.setconfig) AS c(c),
                   LATERAL (SELECT lower(split_part(c.c, '=', 1)), substr(c.c, strpos(c.c, '=') + 1)) AS s(name, value)
              WHERE d.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
                AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                AND (s.name IN ('role', 'session_authorization', 'standard_conforming_strings', 'backslash_quote',
                       'transform_null_equals', 'array_nulls', 'row_security', 'session_replication_role',
                       'session_preload_libraries', 'local_preload_libraries', 'dynamic_library_path')
                     OR s.name LIKE 'rowgate.%'
                     OR s.name IN ('default_transaction_read_only', 'transaction_read_only') AND s.value IN ('off', 'false', 'no', '0'))
              UNION ALL
              SELECT format('%s has a value before anybody has logged in', s.name), format('ALTER SYSTEM RESET %s;  -- or take it out of postgresql.conf; then reload', s.name)
              FROM unnest(ARRAY['rowgate.user_id', 'rowgate.roles', 'rowgate.permissions', 'rowgate.permission_patterns', 'rowgate.attributes', 'rowgate.tags', 'rowgate.objects']) AS s(name)
              WHERE current_setting(s.name, true) <> ''
                AND NOT EXISTS (SELECT 1 FROM pg_db_role_setting AS d, unnest(d.setconfig) AS c(c) WHERE c.c LIKE s.name || '=%')",
    },
];

/// PostgreSQL 15 and later: rights on single settings.
const PARAMETERS: Question = Question {
    severity: Severity::Error,
    why: "such a setting is for superusers because it can change what a query does",
    sql: "SELECT format('role %I may set %s', session_user, a.parname),
                 format('REVOKE ALL ON PARAMETER %s FROM %I, PUBLIC;', a.parname, session_user)
          FROM pg_parameter_acl AS a
          WHERE has_parameter_privilege(session_user, a.parname, 'SET, ALTER SYSTEM')",
};

async fn look(
    client: &Client,
    enforcement: Enforcement,
    kind: LoginKind,
    views: &[PermissionView],
    found: &mut Vec<Finding>,
) -> Result<(), Error> {
    for question in QUESTIONS {
        ask(client, question, found).await?;
    }
    let parameters = "SELECT to_regclass('pg_catalog.pg_parameter_acl') IS NOT NULL";
    if client.query_one(parameters, &[]).await?.get(0) {
        ask(client, &PARAMETERS, found).await?;
    }
    readable(client, enforcement, kind, views, found).await?;
    missing(client, enforcement, kind, views, found).await?;
    row_security(client, views, found).await
}

async fn ask(client: &Client, question: &Question, found: &mut Vec<Finding>) -> Result<(), Error> {
    for row in client.query(question.sql, &[]).await? {
        found.push(Finding {
            severity: question.severity,
            what: row.get(0),
            why: question.why.to_owned(),
            fix: row.get(1),
        });
    }
    Ok(())
}

/// Every relation the login can read beside those it is for.
async fn readable(
    client: &Client,
    enforcement: Enforcement,
    kind: LoginKind,
    views: &[PermissionView],
    found: &mut Vec<Finding>,
) -> Result<(), Error> {
    let sql = "SELECT n.nspname::text, c.relname::text, c.oid::regclass::text, session_user::text,
                      c.relkind = 'v' AND 'security_barrier=true' = ANY (c.reloptions), quote_ident(session_user::text)
               FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
                 AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast)'
                 AND has_schema_privilege(session_user, n.oid, 'USAGE')
                 AND (has_table_privilege(session_user, c.oid, 'SELECT')
                      OR has_any_column_privilege(session_user, c.oid, 'SELECT'))
               ORDER BY 1, 2";
    let rows = client.query(sql, &[]).await?;
    for row in rows {
        let relation = RelationName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let (shown, login, quoted): (String, String, String) = (row.get(2), row.get(3), row.get(5));
        let barrier: Option<bool> = row.get(4);
        let expected = expected(&relation, enforcement, kind, views);
        if !expected {
            let severity = match (enforcement, kind) {
                (Enforcement::Barrier, _) => Severity::Error,
                (Enforcement::Inline, _) => Severity::Warning,
            };
            found.push(Finding {
                severity,
                what: format!("role {login} may read {shown}"),
                why: "no permission view filters it; a hole in the rewriting would show all of it"
                    .to_owned(),
                fix: Some(format!("REVOKE SELECT ON {shown} FROM {quoted}, PUBLIC;")),
            });
        } else if enforcement == Enforcement::Barrier
            && relation.schema != OPEN
            && barrier != Some(true)
        {
            found.push(Finding {
                severity: Severity::Error,
                what: format!("{shown} is not a security_barrier view"),
                why: "the caller's conditions could run before the permission view's".to_owned(),
                fix: Some("rowgate apply".to_owned()),
            });
        }
    }
    Ok(())
}

/// What the login is for and cannot read.
async fn missing(
    client: &Client,
    enforcement: Enforcement,
    kind: LoginKind,
    views: &[PermissionView],
    found: &mut Vec<Finding>,
) -> Result<(), Error> {
    let needed: BTreeSet<RelationName> = match (enforcement, kind) {
        (Enforcement::Barrier, LoginKind::Ordinary) => installed(views, SEALED),
        (Enforcement::Barrier, LoginKind::Superuser) => installed(views, ALL),
        (Enforcement::Inline, LoginKind::Ordinary) => {
            views.iter().flat_map(|view| view.needs()).collect()
        }
        (Enforcement::Inline, LoginKind::Superuser) => {
            views.iter().map(|view| view.relation()).cloned().collect()
        }
    };
    let sql = "SELECT format('role %I may not read %s', session_user, c.oid::regclass),
                      format('GRANT USAGE ON SCHEMA %1$I TO %2$I; GRANT SELECT ON %3$s TO %2$I;', n.nspname, session_user, c.oid::regclass)
               FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                 AND NOT (has_schema_privilege(session_user, n.oid, 'USAGE')
                          AND has_table_privilege(session_user, c.oid, 'SELECT'))";
    let (schemas, tables) = parts(&needed);
    for row in client.query(sql, &[&schemas, &tables]).await? {
        found.push(Finding {
            severity: Severity::Error,
            what: row.get(0),
            why: "every query on the table would fail".to_owned(),
            fix: match enforcement {
                Enforcement::Barrier => Some("rowgate apply".to_owned()),
                Enforcement::Inline => Some(row.get(1)),
            },
        });
    }
    Ok(())
}

fn installed(views: &[PermissionView], schema: &str) -> BTreeSet<RelationName> {
    let names = views.iter().map(|view| installed_name(view.relation()));
    names.map(|name| RelationName::new(schema, name)).collect()
}

fn parts(names: &BTreeSet<RelationName>) -> (Vec<&str>, Vec<&str>) {
    names
        .iter()
        .map(|name| (name.schema.as_str(), name.name.as_str()))
        .unzip()
}

/// Row-level security of the tables themselves: rows it hides stay hidden, whatever a view says.
async fn row_security(
    client: &Client,
    views: &[PermissionView],
    found: &mut Vec<Finding>,
) -> Result<(), Error> {
    let read: BTreeSet<RelationName> = views.iter().flat_map(|view| view.needs()).collect();
    let sql = "SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                 AND c.relrowsecurity
                 AND (c.relforcerowsecurity OR c.relowner IS DISTINCT FROM
                      (SELECT s.nspowner FROM pg_namespace AS s WHERE s.nspname = 'rowgate'))";
    let (schemas, tables) = parts(&read);
    for row in client.query(sql, &[&schemas, &tables]).await? {
        let table: String = row.get(0);
        found.push(Finding {
            severity: Severity::Warning,
            what: format!("{table} has row-level security of its own"),
            why: "its policies apply beside the permission view, so rows may be missing for everybody".to_owned(),
            fix: Some(format!("CREATE POLICY rowgate ON {table} FOR SELECT TO rowgate_owner USING (true);")),
        });
    }
    Ok(())
}

fn expected(
    relation: &RelationName,
    enforcement: Enforcement,
    kind: LoginKind,
    views: &[PermissionView],
) -> bool {
    match (enforcement, kind) {
        (Enforcement::Barrier, LoginKind::Ordinary) => {
            [SEALED, OPEN].contains(&relation.schema.as_str())
        }
        (Enforcement::Barrier, LoginKind::Superuser) => relation.schema == ALL,
        (Enforcement::Inline, _) => views.iter().any(|view| {
            view.relation() == relation || view.needs().any(|needed| needed == *relation)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{PARAMETERS, QUESTIONS};

    #[test]
    fn questions_only_read() {
        for question in QUESTIONS.iter().chain([&PARAMETERS]) {
            let tree = pg_query::parse(question.sql, 0).unwrap();
            assert_eq!(tree.statement_types(), ["SelectStmt"], "{}", question.sql);
        }
    }
}
