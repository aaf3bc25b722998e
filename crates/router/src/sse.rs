//! Server-sent events out of bytes that arrive cut anywhere (WHATWG HTML, "Server-sent events").
//!
//! Lines end in LF, CR or CRLF; a line that starts with a colon is a comment; several `data` lines of one event are joined
//! by LF. A byte order mark at the start is skipped. What grows beyond the limit is an error, so that an endless line costs
//! bounded memory.

use bytes::{Buf, Bytes, BytesMut};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `event:`, empty where not given.
    pub name: String,
    /// `data:`, lines joined. May be invalid UTF-8: whoever reads it decides.
    pub data: Bytes,
}

/// An event beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct TooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Cuts a byte stream into events.
#[derive(Debug)]
pub struct Parser {
    held: BytesMut,
    /// Bytes of `held` already searched for a line end.
    searched: usize,
    name: String,
    data: Vec<Bytes>,
    data_bytes: usize,
    limit: usize,
    started: bool,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
}

impl Parser {
    /// A parser that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            held: BytesMut::new(),
            searched: 0,
            name: String::new(),
            data: Vec::new(),
            data_bytes: 0,
            limit,
            started: false,
            after_cr: false,
        }
    }

    /// Takes in the next bytes and appends the events they complete.
    ///
    /// # Errors
    /// When an event grows beyond the limit; the stream cannot be read on.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLarge> {
        self.held.extend_from_slice(bytes);
        loop {
            if self.after_cr && !self.held.is_empty() {
                if self.held[0] == b'\n' {
                    self.held.advance(1);
                }
                self.after_cr = false;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', &self.held[self.searched..]) else {
                self.searched = self.held.len();
                return if self.searched + self.data_bytes > self.limit {
                    Err(TooLarge { limit: self.limit })
                } else {
                    Ok(())
                };
            };
            let end = self.searched + end;
            self.after_cr = self.held[end] == b'\r';
            let line = self.held.split_to(end).freeze();
            self.held.advance(1);
            self.searched = 0;
            self.line(line, out)?;
        }
    }

    /// The event that the end of the stream cut short of its empty line, if any. Several providers forget the last one.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), TooLarge> {
        if !self.held.is_empty() {
            let line = self.held.split().freeze();
            self.line(line, out)?;
        }
        self.dispatch(out);
        Ok(())
    }

    fn line(&mut self, mut line: Bytes, out: &mut Vec<Event>) -> Result<(), TooLarge> {
        if !self.started {
            self.started = true;
            if line.starts_with(b"\xef\xbb\xbf") {
                line.advance(3);
            }
        }
        if line.is_empty() {
            self.dispatch(out);
            return Ok(());
        }
        let (field, mut value) = match memchr::memchr(b':', &line) {
            Some(0) => return Ok(()),
            Some(at) => (line.slice(..at), line.slice(at + 1..)),
            None => (line, Bytes::new()),
        };
        if value.first() == Some(&b' ') {
            value.advance(1);
        }
        match &field[..] {
            b"data" => {
                self.data_bytes += value.len() + 1;
                if self.data_bytes > self.limit {
                    return Err(TooLarge { limit: self.limit });
                }
                self.data.push(value);
            }
            b"event" => self.name = String::from_utf8_lossy(&value).into_owned(),
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, out: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        self.data_bytes = 0;
        if self.data.is_empty() {
            return;
        }
        let data = if self.data.len() == 1 {
            self.data.remove(0)
        } else {
            let mut joined = BytesMut::new();
            for (n, line) in self.data.drain(..).enumerate() {
                if n > 0 {
                    joined.extend_from_slice(b"\n");
                }
                joined.extend_from_slice(&line);
            }
            joined.freeze()
        };
        out.push(Event { name, data });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn events(parts: &[&[u8]]) -> Vec<(String, String)> {
        let (mut parser, mut out) = (Parser::new(1 << 20), Vec::new());
        for part in parts {
            parser.push(part, &mut out).unwrap();
        }
        parser.finish(&mut out).unwrap();
        out.into_iter()
            .map(|e| (e.name, String::from_utf8(e.data.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn every_line_end_and_comments() {
        let text = b"\xef\xbb\xbf: hello\r\nevent: a\r\ndata: 1\r\n\r\ndata:2\rdata: 3\r\rid: 7\nretry\n\ndata: last";
        assert_eq!(
            events(&[text]),
            [("a", "1"), ("", "2\n3"), ("", "last")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
    }

    #[test]
    fn an_endless_line_ends_in_an_error() {
        let mut parser = Parser::new(100);
        let mut out = Vec::new();
        assert!((0..20).any(|_| parser.push(b"data: 123456789", &mut out).is_err()));
        let mut parser = Parser::new(100);
        assert!((0..200).any(|_| parser.push(b"data: 1\n", &mut out).is_err()));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(0_usize..80, 0..6)) {
            let text = "event: a\r\ndata: {\"t\":\"d\u{e9}j\u{e0} vu \u{1f30a}\"}\r\n\r\n: c\n\ndata: x\ndata: y\n\n";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % text.len()).collect();
            cuts.sort_unstable();
            let (mut parts, mut from) = (Vec::new(), 0);
            for cut in cuts { parts.push(&text.as_bytes()[from..cut]); from = cut; }
            parts.push(&text.as_bytes()[from..]);
            prop_assert_eq!(events(&parts), events(&[text.as_bytes()]));
        }
    }
}
