//! From a caller to a principal: 1,000 users with 100 of 10,000 roles each, three permissions a role.
//!
//! `cargo bench --bench resolve` prints the time of one resolution, in microseconds: the middle one, the
//! slowest of a hundred and the slowest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a benchmark fails by panicking, and nobody links against it"
)]
#![allow(dead_code, reason = "each benchmark uses its own part of the support")]

#[path = "support/measure.rs"]
mod measure;

/// As in production: mimalloc.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use measure::print_table;
use rowgate::app::Providers;
use rowgate::config::{
    CacheSettings, Config, Database, Provider, ProviderKind, SqlProvider, SqlQueries, UpstreamTls,
};
use rowgate::demo::{Cluster, ClusterOptions};
use rowgate::identity::Caller;
use rowgate::provider::{
    Conditions, Hierarchy, LiveHierarchy, Resolver, Step, SystemClock, TagFile,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const USERS: usize = 1_000;
const TABLES: &str = r#"
CREATE TABLE user_roles ("user" text, role text, PRIMARY KEY ("user", role));
CREATE TABLE role_permissions (role text, permission text, PRIMARY KEY (role, permission));
INSERT INTO user_roles
    SELECT 'user ' || u, 'role ' || (u * 7919 + r * 101) % 10000
    FROM generate_series(0, 999) AS u, generate_series(0, 99) AS r;
INSERT INTO role_permissions
    SELECT 'role ' || r, 'permission ' || r % 500 * 3 + p
    FROM generate_series(0, 9999) AS r, generate_series(0, 2) AS p;
CREATE ROLE resolver LOGIN PASSWORD 'x';
GRANT SELECT ON user_roles, role_permissions TO resolver;
VACUUM ANALYZE
"#;

fn settings(cluster: &Cluster, cache: Duration) -> Provider {
    let sql = SqlProvider {
        database: Database {
            host: "127.0.0.1".to_owned(),
            port: cluster.port(),
            database: "resolve".to_owned(),
            user: "resolver".to_owned(),
            password: Some("x".into()),
            tls: UpstreamTls::Off,
            timeout: Duration::from_secs(10),
        },
        queries: SqlQueries {
            roles: Some(r#"SELECT role FROM public.user_roles WHERE "user" = $1"#.to_owned()),
            role_permissions: Some(
                "SELECT DISTINCT permission FROM public.role_permissions WHERE role = ANY ($1)"
                    .to_owned(),
            ),
            ..SqlQueries::default()
        },
        preset: None,
        pool_size: 4,
        listen: false,
        unheard_age_max: Duration::ZERO,
    };
    Provider {
        name: "sql".to_owned(),
        kind: ProviderKind::Sql(Box::new(sql)),
        cache: CacheSettings {
            age_max: cache,
            ..CacheSettings::default()
        },
    }
}

/// Microseconds of each resolution, one after the other; `before` is not counted.
async fn measured(
    resolver: &Resolver,
    callers: &[Caller],
    rounds: usize,
    before: impl Fn(&Caller),
) -> Vec<f64> {
    let mut times = Vec::with_capacity(callers.len() * rounds);
    for _ in 0..rounds {
        for caller in callers {
            before(caller);
            let started = Instant::now();
            let principal = resolver.principal(caller).await.unwrap();
            times.push(started.elapsed().as_nanos() as f64 / 1_000.0);
            assert!(principal.roles().count() >= 100);
        }
    }
    times.sort_by(f64::total_cmp);
    times
}

fn row(what: &str, times: &[f64]) -> Vec<String> {
    let at = |hundredths: usize| {
        let index = times.len() * hundredths / 100;
        format!("{:.1}", times[index.min(times.len() - 1)])
    };
    vec![what.to_owned(), at(50), at(99), at(100)]
}

/// What roles and permissions bring along, when they count, and who may access which tag.
fn rules() -> (Arc<LiveHierarchy>, Arc<Conditions>, Arc<TagFile>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("views")).unwrap();
    let mut text = "[upstream]\ndatabase = 'd'\nuser = 'u'\n[logins.bob]\npassword = 'p'\n\
                    [[providers]]\nkind = 'file'\npath = 'roles.json'\n"
        .to_owned();
    std::fs::write(folder.path().join("roles.json"), "{}").unwrap();
    for number in 0..100 {
        let (minute, role) = (number % 60, number * 97 % 10_000);
        text += &format!(
            "[[conditions]]\nroles = ['role {role}', 'guest {number}']\ntimes = ['Mon-Sun 00:00-24:00', 'Mon-Fri 08:{minute:02}-17:00']\n\
             zone = 'Europe/Berlin'\nuntil = 2999-12-31T00:00:00Z\n"
        );
    }
    let config = Config::parse(&text, &folder.path().join("rowgate.toml")).unwrap();
    let conditions = Conditions::new(config.conditions, Arc::new(SystemClock));
    let one = |name: String, brought: Vec<String>| (name, brought.into_iter().collect());
    let roles = (0..10_000).map(|r| one(format!("role {r}"), vec![format!("clerk {r}")]));
    let permissions = (0..1_500).map(|p| {
        let brought = (0..10).map(|n| format!("detail {p} {n}")).collect();
        one(format!("permission {p}"), brought)
    });
    let hierarchy = Hierarchy::new(roles.collect(), permissions.collect()).unwrap();
    let hierarchy = LiveHierarchy::open(hierarchy, None).unwrap();
    let tags = (0..10_000).map(|tag| match tag % 10 {
        0 => format!("\"tag{tag}\":{{\"access\":\"public\"}}"),
        _ => format!("\"tag{tag}\":{{\"access\":\"specific\",\"users\":[\"x{tag}\",\"y{tag}\"]}}"),
    });
    let tags: Vec<String> = tags.collect();
    let file = folder.path().join("tags.json");
    std::fs::write(&file, format!("{{\"tags\":{{{}}}}}", tags.join(","))).unwrap();
    let tags = TagFile::open(&file, Duration::from_secs(3_600)).unwrap();
    (Arc::new(hierarchy), Arc::new(conditions), Arc::new(tags))
}

/// The same with what roles bring along, with conditions, and with tags.
async fn with_rules(cached: &Providers, callers: &[Caller], rows: &mut Vec<Vec<String>>) {
    let (hierarchy, conditions, tags) = rules();
    let tags: Arc<dyn Step> = tags;
    let times = cleared(
        cached.resolver().with_hierarchy(Arc::clone(&hierarchy)),
        callers,
    )
    .await;
    rows.push(row(
        "... and each role brings another, each permission ten",
        &times,
    ));
    let times = cleared(
        cached.resolver().with_conditions(Arc::clone(&conditions)),
        callers,
    )
    .await;
    rows.push(row("... and 100 conditions: times, networks, ends", &times));
    let times = cleared(
        cached.resolver().with_steps(vec![Arc::clone(&tags)]),
        callers,
    )
    .await;
    rows.push(row("... and 10,000 tags, 1,000 of them theirs", &times));
    let all = cached
        .resolver()
        .with_hierarchy(hierarchy)
        .with_conditions(conditions)
        .with_steps(vec![tags]);
    measured(&all, callers, 1, |_| ()).await;
    let times = measured(&all, callers, 100, |_| ()).await;
    rows.push(row("cached, with hierarchy, conditions and tags", &times));
}

/// Each user is cleared just before they are asked about.
async fn cleared(resolver: Resolver, callers: &[Caller]) -> Vec<f64> {
    measured(&resolver, callers, 1, |_| ()).await;
    measured(&resolver, callers, 3, |caller| {
        resolver.clear_user(caller.user_id());
    })
    .await
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let cluster = Cluster::start(&ClusterOptions {
        folder: None,
        settings: Vec::new(),
        ..ClusterOptions::default()
    })
    .unwrap_or_else(|error| panic!("{error}\nhint: {}", error.hint()));
    let admin = cluster.connect("postgres").await.unwrap();
    admin
        .batch_execute("CREATE DATABASE resolve")
        .await
        .unwrap();
    let owner = cluster.connect("resolve").await.unwrap();
    for statement in TABLES.split(';') {
        owner.batch_execute(statement).await.unwrap();
    }
    let callers: Vec<Caller> = (0..USERS)
        .map(|number| Caller::assumed(&format!("user {number}")))
        .collect();
    let mut rows = vec![["", "p50", "p99", "max"].map(str::to_owned).to_vec()];

    let uncached = [settings(&cluster, Duration::ZERO)];
    let uncached = rowgate::app::providers(&uncached).await.unwrap();
    let resolver = uncached.resolver();
    measured(&resolver, &callers[..100], 1, |_| ()).await;
    let times = measured(&resolver, &callers, 3, |_| ()).await;
    rows.push(row("not cached: two round trips to PostgreSQL", &times));

    let cached = [settings(&cluster, Duration::from_secs(3_600))];
    let cached = rowgate::app::providers(&cached).await.unwrap();
    let resolver = cached.resolver();
    measured(&resolver, &callers, 1, |_| ()).await;
    let times = measured(&resolver, &callers, 100, |_| ()).await;
    rows.push(row("cached", &times));
    let other = Caller::assumed("somebody else");
    let times = measured(&resolver, &callers, 100, |_| {
        resolver.clear_user(other.user_id());
    })
    .await;
    rows.push(row("cached, another user has just been cleared", &times));
    rows.push(row(
        "cached, the user has just been cleared: one round trip",
        &cleared(cached.resolver(), &callers).await,
    ));
    with_rules(&cached, &callers, &mut rows).await;
    print_table(
        "principal of a user with 100 roles and 300 permissions, microseconds",
        &rows,
    );
}
