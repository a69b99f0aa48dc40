//! `rowgate test`, `whoami` and `describe` as built commands.

use crate::{EXAMPLE, example, gate, support};
use rowgate::config::Enforcement;
use rowgate::demo::Setup;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program, away from this process's environment.
async fn rowgate(arguments: &[&str]) -> Ran {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_rowgate"))
        .args(arguments)
        .env_remove("ROWGATE_LOG")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn configured(setup: &Setup) -> String {
    let config = support::prepare(support::cluster(), setup).await;
    config.file.unwrap().display().to_string()
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("t.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_views_pass_their_policy_tests() {
    for enforcement in [Enforcement::Barrier, Enforcement::Inline] {
        let name = format!("policy_{enforcement:?}").to_lowercase();
        let setup = Setup::example(&name, ([127, 0, 0, 1], 0).into(), enforcement);
        let config = configured(&setup).await;
        let ran = rowgate(&["test", "--config", &config]).await;
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(" 0 failed"), "{}", ran.out);
        assert!(!ran.out.contains("FAIL"), "{}", ran.out);
        assert_eq!(ran.err, "", "no warning, no log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_passes_its_policy_tests() {
    let config = configured(&example("policy_tags", Enforcement::Barrier)).await;
    let tests = format!("{EXAMPLE}/policy-tests");
    let ran = rowgate(&["test", "-c", &config, &tests]).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

/// Each entry is wrong about Bob; in the report each has its line, and what was seen.
const WRONG: &str = "\
tests:
  - user: bob
    sees:
      - {table: invoices, count: 7}
      - {table: invoices, sum: {amount: 1300.01}}
      - {table: invoices, columns: [id, amount]}
      - {table: invoices, where: \"department = 'Sales'\"}
      - {table: payroll}
      - {tables: [invoices]}
      - {query: SELECT 1, value: 2}
      - {query: SELECT 1, value: null}
      - {query: SELECT id FROM invoices ORDER BY id, rows: [[2], [1], [3], [4], [9], [10]], ordered: true}
      - {query: SELECT id FROM invoices, count: 5}
      - {query: SELECT * FROM payroll, count: 0}
      - {table: invoices, where: nonsense = 1}
    hidden:
      - {table: invoices}
      - {tables: [invoices]}
      - {table: invoices, where: \"department = 'HRM'\"}
      - {table: invoices, columns: [note]}
      - {table: payroll, columns: [iban]}
      - {table: payroll, where: 'true'}
      - {query: SELECT id FROM invoices}
      - {query: SELECT 1, refused: any}
      - {query: DELETE FROM invoices, refused: \"42P01\"}
      - {table: payroll, seen_by: anne}
      - {table: invoices, where: \"department = 'Nowhere'\", seen_by: admin}
  - user: bob
    refused: \"28000\"
";

#[tokio::test(flavor = "multi_thread")]
async fn every_assertion_can_fail() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ([127, 0, 0, 1], 0).into();
    let setup = Setup::example("policy_wrong", listen, Enforcement::Barrier);
    let config = configured(&setup).await;
    let audit = folder.path().join("audit.jsonl").display().to_string();
    let file = written(folder.path(), WRONG).display().to_string();
    let ran = rowgate(&["test", "-c", &config, "--audit", &audit, &file]).await;
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let lines = WRONG.lines().enumerate();
    let entries =
        lines.filter(|(_, line)| line.contains("- {") || line.contains("refused: \"28000\""));
    for (index, line) in entries {
        // The case's own line is where it begins.
        let number = index + usize::from(line.contains("- {"));
        let place = format!("t.yaml:{number}\n");
        assert!(ran.out.contains(&place), "{place} {line}\n{}", ran.out);
    }
    let told = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "expected 7 seen 6",
        "expected 1300.01 seen 1300.00",
        "seen + [date]",
        "expected at least one such row seen none",
        "expected NULL",
        "seen 4 of them",
        "refused, 42P01: relation \"payroll\" does not exist",
        "refused, 25006",
    ] {
        assert!(told.contains(words), "{words}\n{}", ran.out);
    }
    // What passed are the two halves of `seen_by` that are right.
    assert!(ran.out.contains("\n2 passed, "), "{}", ran.out);
    // The gate is the real one: every question is in the audit.
    let audit = std::fs::read_to_string(&audit).unwrap();
    assert!(audit.contains("DELETE FROM invoices"), "{audit}");
    assert!(audit.contains("\"application_name\":\"rowgate test\""));
    let only = rowgate(&[
        "test",
        "-c",
        &config,
        "--audit",
        "/dev/null",
        "--failures",
        &file,
    ])
    .await;
    assert_eq!(only.code, Some(1));
    assert!(!only.out.contains("ok  "), "{}", only.out);
}

/// A file, and what is said about it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "tests:\n  - user: bob\n    see: []\n",
        "t.yaml:3: unknown field `see`",
    ),
    (
        "tests:\n  - user: bob\n    see: []\n",
        "did you mean `sees`?",
    ),
    (
        "tests:\n  - user: bob\n",
        "t.yaml:2: the test for bob asserts nothing",
    ),
    (
        "tests:\n  - user: bob\n    sees:\n      - cuont: 1\n",
        "did you mean `count`?",
    ),
    (
        "tests:\n  - user: bob\n    sees:\n      - count: 1\n",
        "t.yaml:4: nothing is named",
    ),
    (
        "tests:\n  - user: bob\n    sees:\n      - {table: a, rows: []}\n",
        "t.yaml:4: `rows`",
    ),
    (
        "tests:\n  - user: bob\n    sees:\n      - query: SELECT 1\n",
        "t.yaml:4: a query needs",
    ),
    (
        "tests:\n  - user: bob\n    hidden:\n      - {table: a, count: 1}\n",
        "t.yaml:4: `count`",
    ),
    (
        "tests:\n  - user: bob\n    hidden:\n      - {query: a, seen_by: b}\n",
        "`seen_by`",
    ),
    (
        "tests:\n  - user: bob\n    hidden:\n      - {table: a, where: b, columns: [c]}\n",
        "not both",
    ),
    (
        "tests:\n  - user: bob\n    refused: x\n    hidden:\n      - table: a\n",
        "stands alone",
    ),
    ("tests:\n  - sees: []\n", "t.yaml:2: missing field `user`"),
    ("tests: 5\n", "t.yaml:1: "),
    ("tests: [", "t.yaml:"),
    ("", "t.yaml:1: "),
];

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_have_their_line_and_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ([127, 0, 0, 1], 0).into();
    let setup = Setup::example("policy_mistakes", listen, Enforcement::Barrier);
    let config = configured(&setup).await;
    for (text, words) in MISTAKES {
        let file = written(folder.path(), text).display().to_string();
        let ran = rowgate(&["test", "-c", &config, &file]).await;
        assert_eq!(ran.code, Some(2), "{text}: {}", ran.err);
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
        assert!(ran.err.contains("hint: "), "{}", ran.err);
        assert_eq!(ran.out, "", "nothing is asked while a file is wrong");
    }
    let missing = rowgate(&["test", "-c", &config, "no-such-file.yaml"]).await;
    assert_eq!(missing.code, Some(2));
    let empty = rowgate(&["test", "-c", &config, "src/cli"]).await;
    assert_eq!(empty.code, Some(2), "a folder without a test file");
    for (text, words) in [
        (
            "tests: [{user: bob, sees: [{table: invoices}]}]",
            "what is hidden",
        ),
        (
            "tests: [{user: bob, hidden: [{table: payroll}]}]",
            "what is seen",
        ),
    ] {
        let file = written(folder.path(), text).display().to_string();
        let ran = rowgate(&["test", "-c", &config, "--audit", "/dev/null", &file]).await;
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        assert!(
            ran.err.contains("warning") && ran.err.contains(words),
            "{}",
            ran.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_neither_passed_nor_failed() {
    let folder = tempfile::tempdir().unwrap();
    let setup = example("policy_down", Enforcement::Barrier);
    let prepared = support::prepare(support::cluster(), &setup).await;
    let config = prepared.file.unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let file = written(
        folder.path(),
        "tests: [{user: bob, sees: [{table: people}], hidden: [{table: board_minutes}]}]",
    );
    let file = file.display().to_string();
    // The audit is full: no request is answered, and a denial must not pass for it.
    let config = config.display().to_string();
    let ran = rowgate(&["test", "-c", &config, "--audit", "/dev/full", &file]).await;
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("0 passed, 0 failed, 2 could not be asked"),
        "{}",
        ran.out
    );
    // Nothing listens there.
    let mut table: toml::Table = text.parse().unwrap();
    let upstream = table["upstream"].as_table_mut().unwrap();
    upstream.insert("port".to_owned(), 1.into());
    upstream.insert("connect_ms".to_owned(), 500.into());
    let elsewhere = Path::new(&config).with_file_name("elsewhere.toml");
    std::fs::write(&elsewhere, table.to_string()).unwrap();
    let elsewhere = elsewhere.display().to_string();
    let ran = rowgate(&["test", "-c", &elsewhere, "--audit", "/dev/null", &file]).await;
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert_eq!(ran.out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoami_and_describe_tell_what_the_user_may_know() {
    let gate = gate("tags_whoami", |_| {}).await;
    let config = gate.config.file.clone().unwrap().display().to_string();
    for user in ["bob", "mallory", "admin"] {
        let ran = rowgate(&["whoami", "--config", &config, "--user", user]).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        let client = gate.connect(user).await;
        let shown = crate::ask(&client, "SHOW rowgate.principal").await;
        let shown: Value = serde_json::from_str(&shown.unwrap().unwrap()).unwrap();
        assert_eq!(told, shown, "{user}");
        let described = rowgate(&["describe", "--config", &config, "--user", user]).await;
        let hidden = user == "mallory";
        for word in ["board", "phone"] {
            let about = user == "admin" || (user == "bob" && word == "phone");
            assert_eq!(described.out.contains(word), about, "{user} {word}");
            assert_eq!(ran.out.contains(word), about, "{user} {word}");
        }
        assert!(!hidden || !ran.out.contains("staff"), "{}", ran.out);
    }
    let explained = rowgate(&[
        "explain",
        "--config",
        &config,
        "--user",
        "mallory",
        "SELECT * FROM board_minutes",
    ])
    .await;
    assert_eq!(explained.code, Some(1));
    assert!(explained.out.contains("42P01"), "{}", explained.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_tags_that_nobody_defined() {
    let setup = example("tags_check", Enforcement::Barrier);
    let prepared = support::prepare(support::cluster(), &setup).await;
    let config = prepared.file.unwrap();
    let shown = config.display().to_string();
    let ran = rowgate(&["check", "--config", &shown]).await;
    assert!(!ran.out.contains("tag"), "{}", ran.out);
    // The same without [tags], and with a file that knows one of the two.
    let text = std::fs::read_to_string(&config).unwrap();
    let some = config.with_file_name("some.yaml");
    std::fs::write(&some, "tags: {staff: {access: public}}").unwrap();
    let bad = config.with_file_name("bad.yaml");
    std::fs::write(&bad, "tags: {staff: {access: pubic}}").unwrap();
    for (file, unknown) in [
        (None, 2),
        (Some("some.yaml"), 1),
        (Some("gone.yaml"), 0),
        (Some("bad.yaml"), 0),
    ] {
        let mut table: toml::Table = text.parse().unwrap();
        table.remove("tags");
        if let Some(file) = file {
            let tags: toml::Table = format!("file = '{file}'").parse().unwrap();
            table.insert("tags".to_owned(), tags.into());
        }
        let changed = config.with_file_name("changed.toml");
        std::fs::write(&changed, table.to_string()).unwrap();
        let ran = rowgate(&["check", "--config", &changed.display().to_string()]).await;
        let found = ran.out.matches("which is not defined").count();
        assert_eq!(found, unknown, "{file:?}: {}{}", ran.out, ran.err);
        assert_eq!(ran.out.contains("carries tag \"board\""), unknown > 0);
        let code = if unknown > 0 { 1 } else { 2 };
        assert_eq!(ran.code, Some(code), "{}", ran.err);
    }
}
