//! Token counts of the messages API: `input_tokens` leaves out what came from or went to the cache.

use crate::adapters::wire::{Count, Maybe};
use crate::piece::Usage;
use serde::Deserialize;

/// `usage`, of a message, of its start, or of its last delta.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    input_tokens: Count,
    cache_creation_input_tokens: Count,
    cache_read_input_tokens: Count,
    output_tokens: Count,
    output_tokens_details: Maybe<OutputDetails>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Count,
}

impl Wire {
    /// The counts of a later event are cumulative and replace these where they are given.
    pub(super) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens = later
            .cache_creation_input_tokens
            .or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later
            .cache_read_input_tokens
            .or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = Maybe(
            later
                .output_tokens_details
                .0
                .or(self.output_tokens_details.0),
        );
    }

    /// Normalised; nothing where no count was given.
    pub(super) fn usage(&self) -> Option<Usage> {
        if self.input_tokens.0.is_none() && self.output_tokens.0.is_none() {
            return None;
        }
        let (cached, cache_write) = (
            self.cache_read_input_tokens.or_zero(),
            self.cache_creation_input_tokens.or_zero(),
        );
        let completion = self.output_tokens.or_zero();
        Some(Usage {
            prompt: self.input_tokens.or_zero() + cached + cache_write,
            cached,
            cache_write,
            completion,
            reasoning: self
                .output_tokens_details
                .0
                .map_or(0, |details| details.thinking_tokens.or_zero())
                .min(completion),
            ..Usage::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_cache_is_part_of_the_prompt() {
        let mut wire: Wire = serde_json::from_str(r#"{"input_tokens":5,"cache_creation_input_tokens":7,"cache_read_input_tokens":11,"output_tokens":1}"#).unwrap();
        let later = r#"{"output_tokens":30,"input_tokens":null,"output_tokens_details":{"thinking_tokens":20}}"#;
        wire.update(serde_json::from_str(later).unwrap());
        let want = Usage {
            prompt: 23,
            cached: 11,
            cache_write: 7,
            completion: 30,
            reasoning: 20,
            ..Usage::default()
        };
        assert_eq!(wire.usage(), Some(want));
        assert_eq!(
            serde_json::from_str::<Wire>(r#"{"input_tokens":-1,"output_tokens":"x"}"#)
                .unwrap()
                .usage(),
            None
        );
    }
}
