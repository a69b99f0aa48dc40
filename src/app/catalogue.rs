//! The four levels of AI permissions as of now, from their files and their tables.

use super::build;
use crate::config::preset::AI_PERMISSIONS;
use crate::config::{Config, ProviderKind, SqlProvider};
use crate::control::{Connector, causes};
use crate::provider::LadderNames;
use anyhow::Context;
use std::collections::BTreeSet;

/// Most names of a level.
const NAMES_MAX: usize = 10_000;

/// Every name of the four levels, from all providers that know them; `None`: none does.
///
/// # Errors
/// When a level cannot be read.
pub async fn catalogue(config: &Config) -> anyhow::Result<Option<LadderNames>> {
    let mut all: Option<LadderNames> = None;
    for provider in &config.providers {
        let broken = || format!("the four levels of provider \"{}\"", provider.name);
        let names = match &provider.kind {
            ProviderKind::AiPermissions(files) => {
                build::ladder_files(files).names().with_context(broken)?
            }
            ProviderKind::Sql(sql) if sql.preset == Some(&AI_PERMISSIONS) => {
                let needs = "its login needs SELECT on ai_permissions, ai_actions, ai_categories and ai_roles";
                let found = of_tables(sql).await.context(needs);
                found.with_context(broken)?
            }
            _ => continue,
        };
        all.get_or_insert_default().extend(names);
    }
    Ok(all)
}

async fn of_tables(settings: &SqlProvider) -> anyhow::Result<LadderNames> {
    let connector = Connector::to(&settings.database)?;
    let reading = async {
        let client = connector.connect().await?;
        let level = async |table: &str, column: &str| {
            let sql = format!(
                "SELECT {column} FROM public.{table} LIMIT {}",
                NAMES_MAX + 1
            );
            let rows = client.query(&sql, &[]).await?;
            let names = rows.iter().map(|row| row.try_get(0));
            names.collect::<Result<BTreeSet<String>, _>>()
        };
        Ok::<_, tokio_postgres::Error>(LadderNames {
            permissions: level("ai_permissions", "api").await?,
            actions: level("ai_actions", "name").await?,
            categories: level("ai_categories", "name").await?,
            roles: level("ai_roles", "name").await?,
        })
    };
    let names = tokio::time::timeout(settings.database.timeout, reading)
        .await
        .context("no answer in time")?
        .map_err(|error| anyhow::anyhow!(causes(&error)))?;
    let levels = [
        &names.permissions,
        &names.actions,
        &names.categories,
        &names.roles,
    ];
    anyhow::ensure!(
        levels.iter().all(|level| level.len() <= NAMES_MAX),
        "a level has more than {NAMES_MAX} entries"
    );
    Ok(names)
}
