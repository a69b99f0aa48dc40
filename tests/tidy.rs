//! The rules of this repository, as tests: who may use whom (the tables in ARCHITECTURE.md), sizes, headers,
//! and words that must not be there. Pure: reads files, needs no PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "a test fails by panicking, and nobody links against it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files longer than the limit; the number may only shrink.
const LONG_FILES: &[(&str, usize)] = &[("src/sql/scan.rs", 520), ("src/sql/statement.rs", 659)];

/// Functions longer than the limit, `file:name`; the number may only shrink.
const LONG_FUNCTIONS: &[(&str, usize)] = &[
    // One arm for each variant of a syntax tree: long because the grammar is.
    ("src/sql/rewrite/expr.rs:expr", 290),
    ("src/sql/rewrite/select.rs:select", 103),
    ("src/sql/rewrite/table.rs:table_factor", 160),
    ("src/sql/rewrite/types.rs:data_type", 137),
    ("src/sql/verify/json.rs:json", 100),
    ("src/sql/rewrite/operator.rs:binary_operator", 78),
    // To be parted.
    ("src/policy/body/render.rs:render_function", 75),
    (
        "src/sql/statement.rs:what_clients_send_on_their_own_is_told_apart",
        105,
    ),
    ("tests/oracle/main.rs:compare", 80),
    (
        "tests/policy/attack.rs:odd_names_are_installed_and_read",
        76,
    ),
];

#[test]
fn modules_use_only_what_the_table_in_architecture_md_allows() {
    let table = table("| module | may use |");
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let Some(allowed) = table.get(&module) else {
            broken.push(format!("{path}: module `{module}` is not in the table"));
            continue;
        };
        if allowed.contains("everything") {
            continue;
        }
        for (number, line) in code_lines(&text) {
            for used in words_after(line, "crate::") {
                if used != module && !allowed.contains(used) && is_module(used) {
                    broken.push(format!("{path}:{number}: `{module}` must not use `{used}`"));
                }
            }
        }
    }
    report(broken);
}

#[test]
fn crates_are_named_only_behind_their_walls() {
    let table = table("| crate | named only in |");
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let place = path.trim_start_matches("src/");
        for (number, line) in code_lines(&text) {
            for (name, places) in &table {
                let named = mentions(line, name);
                if named
                    && !places
                        .iter()
                        .any(|allowed| place.starts_with(allowed.as_str()))
                {
                    broken.push(format!("{path}:{number}: `{name}` may not be named here"));
                }
            }
        }
    }
    report(broken);
}

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().chain(tests()) {
        let lines = text.lines().count();
        check_size(&mut broken, LONG_FILES, &path, lines, FILE_LINES_MAX);
        for (name, lines) in functions(&text) {
            let name = format!("{path}:{name}");
            check_size(
                &mut broken,
                LONG_FUNCTIONS,
                &name,
                lines,
                FUNCTION_LINES_MAX,
            );
        }
    }
    report(broken);
}

#[test]
fn every_module_says_what_it_is_for() {
    let without = |(path, text): (String, String)| {
        let first = text.lines().next().unwrap_or_default();
        let says = first.starts_with("//! ") && !first.contains("to be written");
        (!says).then(|| format!("{path}: the first line is not a `//!` header"))
    };
    report(
        sources()
            .into_iter()
            .chain(tests())
            .filter_map(without)
            .collect(),
    );
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // Put together here, so that this file passes its own test.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["#[ign", "ore"].concat(),
        ["#[should", "_panic"].concat(),
        ["visit_", "relations"].concat(),
    ];
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().chain(tests()) {
        for (number, line) in text.lines().enumerate() {
            for word in &words {
                if line.contains(word.as_str()) {
                    broken.push(format!("{path}:{}: `{word}`", number + 1));
                }
            }
        }
    }
    report(broken);
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine_or_holds_half_a_merge() {
    let words = [
        ["/ro", "ot/"].concat(),
        ["/ho", "me/"].concat(),
        ["/wo", "rk/"].concat(),
        // Nor the marks of a merge that was not finished.
        ["<<<<", "<<< "].concat(),
        [">>>>", ">>> "].concat(),
    ];
    let mut broken = Vec::new();
    for path in walk(Path::new("."), &|_| true) {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                broken.push(format!(
                    "{}:{}: {}",
                    path.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    report(broken);
}

#[test]
fn the_documents_name_only_files_that_exist() {
    let mut broken = Vec::new();
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
    ] {
        let text = read(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let looks_like_a_path = ["src/", "tests/", "fixtures/", "examples/", ".ci/"]
                .iter()
                .any(|start| quoted.starts_with(start))
                && !quoted.contains([' ', '*', '<']);
            if looks_like_a_path && !Path::new(quoted).exists() {
                broken.push(format!("{document}: `{quoted}` does not exist"));
            }
        }
    }
    report(broken);
}

#[test]
fn security_md_names_only_tests_that_exist() {
    let all: String = ["src", "tests"]
        .into_iter()
        .flat_map(rust_files)
        .map(|(_, text)| text)
        .collect();
    let text = read("SECURITY.md");
    let missing = text
        .split("test `")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
        .filter(|name| !all.contains(&format!("fn {name}(")))
        .map(|name| format!("SECURITY.md: there is no test `{name}`"));
    report(missing.collect());
}

// ---- the rules' tools ----

/// A two-column table of ARCHITECTURE.md: first column's names -> second column's names.
fn table(head: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = read("ARCHITECTURE.md");
    let rows: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with(head))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no table `{head}`");
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split([' ', ',', '`'])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut table = BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').skip(1);
        let left = names(cells.next().unwrap_or_default());
        let right = names(cells.next().unwrap_or_default());
        for name in left {
            table.insert(name, right.clone());
        }
    }
    table
}

fn module_of(path: &str) -> String {
    let inner = path.trim_start_matches("src/");
    let first = inner.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

fn is_module(name: &str) -> bool {
    Path::new(&format!("src/{name}.rs")).exists() || Path::new(&format!("src/{name}")).is_dir()
}

/// Lines of code with their numbers: no comments, and nothing of the unit tests at the file's end.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line))
}

fn words_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(prefix)
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
        })
        .filter(|word| !word.is_empty())
}

/// `name::` as a whole path, such as `sqlparser::` or `std::env::`.
fn mentions(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// Functions and their lengths. rustfmt puts the closing brace under the `fn`, so indentation tells.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(name) = function_name(trimmed) else {
            continue;
        };
        let signature_ends = lines
            .iter()
            .skip(start)
            .find(|line| line.ends_with(['{', ';', '}']));
        if !signature_ends.is_some_and(|line| line.ends_with('{')) {
            continue;
        }
        let close = format!("{}}}", " ".repeat(line.len() - trimmed.len()));
        let length = lines.iter().skip(start).position(|line| **line == close);
        found.push((name.to_owned(), length.map_or(1, |length| length + 1)));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let head = line.split("fn ").next()?;
    let only_qualifiers = head.split_whitespace().all(|word| {
        matches!(
            word,
            "pub" | "async" | "const" | "pub(crate)" | "pub(super)"
        )
    });
    let rest = line.split_once("fn ")?.1;
    only_qualifiers
        .then(|| rest.split(['(', '<']).next())
        .flatten()
}

fn check_size(
    broken: &mut Vec<String>,
    exceptions: &[(&str, usize)],
    name: &str,
    lines: usize,
    normal: usize,
) {
    let exception = exceptions.iter().find(|(known, _)| *known == name);
    let allowed = exception.map_or(normal, |(_, lines)| *lines);
    if lines > allowed {
        broken.push(format!("{name}: {lines} lines, allowed are {allowed}"));
    }
    if exception.is_some() && lines <= normal {
        broken.push(format!(
            "{name}: is short now; take it off the list of exceptions"
        ));
    }
}

/// The program's own files; unit tests in a file of their own (`tests.rs`) are not among them.
fn sources() -> Vec<(String, String)> {
    let mut files = rust_files("src");
    files.retain(|(path, _)| !path.ends_with("/tests.rs"));
    files
}

fn tests() -> Vec<(String, String)> {
    rust_files("tests")
}

fn rust_files(folder: &str) -> Vec<(String, String)> {
    let is_rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let files: Vec<_> = walk(Path::new(folder), &is_rust)
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text)
        })
        .collect();
    assert!(!files.is_empty(), "{folder} holds no Rust files");
    files
}

fn walk(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let skipped = ["target", ".git", "corpus", "artifacts"];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if skipped.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            found.extend(walk(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
