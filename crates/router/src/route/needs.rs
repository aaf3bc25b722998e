//! What a request itself takes, whatever its `provider` object says: room for its prompt, images, tools.

use crate::ask::{Ask, Operation};
use serde_json::Value;
use tidemark_catalog::Modality;

/// A token is a few bytes of text. A prompt has one token for four of them, roughly; never more than one for each; and hardly
/// less than one for eight, which is what a limit may rely on.
const BYTES_PER_TOKEN: u64 = 4;
const MOST_BYTES_PER_TOKEN: u64 = 8;
/// Tokens expected of an answer whose length the request leaves open.
const USUAL_ANSWER: u64 = 500;

/// What a request takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Text of the prompt, in bytes.
    pub prompt_bytes: u64,
    /// Longest answer the client wants, in tokens.
    pub max_tokens: Option<u64>,
    /// What the prompt holds.
    pub input: Modalities,
    /// Parameters the request uses.
    pub parameters: Parameters,
    /// It wants vectors.
    pub embeds: bool,
}

/// Modalities as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modalities(u8);

impl Modalities {
    /// Of a list.
    pub fn of(list: &[Modality]) -> Self {
        Self(list.iter().fold(0, |bits, one| bits | 1 << *one as u8))
    }

    fn add(&mut self, one: Modality) {
        self.0 |= 1 << one as u8;
    }

    /// Whether all of these are among others.
    pub fn within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }
}

/// Parameters as bits, by the position of their name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parameters(u32);

/// Parameters that not every model takes, and the fields of a chat request that use them.
const PARAMETERS: [(&str, &[&str]); 17] = [
    ("tools", &["tools", "tool_choice", "parallel_tool_calls"]),
    (
        "structured_outputs",
        &["response_format", "structured_outputs"],
    ),
    (
        "reasoning",
        &["reasoning", "reasoning_effort", "include_reasoning"],
    ),
    ("temperature", &["temperature"]),
    ("top_p", &["top_p"]),
    ("top_k", &["top_k"]),
    ("top_a", &["top_a"]),
    ("min_p", &["min_p"]),
    ("frequency_penalty", &["frequency_penalty"]),
    ("presence_penalty", &["presence_penalty"]),
    ("repetition_penalty", &["repetition_penalty"]),
    ("logit_bias", &["logit_bias"]),
    ("logprobs", &["logprobs", "top_logprobs"]),
    ("seed", &["seed"]),
    ("stop", &["stop"]),
    ("verbosity", &["verbosity"]),
    ("dimensions", &["dimensions"]),
];

impl Parameters {
    /// Those that an endpoint is known to take.
    pub fn known(names: &[String]) -> Self {
        let is_listed = |name: &str| names.iter().any(|listed| listed == name);
        Self::those(PARAMETERS.len(), |(name, fields)| {
            is_listed(name) || fields.iter().any(|field| is_listed(field))
        })
    }

    /// Those that a request uses; of the others than tools only if asked for, since it takes a look at each.
    fn used(ask: &Ask, all: bool) -> Self {
        let is_used = |field: &&str| ask.body.get(*field).is_some_and(is_set);
        let looked_at = if all { PARAMETERS.len() } else { 1 };
        Self::those(looked_at, |(_, fields)| fields.iter().any(is_used))
    }

    fn those(looked_at: usize, hold: impl Fn(&(&str, &[&str])) -> bool) -> Self {
        let bit = |(n, parameter)| u32::from(hold(parameter)) << n;
        let looked_at = PARAMETERS.iter().take(looked_at);
        Self(looked_at.enumerate().map(bit).sum())
    }

    /// Whether all of these are among others.
    pub fn within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// Whether tools are among them.
    pub fn tools(self) -> bool {
        self.0 & 1 != 0
    }

    /// None.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Whether a field asks for anything.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => object.get("type").is_none_or(|kind| kind != "text"),
        _ => true,
    }
}

impl Needs {
    /// Reads them off a request; `parameters` beyond tools only where they must all be known.
    pub fn of(ask: &Ask, parameters: bool) -> Self {
        let mut needs = Self {
            max_tokens: ["max_completion_tokens", "max_tokens"]
                .iter()
                .find_map(|field| ask.body.get(*field).and_then(Value::as_u64)),
            parameters: Parameters::used(ask, parameters),
            embeds: ask.operation == Operation::Embeddings,
            ..Self::default()
        };
        match ask.body.get("messages") {
            Some(Value::Array(messages)) => {
                for message in messages {
                    needs.content(message.get("content").unwrap_or(&Value::Null));
                }
            }
            _ => needs.content(ask.body.get("input").unwrap_or(&Value::Null)),
        }
        needs
    }

    fn content(&mut self, content: &Value) {
        match content {
            Value::String(text) => self.text(text),
            Value::Array(parts) => parts.iter().for_each(|part| self.part(part)),
            _ => {}
        }
    }

    fn part(&mut self, part: &Value) {
        if let Some(text) = part.as_str().or_else(|| part.get("text")?.as_str()) {
            return self.text(text);
        }
        match part.get("type").and_then(Value::as_str) {
            Some("image_url" | "input_image" | "image") => self.input.add(Modality::Image),
            Some("input_audio" | "audio_url") => self.input.add(Modality::Audio),
            Some("video_url" | "input_video") => self.input.add(Modality::Video),
            Some("file" | "input_file" | "document") => self.input.add(Modality::File),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.prompt_bytes += text.len() as u64;
        self.input.add(Modality::Text);
    }

    /// Tokens of the prompt, roughly.
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_bytes.div_ceil(BYTES_PER_TOKEN)
    }

    /// Tokens that the prompt has at most, as far as it is text: of images nothing is known.
    pub fn most_prompt_tokens(&self) -> u64 {
        if self.input.within(Modalities::of(&[Modality::Text])) {
            self.prompt_bytes
        } else {
            u64::MAX
        }
    }

    /// Tokens that the prompt has at least.
    pub fn least_prompt_tokens(&self) -> u64 {
        self.prompt_bytes / MOST_BYTES_PER_TOKEN
    }

    /// Tokens of the answer, roughly.
    pub fn answer_tokens(&self) -> u64 {
        match self.max_tokens {
            _ if self.embeds => 0,
            Some(most) => most.min(USUAL_ANSWER),
            None => USUAL_ANSWER,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::ask::{chat, embeddings};
    use serde_json::json;

    fn needs(more: Value) -> Needs {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "12345678"}]});
        let object = body.as_object_mut().unwrap();
        object.extend(more.as_object().unwrap().clone());
        Needs::of(&chat::read(object.clone()).unwrap(), true)
    }

    #[test]
    fn sizes() {
        let needs = needs(json!({"max_tokens": 7}));
        assert_eq!(
            (
                needs.prompt_bytes,
                needs.prompt_tokens(),
                needs.least_prompt_tokens()
            ),
            (8, 2, 1)
        );
        assert_eq!((needs.max_tokens, needs.answer_tokens()), (Some(7), 7));
        let body = json!({"model": "m", "input": ["four", "more"]});
        let needs = Needs::of(
            &embeddings::read(body.as_object().unwrap().clone()).unwrap(),
            true,
        );
        assert_eq!((needs.prompt_bytes, needs.answer_tokens()), (8, 0));
    }

    #[test]
    fn modalities() {
        let image = json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "https://x"}}]}]});
        let input = needs(image).input;
        assert!(input.within(Modalities::of(&[Modality::Text, Modality::Image])));
        assert!(!input.within(Modalities::of(&[Modality::Text])));
    }

    #[test]
    fn parameters() {
        let known = |names: &[&str]| {
            Parameters::known(
                &names
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let tools = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "auto"});
        let used = needs(tools).parameters;
        assert!(used.tools() && used.within(known(&["tools"])) && !used.within(known(&["seed"])));
        assert!(
            needs(json!({"tools": [], "response_format": {"type": "text"}, "seed": null}))
                .parameters
                .is_empty()
        );
        let used =
            needs(json!({"response_format": {"type": "json_object"}, "top_k": 3})).parameters;
        assert!(
            used.within(known(&["response_format", "top_k"])) && !used.within(known(&["top_k"]))
        );
    }
}
