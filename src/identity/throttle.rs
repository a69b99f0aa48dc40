//! Slows password guessing: a delay per peer and login that grows with failures, bounded in length
//! and in how many are remembered.

use quick_cache::sync::Cache;
use std::convert::Infallible;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one login from one peer that cost nothing: people mistype.
const LOGIN_FREE: u32 = 3;
/// Failures from one peer, whatever the login: stops trying one password on many users.
const PEER_FREE: u32 = 30;
/// The first delay; it doubles from there.
const DELAY_MIN: Duration = Duration::from_millis(250);
/// The longest delay; well below the limit on logging in.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// How long failures are remembered after the last one.
const MEMORY: Duration = Duration::from_secs(600);
/// How many peers, and peers with logins, are remembered.
const ENTRIES_MAX: usize = 10_000;

pub(super) struct Throttle {
    logins: Cache<(IpAddr, String), Arc<Mutex<Failures>>>,
    peers: Cache<IpAddr, Arc<Mutex<Failures>>>,
}

/// How many failures there were, and when the last one.
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn at(&self, now: Instant) -> u32 {
        match now.saturating_duration_since(self.last) < MEMORY {
            true => self.count,
            false => 0,
        }
    }
}

/// One more failure.
fn count<K: Hash + Eq + Clone>(failures: &Cache<K, Arc<Mutex<Failures>>>, key: &K, now: Instant) {
    let none = || {
        let (count, last) = (0, now);
        Ok::<_, Infallible>(Arc::new(Mutex::new(Failures { count, last })))
    };
    let Ok(failures) = failures.get_or_insert_with(key, none);
    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    failures.count = failures.at(now).saturating_add(1);
    failures.last = now;
}

/// How many there were.
fn counted(failures: Option<Arc<Mutex<Failures>>>, now: Instant) -> u32 {
    failures.map_or(0, |failures| {
        let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.at(now)
    })
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            logins: Cache::new(ENTRIES_MAX),
            peers: Cache::new(ENTRIES_MAX),
        }
    }

    pub(super) fn delay(&self, peer: IpAddr, login: &str) -> Duration {
        self.delay_at(peer, login, Instant::now())
    }

    fn delay_at(&self, peer: IpAddr, login: &str, now: Instant) -> Duration {
        let peer = network(peer);
        let of_login = counted(self.logins.get(&(peer, login.to_owned())), now);
        let of_peer = counted(self.peers.get(&peer), now);
        after(of_login, LOGIN_FREE).max(after(of_peer, PEER_FREE))
    }

    pub(super) fn failed(&self, peer: IpAddr, login: &str) {
        let (peer, now) = (network(peer), Instant::now());
        count(&self.logins, &(peer, login.to_owned()), now);
        count(&self.peers, &peer, now);
    }

    pub(super) fn succeeded(&self, peer: IpAddr, login: &str) {
        self.logins.remove(&(network(peer), login.to_owned()));
    }
}

/// An IPv6 host owns a /64: it counts as one.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

fn after(failures: u32, free: u32) -> Duration {
    match failures.checked_sub(free) {
        None | Some(0) => Duration::ZERO,
        Some(more) => DELAY_MIN
            .saturating_mul(1 << (more - 1).min(10))
            .min(DELAY_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_grows_is_bounded_and_ends_with_success() {
        let throttle = Throttle::new();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let mut delays = Vec::new();
        for _ in 0..10 {
            delays.push(throttle.delay(peer, "bob").as_millis());
            throttle.failed(peer, "bob");
        }
        assert_eq!(delays, [0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 5000]);
        assert_eq!(
            throttle.delay(peer, "anne"),
            Duration::ZERO,
            "another login"
        );
        assert_eq!(
            throttle.delay("192.0.2.2".parse().unwrap(), "bob"),
            Duration::ZERO,
            "another peer"
        );
        throttle.succeeded(peer, "bob");
        assert_eq!(throttle.delay(peer, "bob"), Duration::ZERO);
    }

    #[test]
    fn failures_are_forgotten_after_a_while() {
        let throttle = Throttle::new();
        let (peer, now): (IpAddr, _) = ("192.0.2.1".parse().unwrap(), Instant::now());
        for _ in 0..40 {
            throttle.failed(peer, "bob");
        }
        let almost = now + MEMORY - Duration::from_secs(1);
        assert_eq!(throttle.delay_at(peer, "bob", almost), DELAY_MAX);
        let later = Instant::now() + MEMORY;
        assert_eq!(throttle.delay_at(peer, "bob", later), Duration::ZERO);
    }

    #[test]
    fn one_password_on_many_users_is_slowed_too() {
        let throttle = Throttle::new();
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        for n in 0..40 {
            throttle.failed(peer, &format!("user{n}"));
        }
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        assert_eq!(
            throttle.delay(neighbour, "user99"),
            DELAY_MAX,
            "the same /64"
        );
        assert_eq!(
            throttle.delay("2001:db8:0:1::1".parse().unwrap(), "user99"),
            Duration::ZERO
        );
    }

    #[test]
    fn mapped_addresses_are_the_same_peer() {
        assert_eq!(
            network("::ffff:192.0.2.1".parse().unwrap()),
            network("192.0.2.1".parse().unwrap())
        );
    }
}
