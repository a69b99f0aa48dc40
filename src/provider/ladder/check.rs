//! Reads the four levels and finds everything wrong with them: duplicates, references to nothing, circles.

use super::{Action, Category, Ladder, LadderFiles, Permission, Role};
use crate::provider::answer::ITEM_BYTES_MAX;
use crate::provider::file::read as read_file;
use crate::provider::names::fold;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Most entries of a level.
const ENTRIES_MAX: usize = 10_000;
/// Most references of a level.
const REFERENCES_MAX: usize = 100_000;
/// Most problems told; more do not help anybody.
const PROBLEMS_MAX: usize = 50;

/// One thing wrong in the files of the four levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LadderProblem {
    /// The file.
    pub file: PathBuf,
    /// Where in it, such as `[3] "Use Loan Analysis Tool".permissions[1]`; empty: the file as a whole.
    pub key: String,
    /// What is wrong.
    pub says: String,
}

impl fmt::Display for LadderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.says),
            key => write!(f, "{}: {key}: {}", self.file.display(), self.says),
        }
    }
}

/// The levels, from what others are made of to what is made of others.
const LEVELS: [&str; 4] = ["permission", "action", "category", "role"];

/// One level as read: its file, and each entry's name with what it refers to.
struct Level<'a> {
    file: &'a Path,
    /// The key of the references, such as `permissions`.
    key: &'static str,
    entries: Vec<(String, Vec<String>)>,
}

/// The names of a level, and what each refers to.
type Names<'a> = BTreeMap<&'a str, &'a [String]>;

/// Reads and checks all levels.
pub(super) fn read(files: &LadderFiles) -> Result<Ladder, Vec<LadderProblem>> {
    let mut problems = Vec::new();
    let found = &mut problems;
    let levels = [
        level(found, &files.permissions, "", |p: Permission| {
            (p.api, Vec::new())
        }),
        level(found, &files.actions, "permissions", |a: Action| {
            (a.name, a.permissions)
        }),
        level(found, &files.categories, "actions", |c: Category| {
            (c.name, c.actions)
        }),
        match &files.roles {
            Some(file) => level(found, file, "categories", |r: Role| (r.name, r.categories)),
            None => Level {
                file: Path::new(""),
                key: "categories",
                entries: Vec::new(),
            },
        },
    ];
    // A level that could not be read would make every reference to it a problem.
    if problems.is_empty() {
        names(&mut problems, &levels);
        references(&mut problems, &levels);
    }
    problems.truncate(PROBLEMS_MAX);
    if !problems.is_empty() {
        return Err(problems);
    }
    let [permissions, ..] = &levels;
    let permissions = permissions.entries.iter().map(|(name, _)| name.clone());
    let permissions = permissions.collect();
    let [_, actions, categories, roles] = levels.map(|level| {
        let entries = level.entries.into_iter();
        entries
            .map(|(name, refers)| (name, refers.into_iter().collect()))
            .collect()
    });
    Ok(Ladder {
        permissions,
        actions,
        categories,
        roles,
    })
}

fn level<'a, T: DeserializeOwned>(
    problems: &mut Vec<LadderProblem>,
    file: &'a Path,
    key: &'static str,
    entry: impl Fn(T) -> (String, Vec<String>),
) -> Level<'a> {
    let mut whole = |says: String| {
        problems.push(LadderProblem {
            file: file.to_owned(),
            key: String::new(),
            says,
        });
    };
    let entries: Vec<(String, Vec<String>)> = match read_file::<Vec<T>>(file) {
        Ok(entries) => entries.into_iter().map(entry).collect(),
        Err(error) => {
            whole(error.to_string());
            Vec::new()
        }
    };
    let references: usize = entries.iter().map(|(_, refers)| refers.len()).sum();
    if entries.len() > ENTRIES_MAX || references > REFERENCES_MAX {
        whole(format!(
            "{}: more than {ENTRIES_MAX} entries, or {REFERENCES_MAX} references",
            file.display()
        ));
    }
    Level { file, key, entries }
}

/// Names that cannot be one, and names that stand twice, also where nobody could tell them apart.
fn names(problems: &mut Vec<LadderProblem>, levels: &[Level<'_>; 4]) {
    for (level, kind) in levels.iter().zip(LEVELS) {
        let mut seen: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        for (index, (name, _)) in level.entries.iter().enumerate() {
            let mut problem = |says: String| {
                problems.push(LadderProblem {
                    file: level.file.to_owned(),
                    key: key(index, name),
                    says,
                });
            };
            if let Some(why) = unfit(kind, name) {
                problem(why.to_owned());
            }
            match seen.get(fold(name).as_ref()) {
                Some((first, same)) if same == name => {
                    problem(format!("this {kind} stands twice, first as [{first}]"));
                }
                Some((first, like)) => problem(format!(
                    "looks like \"{}\" of [{first}], and is another {kind}",
                    like.escape_debug()
                )),
                None => {
                    seen.insert(fold(name).into_owned(), (index, name));
                }
            }
        }
    }
    let [_, _, categories, roles] = levels;
    let known: BTreeSet<_> = categories
        .entries
        .iter()
        .map(|(name, _)| fold(name))
        .collect();
    for (index, (name, _)) in roles.entries.iter().enumerate() {
        if known.contains(&fold(name)) {
            problems.push(LadderProblem {
                file: roles.file.to_owned(),
                key: key(index, name),
                says: "is also a category's name, and a category can be held as a role".to_owned(),
            });
        }
    }
}

fn unfit(kind: &str, name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > ITEM_BYTES_MAX {
        Some("is longer than 1024 bytes")
    } else if name.trim() != name || name.chars().any(char::is_control) {
        Some("holds control characters, or white space at an end")
    } else if kind == "permission" && name.contains('*') {
        Some("holds a *: a permission is one thing, a wildcard is given to somebody")
    } else {
        None
    }
}

/// References to nothing, to the wrong level, in a circle, or twice.
fn references(problems: &mut Vec<LadderProblem>, levels: &[Level<'_>; 4]) {
    let names: Vec<Names<'_>> = levels
        .iter()
        .map(|level| {
            let entries = level.entries.iter();
            entries
                .map(|(name, refers)| (name.as_str(), refers.as_slice()))
                .collect()
        })
        .collect();
    for (upper, level) in levels.iter().enumerate().skip(1) {
        let (Some(wanted), Some(kind)) = (names.get(upper - 1), LEVELS.get(upper - 1)) else {
            continue;
        };
        for (index, (name, refers)) in level.entries.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for (place, to) in refers.iter().enumerate() {
                let says = if !seen.insert(to) {
                    format!("\"{to}\" stands twice")
                } else if wanted.contains_key(to.as_str()) {
                    continue;
                } else {
                    stray(&names, (upper, name), to, kind)
                };
                problems.push(LadderProblem {
                    file: level.file.to_owned(),
                    key: format!("{}.{}[{place}]", key(index, name), level.key),
                    says,
                });
                if problems.len() > PROBLEMS_MAX {
                    return;
                }
            }
        }
    }
}

/// What is wrong with a reference that does not meet the level below.
fn stray<'a>(names: &[Names<'a>], from: (usize, &str), to: &'a str, kind: &str) -> String {
    let is = names.iter().zip(LEVELS).zip(0..);
    let mut is = is.filter(|((names, _), _)| names.contains_key(to));
    if let Some(((_, other), found)) = is.next() {
        return match way(names, (found, to), from) {
            Some(way) => format!("goes in a circle: {} -> {}", from.1, way.join(" -> ")),
            None => format!("\"{to}\" is {}, not {}", article(other), article(kind)),
        };
    }
    let known = names.get(from.0 - 1).into_iter().flat_map(Names::keys);
    let near = known
        .map(|known| (strsim::osa_distance(known, to), *known))
        .min()
        .filter(|(distance, _)| *distance <= (to.chars().count() / 3).max(1));
    match near {
        Some((_, near)) => format!("\"{to}\" is no {kind}; did you mean \"{near}\"?"),
        None => format!("\"{to}\" is no {kind}"),
    }
}

/// The way from one entry to another over references, whichever level each of them meets.
fn way<'a>(names: &[Names<'a>], from: (usize, &'a str), to: (usize, &str)) -> Option<Vec<&'a str>> {
    type At<'a> = (usize, &'a str);
    let mut before: BTreeMap<At<'a>, Option<At<'a>>> = BTreeMap::from([(from, None)]);
    let mut waiting = vec![from];
    while let Some(at) = waiting.pop() {
        if at == to {
            let mut way = vec![at.1];
            let mut step = before.get(&at).copied().flatten();
            while let Some(earlier) = step {
                way.push(earlier.1);
                step = before.get(&earlier).copied().flatten();
            }
            way.reverse();
            return Some(way);
        }
        let refers = names.get(at.0).and_then(|names| names.get(at.1));
        for name in refers.into_iter().copied().flatten() {
            for (level, known) in names.iter().enumerate() {
                let next = (level, name.as_str());
                if known.contains_key(name.as_str()) && !before.contains_key(&next) {
                    before.insert(next, Some(at));
                    waiting.push(next);
                }
            }
        }
    }
    None
}

fn article(kind: &str) -> &'static str {
    match kind {
        "permission" => "a permission",
        "action" => "an action",
        "category" => "a category",
        _ => "a role",
    }
}

fn key(index: usize, name: &str) -> String {
    format!("[{index}] \"{}\"", name.escape_debug())
}
