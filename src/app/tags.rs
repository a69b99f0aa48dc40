//! `[tags]`: the step that works out which tags a user may access.

use super::build::Providers;
use crate::config::{self, Config, Tags};
use crate::control::{Connector, Target, client_tls};
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
            let connector = connector(settings)?;
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
            let table = table(settings, connector(settings)?);
            table.definitions().await.context("tags.query")
        }
    }
}

fn connector(settings: &config::TagTable) -> anyhow::Result<Connector> {
    let target = Target {
        host: &settings.host,
        port: settings.port,
        database: &settings.database,
        user: &settings.user,
        password: settings.password.as_ref(),
        connect_timeout: settings.timeout,
    };
    Ok(Connector::new(&target, client_tls(&settings.tls)?))
}

fn table(settings: &config::TagTable, connector: Connector) -> TagTable {
    let queries = TagQueries {
        tags: settings.query.clone(),
        groups: settings.groups_query.clone(),
    };
    TagTable::new(connector, queries, settings.timeout, settings.cache)
}
