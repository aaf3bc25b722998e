//! What can go wrong, each as one sentence: what, where, and what to do about it.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why the journal could not do what it was asked.
///
/// Clonable, because one failed group commit answers every caller in the group.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process (or another handle in this one) writes this journal.
    #[error(
        "the journal in {dir} is in use by another process; stop that process or choose another data folder"
    )]
    Locked {
        /// The folder as the caller gave it.
        dir: String,
    },
    /// There is no journal to read here.
    #[error(
        "there is no journal in {dir}; check the data folder or start the process that writes it"
    )]
    Missing {
        /// The folder as the caller gave it.
        dir: String,
    },
    /// The configured bound on disk space is reached.
    #[error(
        "the journal is full: {bytes} of {max_bytes} bytes are used and {needed} more were asked for; let the consumer catch up or raise the journal's max_bytes"
    )]
    Full {
        /// Bytes on disk now.
        bytes: u64,
        /// Bytes the refused append needs, headers included.
        needed: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// One record is larger than the bound; nothing of its append was written.
    #[error(
        "a record of {len} bytes is larger than the journal takes ({max} bytes); send a smaller record or raise max_record_bytes"
    )]
    TooLarge {
        /// Size of the record.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The partition does not exist.
    #[error("partition {partition} does not exist; the journal has {partitions} partitions")]
    UnknownPartition {
        /// The partition asked for.
        partition: u32,
        /// How many there are, counted from 0.
        partitions: u32,
    },
    /// The file system has no room. The group was cut back; appends work again once there is room.
    #[error(
        "the disk is full: cannot {what} {file}; free some space, then appends work again without a restart"
    )]
    DiskFull {
        /// The step that failed.
        what: &'static str,
        /// File name inside the journal.
        file: String,
    },
    /// The operating system refused a step.
    #[error("cannot {what} {file}: {source}; check the disk and the folder's permissions")]
    Io {
        /// The step that failed.
        what: &'static str,
        /// File name inside the journal.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An earlier failure left it unknown what is on disk. Nothing is written from then on.
    #[error(
        "the journal stopped writing because {reason}; check the disk, then restart the process: what was acknowledged is kept"
    )]
    Poisoned {
        /// The failure that stopped it.
        reason: String,
    },
    /// This handle was opened with [`crate::Journal::open_read_only`].
    #[error("the journal is open for reading only; append and trim where it is open for writing")]
    ReadOnly,
    /// The writer thread is gone.
    #[error("the journal is closed; restart the process")]
    Closed,
}

impl JournalError {
    /// Wraps an I/O error, naming the file but not the path that leads to it.
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let file = path.file_name().map_or_else(
            || path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { what, file }
            }
            _ => Self::Io {
                what,
                file,
                source: Arc::new(source),
            },
        }
    }
}
