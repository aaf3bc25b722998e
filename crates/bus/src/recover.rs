//! Opening: find the segments, judge the tail, set aside what is not ours to read.
//!
//! The writer syncs a segment before it starts the next, so only a partition's last segment can end
//! in a write that a crash interrupted. Its tail is judged by one rule: bytes that can be a whole
//! record stay where they are, since that record may have been acknowledged, and are reported as
//! damaged; bytes that cannot (too few, or all zero, or announcing more than there is) were never
//! acknowledged and are cut off, after a copy.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::error::JournalError;
use crate::record::{HEADER, Header};
use crate::segment::{self, Cursor, SegmentFile, Step};
use crate::state::{Counters, Span, View, partition_dir};

const LAYOUT: &str = "layout";
const SET_ASIDE: &str = "set-aside";

/// How many partitions the journal in `dir` was made with.
pub(crate) fn stored_partitions(dir: &Path) -> Option<u32> {
    let by_note = fs::read_to_string(dir.join(LAYOUT))
        .ok()
        .and_then(|text| text.trim().strip_prefix("partitions ")?.parse().ok());
    // The folders are the fact, the note only guards against a crash while they are being made.
    by_note.or_else(|| match (0..).find(|n| !partition_dir(dir, *n).is_dir()) {
        Some(0) | None => None,
        found => found,
    })
}

/// Makes the folders of a new journal, or completes them.
pub(crate) fn lay_out(dir: &Path, partitions: u32) -> Result<(), JournalError> {
    for partition in 0..partitions {
        let path = partition_dir(dir, partition);
        fs::create_dir_all(&path).map_err(|e| JournalError::io("create the folder", &path, e))?;
    }
    let note = dir.join(LAYOUT);
    let text = format!("partitions {partitions}\n");
    if fs::read_to_string(&note).ok().as_ref() != Some(&text) {
        let fresh = dir.join("layout.new");
        fs::write(&fresh, text)
            .and_then(|()| File::open(&fresh)?.sync_all())
            .and_then(|()| fs::rename(&fresh, &note))
            .map_err(|e| JournalError::io("write", &note, e))?;
    }
    segment::sync_dir(dir)
}

/// A partition ready to be written.
pub(crate) struct Recovered {
    pub(crate) view: View,
    pub(crate) active: SegmentFile,
}

/// Repairs one partition of the journal in `root`. Only the process that holds the lock may.
pub(crate) fn recover(
    root: &Path,
    partition: u32,
    counters: &Counters,
) -> Result<Recovered, JournalError> {
    let dir = partition_dir(root, partition);
    let (found, strangers) = segment::list(&dir)?;
    for path in strangers {
        set_aside(root, partition, &path, "it is not a segment", counters)?;
    }
    // Offsets that a misnamed segment has used up must not be given out again.
    let mut floor = 0;
    let mut spans: Vec<Span> = Vec::new();
    for base in found {
        let Some(mut cursor) = Cursor::open(&dir, base)? else {
            continue;
        };
        let len = cursor.file_len()?;
        let first = Header::decode(&cursor.peek(0, HEADER as u64)?);
        if let Some(header) = first.filter(|header| header.offset != base) {
            let mut used = Cursor::open(&dir, base)?.unwrap_or(cursor);
            used.jump(0, header.offset);
            floor = floor.max(scan(&mut used, len)?.end);
            let path = dir.join(segment::file_name(base));
            let why = "its name and its first record disagree";
            set_aside(root, partition, &path, why, counters)?;
            continue;
        }
        spans.push(Span { base, len });
    }

    let mut end = floor;
    let mut active = None;
    if let Some(last) = spans.last_mut()
        && let Some(mut cursor) = Cursor::open(&dir, last.base)?
    {
        let tail = scan(&mut cursor, last.len)?;
        if tail.intact < last.len {
            let torn = last.len - tail.intact;
            copy_tail(root, partition, &dir, last.base, tail.intact, counters)?;
            tracing::warn!(
                partition,
                bytes = torn,
                offset = tail.end,
                "cut off a write that a crash interrupted; it was never acknowledged"
            );
            Counters::add(&counters.torn_tails, 1);
            Counters::add(&counters.torn_bytes, torn);
            last.len = tail.intact;
        }
        active = Some(SegmentFile::reopen(&dir, last.base, last.len)?);
        end = end.max(tail.end);
        if tail.end < end {
            active = None;
        }
    }
    let active = match active {
        Some(active) => active,
        None => {
            // An empty segment that would get the same name is one already.
            let active = match spans.last() {
                Some(last) if last.base == end => SegmentFile::reopen(&dir, end, last.len)?,
                _ => SegmentFile::create(&dir, end)?,
            };
            if spans.last().is_none_or(|last| last.base != end) {
                spans.push(Span { base: end, len: 0 });
            }
            active
        }
    };
    segment::sync_dir(&dir)?;
    Counters::add(&counters.bytes, spans.iter().map(|span| span.len).sum());
    Ok(Recovered {
        view: View { spans, end },
        active,
    })
}

/// Where a segment's records end.
pub(crate) struct Tail {
    /// File position behind the last byte to keep.
    pub(crate) intact: u64,
    /// One beyond the last offset.
    pub(crate) end: u64,
}

/// Walks to the end of what was written whole.
pub(crate) fn scan(cursor: &mut Cursor, len: u64) -> Result<Tail, JournalError> {
    loop {
        match cursor.next(len)? {
            Step::Record { .. } | Step::BadPayload { .. } => {}
            Step::Short | Step::End { skipped: 0 } => break,
            Step::End { skipped } => {
                let head = cursor.peek(cursor.pos, (HEADER as u64).min(skipped))?;
                match Header::decode_mended(&head) {
                    Some(header)
                        if header.offset == cursor.expected && header.frame_len() <= skipped =>
                    {
                        cursor.jump(cursor.pos + header.frame_len(), header.offset + 1);
                    }
                    _ => break,
                }
            }
        }
    }
    Ok(Tail {
        intact: cursor.pos,
        end: cursor.expected,
    })
}

fn copy_tail(
    root: &Path,
    partition: u32,
    dir: &Path,
    base: u64,
    from: u64,
    counters: &Counters,
) -> Result<(), JournalError> {
    use std::io::{Seek as _, SeekFrom};

    let source = dir.join(segment::file_name(base));
    let name = format!("p{partition:04}-{base:020}-from-{from}.tail");
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(root.join(SET_ASIDE))?;
        let mut source = File::open(&source)?;
        source.seek(SeekFrom::Start(from))?;
        let mut target = File::create(root.join(SET_ASIDE).join(&name))?;
        std::io::copy(&mut source, &mut target)?;
        target.sync_all()
    };
    match copy() {
        Ok(()) => Counters::add(&counters.set_aside, 1),
        // The copy is for a curious person; a full disk must not keep the journal from opening.
        Err(error) => tracing::warn!(partition, %error, "could not keep a copy of the cut tail"),
    }
    Ok(())
}

fn set_aside(
    root: &Path,
    partition: u32,
    path: &Path,
    why: &str,
    counters: &Counters,
) -> Result<(), JournalError> {
    let folder = root.join(SET_ASIDE);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = (0..u32::MAX)
        .map(|n| folder.join(format!("p{partition:04}-{name}.{n}")))
        .find(|target| !target.exists())
        .unwrap_or_else(|| folder.join(&*name));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::rename(path, target))
        .map_err(|e| JournalError::io("set aside", path, e))?;
    segment::sync_dir(&folder)?;
    counters.set_aside.fetch_add(1, Ordering::Relaxed);
    tracing::error!(partition, file = %name, "set a file aside because {why}; look into set-aside/");
    Ok(())
}
