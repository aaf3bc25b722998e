//! Token counts of the OpenAI API and what others made of them.

use crate::adapters::wire::{Count, Maybe, part};
use crate::piece::Usage;
use serde::Deserialize;

/// `usage`. `prompt_tokens` includes cached tokens everywhere.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(in crate::adapters) struct Wire {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Maybe<PromptDetails>,
    completion_tokens_details: Maybe<CompletionDetails>,
    /// DeepSeek.
    prompt_cache_hit_tokens: Count,
    /// Together and Moonshot.
    cached_tokens: Count,
    /// Mistral.
    num_cached_tokens: Count,
    /// Perplexity and older servers.
    reasoning_tokens: Count,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
    audio_tokens: Count,
    image_tokens: Count,
    video_tokens: Count,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Count,
    audio_tokens: Count,
    image_tokens: Count,
}

impl Wire {
    /// Normalised; nothing where no count was given.
    pub(in crate::adapters) fn usage(&self) -> Option<Usage> {
        if self.prompt_tokens.0.is_none() && self.completion_tokens.0.is_none() {
            return None;
        }
        let prompt_details = self.prompt_tokens_details.0.unwrap_or_default();
        let completion_details = self.completion_tokens_details.0.unwrap_or_default();
        let prompt = self.prompt_tokens.or_zero();
        let reasoning = completion_details
            .reasoning_tokens
            .or(self.reasoning_tokens)
            .or_zero();
        let mut completion = self.completion_tokens.or_zero();
        // xAI counts thinking beside the completion: its total says so. So does thinking that exceeds the completion.
        if reasoning > completion
            || (reasoning > 0 && self.total_tokens.0 == Some(prompt + completion + reasoning))
        {
            completion += reasoning;
        }
        let cached = prompt_details
            .cached_tokens
            .or(self.prompt_cache_hit_tokens)
            .or(self.cached_tokens)
            .or(self.num_cached_tokens)
            .or_zero()
            .min(prompt);
        let (mut of_prompt, mut of_completion) = (prompt, completion);
        Some(Usage {
            prompt,
            cached,
            // OpenRouter has said of tokens of Gemini that they were both written and read.
            cache_write: prompt_details
                .cache_write_tokens
                .or_zero()
                .min(prompt - cached),
            completion,
            reasoning,
            image_prompt: part(&mut of_prompt, prompt_details.image_tokens.or_zero()),
            audio_prompt: part(&mut of_prompt, prompt_details.audio_tokens.or_zero()),
            video_prompt: part(&mut of_prompt, prompt_details.video_tokens.or_zero()),
            image_completion: part(
                &mut of_completion,
                completion_details.image_tokens.or_zero(),
            ),
            audio_completion: part(
                &mut of_completion,
                completion_details.audio_tokens.or_zero(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(text: &str) -> Option<Usage> {
        serde_json::from_str::<Wire>(text).unwrap().usage()
    }

    #[test]
    fn where_cached_tokens_stand() {
        for field in [
            r#""prompt_tokens_details":{"cached_tokens":4}"#,
            r#""prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6"#,
            r#""cached_tokens":4"#,
            r#""num_cached_tokens":4,"prompt_tokens_details":null"#,
        ] {
            let usage = read(&format!(
                r#"{{"prompt_tokens":10,"completion_tokens":2,{field}}}"#
            ))
            .unwrap();
            assert_eq!(
                (usage.prompt, usage.cached, usage.completion),
                (10, 4, 2),
                "{field}"
            );
        }
    }

    #[test]
    fn thinking_beside_the_completion_is_added() {
        let details = r#""completion_tokens_details":{"reasoning_tokens":30}"#;
        for (text, completion) in [
            (
                format!(
                    r#"{{"prompt_tokens":10,"completion_tokens":50,"total_tokens":90,{details}}}"#
                ),
                80,
            ),
            (
                format!(
                    r#"{{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,{details}}}"#
                ),
                50,
            ),
            (
                format!(r#"{{"prompt_tokens":10,"completion_tokens":2,{details}}}"#),
                32,
            ),
        ] {
            let usage = read(&text).unwrap();
            assert_eq!(
                (usage.completion, usage.reasoning),
                (completion, 30),
                "{text}"
            );
        }
    }

    #[test]
    fn noise() {
        assert_eq!(read("{}"), None);
        assert_eq!(
            read(r#"{"prompt_tokens":"many","completion_tokens":null}"#),
            None
        );
        let usage = read(
            r#"{"prompt_tokens":-5,"completion_tokens":2.0,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":1e300}}"#,
        );
        assert_eq!(
            usage,
            Some(Usage {
                completion: 2,
                ..Usage::default()
            })
        );
    }
}
