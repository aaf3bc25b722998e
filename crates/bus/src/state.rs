//! What writer, readers and handles share: which segments exist and how far they are durable.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::error::JournalError;

/// One segment as readers may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First offset.
    pub(crate) base: u64,
    /// Durable bytes.
    pub(crate) len: u64,
}

/// A partition as readers may see it: durable records only.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Oldest first; the last one is being written.
    pub(crate) spans: Vec<Span>,
    /// One beyond the last durable offset.
    pub(crate) end: u64,
}

impl View {
    pub(crate) fn start(&self) -> u64 {
        self.spans.first().map_or(self.end, |span| span.base)
    }
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) dir: PathBuf,
    view: RwLock<View>,
}

impl Partition {
    pub(crate) fn new(dir: PathBuf, view: View) -> Self {
        Self {
            dir,
            view: RwLock::new(view),
        }
    }

    // A thread that panicked while it held the lock cannot have left the view half-changed in a way
    // that matters more than going on: every change is a few assignments.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes: AtomicU64,
    pub(crate) appended: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) damaged_records: AtomicU64,
    pub(crate) damaged_bytes: AtomicU64,
    pub(crate) torn_tails: AtomicU64,
    pub(crate) torn_bytes: AtomicU64,
    pub(crate) set_aside: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) counters: Counters,
    pub(crate) read_only: bool,
    pub(crate) poisoned: AtomicBool,
    pub(crate) ticks: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn partition(&self, partition: u32) -> Result<&Partition, JournalError> {
        self.partitions
            .get(partition as usize)
            .ok_or(JournalError::UnknownPartition {
                partition,
                partitions: self.count(),
            })
    }

    pub(crate) fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }
}

/// The folder of one partition.
pub(crate) fn partition_dir(dir: &Path, partition: u32) -> PathBuf {
    dir.join(format!("p{partition:04}"))
}
