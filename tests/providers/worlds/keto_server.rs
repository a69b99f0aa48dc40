//! A server that speaks Ory Keto's documented read API, since no Keto is at hand: `GET /relation-tuples` with
//! filters and page tokens, `GET /relation-tuples/check` (403 for not allowed), `GET /relation-tuples/expand`.
//!
//! Written from Keto's REST reference, and not with the client in mind: its pages are small, its check walks
//! from the object to the subject, and it knows relations that are not in any tuple ([`Rewrite`]), as Keto does
//! by its permission language.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Most tuples of a page, whatever is asked for.
const PAGE_MAX: usize = 2;

/// `namespace`, `object`, `relation`, and the subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple(pub String, pub String, pub String, pub Subject);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Id(String),
    Set(String, String, String),
}

/// Namespace and relation, and what else gives it: `editor`, or `parent.viewer`.
pub type Rewrite = (&'static str, &'static str, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Closes what is opened.
    Gone,
    /// Answers with what is no answer.
    Garbled,
    /// Answers late.
    Slow,
}

#[derive(Default)]
struct State {
    tuples: BTreeSet<Tuple>,
    rewrites: Vec<Rewrite>,
    /// Objects `check` says no to, whatever the tuples say.
    vetoed: BTreeSet<String>,
    mood: Option<Mood>,
}

pub struct KetoServer {
    pub port: u16,
    state: Arc<Mutex<State>>,
    pub requests: Arc<AtomicU32>,
    stopped: Arc<AtomicBool>,
}

impl Drop for KetoServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

impl KetoServer {
    pub async fn start(rewrites: &[Rewrite]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            rewrites: rewrites.to_vec(),
            ..State::default()
        }));
        let (requests, stopped) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (served, counted, ended) = (
            Arc::clone(&state),
            Arc::clone(&requests),
            Arc::clone(&stopped),
        );
        tokio::spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, requests) = (Arc::clone(&served), Arc::clone(&counted));
                tokio::spawn(async move { drop(serve(stream, state, requests).await) });
            }
        });
        Self {
            port,
            state,
            requests,
            stopped,
        }
    }

    pub fn tell(&self, tuples: impl IntoIterator<Item = Tuple>) {
        self.state.lock().unwrap().tuples = tuples.into_iter().collect();
    }

    pub fn veto(&self, objects: &[&str]) {
        self.state.lock().unwrap().vetoed = objects.iter().map(|id| (*id).to_owned()).collect();
    }

    pub fn be(&self, mood: Mood) {
        self.state.lock().unwrap().mood = Some(mood);
    }
}

async fn serve(
    mut stream: TcpStream,
    state: Arc<Mutex<State>>,
    requests: Arc<AtomicU32>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        while !buffer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await?;
            if read == 0 || buffer.len() > 65_536 {
                return Ok(());
            }
            buffer.extend_from_slice(&some[..read]);
        }
        let head = String::from_utf8_lossy(&buffer).into_owned();
        buffer.clear();
        requests.fetch_add(1, Ordering::SeqCst);
        let mood = state.lock().unwrap().mood.unwrap_or(Mood::Well);
        match mood {
            Mood::Well | Mood::Garbled => {}
            Mood::Gone => return Ok(()),
            Mood::Slow => tokio::time::sleep(std::time::Duration::from_secs(30)).await,
        }
        let target = head.split_whitespace().nth(1).unwrap_or("/").to_owned();
        let (status, mut body) = answer(&target, &state.lock().unwrap());
        if mood == Mood::Garbled {
            body = "<html>a proxy's page</html>".to_owned();
        }
        let text = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await?;
    }
}

fn answer(target: &str, state: &State) -> (u16, String) {
    let url = url(target);
    let get = |key: &str| url.1.get(key).cloned();
    let object = || (get("namespace"), get("object"), get("relation"));
    match (url.0.as_str(), subject(&url.1), object()) {
        ("/relation-tuples", subject, _) => (200, list(&url.1, subject, state)),
        ("/relation-tuples/check", Some(subject), (Some(n), Some(o), Some(r))) => {
            let mut seen = BTreeSet::new();
            let allowed =
                !state.vetoed.contains(&o) && check(state, &n, &o, &r, &subject, &mut seen);
            let status = if allowed { 200 } else { 403 };
            (status, json!({ "allowed": allowed }).to_string())
        }
        ("/relation-tuples/expand", _, (Some(n), Some(o), Some(r))) => {
            let depth = get("max-depth").and_then(|text| text.parse().ok());
            (
                200,
                expand(state, &n, &o, &r, depth.unwrap_or(5)).to_string(),
            )
        }
        _other => (404, json!({"error": {"code": 404}}).to_string()),
    }
}

fn url(target: &str) -> (String, BTreeMap<String, String>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let hex: Vec<u8> = rest.by_ref().take(2).collect();
                    let hex = String::from_utf8(hex).unwrap();
                    bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                other => bytes.push(other),
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(key, value)| (decode(key), decode(value)));
    (path.to_owned(), pairs.collect())
}

fn subject(query: &BTreeMap<String, String>) -> Option<Subject> {
    let get = |key: &str| query.get(key).cloned();
    get("subject_id").map(Subject::Id).or_else(|| {
        Some(Subject::Set(
            get("subject_set.namespace")?,
            get("subject_set.object")?,
            get("subject_set.relation")?,
        ))
    })
}

fn written(subject: &Subject) -> (&'static str, Value) {
    match subject {
        Subject::Id(id) => ("subject_id", json!(id)),
        Subject::Set(namespace, object, relation) => (
            "subject_set",
            json!({"namespace": namespace, "object": object, "relation": relation}),
        ),
    }
}

fn list(query: &BTreeMap<String, String>, subject: Option<Subject>, state: &State) -> String {
    let fits = |key: &str, value: &String| query.get(key).is_none_or(|asked| asked == value);
    let found: Vec<&Tuple> = state
        .tuples
        .iter()
        .filter(|Tuple(n, o, r, s)| {
            fits("namespace", n)
                && fits("object", o)
                && fits("relation", r)
                && subject.as_ref().is_none_or(|subject| subject == s)
        })
        .collect();
    // A token says nothing to anybody but the server.
    let start = query.get("page_token").map_or(0, |token| {
        token
            .strip_prefix("opaque-")
            .unwrap()
            .parse::<usize>()
            .unwrap()
    });
    let asked = query.get("page_size").and_then(|size| size.parse().ok());
    let size = if found.len() > 1_000 {
        5_000
    } else {
        asked.unwrap_or(100).min(PAGE_MAX)
    };
    let page: Vec<Value> = found
        .iter()
        .skip(start)
        .take(size)
        .map(|Tuple(n, o, r, s)| {
            let mut tuple = json!({"namespace": n, "object": o, "relation": r});
            let (key, value) = written(s);
            tuple[key] = value;
            tuple
        })
        .collect();
    let next = if start + size < found.len() {
        format!("opaque-{}", start + size)
    } else {
        String::new()
    };
    json!({"relation_tuples": page, "next_page_token": next}).to_string()
}

fn check(
    state: &State,
    n: &str,
    o: &str,
    r: &str,
    subject: &Subject,
    seen: &mut BTreeSet<(String, String, String)>,
) -> bool {
    if !seen.insert((n.to_owned(), o.to_owned(), r.to_owned())) {
        return false;
    }
    let of = |relation: &str| -> Vec<Subject> {
        let tuples = state.tuples.iter();
        let tuples = tuples.filter(|Tuple(a, b, c, _)| a == n && b == o && c == relation);
        tuples
            .map(|Tuple(_, _, _, subject)| subject.clone())
            .collect()
    };
    let direct = of(r).into_iter().any(|found| {
        found == *subject
            || matches!(&found, Subject::Set(n, o, r) if !r.is_empty() && check(state, n, o, r, subject, seen))
    });
    direct
        || state
            .rewrites
            .iter()
            .filter(|(namespace, relation, _)| *namespace == n && *relation == r)
            .any(|(_, _, gives)| match gives.split_once('.') {
                None => check(state, n, o, gives, subject, seen),
                Some((way, held)) => of(way).iter().any(|parent| {
                    matches!(parent, Subject::Set(n, o, _) if check(state, n, o, held, subject, seen))
                }),
            })
}

/// Tuples alone: Keto expands no rewrites.
fn expand(state: &State, n: &str, o: &str, r: &str, depth: u32) -> Value {
    let children: Vec<Value> = state
        .tuples
        .iter()
        .filter(|Tuple(a, b, c, _)| a == n && b == o && c == r)
        .map(|Tuple(_, _, _, subject)| {
            let (key, value) = written(subject);
            let mut child = match subject {
                Subject::Set(n, o, r) if !r.is_empty() && depth > 1 => {
                    expand(state, n, o, r, depth - 1)
                }
                _leaf => json!({"type": "leaf"}),
            };
            child["tuple"] = json!({"namespace": "", "object": "", "relation": "", key: value});
            child
        })
        .collect();
    json!({"type": "union", "tuple": {"subject_set": {"namespace": n, "object": o, "relation": r}}, "children": children})
}
