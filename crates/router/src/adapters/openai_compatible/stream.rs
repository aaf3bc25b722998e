//! A streamed chat answer. The path of every token: chunks are read into borrowed structs, and what is copied is only what
//! leaves in a piece.

use super::error;
use super::usage::Wire as UsageWire;
use crate::adapters::finish::Finish;
use crate::adapters::wire::{Count, JsonText, List, Maybe, Str, object};
use crate::adapters::{Decoder, Garbage};
use crate::piece::{FinishReason, Piece};
use crate::sse::Event;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// One chunk, or a whole answer: they differ in `delta` and `message` only.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::adapters) struct Chunk<'a> {
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    model: Str<'a>,
    #[serde(borrow)]
    pub(super) choices: List<Maybe<Choice<'a>>>,
    usage: Maybe<UsageWire>,
    /// Groq says the counts of a stream here.
    x_groq: Maybe<Groq>,
    pub(super) error: Option<Value>,
    /// Of embeddings: that it is there.
    pub(super) data: Presence,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice<'a> {
    index: Count,
    #[serde(borrow)]
    delta: Maybe<Delta<'a>>,
    #[serde(borrow)]
    message: Maybe<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Str<'a>,
    /// OpenRouter: what the provider behind it said.
    #[serde(borrow)]
    native_finish_reason: Str<'a>,
    /// Moonshot says the counts of a stream here.
    usage: Maybe<UsageWire>,
    /// OpenRouter.
    error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Content<'a>,
    #[serde(borrow)]
    reasoning: Str<'a>,
    #[serde(borrow)]
    reasoning_content: Str<'a>,
    #[serde(borrow)]
    reasoning_details: List<Maybe<Detail<'a>>>,
    #[serde(borrow)]
    refusal: Str<'a>,
    #[serde(borrow)]
    tool_calls: List<Maybe<Call<'a>>>,
}

/// OpenRouter: the thinking with its proof. Only the proof is read here; the text stands in `reasoning` too.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail<'a> {
    #[serde(borrow)]
    r#type: Str<'a>,
    #[serde(borrow)]
    signature: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Call<'a> {
    index: Count,
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    function: Maybe<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    arguments: JsonText<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Groq {
    usage: Maybe<UsageWire>,
}

/// Text, or Mistral's list of texts and thoughts.
#[derive(Debug, Default)]
enum Content<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContentPart<'a> {
    #[serde(borrow)]
    r#type: Str<'a>,
    #[serde(borrow)]
    text: Str<'a>,
    #[serde(borrow)]
    thinking: List<Maybe<Thought<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Thought<'a> {
    #[serde(borrow)]
    text: Str<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for V<'a> {
            type Value = Content<'a>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("any JSON")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Content<'a>, E> {
                Ok(Content::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Content<'a>, E> {
                Ok(Content::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Content<'a>, E> {
                Ok(Content::Nothing)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Content<'a>, E> {
                Ok(Content::Nothing)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Content<'a>, E> {
                Ok(Content::Nothing)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Content<'a>, E> {
                Ok(Content::Nothing)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Content<'a>, E> {
                Ok(Content::Nothing)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content<'a>, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = seq.next_element::<Maybe<ContentPart<'a>>>()? {
                    parts.extend(part.0);
                }
                Ok(Content::Parts(parts))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content<'a>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Content::Nothing)
            }
        }
        deserializer.deserialize_any(V(PhantomData))
    }
}

/// Whether a list stands there, without keeping it.
#[derive(Debug, Default)]
pub(super) struct Presence(bool);

impl Presence {
    /// Whether it does.
    pub(super) fn is_list(&self) -> bool {
        self.0
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = List::<IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(!list.0.is_empty()))
    }
}

/// One tool call of the answer.
#[derive(Debug)]
struct Slot {
    wire_index: Option<u64>,
    id: String,
    /// Its number among the pieces: that of the moment when its name was known.
    index: Option<u32>,
    /// Arguments that came before the name.
    held: String,
}

impl Slot {
    fn begin(&mut self, named: &mut u32, name: String) -> Piece {
        let index = *named;
        *named = named.saturating_add(1);
        self.index = Some(index);
        Piece::ToolCall {
            index,
            id: Some(self.id.clone()),
            name: Some(name),
            arguments: std::mem::take(&mut self.held),
        }
    }
}

/// Reads one streamed answer.
#[derive(Debug, Default)]
pub(in crate::adapters) struct Stream {
    started: bool,
    slots: Vec<Slot>,
    /// Calls whose name is known.
    named: u32,
    finish: Finish,
    failed: bool,
    done: bool,
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        let data = event.json();
        if data == b"[DONE]" {
            self.done = true;
            if self.started {
                self.end(out.len(), out);
            }
            return Ok(());
        }
        if data.is_empty() || self.failed {
            return Ok(());
        }
        let chunk: Chunk<'_> =
            object(data).ok_or(Garbage("an event is not the JSON of a chat chunk"))?;
        if event.name == "error" && chunk.error.is_none() {
            self.failed = true;
            out.push(Piece::Failed(error::error(0, data)));
            return Ok(());
        }
        self.chunk(chunk, out);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.done || self.failed
    }

    fn at_end(&self) -> bool {
        self.done || self.finish.is_said() || self.failed
    }
}

impl Stream {
    /// The pieces of one chunk. Returns where in `out` a finish belongs: before the counts.
    pub(super) fn chunk(&mut self, chunk: Chunk<'_>, out: &mut Vec<Piece>) -> usize {
        // Azure's first chunk has neither id nor choices: the answer begins after it.
        let says = !chunk.choices.0.is_empty() || !chunk.id.is_empty() || !chunk.model.is_empty();
        if says && !self.started {
            self.started = true;
            out.push(Piece::Start {
                id: chunk.id.0.into_owned(),
                model: chunk.model.0.into_owned(),
            });
        }
        let (mut usage, mut failure) = (
            chunk.usage.0.and_then(|usage| usage.usage()),
            chunk.error.filter(|e| !e.is_null()),
        );
        for choice in chunk.choices.0.into_iter().filter_map(|choice| choice.0) {
            if choice.index.or_zero() > 0 {
                continue;
            }
            if let Some(delta) = choice.delta.0.or(choice.message.0) {
                self.delta(delta, out);
            }
            usage = usage.or_else(|| choice.usage.0?.usage());
            failure = failure.or(choice.error.filter(|e| !e.is_null()));
            if !choice.finish_reason.is_empty() {
                let native = if choice.native_finish_reason.is_empty() {
                    &choice.finish_reason
                } else {
                    &choice.native_finish_reason
                };
                self.begin_nameless(out);
                let called = !self.slots.is_empty();
                self.finish
                    .say(reason(&choice.finish_reason.0), &native.0, called, out);
            }
        }
        let before_usage = out.len();
        out.extend(
            usage
                .or_else(|| chunk.x_groq.0?.usage.0?.usage())
                .map(Piece::Usage),
        );
        if let Some(failure) = failure {
            self.failed = true;
            out.push(Piece::Failed(error::in_band(&failure)));
        }
        before_usage
    }

    /// The end of an answer that named no reason for it.
    pub(super) fn end(&mut self, at: usize, out: &mut Vec<Piece>) {
        if !self.finish.is_said() && !self.failed {
            let mut finish = Vec::new();
            self.begin_nameless(&mut finish);
            self.finish
                .say(FinishReason::Stop, "", !self.slots.is_empty(), &mut finish);
            let at = at.min(out.len());
            out.splice(at..at, finish);
        }
    }

    fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<Piece>) {
        let thought = if delta.reasoning.is_empty() {
            delta.reasoning_content
        } else {
            delta.reasoning
        };
        if !thought.is_empty() {
            out.push(Piece::Reasoning {
                text: thought.0.into_owned(),
                signature: None,
            });
        }
        for detail in delta
            .reasoning_details
            .0
            .into_iter()
            .filter_map(|detail| detail.0)
        {
            if detail.r#type.0 == "reasoning.text" && !detail.signature.is_empty() {
                out.push(Piece::Reasoning {
                    text: String::new(),
                    signature: Some(detail.signature.0.into_owned()),
                });
            }
        }
        match delta.content {
            Content::Text(text) if !text.is_empty() => out.push(Piece::Text(text.into_owned())),
            Content::Nothing | Content::Text(_) => {}
            Content::Parts(parts) => {
                for part in parts {
                    if part.r#type.0 == "text" && !part.text.is_empty() {
                        out.push(Piece::Text(part.text.0.into_owned()));
                    }
                    for thought in part.thinking.0.into_iter().filter_map(|thought| thought.0) {
                        if !thought.text.is_empty() {
                            out.push(Piece::Reasoning {
                                text: thought.text.0.into_owned(),
                                signature: None,
                            });
                        }
                    }
                }
            }
        }
        if !delta.refusal.is_empty() {
            out.push(Piece::Declined(delta.refusal.0.into_owned()));
        }
        for call in delta.tool_calls.0.into_iter().filter_map(|call| call.0) {
            self.call(call, out);
        }
    }

    fn call(&mut self, call: Call<'_>, out: &mut Vec<Piece>) {
        let function = call.function.0.unwrap_or_default();
        let at = match self.find(call.index.0, &call.id.0, &function.name.0) {
            Some(at) => at,
            None => {
                let id = if call.id.is_empty() {
                    format!("call_{}", self.slots.len())
                } else {
                    call.id.0.into_owned()
                };
                self.slots.push(Slot {
                    wire_index: call.index.0,
                    id,
                    index: None,
                    held: String::new(),
                });
                self.slots.len() - 1
            }
        };
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        let arguments = function.arguments.0;
        match slot.index {
            Some(index) if !arguments.is_empty() => out.push(Piece::ToolCall {
                index,
                id: None,
                name: None,
                arguments: arguments.into_owned(),
            }),
            Some(_) => {}
            // A call begins with its name, or clients that write it down as it begins never learn it.
            None => {
                slot.held.push_str(&arguments);
                if !function.name.is_empty() {
                    out.push(slot.begin(&mut self.named, function.name.0.into_owned()));
                }
            }
        }
    }

    /// Begins the calls whose name never came.
    fn begin_nameless(&mut self, out: &mut Vec<Piece>) {
        let nameless = self.slots.iter_mut().filter(|slot| slot.index.is_none());
        out.extend(nameless.map(|slot| slot.begin(&mut self.named, String::new())));
    }

    /// Which call a part belongs to. Some providers leave out the index, some give every call the index 0 and tell them apart
    /// by id, some repeat id and name in every part.
    fn find(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        if !id.is_empty()
            && let Some(at) = self.slots.iter().position(|slot| slot.id == id)
        {
            return Some(at);
        }
        // A new id with a name opens a new call; a new id without one is noise in a call already open.
        if !id.is_empty() && !name.is_empty() {
            return None;
        }
        match index {
            Some(index) => self
                .slots
                .iter()
                .rposition(|slot| slot.wire_index == Some(index)),
            None if name.is_empty() => self.slots.len().checked_sub(1),
            None => None,
        }
    }
}

/// The reasons providers give, in ours. One that nobody knows is taken for an ordinary end; `native` keeps it.
fn reason(said: &str) -> FinishReason {
    match said {
        "length" | "max_tokens" | "model_length" | "MAX_TOKENS" => FinishReason::Length,
        "tool_calls" | "tool_use" | "function_call" => FinishReason::ToolCalls,
        "content_filter" | "safety" | "SAFETY" | "recitation" | "RECITATION" | "sensitive" => {
            FinishReason::ContentFilter
        }
        "error"
        | "network_error"
        | "insufficient_system_resource"
        | "abort"
        | "malformed_function_call" => FinishReason::Error,
        _ => FinishReason::Stop,
    }
}

#[cfg(test)]
mod tests;
