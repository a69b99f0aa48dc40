//! The database goes away, stands still, or has no connection left.

use crate::program::{BOBS, ENDLESS, LONG, Served, Site, code, sees, until, value};
use crate::support;
use crate::wire::{Client, frame};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// Sends without waiting for the answer.
fn send(client: &mut Client, sql: &str) {
    client.send(&frame(b'Q', &[sql.as_bytes(), b"\0"].concat()));
}

/// The answer to the end; what it must come to when the database has died in the middle.
#[track_caller]
fn lost(client: &mut Client) -> bool {
    let answer = client.answer();
    // A frame that was cut in the middle leaves nothing but to close.
    assert!(
        answer.closed || code(&answer) == "08006",
        "{:?}",
        answer.error()
    );
    if let Some(error) = answer.error() {
        assert_eq!(error.message, "the connection to the database was lost");
    }
    answer.closed
}

/// The one query that runs is ended by the database's operator.
fn terminate(site: &Site) {
    until("the query runs", || site.busy().len() == 1);
    let pid = site.busy()[0];
    assert!(site.one::<bool>(&format!("SELECT pg_terminate_backend({pid})")));
}

#[test]
fn a_backend_that_is_ended_costs_one_query_or_one_transaction() {
    let site = Site::new("ended");
    let served = site.serve();
    let (mut bob, mut anne) = (served.connect(&site, "bob"), served.connect(&site, "anne"));
    send(&mut bob, LONG);
    terminate(&site);
    assert!(!lost(&mut bob), "no frame was cut");
    sees(&mut anne, "3900.00");
    sees(&mut bob, BOBS);

    // In a transaction: it has failed, and ROLLBACK ends it.
    assert_eq!(bob.simple("BEGIN").status(), Some(b'T'));
    send(&mut bob, LONG);
    terminate(&site);
    let answer = bob.answer();
    assert_eq!(
        (code(&answer).as_str(), answer.status()),
        ("08006", Some(b'E'))
    );
    assert_eq!(code(&bob.simple("SELECT 1")), "25P02");
    assert_eq!(bob.simple("ROLLBACK").status(), Some(b'I'));
    sees(&mut bob, BOBS);
}

#[test]
fn a_dead_database_is_told_cleanly_and_forgotten_when_it_is_back() {
    let mut cluster = support::start();
    let site = Site::on(&cluster, "killed");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    sees(&mut bob, BOBS);
    // A backend killed outright takes every connection with it; the server recovers by itself.
    send(&mut bob, ENDLESS);
    until("rows come", || site.busy().len() == 1);
    kill(Pid::from_raw(site.busy()[0]), Signal::SIGKILL).unwrap();
    if lost(&mut bob) {
        bob = reconnect(&served, &site);
    }
    again(&mut bob, BOBS);

    // The whole server, in the middle of a result, and for a while.
    let site = Site::on(&cluster, "killed");
    send(&mut bob, ENDLESS);
    until("rows come", || site.busy().len() == 1);
    cluster.kill_server();
    if lost(&mut bob) {
        // Whoever comes now cannot be let in, and hears why.
        let refused = Client::login(served.address, "bob", "demo", "killed")
            .err()
            .unwrap();
        assert!(
            ["08006", "58000"].contains(&code(&refused).as_str()),
            "{:?}",
            refused.error()
        );
    } else {
        let asked = Instant::now();
        let answer = bob.simple("SELECT 1");
        assert!(
            ["08006", "58000"].contains(&code(&answer).as_str()),
            "{:?}",
            answer.error()
        );
        assert!(asked.elapsed() < Duration::from_secs(6), "told late");
    }
    let (exit, log) = site.refusal();
    assert_eq!(exit, 3, "{log}");
    assert!(
        log.contains("cannot connect to 127.0.0.1:") || log.contains("does not work"),
        "{log}"
    );
    cluster.restart().unwrap();
    let mut bob = reconnect(&served, &site);
    again(&mut bob, BOBS);
}

fn reconnect(served: &Served, site: &Site) -> Client {
    let started = Instant::now();
    loop {
        match Client::login(served.address, "bob", "demo", &site.database) {
            Ok(client) => return client,
            Err(answer) => {
                let code = code(&answer);
                assert!(
                    ["08006", "58000"].contains(&code.as_str()),
                    "{:?}",
                    answer.error()
                );
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The same session works as soon as the database does.
fn again(client: &mut Client, sum: &str) {
    until("the session works again", || {
        let answer = client.simple("SELECT 1");
        let code = code(&answer);
        assert!(
            ["", "08006", "58000"].contains(&code.as_str()),
            "{:?}",
            answer.error()
        );
        code.is_empty()
    });
    sees(client, sum);
}

#[test]
fn a_database_that_stands_still_holds_up_nobody_else() {
    let site = Site::new("still");
    site.set("limits", "statement_ms_max = 500");
    let served = site.serve();
    let (mut bob, mut anne) = (served.connect(&site, "bob"), served.connect(&site, "anne"));
    // One that runs is ended by the database itself.
    let asked = Instant::now();
    let answer = bob.simple(LONG);
    assert_eq!(code(&answer), "57014");
    assert!(asked.elapsed() < Duration::from_secs(5));
    // One that is stopped can do nothing any more; the gate's own patience ends it.
    send(&mut bob, LONG);
    until("the query runs", || site.busy().len() == 1);
    let backend = Pid::from_raw(site.busy()[0]);
    kill(backend, Signal::SIGSTOP).unwrap();
    let asked = Instant::now();
    for _ in 0..5 {
        sees(&mut anne, "3900.00");
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "held up");
    let answer = bob.answer();
    kill(backend, Signal::SIGCONT).unwrap();
    assert_eq!(code(&answer), "57014", "{:?}", answer.error());
    sees(&mut bob, BOBS);
    until("the stopped one has gone", || site.busy().is_empty());
}

/// The patience beyond `statement_ms_max` is `grace_ms_max`: by default this would take more than ten seconds.
#[test]
fn how_long_a_silent_database_is_waited_for_can_be_said() {
    let site = Site::new("grace");
    site.set("limits", "statement_ms_max = 500\ngrace_ms_max = 500");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    send(&mut bob, LONG);
    until("the query runs", || site.busy().len() == 1);
    let backend = Pid::from_raw(site.busy()[0]);
    kill(backend, Signal::SIGSTOP).unwrap();
    let asked = Instant::now();
    let answer = bob.answer();
    let waited = asked.elapsed();
    kill(backend, Signal::SIGCONT).unwrap();
    assert_eq!(code(&answer), "57014", "{:?}", answer.error());
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    sees(&mut bob, BOBS);
}

#[test]
fn an_exhausted_pool_says_so_in_time() {
    let site = Site::new("exhausted");
    site.set("upstream", "pool_size = 1\npool_wait_ms = 300");
    let served = site.serve();
    let (mut anne, mut bob) = (served.connect(&site, "anne"), served.connect(&site, "bob"));
    assert_eq!(anne.simple("BEGIN; SELECT 1").status(), Some(b'T'));
    let asked = Instant::now();
    for answer in [
        bob.simple("SELECT 1"),
        bob.extended("SELECT 1"),
        bob.simple("BEGIN"),
    ] {
        assert_eq!(code(&answer), "53300", "{:?}", answer.error());
        assert_eq!(answer.status(), Some(b'I'));
    }
    assert!(asked.elapsed() >= Duration::from_millis(900));
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(anne.simple("COMMIT").status(), Some(b'I'));
    sees(&mut bob, BOBS);
    sees(&mut anne, "3900.00");
    // Whoever leaves in the middle of a transaction gives the connection back, too.
    assert_eq!(anne.simple("BEGIN; SELECT 1").status(), Some(b'T'));
    drop(anne);
    until("the connection is free", || {
        code(&bob.simple("SELECT 1")).is_empty()
    });
}

#[test]
fn a_database_that_takes_no_more_connections_leaves_the_open_ones_working() {
    let cluster = support::start();
    let site = Site::on(&cluster, "no_more");
    site.set("upstream", "connect_ms = 500");
    let served = site.serve();
    let (mut bob, mut anne) = (served.connect(&site, "bob"), served.connect(&site, "anne"));
    assert_eq!(bob.simple("BEGIN; SELECT 1").status(), Some(b'T'));
    // Stopped, the server accepts on the socket and says nothing; its backends go on.
    let data = cluster.folder().join("data/postmaster.pid");
    let server: i32 = std::fs::read_to_string(data)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kill(Pid::from_raw(server), Signal::SIGSTOP).unwrap();
    let asked = Instant::now();
    let answer = anne.simple("SELECT 1");
    let waited = asked.elapsed();
    sees(&mut bob, BOBS);
    kill(Pid::from_raw(server), Signal::SIGCONT).unwrap();
    assert_eq!(code(&answer), "08006", "{:?}", answer.error());
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    again(&mut anne, "3900.00");
    assert_eq!(bob.simple("COMMIT").status(), Some(b'I'));
}

#[test]
fn shutting_down_lets_a_query_end_and_tells_who_is_idle() {
    let site = Site::new("shutdown");
    let mut served = site.serve();
    let (mut bob, mut anne) = (served.connect(&site, "bob"), served.connect(&site, "anne"));
    sees(&mut anne, "3900.00");
    // About a second of work.
    let query = "SELECT count(*) FROM generate_series(1, 3000) AS a, generate_series(1, 3000) AS b";
    send(&mut bob, query);
    until("the query runs", || site.busy().len() == 1);
    served.signal(Signal::SIGTERM);
    let told = anne.answer();
    assert_eq!((code(&told).as_str(), told.closed), ("57P01", true));
    let answer = bob.answer();
    assert_eq!(value(&answer).as_deref(), Some("9000000"));
    assert_eq!(code(&bob.answer()), "57P01");
    assert_eq!(served.end(), Some(0));
    until("no connection is left behind", || {
        site.one::<i64>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND usename LIKE 'rowgate%'",
        ) == 0
    });
}
