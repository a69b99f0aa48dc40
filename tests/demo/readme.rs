//! What the README shows is what happens.

use crate::process::Temporary;
use crate::support;
use rowgate::demo::{DATA, SCHEMA};
use secrecy::ExposeSecret;
use std::path::Path;
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

/// The program with the README's environment: how it ended, and all that it said.
fn run_in(folder: &Path, admin_password: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowgate"));
    command.args(arguments).current_dir(folder);
    for name in ["ROWGATE_PASSWORD", "READER_PASSWORD", "BOB_PASSWORD"] {
        command.env(name, "secret");
    }
    command.env("ADMIN_PASSWORD", admin_password);
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    (ran.status.code(), said)
}

/// The configuration, the view and the commands of "Your own database", for a database of one's own.
#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_own_database_is_mended_step_by_step() {
    let cluster = support::start();
    let server = cluster.connect("postgres").await.unwrap();
    server.batch_execute("CREATE DATABASE shop").await.unwrap();
    let shop = cluster.connect("shop").await.unwrap();
    shop.batch_execute(SCHEMA).await.unwrap();
    shop.batch_execute(DATA).await.unwrap();
    let temporary = Temporary::new();
    let port = format!("[upstream]\nport = {}\n", cluster.port());
    let toml = block("toml").replace("[upstream]\n", &port);
    std::fs::write(temporary.path().join("rowgate.toml"), toml).unwrap();
    let views = temporary.path().join("views");
    std::fs::create_dir(&views).unwrap();
    std::fs::write(views.join("invoices.sql"), block("sql")).unwrap();
    let password = cluster.password().expose_secret();
    let rowgate = |arguments: &[&str]| run_in(temporary.path(), password, arguments);

    // Before anything is done: what is missing, and what makes it.
    let (code, said) = rowgate(&["check"]);
    assert_eq!(code, Some(1), "{said}");
    for expected in [
        "invoices.sql is not installed",
        "as rowgate: password authentication failed",
        "fix: rowgate apply",
        "provider \"sql\" does not work",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (code, said) = rowgate(&["plan"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = rowgate(&["apply"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = rowgate(&["check"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("provider \"sql\" does not work"), "{said}");
    assert!(!said.contains("rowgate apply"), "{said}");

    let reader = readme().split("```sql\n").nth(2).unwrap().to_owned();
    let reader = reader
        .split("```")
        .next()
        .unwrap()
        .replace("'...'", "'secret'");
    shop.batch_execute(&reader).await.unwrap();
    // The one warning that is left says itself what mends it.
    let (_, said) = rowgate(&["check"]);
    let fix = said.split("fix: ").nth(1).unwrap().lines().next().unwrap();
    shop.batch_execute(fix).await.unwrap();
    let (code, said) = rowgate(&["check"]);
    assert_eq!(code, Some(0), "{said}");

    let sum = "SELECT sum(amount) FROM invoices";
    for (arguments, expected) in [
        (
            &["explain", "--user", "bob", sum][..],
            "decision     allowed",
        ),
        (&["describe", "--user", "bob"][..], "Table invoices"),
        (&["whoami", "--user", "bob"][..], "HR Manager"),
    ] {
        let (code, said) = rowgate(arguments);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
