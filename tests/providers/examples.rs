//! The examples of remote providers do what their READMEs show.

use crate::worlds::redis_server::free_port;
use std::process::{Command, Stdio};

/// Runs an example on free ports; what it prints has to stand in its README.
fn shows_what_its_readme_says(name: &str, service_port: &str) {
    let folder = format!("{}/examples/providers/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(format!("{folder}/run.sh"))
        .env("ROWGATE", env!("CARGO_BIN_EXE_rowgate"))
        .env("PORT", free_port().to_string())
        .env(service_port, free_port().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}\n{errors}");
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).unwrap();
    assert_eq!(printed, shown.split("```").next().unwrap(), "{errors}");
}

#[test]
fn redis_shows_what_its_readme_says() {
    shows_what_its_readme_says("redis", "REDIS_PORT");
}

#[test]
fn http_shows_what_its_readme_says() {
    shows_what_its_readme_says("http", "SERVICE_PORT");
}
