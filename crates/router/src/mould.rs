//! The chunks of a streamed answer differ in their text only, as a rule: what was worked out of one need not be worked out again
//! for the next.
//!
//! A mould is made of two text chunks in a row, since the first may differ from those behind it. It holds as long as chunks fit,
//! and only the JSON of the text itself is read. What does not fit, in a single byte, is read in full and breaks the mould.

use crate::piece::Piece;
use crate::sse::Event;
use memchr::memmem;

/// Moulds that may break before no other is made: some providers put something new into every chunk.
const TRIES: u8 = 8;

/// What surrounds the text of an answer's chunks.
#[derive(Debug, Default)]
pub(crate) struct Mould {
    /// The chunk before was one of text.
    after_text: bool,
    broken: u8,
    name: String,
    read: Around,
    written: Around,
}

/// What stands before and behind one JSON text. Nothing does before a mould is made.
#[derive(Debug, Default)]
struct Around {
    before: Vec<u8>,
    behind: Vec<u8>,
}

impl Around {
    /// Of a JSON text that stands there once.
    fn of(all: &[u8], text: &[u8]) -> Option<Self> {
        let mut places = memmem::find_iter(all, text);
        let (place, None) = (places.next()?, places.next()) else {
            return None;
        };
        Some(Self {
            before: all[..place].to_vec(),
            behind: all[place + text.len()..].to_vec(),
        })
    }

    fn inside<'a>(&self, all: &'a [u8]) -> Option<&'a [u8]> {
        if self.before.is_empty() {
            return None;
        }
        all.strip_prefix(&*self.before)?.strip_suffix(&*self.behind)
    }
}

impl Mould {
    /// The text of a chunk that fits, and what the client reads of it, appended to `out`.
    pub(crate) fn pour(&self, event: &Event, out: &mut Vec<u8>) -> Option<Piece> {
        let json = self.read.inside(&event.data)?;
        // Space around a text may be a line end, which must not pass as it is.
        if event.name != self.name || !json.starts_with(b"\"") || !json.ends_with(b"\"") {
            return None;
        }
        let text: String = serde_json::from_slice(json).ok()?;
        if text.is_empty() {
            return None;
        }
        for part in [&*self.written.before, json, &*self.written.behind] {
            out.extend_from_slice(part);
        }
        Some(Piece::Text(text))
    }

    /// Learns from a chunk that did not fit, what was read of it, and what was written.
    pub(crate) fn learn(&mut self, event: &Event, pieces: &[Piece], written: &[u8]) {
        if !std::mem::take(&mut self.read).before.is_empty() {
            self.broken += 1;
        }
        if self.broken == TRIES {
            return;
        }
        let [Piece::Text(text)] = pieces else {
            self.after_text = false;
            return;
        };
        if std::mem::replace(&mut self.after_text, true)
            && let Some((read, written)) = surroundings(&event.data, text, written)
        {
            self.name.clone_from(&event.name);
            (self.read, self.written) = (read, written);
        }
    }
}

/// Where a text stands in what was read and written. Without escapes there is but one way to write it, so that a place which is
/// the only one is the right one.
fn surroundings(data: &[u8], text: &str, written: &[u8]) -> Option<(Around, Around)> {
    if memchr::memchr(b'\\', data).is_some() {
        return None;
    }
    let json = format!("\"{text}\"");
    Some((
        Around::of(data, json.as_bytes())?,
        Around::of(written, json.as_bytes())?,
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn event(data: &str) -> Event {
        Event {
            name: String::new(),
            data: data.to_owned().into(),
        }
    }

    fn learnt(chunks: &[(&str, &str, &str)]) -> Mould {
        let mut mould = Mould::default();
        for (data, text, written) in chunks {
            mould.learn(
                &event(data),
                &[Piece::Text((*text).to_owned())],
                written.as_bytes(),
            );
        }
        mould
    }

    fn poured(mould: &Mould, data: &str) -> Option<(Piece, String)> {
        let mut out = Vec::new();
        let piece = mould.pour(&event(data), &mut out)?;
        Some((piece, String::from_utf8(out).unwrap()))
    }

    #[test]
    fn what_fits_is_poured_and_what_does_not_is_left() {
        let mould = learnt(&[
            (r#"{"i":1,"t":"a"}"#, "a", r#"{"o":2,"c":"a"}"#),
            (r#"{"i":1,"t":"b"}"#, "b", r#"{"o":2,"c":"b"}"#),
        ]);
        for (json, text) in [(r#""c""#, "c"), (r#""\"\n\u00e4""#, "\"\nä")] {
            let (piece, out) = poured(&mould, &format!(r#"{{"i":1,"t":{json}}}"#)).unwrap();
            assert_eq!(piece, Piece::Text(text.to_owned()));
            assert_eq!(out, format!(r#"{{"o":2,"c":{json}}}"#));
        }
        for other in [
            r#"{"i":2,"t":"c"}"#,
            r#"{"i":1,"t":"c"} "#,
            "{\"i\":1,\"t\":\n\"c\"}",
            r#"{"i":1,"t":5}"#,
            r#"{"i":1,"t":"c","t":"d"}"#,
            r#"{"i":1,"t":""}"#,
            r#"{"i":1,"t":null}"#,
            r#"{"i":1,"t":"c}"#,
            "{\"i\":1,\"t\":\"\n\"}",
            r#"{"i":1,"t":}"#,
            r#"{"i":1,"t":"#,
        ] {
            assert_eq!(poured(&mould, other), None, "{other}");
        }
        let mut out = Vec::new();
        let mut named = event(r#"{"i":1,"t":"c"}"#);
        named.name = "error".to_owned();
        assert_eq!((mould.pour(&named, &mut out), out), (None, Vec::new()));
    }

    #[test]
    fn where_it_is_not_plain_which_text_it_was_nothing_is_learnt() {
        let fit = r#"{"i":"x","t":"c"}"#;
        for (data, text, written) in [
            (r#"{"i":"b","t":"b"}"#, "b", r#"["b"]"#),
            (r#"{"i":"b","t":"\u0062"}"#, "b", r#"["b"]"#),
            (r#"{"i":"x","t":"b"}"#, "b", r#"["b","b"]"#),
            (r#"{"i":"x","t":"b"}"#, "b", ""),
        ] {
            let mould = learnt(&[(fit, "c", r#"["c"]"#), (data, text, written)]);
            assert_eq!(poured(&mould, data), None, "{data}");
        }
        let mould = learnt(&[(fit, "c", r#"["c"]"#)]);
        assert_eq!(poured(&mould, fit), None, "one chunk is not enough");
    }
}
