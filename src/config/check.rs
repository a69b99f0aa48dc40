//! From a TOML table to typed sections, collecting every problem instead of stopping at the first.

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use strsim::osa_distance;
use toml::{Table, Value};

/// Longest secret read from a file, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `logins.bob.password`.
    pub key: String,
    /// What is wrong; never the value of a secret.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The problems found so far, and what relative paths are relative to.
pub(super) struct Check {
    pub(super) folder: PathBuf,
    pub(super) problems: Vec<Problem>,
    /// Worth a word in the log, but no reason not to start.
    pub(super) warnings: Vec<String>,
}

impl Check {
    pub(super) fn new(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Self {
            folder,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn problem(
        &mut self,
        key: impl Into<String>,
        message: impl Into<String>,
        hint: &str,
    ) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.problems.push(Problem {
            key: key.into(),
            message: message.into(),
            hint,
        });
    }

    /// Reads a section key by key, so that each wrong one is reported; the rest of it still counts.
    pub(super) fn section<T: DeserializeOwned + Default>(&mut self, path: &str, table: Table) -> T {
        self.section_beside(path, table, &[])
    }

    /// As [`Check::section`]; the section has these keys, too, which were taken out of it before.
    pub(super) fn section_beside<T: DeserializeOwned + Default>(
        &mut self,
        path: &str,
        table: Table,
        taken: &[&str],
    ) -> T {
        let mut good = Table::new();
        for (key, value) in table {
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            match alone.try_into::<T>() {
                Ok(_) => {
                    good.insert(key, value);
                }
                Err(error) => {
                    let full = join(path, &key);
                    self.key_problem(&full, &key, &value, (error.message(), taken));
                }
            }
        }
        good.try_into().unwrap_or_default()
    }

    fn key_problem(
        &mut self,
        full: &str,
        key: &str,
        value: &Value,
        (says, taken): (&str, &[&str]),
    ) {
        match says.strip_prefix("unknown field ") {
            Some(rest) => {
                let known = rest.split('`').skip(3).step_by(2);
                let known: Vec<&str> = known.chain(taken.iter().copied()).collect();
                self.unknown(full, key, &known);
            }
            // The library's own words may repeat the value, and the value may be a secret.
            None => {
                let says = format!(
                    "has the wrong type ({}) or is out of range",
                    value.type_str()
                );
                self.problem(
                    full,
                    says,
                    "See rowgate.toml in the repository for each key's form.",
                );
            }
        }
    }

    pub(super) fn unknown(&mut self, full: &str, key: &str, known: &[&str]) {
        let hint = match nearest(key, known) {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => format!("Known here: {}.", known.join(", ")),
        };
        self.problem(full, "is not a key of this configuration", &hint);
    }

    /// A sub-table, taken out of its parent.
    pub(super) fn table(&mut self, parent: &mut Table, path: &str, key: &str) -> Option<Table> {
        match parent.remove(key) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(_) => {
                let full = join(path, key);
                let hint = format!("Write [{full}] and its keys below it.");
                self.problem(full, "has to be a section", &hint);
                None
            }
        }
    }

    /// A list of sub-tables, taken out of its parent.
    pub(super) fn tables(&mut self, parent: &mut Table, path: &str, key: &str) -> Vec<Table> {
        let full = join(path, key);
        let hint = format!("Write [[{full}]] and the entry's keys below it.");
        let Some(value) = parent.remove(key) else {
            return Vec::new();
        };
        let Value::Array(entries) = value else {
            self.problem(full, "has to be a list of sections", &hint);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            match entry {
                Value::Table(table) => tables.push(table),
                _ => self.problem(format!("{full}[{index}]"), "has to be a section", &hint),
            }
        }
        tables
    }

    pub(super) fn required<T>(
        &mut self,
        key: impl Into<String>,
        value: Option<T>,
        hint: &str,
    ) -> Option<T> {
        if value.is_none() {
            self.problem(key, "is missing", hint);
        }
        value
    }

    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// A file that has to be there.
    pub(super) fn file(&mut self, key: &str, text: &str) -> PathBuf {
        let path = self.path(text);
        if let Err(error) = std::fs::File::open(&path) {
            self.problem(
                key,
                format!("cannot read {}: {error}", path.display()),
                RELATIVE,
            );
        }
        path
    }

    /// An address to fetch from: https, or http on this machine; without a password in it, which would end
    /// up in logs.
    pub(super) fn url(&mut self, key: &str, text: &str) -> Option<String> {
        let hint = "Write it as https://id.example.com/path; http:// only for 127.0.0.1, [::1] and localhost.";
        let Ok(url) = url::Url::parse(text) else {
            self.problem(key, "is not an address", hint);
            return None;
        };
        let near = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let wrong = match url.scheme() {
            "https" if url.host().is_some() => None,
            "http" if near => None,
            "http" => Some("would be fetched in clear"),
            _ => Some("is not an https address"),
        };
        if let Some(says) = wrong {
            self.problem(key, says, hint);
            return None;
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.problem(key, "has a user name or password in it", hint);
            return None;
        }
        Some(url.into())
    }

    /// A secret by value, `env:NAME` or `file:PATH`.
    pub(super) fn secret(
        &mut self,
        key: &str,
        value: Option<SecretString>,
    ) -> Option<SecretString> {
        let value = value?;
        let text = value.expose_secret();
        if let Some(name) = text.strip_prefix("env:") {
            return match std::env::var(name) {
                Ok(value) if !value.is_empty() => Some(value.into()),
                _ => {
                    let says = format!("the environment variable {name} is not set, or empty");
                    self.problem(key, says, "Set it for the process that runs rowgate.");
                    None
                }
            };
        }
        if let Some(file) = text.strip_prefix("file:") {
            let path = self.path(file);
            return match read_secret(&path) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.problem(
                        key,
                        format!("cannot read {}: {error}", path.display()),
                        RELATIVE,
                    );
                    None
                }
            };
        }
        if text.is_empty() {
            self.problem(
                key,
                "is empty",
                "Give a value, env:NAME or file:PATH, or leave the key out.",
            );
            return None;
        }
        Some(value)
    }

    /// A number within bounds.
    pub(super) fn within<T>(&mut self, key: &str, value: Option<T>, default: T, min: T, max: T) -> T
    where
        T: PartialOrd + std::fmt::Display + Copy,
    {
        let value = value.unwrap_or(default);
        if value < min || value > max {
            let says = format!("{value} is not between {min} and {max}");
            self.problem(key, says, &format!("The default is {default}."));
            return default;
        }
        value
    }
}

const RELATIVE: &str = "Relative paths are relative to the configuration file.";

fn read_secret(path: &Path) -> std::io::Result<SecretString> {
    use std::io::{Error, Read};
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(Error::other("larger than 64 kB"));
    }
    // An editor's line end is not part of the secret.
    let trimmed = text.trim_end_matches(['\r', '\n']);
    if trimmed.is_empty() {
        return Err(Error::other("the file is empty"));
    }
    Ok(trimmed.into())
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The known word a misspelt one is nearest to, if it is near; a swap of neighbours is one step.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known
        .iter()
        .map(|known| (osa_distance(word, known), *known))
        .min()?;
    (near.0 <= (word.chars().count() / 3).max(1)).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;
    use strsim::osa_distance as distance;

    #[test]
    fn near_misses() {
        assert_eq!(distance("password", "pasword"), 1);
        assert_eq!(distance("user", "uesr"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("pasword", &["port", "password"]), Some("password"));
        assert_eq!(nearest("zzz", &["port", "password"]), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
