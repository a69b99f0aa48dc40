//! Finds the PostgreSQL server binaries of this machine.

use super::ClusterError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds `initdb` and `postgres`, from the first of: `PG_BINDIR`, `PATH`,
/// `pg_config --bindir`, `/usr/lib/postgresql/*/bin` (newest), other usual places.
///
/// # Errors
/// [`ClusterError::NoBinaries`] with the places searched.
pub fn find_binaries() -> Result<PathBuf, ClusterError> {
    if let Some(folder) = std::env::var_os("PG_BINDIR") {
        // Said explicitly: a wrong value is an error, not a reason to look elsewhere.
        let folder = PathBuf::from(folder);
        return if has_server(&folder) {
            Ok(folder)
        } else {
            Err(ClusterError::NoBinaries {
                searched: format!("PG_BINDIR={}", folder.display()),
            })
        };
    }
    let candidates = candidates();
    match candidates.iter().find(|folder| has_server(folder)) {
        Some(folder) => Ok(folder.clone()),
        None => Err(ClusterError::NoBinaries {
            searched: "PATH, pg_config --bindir, /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin, \
                       /opt/homebrew/opt/postgresql@*/bin"
                .to_owned(),
        }),
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        found.extend(std::env::split_paths(&path));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        found.push(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ));
    }
    found.extend(numbered("/usr/lib/postgresql", ""));
    found.extend(numbered("/usr", "pgsql-"));
    found.extend(numbered("/opt/homebrew/opt", "postgresql@"));
    found
}

/// `parent/prefix<number>/bin`, highest number first.
fn numbered(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, path)| path).collect()
}

/// Both are needed; Debian's client package has neither.
fn has_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_puts_the_newest_first_and_ignores_other_names() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["pg-9", "pg-15", "pg-x", "other-99"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = numbered(parent.path().to_str().unwrap(), "pg-");
        let expected: Vec<PathBuf> = ["pg-15", "pg-9"]
            .iter()
            .map(|name| parent.path().join(name).join("bin"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_without_initdb_is_not_a_server() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("postgres"), "").unwrap();
        assert!(!has_server(folder.path()));
        std::fs::write(folder.path().join("initdb"), "").unwrap();
        assert!(has_server(folder.path()));
    }
}
