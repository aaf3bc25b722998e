//! Server-sent events out of bytes that arrive cut anywhere (WHATWG HTML, "Server-sent events").
//!
//! Lines end in LF, CR or CRLF; a line that starts with a colon is a comment; several `data` lines of one event are joined
//! by LF. A byte order mark at the start is skipped. What grows beyond the limit is an error, whatever the cuts, so that an
//! endless line and an endless event cost bounded memory.

use bytes::{Buf, Bytes, BytesMut};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `event:`, empty where not given.
    pub name: String,
    /// `data:`, lines joined. May be invalid UTF-8: whoever reads it decides.
    pub data: Bytes,
}

impl Event {
    /// The data without the white space that JSON allows around a value, and no other: what is taken for JSON here goes to clients
    /// as it came, and they are stricter than ASCII is.
    pub fn json(&self) -> &[u8] {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let from = self.data.iter().take_while(is_space).count();
        let rest = self.data.get(from..).unwrap_or_default();
        let after = rest.iter().rev().take_while(is_space).count();
        rest.get(..rest.len() - after).unwrap_or_default()
    }
}

/// An event beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct TooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// The `data` lines of an event so far. A single one is not copied; empty ones are many in few bytes, so they take no more here.
#[derive(Debug, Default)]
enum Data {
    #[default]
    Nothing,
    Line(Bytes),
    Lines(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Line(line) => line.len() + 1,
            Self::Lines(lines) => lines.len() + 1,
        }
    }

    fn with(self, line: Bytes) -> Self {
        let mut lines = match self {
            Self::Nothing => return Self::Line(line),
            Self::Line(first) => BytesMut::from(first),
            Self::Lines(lines) => lines,
        };
        lines.extend_from_slice(b"\n");
        lines.extend_from_slice(&line);
        Self::Lines(lines)
    }
}

/// Cuts a byte stream into events.
#[derive(Debug)]
pub struct Parser {
    held: BytesMut,
    /// Bytes of `held` already searched for a line end.
    searched: usize,
    name: String,
    data: Data,
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
            data: Data::Nothing,
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
                return self.bounded(self.searched);
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

    /// Whether a line of so many bytes, as far as it goes, has a place in its event. What is no data counts, too: a line must not
    /// be refused or not as the cuts fall.
    fn bounded(&self, line: usize) -> Result<(), TooLarge> {
        if line + self.data.len() > self.limit {
            Err(TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }

    fn line(&mut self, mut line: Bytes, out: &mut Vec<Event>) -> Result<(), TooLarge> {
        self.bounded(line.len())?;
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
            b"data" => self.data = std::mem::take(&mut self.data).with(value),
            b"event" => self.name = String::from_utf8_lossy(&value).into_owned(),
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, out: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        let data = match std::mem::take(&mut self.data) {
            Data::Nothing => return,
            Data::Line(line) => line,
            Data::Lines(lines) => lines.freeze(),
        };
        out.push(Event { name, data });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    /// A form feed, which ASCII counts among the white space, is not JSON's.
    #[test]
    fn only_the_white_space_of_json_is_cut_off() {
        let json = |data: &'static [u8]| {
            let event = Event {
                data: Bytes::from_static(data),
                ..Event::default()
            };
            event.json().to_vec()
        };
        assert_eq!(json(b" \t\r\n{} \n"), b"{}");
        assert_eq!(json(b"\x0c {}"), b"\x0c {}");
        assert_eq!(json(b"{}\x0b"), b"{}\x0b");
        assert_eq!(json(b" \n"), b"");
        assert_eq!(json(b""), b"");
    }

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

    #[test]
    fn the_limit_holds_for_every_line_however_it_is_cut() {
        for line in ["data: ", ": ", "event: ", "id: "] {
            let long = format!("data: 1\n\n{line}{}\n\n", "x".repeat(100));
            for size in [1, 7, 1000] {
                let (mut parser, mut out) = (Parser::new(100), Vec::new());
                let mut parts = long.as_bytes().chunks(size);
                assert!(parts.any(|part| parser.push(part, &mut out).is_err()));
                assert_eq!(out.len(), 1, "{line} in parts of {size}");
            }
        }
    }

    #[test]
    fn empty_lines_of_data_take_no_more_than_they_are() {
        let (mut parser, mut out) = (Parser::new(10_000), Vec::new());
        parser
            .push("data\n".repeat(9_000).as_bytes(), &mut out)
            .unwrap();
        assert!(matches!(&parser.data, Data::Lines(lines) if lines.capacity() < 20_000));
        parser.finish(&mut out).unwrap();
        assert_eq!(out[0].data, "\n".repeat(8_999));
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
