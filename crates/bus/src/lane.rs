//! The writer's side of one partition: staging a group, writing it over as many segments as it
//! takes, and taking it back if that fails half-way.

use std::mem;
use std::path::Path;

use crate::error::JournalError;
use crate::faults::is_set;
use crate::record::{self, HEADER};
use crate::segment::{self, SegmentFile};
use crate::state::Span;

/// Buffers that grew beyond this in a busy moment are given back.
const KEEP_BUFFER: usize = 4 << 20;

/// The writer's side of one partition.
pub(crate) struct Lane {
    pub(crate) active: SegmentFile,
    /// Offset of the next record.
    pub(crate) next: u64,
    /// What the current group adds: bytes for the active segment, then for each further one.
    pub(crate) staged: Vec<Staged>,
    /// Segments this group completed, kept until the group is durable so that it can be undone.
    completed: Vec<SegmentFile>,
    /// Length of the segment that was active when the group began.
    pub(crate) mark: u64,
    spare: Vec<u8>,
}

/// Bytes for one segment.
pub(crate) struct Staged {
    base: u64,
    bytes: Vec<u8>,
}

/// Why a group could not be written, and whether it may be taken back.
pub(crate) struct Failed {
    pub(crate) error: JournalError,
    pub(crate) at_sync: bool,
}

impl Failed {
    fn writing(error: JournalError) -> Self {
        Self {
            error,
            at_sync: false,
        }
    }

    fn syncing(error: JournalError) -> Self {
        Self {
            error,
            at_sync: true,
        }
    }
}

impl Lane {
    pub(crate) fn new(active: SegmentFile, next: u64) -> Self {
        Self {
            next,
            mark: active.len,
            active,
            staged: Vec::new(),
            completed: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Whether the current group wrote here.
    pub(crate) fn touched(&self) -> bool {
        self.active.len != self.mark || !self.completed.is_empty()
    }

    /// Gives the record its offset and frames it, in a further segment if this one is full.
    pub(crate) fn stage(&mut self, now: i64, payload: &[u8], segment_bytes: u64) {
        if self.staged.is_empty() {
            self.mark = self.active.len;
            self.staged.push(Staged {
                base: self.active.base,
                bytes: mem::take(&mut self.spare),
            });
        }
        let already = if self.staged.len() == 1 {
            self.active.len
        } else {
            0
        };
        let filled = already + self.staged.last().map_or(0, |part| part.bytes.len()) as u64;
        if filled > 0 && filled + (HEADER + payload.len()) as u64 > segment_bytes {
            self.staged.push(Staged {
                base: self.next,
                bytes: Vec::new(),
            });
        }
        if let Some(part) = self.staged.last_mut() {
            record::push(&mut part.bytes, self.next, now, payload);
            self.next += 1;
        }
    }

    /// Writes what is staged. Completed segments are synced, the last one is not.
    pub(crate) fn write(&mut self, dir: &Path) -> Result<(), Failed> {
        for (nth, mut part) in mem::take(&mut self.staged).into_iter().enumerate() {
            if nth > 0 {
                // Complete before the next one exists: recovery relies on whole older segments.
                self.active.sync().map_err(Failed::syncing)?;
                if is_set("bug::skip_fsync") {
                    let path = self.active.path().to_owned();
                    self.active
                        .write_back()
                        .map_err(|e| Failed::writing(JournalError::io("write", &path, e)))?;
                }
                let fresh = SegmentFile::create(dir, part.base).map_err(Failed::writing)?;
                self.completed.push(mem::replace(&mut self.active, fresh));
            }
            self.active.write(&part.bytes).map_err(Failed::writing)?;
            if nth == 0 && part.bytes.capacity() <= KEEP_BUFFER {
                part.bytes.clear();
                self.spare = part.bytes;
            }
        }
        Ok(())
    }

    /// Leaves the files as they were before the group, and `next` as the next offset.
    pub(crate) fn undo(&mut self, dir: &Path, next: u64) -> Result<(), JournalError> {
        self.staged.clear();
        self.next = next;
        let mut fresh = mem::take(&mut self.completed).into_iter();
        if let Some(first) = fresh.next() {
            let last = mem::replace(&mut self.active, first);
            for made in fresh.chain([last]) {
                segment::remove(made.path())?;
            }
            segment::sync_dir(dir)?;
        }
        // Also when nothing was counted: a failed write may have put some bytes into the file.
        self.active.cut_back(self.mark.min(self.active.len))
    }

    /// Brings the readers' list up to date; answers by how many bytes it grew.
    pub(crate) fn publish(&mut self, spans: &mut Vec<Span>) -> u64 {
        let mut grown = 0;
        let completed = mem::take(&mut self.completed);
        for file in completed.iter().chain([&self.active]) {
            match spans.last_mut().filter(|span| span.base == file.base) {
                Some(span) => {
                    grown += file.len - span.len;
                    span.len = file.len;
                }
                None => {
                    grown += file.len;
                    spans.push(Span {
                        base: file.base,
                        len: file.len,
                    });
                }
            }
        }
        self.mark = self.active.len;
        grown
    }
}
