//! The four levels of AI permissions: they say what roles carry; who holds a role is a file's word beside them.

use super::file::FileSource;
use super::{Doing, Facts, Harm, Kind, Source};
use rowgate::config::{AiPermissionFiles, ProviderKind};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

pub struct LadderSource {
    people: FileSource,
    folder: tempfile::TempDir,
    told: Mutex<Facts>,
}

impl LadderSource {
    pub fn new() -> Self {
        let source = Self {
            people: FileSource::new(Kind::FileJson),
            folder: tempfile::tempdir().unwrap(),
            told: Mutex::default(),
        };
        source.write(&Facts::default());
        source
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, self.path(name)).unwrap();
    }

    /// Each role is a category of one action, which needs what the role carries.
    fn write(&self, facts: &Facts) {
        let permissions: std::collections::BTreeSet<&String> =
            facts.roles.values().flatten().collect();
        let permissions: Vec<Value> = permissions.iter().map(|api| json!({"api": api})).collect();
        let actions: Vec<Value> = facts
            .roles
            .iter()
            .map(|(role, permissions)| json!({"name": format!("as {role}"), "permissions": permissions}))
            .collect();
        let categories: Vec<Value> = facts
            .roles
            .keys()
            .map(|role| json!({"name": role, "actions": [format!("as {role}")]}))
            .collect();
        // From below: no file ever refers to what is not there yet.
        self.put("permissions.json", &Value::from(permissions).to_string());
        self.put("actions.json", &Value::from(actions).to_string());
        self.put("category.json", &Value::from(categories).to_string());
    }
}

impl Source for LadderSource {
    fn settings(&self) -> ProviderKind {
        ProviderKind::AiPermissions(AiPermissionFiles {
            permissions: self.path("permissions.json"),
            actions: self.path("actions.json"),
            categories: self.path("category.json"),
            roles: None,
            stale_max: Duration::ZERO,
        })
    }

    fn beside(&self) -> Option<ProviderKind> {
        Some(self.people.settings())
    }

    fn gives_roles(&self) -> bool {
        false
    }

    fn tell<'a>(&'a self, facts: &'a Facts) -> Doing<'a> {
        Box::pin(async move {
            *self.told.lock().unwrap() = facts.clone();
            self.write(facts);
            let mut people = facts.clone();
            people.roles.clear();
            self.people.tell(&people).await;
        })
    }

    fn harm(&self, harm: Harm) -> Doing<'_> {
        Box::pin(async move {
            let mut facts = Facts::default();
            let mut carries = |items: Vec<String>| {
                facts.roles.insert("HR Manager".to_owned(), items);
                self.write(&facts);
            };
            match harm {
                Harm::Outage => std::fs::remove_file(self.path("actions.json")).unwrap(),
                Harm::Garbage => self.put("category.json", "[{\"name\": \"HR Manager\", "),
                Harm::Oversize => carries(vec!["x".repeat(2_000)]),
                Harm::Flood => carries((0..10_001).map(|n| format!("p{n}")).collect()),
                // It answers from memory; what could be slow is reading it, so: endless.
                Harm::Slow => {
                    let endless = std::fs::File::create(self.path("permissions.json")).unwrap();
                    endless.set_len(65 * 1024 * 1024).unwrap();
                }
            }
        })
    }

    fn heal(&self, _harm: Harm) -> Doing<'_> {
        Box::pin(async move { self.write(&self.told.lock().unwrap().clone()) })
    }

    fn says(&self, harm: Harm) -> &'static str {
        match harm {
            Harm::Outage => "No such file",
            Harm::Garbage => "category.json: EOF",
            Harm::Oversize => "longer than 1024 bytes",
            Harm::Flood => "more than 10000 entries",
            Harm::Slow => "too large",
        }
    }
}
