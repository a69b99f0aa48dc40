//! `examples/providers/jwt` and `sql` do what their READMEs show.

use std::net::TcpListener;
use std::process::Command;

fn run(example: &str) {
    let folder = format!("examples/providers/{example}");
    // Free a moment ago; the gate takes it again.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let output = Command::new(format!("{folder}/run.sh"))
        .env("ROWGATE", env!("CARGO_BIN_EXE_rowgate"))
        .env("PORT", port.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap().trim();
    assert!(
        output.status.success() && said.contains(shown),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn roles_from_the_token() {
    run("jwt");
}

#[test]
fn roles_from_tables() {
    run("sql");
}
