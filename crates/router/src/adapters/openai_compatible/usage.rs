//! Token counts. Cached tokens are inside the prompt and reasoning inside the completion already.

use crate::piece::Usage;
use serde_json::Value;

/// A count, whatever a provider writes for one.
pub fn count(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Number(n)) => n.as_u64().unwrap_or_else(|| {
            n.as_f64()
                .filter(|n| n.is_finite() && *n > 0.0)
                .map_or(0, |n| n as u64)
        }),
        _ => 0,
    }
}

/// The counts of a `usage` object; none where it states none.
pub fn read(usage: &Value) -> Option<Usage> {
    let usage = usage.as_object()?;
    let top = |name: &str| count(usage.get(name));
    let inner = |outer: &str, name: &str| count(usage.get(outer).and_then(|outer| outer.get(name)));
    let either = |a: u64, b: u64| if a > 0 { a } else { b };
    if !usage.contains_key("prompt_tokens")
        && !usage.contains_key("completion_tokens")
        && !usage.contains_key("total_tokens")
    {
        return None;
    }
    let prompt = top("prompt_tokens");
    let completion = if usage.contains_key("completion_tokens") {
        top("completion_tokens")
    } else {
        top("total_tokens").saturating_sub(prompt)
    };
    let reasoning = either(
        inner("completion_tokens_details", "reasoning_tokens"),
        top("reasoning_tokens"),
    );
    // xAI states reasoning beside the completion: its total says so.
    let apart = usage.contains_key("total_tokens")
        && top("total_tokens") == prompt.saturating_add(completion).saturating_add(reasoning);
    Some(Usage {
        prompt,
        // DeepSeek and Moonshot name the cached ones at the top.
        cached: either(
            inner("prompt_tokens_details", "cached_tokens"),
            either(top("prompt_cache_hit_tokens"), top("cached_tokens")),
        ),
        cache_write: inner("prompt_tokens_details", "cache_write_tokens"),
        completion: if apart {
            completion.saturating_add(reasoning)
        } else {
            completion
        },
        reasoning,
        image_prompt: inner("prompt_tokens_details", "image_tokens"),
        audio_prompt: inner("prompt_tokens_details", "audio_tokens"),
        video_prompt: inner("prompt_tokens_details", "video_tokens"),
        image_completion: inner("completion_tokens_details", "image_tokens"),
        audio_completion: inner("completion_tokens_details", "audio_tokens"),
    })
}
