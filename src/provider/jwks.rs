//! Published keys by URL or file ([`Jwks`]): fetched at the start, renewed now and then and when a token names
//! one that is not known. The last good set serves for a limited time when no new one can be had.
//!
//! What a client sends decides at most *when* to look, no more often than the configuration allows, and
//! never *where*.

use super::{ProviderError, outbound};
use crate::config::{JwksSettings, JwksSource, UpstreamTls};
use crate::identity::{JWKS_BYTES_MAX, KeySource, TokenKey, parse_jwks};
use arc_swap::ArcSwap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;

/// Keys that somebody publishes.
pub struct Jwks {
    settings: JwksSettings,
    client: Option<reqwest::Client>,
    state: ArcSwap<State>,
    /// Held while looking: who waits for it finds what the one before found.
    turn: Mutex<()>,
}

struct State {
    keys: Arc<[TokenKey]>,
    /// When these keys were had.
    good: Instant,
    /// When they were looked for last.
    tried: Instant,
}

impl Jwks {
    /// Has the keys now, and keeps them new for as long as the result lives.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn open(settings: JwksSettings) -> Result<Arc<Self>, ProviderError> {
        let client = match &settings.source {
            JwksSource::File(_) => None,
            JwksSource::Url { url, ca } => Some(
                client(url, ca.clone(), settings.timeout)
                    .map_err(|error| ProviderError::Unavailable(format!("{error:#}")))?,
            ),
        };
        let now = Instant::now();
        let jwks = Self {
            state: ArcSwap::from_pointee(State {
                keys: Arc::from([]),
                good: now,
                tried: now,
            }),
            settings,
            client,
            turn: Mutex::new(()),
        };
        jwks.look().await?;
        let jwks = Arc::new(jwks);
        tokio::spawn(keep_new(Arc::downgrade(&jwks), jwks.settings.refresh));
        Ok(jwks)
    }

    /// What it was made from.
    pub fn settings(&self) -> &JwksSettings {
        &self.settings
    }

    /// Looks now; what cannot be used leaves the last good keys in force.
    async fn look(&self) -> Result<(), ProviderError> {
        let tried = Instant::now();
        let found = tokio::time::timeout(self.settings.timeout, self.fetch())
            .await
            .unwrap_or(Err(ProviderError::Timeout))
            .and_then(|text| parse_jwks(&text).map_err(ProviderError::Garbage));
        let (keys, good, outcome) = match found {
            Ok(keys) => (keys.into(), tried, Ok(())),
            Err(error) => {
                let before = self.state.load();
                (Arc::clone(&before.keys), before.good, Err(error))
            }
        };
        self.state.store(Arc::new(State { keys, good, tried }));
        outcome
    }

    /// Looks, and says in the log when that was in vain.
    async fn look_again(&self) {
        if let Err(error) = self.look().await {
            let left = self
                .settings
                .stale_max
                .saturating_sub(self.state.load().good.elapsed());
            tracing::error!(
                %error,
                "PUBLISHED KEYS NOT RENEWED: the last good ones serve for {} s more",
                left.as_secs()
            );
        }
    }

    async fn fetch(&self) -> Result<Vec<u8>, ProviderError> {
        match (&self.settings.source, &self.client) {
            (JwksSource::Url { url, .. }, Some(client)) => fetch_url(client, url).await,
            (JwksSource::File(path), _) => {
                let mut text = Vec::new();
                let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
                file.take(JWKS_BYTES_MAX as u64 + 1)
                    .read_to_end(&mut text)
                    .await
                    .map_err(unreadable)?;
                Ok(text)
            }
            (JwksSource::Url { .. }, None) => {
                Err(ProviderError::Unavailable("no HTTP client".to_owned()))
            }
        }
    }
}

impl KeySource for Jwks {
    fn keys(&self) -> Arc<[TokenKey]> {
        let state = self.state.load();
        if state.good.elapsed() < self.settings.stale_max {
            Arc::clone(&state.keys)
        } else {
            Arc::from([])
        }
    }

    fn renew(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let looking = async {
                let _turn = self.turn.lock().await;
                // Also true of whoever waited while another looked. Made-up key ids cost no more than this.
                if self.state.load().tried.elapsed() >= self.settings.retry_min {
                    self.look_again().await;
                }
            };
            // Nobody's login waits longer than one look takes.
            let _late = tokio::time::timeout(self.settings.timeout, looking).await;
        })
    }
}

async fn keep_new(jwks: Weak<Jwks>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(jwks) = jwks.upgrade() else {
            return;
        };
        let _turn = jwks.turn.lock().await;
        jwks.look_again().await;
    }
}

fn client(
    url: &str,
    ca: Option<std::path::PathBuf>,
    timeout: Duration,
) -> anyhow::Result<reqwest::Client> {
    outbound::client(url, None, &UpstreamTls::Verify { ca })?
        .timeout(timeout)
        .pool_max_idle_per_host(0)
        .build()
        .map_err(outbound::unmade)
}

async fn fetch_url(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, ProviderError> {
    let mut answer = client.get(url).send().await.map_err(outbound::failed)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(outbound::not_answered("the server", &answer));
    }
    let oversize = "a key set of more than 256 kB";
    outbound::body(&mut answer, JWKS_BYTES_MAX, oversize).await
}

fn unreadable(error: std::io::Error) -> ProviderError {
    ProviderError::Unavailable(error.to_string())
}
