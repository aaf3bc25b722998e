//! Anthropic messages answers: whole, and as events.

use super::{Bill, Head, dollars, sse};
use crate::piece::{FinishReason, Piece, UpstreamError};
use serde_json::{Map, Value, json};

fn stop_reason(reason: FinishReason, declined: bool) -> &'static str {
    match reason {
        _ if declined => "refusal",
        FinishReason::Stop | FinishReason::Error => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
    }
}

/// `usage`, where cached tokens stand beside `input_tokens`, not inside.
pub fn usage(bill: &Bill) -> Value {
    let usage = bill.usage;
    json!({
        "input_tokens": usage.prompt.saturating_sub(usage.cached).saturating_sub(usage.cache_write),
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.cache_write,
        "output_tokens": usage.completion,
        "cost": dollars(bill.cost_nanousd),
    })
}

/// A whole answer.
pub fn whole(head: &Head, pieces: &[Piece], bill: &Bill) -> Value {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut reason, mut declined) = (FinishReason::Stop, false);
    for piece in pieces {
        match piece {
            Piece::Text(more) | Piece::Declined(more) => {
                declined |= matches!(piece, Piece::Declined(_));
                match blocks.last_mut() {
                    Some(Block::Text(text)) => text.push_str(more),
                    _ if more.is_empty() => {}
                    _ => blocks.push(Block::Text(more.clone())),
                }
            }
            Piece::Reasoning {
                text: more,
                signature: signed,
            } => match blocks.last_mut() {
                Some(Block::Thinking(text, signature)) => {
                    text.push_str(more);
                    signature.push_str(signed.as_deref().unwrap_or_default());
                }
                _ => blocks.push(Block::Thinking(
                    more.clone(),
                    signed.clone().unwrap_or_default(),
                )),
            },
            Piece::ToolCall {
                index,
                id,
                name,
                arguments: more,
            } => {
                let found = blocks.iter_mut().find_map(|block| match block {
                    Block::Call {
                        call, arguments, ..
                    } if call == index => Some(arguments),
                    _ => None,
                });
                match found {
                    Some(arguments) => arguments.push_str(more),
                    None => blocks.push(Block::Call {
                        call: *index,
                        id: id.clone().unwrap_or_default(),
                        name: name.clone().unwrap_or_default(),
                        arguments: more.clone(),
                    }),
                }
            }
            Piece::Finish { reason: why, .. } => reason = *why,
            Piece::Start { .. } | Piece::Usage(_) | Piece::Failed(_) => {}
        }
    }
    json!({
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "provider": head.provider,
        "content": blocks.into_iter().map(Block::json).collect::<Vec<_>>(),
        "stop_reason": stop_reason(reason, declined),
        "stop_sequence": null,
        "usage": usage(bill),
    })
}

enum Block {
    Text(String),
    Thinking(String, String),
    Call {
        call: u32,
        id: String,
        name: String,
        arguments: String,
    },
}

impl Block {
    fn json(self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Thinking(text, signature) => {
                json!({"type": "thinking", "thinking": text, "signature": signature})
            }
            Self::Call {
                id,
                name,
                arguments,
                ..
            } => {
                // Arguments that are not JSON have no place in this shape: the client sees an empty input.
                let input =
                    serde_json::from_str::<Map<String, Value>>(&arguments).unwrap_or_default();
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
        }
    }
}

/// Which block is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thinking,
    Call(u32),
}

/// Writes events.
pub struct Events {
    head: Head,
    started: bool,
    open: Open,
    blocks: u32,
    reason: Option<FinishReason>,
    declined: bool,
}

impl Events {
    /// Events of one answer.
    pub fn new(head: Head) -> Self {
        Self {
            head,
            started: false,
            open: Open::Nothing,
            blocks: 0,
            reason: None,
            declined: false,
        }
    }

    /// The events of one piece.
    pub fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        self.start(out);
        match piece {
            Piece::Text(text) | Piece::Declined(text) => {
                self.declined |= matches!(piece, Piece::Declined(_));
                if !text.is_empty() {
                    self.turn(Open::Text, || json!({"type": "text", "text": ""}), out);
                    self.delta(json!({"type": "text_delta", "text": text}), out);
                }
            }
            Piece::Reasoning { text, signature } => {
                self.turn(
                    Open::Thinking,
                    || json!({"type": "thinking", "thinking": "", "signature": ""}),
                    out,
                );
                if !text.is_empty() {
                    self.delta(json!({"type": "thinking_delta", "thinking": text}), out);
                }
                if let Some(signature) = signature {
                    self.delta(
                        json!({"type": "signature_delta", "signature": signature}),
                        out,
                    );
                }
            }
            Piece::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let block = || json!({"type": "tool_use", "id": id.as_deref().unwrap_or_default(), "name": name.as_deref().unwrap_or_default(), "input": {}});
                self.turn(Open::Call(*index), block, out);
                if !arguments.is_empty() {
                    self.delta(
                        json!({"type": "input_json_delta", "partial_json": arguments}),
                        out,
                    );
                }
            }
            Piece::Finish { reason, .. } => self.reason = Some(*reason),
            Piece::Start { .. } | Piece::Usage(_) | Piece::Failed(_) => {}
        }
    }

    /// `message_delta` with the counts, and `message_stop`.
    pub fn end(&mut self, bill: &Bill, out: &mut Vec<u8>) {
        self.start(out);
        self.close(out);
        let reason = stop_reason(self.reason.unwrap_or(FinishReason::Stop), self.declined);
        event(
            "message_delta",
            &json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage(bill)}),
            out,
        );
        event("message_stop", &json!({"type": "message_stop"}), out);
    }

    /// The event that says what broke.
    pub fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        let kind = super::error::anthropic_type(super::error::status(error.kind));
        event(
            "error",
            &json!({"type": "error", "error": {"type": kind, "message": error.message}}),
            out,
        );
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if self.started {
            return;
        }
        self.started = true;
        let message = json!({
            "id": self.head.id, "type": "message", "role": "assistant", "model": self.head.model, "provider": self.head.provider,
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 0},
        });
        event(
            "message_start",
            &json!({"type": "message_start", "message": message}),
            out,
        );
    }

    fn turn(&mut self, to: Open, block: impl FnOnce() -> Value, out: &mut Vec<u8>) {
        if self.open == to {
            return;
        }
        self.close(out);
        self.open = to;
        event(
            "content_block_start",
            &json!({"type": "content_block_start", "index": self.blocks, "content_block": block()}),
            out,
        );
    }

    fn delta(&self, delta: Value, out: &mut Vec<u8>) {
        event(
            "content_block_delta",
            &json!({"type": "content_block_delta", "index": self.blocks, "delta": delta}),
            out,
        );
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open != Open::Nothing {
            event(
                "content_block_stop",
                &json!({"type": "content_block_stop", "index": self.blocks}),
                out,
            );
            self.open = Open::Nothing;
            self.blocks += 1;
        }
    }
}

fn event(name: &str, data: &Value, out: &mut Vec<u8>) {
    sse(Some(name), data.to_string().as_bytes(), out);
}
