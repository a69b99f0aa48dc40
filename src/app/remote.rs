//! The providers that ask other services, made from their settings.

use crate::config;
use crate::control::Connector;
use crate::provider::{
    Cached, Provider, RedisEars, RedisPrefixes, RedisProvider, RedisSource, SqlProvider, listen,
    listen_redis,
};
use std::sync::Arc;
use tokio::task::AbortHandle;

/// A `redis` provider that has answered once, and what listens for its changes.
pub(super) async fn redis(
    name: &str,
    settings: &config::RedisProvider,
    cache: &config::CacheSettings,
) -> anyhow::Result<(Arc<dyn Provider>, Option<AbortHandle>)> {
    let prefixes = RedisPrefixes {
        user_roles: settings.user_roles_prefix.clone(),
        user_permissions: settings.user_permissions_prefix.clone(),
        role_permissions: settings.role_permissions_prefix.clone(),
        user_attributes: settings.user_attributes_prefix.clone(),
        superusers: settings.superusers_key.clone(),
    };
    let source = Arc::new(RedisSource::new(settings)?);
    let provider = RedisProvider::new(
        name,
        Arc::clone(&source),
        prefixes.clone(),
        settings.timeout,
    );
    provider.probe().await?;
    let ears = RedisEars {
        channel: settings.invalidate_channel.clone(),
        keyspace: settings
            .keyspace_notifications
            .then_some((settings.database, prefixes)),
    };
    if ears.channel.is_none() && ears.keyspace.is_none() {
        return Ok((super::build::cached(provider, cache), None));
    }
    let cached = Arc::new(Cached::heard(provider, cache, settings.unheard_age_max));
    let listening = tokio::spawn(listen_redis(source, ears, Arc::downgrade(&cached)));
    Ok((cached, Some(listening.abort_handle())))
}

/// A `sql` provider that has answered once, and what listens for its changes.
pub(super) async fn sql(
    name: &str,
    settings: &config::SqlProvider,
    cache: &config::CacheSettings,
) -> anyhow::Result<(Arc<dyn Provider>, Option<AbortHandle>)> {
    let connector = Connector::to(&settings.database)?;
    let provider = SqlProvider::new(
        name,
        connector.clone(),
        settings.queries.clone(),
        settings.pool_size,
        settings.database.timeout,
    );
    provider.probe().await?;
    // Without a cache there is nothing to forget.
    if !settings.listen || cache.age_max.is_zero() {
        return Ok((super::build::cached(provider, cache), None));
    }
    let cached = Arc::new(Cached::heard(provider, cache, settings.unheard_age_max));
    let listening = tokio::spawn(listen(connector, Arc::clone(&cached)));
    Ok((cached, Some(listening.abort_handle())))
}
