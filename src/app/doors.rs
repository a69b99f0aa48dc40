//! The HTTP listeners, as far as the configuration has them.

use super::{Addresses, admin, query};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::http::{Door, Hosts, Listener};
use crate::ops::{self, Page, Readiness};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a request for metrics or readiness may take.
const METRICS_MAX: Duration = Duration::from_secs(10);

/// What operators watch.
pub(super) struct Watched {
    pub(super) readiness: Arc<Readiness>,
    pub(super) page: Page,
}

/// Bound, and ready to serve.
pub(super) struct Doors {
    queries: Option<Door>,
    managing: Option<Door>,
    metrics: Option<Door>,
}

impl Doors {
    /// Binds every listener; whether the gate is ready is told on each.
    pub(super) async fn open(
        config: &Config,
        tls: Option<&Arc<rustls::ServerConfig>>,
        gateway: Arc<Gateway>,
        watched: Watched,
        rights: admin::Rights,
    ) -> anyhow::Result<Self> {
        let Watched { readiness, page } = watched;
        let healthy = |door: Option<Door>| {
            door.map(|door| Door {
                routes: door.routes.merge(ops::health(Arc::clone(&readiness))),
                ..door
            })
        };
        let managing = admin::door(config, tls.cloned(), rights).await?;
        let queries = query::door(config, tls.cloned(), gateway).await?;
        let parts = |token| ops::Parts {
            page,
            readiness: Arc::clone(&readiness),
            token,
        };
        Ok(Self {
            queries: healthy(queries),
            managing: healthy(managing),
            metrics: metrics(config, tls.cloned(), parts).await?,
        })
    }

    /// Where they are, beside where clients connect.
    pub(super) fn addresses(&self, clients: SocketAddr) -> std::io::Result<Addresses> {
        let address = |door: &Option<Door>| door.as_ref().map(Door::address).transpose();
        Ok(Addresses {
            clients,
            http: address(&self.queries)?,
            admin: address(&self.managing)?,
            metrics: address(&self.metrics)?,
        })
    }

    /// Serves until `stopped` turns true.
    pub(super) async fn serve(self, stopped: watch::Receiver<bool>) {
        let serve = async |door: Option<Door>| {
            if let Some(door) = door {
                door.serve(stopped.clone()).await;
            }
        };
        tokio::join!(
            serve(self.queries),
            serve(self.managing),
            serve(self.metrics)
        );
    }
}

async fn metrics(
    config: &Config,
    tls: Option<Arc<rustls::ServerConfig>>,
    parts: impl FnOnce(Option<secrecy::SecretString>) -> ops::Parts,
) -> anyhow::Result<Option<Door>> {
    let Some(settings) = &config.metrics else {
        return Ok(None);
    };
    let listener = Listener {
        socket: super::listen(settings.listen).await?,
        hosts: Hosts::new(settings.listen, &settings.hosts),
        tls,
        connections_max: settings.connections_max,
        request_max: METRICS_MAX,
    };
    let routes = ops::routes(parts(settings.token.clone()));
    Ok(Some(Door { listener, routes }))
}
