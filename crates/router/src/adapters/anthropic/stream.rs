//! An answer in events: `message_start`, blocks with their deltas, `message_delta`, `message_stop`.

use super::usage::Counts;
use super::{error, reply, usage};
use crate::adapters::{Decoder, Garbage};
use crate::piece::Piece;
use crate::sse::Event;
use serde::Deserialize;
use serde_json::Value;

/// Reads events.
#[derive(Debug, Default)]
pub struct Stream {
    complete: bool,
    counts: Option<Counts>,
    /// The tool call that a block is, by the block's index.
    calls: Vec<(u64, u32)>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    index: u64,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    content_block: Value,
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize, Default)]
struct Delta {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    partial_json: Option<String>,
    #[serde(default)]
    stop_reason: Option<String>,
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        if self.complete || event.data.trim_ascii().is_empty() {
            return Ok(());
        }
        let said: Said = serde_json::from_slice(&event.data)
            .map_err(|_| Garbage("an event that is not JSON"))?;
        match said.kind.as_str() {
            "message_start" => {
                let text = |name: &str| {
                    said.message
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                out.push(Piece::Start {
                    id: text("id"),
                    model: text("model"),
                });
                self.count(said.message.get("usage").unwrap_or(&Value::Null), out);
            }
            "content_block_start" => self.block(said.index, &said.content_block, out),
            "content_block_delta" => self.delta(said.index, said.delta, out),
            "message_delta" => {
                if let Some(native) = &said.delta.stop_reason {
                    reply::finish(native, out);
                }
                self.count(&said.usage, out);
            }
            "message_stop" => self.complete = true,
            "error" => out.push(Piece::Failed(error::of(
                200,
                &serde_json::json!({"error": said.error}),
            ))),
            _ => {}
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Stream {
    fn count(&mut self, counts: &Value, out: &mut Vec<Piece>) {
        if let Some(counts) = usage::read(counts, self.counts) {
            self.counts = Some(counts);
            out.push(Piece::Usage(counts.into()));
        }
    }

    fn block(&mut self, index: u64, block: &Value, out: &mut Vec<Piece>) {
        let text = |name: &str| {
            block
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match block.get("type").and_then(Value::as_str) {
            Some("text") if !text("text").is_empty() => out.push(Piece::Text(text("text"))),
            Some("tool_use") if self.calls.len() < 1024 => {
                let call = self.calls.len() as u32;
                self.calls.push((index, call));
                out.push(Piece::ToolCall {
                    index: call,
                    id: Some(text("id")),
                    name: Some(text("name")),
                    arguments: String::new(),
                });
            }
            _ => {}
        }
    }

    fn delta(&self, index: u64, delta: Delta, out: &mut Vec<Piece>) {
        match delta.kind.as_str() {
            "text_delta" => out.extend(delta.text.map(Piece::Text)),
            "thinking_delta" => out.extend(delta.thinking.map(|text| Piece::Reasoning {
                text,
                signature: None,
            })),
            "signature_delta" => out.push(Piece::Reasoning {
                text: String::new(),
                signature: delta.signature,
            }),
            "input_json_delta" => {
                // A block of the provider's own tools is no call to the client.
                if let (Some((_, call)), Some(arguments)) = (
                    self.calls.iter().find(|(block, _)| *block == index),
                    delta.partial_json,
                ) {
                    out.push(Piece::ToolCall {
                        index: *call,
                        id: None,
                        name: None,
                        arguments,
                    });
                }
            }
            _ => {}
        }
    }
}
