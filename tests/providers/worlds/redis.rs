//! Redis: one server, with TLS, a cluster, a sentinel; cached and not.

use super::redis_server::{self, CHANNEL, LOGIN, Server, certificates};
use super::{Doing, Facts, Harm, Kind, SECRET, Seen, Source, TIMEOUT};
use redis::aio::ConnectionLike;
use rowgate::config::{ProviderKind, RedisMode, RedisProvider, UpstreamTls};
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

pub struct RedisSource {
    kind: Kind,
    /// The servers that hold the data.
    servers: Vec<Server>,
    sentinel: Option<Server>,
    certificates: Option<(tempfile::TempDir, PathBuf)>,
    told: Mutex<Facts>,
}

impl RedisSource {
    pub async fn new(kind: Kind) -> Self {
        let certificates = (kind == Kind::RedisTls).then(certificates);
        let folder = certificates.as_ref().map(|(folder, _)| folder.path());
        let servers = match kind {
            Kind::RedisCluster | Kind::RedisClusterChannel => redis_server::cluster().await,
            Kind::RedisKeyspace => {
                let notify = "notify-keyspace-events Kshg\n";
                vec![Server::start("redis", None, notify).await]
            }
            _ => vec![Server::start("redis", folder, "").await],
        };
        let sentinel = match kind {
            Kind::RedisSentinel => Some(redis_server::sentinel(&servers[0]).await),
            _ => None,
        };
        Self {
            kind,
            servers,
            sentinel,
            certificates,
            told: Mutex::default(),
        }
    }

    /// Runs commands as the data's owner, where the data is.
    async fn run(&self, commands: Vec<redis::Cmd>) {
        if self.servers.len() > 1 {
            let nodes: Vec<_> = self.servers.iter().map(Server::client).collect();
            let nodes = nodes.iter().map(|node| node.get_connection_info().clone());
            let client = redis::cluster::ClusterClient::builder(nodes)
                .connection_timeout(Duration::from_secs(30))
                .response_timeout(Duration::from_secs(30))
                .build()
                .unwrap();
            let mut connection = client.get_async_connection().await.unwrap();
            for command in commands {
                run_one(&mut connection, &command).await;
            }
            return;
        }
        let client = match &self.certificates {
            None => self.servers[0].client(),
            Some((_, ca)) => {
                let url = format!(
                    "rediss://:{}@127.0.0.1:{}",
                    redis_server::ADMIN,
                    self.servers[0].port
                );
                let certificates = redis::TlsCertificates {
                    client_tls: None,
                    root_cert: Some(std::fs::read(ca).unwrap()),
                };
                redis::Client::build_with_tls(url, certificates).unwrap()
            }
        };
        let mut connection = redis_server::connected(&client).await;
        // As its owner should: all at once, the announcement last.
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for command in commands {
            pipeline.add_command(command);
        }
        let _: redis::Value = pipeline.query_async(&mut connection).await.unwrap();
    }

    fn commands(facts: &Facts) -> Vec<redis::Cmd> {
        let mut commands = vec![redis::cmd("FLUSHALL")];
        for (prefix, lists) in [
            ("user_roles:", &facts.user_roles),
            ("user_permissions:", &facts.users),
            ("role_permissions:", &facts.roles),
        ] {
            for (name, items) in lists.iter().filter(|(_, items)| !items.is_empty()) {
                let mut add = redis::cmd("SADD");
                add.arg(format!("{prefix}{name}")).arg(items);
                commands.push(add);
            }
        }
        for (user, attributes) in &facts.attributes {
            let mut set = redis::cmd("HSET");
            set.arg(format!("user_attributes:{user}"));
            for (name, values) in attributes {
                // One value as it is, several as a list.
                let list = serde_json::to_string(values).unwrap();
                set.arg(name)
                    .arg(if values.len() == 1 { &values[0] } else { &list });
            }
            commands.push(set);
        }
        if !facts.superusers.is_empty() {
            let mut add = redis::cmd("SADD");
            add.arg("superusers").arg(&facts.superusers);
            commands.push(add);
        }
        commands
    }

    /// Waits until those who watch the servers have seen that they are back.
    async fn whole(&self) {
        if self.servers.len() > 1 {
            redis_server::whole(&self.servers).await;
        }
        if let Some(sentinel) = &self.sentinel {
            redis_server::watched(sentinel).await;
        }
    }

    async fn retell(&self) {
        let facts = self.told.lock().unwrap().clone();
        self.tell(&facts).await;
    }
}

async fn run_one(connection: &mut impl ConnectionLike, command: &redis::Cmd) {
    let _: redis::Value = command.query_async(connection).await.unwrap();
}

fn announce(user: &str) -> redis::Cmd {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(CHANNEL).arg(user);
    publish
}

impl Source for RedisSource {
    fn settings(&self) -> ProviderKind {
        let (servers, mode) = match &self.sentinel {
            Some(sentinel) => {
                let mode = RedisMode::Sentinel {
                    master: "main".to_owned(),
                    user: None,
                    password: Some(SecretString::from(SECRET)),
                };
                (vec![sentinel.server()], mode)
            }
            None if self.servers.len() > 1 => {
                // Some of them: it finds the rest itself.
                let some = self.servers.iter().take(2).map(Server::server).collect();
                (some, RedisMode::Cluster)
            }
            None => (vec![self.servers[0].server()], RedisMode::Single),
        };
        let heard = matches!(self.kind, Kind::RedisChannel | Kind::RedisClusterChannel);
        ProviderKind::Redis(Box::new(RedisProvider {
            servers,
            mode,
            database: 0,
            user: Some(LOGIN.to_owned()),
            password: Some(SecretString::from(SECRET)),
            tls: match &self.certificates {
                None => UpstreamTls::Off,
                Some((_, ca)) => UpstreamTls::Verify {
                    ca: Some(ca.clone()),
                },
            },
            user_roles_prefix: "user_roles:".to_owned(),
            user_permissions_prefix: "user_permissions:".to_owned(),
            role_permissions_prefix: "role_permissions:".to_owned(),
            user_attributes_prefix: Some("user_attributes:".to_owned()),
            superusers_key: Some("superusers".to_owned()),
            timeout: TIMEOUT,
            unheard_age_max: Duration::ZERO,
            invalidate_channel: heard.then(|| CHANNEL.to_owned()),
            keyspace_notifications: self.kind == Kind::RedisKeyspace,
        }))
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(async move {
            let before = std::mem::replace(&mut *self.told.lock().unwrap(), facts.clone());
            let mut commands = Self::commands(facts);
            if self.kind == Kind::RedisKeyspace {
                // Emptying a whole database notifies of no key, as rowgate.toml says.
                commands.remove(0);
                let keys = Self::commands(&before).into_iter().skip(1).map(|add| {
                    let mut delete = redis::cmd("DEL");
                    delete.arg(add.args_iter().nth(1).and_then(argument).unwrap());
                    delete
                });
                commands = keys.chain(commands).collect();
            }
            commands.push(announce(""));
            self.run(commands).await;
        })
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            let keys = ["user_roles:bob", "user_roles:nobody"];
            let members: Vec<Vec<u8>> = match harm {
                Harm::Outage => return self.servers.iter().for_each(Server::down),
                Harm::Slow => return self.servers.iter().for_each(Server::freeze),
                Harm::Garbage => vec![b"not \xff text".to_vec()],
                Harm::Oversize => vec![vec![b'x'; 50_000_000]],
                Harm::Flood => (0..10_001).map(|n| n.to_string().into_bytes()).collect(),
            };
            let mut commands = Vec::new();
            for key in keys {
                let mut add = redis::cmd("SADD");
                add.arg(key).arg(&members);
                commands.push(add);
            }
            commands.push(announce("bob"));
            commands.push(announce("nobody"));
            self.run(commands).await;
        })
    }

    fn heal(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            match harm {
                Harm::Outage => {
                    for server in &self.servers {
                        server.up().await;
                    }
                    self.whole().await;
                }
                Harm::Slow => {
                    self.servers.iter().for_each(Server::thaw);
                    self.whole().await;
                }
                Harm::Garbage | Harm::Oversize | Harm::Flood => {
                    let mut delete = redis::cmd("DEL");
                    delete.arg("user_roles:nobody");
                    self.run(vec![delete, announce("nobody")]).await;
                }
            }
            self.retell().await;
        })
    }

    fn says(&self, harm: Harm) -> &'static str {
        match harm {
            Harm::Outage => "unavailable",
            Harm::Garbage => "cannot be understood",
            Harm::Oversize | Harm::Flood => "too large",
            Harm::Slow => "in time",
        }
    }

    fn seen(&self) -> Seen {
        match self.kind {
            Kind::RedisTtl => Seen::WithinTtl,
            Kind::RedisChannel | Kind::RedisClusterChannel | Kind::RedisKeyspace => Seen::WhenHeard,
            _ => Seen::AtOnce,
        }
    }
}

fn argument(argument: redis::Arg<&[u8]>) -> Option<Vec<u8>> {
    match argument {
        redis::Arg::Simple(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}
