//! `plan`, `apply`, and loading the policy.

use super::catalog::{self, Relations};
use super::introspect::{introspect_inside, policy_view};
use super::state::{InstalledView, State};
use super::{InstallError, InstallOptions, Passwords, ddl};
use crate::config::Enforcement;
use crate::policy::compose::{self, ALL, OPEN, SEALED, identifier, literal, qualified};
use crate::policy::{
    PermissionView, Policy, PolicyError, RelationName, ViewSource, check_together, parse_view_file,
    with_tuples,
};
use crate::tuples::Tuples;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Reads and parses every `*.sql` in `dir`, without a database. Names that start with a dot are left out.
/// `tuples` is what their calls of `rowgate.objects` walk over.
///
/// # Errors
/// All errors of all files together.
pub fn read_views(
    dir: &Path,
    tuples: Option<&Arc<Tuples>>,
) -> Result<Vec<PermissionView>, InstallError> {
    let files = |error: std::io::Error| {
        let text = format!("{}: {error}", dir.display());
        InstallError::Files(std::io::Error::new(error.kind(), text))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(files)? {
        let path = entry.map_err(files)?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut views, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let parsed = match std::fs::read_to_string(&path) {
            Ok(text) => parse_view_file(&name, &text),
            Err(error) => Err(vec![PolicyError {
                file: name,
                line: None,
                message: format!("cannot be read: {error}"),
                hint: None,
            }]),
        };
        match parsed {
            Ok(view) => views.push(view),
            Err(found) => errors.extend(found),
        }
    }
    errors.extend(check_together(&views));
    errors.extend(with_tuples(&mut views, tuples));
    if errors.is_empty() {
        Ok(views)
    } else {
        Err(InstallError::Policy(errors))
    }
}

/// Reads `dir` and asks the database for types, keys and comments. With barrier enforcement the client may
/// be Rowgate's own login: the installed views are read, and must have been made from these very files.
///
/// # Errors
/// All errors of all files together; or the installed views are missing or stale.
pub async fn load_policy(
    dir: &Path,
    client: &Client,
    enforcement: Enforcement,
    tuples: Option<&Arc<Tuples>>,
) -> Result<Policy, InstallError> {
    let views = read_views(dir, tuples)?;
    policy_of(&views, client, enforcement).await
}

/// [`load_policy`] for views already read.
///
/// # Errors
/// As [`load_policy`].
pub async fn policy_of(
    views: &[PermissionView],
    client: &Client,
    enforcement: Enforcement,
) -> Result<Policy, InstallError> {
    catalog::begin(client).await?;
    let result = match enforcement {
        Enforcement::Barrier => installed_policy(views, client).await,
        Enforcement::Inline => inline_policy(views, client).await,
    };
    let ended = catalog::end(client).await;
    let policy = result?;
    ended?;
    Ok(policy)
}

async fn inline_policy(views: &[PermissionView], client: &Client) -> Result<Policy, InstallError> {
    let introspection = introspect_inside(client, views).await?;
    let views = views.iter().zip(&introspection.views).map(|(view, facts)| {
        let source = ViewSource::Inline(Box::new(facts.body.clone()));
        let table = introspection.relations.by_name(view.relation());
        let computed = compose::computed(view, &facts.body);
        let mut made = policy_view(
            view,
            &facts.columns,
            &computed,
            &facts.primary_key,
            table,
            source,
        );
        made.origins = table.map_or_else(Vec::new, |table| table.origins(table));
        made
    });
    Ok(Policy::new(views.collect(), catalog::server(client).await?))
}

async fn installed_policy(
    views: &[PermissionView],
    client: &Client,
) -> Result<Policy, InstallError> {
    let state = State::read(client).await?;
    let differences = state.differences(views);
    if !differences.is_empty() {
        let what: Vec<&str> = differences
            .iter()
            .map(|found| found.what.as_str())
            .collect();
        let text = format!("{}\n  hint: Run `rowgate apply`.", what.join("\n"));
        return Err(InstallError::Drift(text));
    }
    let names = views.iter().map(|view| view.relation());
    let names = names.chain(state.views.iter().map(|view| &view.name));
    let names: HashSet<_> = names.cloned().collect();
    let relations = Relations::read(client, &HashSet::new(), &names).await?;
    let mut loaded = Vec::new();
    for view in views {
        let relation = view.relation();
        let name = |schema| state.view(schema, relation).map(|found| found.name.clone());
        let Some(sealed) = state.view(SEALED, relation) else {
            continue;
        };
        let source = ViewSource::Installed {
            sealed: sealed.name.clone(),
            open: open(view, sealed, &state),
            all: name(ALL),
        };
        let (computed, key) = sealed
            .mark
            .as_ref()
            .map(|mark| (mark.computed.clone(), mark.primary_key.clone()))
            .unwrap_or_default();
        let table = relations.by_name(relation);
        let read = source.reads();
        let mut made = policy_view(view, &sealed.columns, &computed, &key, table, source);
        let read = read.iter().filter_map(|name| relations.by_name(name));
        made.origins = table.map_or_else(Vec::new, |table| {
            read.flat_map(|read| read.origins(table)).collect()
        });
        // As installed, not as the table is by now: a column added since is not in the view.
        if let (Some(whole), Some(all)) = (&mut made.whole, state.view(ALL, relation)) {
            whole
                .columns
                .retain(|c| all.columns.iter().any(|(name, _)| *name == c.name));
        }
        loaded.push(made);
    }
    Ok(Policy::new(loaded, catalog::server(client).await?))
}

/// The view without the barrier, if it shows every column but the masked ones, of the same types; else the sealed one.
fn open(view: &PermissionView, sealed: &InstalledView, state: &State) -> RelationName {
    let unmasked = sealed
        .columns
        .iter()
        .filter(|(name, _)| !view.masks().contains_key(name));
    state
        .view(OPEN, view.relation())
        .filter(|open| unmasked.eq(open.columns.iter()))
        .map_or_else(|| sealed.name.clone(), |open| open.name.clone())
}

/// The DDL `apply` would run, complete and readable; holds no password. `client` is an administrator.
///
/// # Errors
/// All errors of all files together.
pub async fn plan(
    client: &Client,
    views: &[PermissionView],
    options: &InstallOptions,
) -> Result<String, InstallError> {
    catalog::begin(client).await?;
    let planned = plan_inside(client, views, options).await;
    catalog::end(client).await?;
    let planned = planned?;
    Ok(format!("BEGIN;\n{planned}COMMIT;\n"))
}

async fn plan_inside(
    client: &Client,
    views: &[PermissionView],
    options: &InstallOptions,
) -> Result<String, InstallError> {
    let introspection = introspect_inside(client, views).await?;
    let state = State::read(client).await?;
    let admin =
        "SELECT current_database()::text, rolsuper FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(admin, &[]).await?;
    let (database, superuser): (String, bool) = (row.get(0), row.get(1));
    Ok(ddl::write(
        &database,
        views,
        &introspection,
        &state,
        options,
        superuser,
    ))
}

/// How often [`apply`] is tried. Roles belong to the whole cluster: where an `apply` in another of its databases changes the
/// same one at the same moment, PostgreSQL fails with XX000, "tuple concurrently updated".
const ATTEMPTS: u32 = 6;
/// The pause behind the first of them; behind each further one it is that much longer.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs the plan in one transaction and sets the passwords. Idempotent. `client` is an administrator.
///
/// # Errors
/// All errors of all files together, or what the database refused; then nothing has changed.
pub async fn apply(
    client: &mut Client,
    views: &[PermissionView],
    options: &InstallOptions,
    passwords: &Passwords,
) -> Result<(), InstallError> {
    for attempt in 1..ATTEMPTS {
        match apply_once(client, views, options, passwords).await {
            Err(InstallError::Database(error))
                if error.code() == Some(&SqlState::INTERNAL_ERROR) =>
            {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            ended => return ended,
        }
    }
    apply_once(client, views, options, passwords).await
}

async fn apply_once(
    client: &Client,
    views: &[PermissionView],
    options: &InstallOptions,
    passwords: &Passwords,
) -> Result<(), InstallError> {
    client
        .batch_execute("BEGIN; SET LOCAL search_path = ''; SELECT pg_catalog.pg_advisory_xact_lock(8241197346)")
        .await?;
    let done = apply_inside(client, views, options, passwords).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = client.batch_execute(end).await;
    done?;
    ended?;
    Ok(())
}

async fn apply_inside(
    client: &Client,
    views: &[PermissionView],
    options: &InstallOptions,
    passwords: &Passwords,
) -> Result<(), InstallError> {
    let ddl = plan_inside(client, views, options).await?;
    client.batch_execute(&ddl).await?;
    let state = State::read(client).await?;
    let differences = state.differences(views);
    if let Some(first) = differences.first() {
        return Err(InstallError::Drift(format!(
            "right after apply: {}",
            first.what
        )));
    }
    try_views(client, views, &state, options).await?;
    set_password(client, &options.login, passwords.login.as_ref()).await?;
    if let Some(login) = &options.superuser_login {
        set_password(client, login, passwords.superuser_login.as_ref()).await?;
    }
    Ok(())
}

/// Reads no row of each view as its reader: rights that are missing show now, not at the first query.
/// Only a superuser can become the logins.
async fn try_views(
    client: &Client,
    views: &[PermissionView],
    state: &State,
    options: &InstallOptions,
) -> Result<(), InstallError> {
    let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    if !client.query_one(superuser, &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    for view in views {
        for schema in [SEALED, OPEN, ALL] {
            let reader = match schema {
                ALL => options.superuser_login.as_ref(),
                _ => Some(&options.login),
            };
            if let Some((found, reader)) = state.view(schema, view.relation()).zip(reader) {
                let (role, name) = (identifier(reader), qualified(&found.name));
                let text =
                    format!("SET LOCAL ROLE {role}; SELECT 1 FROM {name} LIMIT 0; RESET ROLE");
                client.batch_execute(&text).await?;
            }
        }
    }
    Ok(())
}

/// The verifier is computed here (RFC 5802), so the password is in no statement and no server log.
async fn set_password(
    client: &Client,
    role: &str,
    password: Option<&SecretString>,
) -> Result<(), InstallError> {
    let Some(password) = password else {
        return Ok(());
    };
    let verifier = postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes());
    let text = format!(
        "ALTER ROLE {} PASSWORD {}",
        identifier(role),
        literal(&verifier)
    );
    client.batch_execute(&text).await?;
    Ok(())
}
