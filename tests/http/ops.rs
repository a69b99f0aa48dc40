//! For whoever runs the gate: `/metrics`, `/readyz` and `/healthz`.

use crate::gate::{Gate, bearer, gate};
use crate::support;
use crate::support::http::{Answer, curl, serve};
use rowgate::config::{Config, Enforcement, Metrics};
use rowgate::demo::Setup;
use serde_json::json;
use std::time::Duration;

fn metrics(config: &mut Config) {
    config.metrics = Some(Metrics {
        listen: ([127, 0, 0, 1], 0).into(),
        hosts: Vec::new(),
        connections_max: 16,
        token: None,
    });
}

async fn page(gate: &Gate, path: &str, arguments: &[&str]) -> Answer {
    let address = gate.addresses.metrics.unwrap();
    curl(&format!("http://{address}{path}"), arguments, b"").await
}

/// The value of one line.
fn value(page: &Answer, line: &str) -> f64 {
    assert_eq!(page.status, 200, "{page:?}");
    let mut found = page.text.lines().filter_map(|l| l.strip_prefix(line));
    let value = found.next().and_then(|rest| rest.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {line} in {}", page.text))
        .parse()
        .unwrap()
}

/// What the requests of the next test leave behind.
const COUNTED: &[(&str, f64)] = &[
    (r#"rowgate_requests_total{decision="allow",reason=""}"#, 4.0),
    (
        r#"rowgate_requests_total{decision="refuse",reason="not_a_read"}"#,
        2.0,
    ),
    (
        r#"rowgate_requests_total{decision="refuse",reason="relation_unknown"}"#,
        1.0,
    ),
    (
        r#"rowgate_requests_total{decision="refuse",reason="invalid_body"}"#,
        1.0,
    ),
    (
        r#"rowgate_logins_refused_total{reason="authentication_failed"}"#,
        1.0,
    ),
    ("rowgate_request_duration_seconds_count", 4.0),
    (r#"rowgate_request_duration_seconds_bucket{le="+Inf"}"#, 4.0),
    ("rowgate_first_row_duration_seconds_count", 4.0),
    ("rowgate_sessions", 1.0),
    ("rowgate_sessions_opened_total", 1.0),
    (
        r#"rowgate_pool_connections{pool="ordinary",state="max"}"#,
        10.0,
    ),
    (
        r#"rowgate_pool_connections{pool="ordinary",state="in_use"}"#,
        0.0,
    ),
    (r#"rowgate_pool_waiting{pool="ordinary"}"#, 0.0),
    ("rowgate_audit_lost_lines_total", 0.0),
    ("rowgate_policy_stale", 0.0),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_on_the_wire_and_over_http_is_counted() {
    let gate = gate("metrics", metrics).await;
    let before = page(&gate, "/metrics", &[]).await;
    assert_eq!(
        before.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert_eq!(
        value(
            &before,
            r#"rowgate_requests_total{decision="allow",reason=""}"#
        ),
        0.0
    );
    let client = gate.connect("bob", rowgate::demo::PASSWORD).await;
    for _ in 0..3 {
        client
            .simple_query("SELECT SUM(amount) FROM invoices")
            .await
            .unwrap();
    }
    client
        .simple_query("SELECT * FROM nowhere")
        .await
        .unwrap_err();
    client
        .simple_query("DELETE FROM invoices")
        .await
        .unwrap_err();
    gate.query("anne", "SELECT SUM(amount) FROM invoices").await;
    gate.query("anne", "DELETE FROM invoices").await;
    gate.send(&[&bearer("anne")], "{").await;
    gate.send(&[], "{}").await;
    let after = page(&gate, "/metrics", &[]).await;
    for (line, expected) in COUNTED {
        assert_eq!(value(&after, line), *expected, "{line}\n{}", after.text);
    }
    let hits = r#"rowgate_cache_lookups_total{cache="rewrites",result="hit"}"#;
    // Bob's second and third; Anne's grants are the same as his, so hers, too.
    assert_eq!(value(&after, hits), 3.0, "{}", after.text);
    assert!(after.text.ends_with("# EOF\n"), "{}", after.text);
    for word in ["bob", "anne", "invoices", "127.0.0.1", "nowhere"] {
        assert!(!after.text.contains(word), "{word}: {}", after.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_operators_only() {
    let gate = gate("metrics_who", |config| {
        metrics(config);
        config.metrics.as_mut().unwrap().token = Some("a scraper's own word".into());
    })
    .await;
    for (arguments, status) in [
        (&[][..], 401),
        (&["-H", "Authorization: Bearer a scraper's own wore"], 401),
        (&["-H", "Authorization: Basic a scraper's own word"], 401),
        (
            &[
                "-H",
                "Authorization: Bearer a scraper's own word",
                "-H",
                "Authorization: Bearer x",
            ],
            401,
        ),
        (&["-H", &bearer("bob")], 401),
        (&["-H", "Authorization: Bearer a scraper's own word"], 200),
        (
            &[
                "-H",
                "Authorization: Bearer a scraper's own word",
                "-H",
                "Host: evil.example.com",
            ],
            421,
        ),
    ] {
        assert_eq!(
            page(&gate, "/metrics", arguments).await.status,
            status,
            "{arguments:?}"
        );
    }
    // Whoever asks queries learns nothing of the others, and the scraper asks none.
    assert_eq!(gate.curl("/metrics", &[], b"").await.status, 404);
    assert_eq!(page(&gate, "/v1/schema", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database_and_the_providers() {
    let cluster = support::start();
    let setup = Setup::example(
        "http_ready",
        ([127, 0, 0, 1], 0).into(),
        Enforcement::Barrier,
    );
    let mut config = support::prepare(&cluster, &setup).await;
    metrics(&mut config);
    let running = serve(config).await.unwrap();
    let url = |path: &str| format!("http://{}{path}", running.addresses.metrics.unwrap());
    let ready = curl(&url("/readyz"), &[], b"").await;
    assert_eq!(
        (ready.status, &ready.body),
        (
            200,
            &json!({"ready": true, "database": "ok", "providers": "ok", "audit": "ok", "policy": "ok"})
        )
    );
    // However often it is asked, the database is asked once a second: many at once share one answer.
    let asked = (0..20).map(|_| async { curl(&url("/readyz"), &[], b"").await.status });
    for status in futures_util::future::join_all(asked).await {
        assert_eq!(status, 200);
    }
    drop(cluster);
    let mut tries = 0;
    let gone = loop {
        let answer = curl(&url("/readyz"), &[], b"").await;
        if answer.status == 503 {
            break answer;
        }
        tries += 1;
        assert!(tries < 100, "still ready: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(
        (&gone.body["type"], &gone.body["detail"]),
        (
            &json!("urn:rowgate:problem:not_ready"),
            &json!("not ready: database, providers")
        ),
        "and no word on why"
    );
    assert_eq!(curl(&url("/healthz"), &[], b"").await.text, "ok\n");
    assert_eq!(curl(&url("/metrics"), &[], b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_says_whether_the_gate_is_ready() {
    let gate = gate("ready_each", |config| {
        metrics(config);
        // One connection, which somebody holds: the pool is full, and the database is there.
        config.upstream.pool_size = 1;
    })
    .await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gate.curl(path, &[], b"").await.status, 200, "{path}");
        assert_eq!(page(&gate, path, &[]).await.status, 200, "{path}");
    }
    let client = gate.connect("bob", rowgate::demo::PASSWORD).await;
    client
        .batch_execute("BEGIN; SELECT 1 FROM invoices")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let busy = gate.curl("/readyz", &[], b"").await;
    assert_eq!((busy.status, &busy.body["database"]), (200, &json!("ok")));
    let waiting = tokio::spawn({
        let other = gate.connect("anne", rowgate::demo::PASSWORD).await;
        async move { other.simple_query("SELECT 1 FROM invoices").await }
    });
    let mut tries = 0;
    let line = r#"rowgate_pool_waiting{pool="ordinary"}"#;
    while value(&page(&gate, "/metrics", &[]).await, line) < 1.0 {
        tries += 1;
        assert!(tries < 100, "nobody waits");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.batch_execute("COMMIT").await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_is_not_ready_and_is_again_when_it_speaks() {
    use nix::sys::signal::{Signal, kill};
    let cluster = support::start();
    let setup = Setup::example(
        "http_frozen",
        ([127, 0, 0, 1], 0).into(),
        Enforcement::Barrier,
    );
    let mut config = support::prepare(&cluster, &setup).await;
    metrics(&mut config);
    let running = serve(config).await.unwrap();
    let url = format!("http://{}/readyz", running.addresses.metrics.unwrap());
    assert_eq!(curl(&url, &[], b"").await.status, 200);
    // Every server process: those with a connection, and the one that makes more of them.
    let owner = cluster.connect("postgres").await.unwrap();
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = 'http_frozen'";
    let rows = owner.query(sql, &[]).await.unwrap();
    let mut processes: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    let file = std::fs::read_to_string(cluster.folder().join("data/postmaster.pid")).unwrap();
    processes.push(file.lines().next().unwrap().parse().unwrap());
    let all = |signal: Signal| {
        for process in &processes {
            kill(nix::unistd::Pid::from_raw(*process), signal).unwrap();
        }
    };
    all(Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let silent = curl(&url, &[], b"").await;
    all(Signal::SIGCONT);
    assert_eq!(silent.status, 503, "{silent:?}");
    let mut tries = 0;
    while curl(&url, &[], b"").await.status != 200 {
        tries += 1;
        assert!(tries < 100, "it never was ready again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_view_is_told_and_the_last_good_ones_serve_on() {
    let folder = tempfile::tempdir().unwrap();
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("views");
    for file in std::fs::read_dir(source).unwrap() {
        let file = file.unwrap().path();
        if file.is_file() {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let mut setup = Setup::example(
        "http_stale",
        ([127, 0, 0, 1], 0).into(),
        Enforcement::Barrier,
    );
    setup.views = Some(folder.path().to_owned());
    let mut config = support::prepare(support::cluster(), &setup).await;
    metrics(&mut config);
    let running = serve(config).await.unwrap();
    let url = |path: &str| format!("http://{}{path}", running.addresses.metrics.unwrap());
    let until = async |word: &str, stale: f64| {
        for _ in 0..150 {
            let (ready, page) = (
                curl(&url("/readyz"), &[], b"").await,
                curl(&url("/metrics"), &[], b"").await,
            );
            if ready.body["policy"] == word {
                assert_eq!(ready.status, 200, "what was good serves on");
                assert_eq!(value(&page, "rowgate_policy_stale"), stale);
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never {word}");
    };
    let view = folder.path().join("invoices.sql");
    let good = std::fs::read_to_string(&view).unwrap();
    until("ok", 0.0).await;
    std::fs::write(&view, "SELECT nothing FROM nowhere").unwrap();
    until("stale", 1.0).await;
    std::fs::write(&view, good).unwrap();
    until("ok", 0.0).await;
}
