//! What a stranger can send.

use crate::client::{Client, frame, startup};
use crate::{gate, login, value};
use std::time::{Duration, Instant};

/// Frames that made a library panic, allocate, or answer (STACK S5 and others).
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let raw =
        |kind: u8, length: u32, body: &[u8]| [&[kind][..], &length.to_be_bytes(), body].concat();
    vec![
        ("a password frame of length 0", raw(b'p', 0, b"")),
        ("a password frame of length 3", raw(b'p', 3, b"")),
        ("a password frame of 2 GB", raw(b'p', 0x7fff_ffff, b"")),
        (
            "a password frame of negative length",
            raw(b'p', 0xffff_ffff, b""),
        ),
        ("an empty SASLInitialResponse", frame(b'p', b"")),
        (
            "a SASLInitialResponse without data",
            frame(b'p', b"SCRAM-SHA-256\0"),
        ),
        (
            "a SASLInitialResponse with a length beyond its end",
            frame(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xff"),
        ),
        ("an unknown mechanism", frame(b'p', b"PLAIN\0\0\0\0\0")),
        (
            "a SCRAM message that is none",
            frame(b'p', b"SCRAM-SHA-256\0\0\0\0\x04n,,x"),
        ),
        ("a query", frame(b'Q', b"SELECT 1\0")),
        ("a Parse", frame(b'P', b"\0SELECT 1\0\0\0")),
        ("a function call", frame(b'F', b"\0\0\0\x01")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_frames_before_login_end_only_their_own_connection() {
    let gate = gate(|_| {}).await;
    for (what, bytes) in hostile() {
        let mut client = Client::open(gate.address);
        client.send(&startup(&[("user", "bob"), ("database", &gate.database)]));
        assert_eq!(client.message().unwrap().0, b'R', "{what}");
        client.send(&bytes);
        let answer = client.answer();
        assert!(answer.closed, "{what}: the connection stays open");
        assert!(answer.rows().is_empty(), "{what}: it was answered");
        assert_eq!(
            answer.error().map(|e| e.code).as_deref(),
            Some("08P01"),
            "{what}"
        );
    }
    assert_eq!(value(&login(&gate, "bob").simple("SELECT 1")), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_first_packets_are_refused_at_once() {
    let gate = gate(|_| {}).await;
    for length in [0_u32, 7, 10_001, 0x7fff_ffff, 0xffff_ffff] {
        let mut client = Client::open(gate.address);
        let started = Instant::now();
        client.send(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes()].concat());
        assert!(client.answer().closed, "{length}");
        assert!(started.elapsed() < Duration::from_secs(5), "{length}");
    }
    // A query hidden behind the end of the parameters.
    let mut client = Client::open(gate.address);
    let mut packet = startup(&[("user", "bob")]);
    packet.extend(b"Q\0\0\0\x0dSELECT 1\0");
    let length = u32::try_from(packet.len()).unwrap().to_be_bytes();
    packet[..4].copy_from_slice(&length);
    client.send(&packet);
    let answer = client.answer();
    assert!(answer.closed && answer.rows().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_has_a_time_limit_however_slowly_it_goes_on() {
    let gate = gate(|config| config.limits.login_ms_max = 700).await;
    let packet = startup(&[("user", "bob"), ("database", "x")]);
    for first in [&b""[..], &packet[..3], &packet] {
        let mut client = Client::open(gate.address);
        let started = Instant::now();
        client.send(first);
        let answer = client.answer();
        assert!(answer.closed);
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(started.elapsed() > Duration::from_millis(500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_user_and_wrong_password_look_the_same() {
    let gate = gate(|_| {}).await;
    let mut seen = Vec::new();
    for (user, password) in [("bob", "wrong"), ("nobody", "demo")] {
        let Err(answer) = Client::login(gate.address, user, password, &gate.database) else {
            panic!("{user} got in");
        };
        let error = answer.error().unwrap();
        assert_eq!(error.code, "28P01");
        let kinds: Vec<u8> = answer.messages.iter().map(|(kind, _)| *kind).collect();
        seen.push((kinds, error.message.replace(user, "X"), error.hint));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_up_parameters_are_a_list() {
    let gate = gate(|_| {}).await;
    for (name, value, accepted) in [
        ("application_name", "test", true),
        ("client_encoding", "'utf-8'", true),
        ("extra_float_digits", "3", true),
        ("TimeZone", "Europe/Berlin", true),
        (
            "options",
            "-c search_path=public -c statement_timeout=1000",
            true,
        ),
        ("client_encoding", "SJIS", false),
        ("standard_conforming_strings", "off", false),
        ("session_replication_role", "replica", false),
        ("options", "-c role=postgres", false),
        ("options", "-c rowgate.roles={x}", false),
        ("options", "-c default_transaction_read_only=off", false),
        ("replication", "database", false),
        ("role", "postgres", false),
    ] {
        let parameters = [("user", "bob"), ("database", &gate.database), (name, value)];
        let login = Client::login_with(gate.address, rowgate::demo::PASSWORD, &parameters);
        assert_eq!(login.is_ok(), accepted, "{name}={value}");
    }
    // Another user's name in the options is delegation, which bob may not do.
    let delegated = [
        ("user", "bob"),
        ("database", &gate.database),
        ("options", "-c rowgate.user_id=anne"),
    ];
    assert!(Client::login_with(gate.address, rowgate::demo::PASSWORD, &delegated).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_protocol_versions_are_negotiated() {
    let gate = gate(|_| {}).await;
    for (minor, key_bytes, negotiated) in [(0_u32, 4, false), (2, 32, false), (9999, 32, true)] {
        let mut client = Client::open(gate.address);
        let mut packet = startup(&[("user", "bob"), ("database", &gate.database)]);
        packet[4..8].copy_from_slice(&(3 << 16 | minor).to_be_bytes());
        client.send(&packet);
        let answer = client.authenticate(rowgate::demo::PASSWORD);
        let find = |kind| answer.messages.iter().find(|(k, _)| *k == kind);
        assert_eq!(find(b'v').is_some(), negotiated, "3.{minor}");
        assert_eq!(find(b'K').unwrap().1.len(), 4 + key_bytes, "3.{minor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clients_than_allowed_are_told_so() {
    let gate = gate(|config| config.limits.clients_max = 2).await;
    let _first = login(&gate, "bob");
    let second = login(&gate, "bob");
    let mut third = Client::open(gate.address);
    third.send(&startup(&[("user", "bob"), ("database", &gate.database)]));
    let answer = third.answer();
    assert_eq!(answer.error().unwrap().code, "53300");
    assert!(answer.closed);
    drop(second);
    for _ in 0..50 {
        if Client::login(gate.address, "bob", rowgate::demo::PASSWORD, &gate.database).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the place of a client that left was not given back");
}
