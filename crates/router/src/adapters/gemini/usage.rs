//! Token counts. `candidatesTokenCount` leaves thoughts out, and the prompt leaves out what tools put into it: both are added.

use crate::adapters::openai_compatible::usage::count;
use crate::piece::Usage;
use serde_json::Value;

/// The counts of a `usageMetadata` object; none where it states none.
pub fn read(usage: &Value) -> Option<Usage> {
    let usage = usage.as_object()?;
    let top = |name: &str| count(usage.get(name));
    let modal = |list: &str, modality: &str| -> u64 {
        let details = usage
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        details
            .filter(|detail| detail.get("modality").is_some_and(|m| m == modality))
            .map(|detail| count(detail.get("tokenCount")))
            .fold(0, u64::saturating_add)
    };
    if !usage.contains_key("promptTokenCount")
        && !usage.contains_key("candidatesTokenCount")
        && !usage.contains_key("totalTokenCount")
    {
        return None;
    }
    let reasoning = top("thoughtsTokenCount");
    Some(Usage {
        prompt: top("promptTokenCount").saturating_add(top("toolUsePromptTokenCount")),
        cached: top("cachedContentTokenCount"),
        cache_write: 0,
        completion: top("candidatesTokenCount").saturating_add(reasoning),
        reasoning,
        image_prompt: modal("promptTokensDetails", "IMAGE"),
        audio_prompt: modal("promptTokensDetails", "AUDIO"),
        video_prompt: modal("promptTokensDetails", "VIDEO"),
        image_completion: modal("candidatesTokensDetails", "IMAGE"),
        audio_completion: modal("candidatesTokensDetails", "AUDIO"),
    })
}
