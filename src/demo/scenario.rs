//! A folder that says what to demonstrate: data, permission views and what differs in `rowgate.toml`.
//!
//! ```text
//! examples/tags/
//!   fixtures/*.sql   tables and rows, in the order of their names; without it, the running example's
//!   views/           permission views; without it, the running example's
//!   rowgate.toml     laid over the demo's own configuration, which knows the database and its logins
//!   try.sql          statements worth trying, one a line
//!   policy-tests/    who sees what, asserted: for `rowgate test`
//!   ...              whatever rowgate.toml names; paths in it are relative to the folder
//! ```

use super::ClusterError;
use super::setup::DemoError;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Most bytes of one file that are read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most statements of `try.sql` that are tried.
const STATEMENTS_MAX: usize = 10;
/// The folder in it with tests for `rowgate test`.
pub(super) const POLICY_TESTS: &str = "policy-tests";

/// What one folder wants shown.
#[derive(Debug, Clone)]
pub struct Scenario {
    folder: PathBuf,
    /// Tables and rows; empty = the running example's.
    pub(super) sql: Vec<String>,
    /// The permission views, if the folder has its own.
    pub(super) views: Option<PathBuf>,
    /// What differs in the configuration.
    pub(super) config: Table,
    /// Statements worth trying.
    pub(super) statements: Vec<String>,
}

impl Scenario {
    /// Reads a folder; every part of it may be missing.
    ///
    /// # Errors
    /// [`DemoError::Scenario`] when the folder or a file of it cannot be read or understood.
    pub fn read(folder: &Path) -> Result<Self, DemoError> {
        let broken = |path: &Path, why: String| DemoError::Scenario(path.to_owned(), why);
        let folder = folder
            .canonicalize()
            .map_err(|error| broken(folder, error.to_string()))?;
        let fixtures = folder.join("fixtures");
        let mut files: Vec<PathBuf> = match std::fs::read_dir(&fixtures) {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|path| path.extension().is_some_and(|end| end == "sql"))
                .collect(),
            Err(_) => Vec::new(),
        };
        files.sort();
        let sql = files
            .iter()
            .map(|path| text(path)?.ok_or_else(|| broken(path, "is gone".to_owned())))
            .collect::<Result<_, _>>()?;
        let file = folder.join("rowgate.toml");
        let mut config = match text(&file)? {
            Some(text) => text
                .parse::<Table>()
                .map_err(|error| broken(&file, error.to_string()))?,
            None => Table::new(),
        };
        // Where to listen is said on the command line.
        config.remove("listen");
        let statements = text(&folder.join("try.sql"))?.unwrap_or_default();
        let statements = statements
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("--"))
            .map(|line| line.trim_end_matches(';').to_owned())
            .take(STATEMENTS_MAX)
            .collect();
        let views = folder.join("views");
        Ok(Self {
            sql,
            views: views.is_dir().then_some(views),
            config,
            statements,
            folder,
        })
    }

    /// The users who can log in by password, with what they show; superusers last.
    pub(super) fn users(&self) -> Vec<(String, String)> {
        let logins = self.config.get("logins").and_then(Value::as_table);
        let mut users: Vec<_> = logins
            .into_iter()
            .flatten()
            .filter_map(|(name, login)| {
                let password = login.get("password")?.as_str()?;
                let superuser = login.get("superuser").and_then(Value::as_bool);
                Some((superuser.unwrap_or(false), name.clone(), password))
            })
            .filter(|(.., password)| {
                !password.starts_with("env:") && !password.starts_with("file:")
            })
            .map(|(superuser, name, password)| (superuser, name, password.to_owned()))
            .collect();
        users.sort();
        users
            .into_iter()
            .map(|(_, name, password)| (name, password))
            .collect()
    }

    /// Whether it asserts who sees what.
    pub(super) fn has_policy_tests(&self) -> bool {
        self.folder.join(POLICY_TESTS).is_dir()
    }

    /// Links the folder's other entries into `place`, so that relative paths in the configuration written
    /// there mean the same, and a change here is seen there.
    pub(super) fn link_into(&self, place: &Path) -> Result<(), ClusterError> {
        let entries = std::fs::read_dir(&self.folder);
        let entries = entries.map_err(|error| ClusterError::folder(&self.folder, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| ClusterError::folder(&self.folder, error))?;
            let name = entry.file_name();
            if ["rowgate.toml", "fixtures", "views", "audit.jsonl"]
                .contains(&&*name.to_string_lossy())
            {
                continue;
            }
            let link = place.join(&name);
            if link.is_symlink() {
                std::fs::remove_file(&link).map_err(|error| ClusterError::folder(&link, error))?;
            }
            std::os::unix::fs::symlink(entry.path(), &link)
                .map_err(|error| ClusterError::folder(&link, error))?;
        }
        Ok(())
    }
}

/// A file's text; `None` when there is no such file.
fn text(path: &Path) -> Result<Option<String>, DemoError> {
    let broken = |error: String| DemoError::Scenario(path.to_owned(), error);
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(error.to_string())),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(broken("is longer than 4 MiB".to_owned()));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path)
        .map(Some)
        .map_err(|error| broken(error.to_string()))
}

/// Lays `over` over `base`: tables unite, everything else is replaced. A `sql` provider without a `user`
/// gets `roles_login`, so that an example need not know a password that is new each time.
pub(super) fn lay_over(base: &mut Table, over: Table, roles_login: &Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => lay_over(base, over, roles_login),
            (_, Value::Array(mut items)) if key == "providers" => {
                for item in &mut items {
                    if let Value::Table(provider) = item
                        && provider.get("kind").and_then(Value::as_str) == Some("sql")
                        && !provider.contains_key("user")
                    {
                        provider.extend(roles_login.clone());
                    }
                }
                base.insert(key, Value::Array(items));
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_unite_and_lists_are_replaced() {
        let mut base: Table = "a = 1\n[gate]\nx = 1\n[[providers]]\nkind = 'sql'\nuser = 'old'\n"
            .parse()
            .unwrap();
        let over =
            "a = 2\n[gate]\ny = 2\n[[providers]]\nkind = 'sql'\n[[providers]]\nkind = 'file'\n";
        let roles: Table = "user = 'r'\npassword = 'p'\n".parse().unwrap();
        lay_over(&mut base, over.parse().unwrap(), &roles);
        let expected = "a = 2\n[gate]\nx = 1\ny = 2\n[[providers]]\nkind = 'sql'\nuser = 'r'\npassword = 'p'\n\
                        [[providers]]\nkind = 'file'\n";
        assert_eq!(base, expected.parse().unwrap());
    }
}
