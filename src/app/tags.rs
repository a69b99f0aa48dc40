//! `[tags]`: the step that works out which tags a user may access.

use super::build::Providers;
use crate::config::{self, Config, Tags};
use crate::control::Connector;
use crate::policy::TagDefinitions;
use crate::provider::{Reloadable, TagFile, TagQueries, TagTable, listen};
use anyhow::Context;
use std::sync::Arc;

/// The step that works out tags; without `[tags]` there is none, and nobody may access any tag.
pub(super) async fn add(providers: &mut Providers, tags: Option<&Tags>) -> anyhow::Result<()> {
    match tags {
        None => {}
        Some(Tags::File { path, stale_max }) => {
            let file = Arc::new(TagFile::open(path, *stale_max).context("tags.file")?);
            let watched = Arc::clone(&file) as Arc<dyn Reloadable>;
            providers.files.push(watched);
            providers.steps.push(file);
        }
        Some(Tags::Table(settings)) => {
            let connector = Connector::to(&settings.database)?;
            let table = Arc::new(table(settings, connector.clone()));
            table.probe().await.context("tags.query")?;
            if settings.listen {
                let task = tokio::spawn(listen(connector, Arc::clone(&table)));
                providers.listeners.push(task.abort_handle());
            }
            providers.steps.push(table);
        }
    }
    Ok(())
}

/// The definitions as of now, for `check`; none without `[tags]`.
///
/// # Errors
/// When they cannot be read.
pub async fn tag_definitions(config: &Config) -> anyhow::Result<Arc<TagDefinitions>> {
    match &config.tags {
        None => Ok(Arc::default()),
        Some(Tags::File { path, stale_max }) => {
            let file = TagFile::open(path, *stale_max).context("tags.file")?;
            Ok(file.definitions()?)
        }
        Some(Tags::Table(settings)) => {
            let table = table(settings, Connector::to(&settings.database)?);
            table.definitions().await.context("tags.query")
        }
    }
}

fn table(settings: &config::TagTable, connector: Connector) -> TagTable {
    let queries = TagQueries {
        tags: settings.query.clone(),
        groups: settings.groups_query.clone(),
    };
    let unheard = match settings.listen {
        true => settings.unheard_cache,
        false => settings.cache,
    };
    let ages = (settings.cache, unheard);
    TagTable::new(connector, queries, settings.database.timeout, ages)
}
