//! The OpenAPI document against the listener it describes: by schemathesis, and what that does not look at.

use crate::gate::{Gate, KEY, bearer, gate};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Longest run of schemathesis; a usual one takes a tenth of it.
const RUN_MAX: Duration = Duration::from_secs(120);

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/query_api/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_served_to_everybody_and_describes_what_is_there() {
    let gate = gate("openapi", |_| {}).await;
    let served = gate.curl("/v1/openapi.json", &[], b"").await;
    assert_eq!(
        (served.status, served.header("content-type"), &served.body),
        (200, Some("application/json"), &document())
    );
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, operations) in document()["paths"].as_object().unwrap() {
        // Another method than the document's: there is something at that path, and it takes the document's.
        let answer = gate.curl(path, &["-X", "DELETE"], b"").await;
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
        let allowed = answer.header("allow").unwrap().to_ascii_lowercase();
        for method in operations.as_object().unwrap().keys() {
            assert!(
                allowed.split(',').any(|known| known == method),
                "{path} {method}: {allowed}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_of_a_refusal_is_a_problem_of_the_document() {
    let gate = gate("openapi_problems", |_| {}).await;
    let known = document()["components"]["schemas"]["Problem"]["properties"].clone();
    let statuses = document()["paths"]["/v1/query"]["post"]["responses"].clone();
    let bob = bearer("bob");
    for (headers, body) in [
        (vec![bob.as_str()], r#"{"sql": "SELECT * FROM nowhere"}"#),
        (vec![bob.as_str()], r#"{"sql": "SELECT 1/0"}"#),
        (vec![bob.as_str()], "{"),
        (vec![bob.as_str()], r#"{"sql": 1}"#),
        (
            vec![bob.as_str(), "Accept: image/png"],
            r#"{"sql": "SELECT 1"}"#,
        ),
        (
            vec![bob.as_str(), "Host: elsewhere"],
            r#"{"sql": "SELECT 1"}"#,
        ),
        (vec![], r#"{"sql": "SELECT 1"}"#),
    ] {
        let answer = gate.send(&headers, body).await;
        let problem = answer.body.as_object().unwrap();
        assert!(
            statuses.get(answer.status.to_string()).is_some(),
            "{answer:?}"
        );
        for name in problem.keys() {
            assert!(known.get(name).is_some(), "{name}: {answer:?}");
        }
    }
}

/// Every check, over examples, edge cases and random bodies, good and bad.
async fn schemathesis(gate: &Gate, headers: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = root.join("target/schemathesis");
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new("python3");
    command
        .arg(installed.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(root.join("tests/http/schemathesis.toml"))
        .args(["run", &gate.url("/v1/openapi.json")])
        .args(["--checks", "all", "--max-examples", "40", "--seed", "1"])
        .args(["--request-timeout", "20", "--continue-on-failure"]);
    for header in headers {
        command.args(["--header", header]);
    }
    command
        .env("PYTHONPATH", &installed)
        .env("NO_PROXY", "*")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(RUN_MAX, command.output()).await;
    let output = output
        .expect("schemathesis took too long")
        .unwrap_or_else(|error| panic!("python3: {error}; `.ci/setup tests` installs it"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success(),
        "{text}\nIf it is missing: `.ci/setup tests` installs it."
    );
    assert!(text.contains("Tested: 5"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let gate = gate("schemathesis", |_| {}).await;
    let key = format!("X-API-Key: {KEY}");
    schemathesis(&gate, &[&key, "X-User-Id: bob"]).await;
    schemathesis(
        &gate,
        &[&bearer("anne"), "Accept: application/x-ndjson, */*;q=0.5"],
    )
    .await;
}
