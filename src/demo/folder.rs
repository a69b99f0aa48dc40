//! The cluster's folder: who owns it, the lock that says it is in use, and cleaning up after a crash.
//!
//! ```text
//! rowgate-demo.XXXXXX/   lock      locked (flock) as long as the process that made it lives
//!                        secret    the superuser's password, for a kept folder
//!                        data/     PostgreSQL's own
//!                        socket/   its unix socket
//!                        server.log
//! ```

use super::ClusterError;
use nix::unistd::{Gid, Uid, User};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PREFIX: &str = "rowgate-demo.";
const UNLOCKED_PREFIX: &str = "rowgate-new.";

/// Whom the server runs as. PostgreSQL refuses to run as root, so root steps down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunAs {
    pub uid: Uid,
    pub gid: Gid,
    /// Whether this differs from the current user, so that commands must switch.
    pub step_down: bool,
}

impl RunAs {
    /// The current user; for root `postgres`, else `nobody`.
    pub(super) fn find() -> Result<Self, ClusterError> {
        let uid = Uid::effective();
        if !uid.is_root() {
            return Ok(Self {
                uid,
                gid: Gid::effective(),
                step_down: false,
            });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .map(|user| Self {
                uid: user.uid,
                gid: user.gid,
                step_down: true,
            })
            .ok_or(ClusterError::NobodyToRunAs)
    }
}

/// A locked folder. Dropping it releases the lock, nothing else.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    pub keep: bool,
    pub run_as: RunAs,
    _lock: File,
}

impl Folder {
    /// A new folder in the system's temporary directory, removed at the end.
    pub(super) fn temporary(run_as: RunAs) -> Result<Self, ClusterError> {
        let base = std::env::temp_dir();
        let failed = |source| ClusterError::folder(&base, source);
        let made = tempfile::Builder::new()
            .prefix(UNLOCKED_PREFIX)
            .rand_bytes(8)
            .tempdir_in(&base)
            .map_err(failed)?;
        let lock = create_lock(made.path())?;
        give(made.path(), run_as)?;
        // The name that `remove_stale` looks for comes last: nobody ever sees it without its lock.
        let name = made
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let path = base.join(name.replacen(UNLOCKED_PREFIX, PREFIX, 1));
        std::fs::rename(made.path(), &path).map_err(failed)?;
        let _moved = made.keep();
        Ok(Self {
            path,
            keep: false,
            run_as,
            _lock: lock,
        })
    }

    /// A folder of the caller's choice, kept at the end and used again the next time.
    pub(super) fn named(path: &Path, run_as: RunAs) -> Result<Self, ClusterError> {
        if !path.exists() {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(path)
                .map_err(|source| ClusterError::folder(path, source))?;
        }
        let path = path
            .canonicalize()
            .map_err(|source| ClusterError::folder(path, source))?;
        let lock = if path.join("lock").exists() {
            take_lock(&path)?.ok_or_else(|| ClusterError::InUse { path: path.clone() })?
        } else if is_empty(&path)? {
            create_lock(&path)?
        } else {
            return Err(ClusterError::NotOurs { path });
        };
        give(&path, run_as)?;
        Ok(Self {
            path,
            keep: true,
            run_as,
            _lock: lock,
        })
    }

    /// A subfolder that the server's user owns; nothing happens when it exists.
    pub(super) fn subfolder(&self, name: &str) -> Result<PathBuf, ClusterError> {
        let path = self.path.join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => give(&path, self.run_as)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(ClusterError::folder(&path, source)),
        }
        Ok(path)
    }

    /// A new file only the server's user (and root) can read.
    pub(super) fn private_file(&self, name: &str, content: &str) -> Result<PathBuf, ClusterError> {
        use std::io::Write as _;
        let path = self.path.join(name);
        let write = || -> io::Result<()> {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(content.as_bytes())
        };
        write().map_err(|source| ClusterError::folder(&path, source))?;
        give(&path, self.run_as)?;
        Ok(path)
    }
}

/// Removes what runs that did not end well left in the temporary directory, and returns what was removed.
///
/// Only folders of our name and our user count; a folder whose lock somebody holds is in use. A server
/// still running in one is stopped only when the system shows that its working directory is that
/// folder's `data`; otherwise the folder stays.
pub(super) fn remove_stale(run_as: RunAs) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return Vec::new();
    };
    let ours = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(PREFIX))
            && std::fs::symlink_metadata(path)
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == run_as.uid.as_raw())
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| ours(path))
        .filter(|path| match take_lock(path) {
            Ok(Some(_lock)) => {
                stop_orphan(&path.join("data")) && std::fs::remove_dir_all(path).is_ok()
            }
            Ok(None) | Err(_) => false,
        })
        .collect()
}

/// Stops a server that an ended run left behind in `data`. True when none runs there any more.
pub(super) fn stop_orphan(data: &Path) -> bool {
    use nix::sys::signal::{Signal, kill};
    let Some(pid) = server_pid(data) else {
        return true;
    };
    if kill(pid, None).is_err() {
        return true;
    }
    if !is_server_of(pid, data) {
        // The number was given to somebody else, or this system does not show working directories.
        return cfg!(target_os = "linux");
    }
    if kill(pid, Signal::SIGQUIT).is_err() {
        return false;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_server_of(pid, data) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The process id in `postmaster.pid`, which may be out of date.
pub(super) fn server_pid(data: &Path) -> Option<nix::unistd::Pid> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    (pid > 1).then(|| nix::unistd::Pid::from_raw(pid))
}

/// Whether `pid` is a process whose working directory is `data`: a PostgreSQL server changes into its
/// data folder when it starts, and a process that merely got the same number does not sit there.
pub(super) fn is_server_of(pid: nix::unistd::Pid, data: &Path) -> bool {
    let Ok(data) = data.canonicalize() else {
        return false;
    };
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
}

fn create_lock(folder: &Path) -> Result<File, ClusterError> {
    let path = folder.join("lock");
    let lock = || -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|source| ClusterError::folder(&path, source))
}

/// `None` when another process holds it.
fn take_lock(folder: &Path) -> Result<Option<File>, ClusterError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|source| ClusterError::folder(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(ClusterError::folder(&path, source)),
    }
}

fn give(path: &Path, run_as: RunAs) -> Result<(), ClusterError> {
    if !run_as.step_down {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(run_as.uid.as_raw()), Some(run_as.gid.as_raw()))
        .map_err(|source| ClusterError::folder(path, source))
}

fn is_empty(path: &Path) -> Result<bool, ClusterError> {
    let mut entries =
        std::fs::read_dir(path).map_err(|source| ClusterError::folder(path, source))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_things_in_it_is_not_taken() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("thesis.txt"), "years of work").unwrap();
        let run_as = RunAs::find().unwrap();
        let refused = Folder::named(parent.path(), run_as);
        assert!(
            matches!(refused, Err(ClusterError::NotOurs { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_folder_in_use_is_not_taken_and_a_released_one_is() {
        let parent = tempfile::tempdir().unwrap();
        let run_as = RunAs::find().unwrap();
        let first = Folder::named(parent.path(), run_as).unwrap();
        let second = Folder::named(parent.path(), run_as);
        assert!(
            matches!(second, Err(ClusterError::InUse { .. })),
            "{second:?}"
        );
        drop(first);
        Folder::named(parent.path(), run_as).unwrap();
    }

    #[test]
    fn a_process_that_only_has_the_number_is_never_taken_for_the_server() {
        let data = tempfile::tempdir().unwrap();
        let mine = std::process::id();
        std::fs::write(data.path().join("postmaster.pid"), format!("{mine}\n")).unwrap();
        let pid = server_pid(data.path()).unwrap();
        assert!(!is_server_of(pid, data.path()));
        // And so this test's own process gets no signal.
        assert_eq!(stop_orphan(data.path()), cfg!(target_os = "linux"));
    }

    #[test]
    fn stale_folders_go_and_locked_ones_stay() {
        let run_as = RunAs::find().unwrap();
        let living = Folder::temporary(run_as).unwrap();
        let dead = Folder::temporary(run_as).unwrap();
        let dead_path = dead.path.clone();
        drop(dead);
        remove_stale(run_as);
        assert!(!dead_path.exists());
        assert!(living.path.exists());
        std::fs::remove_dir_all(&living.path).unwrap();
    }
}
