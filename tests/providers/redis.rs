//! What a Redis may do to us: fail over, echo a password, speak nonsense; and what names must not reach.

use crate::worlds::redis_server::{self, ADMIN, LOGIN, Server, certificates, until};
use crate::worlds::{Kind, SECRET, TIMEOUT, World};
use crate::{ask, facts, roles, why_refused};
use rowgate::app::Providers;
use rowgate::config::{
    CacheSettings, Provider, ProviderKind, RedisMode, RedisProvider, UpstreamTls,
};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn settings(server: (String, u16)) -> RedisProvider {
    RedisProvider {
        servers: vec![server],
        mode: RedisMode::Single,
        database: 0,
        user: Some(LOGIN.to_owned()),
        password: Some(SecretString::from(SECRET)),
        tls: UpstreamTls::Off,
        user_roles_prefix: "user_roles:".to_owned(),
        user_permissions_prefix: "user_permissions:".to_owned(),
        role_permissions_prefix: "role_permissions:".to_owned(),
        user_attributes_prefix: None,
        superusers_key: None,
        timeout: TIMEOUT,
        unheard_age_max: Duration::ZERO,
        invalidate_channel: None,
        keyspace_notifications: false,
    }
}

async fn asks(settings: RedisProvider) -> Result<Providers, String> {
    let provider = Provider {
        name: "under test".to_owned(),
        kind: ProviderKind::Redis(Box::new(settings)),
        cache: CacheSettings::default(),
    };
    let providers = rowgate::app::providers(&[provider]).await;
    providers.map_err(|error| {
        let text = format!("{error:#} {error:?}");
        assert!(!text.contains(SECRET), "{text}");
        text
    })
}

async fn run(server: &Server, words: &[&str]) -> redis::Value {
    let mut connection = server.connection().await;
    redis::cmd(words[0])
        .arg(&words[1..])
        .query_async(&mut connection)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_is_followed_by_its_replica() {
    let master = Server::start("redis", None, "").await;
    let replica = Server::start(
        "redis",
        None,
        &format!("replicaof 127.0.0.1 {}\n", master.port),
    )
    .await;
    let sentinel = redis_server::sentinel(&master).await;
    run(&master, &["SADD", "user_roles:bob", "HR"]).await;
    run(&master, &["WAIT", "1", "5000"]).await;
    until(async || {
        let told = run(&sentinel, &["SENTINEL", "REPLICAS", "main"]).await;
        matches!(told, redis::Value::Array(replicas) if replicas.len() == 1)
    })
    .await;
    let mut settings = settings(sentinel.server());
    settings.mode = RedisMode::Sentinel {
        master: "main".to_owned(),
        user: None,
        password: Some(SecretString::from(SECRET)),
    };
    let resolver = asks(settings).await.unwrap().resolver();
    assert_eq!(roles(&ask(&resolver, "bob").await.unwrap()).len(), 1);
    master.down();
    why_refused(&resolver, "bob").await;
    until(async || ask(&resolver, "bob").await.is_ok()).await;
    run(&replica, &["SREM", "user_roles:bob", "HR"]).await;
    assert!(
        roles(&ask(&resolver, "bob").await.unwrap()).is_empty(),
        "the new master's word"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_reaches_its_own_key_and_no_other() {
    let server = Server::start("redis", None, "").await;
    for (key, role) in [
        ("user_roles:bob", "of bob"),
        ("user_roles:bob:x", "of bob:x"),
        ("user_roles:{bob}", "of {bob}"),
        ("user_roles:*", "of *"),
        ("user_roles:a\r\nSADD user_roles:eve admin\r\n", "of lines"),
        ("user_roles:user_roles:bob", "of user_roles:bob"),
        ("user_roles: bob", "of a space"),
    ] {
        run(&server, &["SADD", key, role]).await;
    }
    let resolver = asks(settings(server.server())).await.unwrap().resolver();
    for (user, role) in [
        ("bob", Some("of bob")),
        ("bob:x", Some("of bob:x")),
        ("{bob}", Some("of {bob}")),
        ("*", Some("of *")),
        ("a\r\nSADD user_roles:eve admin\r\n", Some("of lines")),
        ("user_roles:bob", Some("of user_roles:bob")),
        (" bob", Some("of a space")),
        ("bob ", None),
        ("b*", None),
        ("bo?", None),
        ("{bob}x", None),
        ("x{bob}", None),
        ("bob\n", None),
        ("eve", None),
        (":bob", None),
    ] {
        let expected: BTreeSet<String> = role.map(str::to_owned).into_iter().collect();
        assert_eq!(
            roles(&ask(&resolver, user).await.unwrap()),
            expected,
            "{user:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_roles_are_one_question_and_too_many_a_refusal() {
    for kind in [Kind::Redis, Kind::RedisCluster] {
        let world = World::new(kind).await;
        let mut facts = facts();
        let many: Vec<String> = (0..2_000).map(|number| format!("role {number}")).collect();
        for role in &many {
            facts.roles.insert(role.clone(), vec![format!("of {role}")]);
        }
        facts.user_roles.insert("bob".to_owned(), many);
        world.tell(&facts).await;
        let resolver = world.resolver();
        let bob = ask(&resolver, "bob").await.unwrap();
        assert_eq!(roles(&bob).len(), 2_000);
        assert!(bob.has_permission("of role 1999"));
        // 20 roles of 9,000 permissions each, of 1,000 bytes: 180 MB.
        let long = "x".repeat(990);
        let large: Vec<String> = (0..9_000).map(|number| format!("{number}{long}")).collect();
        let some: Vec<String> = (0..20).map(|number| format!("role {number}")).collect();
        for role in &some {
            facts.roles.insert(role.clone(), large.clone());
        }
        facts.user_roles.insert("bob".to_owned(), some);
        world.tell(&facts).await;
        let why = why_refused(&resolver, "bob").await;
        assert!(why.contains("too large"), "{why}");
        assert!(
            ask(&resolver, "anne").await.is_ok(),
            "nobody else is concerned"
        );
    }
}

fn with(server: &Server, change: impl FnOnce(&mut RedisProvider)) -> RedisProvider {
    let mut settings = settings(server.server());
    change(&mut settings);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_answering_is_found_at_start() {
    let trusting = |ca: &Path| UpstreamTls::Verify {
        ca: Some(ca.to_owned()),
    };
    let nowhere = ("127.0.0.1".to_owned(), redis_server::free_port());
    let (folder, ca) = certificates();
    let (_other_folder, other_ca) = certificates();
    let server = Server::start("redis", None, "").await;
    let secure = Server::start("redis", Some(folder.path()), "").await;
    run(
        &server,
        &["ACL", "SETUSER", "poor", "on", ">p00r", "~*", "+ping"],
    )
    .await;
    run(&server, &["SADD", "list:", "x"]).await;
    let cases = [
        (
            with(&server, |s| s.password = Some("wr0ng".into())),
            "authentication failed",
        ),
        (
            with(&server, |s| (s.user, s.password) = (None, None)),
            "NOAUTH",
        ),
        (
            with(&server, |s| {
                (s.user, s.password) = (Some("poor".into()), Some("p00r".into()))
            }),
            "NOPERM",
        ),
        (
            with(&server, |s| s.user_roles_prefix = "list:".to_owned()),
            "NOPERM",
        ),
        (
            with(&server, |s| s.mode = RedisMode::Cluster),
            "unavailable",
        ),
        (with(&server, |s| s.tls = trusting(&ca)), ""),
        (
            with(&secure, |s| s.tls = trusting(&other_ca)),
            "certificate",
        ),
        (with(&secure, |_| ()), ""),
        (
            with(&server, |s| s.servers = vec![nowhere.clone()]),
            "refused",
        ),
    ];
    for (settings, says) in cases {
        let error = asks(settings).await.err().unwrap();
        assert!(
            error.contains("provider \"under test\" does not work"),
            "{error}"
        );
        assert!(error.contains(says), "{says}: {error}");
        assert!(
            !error.contains("wr0ng") && !error.contains("p00r"),
            "{error}"
        );
    }
    asks(with(&secure, |s| s.tls = trusting(&ca)))
        .await
        .unwrap();
    asks(with(&server, |s| {
        (s.user, s.password) = (None, Some(ADMIN.into()))
    }))
    .await
    .unwrap();
}

/// A command without its key, and the values it comes to; `Err`: words of the refusal.
type Attribute = (
    &'static [&'static str],
    Result<&'static [&'static str], &'static str>,
);
const ATTRIBUTES: &[Attribute] = &[
    (&["HSET", "a", "EU"], Ok(&["EU"])),
    (&["HSET", "a", ""], Ok(&[""])),
    (&["HSET", "a", "[\"EU\", \"US\"]"], Ok(&["EU", "US"])),
    (&["HSET", "a", "[]"], Ok(&[])),
    (&["HSET", "a", "[EU]"], Err("no list of texts")),
    (&["HSET", "a", "[1]"], Err("no list of texts")),
    (&["HSET", "a", "[\"x\"] y"], Err("no list of texts")),
    (&["HSET", "a", "{\"x\": 1}"], Ok(&["{\"x\": 1}"])),
    (&["HSET", "", "x"], Err("empty")),
    (&["SADD", "EU"], Err("not a set, or not a hash")),
];

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_texts_or_lists_of_them() {
    let server = Server::start("redis", None, "").await;
    let settings = with(&server, |s| {
        s.user_attributes_prefix = Some("user_attributes:".to_owned());
        s.superusers_key = Some("superusers".to_owned());
    });
    let resolver = asks(settings).await.unwrap().resolver();
    let key = "user_attributes:bob";
    for (words, expected) in ATTRIBUTES {
        run(&server, &["DEL", key]).await;
        run(&server, &[&words[..1], &[key], &words[1..]].concat()).await;
        match expected {
            Ok(values) => {
                let bob = ask(&resolver, "bob").await.unwrap();
                assert_eq!(bob.attributes()["a"], *values, "{words:?}");
            }
            Err(says) => {
                let why = why_refused(&resolver, "bob").await;
                assert!(why.contains(says), "{words:?}: {why}");
            }
        }
    }
    for huge in ["x".repeat(1_025), "x".repeat(70_000)] {
        run(&server, &["DEL", key]).await;
        run(&server, &["HSET", key, "a", &huge]).await;
        assert!(why_refused(&resolver, "bob").await.contains("too large"));
    }
    run(&server, &["DEL", key]).await;
    // A superuser is a member of the set, and nobody whose name only looks like one.
    run(&server, &["SADD", "superusers", "boss", "1", ""]).await;
    for (user, superuser) in [
        ("boss", true),
        ("bos", false),
        ("boss\0", false),
        ("Boss", false),
        ("bob", false),
    ] {
        let principal = ask(&resolver, user).await.unwrap();
        assert_eq!(principal.superuser(), superuser, "{user:?}");
    }
    run(&server, &["DEL", "superusers"]).await;
    run(&server, &["SET", "superusers", "boss"]).await;
    assert!(why_refused(&resolver, "boss").await.contains("not a set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_that_is_not_whole_is_found_at_start() {
    let node = Server::start("redis", None, "cluster-enabled yes\ncluster-port {bus}\n");
    let error = asks(with(&node.await, |_| ())).await.err().unwrap();
    assert!(error.contains("CLUSTERDOWN"), "{error}");
}

/// Something that listens where a Redis should, and answers everything with these bytes.
async fn imposter(says: &'static [u8]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4_096];
                while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    if stream.write_all(says).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_refuses_in_time_and_tells_no_secret() {
    for says in [
        // What a server does that knows no logins: it repeats them.
        &b"-ERR unknown command `AUTH`, with args beginning with: `rowgate`, `pw-5ecret`, \r\n"[..],
        b"-pw-5ecret pw-5ecret\r\n",
        b"-ERR pw-5ecret\r\n+OK\r\n+OK\r\n",
        b"+OK\r\n",
        b"$5\r\nhello\r\n",
        b"*1\r\n*1\r\n$1\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n",
        b"$999999999999\r\nx",
        b"*999999999\r\n",
        b"*2\r\n*999999999\r\n",
        b"$-5\r\n",
        b"",
    ] {
        let mut settings = settings(("127.0.0.1".to_owned(), imposter(says).await));
        settings.timeout = Duration::from_secs(1);
        let error = asks(settings).await.err();
        assert!(error.is_some(), "{:?}", String::from_utf8_lossy(says));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_another_type_refuses() {
    let server = Server::start("redis", None, "").await;
    run(&server, &["SET", "user_roles:bob", "HR"]).await;
    run(&server, &["RPUSH", "user_permissions:anne", "read"]).await;
    run(&server, &["SADD", "user_roles:eve", "HR"]).await;
    run(&server, &["HSET", "role_permissions:HR", "read", "1"]).await;
    let resolver = asks(settings(server.server())).await.unwrap().resolver();
    for user in ["bob", "anne", "eve"] {
        let why = why_refused(&resolver, user).await;
        assert!(why.contains("not a set"), "{why}");
    }
    assert!(ask(&resolver, "nobody").await.is_ok());
}
