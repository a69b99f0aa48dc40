//! Managing permissions: the store of `[admin]`, and its listener.

use super::build;
use crate::admin::{self, Parts};
use crate::audit::AuditLog;
use crate::config::{Admin, Config, ProviderKind, Tags};
use crate::control::Connector;
use crate::error::Fault;
use crate::http::{Door, Hosts, Listener};
use crate::identity::Authenticator;
use crate::manage::{ManageError, Manager, Store, StoreSettings};
use crate::policy::Policy;
use crate::provider::Resolver;
use anyhow::Context;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// On top of the steps of a change (waiting, changing, recording, committing): a request's own.
const REQUEST_EXTRA: Duration = Duration::from_secs(10);

/// A manager for the operator's commands.
///
/// # Errors
/// When `[admin]` is not configured, the audit cannot be opened, or the tables cannot be changed safely.
pub async fn manager(config: &Config) -> anyhow::Result<Manager> {
    let audit = Arc::new(build::command_audit(config)?);
    probed(config, audit).await
}

async fn probed(config: &Config, audit: Arc<AuditLog>) -> anyhow::Result<Manager> {
    let admin = config.admin.as_ref();
    let admin = admin.context("[admin] is not configured, so permissions are not managed here")?;
    let manager = Manager::new(store(config, admin)?, audit);
    match manager.store().probe().await {
        Ok(()) => Ok(manager),
        Err(ManageError::Failed(Fault { cause, .. })) => Err(cause.context("[admin]")),
        Err(error) => Err(anyhow::Error::from(error).context("[admin]")),
    }
}

fn store(config: &Config, admin: &Admin) -> anyhow::Result<Store> {
    let connector = Connector::to(&admin.database)?;
    let upstream = [
        Some(&config.upstream.user),
        config.upstream.superuser_user.as_ref(),
    ];
    let providers = config.providers.iter().filter_map(|provider| {
        if let ProviderKind::Sql(sql) = &provider.kind {
            Some(sql)
        } else {
            None
        }
    });
    let queries = providers
        .clone()
        .flat_map(|sql| [&sql.queries.roles, &sql.queries.permissions]);
    let mut readers: Vec<String> = upstream.into_iter().flatten().cloned().collect();
    readers.extend(providers.map(|sql| sql.database.user.clone()));
    if let Some(Tags::Table(tags)) = &config.tags {
        readers.push(tags.database.user.clone());
    }
    let settings = StoreSettings {
        tables: admin.tables.clone(),
        timeout: admin.database.timeout,
        readers,
        queries: queries.flatten().cloned().collect(),
    };
    Ok(Store::new(connector, settings))
}

/// What decides who asks and what they may (replaced on reload), and where it is written down.
pub(super) struct Rights {
    pub(super) authenticator: Arc<ArcSwap<Authenticator>>,
    pub(super) resolver: Arc<ArcSwap<Resolver>>,
    pub(super) policy: Arc<ArcSwap<Policy>>,
    pub(super) audit: Arc<AuditLog>,
}

/// The admin listener, bound and ready to serve; `None` when the configuration has none.
pub(super) async fn door(
    config: &Config,
    tls: Option<Arc<rustls::ServerConfig>>,
    rights: Rights,
) -> anyhow::Result<Option<Door>> {
    let Some((admin, listen)) = config.admin.as_ref().and_then(|a| Some((a, a.listen?))) else {
        return Ok(None);
    };
    let Rights {
        authenticator,
        resolver,
        policy,
        audit,
    } = rights;
    let manager = Arc::new(probed(config, audit).await?);
    let socket = super::listen(listen).await?;
    let patience = Duration::from_millis(config.limits.audit_ms_max);
    let listener = Listener {
        hosts: Hosts::new(listen, &admin.hosts),
        socket,
        tls,
        connections_max: admin.connections_max,
        request_max: admin.database.timeout * 3 + patience + REQUEST_EXTRA,
    };
    let routes = admin::routes(Parts {
        authenticator,
        resolver,
        policy,
        manager,
        connect_requires: config.gate.connect_requires.clone(),
        tuples: config.tuples.clone(),
        body_bytes_max: admin.body_bytes_max,
        strict: admin.strict,
    });
    Ok(Some(Door { listener, routes }))
}
