//! Slows password guessing: a delay per peer and login that grows with failures, bounded in length
//! and in how many are remembered.

use moka::sync::Cache;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

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
const ENTRIES_MAX: u64 = 10_000;

pub(super) struct Throttle {
    logins: Cache<(IpAddr, String), Arc<AtomicU32>>,
    peers: Cache<IpAddr, Arc<AtomicU32>>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            logins: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_idle(MEMORY)
                .build(),
            peers: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_idle(MEMORY)
                .build(),
        }
    }

    pub(super) fn delay(&self, peer: IpAddr, login: &str) -> Duration {
        let peer = network(peer);
        let count =
            |counter: Option<Arc<AtomicU32>>| counter.map_or(0, |c| c.load(Ordering::Relaxed));
        let by_login = after(
            count(self.logins.get(&(peer, login.to_owned()))),
            LOGIN_FREE,
        );
        by_login.max(after(count(self.peers.get(&peer)), PEER_FREE))
    }

    pub(super) fn failed(&self, peer: IpAddr, login: &str) {
        let peer = network(peer);
        self.logins
            .get_with((peer, login.to_owned()), Arc::default)
            .fetch_add(1, Ordering::Relaxed);
        self.peers
            .get_with(peer, Arc::default)
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self, peer: IpAddr, login: &str) {
        self.logins.invalidate(&(network(peer), login.to_owned()));
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
