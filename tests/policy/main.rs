//! View files against a real PostgreSQL: what is installed, who reads what, what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

#[path = "../support/mod.rs"]
mod support;

mod apply;
mod attack;
mod check;
mod fewer;
mod plans;
mod posture;
mod principal;
mod rows;
mod tuples;

use rowgate::identity::{Findings, Principal};
use rowgate::install::{self, InstallError, InstallOptions, Passwords};
use rowgate::policy::{PermissionView, PrincipalSettings, SET_PRINCIPAL, parse_view_file};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// Role names are the cluster's, so tests that change rights use roles of their own.
fn options(tag: &str) -> InstallOptions {
    InstallOptions {
        owner: format!("owner_{tag}"),
        login: format!("login_{tag}"),
        superuser_login: Some(format!("super_{tag}")),
        revoke_public: false,
    }
}

fn view(file: &str, text: &str) -> PermissionView {
    parse_view_file(file, text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

async fn apply(admin: &mut Client, views: &[PermissionView], options: &InstallOptions) {
    try_apply(admin, views, options)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

async fn try_apply(
    admin: &mut Client,
    views: &[PermissionView],
    options: &InstallOptions,
) -> Result<(), InstallError> {
    install::apply(admin, views, options, &Passwords::default()).await
}

fn principal(user: &str, roles: &[&str], permissions: &[&str]) -> Principal {
    let roles = roles
        .iter()
        .map(|role| ((*role).to_owned(), BTreeSet::new()));
    let findings = Findings {
        roles: roles.collect(),
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
        ..Findings::default()
    };
    Principal::new(user, user, findings)
}

/// Runs `sql` as `role` for `principal`, as upstream does: settings and query in one transaction.
/// One text per row, columns separated by `|`.
async fn ask(admin: &mut Client, role: &str, principal: &Principal, sql: &str) -> Vec<String> {
    let settings = PrincipalSettings::from(principal);
    let transaction = admin.transaction().await.unwrap();
    transaction
        .batch_execute(&format!("SET LOCAL ROLE {role}"))
        .await
        .unwrap();
    let values = settings.parameters();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    transaction.query(SET_PRINCIPAL, &values).await.unwrap();
    let rows = transaction
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).unwrap_or("NULL"))
                    .collect::<Vec<_>>()
                    .join("|"),
            ),
            _ => None,
        })
        .collect()
}
