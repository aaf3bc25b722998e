//! Anthropic messages answers: whole, and as events.

use super::{Bill, Head, dollars, sse};
use crate::piece::{FinishReason, Piece, UpstreamError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

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

/// Bytes that wait for a call to be whole; beyond, they go on at once.
const HELD: usize = 1 << 20;

/// Writes events.
///
/// Providers may send the arguments of several calls by turns. Here a block begins when the one before it has ended, and clients
/// read a call's arguments at its end: so what comes while a call is not whole waits for that, or for the answer's end.
pub struct Events {
    head: Head,
    started: bool,
    open: Open,
    blocks: u32,
    /// The block of each call that has begun.
    calls: BTreeMap<u32, u32>,
    /// How far the open call is.
    arguments: Brackets,
    held: Vec<Piece>,
    held_bytes: usize,
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
            calls: BTreeMap::new(),
            arguments: Brackets::default(),
            held: Vec::new(),
            held_bytes: 0,
            reason: None,
            declined: false,
        }
    }

    /// The events of one piece.
    pub fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        self.start(out);
        if self.must_wait(piece) {
            self.held_bytes += bytes(piece);
            self.held.push(piece.clone());
            if self.held_bytes > HELD {
                self.release(out);
            }
            return;
        }
        self.write(piece, out);
        while self.arguments.are_whole() && !self.held.is_empty() {
            self.go_on(out);
        }
        if matches!(piece, Piece::Finish { .. }) {
            self.release(out);
        }
    }

    /// Whether a call is open that is not whole, and this would begin another block.
    fn must_wait(&self, piece: &Piece) -> bool {
        let Open::Call(_) = self.open else {
            return false;
        };
        let begins = match piece {
            Piece::Text(_) | Piece::Declined(_) | Piece::Reasoning { .. } => true,
            Piece::ToolCall { index, .. } => !self.calls.contains_key(index),
            Piece::Start { .. } | Piece::Finish { .. } | Piece::Usage(_) | Piece::Failed(_) => {
                false
            }
        };
        begins && !self.arguments.are_whole()
    }

    /// Writes what waited, up to the next call that is not whole.
    fn go_on(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        for piece in held {
            let belongs =
                matches!(&piece, Piece::ToolCall { index, .. } if self.calls.contains_key(index));
            // Nothing overtakes what waits already, but for parts of calls that have begun.
            if !belongs && (!self.held.is_empty() || self.must_wait(&piece)) {
                self.held_bytes += bytes(&piece);
                self.held.push(piece);
            } else {
                self.write(&piece, out);
            }
        }
    }

    /// Writes all that waited.
    fn release(&mut self, out: &mut Vec<u8>) {
        while !self.held.is_empty() {
            self.arguments = Brackets::whole();
            self.go_on(out);
        }
    }

    fn write(&mut self, piece: &Piece, out: &mut Vec<u8>) {
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
                let at = match self.calls.get(index) {
                    Some(at) => *at,
                    None => {
                        self.turn(Open::Call(*index), block, out);
                        self.calls.insert(*index, self.blocks);
                        self.arguments = Brackets::default();
                        self.blocks
                    }
                };
                if self.open == Open::Call(*index) {
                    self.arguments.read(arguments);
                }
                // Past the end of a call that was whole: clients put parts together by their index.
                if !arguments.is_empty() {
                    part(
                        at,
                        &json!({"type": "input_json_delta", "partial_json": arguments}),
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
        self.release(out);
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
        self.release(out);
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
        part(self.blocks, &delta, out);
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

/// How much a piece holds.
fn bytes(piece: &Piece) -> usize {
    match piece {
        Piece::Text(text) | Piece::Declined(text) | Piece::Reasoning { text, .. } => text.len(),
        Piece::ToolCall { arguments, .. } => arguments.len(),
        Piece::Start { .. } | Piece::Finish { .. } | Piece::Usage(_) | Piece::Failed(_) => 0,
    }
}

/// Whether JSON that comes in parts has closed as many brackets as it has opened.
#[derive(Debug, Default)]
struct Brackets {
    begun: bool,
    open: u32,
    in_text: bool,
    escaped: bool,
}

impl Brackets {
    fn whole() -> Self {
        Self {
            begun: true,
            ..Self::default()
        }
    }

    fn read(&mut self, part: &str) {
        for byte in part.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => {
                    self.begun = true;
                    self.open += 1;
                }
                b'}' | b']' => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn are_whole(&self) -> bool {
        self.begun && self.open == 0 && !self.in_text
    }
}

fn part(block: u32, delta: &Value, out: &mut Vec<u8>) {
    event(
        "content_block_delta",
        &json!({"type": "content_block_delta", "index": block, "delta": delta}),
        out,
    );
}

fn event(name: &str, data: &Value, out: &mut Vec<u8>) {
    sse(Some(name), data.to_string().as_bytes(), out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn call(index: u32, name: Option<&str>, arguments: &str) -> Piece {
        Piece::ToolCall {
            index,
            id: name.map(|name| format!("id-{name}")),
            name: name.map(str::to_owned),
            arguments: arguments.to_owned(),
        }
    }

    /// Each block that a client reads, with what is in it, in the order of their ends.
    fn blocks(pieces: &[Piece]) -> Vec<String> {
        let head = Head {
            id: String::new(),
            model: String::new(),
            provider: String::new(),
            created: 0,
        };
        let (mut events, mut out) = (Events::new(head), Vec::new());
        for piece in pieces {
            events.piece(piece, &mut out);
        }
        events.release(&mut out);
        events.close(&mut out);
        let (mut open, mut ended): (Option<String>, Vec<String>) = (None, Vec::new());
        for line in String::from_utf8(out).unwrap().lines() {
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            let event: Value = serde_json::from_str(data).unwrap();
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    assert_eq!(open, None, "a block in a block");
                    assert_eq!(event["index"], ended.len());
                    let name = event["content_block"]["name"].as_str();
                    open = Some(format!("{}:", name.unwrap_or_default()));
                }
                "content_block_delta" => {
                    let at = event["index"].as_u64().unwrap() as usize;
                    let text = match at == ended.len() {
                        true => open.as_mut().unwrap(),
                        false => &mut ended[at],
                    };
                    let delta = &event["delta"];
                    text.push_str(
                        delta["partial_json"]
                            .as_str()
                            .or(delta["text"].as_str())
                            .unwrap(),
                    );
                }
                "content_block_stop" => ended.push(open.take().unwrap()),
                _ => {}
            }
        }
        ended
    }

    #[test]
    fn calls_by_turns_are_written_one_after_the_other() {
        let pieces = [
            Piece::Text("Look. ".to_owned()),
            call(0, Some("a"), ""),
            call(1, Some("b"), "{\"x\":"),
            call(0, None, "{\"y\": \"}\""),
            Piece::Text("So.".to_owned()),
            call(1, None, "[1]}"),
            call(0, None, "}"),
            call(2, Some("c"), "{}"),
            call(0, None, " late"),
        ];
        let wanted = [
            ":Look. ",
            "a:{\"y\": \"}\"} late",
            "b:{\"x\":[1]}",
            ":So.",
            "c:{}",
        ];
        assert_eq!(blocks(&pieces), wanted);
    }

    #[test]
    fn a_call_that_never_ends_holds_up_nothing_for_ever() {
        let long = "x".repeat(HELD);
        let pieces = [
            call(0, Some("a"), "{"),
            Piece::Text(long.clone()),
            Piece::Text("y".to_owned()),
            call(1, Some("b"), ""),
        ];
        assert_eq!(
            blocks(&pieces),
            ["a:{".to_owned(), format!(":{long}y"), "b:".to_owned()]
        );
    }
}
