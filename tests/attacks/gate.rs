//! Every case through a running gate in front of a real PostgreSQL, by the simple and the extended
//! protocol, in every enforcement mode; and the cases below SQL, step by step.
//!
//! Steps: `login: key=value;...` (as Anne, with these start-up parameters), `login-as: user`, `startup:
//! key=value;...` and `password: ...` (one message each, answering what the server asks), `simple: sql`,
//! `extended: sql`, `simple-nowait: sql`, `frame K: body`, `frame*N K: body`, `raw: hex`, `raw*N: hex`,
//! `text: ...`, `answer` (wait for ReadyForQuery), `drain` (read until ReadyForQuery, the end, or nothing
//! comes), `forget` (what came so far), `hangup`, `on: name` (another connection). In bodies `\0`, `\n`, `\r`, `\xNN`; `$db` is the
//! database.

use crate::case::{Case, Expect, all, folder, stepwise};
use crate::support;
use crate::wire::{Answer, Client, frame, startup};
use rowgate::config::Enforcement;
use rowgate::demo::{DATA, PASSWORD, SCHEMA, Setup, VIEWS};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The example's views and the attacks' own, in one folder.
fn views() -> tempfile::TempDir {
    let folder_of_views = tempfile::tempdir().unwrap();
    for (name, text) in VIEWS {
        std::fs::write(folder_of_views.path().join(name), text).unwrap();
    }
    for entry in std::fs::read_dir(folder().join("views")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(
            &path,
            folder_of_views.path().join(path.file_name().unwrap()),
        )
        .unwrap();
    }
    folder_of_views
}

/// A gate over the example and the hostile objects.
///
/// The gate refuses to start beside SECURITY DEFINER functions its login may call, and rightly; so they
/// are closed for its start and opened again behind its back: its own walls have to hold.
async fn gate(database: &str, enforcement: Enforcement, sealed: bool) -> support::Gate {
    let close = "REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA public FROM PUBLIC";
    let gate = gate_after(database, enforcement, sealed, close).await;
    let client = support::cluster().connect(database).await.unwrap();
    let open = "GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO PUBLIC";
    client.batch_execute(open).await.unwrap();
    gate
}

async fn gate_after(
    database: &str,
    enforcement: Enforcement,
    sealed: bool,
    last: &str,
) -> support::Gate {
    let views = views();
    let setup = Setup {
        database: database.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        enforcement,
        sql: vec![
            SCHEMA.to_owned(),
            DATA.to_owned(),
            std::fs::read_to_string(folder().join("fixture.sql")).unwrap(),
            last.to_owned(),
        ],
        views: Some(views.path().to_owned()),
        scenario: None,
        managed: false,
        configuration: String::new(),
    };
    support::gate_with(setup, |config| {
        config.limits.statement_ms_max = 1_000;
        config.gate.always_sealed = sealed;
    })
    .await
}

/// Everything a write could have changed.
async fn fingerprint(database: &str) -> String {
    let client = support::cluster().connect(database).await.unwrap();
    let rows = client
        .simple_query(
            "SELECT (SELECT string_agg(relname::text || relkind::text, ',' ORDER BY oid) FROM pg_class WHERE relnamespace \
             = 'public'::regnamespace), (SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM public.invoices \
             i), (SELECT count(*) FROM public.transactions), (SELECT md5(string_agg(s::text, ',')) FROM \
             public.salaries s), (SELECT count(*) FROM pg_roles WHERE rolname !~ '^rowgate'), (SELECT last_value FROM \
             public.salaries_id_seq), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM \
             pg_largeobject_metadata)",
        )
        .await
        .unwrap();
    format!("{rows:?}")
}

/// Runs every SQL case; what went wrong.
fn run(address: SocketAddr, database: &str, extended: bool) -> Vec<String> {
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in all() {
        let user = case.who.to_lowercase();
        let mut client = clients.remove(&user).unwrap_or_else(|| {
            Client::login(address, &user, PASSWORD, database)
                .map_err(|answer| format!("{:?}", answer.error()))
                .unwrap()
        });
        let answer = if extended {
            client.extended(&case.sql)
        } else {
            client.simple(&case.sql)
        };
        if let Some(breach) = case.breach(&answer) {
            wrong.push(format!(
                "{} {breach}\n    {:.200}",
                case.id,
                case.sql.replace('\0', "\\0")
            ));
        }
        // A case may have opened a transaction, or changed what its session is answered.
        if case.class != "set_and_transactions" && !answer.closed && answer.status() == Some(b'I') {
            clients.insert(user, client);
        }
    }
    wrong
}

async fn all_cases(database: &'static str, enforcement: Enforcement, sealed: bool) {
    let gate = gate(database, enforcement, sealed).await;
    let before = fingerprint(database).await;
    let address = gate.address;
    let mut wrong = Vec::new();
    for extended in [false, true] {
        let found = tokio::task::spawn_blocking(move || run(address, database, extended))
            .await
            .unwrap();
        let how = if extended { "extended" } else { "simple" };
        wrong.extend(found.into_iter().map(|line| format!("[{how}] {line}")));
    }
    assert_eq!(before, fingerprint(database).await, "something was written");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_functions_that_act_for_their_owner_nothing_is_served() {
    let started = tokio::spawn(gate_after(
        "demo_posture",
        Enforcement::Barrier,
        false,
        "SELECT 1",
    ))
    .await;
    let Err(panic) = started else {
        panic!("it serves although its login may call SECURITY DEFINER functions");
    };
    let said = panic.into_panic().downcast::<String>().unwrap();
    assert!(said.contains("public.invoice_peek(bigint)"), "{said}");
    assert!(!said.contains("CANARY"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_through_the_gate_with_sealed_views_only() {
    all_cases("demo_sealed", Enforcement::Barrier, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_through_the_gate_with_open_views_where_proved() {
    all_cases("demo_open", Enforcement::Barrier, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_through_the_gate_with_inline_bodies() {
    all_cases("demo_inline", Enforcement::Inline, false).await;
}

/// `\0`, `\n`, `\r`, `\xNN`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after.first()) {
            (b'\\', Some(b'0')) => bytes.push(0),
            (b'\\', Some(b'n')) => bytes.push(b'\n'),
            (b'\\', Some(b'r')) => bytes.push(b'\r'),
            (b'\\', Some(b'x')) => {
                let digits = std::str::from_utf8(&after[1..3]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[3..];
                continue;
            }
            (other, _) => {
                bytes.push(*other);
                continue;
            }
        }
        rest = &after[1..];
    }
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// `key=value;key=value`
fn parameters(text: &str) -> Vec<(String, String)> {
    text.split(';')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            (
                name.to_owned(),
                String::from_utf8_lossy(&unescape(value)).into_owned(),
            )
        })
        .collect()
}

/// The connections of one case and everything they were told.
struct Script {
    address: SocketAddr,
    database: String,
    clients: BTreeMap<String, Client>,
    on: String,
    seen: Answer,
}

impl Script {
    fn client(&mut self) -> &mut Client {
        let address = self.address;
        self.clients
            .entry(self.on.clone())
            .or_insert_with(|| Client::open(address))
    }

    fn note(&mut self, answer: Answer) {
        self.seen.closed |= answer.closed;
        self.seen.messages.extend(answer.messages);
    }

    fn login(&mut self, mut wanted: Vec<(String, String)>) {
        if !wanted.iter().any(|(name, _)| name == "user") {
            wanted.push(("user".to_owned(), "anne".to_owned()));
        }
        wanted.push(("database".to_owned(), self.database.clone()));
        let wanted: Vec<(&str, &str)> = wanted
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        match Client::login_with(self.address, PASSWORD, &wanted) {
            Ok(client) => {
                self.clients.insert(self.on.clone(), client);
            }
            Err(answer) => self.note(answer),
        }
    }

    fn step(&mut self, step: &str) {
        let step = step.replace("$db", &self.database);
        let (verb, rest) = step
            .split_once(": ")
            .unwrap_or((step.trim_end_matches(": "), ""));
        let (verb, times) = match verb.split_once('*') {
            Some((verb, times)) => {
                let (number, kind) = times.split_once(' ').unwrap_or((times, ""));
                (
                    format!("{verb} {kind}").trim().to_owned(),
                    number.parse().unwrap(),
                )
            }
            None => (verb.to_owned(), 1),
        };
        match verb.as_str() {
            "on" => rest.clone_into(&mut self.on),
            "login" => self.login(parameters(rest)),
            "login-as" => self.login(vec![("user".to_owned(), rest.to_owned())]),
            "startup" => {
                let pairs = parameters(rest);
                let pairs: Vec<(&str, &str)> = pairs
                    .iter()
                    .map(|(n, v)| (n.as_str(), v.as_str()))
                    .collect();
                self.client().send(&startup(&pairs));
            }
            "password" => {
                let answer = self.client().authenticate(rest);
                self.note(answer);
            }
            "simple" => {
                let answer = self.client().simple(rest);
                self.note(answer);
            }
            "extended" => {
                let answer = self.client().extended(rest);
                self.note(answer);
            }
            "simple-nowait" => self
                .client()
                .send(&frame(b'Q', &[rest.as_bytes(), b"\0"].concat())),
            "raw" => {
                let bytes = hex(rest).repeat(times);
                self.client().send(&bytes);
            }
            "text" => self.client().send(&unescape(rest)),
            "answer" => {
                let answer = self.client().answer();
                self.note(answer);
            }
            "drain" => {
                let answer = self.client().drain();
                self.note(answer);
            }
            "forget" => self.seen = Answer::default(),
            "hangup" => {
                self.clients.remove(&self.on);
            }
            verb => {
                let kind = verb.strip_prefix("frame ").expect(verb).as_bytes()[0];
                let bytes = frame(kind, &unescape(rest)).repeat(times);
                self.client().send(&bytes);
            }
        }
    }
}

fn run_steps(address: SocketAddr, database: &str, case: &Case) -> Option<String> {
    let mut script = Script {
        address,
        database: database.to_owned(),
        clients: BTreeMap::new(),
        on: "a".to_owned(),
        seen: Answer::default(),
    };
    for step in &case.steps {
        script.step(step);
    }
    let refused = script.seen.error().is_some() || script.seen.closed;
    let breach = if case.expect == Expect::Refused && !script.seen.rows().is_empty() {
        Some(format!("was answered: {:?}", script.seen.rows()))
    } else if case.expect == Expect::Refused && !refused {
        Some(format!("was not refused: {:?}", script.seen))
    } else {
        let judged = Case {
            expect: Expect::Harmless,
            ..case.clone()
        };
        judged.breach(&script.seen)
    };
    // Whatever was sent, everybody else is served as before.
    let alive = Client::login(address, "bob", PASSWORD, database)
        .map(|mut client| client.simple("SELECT sum(amount) FROM invoices").rows());
    breach.or_else(|| match alive {
        Ok(rows) if rows == [[Some("1300.00".to_owned())]] => None,
        Ok(rows) => Some(format!("Bob is answered {rows:?} afterwards")),
        Err(answer) => Some(format!(
            "Bob cannot log in afterwards: {:?}",
            answer.error()
        )),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_below_sql() {
    let gate = gate("demo_steps", Enforcement::Barrier, false).await;
    let address = gate.address;
    let before = fingerprint("demo_steps").await;
    let wrong = tokio::task::spawn_blocking(move || {
        stepwise()
            .iter()
            .filter_map(|case| {
                let breach = run_steps(address, "demo_steps", case)?;
                Some(format!("{} ({}) {breach}", case.id, case.why))
            })
            .collect::<Vec<String>>()
    })
    .await
    .unwrap();
    assert_eq!(
        before,
        fingerprint("demo_steps").await,
        "something was written"
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
