//! Reloading without dropping sessions: at SIGHUP everything that can change, at a change of a view or
//! provider file just that. Whatever is broken leaves the last good state in force and says so.

use super::build::{self, Providers};
use crate::config::{AuditSink, Config};
use crate::identity::Authenticator;
use crate::ops::Stale;
use crate::policy::Policy;
use crate::provider::{Jwks, Resolver};
use arc_swap::ArcSwap;
use notify::Watcher;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// How long files have to be left alone before they are read: an editor may write in steps.
const QUIET: Duration = Duration::from_millis(30);
/// How often files are looked at although nobody reported a change (mounted volumes report none).
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often where a folder is not watched because the audit is written in it.
const LOOK_OFTEN: Duration = Duration::from_millis(250);

/// What a file was like: size, inode, times of content and status. Equal means unchanged.
type Seen = BTreeMap<PathBuf, Option<(u64, u64, i64, i64, i64, i64)>>;

/// What a reload replaces.
type Replaced = (
    Arc<ArcSwap<Policy>>,
    Arc<ArcSwap<Authenticator>>,
    Arc<ArcSwap<Resolver>>,
);

pub(super) struct Reloader {
    config: Config,
    policy: Arc<ArcSwap<Policy>>,
    authenticator: Arc<ArcSwap<Authenticator>>,
    resolver: Arc<ArcSwap<Resolver>>,
    providers: Providers,
    /// The published keys in force.
    jwks: Option<Arc<Jwks>>,
    /// The last reload of the views failed: try again although no file changes, since the database may.
    policy_broken: bool,
    /// The same, for whoever asks whether the gate is well.
    stale: Arc<Stale>,
    hangup: Signal,
    changes: mpsc::Receiver<()>,
    /// Stops watching when dropped. `None`: the system cannot watch; files are looked at now and then.
    watcher: Option<notify::RecommendedWatcher>,
    look_every: Duration,
}

impl Reloader {
    pub(super) fn new(
        config: Config,
        (policy, authenticator, resolver): Replaced,
        providers: Providers,
        jwks: Option<Arc<Jwks>>,
        stale: Arc<Stale>,
    ) -> std::io::Result<Self> {
        let (changed, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To look is to open: that is reported, too, and would be a reason to look again, for ever.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            // Full means that a look is already due.
            let _due = changed.try_send(());
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "files are not watched, only looked at"))
            .ok();
        let mut reloader = Self {
            config,
            policy,
            authenticator,
            resolver,
            providers,
            jwks,
            policy_broken: false,
            stale,
            hangup: signal(SignalKind::hangup())?,
            changes,
            watcher,
            look_every: LOOK_EVERY,
        };
        reloader.watch();
        Ok(reloader)
    }

    /// Watches folders, not files: a file replaced by renaming is another file. The audit's folder is
    /// looked at instead: every line written there would be reported.
    fn watch(&mut self) {
        let files = self.providers.files.iter().flat_map(|file| file.paths());
        let folders: BTreeSet<PathBuf> = files
            .filter_map(|path| path.parent().map(canonical))
            .chain([canonical(&self.config.views)])
            .collect();
        let audit = match &self.config.audit.sink {
            AuditSink::File(path) => path.parent().map(canonical),
            AuditSink::Stdout => None,
        };
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for folder in folders {
            if audit.as_ref() == Some(&folder) {
                self.look_every = LOOK_OFTEN;
            } else if let Err(error) = watcher.watch(&folder, notify::RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "not watched, only looked at");
            }
        }
    }

    pub(super) async fn run(mut self) {
        let mut views = self.look_at_views();
        let mut files = self.look_at_files();
        let mut tick = tokio::time::interval(self.look_every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let hangup = tokio::select! {
                Some(()) = self.hangup.recv() => true,
                Some(()) = self.changes.recv() => false,
                _ = tick.tick() => false,
            };
            if hangup {
                tracing::info!("SIGHUP: reloading");
                let reloaded = self.reload_config().await;
                self.stale.configuration.store(!reloaded, Ordering::Relaxed);
            }
            let (views_now, files_now) = self.settled().await;
            if hangup || files_now != files {
                files = files_now;
                self.providers.reload_files();
            }
            if hangup || views_now != views || self.policy_broken {
                views = views_now;
                self.reload_policy().await;
            }
        }
    }

    /// What the files are like once they have been left alone for a moment.
    async fn settled(&self) -> (Seen, Seen) {
        let mut now = (self.look_at_views(), self.look_at_files());
        // Bounded: a file that never rests is read as it is, and again at its next change.
        for _ in 0..20 {
            tokio::time::sleep(QUIET).await;
            let next = (self.look_at_views(), self.look_at_files());
            if next == now {
                break;
            }
            now = next;
        }
        now
    }

    fn look_at_views(&self) -> Seen {
        let Ok(entries) = std::fs::read_dir(&self.config.views) else {
            return Seen::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        look(paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql")))
    }

    fn look_at_files(&self) -> Seen {
        look(self.providers.files.iter().flat_map(|file| file.paths()))
    }

    async fn reload_policy(&mut self) {
        match build::policy(&self.config).await {
            Ok(policy) => {
                if policy.version() != self.policy.load().version() || self.policy_broken {
                    tracing::info!(views = policy.views().len(), "views reloaded");
                    self.providers
                        .look_for(policy.views().iter().map(|view| &view.view));
                    self.policy.store(Arc::new(policy));
                }
                self.policy_broken = false;
            }
            Err(error) => {
                if !self.policy_broken {
                    tracing::error!(
                        "VIEWS NOT RELOADED, the last good ones stay in force: {error:#}"
                    );
                }
                self.policy_broken = true;
            }
        }
        self.stale
            .policy
            .store(self.policy_broken, Ordering::Relaxed);
    }

    /// Logins, tokens, providers and views come anew from the configuration file; the rest is read at
    /// start only. False: it is broken, and the last good one stays in force.
    async fn reload_config(&mut self) -> bool {
        let Some(file) = self.config.file.clone() else {
            return true;
        };
        let mut config = match Config::load(&file) {
            Ok(config) => config,
            Err(errors) => {
                tracing::error!(
                    "CONFIGURATION NOT RELOADED, the last good one stays in force: {errors}"
                );
                return false;
            }
        };
        let providers = match build::permissions(&config).await {
            Ok(providers) => providers,
            Err(error) => {
                tracing::error!(
                    "CONFIGURATION NOT RELOADED, the last good one stays in force: {error:#}"
                );
                return false;
            }
        };
        let (identity, jwks) = match build::identity(&config, self.jwks.as_ref()).await {
            Ok(identity) => identity,
            Err(error) => {
                tracing::error!(
                    "CONFIGURATION NOT RELOADED, the last good one stays in force: {error:#}"
                );
                return false;
            }
        };
        self.resolver.store(Arc::new(providers.resolver()));
        self.providers = providers;
        let authenticator = self.authenticator.load().reloaded(identity);
        self.jwks = jwks;
        self.authenticator.store(Arc::new(authenticator));
        // What the running parts were made with stays what the configuration says of them.
        config.listen = self.config.listen;
        config.enforcement = self.config.enforcement;
        config.upstream = self.config.upstream.clone();
        config.limits = self.config.limits.clone();
        self.config = config;
        self.watch();
        tracing::info!(
            "logins, tokens and providers reloaded; other keys take effect at the next start"
        );
        true
    }
}

fn look(paths: impl Iterator<Item = PathBuf>) -> Seen {
    paths
        .map(|path| {
            let seen = std::fs::metadata(&path).ok().map(|data| {
                (
                    data.size(),
                    data.ino(),
                    data.mtime(),
                    data.mtime_nsec(),
                    data.ctime(),
                    data.ctime_nsec(),
                )
            });
            (path, seen)
        })
        .collect()
}

/// A folder's one name; of the empty path, this folder's.
fn canonical(folder: &Path) -> PathBuf {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
