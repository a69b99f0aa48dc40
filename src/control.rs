//! Control connections to a database (DDL, introspection, the `sql` provider): tokio-postgres, never
//! the path a caller's query takes.

use crate::config::{Database, UpstreamTls};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Called for each notice and notification of a connection.
pub(crate) type OnMessage = Box<dyn FnMut(AsyncMessage) + Send>;

/// How to reach a database as one login.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// Where and as whom to connect.
pub(crate) struct Target<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) password: Option<&'a SecretString>,
    pub(crate) connect_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(target: &Target<'_>, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        let mut config = Config::new();
        config
            .host(target.host)
            .port(target.port)
            .dbname(target.database)
            .user(target.user)
            .connect_timeout(target.connect_timeout)
            .application_name("rowgate")
            .ssl_mode(if tls.is_some() {
                SslMode::Require
            } else {
                SslMode::Disable
            });
        if let Some(password) = target.password {
            config.password(password.expose_secret());
        }
        Self { config, tls }
    }

    /// To a database with the login configured for it.
    ///
    /// # Errors
    /// When the roots of its certificate cannot be read.
    pub(crate) fn to(database: &Database) -> anyhow::Result<Self> {
        let target = Target {
            host: &database.host,
            port: database.port,
            database: &database.database,
            user: &database.user,
            password: database.password.as_ref(),
            connect_timeout: database.timeout,
        };
        Ok(Self::new(&target, client_tls(&database.tls)?))
    }

    /// Connects; a task drives the connection until the client is dropped.
    pub(crate) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let ignore: OnMessage = Box::new(|_message| {});
        self.connect_with(ignore).await
    }

    /// Connects and hands every notice and notification to `on_message`.
    pub(crate) async fn connect_with(
        &self,
        on_message: OnMessage,
    ) -> Result<Client, tokio_postgres::Error> {
        match &self.tls {
            None => self.drive(NoTls, on_message).await,
            Some(tls) => {
                let tls = MakeRustlsConnect::new(rustls::ClientConfig::clone(tls));
                self.drive(tls, on_message).await
            }
        }
    }

    async fn drive<T>(
        &self,
        tls: T,
        mut on_message: OnMessage,
    ) -> Result<Client, tokio_postgres::Error>
    where
        T: MakeTlsConnect<Socket> + Send,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, mut connection) = self.config.connect(tls).await?;
        tokio::spawn(async move {
            // Ends when the client is dropped or the connection is lost; its users see that themselves.
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                on_message(message);
            }
        });
        Ok(client)
    }
}

/// What went wrong, with every cause: the library itself says only "error performing TLS handshake".
/// Names hosts and certificates, never a password.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The client side of TLS towards a database: host name and certificate verified, or none at all.
///
/// # Errors
/// When the roots cannot be read.
pub(crate) fn client_tls(tls: &UpstreamTls) -> anyhow::Result<Option<Arc<rustls::ClientConfig>>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let ca = match tls {
        UpstreamTls::Off => return Ok(None),
        UpstreamTls::Verify { ca } => ca,
    };
    let mut roots = rustls::RootCertStore::empty();
    match ca {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display()))?;
            for certificate in certificates {
                roots.add(certificate)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        anyhow::bail!("there is no root certificate to verify the database's with; set tls_ca");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}

/// A client side of TLS that trusts nobody, for a library that wants one although it will speak in clear.
///
/// # Errors
/// None that the versions built in could cause.
pub(crate) fn trusts_nobody() -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(Arc::new(config))
}
