//! The `http` provider: `GET {base}/users/{id}/permissions` with a bearer key.
//!
//! ```json
//! {"permissions": ["read:posts"], "roles": ["editor"], "attributes": {"region": ["EU"], "team": 7}}
//! ```
//!
//! The service is asked in bounded time with few retries, and not at all for a moment after it has failed
//! often. Redirects are not followed: the key goes where the configuration says and nowhere else.

mod address;
mod breaker;
mod json;
mod reading;

use super::flight::Flights;
use super::{Answer, Asking, Provider, ProviderError, outbound};
use crate::config;
use crate::identity::Caller;
use address::Address;
use anyhow::Context;
use breaker::Breaker;
use reading::{Pointers, read};
use reqwest::{Client, Response, StatusCode};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Longest pause before the first retry; before each further one it may be twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// Who is asked about at start.
const NOBODY: &str = "rowgate-start-up-check";
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Asks a service.
pub struct HttpProvider {
    name: String,
    client: Client,
    address: Address,
    pointers: Pointers,
    timeout: Duration,
    retries: u32,
    bytes_max: usize,
    not_found_is_nothing: bool,
    breaker: Breaker,
    permits: Semaphore,
    flights: Flights,
}

impl HttpProvider {
    /// # Errors
    /// A certificate, key or address that cannot be used.
    pub(crate) fn new(name: &str, settings: &config::HttpProvider) -> anyhow::Result<Self> {
        let client = outbound::client(&settings.base, settings.key.as_ref(), &settings.tls)?
            .pool_max_idle_per_host(settings.connections_max)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(outbound::unmade)?;
        Ok(Self {
            name: name.to_owned(),
            client,
            address: Address::new(&settings.base, &settings.path).context("base and path")?,
            pointers: Pointers::new(settings),
            timeout: settings.timeout,
            retries: settings.retries,
            bytes_max: settings.answer_bytes_max,
            not_found_is_nothing: settings.not_found_is_nothing,
            breaker: Breaker::new(settings.breaker_failures, settings.breaker_open),
            permits: Semaphore::new(settings.connections_max),
            flights: Flights::default(),
        })
    }

    /// Asks about a user who does not exist, so that a service that cannot be reached, or does not know the
    /// key, is found at start. Only where an unknown user is an answer.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn probe(&self) -> Result<(), ProviderError> {
        if self.not_found_is_nothing {
            self.ask(NOBODY).await?;
        }
        Ok(())
    }

    async fn ask(&self, user_id: &str) -> Result<Answer, ProviderError> {
        tokio::time::timeout(self.timeout, async {
            let url = self.address.of(user_id)?;
            let _permit = self
                .permits
                .acquire()
                .await
                .map_err(|_| unavailable("closed"))?;
            let mut pause = PAUSE;
            for _ in 0..self.retries {
                match self.try_once(&url).await {
                    Err(Failure::Passing(_)) => {}
                    Err(Failure::Lasting(error)) => return Err(error),
                    Ok(answer) => return Ok(answer),
                }
                // Any part of it, so that many who failed together do not come back together.
                tokio::time::sleep(pause.mul_f64(rand::random::<f64>())).await;
                pause *= 2;
            }
            Ok(self.try_once(&url).await?)
        })
        .await
        .unwrap_or(Err(ProviderError::Timeout))
    }

    async fn try_once(&self, url: &reqwest::Url) -> Result<Answer, Failure> {
        let trial = self.breaker.enter(Instant::now()).ok_or_else(|| {
            Failure::Lasting(unavailable("it failed often and is given a moment"))
        })?;
        let asked = self.get(url.clone()).await;
        // Dropped without a word (out of time, the caller gone) it counts as failed, too.
        if !matches!(asked, Err(Failure::Passing(_))) {
            trial.succeeded();
        }
        asked
    }

    async fn get(&self, url: reqwest::Url) -> Result<Answer, Failure> {
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {
                let bytes = body(&mut response, self.bytes_max).await?;
                Ok(read(&bytes, &self.pointers)?)
            }
            StatusCode::NOT_FOUND if self.not_found_is_nothing => {
                // Read to its end, so that the connection can be used again.
                body(&mut response, self.bytes_max).await?;
                Ok(Answer::default())
            }
            _ => Err(refused(&response)),
        }
    }
}

impl Provider for HttpProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn by_user_id(&self) -> bool {
        true
    }

    fn ready(&self) -> Asking<'_, ()> {
        Box::pin(self.probe())
    }

    fn find<'a>(&'a self, caller: &'a Caller) -> Asking<'a, Answer> {
        let user_id = caller.user_id();
        Box::pin(self.flights.share(user_id, self.ask(user_id)))
    }
}

/// A question that failed.
enum Failure {
    /// In a way that may pass: asking again may help, and it counts against the service.
    Passing(ProviderError),
    /// In a way that asking again will not change.
    Lasting(ProviderError),
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Passing(error) | Failure::Lasting(error) => error,
        }
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Lasting(error)
    }
}

fn refused(response: &Response) -> Failure {
    let status = response.status();
    let error = outbound::not_answered("the service", response);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Failure::Passing(error)
    } else {
        Failure::Lasting(error)
    }
}

fn failed(error: reqwest::Error) -> Failure {
    Failure::Passing(outbound::failed(error))
}

/// A body that breaks off may come whole another time; one that is too large stays so.
async fn body(response: &mut Response, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let oversize = "the body has more than answer_bytes_max bytes";
    let body = outbound::body(response, bytes_max, oversize).await;
    body.map_err(|error| match error {
        ProviderError::Oversize(_) => Failure::Lasting(error),
        _ => Failure::Passing(error),
    })
}

fn unavailable(says: &str) -> ProviderError {
    ProviderError::Unavailable(says.to_owned())
}
