//! One segment file: named by its first offset, written at the end, read by a cursor.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::JournalError;
use crate::faults;
use crate::record::{self, HEADER, Header};

/// How much a cursor reads at once. Payloads are slices of this buffer.
const CHUNK: u64 = 1 << 20;

const SUFFIX: &str = ".seg";

/// The file name of the segment that starts at `base`; zero-padded so that names sort.
pub(crate) fn file_name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// The first offset a file name stands for, if it is exactly one we would have given.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let base = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (file_name(base) == name).then_some(base)
}

/// Makes creations, renames and unlinks in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), JournalError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| JournalError::io("sync the folder", dir, e))
}

/// The end of a partition, where records are written.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) base: u64,
    pub(crate) len: u64,
    path: PathBuf,
    file: File,
    volatile: bool,
    /// Written but not in the file yet. Only filled by the model of the page cache.
    unsynced: Vec<u8>,
}

impl SegmentFile {
    /// A new, empty segment whose folder entry is durable.
    pub(crate) fn create(dir: &Path, base: u64) -> Result<Self, JournalError> {
        let path = dir.join(file_name(base));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| JournalError::io("create", &path, e))?;
        if let Err(error) = sync_dir(dir) {
            // Out of the way of the next try, which would otherwise find the name taken.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self::new(base, 0, path, file))
    }

    /// An existing segment, to go on writing at `len`, where the caller found its intact end.
    pub(crate) fn reopen(dir: &Path, base: u64, len: u64) -> Result<Self, JournalError> {
        let path = dir.join(file_name(base));
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            if file.metadata()?.len() != len {
                file.set_len(len)?;
            }
            file.seek(SeekFrom::Start(len))?;
            // What a killed process wrote may be in the page cache only. It is about to be shown to
            // readers, who may record that they have it, so it must not vanish afterwards.
            file.sync_all()?;
            Ok(file)
        };
        let file = open().map_err(|e| JournalError::io("reopen", &path, e))?;
        Ok(Self::new(base, len, path, file))
    }

    fn new(base: u64, len: u64, path: PathBuf, file: File) -> Self {
        Self {
            base,
            len,
            path,
            file,
            volatile: faults::volatile_page_cache(),
            unsynced: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        if faults::is_set("journal::fail_write") {
            // Half of it reaches the file, as when a disk fills up.
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            self.put(half)
                .and(Err(io::Error::from(io::ErrorKind::StorageFull)))
        } else {
            self.put(bytes)
        }
        .map_err(|e| JournalError::io("write", &self.path, e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.volatile {
            self.unsynced.extend_from_slice(bytes);
            return Ok(());
        }
        self.file.write_all(bytes)
    }

    /// Makes everything written so far durable. The caller must never try again after an error:
    /// the kernel may have dropped the dirty pages and would then answer "done".
    pub(crate) fn sync(&mut self) -> Result<(), JournalError> {
        if faults::is_set("bug::skip_fsync") {
            return Ok(());
        }
        let synced = if faults::is_set("journal::fail_sync") {
            Err(io::Error::other("planted sync failure"))
        } else {
            self.write_back().and_then(|()| self.file.sync_data())
        };
        synced.map_err(|e| JournalError::io("sync", &self.path, e))
    }

    /// Hands held-back bytes to the file, as a kernel does with old pages in its own time.
    pub(crate) fn write_back(&mut self) -> io::Result<()> {
        self.file.write_all(&self.unsynced)?;
        self.unsynced.clear();
        Ok(())
    }

    /// Forgets everything from `len` on.
    pub(crate) fn cut_back(&mut self, len: u64) -> Result<(), JournalError> {
        let mut cut = || -> io::Result<()> {
            let in_file = self.file.metadata()?.len();
            let keep = usize::try_from(len.saturating_sub(in_file)).unwrap_or(usize::MAX);
            self.unsynced.truncate(keep);
            let in_file = in_file.min(len);
            self.file.set_len(in_file)?;
            self.file.seek(SeekFrom::Start(in_file))?;
            Ok(())
        };
        cut().map_err(|e| JournalError::io("cut back", &self.path, e))?;
        self.len = len;
        Ok(())
    }
}

/// What a cursor met next.
#[derive(Debug)]
pub(crate) enum Step {
    /// An intact record, after `skipped` bytes that belong to none.
    Record {
        header: Header,
        payload: Bytes,
        skipped: u64,
    },
    /// An intact header with a payload that is not what was written.
    BadPayload { header: Header, skipped: u64 },
    /// Nothing intact from here to the limit, which is `skipped` bytes away.
    End { skipped: u64 },
    /// The file ends before the limit does.
    Short,
}

/// Walks the records of one segment in order, past whatever is damaged.
#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    file: File,
    /// File position behind the last record delivered.
    pub(crate) pos: u64,
    /// The offset that an undamaged record at `pos` must carry.
    pub(crate) expected: u64,
    buffer: Bytes,
    buffer_at: u64,
}

impl Cursor {
    /// A cursor at the first record. `Ok(None)` if the file is gone.
    pub(crate) fn open(dir: &Path, base: u64) -> Result<Option<Self>, JournalError> {
        let path = dir.join(file_name(base));
        match File::open(&path) {
            Ok(file) => Ok(Some(Self {
                path,
                file,
                pos: 0,
                expected: base,
                buffer: Bytes::new(),
                buffer_at: 0,
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(JournalError::io("open", &path, e)),
        }
    }

    pub(crate) fn file_len(&self) -> Result<u64, JournalError> {
        let meta = self.file.metadata();
        Ok(meta
            .map_err(|e| JournalError::io("look at", &self.path, e))?
            .len())
    }

    /// The next step, looking at no byte at or beyond `limit`.
    pub(crate) fn next(&mut self, limit: u64) -> Result<Step, JournalError> {
        let mut at = self.pos;
        loop {
            let skipped = at - self.pos;
            if limit.saturating_sub(at) < HEADER as u64 {
                return Ok(Step::End {
                    skipped: limit.saturating_sub(self.pos),
                });
            }
            if !self.fill(at, HEADER as u64, limit)? {
                return Ok(Step::Short);
            }
            match Header::decode(self.buffered(at)) {
                // No more records than fit into the skipped bytes can be missing. This also keeps a
                // payload that looks like a record from moving the offsets about.
                Some(header)
                    if header.frame_len() <= limit - at
                        && header.offset >= self.expected
                        && header.offset - self.expected <= skipped / HEADER as u64 =>
                {
                    if !self.fill(at, header.frame_len(), limit)? {
                        return Ok(Step::Short);
                    }
                    self.pos = at + header.frame_len();
                    self.expected = header.offset + 1;
                    let from = (at - self.buffer_at) as usize + HEADER;
                    let payload = self.buffer.slice(from..from + header.len as usize);
                    return Ok(if crc32c::crc32c(&payload) == header.payload_crc {
                        Step::Record {
                            header,
                            payload,
                            skipped,
                        }
                    } else {
                        Step::BadPayload { header, skipped }
                    });
                }
                _ => {
                    let bytes = self.buffered(at);
                    // Without a hit, the last three bytes may still be the start of one.
                    at += record::find_magic(bytes, 1).unwrap_or(bytes.len() - 3) as u64;
                }
            }
        }
    }

    /// Moves behind a region that the caller has accounted for.
    pub(crate) fn jump(&mut self, pos: u64, expected: u64) {
        self.pos = pos;
        self.expected = expected;
    }

    /// The `len` bytes at `at`, or fewer if the file ends before.
    pub(crate) fn peek(&mut self, at: u64, len: u64) -> Result<Bytes, JournalError> {
        self.fill(at, len, at + len)?;
        let bytes = self.buffered(at);
        Ok(self
            .buffer
            .slice_ref(&bytes[..bytes.len().min(len as usize)]))
    }

    /// Buffered bytes from file position `at` on.
    fn buffered(&self, at: u64) -> &[u8] {
        at.checked_sub(self.buffer_at)
            .and_then(|from| self.buffer.get(from as usize..))
            .unwrap_or_default()
    }

    /// Has `len` bytes from `at` on in the buffer; false if the file is shorter than that.
    fn fill(&mut self, at: u64, len: u64, limit: u64) -> Result<bool, JournalError> {
        if self.buffered(at).len() as u64 >= len {
            return Ok(true);
        }
        let want = CHUNK.max(len).min(limit - at);
        let mut chunk = Vec::with_capacity(want as usize);
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| (&self.file).take(want).read_to_end(&mut chunk))
            .map_err(|e| JournalError::io("read", &self.path, e))?;
        self.buffer = Bytes::from(chunk);
        self.buffer_at = at;
        Ok(self.buffer.len() as u64 >= len)
    }
}

/// Deletes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(JournalError::io("delete", path, e)),
        _ => Ok(()),
    }
}

/// Segments of a folder by first offset, and every other file name in it.
pub(crate) fn list(dir: &Path) -> Result<(Vec<u64>, Vec<PathBuf>), JournalError> {
    let mut bases = Vec::new();
    let mut others = Vec::new();
    let entries = fs::read_dir(dir).map_err(|e| JournalError::io("list the folder", dir, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| JournalError::io("list the folder", dir, e))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        match entry.file_name().to_str().and_then(parse_name) {
            Some(base) if is_file => bases.push(base),
            _ => others.push(entry.path()),
        }
    }
    bases.sort_unstable();
    Ok((bases, others))
}
