//! Cancel requests, time limits, and clients that leave in the middle.

use crate::after_login::gate_activity;
use crate::client::{Client, frame, startup};
use crate::support::Gate;
use crate::{ENDLESS, code, gate, login, value};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A login, and the process id and secret it was given.
fn login_with_key(gate: &Gate, user: &str) -> (Client, Vec<u8>) {
    let mut client = Client::open(gate.address);
    client.send(&startup(&[("user", user), ("database", &gate.database)]));
    let answer = client.authenticate(rowgate::demo::PASSWORD);
    let (_, key) = answer
        .messages
        .iter()
        .find(|(kind, _)| *kind == b'K')
        .unwrap();
    (client, key.clone())
}

fn send_cancel(gate: &Gate, key: &[u8]) {
    let mut packet = u32::try_from(key.len() + 8).unwrap().to_be_bytes().to_vec();
    packet.extend(80_877_102_u32.to_be_bytes());
    packet.extend(key);
    let mut client = Client::open(gate.address);
    client.send(&packet);
    assert!(client.answer().closed);
}

fn send_query(client: &mut Client, sql: &str) {
    client.send(&frame(b'Q', &[sql.as_bytes(), b"\0"].concat()));
}

async fn wait_for(gate: &Gate, active: i64) {
    let activity = gate_activity(gate);
    for _ in 0..200 {
        if activity.active().await == active {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {active} active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_reaches_its_own_query_and_no_other() {
    let gate = gate(|_| {}).await;
    let (mut bob, bobs) = login_with_key(&gate, "bob");
    let (mut anne, annes) = login_with_key(&gate, "anne");
    send_query(&mut bob, ENDLESS);
    send_query(&mut anne, ENDLESS);
    wait_for(&gate, 2).await;
    // Bob's process id with Anne's secret, a secret too short, one too long.
    send_cancel(&gate, &[&bobs[..4], &annes[4..]].concat());
    send_cancel(&gate, &[&bobs[..4], &[0; 32][..]].concat());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gate_activity(&gate).active().await, 2);
    send_cancel(&gate, &bobs);
    assert_eq!(code(&bob.answer()), "57014");
    assert_eq!(gate_activity(&gate).active().await, 1);
    assert_eq!(value(&bob.simple("SELECT 1")), "1");
    // A cancel that comes too late touches nothing, least of all the one who has the connection now.
    for _ in 0..20 {
        send_cancel(&gate, &bobs);
        assert_eq!(value(&bob.simple("SELECT 2")), "2");
    }
    send_cancel(&gate, &annes);
    assert_eq!(code(&anne.answer()), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_has_a_time_limit() {
    let gate = gate(|config| config.limits.statement_ms_max = 300).await;
    let mut client = login(&gate, "bob");
    let started = Instant::now();
    let answer = client.simple(ENDLESS);
    assert_eq!(code(&answer), "57014");
    assert!(answer.error().unwrap().hint.contains("Ask for less"));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(value(&client.simple("SELECT 1")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_query_with_it() {
    let gate = gate(|config| config.upstream.pool_size = 1).await;
    let mut client = login(&gate, "bob");
    send_query(&mut client, ENDLESS);
    wait_for(&gate, 1).await;
    drop(client);
    wait_for(&gate, 0).await;
    assert_eq!(value(&login(&gate, "anne").simple("SELECT 1")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_gets_through_when_there_is_no_room_for_clients() {
    let gate = gate(|config| {
        config.limits.clients_max = 1;
        config.limits.cancels_max = 2;
    })
    .await;
    let (mut bob, bobs) = login_with_key(&gate, "bob");
    send_query(&mut bob, ENDLESS);
    wait_for(&gate, 1).await;
    // Somebody else brings no cancel request: told, and gone.
    let mut other = Client::open(gate.address);
    other.send(&startup(&[("user", "anne"), ("database", &gate.database)]));
    let answer = other.answer();
    assert_eq!((code(&answer).as_str(), answer.closed), ("53300", true));
    // Two that say nothing hold the two places for a moment; one more is turned away at once. A busy machine may take
    // longer than that moment to let the two in.
    let turned_away = |_| {
        let silent = [Client::open(gate.address), Client::open(gate.address)];
        std::thread::sleep(Duration::from_millis(200));
        let answer = Client::open(gate.address).answer();
        drop(silent);
        code(&answer) == "53300"
    };
    assert!((0..10).any(turned_away), "none is turned away");
    // Until it has seen that they are gone, a cancel may be turned away, too.
    let until = Instant::now() + Duration::from_secs(30);
    let answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !answered.load(Ordering::SeqCst) && Instant::now() < until {
                send_cancel(&gate, &bobs);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let answer = bob.answer();
        answered.store(true, Ordering::SeqCst);
        assert_eq!(code(&answer), "57014");
    });
}
