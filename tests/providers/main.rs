//! One suite that every provider passes: grants seen, revocation seen, outage, garbage and oversize
//! refused, unknown user = nothing, slow = bounded, no secret in any message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

mod keto;
#[path = "../support/mod.rs"]
mod support;
mod worlds;

mod http;
mod jwt;
mod redis;
mod start;

use rowgate::error::Error;
use rowgate::identity::{Caller, Principal};
use rowgate::provider::Resolver;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use worlds::{Facts, Harm, Kind, SECRET, Seen, World};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    user: String,
    #[serde(default)]
    roles: BTreeSet<String>,
    #[serde(default)]
    permissions: BTreeSet<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    superuser: bool,
}

fn facts() -> Facts {
    toml::from_str(include_str!("facts.toml")).unwrap()
}

async fn ask(resolver: &Resolver, user: &str) -> Result<Arc<Principal>, Error> {
    resolver.principal(&Caller::assumed(user)).await
}

fn roles(principal: &Principal) -> BTreeSet<String> {
    principal.roles().map(str::to_owned).collect()
}

/// Why the resolver refused; checks the rest of what every refusal has to be.
async fn why_refused(resolver: &Resolver, user: &str) -> String {
    checked(user, async {
        ask(resolver, user).await.map_err(worlds::Refused::from)
    })
    .await
}

/// The same for a user of a world, who may be refused at its door already.
async fn why_refused_in(world: &World, resolver: &Resolver, user: &str) -> String {
    checked(user, world.ask(resolver, user)).await
}

async fn checked(
    user: &str,
    asking: impl Future<Output = Result<Arc<Principal>, worlds::Refused>>,
) -> String {
    let started = Instant::now();
    let worlds::Refused { told, logged } = asking.await.expect_err(user);
    assert!(started.elapsed() < Duration::from_secs(9), "not bounded");
    // With the name that was just sent, control characters escaped.
    let at_the_door = format!(
        "authentication failed for user \"agent.{}\"",
        user.escape_debug()
    );
    assert!(
        told == "your permissions could not be determined" || told == at_the_door,
        "the caller learns nothing: {told}"
    );
    assert!(!logged.contains(SECRET), "{logged}");
    logged
}

/// A principal when a change has to be seen: at once, when a message has arrived, or when the time to
/// live is over.
async fn soon(
    world: &World,
    resolver: &Resolver,
    user: &str,
    expected: impl Fn(&Principal) -> bool,
) {
    let seen = world.source().seen();
    if seen == Seen::WithinTtl {
        tokio::time::sleep(worlds::TTL).await;
    }
    let patience = match seen {
        Seen::AtOnce | Seen::WithinTtl => Duration::ZERO,
        Seen::WhenHeard => Duration::from_secs(10),
    };
    let started = Instant::now();
    loop {
        let principal = world.ask(resolver, user).await.unwrap();
        if expected(&principal) {
            return;
        }
        assert!(
            started.elapsed() < patience,
            "{:?}: {principal:?}",
            world.kind
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits, within a bound, for a refusal.
async fn until_refused(world: &World, resolver: &Resolver, user: &str) {
    let started = Instant::now();
    while world.ask(resolver, user).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(10), "still served");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn grants_are_seen(world: &World) {
    world.tell(&facts()).await;
    let resolver = world.resolver();
    let cases: Cases = toml::from_str(include_str!("cases.toml")).unwrap();
    for mut case in cases.case {
        if !world.source().attributes() {
            case.attributes.clear();
        }
        case.superuser &= world.source().superusers();
        if !world.source().opens_for(&case.user) {
            why_refused_in(world, &resolver, &case.user).await;
            continue;
        }
        let principal = world.ask(&resolver, &case.user).await.unwrap();
        let kind = world.kind;
        assert_eq!(roles(&principal), case.roles, "{kind:?} {}", case.user);
        assert_eq!(
            principal.permissions(),
            &case.permissions,
            "{kind:?} {}",
            case.user
        );
        assert_eq!(
            principal.attributes(),
            &case.attributes,
            "{kind:?} {}",
            case.user
        );
        assert_eq!(
            principal.superuser(),
            case.superuser,
            "{kind:?} {}",
            case.user
        );
        assert_eq!(principal.user_id(), case.user);
        let giver = match world.source().gives_roles() {
            true => "under test",
            false => "beside",
        };
        for (role, providers) in principal.role_sources() {
            assert_eq!(providers.iter().collect::<Vec<_>>(), [giver], "{role}");
        }
    }
}

async fn revocation_is_seen(world: &World) {
    let mut facts = facts();
    world.tell(&facts).await;
    let resolver = world.resolver();
    soon(world, &resolver, "anne", |p| roles(p).len() == 2).await;
    facts
        .user_roles
        .get_mut("anne")
        .unwrap()
        .retain(|role| role != "Sales Manager");
    world.tell(&facts).await;
    soon(world, &resolver, "anne", |p| {
        roles(p) == BTreeSet::from(["HR Manager".to_owned()])
    })
    .await;
    assert!(
        !world
            .ask(&resolver, "anne")
            .await
            .unwrap()
            .has_permission("read:deals"),
        "with the role's permissions"
    );
    facts.roles.remove("HR Manager");
    world.tell(&facts).await;
    soon(world, &resolver, "anne", |p| p.permissions().is_empty()).await;
    if world.source().superusers() {
        facts.superusers.clear();
        world.tell(&facts).await;
        soon(world, &resolver, "admin", |p| !p.superuser()).await;
    }
    facts.user_roles.clear();
    world.tell(&facts).await;
    soon(world, &resolver, "bob", |p| roles(p).is_empty()).await;
    facts
        .user_roles
        .insert("bob".to_owned(), vec!["Back".to_owned()]);
    world.tell(&facts).await;
    soon(world, &resolver, "bob", |p| roles(p).contains("Back")).await;
}

/// Whoever changes something may say so: then it is seen at once, for the one user and for all.
async fn an_invalidation_is_seen_at_once(world: &World) {
    let mut facts = facts();
    world.tell(&facts).await;
    let resolver = world.resolver();
    soon(world, &resolver, "bob", |p| !roles(p).is_empty()).await;
    soon(world, &resolver, "anne", |p| !roles(p).is_empty()).await;
    facts.user_roles.clear();
    world.tell(&facts).await;
    resolver.clear_user("bob");
    assert!(roles(&world.ask(&resolver, "bob").await.unwrap()).is_empty());
    resolver.clear();
    assert!(roles(&world.ask(&resolver, "anne").await.unwrap()).is_empty());
}

async fn harm_is_refused_and_heals(world: &World) {
    for harm in Harm::ALL {
        world.tell(&facts()).await;
        let resolver = world.resolver();
        soon(world, &resolver, "bob", |p| roles(p).contains("HR Manager")).await;
        world.harm(harm).await;
        match world.source().seen() {
            Seen::AtOnce => {}
            // Answers asked for before may serve until their time is over, never longer.
            Seen::WithinTtl => tokio::time::sleep(worlds::TTL).await,
            // What took away the listener or was announced ends them.
            Seen::WhenHeard if world.kind != Kind::SqlCached => {
                until_refused(world, &resolver, "bob").await;
            }
            Seen::WhenHeard => resolver.clear(),
        }
        let (why, _) = tokio::join!(
            why_refused_in(world, &resolver, "bob"),
            why_refused_in(world, &resolver, "nobody")
        );
        let says = world.source().says(harm);
        assert!(
            why.contains(says),
            "{:?} {harm:?}: {says} in {why}",
            world.kind
        );
        world.heal(harm).await;
        soon(world, &resolver, "bob", |p| roles(p).contains("HR Manager")).await;
    }
}

async fn a_crowd_is_served(world: &World) {
    world.tell(&facts()).await;
    let resolver = Arc::new(world.resolver());
    let mut callers = Vec::new();
    for user in ["bob", "anne", "nobody"] {
        callers.push(world.source().door(user).await.unwrap());
    }
    let asking: Vec<_> = (0..300)
        .map(|number| {
            let (resolver, caller) = (Arc::clone(&resolver), callers[number % 3].clone());
            tokio::spawn(async move {
                let principal = resolver.principal(&caller).await.unwrap();
                (number % 3, principal)
            })
        })
        .collect();
    for answer in asking {
        let (number, principal) = answer.await.unwrap();
        assert_eq!(
            roles(&principal).len(),
            [1, 2, 0][number],
            "{:?}",
            world.kind
        );
    }
}

async fn suite(kind: Kind) {
    let world = World::new(kind).await;
    grants_are_seen(&world).await;
    revocation_is_seen(&world).await;
    an_invalidation_is_seen_at_once(&world).await;
    harm_is_refused_and_heals(&world).await;
    a_crowd_is_served(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ai_permissions() {
    suite(Kind::AiPermissions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_json() {
    suite(Kind::FileJson).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_toml() {
    suite(Kind::FileToml).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_yaml() {
    suite(Kind::FileYaml).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http() {
    suite(Kind::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_with_tls() {
    suite(Kind::HttpTls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_with_a_cache() {
    suite(Kind::HttpTtl).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jwt() {
    suite(Kind::Jwt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keto() {
    suite(Kind::Keto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() {
    suite(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_tls() {
    suite(Kind::RedisTls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster() {
    suite(Kind::RedisCluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_by_way_of_a_sentinel() {
    suite(Kind::RedisSentinel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_cache() {
    suite(Kind::RedisTtl).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_channel() {
    suite(Kind::RedisChannel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_with_a_channel() {
    suite(Kind::RedisClusterChannel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_keyspace_notifications() {
    suite(Kind::RedisKeyspace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql() {
    suite(Kind::Sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_with_a_cache() {
    suite(Kind::SqlCached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_serves_its_last_good_content_for_a_while() {
    let world = World::new(Kind::FileLenient).await;
    world.tell(&facts()).await;
    let resolver = world.resolver();
    ask(&resolver, "bob").await.unwrap();
    world.harm(Harm::Garbage).await;
    let kept = ask(&resolver, "bob").await.unwrap();
    assert_eq!(roles(&kept), BTreeSet::from(["HR Manager".to_owned()]));
    tokio::time::sleep(worlds::STALE_MAX).await;
    why_refused(&resolver, "bob").await;
    world.heal(Harm::Garbage).await;
    ask(&resolver, "bob").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_providers_unite_and_one_that_fails_refuses() {
    let (file, sql) = (
        World::new(Kind::FileJson).await,
        World::new(Kind::Sql).await,
    );
    let mut one = facts();
    one.user_roles.clear();
    one.denied_roles
        .insert("anne".to_owned(), vec!["Sales Manager".to_owned()]);
    file.tell(&one).await;
    let mut two = facts();
    two.roles.clear();
    sql.tell(&two).await;
    let providers = [file.settings("one"), sql.settings("two")];
    let resolver = rowgate::app::providers(&providers)
        .await
        .unwrap()
        .resolver();
    let anne = ask(&resolver, "anne").await.unwrap();
    assert_eq!(
        roles(&anne),
        BTreeSet::from(["HR Manager".to_owned()]),
        "the denial wins"
    );
    assert_eq!(
        anne.permissions().iter().collect::<Vec<_>>(),
        ["read:pay", "read:staff"],
        "the file's word on roles that the database gave"
    );
    assert_eq!(
        anne.role_sources()["HR Manager"],
        BTreeSet::from(["two".to_owned()])
    );
    sql.harm(Harm::Outage).await;
    why_refused(&resolver, "anne").await;
    sql.heal(Harm::Outage).await;
    ask(&resolver, "anne").await.unwrap();
}
