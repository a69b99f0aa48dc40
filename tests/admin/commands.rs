//! The same by command: what is printed, how it ends, and what the audit keeps.

use crate::gate::World;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};

/// A configuration file for the program, as an operator would write it.
fn config(world: &World) -> PathBuf {
    config_with(world, "")
}

/// As [`config`], with more behind it.
pub fn config_with(world: &World, more: &str) -> PathBuf {
    let config = &world.config;
    let upstream = &config.upstream;
    let path = world.folder().join("rowgate.toml");
    let text = format!(
        r#"
        views = {views:?}
        [upstream]
        host = {host:?}
        port = {port}
        database = {database:?}
        user = "rowgate"
        [logins.bob]
        password = "demo"
        [[providers]]
        kind = "sql"
        preset = "authz_permissions"
        user = "rowgate_roles"
        [audit]
        path = {audit:?}
        [admin]
        user = "rowgate_admin"
        password = "writer"
        [admin.permissions]
        operator_only = ["root:role"]
        {more}
        "#,
        views = config.views,
        host = upstream.host,
        port = upstream.port,
        database = world.database,
        audit = world.audit,
    );
    std::fs::write(&path, text).unwrap();
    path
}

pub fn run(config: &PathBuf, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rowgate"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

pub fn printed(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn complained(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_grants_lists_and_revokes() {
    let world = World::new("commands").await;
    let config = config(&world);
    let bob = ["--user", "bob", "--permission", "fetch_invoice"];
    let with = |head: &'static str, tail: &[&'static str]| {
        let arguments = [&[head][..], &bob, tail].concat();
        run(&config, &arguments)
    };
    let first = with("grant", &["--until", "2999-12-31T18:00:00+01:00"]);
    assert_eq!(
        printed(&first),
        "granted: permission \"fetch_invoice\" of \"bob\", until 2999-12-31T17:00:00.000000Z\n",
        "{first:?}"
    );
    let again = with("grant", &["--json", "--until", "2999-12-31T17:00:00Z"]);
    let again: Value = serde_json::from_str(printed(&again)).unwrap();
    assert_eq!(again["changed"], false);
    assert_eq!(world.permissions("bob").await.len(), 1);
    let listed = run(&config, &["permissions", "--user", "bob", "--json"]);
    let listed: Value = serde_json::from_str(printed(&listed)).unwrap();
    assert_eq!(
        listed["permissions"],
        json!([{"user": "bob", "permission": "fetch_invoice", "until": "2999-12-31T17:00:00.000000Z"}])
    );
    let all = run(&config, &["permissions"]);
    assert!(
        printed(&all).contains("olga\tadmin:permissions\n"),
        "{all:?}"
    );
    let revoked = with("revoke", &[]);
    assert_eq!(
        printed(&revoked),
        "revoked: permission \"fetch_invoice\" of \"bob\"\n"
    );
    assert_eq!(with("revoke", &[]).status.code(), Some(0), "harmless");
    let lines = world.admin_lines();
    let actions: Vec<&str> = lines
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["grant", "grant", "list", "list", "revoke", "revoke"]
    );
    assert_eq!(
        (&lines[0]["door"], &lines[0]["login"]),
        (&json!("command"), &json!("operator"))
    );
    assert!(!lines[0]["user_id"].as_str().unwrap().is_empty());
}

/// Arguments, how the command ends, and what it complains of.
const MISTAKES: &[(&[&str], i32, &str)] = &[
    (
        &[
            "grant",
            "--user",
            "bob",
            "--permission",
            "fetch_invoces",
            "--strict",
        ],
        1,
        "no view",
    ),
    (
        &["grant", "--user", "bob", "--permission", "never:this"],
        1,
        "the table does not take this",
    ),
    (
        &["grant", "--user", "bob", "--role", "editor"],
        2,
        "roles are not managed here",
    ),
    (
        &[
            "grant",
            "--user",
            "bob",
            "--permission",
            "x",
            "--until",
            "tomorrow",
        ],
        2,
        "ISO 8601",
    ),
    (
        &[
            "grant",
            "--user",
            "bob",
            "--permission",
            "x",
            "--until",
            "2001-01-01T00:00:00Z",
        ],
        2,
        "past",
    ),
    (
        &["grant", "--user", "bo\nb", "--permission", "x"],
        2,
        "not a name",
    ),
    (&["grant", "--user", "bob"], 2, "required"),
    (&["grant", "--permission", "x"], 2, "--user"),
    (
        &["grant", "--user", "bob", "--permission", "x", "--role", "y"],
        2,
        "cannot be used with",
    ),
    (
        &["grant", "--user", "bob", "--tuple", "a:1#b@user:c"],
        2,
        "cannot be used with",
    ),
    (&["grant", "--tuple", "nonsense"], 2, "not a tuple"),
    (&["tuples", "--object", "seven"], 2, "document:7"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_has_its_exit_code_and_changes_nothing() {
    let world = World::new("mistakes").await;
    let config = config(&world);
    for (arguments, code, says) in MISTAKES {
        let output = run(&config, arguments);
        let ended = output.status.code();
        assert_eq!(ended, Some(*code), "{arguments:?}: {output:?}");
        assert!(
            complained(&output).contains(says),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(printed(&output), "", "{arguments:?}");
    }
    assert_eq!(world.permissions("bob").await, [""; 0]);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"writer\"", "\"wrong\"")).unwrap();
    let output = run(&config, &["permissions"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        !complained(&output).contains("wrong"),
        "no secret: {output:?}"
    );
    std::fs::write(
        &config,
        text.replace("audit.jsonl", "no/such/folder/audit.jsonl"),
    )
    .unwrap();
    let output = run(
        &config,
        &["grant", "--user", "bob", "--permission", "fetch_invoice"],
    );
    assert_eq!(
        output.status.code(),
        Some(3),
        "no audit, no change: {output:?}"
    );
    std::fs::write(
        &config,
        text.replace(world.audit.to_str().unwrap(), "/dev/full"),
    )
    .unwrap();
    let output = run(
        &config,
        &["grant", "--user", "bob", "--permission", "fetch_invoice"],
    );
    assert_eq!(
        output.status.code(),
        Some(3),
        "a full one neither: {output:?}"
    );
    assert_eq!(world.permissions("bob").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_what_http_may_not_and_an_audit_on_standard_output_stays_out_of_the_answer()
 {
    let world = World::new("operator").await;
    let config = config(&world);
    let text = std::fs::read_to_string(&config).unwrap();
    let audit = format!("path = {:?}", world.audit);
    std::fs::write(&config, text.replace(&audit, "path = \"-\"")).unwrap();
    let output = run(
        &config,
        &[
            "grant",
            "--user",
            "bob",
            "--permission",
            "root:role",
            "--json",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_str::<Value>(printed(&output)).expect("only the answer");
    assert!(
        complained(&output).contains("\"event\":\"admin\""),
        "{output:?}"
    );
}
