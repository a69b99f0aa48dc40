//! The writer's thread: takes what is queued, writes it at once, tells who waits.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Most lines in one write.
const BATCH_MAX: usize = 1_024;

/// One line, and who waits for it.
pub(super) struct Entry {
    pub(super) line: Vec<u8>,
    pub(super) done: Option<oneshot::Sender<Result<(), ErrorKind>>>,
}

/// Where lines go.
pub(super) enum Sink {
    /// A file that may be rotated under us.
    File {
        path: PathBuf,
        file: File,
        /// Device and inode of the file that is open.
        identity: (u64, u64),
    },
    /// Anything else.
    Other(Box<dyn Write + Send>),
}

impl Sink {
    pub(super) fn file(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self::File {
            path: path.to_owned(),
            file,
            identity,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(bytes),
            Self::Other(writer) => writer.write_all(bytes).and_then(|()| writer.flush()),
        }
    }

    /// Opens the file anew when its name means another file, or none; true if it did.
    fn follow_rotation(&mut self) -> std::io::Result<bool> {
        let Self::File {
            path,
            identity: open,
            ..
        } = self
        else {
            return Ok(false);
        };
        if std::fs::metadata(&*path).is_ok_and(|named| identity(&named) == *open) {
            return Ok(false);
        }
        *self = Self::file(path)?;
        Ok(true)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Runs until every sender is gone.
pub(super) fn run(mut sink: Sink, mut entries: mpsc::Receiver<Entry>, lost: &AtomicU64) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut bytes = Vec::new();
    // A write that failed half-way left the start of a line behind.
    let mut torn = false;
    while entries.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        bytes.clear();
        let rotated = sink.follow_rotation();
        if torn && !matches!(rotated, Ok(true)) {
            bytes.push(b'\n');
        }
        batch
            .iter()
            .for_each(|entry| bytes.extend_from_slice(&entry.line));
        let result = match (rotated, bytes.is_empty()) {
            (Ok(_), true) => Ok(()),
            (Ok(_), false) => sink.write(&bytes).map_err(|error| error.kind()),
            (Err(error), _) => Err(error.kind()),
        };
        if let Err(kind) = result {
            if !torn {
                tracing::error!(%kind, "the audit cannot be written");
            }
            let lines = batch.iter().filter(|entry| !entry.line.is_empty()).count();
            lost.fetch_add(lines as u64, Ordering::Relaxed);
        } else if torn {
            tracing::info!("the audit can be written again");
        }
        torn = result.is_err();
        for entry in batch.drain(..) {
            if let Some(done) = entry.done {
                // Whoever waited may have given up.
                let _gone = done.send(result);
            }
        }
        bytes.shrink_to(1 << 20);
    }
}
