//! The bus: an embedded journal, and Kafka behind it where one machine is not enough ([`kafka`]). A worker reads either as a
//! [`Source`].
//!
//! The journal is a durable, ordered, partitioned log of byte records with bounded disk.
//!
//! # A record's path
//!
//! 1. [`Journal::append`] checks size and partition, waits for room in the queue (by bytes), and
//!    hands the record to the writer thread.
//! 2. The writer takes everything that is queued as one group, gives each record the next offset of
//!    its partition, and frames it: a header with its own checksum, then the payload (`record`).
//! 3. The group is written to the end of each touched partition's last segment, a file named by its
//!    first offset (`segment`), and each touched partition is synced once, all at the same time (`writer`, `lane`).
//! 4. Only then do readers see it, does [`Journal::appended`] tick, and are its callers answered.
//! 5. A [`Reader`] walks the segments in order, checks both checksums, and hands payloads out as
//!    slices of what it read. Damage is passed over and reported as [`Read::Damaged`], with the
//!    offsets it cost: a flipped bit costs one record at most.
//! 6. When a consumer has committed what it made of the records elsewhere, [`Journal::trim`]
//!    deletes the segments that lie wholly below.
//!
//! # Rules
//!
//! - **Acknowledged means synced.** A sync that fails is never tried again; the journal stops writing.
//! - **What was acknowledged is never cut off.** Opening only cuts bytes that cannot be whole records;
//!   a last record whose header has more than one wrong bit looks like that, see
//!   [`Journal::advance_to`] for why a consumer is still safe.
//! - **Offsets are dense and never given out twice**, so a gap is a loss and is reported as one.
//! - **Full is an answer.** Beyond `max_bytes`, or on a full disk, append says so and leaves no half group.
//! - **One writer**, kept by a lock on the folder. Readers in other processes need none.
//!
//! ```
//! # fn main() -> Result<(), tidemark_bus::JournalError> {
//! # let folder = tempfile::tempdir().map_err(|_| tidemark_bus::JournalError::Closed)?;
//! use tidemark_bus::{Journal, JournalOptions, Read};
//!
//! let journal = Journal::open(folder.path(), JournalOptions::default())?;
//! let partition = journal.partition_for(b"some account");
//! journal.append_blocking(vec![(partition, b"an event".to_vec())])?;
//!
//! let mut found = Vec::new();
//! journal.reader(partition, 0).poll(100, 1 << 20, &mut found)?;
//! assert!(matches!(&found[..], [Read::Record(record)] if record.payload == "an event"));
//! # Ok(())
//! # }
//! ```

mod error;
mod faults;
mod journal;
pub mod kafka;
mod lane;
mod reader;
mod record;
mod recover;
mod segment;
mod source;
mod state;
mod tail;
mod writer;

pub use error::JournalError;
pub use journal::{Journal, JournalOptions, JournalStats};
pub use reader::{Read, Reader, Record};
pub use source::{JournalReader, Source, SourceError};
