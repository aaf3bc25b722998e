//! Whether the text of an answer declines. Reads the head only and keeps nothing.
//!
//! The way of a head: thinking and white space before it are skipped as they pass (`Head`), `shape` takes out what is not
//! the model speaking (quotations, code, letters, scripts), then `english` and `elsewhere` look for a first person who
//! will not do what was asked, and for help that follows all the same. Precision comes before recall: a doubt is "no".
//!
//! A statement of a missing ability or a missing input ("I can't see the image") is no refusal; nor is partial help.

mod clause;
mod elsewhere;
mod english;
mod head;
mod shape;
mod words;

use aho_corasick::AhoCorasick;
use head::Head;

/// Finds any of some phrases in one pass. A few hundred short phrases are far below what it cannot hold.
fn any_of(phrases: impl IntoIterator<Item = &'static str>) -> Option<AhoCorasick> {
    AhoCorasick::new(phrases).ok()
}

/// Judges one answer's text as it passes.
#[derive(Debug, Default)]
pub struct RefusalJudge {
    head: Head,
}

impl RefusalJudge {
    /// Takes in the next text. Cuts may fall anywhere between characters.
    pub fn text(&mut self, text: &str) {
        self.head.push(text);
    }

    /// Whether the text seen so far declines. The caller knows of tool calls: an answer that called one has not declined.
    pub fn declined(&self) -> bool {
        let Some(said) = shape::said(self.head.as_str()) else {
            return false;
        };
        english::declines(&said, self.head.passed()) || elsewhere::declines(&said)
    }
}
