//! A streamed message. Blocks that the provider's own tools make (searches, code runs, their results) are not carried.

use super::error;
use super::usage::Wire as UsageWire;
use crate::adapters::wire::{Count, JsonText, List, Maybe, Str, object};
use crate::adapters::{Decoder, Garbage};
use crate::piece::{FinishReason, Piece};
use crate::sse::Event;
use serde::Deserialize;
use serde_json::Value;

/// One event, or a whole message: a message has its fields at the top.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Frame<'a> {
    #[serde(borrow)]
    r#type: Str<'a>,
    index: Count,
    #[serde(borrow)]
    message: Maybe<Message<'a>>,
    #[serde(borrow)]
    content_block: Maybe<Block<'a>>,
    #[serde(borrow)]
    delta: Maybe<Delta<'a>>,
    usage: Maybe<UsageWire>,
    error: Option<Value>,
}

/// A whole message, or its start.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) r#type: Str<'a>,
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    model: Str<'a>,
    #[serde(borrow)]
    content: List<Maybe<Block<'a>>>,
    #[serde(borrow)]
    stop_reason: Str<'a>,
    #[serde(borrow)]
    stop_details: Maybe<StopDetails<'a>>,
    usage: Maybe<UsageWire>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block<'a> {
    #[serde(borrow)]
    r#type: Str<'a>,
    #[serde(borrow)]
    id: Str<'a>,
    #[serde(borrow)]
    name: Str<'a>,
    #[serde(borrow)]
    text: Str<'a>,
    #[serde(borrow)]
    thinking: Str<'a>,
    #[serde(borrow)]
    signature: Str<'a>,
    #[serde(borrow)]
    input: JsonText<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    r#type: Str<'a>,
    #[serde(borrow)]
    text: Str<'a>,
    #[serde(borrow)]
    thinking: Str<'a>,
    #[serde(borrow)]
    signature: Str<'a>,
    #[serde(borrow)]
    partial_json: Str<'a>,
    #[serde(borrow)]
    stop_reason: Str<'a>,
    #[serde(borrow)]
    stop_details: Maybe<StopDetails<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StopDetails<'a> {
    #[serde(borrow)]
    explanation: Str<'a>,
}

/// A tool call whose block is open.
#[derive(Debug)]
struct Open {
    block: u64,
    index: u32,
    /// What stood in the block's start, for the case that no part of the arguments follows.
    input: String,
    /// Parts of the arguments have been given.
    given: bool,
}

/// Reads one streamed message.
#[derive(Debug, Default)]
pub(super) struct Stream {
    id: Option<String>,
    open: Vec<Open>,
    calls: u32,
    usage: UsageWire,
    complete: bool,
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        let data = event.json();
        if data.is_empty() || self.complete {
            return Ok(());
        }
        let frame: Frame<'_> =
            object(data).ok_or(Garbage("an event is not the JSON of a message event"))?;
        match &*frame.r#type.0 {
            "content_block_delta" => self.delta(
                frame.index.or_zero(),
                frame.delta.0.unwrap_or_default(),
                out,
            ),
            "content_block_start" => self.start_block(
                frame.index.or_zero(),
                frame.content_block.0.unwrap_or_default(),
                out,
            ),
            "content_block_stop" => self.stop_block(frame.index.or_zero(), out),
            "message_start" => self.start(frame.message.0.unwrap_or_default(), out)?,
            "message_delta" => {
                let delta = frame.delta.0.unwrap_or_default();
                self.close(out);
                self.finish(&delta.stop_reason.0, delta.stop_details, out);
                self.count(frame.usage, out);
            }
            "message_stop" => {
                self.close(out);
                self.complete = true;
            }
            "error" => {
                self.complete = true;
                out.push(Piece::Failed(error::in_band(
                    &frame.error.unwrap_or_default(),
                )));
            }
            // Pings, and whatever is new: the API asks clients to pass over events they do not know.
            _ => {}
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Stream {
    /// The pieces of a whole message.
    pub(super) fn message(
        &mut self,
        mut message: Message<'_>,
        out: &mut Vec<Piece>,
    ) -> Result<(), Garbage> {
        let blocks = std::mem::take(&mut message.content.0);
        let reason = std::mem::take(&mut message.stop_reason);
        let details = std::mem::take(&mut message.stop_details);
        let usage = std::mem::take(&mut message.usage);
        self.start(message, out)?;
        for (at, block) in blocks.into_iter().enumerate() {
            self.start_block(at as u64, block.0.unwrap_or_default(), out);
            self.stop_block(at as u64, out);
        }
        let reason = if reason.is_empty() {
            "end_turn"
        } else {
            &reason.0
        };
        self.finish(reason, details, out);
        self.count(usage, out);
        Ok(())
    }

    fn start(&mut self, message: Message<'_>, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        if let Some(id) = &self.id {
            // Seen in the wild: the same start twice is harmless; another answer spliced in is not.
            return if *id == message.id.0 {
                Ok(())
            } else {
                Err(Garbage("a second message begins inside the first"))
            };
        }
        self.id = Some(message.id.0.clone().into_owned());
        out.push(Piece::Start {
            id: message.id.0.into_owned(),
            model: message.model.0.into_owned(),
        });
        self.count(message.usage, out);
        Ok(())
    }

    fn start_block(&mut self, at: u64, block: Block<'_>, out: &mut Vec<Piece>) {
        match &*block.r#type.0 {
            "text" if !block.text.is_empty() => out.push(Piece::Text(block.text.0.into_owned())),
            "thinking" if !block.thinking.is_empty() || !block.signature.is_empty() => {
                let signature =
                    (!block.signature.is_empty()).then(|| block.signature.0.into_owned());
                out.push(Piece::Reasoning {
                    text: block.thinking.0.into_owned(),
                    signature,
                });
            }
            "tool_use" => {
                let index = self.calls;
                self.calls = self.calls.saturating_add(1);
                let id = if block.id.is_empty() {
                    format!("call_{index}")
                } else {
                    block.id.0.into_owned()
                };
                out.push(Piece::ToolCall {
                    index,
                    id: Some(id),
                    name: Some(block.name.0.into_owned()),
                    arguments: String::new(),
                });
                let input = if block.input.0.is_empty() {
                    "{}".to_owned()
                } else {
                    block.input.0.into_owned()
                };
                self.open.push(Open {
                    block: at,
                    index,
                    input,
                    given: false,
                });
            }
            _ => {}
        }
    }

    fn delta(&mut self, at: u64, delta: Delta<'_>, out: &mut Vec<Piece>) {
        match &*delta.r#type.0 {
            "text_delta" if !delta.text.is_empty() => {
                out.push(Piece::Text(delta.text.0.into_owned()))
            }
            "thinking_delta" if !delta.thinking.is_empty() => {
                out.push(Piece::Reasoning {
                    text: delta.thinking.0.into_owned(),
                    signature: None,
                });
            }
            "signature_delta" if !delta.signature.is_empty() => {
                out.push(Piece::Reasoning {
                    text: String::new(),
                    signature: Some(delta.signature.0.into_owned()),
                });
            }
            "input_json_delta" if !delta.partial_json.is_empty() => {
                if let Some(open) = self.open.iter_mut().find(|open| open.block == at) {
                    open.given = true;
                    out.push(Piece::ToolCall {
                        index: open.index,
                        id: None,
                        name: None,
                        arguments: delta.partial_json.0.into_owned(),
                    });
                }
            }
            _ => {}
        }
    }

    fn stop_block(&mut self, at: u64, out: &mut Vec<Piece>) {
        if let Some(n) = self.open.iter().position(|open| open.block == at) {
            let open = self.open.swap_remove(n);
            if !open.given {
                out.push(Piece::ToolCall {
                    index: open.index,
                    id: None,
                    name: None,
                    arguments: open.input,
                });
            }
        }
    }

    /// Closes the blocks whose end was forgotten.
    fn close(&mut self, out: &mut Vec<Piece>) {
        while let Some(at) = self.open.first().map(|open| open.block) {
            self.stop_block(at, out);
        }
    }

    fn finish(&mut self, native: &str, details: Maybe<StopDetails<'_>>, out: &mut Vec<Piece>) {
        let reason = match native {
            "" => return,
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => {
                out.push(Piece::Declined(
                    details
                        .0
                        .map(|details| details.explanation.0.into_owned())
                        .unwrap_or_default(),
                ));
                FinishReason::Stop
            }
            _ if self.calls > 0 => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        out.push(Piece::Finish {
            reason,
            native: native.to_owned(),
        });
    }

    fn count(&mut self, usage: Maybe<UsageWire>, out: &mut Vec<Piece>) {
        if let Some(usage) = usage.0 {
            self.usage.update(usage);
            out.extend(self.usage.usage().map(Piece::Usage));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::adapters::testing::{calls, pieces};
    use crate::piece::{ErrorKind, Usage};

    const START: &str = r#"{"type":"message_start","message":{"id":"m","model":"claude","content":[],"usage":{"input_tokens":3,"cache_read_input_tokens":2,"output_tokens":1}}}"#;

    #[test]
    fn a_message_in_parts() {
        let out = pieces(
            Box::new(Stream::default()),
            &[
                START,
                r#"{"type":"ping"}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
                r#"{"type":"content_block_stop","index":1}"#,
                r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#,
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
                r#"{"type":"content_block_stop","index":2}"#,
                r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"u","name":"g","input":{}}}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
                r#"{"type":"message_stop"}"#,
            ],
        );
        let call = |id: &str, name: &str, arguments: &str| {
            (id.to_owned(), name.to_owned(), arguments.to_owned())
        };
        assert_eq!(
            calls(&out),
            [call("t", "f", r#"{"a":1}"#), call("u", "g", "{}")]
        );
        assert_eq!(
            out[2],
            Piece::Reasoning {
                text: "hm".to_owned(),
                signature: None
            }
        );
        assert_eq!(
            out[3],
            Piece::Reasoning {
                text: String::new(),
                signature: Some("sig".to_owned())
            }
        );
        assert_eq!(
            out[out.len() - 2..],
            [
                Piece::Finish {
                    reason: FinishReason::ToolCalls,
                    native: "tool_use".to_owned()
                },
                Piece::Usage(Usage {
                    prompt: 5,
                    cached: 2,
                    completion: 9,
                    ..Usage::default()
                })
            ]
        );
    }

    #[test]
    fn declining_and_failing() {
        let declined = r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"explanation":"no"}},"usage":{"output_tokens":9}}"#;
        let out = pieces(Box::new(Stream::default()), &[START, declined]);
        assert_eq!(out[2], Piece::Declined("no".to_owned()));
        assert_eq!(
            out[3],
            Piece::Finish {
                reason: FinishReason::Stop,
                native: "refusal".to_owned()
            }
        );
        let failed =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        let out = pieces(Box::new(Stream::default()), &[START, failed]);
        assert!(
            matches!(out.last(), Some(Piece::Failed(e)) if e.kind == ErrorKind::Overloaded && e.status == 529)
        );
    }

    #[test]
    fn a_start_twice() {
        assert_eq!(
            pieces(Box::new(Stream::default()), &[START, START]).len(),
            2
        );
        let mut stream = Stream::default();
        let event = |text: &str| Event {
            name: String::new(),
            data: text.to_owned().into(),
        };
        stream.event(&event(START), &mut Vec::new()).unwrap();
        assert!(
            stream
                .event(&event(&START.replace("\"m\"", "\"n\"")), &mut Vec::new())
                .is_err()
        );
    }
}
