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

/// Every `$ command` of the console blocks, and the lines under it.
fn console() -> Vec<(String, String)> {
    let text = readme();
    let blocks = text.split("```console\n").skip(1);
    let mut seen: Vec<(String, String)> = Vec::new();
    for line in blocks.flat_map(|block| block.split("```").next().unwrap().lines()) {
        match (line.strip_prefix("$ "), seen.last_mut()) {
            (Some(command), _) => seen.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => output.push_str(&format!("{line}\n")),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    seen
}

#[test]
fn the_readmes_commands_print_what_it_shows() {
    let temporary = Temporary::new();
    let demo = crate::process::Demo::start(&temporary, &[]);
    let commands = console();
    assert!(commands.len() >= 4, "{commands:?}");
    for (command, expected) in commands {
        let here = command.replace("-p 6432", &format!("-p {}", demo.port()));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{here} 2>&1")])
            .env("LC_ALL", "C");
        let output = shell.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{command}"
        );
    }
}
