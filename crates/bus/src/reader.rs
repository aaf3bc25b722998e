//! Reading one partition in order, past damage, up to the durable end.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::JournalError;
use crate::segment::{Cursor, Step};
use crate::state::{Counters, Partition, Shared};
use crate::tail;

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition: dense, from 0.
    pub offset: u64,
    /// When the journal wrote it, in microseconds since 1970 UTC.
    pub appended_at_us: i64,
    /// The bytes. A slice of a buffer of about 1 MiB, which lives as long as any slice of it.
    pub payload: Bytes,
}

/// What a reader meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// An intact record.
    Record(Record),
    /// Records that were written but cannot be read any more. Count them: they are lost.
    Damaged {
        /// First offset lost.
        offset_from: u64,
        /// One beyond the last offset lost.
        offset_to: u64,
        /// Bytes passed over.
        bytes: u64,
    },
}

/// Reads one partition. Made by [`crate::Journal::reader`]; it outlives trims and the handle.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    partition: u32,
    position: u64,
    at: Option<Place>,
}

#[derive(Debug)]
struct Place {
    base: u64,
    cursor: Cursor,
}

/// How far the segment under the cursor may be read.
enum Bound {
    /// More may come: durable up to `len`, where the partition ends at offset `end`.
    Active { len: u64, end: u64 },
    /// Complete: the next segment starts at offset `next`.
    Sealed { len: u64, next: u64 },
    /// Trimmed away.
    Gone,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, partition: u32, from_offset: u64) -> Self {
        Self {
            shared,
            partition,
            position: from_offset,
            at: None,
        }
    }

    /// The offset this reader wants next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Adds to `out` what is durable: about `max_records` items (one more if the last one follows
    /// damage) and, beyond the first item, about `max_bytes` of payload. Answers how many were added; 0 means caught up. Never waits for new
    /// records, but reads files.
    ///
    /// A position below the partition's start moves up to the start: what was trimmed had been
    /// consumed. A position beyond the end yields nothing until the end gets there; a consumer that
    /// starts with an offset from elsewhere calls [`crate::Journal::advance_to`] first.
    pub fn poll(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        out: &mut Vec<Read>,
    ) -> Result<usize, JournalError> {
        let shared = Arc::clone(&self.shared);
        let partition = shared.partition(self.partition)?;
        let before = out.len();
        let mut bytes = 0;
        let mut refreshed = !shared.read_only;
        while out.len() - before < max_records && bytes < max_bytes {
            if !self.find_place(partition)? {
                // A file that vanished under us, or the end of what was known when last looked.
                if refreshed {
                    break;
                }
                tail::refresh(partition)?;
                refreshed = true;
                continue;
            }
            let Some(place) = self.at.as_mut() else { break };
            let (limit, boundary, sealed) = match bound(partition, place.base) {
                Bound::Active { len, end } => (len, end, false),
                Bound::Sealed { len, next } => (len, next, true),
                Bound::Gone => {
                    self.at = None;
                    continue;
                }
            };
            while out.len() - before < max_records && bytes < max_bytes {
                let expected = place.cursor.expected;
                let skipped_at_end = match place.cursor.next(limit)? {
                    Step::Record {
                        header,
                        payload,
                        skipped,
                    } => {
                        report(
                            &shared,
                            &mut self.position,
                            expected,
                            header.offset,
                            skipped,
                            out,
                        );
                        if header.offset >= self.position {
                            self.position = header.offset + 1;
                            bytes += payload.len();
                            out.push(Read::Record(Record {
                                offset: header.offset,
                                appended_at_us: header.appended_at_us,
                                payload,
                            }));
                        }
                        continue;
                    }
                    Step::BadPayload { header, skipped } => {
                        let lost = skipped + header.frame_len();
                        report(
                            &shared,
                            &mut self.position,
                            expected,
                            header.offset + 1,
                            lost,
                            out,
                        );
                        continue;
                    }
                    Step::End { skipped } => skipped,
                    // Durable by the book but not in the file: a sealed segment was shortened by
                    // something else, and will not grow again; an active one is left for later.
                    Step::Short if sealed => limit.saturating_sub(place.cursor.pos),
                    Step::Short => return Ok(out.len() - before),
                };
                report(
                    &shared,
                    &mut self.position,
                    expected,
                    boundary,
                    skipped_at_end,
                    out,
                );
                place.cursor.jump(limit, boundary.max(expected));
                if sealed {
                    self.at = None;
                    // Nothing below the next segment is left to find here.
                    self.position = self.position.max(boundary);
                } else if refreshed {
                    return Ok(out.len() - before);
                } else {
                    tail::refresh(partition)?;
                    refreshed = true;
                }
                break;
            }
        }
        Ok(out.len() - before)
    }

    /// Has a cursor on the segment that holds the position; false if there is nothing to read yet.
    fn find_place(&mut self, partition: &Partition) -> Result<bool, JournalError> {
        if self.at.is_some() {
            return Ok(true);
        }
        // Twice, because a trim may unlink the segment between the look and the opening.
        for _ in 0..2 {
            let base = {
                let view = partition.view();
                self.position = self.position.max(view.start());
                if self.position >= view.end {
                    return Ok(false);
                }
                let behind = view
                    .spans
                    .partition_point(|span| span.base <= self.position);
                match behind.checked_sub(1).and_then(|at| view.spans.get(at)) {
                    Some(span) => span.base,
                    None => return Ok(false),
                }
            };
            if let Some(cursor) = Cursor::open(&partition.dir, base)? {
                self.at = Some(Place { base, cursor });
                return Ok(true);
            }
            if self.shared.read_only {
                tail::refresh(partition)?;
            } else {
                std::thread::yield_now();
            }
        }
        Ok(false)
    }
}

fn bound(partition: &Partition, base: u64) -> Bound {
    let view = partition.view();
    let Ok(at) = view.spans.binary_search_by_key(&base, |span| span.base) else {
        return Bound::Gone;
    };
    match (view.spans.get(at), view.spans.get(at + 1)) {
        (Some(span), Some(next)) => Bound::Sealed {
            len: span.len,
            next: next.base,
        },
        (Some(span), None) => Bound::Active {
            len: span.len,
            end: view.end,
        },
        (None, _) => Bound::Gone,
    }
}

/// Reports the offsets from `from` up to `to` as damaged, as far as they were not passed before.
fn report(
    shared: &Shared,
    position: &mut u64,
    from: u64,
    to: u64,
    bytes: u64,
    out: &mut Vec<Read>,
) {
    let from = from.max(*position);
    if from < to {
        *position = to;
        Counters::add(&shared.counters.damaged_records, to - from);
        Counters::add(&shared.counters.damaged_bytes, bytes);
        out.push(Read::Damaged {
            offset_from: from,
            offset_to: to,
            bytes,
        });
    }
}
