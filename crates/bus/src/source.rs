//! What a worker reads: all of a journal, or the partitions of a Kafka topic that its group gives it.

use crate::kafka::{TopicError, TopicReader};
use crate::{Journal, JournalError, Read, Reader};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// A log with partitions, and a place in each of them.
#[derive(Debug)]
pub enum Source {
    /// The embedded journal: every partition, from the start.
    Journal(JournalReader),
    /// A member of a group.
    Topic(TopicReader),
}

/// Readers of all partitions of a journal.
#[derive(Debug)]
pub struct JournalReader {
    journal: Journal,
    readers: Vec<Reader>,
    begun: bool,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Kafka failed.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

impl From<Journal> for Source {
    fn from(journal: Journal) -> Self {
        Self::Journal(JournalReader {
            readers: (0..journal.partitions())
                .map(|partition| journal.reader(partition, 0))
                .collect(),
            journal,
            begun: false,
        })
    }
}

impl From<TopicReader> for Source {
    fn from(reader: TopicReader) -> Self {
        Self::Topic(reader)
    }
}

impl Source {
    /// Whether others may have had these partitions before, and may have them next.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Topic(_))
    }

    /// The partitions to begin anew with, if that is to be done before anything is read: the number of the change, and which.
    ///
    /// # Errors
    /// When it failed for good.
    pub fn given(&self) -> Result<Option<(u64, Vec<u32>)>, SourceError> {
        match self {
            Self::Journal(own) if own.begun => Ok(None),
            Self::Journal(own) => Ok(Some((0, (0..own.journal.partitions()).collect()))),
            Self::Topic(reader) => Ok(reader.given()?),
        }
    }

    /// Whether the partitions are still those of the last [`Source::begin`].
    pub fn holds(&self) -> bool {
        match self {
            Self::Journal(_) => true,
            Self::Topic(reader) => reader.holds(),
        }
    }

    /// Reads from these offsets; `furthest` is what has been taken in of each partition by anyone.
    ///
    /// # Errors
    /// When journal or brokers do not answer, or hold less than was taken in.
    pub fn begin(
        &mut self,
        change: u64,
        from: &BTreeMap<u32, u64>,
        furthest: &BTreeMap<u32, u64>,
    ) -> Result<(), SourceError> {
        match self {
            Self::Journal(own) => {
                for (partition, from) in from {
                    // A lake may be ahead of a journal whose unsynced tail went with the power: numbers must not be given
                    // out twice.
                    let furthest = furthest.get(partition).copied().unwrap_or(0);
                    if furthest > own.journal.end_offset(*partition) {
                        own.journal.advance_to(*partition, furthest)?;
                    }
                    own.rewind(*partition, *from);
                }
                own.begun = true;
                Ok(())
            }
            Self::Topic(reader) => Ok(reader.begin(change, from)?),
        }
    }

    /// Begins anew, from what the lake holds, with the partitions there are.
    pub fn again(&mut self) {
        match self {
            Self::Journal(own) => own.begun = false,
            Self::Topic(reader) => reader.again(),
        }
    }

    /// The offset that is taken next.
    pub fn position(&self, partition: u32) -> u64 {
        match self {
            Self::Journal(own) => own
                .readers
                .get(partition as usize)
                .map_or(0, Reader::position),
            Self::Topic(reader) => reader.position(partition),
        }
    }

    /// One beyond the last offset that can be taken now.
    pub fn end(&self, partition: u32) -> u64 {
        match self {
            Self::Journal(own) => own.journal.end_offset(partition),
            Self::Topic(reader) => reader.end(partition),
        }
    }

    /// Adds to `out` what can be taken below `goal`: about `max_records` items and, beyond the first, about `max_bytes`. Answers
    /// the offset that is taken next.
    ///
    /// # Errors
    /// When the journal cannot be read, or a schema registry does not answer; what was taken is gone then, see [`Source::again`].
    pub fn poll(
        &mut self,
        partition: u32,
        goal: u64,
        max_records: usize,
        max_bytes: usize,
        out: &mut Vec<Read>,
    ) -> Result<u64, SourceError> {
        let from = self.position(partition);
        let limit = (goal.saturating_sub(from) as usize).min(max_records);
        if limit == 0 {
            return Ok(from);
        }
        let own = match self {
            Self::Journal(own) => own,
            Self::Topic(reader) => {
                reader.poll(partition, goal, limit, max_bytes, out)?;
                return Ok(reader.position(partition));
            }
        };
        let Some(reader) = own.readers.get_mut(partition as usize) else {
            return Ok(from);
        };
        reader.poll(limit, max_bytes, out)?;
        let to = reader.position();
        if to <= goal {
            return Ok(to);
        }
        // A damaged range counts as one item and may reach past the end asked for.
        cut(out, goal);
        own.rewind(partition, goal);
        Ok(goal)
    }

    /// Schemas of what was polled that nobody knew before, as name and JSON.
    pub fn learnt(&mut self) -> Vec<(String, String)> {
        match self {
            Self::Journal(_) => Vec::new(),
            Self::Topic(reader) => reader.learnt(),
        }
    }

    /// Changes when there is something new.
    pub fn news(&self) -> watch::Receiver<u64> {
        match self {
            Self::Journal(own) => own.journal.appended(),
            Self::Topic(reader) => reader.news(),
        }
    }

    /// What is below these offsets is safe elsewhere.
    ///
    /// # Errors
    /// When the journal cannot be trimmed.
    pub fn forget(&self, offsets: &BTreeMap<u32, u64>) -> Result<(), SourceError> {
        match self {
            Self::Journal(own) => {
                for (partition, offset) in offsets {
                    own.journal.trim(*partition, *offset)?;
                }
            }
            Self::Topic(reader) => reader.committed(offsets),
        }
        Ok(())
    }
}

impl JournalReader {
    fn rewind(&mut self, partition: u32, to: u64) {
        let fresh = self.journal.reader(partition, to);
        if let Some(reader) = self.readers.get_mut(partition as usize) {
            *reader = fresh;
        }
    }
}

/// Drops what lies at or beyond `end`.
fn cut(reads: &mut Vec<Read>, end: u64) {
    reads.retain_mut(|read| match read {
        Read::Record(record) => record.offset < end,
        Read::Damaged {
            offset_from,
            offset_to,
            ..
        } => {
            *offset_to = (*offset_to).min(end);
            *offset_from < end
        }
    });
}
