//! An answer in chunks. The fields of a chunk are read as borrowed text where they need no unescaping: this is the hot path.

use super::{error, reply, usage};
use crate::adapters::{Decoder, Garbage};
use crate::piece::{FinishReason, Piece};
use crate::sse::Event;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// Reads chunks.
#[derive(Debug, Default)]
pub struct Stream {
    started: bool,
    complete: bool,
    finished: bool,
    /// Id of the call at each index, to tell a new call from more of the last where a provider gives no index.
    calls: Vec<String>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    x_groq: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Parts(Vec<Value>),
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    arguments: Option<Value>,
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        if self.complete {
            return Ok(());
        }
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            self.complete = true;
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let chunk: Chunk<'_> =
            serde_json::from_slice(data).map_err(|_| Garbage("a chunk that is not JSON"))?;
        let groq = || usage::read(chunk.x_groq.as_ref()?.get("usage")?);
        let counts = chunk.usage.as_ref().and_then(usage::read).or_else(groq);
        if let Some(problem) = chunk.error.filter(|problem| !problem.is_null()) {
            // What was counted until then is billed all the same.
            out.extend(counts.map(Piece::Usage));
            out.push(Piece::Failed(error::of(200, &problem)));
            return Ok(());
        }
        if !self.started {
            self.started = true;
            out.push(Piece::Start {
                id: chunk.id.map(Cow::into_owned).unwrap_or_default(),
                model: chunk.model.map(Cow::into_owned).unwrap_or_default(),
            });
        }
        // Further choices (`n`) are relayed by the one who passes the chunk on; the first one is characterised.
        for choice in chunk
            .choices
            .into_iter()
            .flatten()
            .filter(|choice| choice.index.unwrap_or(0) == 0)
        {
            if let Some(delta) = choice.delta {
                self.delta(delta, out);
            }
            if let Some(native) = choice.finish_reason.filter(|native| !native.is_empty()) {
                self.finished = true;
                let reason = reply::finish(&native, !self.calls.is_empty());
                out.push(Piece::Finish {
                    reason,
                    native: native.into_owned(),
                });
                if reason == FinishReason::Error {
                    out.push(Piece::Failed(error::of(200, &Value::Null)));
                }
            }
        }
        out.extend(counts.map(Piece::Usage));
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn at_end(&mut self) -> bool {
        // Several providers close after the finish reason and never say [DONE].
        self.complete |= self.finished;
        self.complete
    }
}

impl Stream {
    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<Piece>) {
        if let Some(thought) = delta
            .reasoning
            .or(delta.reasoning_content)
            .filter(|thought| !thought.is_empty())
        {
            out.push(Piece::Reasoning {
                text: thought.into_owned(),
                signature: None,
            });
        }
        match delta.content {
            Some(Content::Text(text)) if !text.is_empty() => {
                out.push(Piece::Text(text.into_owned()))
            }
            Some(Content::Parts(parts)) => reply::content(Some(&Value::Array(parts)), out),
            _ => {}
        }
        if let Some(words) = delta.refusal.filter(|words| !words.is_empty()) {
            out.push(Piece::Declined(words.into_owned()));
        }
        for call in delta.tool_calls.into_iter().flatten() {
            let id = call.id.as_deref().unwrap_or_default();
            let index = match call.index {
                Some(index) => index as usize,
                None if self.calls.is_empty() => 0,
                None if !id.is_empty() && self.calls.last().is_some_and(|last| last != id) => {
                    self.calls.len()
                }
                None => self.calls.len() - 1,
            };
            // An index from nowhere must not cost memory.
            let new = index >= self.calls.len();
            if new && self.calls.len() < 1024 {
                self.calls.resize(index.min(1023) + 1, String::new());
                if let Some(slot) = self.calls.last_mut() {
                    *slot = if id.is_empty() {
                        format!("call_{index}")
                    } else {
                        id.to_owned()
                    };
                }
            }
            let (name, arguments) = call
                .function
                .map_or((None, None), |function| (function.name, function.arguments));
            let arguments = match arguments {
                Some(Value::String(text)) => text,
                Some(Value::Null) | None => String::new(),
                Some(value) => value.to_string(),
            };
            out.push(Piece::ToolCall {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                id: new.then(|| self.calls.get(index).cloned().unwrap_or_default()),
                // Some providers repeat the name in every part.
                name: name
                    .filter(|name| new && !name.is_empty())
                    .map(Cow::into_owned),
                arguments,
            });
        }
    }
}
