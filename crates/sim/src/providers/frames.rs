//! A stream, written down before it is sent: one buffer, and where each part of it ends.

use std::fmt::Write;

/// The end of a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) end: usize,
    /// Tokens that were generated for it.
    pub(super) tokens: u32,
    /// Whether it carries content.
    pub(super) delta: bool,
}

/// The parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames {
    pub(super) data: Vec<u8>,
    pub(super) marks: Vec<Mark>,
}

impl Frames {
    /// A part without content.
    pub(super) fn note(&mut self, text: &str) {
        self.mark(0, false, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// A part with content: `text`, escaped, between two halves.
    pub(super) fn delta(&mut self, before: &str, text: &str, after: &str, tokens: u32) {
        self.mark(tokens, true, |out| {
            out.extend_from_slice(before.as_bytes());
            escape(text, out);
            out.extend_from_slice(after.as_bytes());
        });
    }

    /// A whole answer as one part.
    pub(super) fn whole(data: Vec<u8>, tokens: u64) -> Self {
        let mark = Mark {
            end: data.len(),
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            delta: true,
        };
        Self {
            data,
            marks: vec![mark],
        }
    }

    pub(super) fn mark(&mut self, tokens: u32, delta: bool, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.data);
        self.marks.push(Mark {
            end: self.data.len(),
            tokens,
            delta,
        });
    }

    /// How many parts make the first half: at least one with content where there is any.
    pub(super) fn half(&self) -> usize {
        let deltas = self.marks.iter().filter(|mark| mark.delta).count();
        let wanted = deltas.div_ceil(2).max(1);
        let mut seen = 0;
        for (index, mark) in self.marks.iter().enumerate() {
            seen += usize::from(mark.delta);
            if seen == wanted {
                return index + 1;
            }
        }
        self.marks.len()
    }

    /// Where a part begins.
    pub(super) fn begin(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .and_then(|before| self.marks.get(before))
            .map_or(0, |mark| mark.end)
    }

    /// Only the first parts.
    pub(super) fn keep(&mut self, count: usize) {
        self.marks.truncate(count);
        self.data
            .truncate(self.marks.last().map_or(0, |mark| mark.end));
    }
}

/// A text as the inside of a JSON string.
pub(super) fn escape(text: &str, out: &mut Vec<u8>) {
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            char if u32::from(char) < 0x20 => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(char));
            }
            char => escaped.push(char),
        }
    }
    out.extend_from_slice(escaped.as_bytes());
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn escapes_as_json_wants() {
        for text in ["plain", "a \"b\" \\ c\n\u{1}\t", "naïve 潮"] {
            let mut out = b"\"".to_vec();
            escape(text, &mut out);
            out.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn the_first_half_has_content() {
        let mut frames = Frames::default();
        frames.note("role");
        frames.delta("<", "one", ">", 1);
        frames.note("done");
        assert_eq!(frames.half(), 2);
        assert_eq!(frames.begin(1), 4);
        frames.keep(2);
        assert_eq!(frames.data, b"role<one>");
    }
}
