//! Clients that are slow, broken, greedy or gone: each costs nothing but itself.

use crate::program::{ENDLESS, LONG, Served, Site, code, sees, until};
use crate::wire::{Client, extended, frame, startup};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// Logins that cost a test client nothing: a token in clear.
pub fn tokens(site: &Site, require_tls: bool) {
    let head = format!("audience = \"rowgate\"\nrequire_tls = {require_tls}");
    site.set("tokens", &head);
    site.set(
        "[tokens.keys]",
        &format!("algorithm = \"HS256\"\nsecret = \"{SECRET}\""),
    );
    site.set("logins.agent", "token = true");
}

pub fn token(subject: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    token_until(subject, now.as_secs() + 600)
}

/// A token that ends at this second since 1970.
pub fn token_until(subject: &str, ends: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({"sub": subject, "aud": "rowgate", "iat": now.as_secs(), "exp": ends});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// A well-behaved client beside the others; how often it was answered, and the longest it waited.
fn healthy(served: &Served, site: &Site, stop: &AtomicBool) -> (u32, Duration) {
    let mut anne = served.connect(site, "anne");
    let (mut answers, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        sees(&mut anne, "3900.00");
        longest = longest.max(asked.elapsed());
        answers += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    (answers, longest)
}

/// Stops the healthy one, also when another has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the other end has closed, in time; what it said before is thrown away.
fn closed_within(stream: &mut TcpStream, limit: Duration) -> bool {
    let started = Instant::now();
    let mut bytes = [0; 4096];
    while started.elapsed() < limit {
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn hostile_clients_harm_only_themselves() {
    let site = Site::new("hostile");
    tokens(&site, false);
    site.set(
        "limits",
        "login_ms_max = 2000\nclient_write_ms_max = 1500\nframe_bytes_max = 1048576",
    );
    let served = site.serve();
    sees(&mut served.connect(&site, "bob"), "1300.00");
    let before = served.memory();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let healthy = scope.spawn(|| healthy(&served, &site, &stop));
        let at_the_end = Stop(&stop);
        half_open_and_slow(&served);
        garbage_and_huge_lengths(&served, &site);
        never_reads(&served, &site);
        leaves_in_the_middle(&served, &site);
        idle(&served, &site);
        drop(at_the_end);
        let (answers, longest) = healthy.join().unwrap();
        println!("{answers} answers beside, {longest:?} the longest");
        assert!(answers > 20, "{answers}");
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    });
    let after = served.memory();
    println!("{before} kB before, {after} kB after");
    assert!(
        after < before + 96 * 1024,
        "{before} kB before, {after} kB after"
    );
}

fn half_open_and_slow(served: &Served) {
    let mut silent: Vec<TcpStream> = (0..100)
        .map(|_| TcpStream::connect(served.address).unwrap())
        .collect();
    // One byte of a good start-up packet at a time, too slowly.
    let mut slow = TcpStream::connect(served.address).unwrap();
    let packet = startup(&[("user", "bob"), ("database", "hostile")]);
    for byte in &packet[..5] {
        slow.write_all(&[*byte]).ok();
        std::thread::sleep(Duration::from_millis(600));
    }
    assert!(
        closed_within(&mut slow, Duration::from_secs(3)),
        "slow login"
    );
    for stream in &mut silent {
        assert!(
            closed_within(stream, Duration::from_secs(3)),
            "no login at all"
        );
    }
}

fn garbage_and_huge_lengths(served: &Served, site: &Site) {
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let tls = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3].to_vec();
    let huge = 0x7fff_ffff_u32.to_be_bytes().to_vec();
    let long = [&20_000_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes()].concat();
    for bytes in [http, tls, huge, long, vec![0xff; 64], vec![0; 64]] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.write_all(&bytes).unwrap();
        assert!(
            closed_within(&mut stream, Duration::from_secs(1)),
            "{bytes:?}"
        );
    }
    for bytes in [
        vec![0xff; 64],
        vec![0; 64],
        [&b"Q"[..], &0x7fff_ffff_u32.to_be_bytes()].concat(),
        [&b"P"[..], &2_000_000_u32.to_be_bytes()].concat(),
    ] {
        let mut client = agent(served, site);
        client.send(&bytes);
        let answer = client.answer();
        assert!(answer.closed, "{bytes:?}");
        assert_eq!(code(&answer), "08P01", "{bytes:?}");
    }
    // Slow, but within every bound: served.
    let mut patient = agent(served, site);
    for byte in frame(b'Q', b"SELECT 'slow'\0") {
        patient.send(&[byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(patient.answer().contains("slow"));
}

fn never_reads(served: &Served, site: &Site) {
    let greedy: Vec<Client> = (0..4)
        .map(|_| {
            let mut client = agent(served, site);
            client.send(&extended(ENDLESS));
            client
        })
        .collect();
    until("all four run", || site.busy().len() == 4);
    // Nobody takes the rows, so they are given up on, and the database is told.
    until("they are closed", || site.busy().is_empty());
    drop(greedy);
}

fn leaves_in_the_middle(served: &Served, site: &Site) {
    for query in [LONG, ENDLESS] {
        let mut client = agent(served, site);
        client.send(&extended(query));
        until("it runs", || site.busy().len() == 1);
        drop(client);
        until("it is cancelled", || site.busy().is_empty());
    }
}

fn idle(served: &Served, site: &Site) {
    let before = served.memory();
    let mut clients: Vec<Client> = (0..300).map(|_| agent(served, site)).collect();
    let after = served.memory();
    println!("300 idle clients: {} kB", after.saturating_sub(before));
    assert!(
        after < before + 300 * 64,
        "{before} kB before, {after} kB after"
    );
    for client in clients.iter_mut().step_by(50) {
        sees(client, "1300.00");
    }
}

fn agent(served: &Served, site: &Site) -> Client {
    Client::login(served.address, "agent.bob", &token("bob"), &site.database)
        .map_err(|answer| format!("{:?}", answer.error()))
        .unwrap()
}

#[test]
fn one_client_too_many_is_told_so() {
    let site = Site::new("too_many");
    site.set("limits", "clients_max = 2");
    let served = site.serve();
    let mut bob = served.connect(&site, "bob");
    let anne = served.connect(&site, "anne");
    let mut third = Client::open(served.address);
    third.send(&startup(&[("user", "bob"), ("database", &site.database)]));
    let refused = third.answer();
    assert_eq!((code(&refused).as_str(), refused.closed), ("53300", true));
    sees(&mut bob, "1300.00");
    drop(anne);
    until("there is room", || {
        Client::login(served.address, "anne", "demo", &site.database).is_ok()
    });
}
