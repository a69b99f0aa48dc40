//! Connections to a Redis, a cluster or a sentinel's master, and the one question put to them.

use super::{ANSWER_ITEMS_MAX, ITEM_BYTES_MAX};
use crate::config::{self, RedisMode, UpstreamTls};
use crate::provider::ProviderError;
use anyhow::Context;
use futures_util::future::try_join_all;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode,
};
use secrecy::ExposeSecret;
use std::time::Duration;

/// Reads `KEYS`, or says `OVERSIZE` before anything large leaves the server.
/// `ARGV[1]`: most members of a set, most bytes of a member, most bytes of all, and for each key a letter: `s` a set, `h` a
/// hash, whose values may be lists, `m` a set of which only the member `ARGV[2]` is asked for. Few arguments: more than ten
/// would be told a client without a login as an error of the protocol.
const READ: &str = "\
local items, item_bytes, bytes, kinds = string.match(ARGV[1], '(%d+) (%d+) (%d+) (%a+)') \
items, item_bytes, bytes = tonumber(items), tonumber(item_bytes), tonumber(bytes) \
local answers = {} \
for i, key in ipairs(KEYS) do \
  local how = string.sub(kinds, i, i) \
  local answer \
  if how == 'm' then \
    local found = redis.pcall('SISMEMBER', key, ARGV[2]) \
    if type(found) == 'table' then return found end \
    answer = found == 1 and {'1'} or {} \
  else \
    local count = redis.pcall(how == 'h' and 'HLEN' or 'SCARD', key) \
    if type(count) == 'table' then return count end \
    if count > items then return {err = 'OVERSIZE members'} end \
    answer = redis.pcall(how == 'h' and 'HGETALL' or 'SMEMBERS', key) \
    if answer.err then return answer end \
    local most = how == 'h' and item_bytes * 64 or item_bytes \
    for _, member in ipairs(answer) do \
      bytes = bytes - #member \
      if #member > most or bytes < 0 then return {err = 'OVERSIZE bytes'} end \
    end \
  end \
  answers[i] = answer \
end \
return answers";

/// Most bytes of one reply.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most sets asked for at once in a cluster, where each is a question of its own.
const CLUSTER_SETS_MAX: usize = 16;

/// How to reach the server or servers.
pub(crate) struct Source {
    servers: Servers,
}

enum Servers {
    Single(Client),
    /// The client, and one for each named server: a subscription needs just one of them.
    Cluster(ClusterClient, Vec<Client>),
    Sentinel(tokio::sync::Mutex<SentinelClient>),
}

impl Source {
    /// # Errors
    /// A certificate that cannot be read, or a combination the library does not know.
    pub(crate) fn new(settings: &config::RedisProvider) -> anyhow::Result<Self> {
        let certificates = certificates(&settings.tls)?;
        // The library's own words may repeat what it was given; ours do not.
        Self::build(settings, certificates)
            .map_err(|error| anyhow::anyhow!("cannot be asked: {}", error.category()))
    }

    fn build(
        settings: &config::RedisProvider,
        certificates: Option<TlsCertificates>,
    ) -> Result<Self, RedisError> {
        let addresses = settings
            .servers
            .iter()
            .map(|(host, port)| address(host, *port, certificates.is_some()));
        let mut login = RedisConnectionInfo::default().set_db(settings.database);
        if let Some(user) = &settings.user {
            login = login.set_username(user);
        }
        if let Some(password) = &settings.password {
            login = login.set_password(password.expose_secret());
        }
        let servers = match &settings.mode {
            RedisMode::Single => {
                let first = addresses.take(1).next().ok_or(EMPTY)?;
                Servers::Single(client(info(first, &login)?, certificates)?)
            }
            RedisMode::Cluster => {
                let nodes = addresses
                    .map(|address| info(address, &login))
                    .collect::<Result<Vec<_>, _>>()?;
                let mut builder = ClusterClient::builder(nodes.clone());
                if let Some(certificates) = &certificates {
                    builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
                }
                // Whoever asks is bounded closer; these end what is under way in the background.
                let builder = builder
                    .connection_timeout(settings.timeout * 2)
                    .response_timeout(settings.timeout * 2);
                let seeds = nodes
                    .into_iter()
                    .map(|node| client(node, certificates.clone()))
                    .collect::<Result<_, _>>()?;
                Servers::Cluster(builder.build()?, seeds)
            }
            RedisMode::Sentinel { .. } => {
                let sentinel = sentinel(settings, addresses.collect(), certificates)?;
                Servers::Sentinel(tokio::sync::Mutex::new(sentinel))
            }
        };
        Ok(Self { servers })
    }

    /// A new connection for questions.
    pub(super) async fn open(&self, timeout: Duration) -> Result<Link, ProviderError> {
        // Whoever asks bounds the waiting for replies.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None);
        let opened = match &self.servers {
            Servers::Single(client) => client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map(Link::One),
            Servers::Cluster(client, _) => client.get_async_connection().await.map(Link::Cluster),
            Servers::Sentinel(client) => {
                let mut client = client.lock().await;
                client
                    .get_async_connection_with_config(&config)
                    .await
                    .map(Link::One)
            }
        };
        opened.map_err(|error| told(&error))
    }

    /// A new connection that can subscribe. In a cluster any node will do: what is published at one
    /// reaches all.
    pub(super) async fn subscriber(&self) -> Result<PubSub, ProviderError> {
        let client = match &self.servers {
            Servers::Single(client) => client.clone(),
            Servers::Sentinel(client) => client
                .lock()
                .await
                .async_get_client()
                .await
                .map_err(|error| told(&error))?,
            Servers::Cluster(_, seeds) => {
                let mut last = ProviderError::Unavailable("no server is named".to_owned());
                for seed in seeds {
                    match seed.get_async_pubsub().await {
                        Ok(subscriber) => return Ok(subscriber),
                        Err(error) => last = told(&error),
                    }
                }
                return Err(last);
            }
        };
        client
            .get_async_pubsub()
            .await
            .map_err(|error| told(&error))
    }
}

const EMPTY: (ErrorKind, &str) = (ErrorKind::InvalidClientConfig, "no server is named");

fn address(host: &str, port: u16, tls: bool) -> ConnectionAddr {
    if host.starts_with('/') {
        ConnectionAddr::Unix(host.into())
    } else if tls {
        ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host.to_owned(), port)
    }
}

fn info(
    address: ConnectionAddr,
    login: &RedisConnectionInfo,
) -> Result<ConnectionInfo, RedisError> {
    Ok(address
        .into_connection_info()?
        .set_redis_settings(login.clone()))
}

fn client(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> Result<Client, RedisError> {
    match (certificates, info.addr()) {
        (Some(certificates), ConnectionAddr::TcpTls { .. }) => {
            Client::build_with_tls(info, certificates)
        }
        _ => Client::open(info),
    }
}

fn sentinel(
    settings: &config::RedisProvider,
    addresses: Vec<ConnectionAddr>,
    certificates: Option<TlsCertificates>,
) -> Result<SentinelClient, RedisError> {
    let RedisMode::Sentinel {
        master,
        user,
        password,
    } = &settings.mode
    else {
        return Err(EMPTY.into());
    };
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.database);
    if let Some(user) = &settings.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &settings.password {
        builder = builder.set_client_to_redis_password(password.expose_secret());
    }
    if let Some(user) = user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password.expose_secret());
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}

/// `None`: no TLS.
fn certificates(tls: &UpstreamTls) -> anyhow::Result<Option<TlsCertificates>> {
    let root_cert = match tls {
        UpstreamTls::Off => return Ok(None),
        UpstreamTls::Verify { ca: None } => None,
        UpstreamTls::Verify { ca: Some(path) } => {
            Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
    };
    Ok(Some(TlsCertificates {
        client_tls: None,
        root_cert,
    }))
}

/// An open connection; clones share it.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A question that failed.
pub(super) struct Failure {
    pub(super) error: ProviderError,
    /// Whether the connection did: another one may succeed.
    pub(super) lost: bool,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self {
            lost: error.is_io_error() || error.is_unrecoverable_error(),
            error: told(&error),
        }
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self { error, lost: false }
    }
}

type Reply = Vec<Vec<Vec<u8>>>;

impl Link {
    /// What is at these keys, in their order.
    pub(super) async fn ask(&self, asked: &[Asked]) -> Result<Vec<Vec<String>>, Failure> {
        let mut answers = Vec::with_capacity(asked.len());
        match self {
            Self::One(connection) => {
                let reply: Reply = command(asked).query_async(&mut connection.clone()).await?;
                answers.extend(reply);
            }
            // Keys of several slots cannot be asked for in one command.
            Self::Cluster(connection) => {
                let mut bytes = 0;
                for some in asked.chunks(CLUSTER_SETS_MAX) {
                    let asking = some.iter().map(|one| {
                        let mut connection = connection.clone();
                        async move {
                            command(std::slice::from_ref(one))
                                .query_async::<Reply>(&mut connection)
                                .await
                        }
                    });
                    for reply in try_join_all(asking).await? {
                        bytes += reply.iter().flatten().map(Vec::len).sum::<usize>();
                        answers.extend(reply);
                    }
                    if bytes > REPLY_BYTES_MAX {
                        return Err(oversize("bytes").into());
                    }
                }
            }
        }
        if answers.len() != asked.len() {
            let says = "not as many sets as were asked for";
            return Err(ProviderError::Garbage(says.to_owned()).into());
        }
        Ok(answers.into_iter().map(texts).collect::<Result<_, _>>()?)
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// All members of a set.
    Set(String),
    /// A hash: names and values in turn.
    Hash(String),
    /// Whether a set has this member: the answer has one item, or none.
    Member(String, String),
}

impl Asked {
    fn key(&self) -> &str {
        match self {
            Self::Set(key) | Self::Hash(key) | Self::Member(key, _) => key,
        }
    }

    /// For [`READ`].
    fn kind(&self) -> char {
        match self {
            Self::Set(_) => 's',
            Self::Hash(_) => 'h',
            Self::Member(..) => 'm',
        }
    }
}

fn command(asked: &[Asked]) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(READ).arg(asked.len());
    for one in asked {
        command.arg(one.key());
    }
    let kinds: String = asked.iter().map(Asked::kind).collect();
    command.arg(format!(
        "{ANSWER_ITEMS_MAX} {ITEM_BYTES_MAX} {REPLY_BYTES_MAX} {kinds}"
    ));
    // One question asks for one member at most.
    for one in asked {
        if let Asked::Member(_, member) = one {
            command.arg(member);
        }
    }
    command
}

fn texts(members: Vec<Vec<u8>>) -> Result<Vec<String>, ProviderError> {
    let text = |bytes| {
        String::from_utf8(bytes)
            .map_err(|_| ProviderError::Garbage("a member is not UTF-8".to_owned()))
    };
    members.into_iter().map(text).collect()
}

fn oversize(code: &str) -> ProviderError {
    ProviderError::Oversize(match code {
        "members" => "a set or hash has more than 10000 members",
        _ => "a member is longer than 1024 bytes (64 kB in a hash), or all are longer than 16 MB",
    })
}

/// What went wrong, in words that cannot hold a secret: of the server's only the error code, since
/// some servers repeat the command they refuse, and that may be the login.
pub(super) fn told(error: &RedisError) -> ProviderError {
    if error.is_timeout() {
        return ProviderError::Timeout;
    }
    match error.code() {
        Some("OVERSIZE") => return oversize(error.detail().unwrap_or_default()),
        Some("WRONGTYPE") => {
            return ProviderError::Garbage("a key is not a set, or not a hash".to_owned());
        }
        Some(code) => {
            let hint = match code {
                "MOVED" | "CROSSSLOT" => "; it is part of a cluster: set mode = \"cluster\"",
                "NOPERM" => "; rowgate.toml says what the login has to be allowed",
                _ => "",
            };
            let code: String = code
                .chars()
                .filter(char::is_ascii_uppercase)
                .take(20)
                .collect();
            return ProviderError::Unavailable(format!("the server answered {code}{hint}"));
        }
        None => {}
    }
    if matches!(
        error.kind(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType
    ) {
        return ProviderError::Garbage("not what a Redis answers".to_owned());
    }
    // Only the system's and the TLS library's words, which name hosts and certificates: of this kind
    // nothing else has a source.
    let cause = std::error::Error::source(error).filter(|_| error.is_io_error());
    ProviderError::Unavailable(match cause {
        Some(cause) => cause.to_string(),
        None => error.category().to_owned(),
    })
}
