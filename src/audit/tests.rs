use super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::{LazyLock, Mutex};

static PARAMETERS: LazyLock<[Option<String>; 2]> =
    LazyLock::new(|| [Some("s3cret".to_owned()), None]);

static ROLE_SOURCES: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let sources = ["inherited from Director", "sql"].map(str::to_owned);
    BTreeMap::from([("HR Manager".to_owned(), BTreeSet::from(sources))])
});

fn settings(path: Option<PathBuf>) -> AuditSettings {
    AuditSettings {
        path,
        required: true,
        parameters: false,
        sql_bytes_max: 20,
        queue_max: 4,
        wait_max: Duration::from_millis(500),
    }
}

static SESSION: LazyLock<Members> =
    LazyLock::new(|| Members::session(7, Some("127.0.0.1:9"), None));

static PRINCIPAL: LazyLock<Members> = LazyLock::new(|| {
    Members::principal(&AuditedPrincipal {
        login: "n8n",
        user_id: "bob",
        roles: vec!["HR Manager"],
        role_sources: Some(&ROLE_SOURCES),
        superuser: false,
    })
});

static QUERY: LazyLock<Members> = LazyLock::new(|| Members::query("ba78", &[], "sealed"));

fn record(sql: &str) -> AuditRecord<'_> {
    AuditRecord {
        request_id: RequestId::next(),
        session: &SESSION,
        principal: &PRINCIPAL,
        operation: None,
        sql,
        query: Some(QUERY.bytes()),
        policy_version: 3,
        decision: Decision::Allow,
        reason: None,
        parameters: &*PARAMETERS,
    }
}

fn written(record: &AuditRecord<'_>, parameters: bool, sql_bytes_max: usize) -> String {
    let mut line = Vec::new();
    line::request(&mut line, record, parameters, sql_bytes_max);
    String::from_utf8(line).unwrap()
}

/// Longer than a changed name of the file may go unnoticed.
async fn let_it_look_again() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_request_and_its_outcome_share_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(settings(Some(path.clone()))).unwrap();
    let request = record("SELECT 1\n");
    let id = request.request_id;
    log.record(&request).await.unwrap();
    let lines_before_the_first_row = lines(&path);
    assert_eq!(lines_before_the_first_row.len(), 1);
    log.outcome(
        id,
        &Outcome {
            rows: 2,
            bytes: 30,
            duration: Duration::from_micros(1_500),
            first_row: None,
            sqlstate: Some("57014".to_owned()),
        },
    );
    log.flush().await;
    let lines = lines(&path);
    let [request, outcome] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(request["event"], "request");
    assert_eq!(request["sql"], "SELECT 1\n");
    assert_eq!(request["login"], "n8n");
    assert_eq!(request["user_id"], "bob");
    assert_eq!(request["roles"][0], "HR Manager");
    assert_eq!(
        request["role_sources"],
        serde_json::json!({"HR Manager": ["inherited from Director", "sql"]})
    );
    assert_eq!(request["decision"], "allow");
    assert_eq!(request["final_sql_sha256"], "ba78");
    assert_eq!(request.get("parameters"), None, "only if asked");
    assert_eq!(outcome["event"], "outcome");
    assert_eq!(outcome["request_id"], request["request_id"]);
    assert_eq!(outcome["rows"], 2);
    assert_eq!(outcome["duration_ms"], 1.5);
    assert_eq!(outcome["sqlstate"], "57014");
}

#[test]
fn parameters_are_written_only_if_asked_and_tokens_never() {
    let line = |sql: &str, parameters| written(&record(sql), parameters, 1_000);
    assert!(!line("SELECT 1", false).contains("s3cret"));
    assert!(line("SELECT 1", true).contains(r#""parameters":["s3cret",null]"#));
    let line = line(
        "/* rowgate.token=aaa.bbb.ccc */ SELECT 'rowgate.token=ddd'",
        false,
    );
    assert!(
        line.contains("/* rowgate.token=... */ SELECT 'rowgate.token=...'"),
        "{line}"
    );
}

#[test]
fn a_long_text_is_cut_between_characters_and_known_by_length_and_hash() {
    let sql = format!("{}ü rest", "x".repeat(19));
    let line: Value = serde_json::from_str(&written(&record(&sql), false, 20)).unwrap();
    assert_eq!(line["sql"], "x".repeat(19));
    assert_eq!(line["sql_bytes"], 26);
    assert_eq!(line["sql_sha256"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn a_full_disk_refuses_and_says_so() {
    let log = AuditLog::open(settings(Some("/dev/full".into()))).unwrap();
    let fault = log.record(&record("SELECT 1")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::AuditUnavailable);
    assert!(
        fault.cause.to_string().contains("no storage space"),
        "{}",
        fault.cause
    );
    log.outcome(RequestId::next(), &Outcome::default());
    log.flush().await;
    assert_eq!(log.lost(), 2);
}

#[tokio::test]
async fn not_required_means_nobody_waits_or_is_refused() {
    let log = AuditLog::open(AuditSettings {
        required: false,
        ..settings(Some("/dev/full".into()))
    })
    .unwrap();
    log.record(&record("SELECT 1")).await.unwrap();
    log.flush().await;
    assert_eq!(log.lost(), 1);
}

#[tokio::test]
async fn a_renamed_or_removed_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(settings(Some(path.clone()))).unwrap();
    log.record(&record("first")).await.unwrap();
    let rotated = folder.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).unwrap();
    let_it_look_again().await;
    log.record(&record("second")).await.unwrap();
    assert_eq!(lines(&rotated)[0]["sql"], "first");
    assert_eq!(lines(&path)[0]["sql"], "second");
    std::fs::remove_file(&path).unwrap();
    let_it_look_again().await;
    log.record(&record("third")).await.unwrap();
    assert_eq!(lines(&path)[0]["sql"], "third");
}

#[tokio::test]
async fn a_folder_that_went_away_refuses_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("log");
    std::fs::create_dir(&inner).unwrap();
    let log = AuditLog::open(settings(Some(inner.join("a")))).unwrap();
    std::fs::remove_dir_all(&inner).unwrap();
    let_it_look_again().await;
    assert!(log.record(&record("x")).await.is_err());
    std::fs::create_dir(&inner).unwrap();
    let_it_look_again().await;
    log.record(&record("y")).await.unwrap();
}

/// Blocks until let go; fails half-way through its second write.
#[derive(Clone, Default)]
struct Slow {
    written: Arc<Mutex<Vec<Vec<u8>>>>,
    gate: Arc<Mutex<()>>,
    fail: Arc<AtomicU64>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _open = self.gate.lock().unwrap();
        if self.fail.load(Ordering::SeqCst) == 1 {
            self.fail.store(2, Ordering::SeqCst);
            self.written.lock().unwrap().push(bytes[..5].to_vec());
            return Ok(5);
        }
        if self.fail.load(Ordering::SeqCst) == 2 {
            self.fail.store(0, Ordering::SeqCst);
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.written.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_fills_the_queue_and_then_refuses_and_batches() {
    let sink = Slow::default();
    let log = AuditLog::with_sink(
        AuditSettings {
            wait_max: Duration::from_millis(100),
            ..settings(None)
        },
        Sink::Other(Box::new(sink.clone())),
    )
    .unwrap();
    let closed = sink.gate.lock().unwrap();
    log.outcome(RequestId::next(), &Outcome::default());
    while log.writer.queued() > 0 {
        std::thread::yield_now(); // until the writer hangs in its write
    }
    for _ in 0..4 {
        log.outcome(RequestId::next(), &Outcome::default());
    }
    assert_eq!(log.lost(), 0);
    log.outcome(RequestId::next(), &Outcome::default());
    assert_eq!(log.lost(), 1, "the queue holds four");
    drop(closed);
    log.flush().await;
    let written = sink.written.lock().unwrap();
    let sizes: Vec<usize> = written
        .iter()
        .map(|bytes| bytes.iter().filter(|&&b| b == b'\n').count())
        .collect();
    assert_eq!(sizes, [1, 4], "what queued up went out in one write");
}

#[tokio::test]
async fn a_record_waits_no_longer_than_it_may() {
    let sink = Slow::default();
    let gate = Arc::clone(&sink.gate);
    let (locked, wait) = std::sync::mpsc::sync_channel(1);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let holder = std::thread::spawn(move || {
        let _closed = gate.lock().unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
    });
    wait.recv().unwrap();
    let log = AuditLog::with_sink(
        AuditSettings {
            wait_max: Duration::from_millis(50),
            ..settings(None)
        },
        Sink::Other(Box::new(sink)),
    )
    .unwrap();
    let fault = log.record(&record("x")).await.unwrap_err();
    assert!(
        fault.cause.to_string().contains("in time"),
        "{}",
        fault.cause
    );
    drop(release);
    holder.join().unwrap();
}

#[tokio::test]
async fn after_a_torn_write_the_next_line_starts_on_its_own() {
    let sink = Slow::default();
    sink.fail.store(1, Ordering::SeqCst);
    let log = AuditLog::with_sink(settings(None), Sink::Other(Box::new(sink.clone()))).unwrap();
    assert!(log.record(&record("torn")).await.is_err());
    log.record(&record("whole")).await.unwrap();
    let text = String::from_utf8(sink.written.lock().unwrap().concat()).unwrap();
    let (torn, whole) = text.split_once('\n').unwrap();
    assert_eq!(torn.len(), 5);
    let whole: Value = serde_json::from_str(whole).unwrap();
    assert_eq!(whole["sql"], "whole");
}

#[test]
fn more_roles_than_fit_a_line_are_counted() {
    let roles: Vec<String> = (0..1_000)
        .map(|number| format!("role {number:04}"))
        .collect();
    let source = BTreeSet::from(["sql".to_owned()]);
    let sources = roles.iter().map(|role| (role.clone(), source.clone()));
    let sources: BTreeMap<_, _> = sources.collect();
    let long = "x".repeat(1_000);
    let longs = vec![long.as_str(); 50];
    for (names, kept, total) in [
        (
            roles.iter().map(String::as_str).collect::<Vec<_>>(),
            100,
            Some(1_000),
        ),
        (longs, 16, Some(50)),
        (vec!["HR Manager"; 100], 100, None),
    ] {
        let principal = Members::principal(&AuditedPrincipal {
            login: "n8n",
            user_id: "bob",
            roles: names,
            role_sources: Some(&sources),
            superuser: false,
        });
        let mut many = record("SELECT 1");
        many.principal = &principal;
        let line = written(&many, false, 100);
        assert!(line.len() < 40_000, "{}", line.len());
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["roles"].as_array().unwrap().len(), kept);
        assert_eq!(line.get("roles_total").and_then(Value::as_u64), total);
        assert_eq!(line["role_sources"].as_object().unwrap().len(), 100);
        assert_eq!(line["role_sources_total"], 1_000);
    }
    let few: Value = serde_json::from_str(&written(&record("SELECT 1"), false, 100)).unwrap();
    assert_eq!(few.get("role_sources_total"), None);
}

#[test]
fn a_line_is_json_whatever_is_in_it() {
    let nasty = "a\"b\\c\u{1}\n\u{2028}é\u{7f}";
    let mut record = record(nasty);
    let session = Members::session(7, Some(nasty), Some(nasty));
    let principal = Members::principal(&AuditedPrincipal {
        login: nasty,
        user_id: nasty,
        roles: vec![nasty, nasty],
        role_sources: None,
        superuser: true,
    });
    let query = Members::query("ba78", &[nasty.to_owned()], "sealed");
    record.session = &session;
    record.principal = &principal;
    record.query = Some(query.bytes());
    record.reason = Some("slug");
    let line = written(&record, true, 1_000);
    assert_eq!(line.matches('\n').count(), 1);
    let read: Value = serde_json::from_str(&line).unwrap();
    for name in ["sql", "login", "user_id", "application_name", "peer"] {
        assert_eq!(read[name], nasty, "{name}");
    }
    assert_eq!(read["roles"], serde_json::json!([nasty, nasty]));
    assert_eq!(read["tables"], serde_json::json!([nasty]));
    assert_eq!(read["superuser"], true);
    assert_eq!(read["session"], 7);
    let time = read["time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-01-31T23:59:59.000Z".len(), "{time}");
    let time: jiff::Timestamp = time.parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(time);
    assert!(age.as_secs().abs() < 60, "{age}");
}

#[test]
fn a_duration_has_milliseconds_and_microseconds() {
    for (micros, shown) in [
        (0, 0.0),
        (7, 0.007),
        (1_042, 1.042),
        (3_600_000_999, 3_600_000.999),
    ] {
        let outcome = Outcome {
            duration: Duration::from_micros(micros),
            ..Outcome::default()
        };
        let mut line = Vec::new();
        line::outcome(&mut line, RequestId::next(), &outcome);
        let read: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(read["duration_ms"], shown);
    }
}
