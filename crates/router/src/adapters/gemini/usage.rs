//! Token counts of Gemini: `candidatesTokenCount` leaves out thoughts, `promptTokenCount` leaves out what the provider's own
//! tools put into the prompt.

use crate::adapters::wire::{Count, List, Maybe, Str, part};
use crate::piece::Usage;
use serde::Deserialize;

/// `usageMetadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Wire<'a> {
    prompt_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    tool_use_prompt_token_count: Count,
    cached_content_token_count: Count,
    #[serde(borrow)]
    prompt_tokens_details: List<Maybe<Detail<'a>>>,
    #[serde(borrow)]
    tool_use_prompt_tokens_details: List<Maybe<Detail<'a>>>,
    #[serde(borrow)]
    candidates_tokens_details: List<Maybe<Detail<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail<'a> {
    #[serde(borrow)]
    modality: Str<'a>,
    token_count: Count,
}

impl Wire<'_> {
    /// Normalised; nothing where no count was given.
    pub(super) fn usage(&self) -> Option<Usage> {
        if self.prompt_token_count.0.is_none() && self.candidates_token_count.0.is_none() {
            return None;
        }
        let prompt = self.prompt_token_count.or_zero() + self.tool_use_prompt_token_count.or_zero();
        let reasoning = self.thoughts_token_count.or_zero();
        let completion = self.candidates_token_count.or_zero() + reasoning;
        let (mut of_prompt, mut of_completion) = (prompt, completion);
        let mut prompt_of = |modality| {
            let stated = of(&self.prompt_tokens_details, modality);
            part(
                &mut of_prompt,
                stated.saturating_add(of(&self.tool_use_prompt_tokens_details, modality)),
            )
        };
        let mut completion_of = |modality| {
            part(
                &mut of_completion,
                of(&self.candidates_tokens_details, modality),
            )
        };
        Some(Usage {
            prompt,
            cached: self.cached_content_token_count.or_zero().min(prompt),
            cache_write: 0,
            completion,
            reasoning,
            image_prompt: prompt_of("IMAGE"),
            audio_prompt: prompt_of("AUDIO"),
            video_prompt: prompt_of("VIDEO"),
            image_completion: completion_of("IMAGE"),
            audio_completion: completion_of("AUDIO"),
        })
    }
}

fn of(details: &List<Maybe<Detail<'_>>>, modality: &str) -> u64 {
    let counts = details
        .0
        .iter()
        .filter_map(|detail| detail.0.as_ref())
        .filter(|detail| detail.modality.0 == modality);
    counts
        .map(|detail| detail.token_count.or_zero())
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn thoughts_and_tools_are_added() {
        let text = r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":7,"toolUsePromptTokenCount":3,"cachedContentTokenCount":4,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":6},{"modality":"IMAGE","tokenCount":4}],"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":2}]}"#;
        let usage = serde_json::from_str::<Wire>(text).unwrap().usage().unwrap();
        let want = Usage {
            prompt: 13,
            cached: 4,
            completion: 12,
            reasoning: 7,
            image_prompt: 4,
            audio_completion: 2,
            ..Usage::default()
        };
        assert_eq!(usage, want);
        assert_eq!(
            serde_json::from_str::<Wire>(r#"{"trafficType":"ON_DEMAND","promptTokenCount":-1}"#)
                .unwrap()
                .usage(),
            None
        );
    }
}
