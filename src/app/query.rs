//! The query listener: queries over HTTP.

use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::{Door, Hosts, Listener};
use crate::query_api::{self, Parts};
use std::sync::Arc;
use std::time::Duration;

/// On top of what the stages of a request may take.
const REQUEST_EXTRA: Duration = Duration::from_secs(30);
/// A request's own bound where statements have none.
const UNBOUNDED: Duration = Duration::from_secs(3_600);

/// The query listener, bound and ready to serve; `None` when the configuration has none.
pub(super) async fn door(
    config: &Config,
    tls: Option<Arc<rustls::ServerConfig>>,
    gateway: Arc<Gateway>,
) -> anyhow::Result<Option<Door>> {
    let Some(settings) = &config.http else {
        return Ok(None);
    };
    let socket = super::listen(settings.listen).await?;
    let limits = &config.limits;
    let statement = match limits.statement_ms_max {
        0 => UNBOUNDED,
        most => Duration::from_millis(most),
    };
    let audit = Duration::from_millis(limits.audit_ms_max);
    let listener = Listener {
        hosts: Hosts::new(settings.listen, &settings.hosts),
        socket,
        tls,
        connections_max: settings.connections_max,
        request_max: statement + config.upstream.pool_wait + audit + REQUEST_EXTRA,
    };
    let routes = query_api::routes(Parts {
        gateway,
        body_bytes_max: settings.body_bytes_max,
        json_rows_max: settings.json_rows_max,
        json_bytes_max: settings.json_bytes_max,
        requests_max: settings.connections_max,
    });
    Ok(Some(Door { listener, routes }))
}
