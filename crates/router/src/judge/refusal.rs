//! Whether the text of an answer declines. Reads the head only and keeps nothing.
//!
//! An answer declines when it does not do the main thing asked, because the model will not, or says that it, as an
//! assistant, may not or cannot: by policy ("I won't write that"), by ability ("I can't open links"), or by turning to
//! another topic. Offers of something else change nothing. It does not decline when the main thing is done with a caveat or
//! without a part, when it asks for what is missing, when the truthful answer is "there is none", or when the refusing words
//! are somebody else's: a quotation, a letter, a story, a translation, an error message.
//!
//! The way of a head: thinking and white space before it are skipped as they pass (`Head`), `words` brings it into one
//! spelling and takes out what is quoted, `features` names the runs of words and of concepts in it, and `weights` adds up
//! what each of them speaks for. The weights are learnt from the labelled heads beside the tests by
//! `examples/train_refusals.rs`; they are a text file, so that any verdict can be followed by eye.

mod features;
mod hash;
mod head;
mod weights;
mod words;

use features::Features;
use head::Head;

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
    #[must_use]
    pub fn declined(&self) -> bool {
        weights::of(self.head.as_str()) > 0.0
    }

    /// Calls with the name of everything a verdict on this text is based on, for training. Names may come more than once.
    pub fn features(&self, mut each: impl FnMut(String)) {
        Features::of(self.head.as_str()).each(|run| {
            let names: Vec<String> = run.iter().map(words::Symbol::name).collect();
            each(names.join(" "));
        });
    }
}
