//! Every recorded statement is answered, or refused as `refused.toml` says and says why; and nothing that comes
//! back names anything hidden.

use super::statements::{self, Statement, Tapped};
use super::{clusters, gate_on};
use rowgate::config::Enforcement;
use rowgate::demo::Cluster;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const LIST: &str = "tests/catalog/refused.toml";

const HEAD: &str = "\
# The statements of statements.jsonl that are refused, by the refusal, and why that is right. A statement in no group is
# answered. After a change: `UPDATE_REFUSED=1 cargo test --test catalog statement` writes the list anew and keeps
# each `why`; a new group's is empty, and the test fails until somebody has said why. Judge the difference before it lands.
";

#[derive(Serialize, Deserialize)]
struct List {
    refused: Vec<Group>,
}

#[derive(Serialize, Deserialize)]
struct Group {
    sqlstate: String,
    message: String,
    hint: String,
    why: String,
    statements: Vec<String>,
}

type Key = (String, String, String);

/// Numbers differ from run to run.
fn without_numbers(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_digit());
    let mut done = text.to_owned();
    for number in words.filter(|word| word.len() > 4) {
        done = done.replace(number, "#");
    }
    done
}

/// Whatever the fixtures hide from Bob and nothing else is called.
const HIDDEN: &[&str] = &[
    "canary",
    "tax_number",
    "payroll",
    "api_keys",
    "iban",
    "salary",
    "rowgate_",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_answered_or_refused_as_listed_and_names_nothing_hidden() {
    for cluster in clusters() {
        every_statement(cluster).await;
    }
}

async fn every_statement(cluster: &Cluster) {
    let gate = gate_on(cluster, "catalog_statements", Enforcement::Barrier).await;
    let server = cluster.connect(&gate.database).await.unwrap();
    let numbers = statements::numbers(&server).await;
    assert!(numbers.contains_key("canary_view") && numbers.contains_key("invoices"));
    let bob = Tapped::connect(&gate, "bob").await;
    bob.received();
    let all = statements::all();
    let sent: usize = all.iter().map(|statement| statement.sent_by.len()).sum();
    assert_eq!(sent, 554, "as many as were recorded");
    let mut refused: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for statement in &all {
        if let Err(refusal) = statement.send(&bob.client, &numbers).await {
            let polite = !refusal.hint.is_empty() && !refusal.sqlstate.starts_with("XX");
            if !polite {
                wrong.push(format!("{}: {refusal:?}", statement.id));
            }
            let key = (
                refusal.sqlstate,
                without_numbers(&refusal.message),
                without_numbers(&refusal.hint),
            );
            refused.entry(key).or_default().push(statement.id.clone());
        }
        let received = bob.received();
        assert!(!received.is_empty());
        wrong.extend(tells(statement, &received));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compare(refused, all.len());
}

/// The hidden names in what came back.
fn tells(statement: &Statement, received: &str) -> Option<String> {
    let own = statement.sql.to_lowercase();
    let told: Vec<&&str> = HIDDEN
        .iter()
        .filter(|name| received.contains(**name) && !own.contains(**name))
        .collect();
    (!told.is_empty()).then(|| format!("{} is told {told:?}", statement.id))
}

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST)
}

/// The list as it stands.
fn known() -> BTreeMap<Key, Group> {
    let text = std::fs::read_to_string(path()).unwrap();
    let list: List = toml::from_str(&text).unwrap();
    let keyed = |group: Group| {
        let Group {
            sqlstate,
            message,
            hint,
            ..
        } = &group;
        ((sqlstate.clone(), message.clone(), hint.clone()), group)
    };
    list.refused.into_iter().map(keyed).collect()
}

fn compare(found: BTreeMap<Key, Vec<String>>, all: usize) {
    let known = known();
    let groups: Vec<Group> = found
        .into_iter()
        .map(|(key, statements)| Group {
            why: known
                .get(&key)
                .map(|group| group.why.clone())
                .unwrap_or_default(),
            sqlstate: key.0,
            message: key.1,
            hint: key.2,
            statements,
        })
        .collect();
    let refused: usize = groups.iter().map(|group| group.statements.len()).sum();
    println!(
        "{} of {all} statements answered, {refused} refused",
        all - refused
    );
    let unexplained: Vec<&str> = groups
        .iter()
        .filter(|group| group.why.is_empty())
        .map(|group| group.message.as_str())
        .collect();
    let pairs = |groups: &mut dyn Iterator<Item = &Group>| -> BTreeSet<(String, String)> {
        groups
            .flat_map(|group| {
                let message = group.message.clone();
                group
                    .statements
                    .iter()
                    .map(move |id| (id.clone(), message.clone()))
            })
            .collect()
    };
    let now = pairs(&mut groups.iter());
    let listed = pairs(&mut known.values());
    if std::env::var_os("UPDATE_REFUSED").is_some() {
        let list = toml::to_string_pretty(&List { refused: groups }).unwrap();
        std::fs::write(path(), format!("{HEAD}\n{list}")).unwrap();
        return;
    }
    let new: Vec<_> = now.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&now).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "not as {LIST} says (UPDATE_REFUSED=1 writes it anew)\nrefused, and not listed so: {new:#?}\nlisted, and not refused so: {gone:#?}"
    );
    assert!(
        unexplained.is_empty(),
        "without a why in {LIST}: {unexplained:#?}"
    );
}
