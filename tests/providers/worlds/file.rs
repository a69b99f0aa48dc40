//! Files: JSON, TOML and YAML.

use super::{Doing, Facts, Harm, Kind, STALE_MAX, Source};
use rowgate::config::ProviderKind;
use std::path::PathBuf;
use std::time::Duration;

pub struct FileSource {
    kind: Kind,
    path: PathBuf,
    aside: PathBuf,
    _folder: tempfile::TempDir,
}

impl FileSource {
    pub fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = match kind {
            Kind::FileToml => "facts.toml",
            Kind::FileYaml => "facts.yaml",
            _ => "facts.json",
        };
        let path = folder.path().join(name);
        std::fs::write(&path, written(kind, &Facts::default())).unwrap();
        Self {
            kind,
            path,
            aside: folder.path().join("aside"),
            _folder: folder,
        }
    }

    /// As its owner should: another file takes its place.
    fn write(&self, text: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }
}

impl Source for FileSource {
    fn settings(&self) -> ProviderKind {
        ProviderKind::File {
            path: self.path.clone(),
            stale_max: if self.kind == Kind::FileLenient {
                STALE_MAX
            } else {
                Duration::ZERO
            },
        }
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(async move { self.write(&written(self.kind, facts)) })
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            std::fs::copy(&self.path, &self.aside).unwrap();
            let bad = |roles: &[String]| written(self.kind, &Facts::bob_and_nobody_have(roles));
            match harm {
                Harm::Outage => std::fs::remove_file(&self.path).unwrap(),
                Harm::Garbage => self.write("{\"users\": {\"bob\": [\"a\"], "),
                Harm::Oversize => self.write(&bad(&["x".repeat(2_000)])),
                Harm::Flood => {
                    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
                    self.write(&bad(&many));
                }
                // A file answers from memory; what could be slow is reading it, so: endless.
                Harm::Slow => {
                    let endless = std::fs::File::create(&self.path).unwrap();
                    endless.set_len(65 * 1024 * 1024).unwrap();
                }
            }
        })
    }

    fn heal(&self, _harm: Harm) -> Doing<'_> {
        Box::pin(async move { std::fs::rename(&self.aside, &self.path).unwrap() })
    }

    fn says(&self, harm: Harm) -> &'static str {
        match harm {
            Harm::Outage => "No such file",
            Harm::Garbage => "cannot be understood",
            Harm::Oversize | Harm::Flood | Harm::Slow => "too large",
        }
    }
}

fn written(kind: Kind, facts: &Facts) -> String {
    match kind {
        Kind::FileToml => toml::to_string(facts).unwrap(),
        Kind::FileYaml => yaml(facts),
        _ => serde_json::to_string(facts).unwrap(),
    }
}

/// Block style, as people write it; names in JSON's quotes, which are YAML's too.
fn yaml(facts: &Facts) -> String {
    use std::fmt::Write;
    let quoted = |text: &String| serde_json::to_string(text).unwrap();
    let mut text = format!("# who has what\nsuperusers: {:?}\n", facts.superusers);
    for (section, lists) in [
        ("user_roles", &facts.user_roles),
        ("users", &facts.users),
        ("roles", &facts.roles),
        ("denied_roles", &facts.denied_roles),
    ] {
        writeln!(
            text,
            "{section}: {}",
            if lists.is_empty() { "{}" } else { "" }
        )
        .unwrap();
        for (name, items) in lists {
            writeln!(
                text,
                "  {}:{}",
                quoted(name),
                if items.is_empty() { " []" } else { "" }
            )
            .unwrap();
            for item in items {
                writeln!(text, "    - {}", quoted(item)).unwrap();
            }
        }
    }
    writeln!(
        text,
        "attributes: {}",
        serde_json::to_string(&facts.attributes).unwrap()
    )
    .unwrap();
    text
}
