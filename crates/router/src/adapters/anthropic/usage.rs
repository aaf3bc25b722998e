//! Token counts. `input_tokens` leaves cached tokens out, whether read or written: they are added to the prompt.

use crate::adapters::openai_compatible::usage::count;
use crate::piece::Usage;
use serde_json::Value;

/// The counts of a `usage` object, over those known before: the end of a stream states only what has changed.
pub fn read(usage: &Value, before: Option<Counts>) -> Option<Counts> {
    let usage = usage.as_object()?;
    let known = before.unwrap_or_default();
    let or = |name: &str, known: u64| {
        if usage.get(name).is_some_and(Value::is_number) {
            count(usage.get(name))
        } else {
            known
        }
    };
    let thinking = usage
        .get("output_tokens_details")
        .and_then(|details| details.get("thinking_tokens"));
    Some(Counts {
        input: or("input_tokens", known.input),
        read: or("cache_read_input_tokens", known.read),
        written: or("cache_creation_input_tokens", known.written),
        output: or("output_tokens", known.output),
        thinking: thinking.map_or(known.thinking, |thinking| count(Some(thinking))),
    })
}

/// The counts as Anthropic states them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    input: u64,
    read: u64,
    written: u64,
    output: u64,
    thinking: u64,
}

impl From<Counts> for Usage {
    fn from(counts: Counts) -> Self {
        Self {
            prompt: counts
                .input
                .saturating_add(counts.read)
                .saturating_add(counts.written),
            cached: counts.read,
            cache_write: counts.written,
            completion: counts.output,
            reasoning: counts.thinking,
            ..Self::default()
        }
    }
}
