//! The handle: opening, appending, reading, trimming.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use tokio::sync::{Semaphore, oneshot, watch};

use crate::error::JournalError;
use crate::reader::Reader;
use crate::recover;
use crate::segment;
use crate::state::{Counters, Partition, Shared, partition_dir};
use crate::tail;
use crate::writer::{Answer, Append, Command, Limits, Writer, framed};

/// Bytes that may wait for the writer. Callers beyond that wait in line.
const QUEUE_BYTES: u32 = 64 << 20;

const MAX_PARTITIONS: u32 = 1024;

/// Sizes of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOptions {
    /// Partitions of a new journal. An existing one keeps the number it was made with.
    pub partitions: u32,
    /// A segment is completed before it grows beyond this. Lowered where needed, so that the
    /// partitions' last segments together stay below half of `max_bytes`.
    pub segment_bytes: u64,
    /// Bound on the disk space of all partitions; appends beyond it answer [`JournalError::Full`].
    pub max_bytes: u64,
    /// Larger records are refused with [`JournalError::TooLarge`].
    pub max_record_bytes: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            partitions: 4,
            segment_bytes: 64 << 20,
            max_bytes: 4 << 30,
            max_record_bytes: 1 << 20,
        }
    }
}

/// Figures about a journal, for metrics and health pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalStats {
    /// Bytes on disk.
    pub bytes: u64,
    /// The bound on them; 0 if this handle only reads.
    pub max_bytes: u64,
    /// Bytes that wait for the writer.
    pub queued_bytes: u64,
    /// Records between start and end of all partitions.
    pub records: u64,
    /// Records made durable since opening.
    pub appended: u64,
    /// Group commits since opening.
    pub groups: u64,
    /// Offsets that readers of this journal reported as damaged since opening.
    pub corrupt: u64,
    /// Bytes they passed over.
    pub corrupt_bytes: u64,
    /// Interrupted writes cut off at opening.
    pub torn_tails: u64,
    /// Bytes cut off with them.
    pub torn_bytes: u64,
    /// Files put into `set-aside/` at opening.
    pub set_aside: u64,
    /// Whether a failure stopped all writing until a restart.
    pub poisoned: bool,
}

/// A durable, ordered, partitioned log of byte records in a folder. Cheap to clone.
///
/// Dropping the last clone writes what is queued and gives up the lock.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    max_bytes: u64,
    max_record_bytes: usize,
    room: Arc<Semaphore>,
    queue: Option<mpsc::Sender<Command>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held until the writer is done.
    _lock: Option<File>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The lock must not be given up before the last byte is written.
            let _ = thread.join();
        }
    }
}

impl Journal {
    /// Opens the journal in `dir` for reading and writing, creating it if there is none.
    ///
    /// Takes the folder's lock, cuts off a write that a crash interrupted (keeping a copy in
    /// `set-aside/`), and starts the writer thread.
    pub fn open(dir: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        fs::create_dir_all(dir).map_err(|e| JournalError::io("create the folder", dir, e))?;
        let lock = lock(dir)?;
        let wanted = options.partitions.clamp(1, MAX_PARTITIONS);
        let count = recover::stored_partitions(dir).map_or(wanted, |n| n.clamp(1, MAX_PARTITIONS));
        if count != wanted {
            tracing::warn!(
                count,
                wanted,
                "the journal keeps the number of partitions it was made with"
            );
        }
        recover::lay_out(dir, count)?;
        let counters = Counters::default();
        let mut partitions = Vec::new();
        let mut actives = Vec::new();
        for partition in 0..count {
            let recovered = recover::recover(dir, partition, &counters)?;
            partitions.push(Partition::new(
                partition_dir(dir, partition),
                recovered.view,
            ));
            actives.push(recovered.active);
        }
        let shared = Arc::new(shared(partitions, counters, false));
        let limits = Limits {
            segment_bytes: options
                .segment_bytes
                .min(options.max_bytes / (2 * u64::from(count))),
            max_bytes: options.max_bytes,
        };
        let writer = Writer::new(Arc::clone(&shared), limits, actives);
        let (queue, commands) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.run(&commands))
            .map_err(|e| JournalError::io("start the writer thread of", dir, e))?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                max_bytes: options.max_bytes,
                // A frame's length is 32 bits wide.
                max_record_bytes: options.max_record_bytes.min(1 << 31),
                room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
                queue: Some(queue),
                thread: Mutex::new(Some(thread)),
                _lock: Some(lock),
            }),
        })
    }

    /// Opens the journal in `dir` for reading, also while another process writes it.
    ///
    /// Nothing is locked, repaired or written. New records are found by polling a reader;
    /// [`Journal::appended`] does not tick, and `end_offset` is as of the last poll.
    pub fn open_read_only(dir: &Path) -> Result<Self, JournalError> {
        let count = recover::stored_partitions(dir).ok_or_else(|| JournalError::Missing {
            dir: dir.display().to_string(),
        })?;
        let partitions = (0..count.min(MAX_PARTITIONS))
            .map(|partition| tail::look(partition_dir(dir, partition)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared: Arc::new(shared(partitions, Counters::default(), true)),
                max_bytes: 0,
                max_record_bytes: 0,
                room: Arc::new(Semaphore::new(0)),
                queue: None,
                thread: Mutex::new(None),
                _lock: None,
            }),
        })
    }

    /// How many partitions there are, numbered from 0.
    pub fn partitions(&self) -> u32 {
        self.inner.shared.count()
    }

    /// The partition where records with this key belong: the same for ever for a given number of
    /// partitions (xxh64 with seed 0, modulo).
    pub fn partition_for(&self, key: &[u8]) -> u32 {
        let hash = xxhash_rust::xxh64::xxh64(key, 0);
        (hash % u64::from(self.partitions().max(1))) as u32
    }

    /// Appends records, each to its partition, in the order given. Returns when all are durable.
    ///
    /// An error means that they were not acknowledged; after [`JournalError::Poisoned`] or a crash
    /// some of them may still turn up, so a caller that retries relies on its records' own ids.
    /// Waits while too much is queued. Dropping the future after its first poll does not take the
    /// records back.
    pub async fn append(&self, records: Vec<(u32, Vec<u8>)>) -> Result<(), JournalError> {
        let inner = &self.inner;
        let queue = inner.queue.as_ref().ok_or(JournalError::ReadOnly)?;
        if records.is_empty() {
            return Ok(());
        }
        for (partition, payload) in &records {
            inner.shared.partition(*partition)?;
            if payload.len() > inner.max_record_bytes {
                return Err(JournalError::TooLarge {
                    len: payload.len(),
                    max: inner.max_record_bytes,
                });
            }
        }
        // One append larger than the whole queue waits until it is alone in it.
        let weight = u32::try_from(framed(&records)).map_or(QUEUE_BYTES, |n| n.min(QUEUE_BYTES));
        let room = Arc::clone(&inner.room).acquire_many_owned(weight).await;
        let (answer, answered) = oneshot::channel();
        queue
            .send(Command::Append(Append {
                records,
                answer,
                _room: room.map_err(|_| JournalError::Closed)?,
            }))
            .map_err(|_| JournalError::Closed)?;
        answered.await.unwrap_or(Err(JournalError::Closed))
    }

    /// [`Journal::append`] for callers outside of an async runtime.
    pub fn append_blocking(&self, records: Vec<(u32, Vec<u8>)>) -> Result<(), JournalError> {
        block_on(self.append(records))
    }

    /// A reader of `partition` that starts at `from_offset`.
    pub fn reader(&self, partition: u32, from_offset: u64) -> Reader {
        Reader::new(Arc::clone(&self.inner.shared), partition, from_offset)
    }

    /// One beyond the last durable offset; 0 for a partition that does not exist.
    pub fn end_offset(&self, partition: u32) -> u64 {
        let partition = self.inner.shared.partition(partition);
        partition.map_or(0, |partition| partition.view().end)
    }

    /// The oldest offset kept; 0 for a partition that does not exist.
    pub fn start_offset(&self, partition: u32) -> u64 {
        let partition = self.inner.shared.partition(partition);
        partition.map_or(0, |partition| partition.view().start())
    }

    /// Gives back the space of records below `before_offset`, as whole segments. Blocks for about
    /// one group commit.
    pub fn trim(&self, partition: u32, before_offset: u64) -> Result<(), JournalError> {
        self.command(partition, |answer| Command::Trim {
            partition,
            before: before_offset,
            answer,
        })
    }

    /// Makes sure that no new record gets an offset below `offset`. Blocks like [`Journal::trim`].
    ///
    /// A consumer calls this at start with the offset it has committed elsewhere. If the journal is
    /// younger than that (its folder was lost or restored), new records would otherwise get offsets
    /// that the consumer takes for done. To a reader that comes from below, the offsets passed over
    /// read as damaged.
    pub fn advance_to(&self, partition: u32, offset: u64) -> Result<(), JournalError> {
        if self.inner.queue.is_some() && self.end_offset(partition) >= offset {
            return Ok(());
        }
        self.command(partition, |answer| Command::Advance {
            partition,
            to: offset,
            answer,
        })
    }

    fn command(
        &self,
        partition: u32,
        make: impl FnOnce(Answer) -> Command,
    ) -> Result<(), JournalError> {
        let queue = self.inner.queue.as_ref().ok_or(JournalError::ReadOnly)?;
        self.inner.shared.partition(partition)?;
        let (answer, answered) = oneshot::channel();
        queue.send(make(answer)).map_err(|_| JournalError::Closed)?;
        block_on(answered).unwrap_or(Err(JournalError::Closed))
    }

    /// Changes after each group commit, so that a consumer can wait for records without polling.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.inner.shared.ticks.subscribe()
    }

    /// Figures as of now.
    pub fn stats(&self) -> JournalStats {
        let inner = &self.inner;
        let counters = &inner.shared.counters;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let records = inner.shared.partitions.iter().map(|partition| {
            let view = partition.view();
            view.end - view.start()
        });
        let bytes = if inner.shared.read_only {
            let views = inner.shared.partitions.iter().map(Partition::view);
            views
                .map(|view| view.spans.iter().map(|span| span.len).sum::<u64>())
                .sum()
        } else {
            get(&counters.bytes)
        };
        let free = inner.room.available_permits() as u64;
        JournalStats {
            bytes,
            max_bytes: inner.max_bytes,
            queued_bytes: match inner.queue {
                Some(_) => u64::from(QUEUE_BYTES).saturating_sub(free),
                None => 0,
            },
            records: records.sum(),
            appended: get(&counters.appended),
            groups: get(&counters.groups),
            corrupt: get(&counters.damaged_records),
            corrupt_bytes: get(&counters.damaged_bytes),
            torn_tails: get(&counters.torn_tails),
            torn_bytes: get(&counters.torn_bytes),
            set_aside: get(&counters.set_aside),
            poisoned: inner.shared.poisoned.load(Ordering::Relaxed),
        }
    }
}

fn shared(partitions: Vec<Partition>, counters: Counters, read_only: bool) -> Shared {
    Shared {
        partitions,
        counters,
        read_only,
        poisoned: AtomicBool::new(false),
        ticks: watch::Sender::new(0),
    }
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| JournalError::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {
            segment::sync_dir(dir)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
            dir: dir.display().to_string(),
        }),
        Err(TryLockError::Error(e)) => Err(JournalError::io("lock", &path, e)),
    }
}

/// Waits for a future on this thread. Unlike a runtime's own, it may be used anywhere.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
