//! What the README shows is what happens.

use crate::process::Temporary;
use std::process::Command;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The first fenced block of a language.
fn block(language: &str) -> String {
    let text = readme();
    let after = text.split(&format!("```{language}\n")).nth(1).unwrap();
    after.split("```").next().unwrap().to_owned()
}

#[test]
fn the_configuration_in_the_readme_is_accepted() {
    let temporary = Temporary::new();
    let file = temporary.path().join("rowgate.toml");
    // Nobody listens there, so `check` gets as far as the database and no further.
    let toml = block("toml").replace("[upstream]\n", "[upstream]\nport = 1\n");
    std::fs::write(&file, toml).unwrap();
    let views = temporary.path().join("views");
    std::fs::create_dir(&views).unwrap();
    std::fs::write(views.join("invoices.sql"), block("sql")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowgate"));
    command.args(["check", "--config"]).arg(&file);
    for name in [
        "ROWGATE_PASSWORD",
        "ADMIN_PASSWORD",
        "READER_PASSWORD",
        "BOB_PASSWORD",
    ] {
        command.env(name, "secret");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("configuration: ok"), "{said}");
    assert!(said.contains("view files: ok (1)"), "{said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
}

#[test]
fn the_view_in_the_readme_is_the_one_in_views() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/views/invoices.sql");
    assert_eq!(block("sql"), std::fs::read_to_string(file).unwrap());
}

#[test]
fn the_two_commands_of_the_readme_exist_and_can_be_executed() {
    use std::os::unix::fs::PermissionsExt;
    let text = readme();
    for script in ["./examples/demo.sh", "./tests/run.sh"] {
        assert!(text.contains(script));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
    }
}
