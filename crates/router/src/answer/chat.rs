//! OpenAI chat answers: whole, and as chunks.

use super::{Bill, Head, dollars, sse};
use crate::piece::{FinishReason, Piece, UpstreamError, Usage};
use serde_json::{Map, Value, json};

/// `usage` as clients of OpenAI and of other routers read it.
pub fn usage(bill: &Bill) -> Value {
    let Usage {
        prompt,
        cached,
        cache_write,
        completion,
        reasoning,
        audio_prompt,
        video_prompt,
        audio_completion,
        ..
    } = bill.usage;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt.saturating_add(completion),
        "cost": dollars(bill.cost_nanousd),
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": cache_write, "audio_tokens": audio_prompt, "video_tokens": video_prompt},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio_completion},
    })
}

/// A whole answer.
pub fn whole(head: &Head, pieces: &[Piece], bill: &Bill) -> Value {
    let (mut text, mut thought, mut declined) = (String::new(), String::new(), String::new());
    let mut calls: Vec<(String, String, String)> = Vec::new();
    let mut finish = ("stop".to_owned(), String::new());
    for piece in pieces {
        match piece {
            Piece::Text(more) => text.push_str(more),
            Piece::Reasoning { text: more, .. } => thought.push_str(more),
            Piece::Declined(more) => declined.push_str(more),
            Piece::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let index = (*index as usize).min(4096);
                if calls.len() <= index {
                    calls.resize_with(index + 1, Default::default);
                }
                let call = &mut calls[index];
                call.0.push_str(id.as_deref().unwrap_or_default());
                call.1.push_str(name.as_deref().unwrap_or_default());
                call.2.push_str(arguments);
            }
            Piece::Finish { reason, native } => {
                finish = (reason.as_str().to_owned(), native.clone())
            }
            Piece::Start { .. } | Piece::Usage(_) | Piece::Failed(_) => {}
        }
    }
    let optional = |text: String| {
        if text.is_empty() {
            Value::Null
        } else {
            Value::String(text)
        }
    };
    let mut message = Map::new();
    message.insert("role".into(), json!("assistant"));
    message.insert(
        "content".into(),
        if calls.is_empty() && declined.is_empty() {
            json!(text)
        } else {
            optional(text)
        },
    );
    message.insert("refusal".into(), optional(declined));
    if !thought.is_empty() {
        message.insert("reasoning".into(), json!(thought));
    }
    if !calls.is_empty() {
        let calls = calls.into_iter().map(|(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}));
        message.insert("tool_calls".into(), calls.collect());
    }
    json!({
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "provider": head.provider,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish.0, "native_finish_reason": finish.1}],
        "usage": usage(bill),
    })
}

/// Writes chunks.
pub struct Chunks {
    head: Head,
    include_usage: bool,
    started: bool,
}

impl Chunks {
    /// Chunks of one answer.
    pub fn new(head: Head, include_usage: bool) -> Self {
        Self {
            head,
            include_usage,
            started: false,
        }
    }

    /// The chunk of one piece.
    pub fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        let (delta, finish, native) = match piece {
            Piece::Text(text) => (json!({"content": text}), None, None),
            Piece::Reasoning { text, .. } => (json!({"reasoning": text}), None, None),
            Piece::Declined(text) => (json!({"refusal": text}), None, None),
            Piece::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let mut function = Map::new();
                if let Some(name) = name {
                    function.insert("name".into(), json!(name));
                }
                function.insert("arguments".into(), json!(arguments));
                let mut call = Map::new();
                call.insert("index".into(), json!(index));
                if let Some(id) = id {
                    call.insert("id".into(), json!(id));
                    call.insert("type".into(), json!("function"));
                }
                call.insert("function".into(), Value::Object(function));
                (json!({"tool_calls": [call]}), None, None)
            }
            Piece::Finish { reason, native } => (json!({}), Some(*reason), Some(native)),
            Piece::Start { .. } | Piece::Usage(_) | Piece::Failed(_) => return,
        };
        let mut delta = delta;
        if !self.started {
            self.started = true;
            if let Some(delta) = delta.as_object_mut() {
                delta.insert("role".into(), json!("assistant"));
                delta.entry("content").or_insert_with(|| json!(""));
            }
        }
        let mut choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish.map(FinishReason::as_str)});
        if let (Some(native), Some(choice)) = (native, choice.as_object_mut()) {
            choice.insert("native_finish_reason".into(), json!(native));
        }
        self.chunk(json!([choice]), None, out);
    }

    /// The usage chunk, where asked for, and `[DONE]`.
    pub fn end(&mut self, bill: &Bill, out: &mut Vec<u8>) {
        if self.include_usage {
            self.chunk(json!([]), Some(usage(bill)), out);
        }
        sse(None, b"[DONE]", out);
    }

    /// The chunk that says what broke, and `[DONE]`.
    pub fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        let chunk = json!({
            "id": self.head.id,
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            "provider": self.head.provider,
            "error": {"code": super::error::status(error.kind), "message": error.message, "metadata": {"error_type": error.kind.as_str()}},
            "choices": [{"index": 0, "delta": {"content": ""}, "logprobs": null, "finish_reason": "error"}],
        });
        sse(None, chunk.to_string().as_bytes(), out);
        sse(None, b"[DONE]", out);
    }

    fn chunk(&self, choices: Value, usage: Option<Value>, out: &mut Vec<u8>) {
        let mut chunk = json!({
            "id": self.head.id,
            "object": "chat.completion.chunk",
            "created": self.head.created,
            "model": self.head.model,
            "provider": self.head.provider,
            "choices": choices,
        });
        if let (Some(usage), Some(chunk)) = (usage, chunk.as_object_mut()) {
            chunk.insert("usage".into(), usage);
        }
        sse(None, chunk.to_string().as_bytes(), out);
    }
}
