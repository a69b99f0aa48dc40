//! The query listener: queries over HTTP.

use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::{self, Hosts, Listener};
use crate::query_api::{self, Parts};
use axum::Router;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// On top of what the stages of a request may take.
const REQUEST_EXTRA: Duration = Duration::from_secs(30);
/// A request's own bound where statements have none.
const UNBOUNDED: Duration = Duration::from_secs(3_600);

/// The query listener, bound and ready to serve.
pub(super) struct Door {
    listener: Listener,
    routes: Router,
}

impl Door {
    /// `None` when the configuration has no listener.
    pub(super) async fn open(
        config: &Config,
        tls: Option<Arc<rustls::ServerConfig>>,
        gateway: Arc<Gateway>,
    ) -> anyhow::Result<Option<Self>> {
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
        Ok(Some(Self { listener, routes }))
    }

    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.socket.local_addr()
    }
}

/// Serves where there is a listener.
pub(super) async fn serve(door: Option<Door>, stopped: watch::Receiver<bool>) {
    if let Some(Door { listener, routes }) = door {
        http::serve(listener, routes, stopped).await;
    }
}
