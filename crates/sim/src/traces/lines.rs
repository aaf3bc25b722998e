//! Lines of a plain or gzipped file, one at a time, with a bound on what a line may take.

use super::TraceError;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use xxhash_rust::xxh64::Xxh64;

/// A line over this is an error of that line and is skipped without being held.
pub(crate) use tidemark_event::ndjson::MAX_LINE_BYTES;

const GZIP: [u8; 2] = [0x1F, 0x8B];
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Counts what is read from the disk, for a progress bar.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens `path`, unpacking gzip when the content says so: names lie, magic bytes seldom do.
pub(crate) fn open(
    path: &Path,
    count: Arc<AtomicU64>,
) -> Result<Box<dyn BufRead + Send>, TraceError> {
    let file = File::open(path).map_err(|source| TraceError::Open {
        path: path.to_owned(),
        source,
    })?;
    let mut reader = BufReader::with_capacity(256 << 10, Counted { inner: file, count });
    if reader
        .fill_buf()
        .map_err(TraceError::Read)?
        .starts_with(&GZIP)
    {
        Ok(Box::new(BufReader::with_capacity(
            256 << 10,
            MultiGzDecoder::new(reader),
        )))
    } else {
        Ok(Box::new(reader))
    }
}

/// A hash over the unpacked content: the same trace has the same ids under any name, packed or not.
pub(crate) fn fingerprint(path: &Path) -> Result<u64, TraceError> {
    let mut reader = open(path, Arc::default())?;
    let mut hash = Xxh64::new(0);
    loop {
        let chunk = reader.fill_buf().map_err(TraceError::Read)?;
        if chunk.is_empty() {
            return Ok(hash.digest());
        }
        hash.update(chunk);
        let used = chunk.len();
        reader.consume(used);
    }
}

/// What [`Lines::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A line, now in [`Lines::text`].
    Line,
    /// A line over the limit; it has been passed over.
    TooLong,
    /// No more lines.
    End,
}

/// Reads lines without their end (`\n` or `\r\n`) and without a byte order mark on the first.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    limit: usize,
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(crate) fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Self {
            reader,
            limit: MAX_LINE_BYTES,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The number of the line last read, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The line last read.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads the next line.
    pub(crate) fn advance(&mut self) -> io::Result<Step> {
        self.buffer.clear();
        let (mut any, mut long) = (false, false);
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(chunk.len(), |at| at + 1);
            any |= used > 0;
            let piece = &chunk[..end.unwrap_or(chunk.len())];
            if long || self.buffer.len() + piece.len() > self.limit {
                long = true;
                self.buffer = Vec::new();
            } else {
                self.buffer.extend_from_slice(piece);
            }
            let finished = end.is_some() || used == 0;
            self.reader.consume(used);
            if finished {
                break;
            }
        }
        if !any {
            return Ok(Step::End);
        }
        self.number += 1;
        if long {
            return Ok(Step::TooLong);
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        if self.number == 1 && self.buffer.starts_with(BOM) {
            self.buffer.drain(..BOM.len());
        }
        Ok(Step::Line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn lines(text: &'static [u8], limit: usize) -> Lines {
        Lines {
            reader: Box::new(BufReader::with_capacity(4, text)),
            limit,
            buffer: Vec::new(),
            number: 0,
        }
    }

    #[test]
    fn ends_marks_and_limits() {
        let mut lines = lines(b"\xEF\xBB\xBFone\r\n\ntoo long for it\nlast", 8);
        let mut seen = Vec::new();
        loop {
            match lines.advance().unwrap() {
                Step::End => break,
                step => seen.push((
                    lines.number(),
                    step,
                    String::from_utf8_lossy(lines.text()).into_owned(),
                )),
            }
        }
        assert_eq!(
            seen,
            [
                (1, Step::Line, "one".to_owned()),
                (2, Step::Line, String::new()),
                (3, Step::TooLong, String::new()),
                (4, Step::Line, "last".to_owned()),
            ]
        );
    }
}
