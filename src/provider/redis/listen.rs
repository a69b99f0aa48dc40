//! Listens for changes at the source, so that cached answers go at once.
//!
//! While nobody listens the cache knows it ([`Cached::set_heard`]): what happened meanwhile is unknown.

use super::{RedisPrefixes, Source};
use crate::provider::{Cached, Provider, ProviderError};
use futures_util::StreamExt;
use redis::Msg;
use redis::aio::PubSub;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often the subscription's connection is asked whether it lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_millis(500);
const PING_MAX: Duration = Duration::from_secs(1);
/// How long connecting and subscribing may take.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest payload that can be a user id, in bytes.
const USER_ID_BYTES_MAX: usize = 1_024;

/// What is listened to.
#[derive(Debug, Clone)]
pub(crate) struct Ears {
    /// A channel; its messages name a user, or are empty and mean all.
    pub(crate) channel: Option<String>,
    /// Keyspace notifications of this database for keys with these prefixes.
    pub(crate) keyspace: Option<(i64, RedisPrefixes)>,
}

/// Listens for as long as the cache lives.
pub(crate) async fn listen(source: Arc<Source>, ears: Ears, cache: Weak<Cached>) {
    let mut wait = WAIT_MIN;
    let mut warned = false;
    while cache.strong_count() > 0 {
        match subscribe(&source, &ears).await {
            Ok(subscriber) => {
                (wait, warned) = (WAIT_MIN, false);
                if let Some(cache) = cache.upgrade() {
                    // In this order: what was kept before it is forgotten first.
                    cache.clear();
                    cache.set_heard(true);
                }
                follow(subscriber, &ears, &cache).await;
                if let Some(cache) = cache.upgrade() {
                    cache.set_heard(false);
                    tracing::warn!(provider = cache.name(), "changes are not heard of: lost");
                }
            }
            Err(error) if !warned => {
                warned = true;
                tracing::warn!(%error, "changes of permissions in Redis are not heard of");
            }
            Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn subscribe(source: &Source, ears: &Ears) -> Result<PubSub, ProviderError> {
    let subscribing = async {
        let mut subscriber = source.subscriber().await?;
        if let Some(channel) = &ears.channel {
            let subscribed = subscriber.subscribe(channel).await;
            subscribed.map_err(|error| super::link::told(&error))?;
        }
        if let Some((database, prefixes)) = &ears.keyspace {
            let space = format!("__keyspace@{database}__:");
            let of_names = [
                Some(&prefixes.user_roles),
                Some(&prefixes.user_permissions),
                Some(&prefixes.role_permissions),
                prefixes.user_attributes.as_ref(),
            ];
            let of_names = of_names.into_iter().flatten();
            let patterns = of_names.map(|prefix| format!("{space}{}*", literal(prefix)));
            let superusers = prefixes.superusers.as_deref();
            let superusers = superusers.map(|key| format!("{space}{}", literal(key)));
            for pattern in patterns.chain(superusers) {
                let subscribed = subscriber.psubscribe(pattern).await;
                subscribed.map_err(|error| super::link::told(&error))?;
            }
        }
        Ok(subscriber)
    };
    timeout(SUBSCRIBE_MAX, subscribing)
        .await
        .unwrap_or(Err(ProviderError::Timeout))
}

/// Clears what messages say until the connection is lost, or is silent when asked.
async fn follow(subscriber: PubSub, ears: &Ears, cache: &Weak<Cached>) {
    let (mut asking, mut messages) = subscriber.split();
    let mut tick = interval(PING_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.next() => {
                let (Some(message), Some(cache)) = (message, cache.upgrade()) else { return };
                match change(&message, ears) {
                    Change::All => cache.clear(),
                    Change::User(user_id) => cache.clear_user(&user_id),
                }
            }
            _ = tick.tick() => {
                let alive = timeout(PING_MAX, asking.ping::<redis::Value>()).await;
                if !matches!(alive, Ok(Ok(_))) || cache.strong_count() == 0 {
                    return;
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    All,
    User(String),
}

fn change(message: &Msg, ears: &Ears) -> Change {
    let channel: Result<Vec<u8>, _> = message.get_channel();
    match (&ears.keyspace, channel) {
        (Some((database, prefixes)), Ok(channel)) if message.from_pattern() => {
            changed_key(&channel, *database, prefixes)
        }
        _ => named(message.get_payload_bytes()),
    }
}

/// Whose key it was. In doubt everybody's.
fn changed_key(channel: &[u8], database: i64, prefixes: &RedisPrefixes) -> Change {
    let space = format!("__keyspace@{database}__:");
    let user = channel.strip_prefix(space.as_bytes()).and_then(|key| {
        let of_users = [&prefixes.user_roles, &prefixes.user_permissions];
        let of_users = of_users.into_iter().chain(&prefixes.user_attributes);
        let mut named = of_users.filter_map(|prefix| key.strip_prefix(prefix.as_bytes()));
        named.next()
    });
    named(user.unwrap_or_default())
}

fn named(user: &[u8]) -> Change {
    match std::str::from_utf8(user) {
        Ok(user_id) if !user.is_empty() && user.len() <= USER_ID_BYTES_MAX => {
            Change::User(user_id.to_owned())
        }
        _ => Change::All,
    }
}

/// A prefix as a pattern that matches just itself.
fn literal(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len());
    for character in prefix.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes() -> RedisPrefixes {
        RedisPrefixes {
            user_roles: "user_roles:".to_owned(),
            user_permissions: "user_permissions:".to_owned(),
            role_permissions: "role_permissions:".to_owned(),
            user_attributes: Some("user_attributes:".to_owned()),
            superusers: Some("superusers".to_owned()),
        }
    }

    #[test]
    fn a_changed_key_names_its_user_and_in_doubt_everybody() {
        for (channel, expected) in [
            (&b"__keyspace@0__:user_roles:bob"[..], Some("bob")),
            (b"__keyspace@0__:user_permissions:bob", Some("bob")),
            (
                b"__keyspace@0__:user_roles:user_roles:bob",
                Some("user_roles:bob"),
            ),
            (b"__keyspace@0__:user_roles:a:b\n*", Some("a:b\n*")),
            (b"__keyspace@0__:user_attributes:bob", Some("bob")),
            (b"__keyspace@0__:superusers", None),
            (b"__keyspace@0__:role_permissions:HR", None),
            (b"__keyspace@0__:user_roles:", None),
            (b"__keyspace@1__:user_roles:bob", None),
            (b"__keyspace@0__:user_roles:\xff", None),
            (b"", None),
        ] {
            let expected = expected.map_or(Change::All, |user| Change::User(user.to_owned()));
            assert_eq!(
                changed_key(channel, 0, &prefixes()),
                expected,
                "{channel:?}"
            );
        }
        assert_eq!(named(&[b'x'; 1_025]), Change::All);
    }

    #[test]
    fn a_prefix_is_matched_as_it_is() {
        assert_eq!(literal("a*b?[c]\\^d:"), "a\\*b\\?\\[c\\]\\\\\\^d:");
    }
}
