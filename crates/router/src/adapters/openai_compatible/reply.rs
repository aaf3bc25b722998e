//! A whole answer.

use super::{error, usage};
use crate::adapters::Garbage;
use crate::ask::{Ask, Operation};
use crate::piece::{FinishReason, Piece};
use serde_json::Value;

/// The pieces of a whole answer.
///
/// # Errors
/// When it is not one.
pub fn read(ask: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Garbage("not JSON"))?;
    if let Some(problem) = body.get("error").filter(|problem| !problem.is_null()) {
        return Ok(vec![Piece::Failed(error::of(200, problem))]);
    }
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut out = vec![Piece::Start {
        id: text(&body, "id").unwrap_or_default(),
        model: text(&body, "model").unwrap_or_default(),
    }];
    let counts = body
        .get("usage")
        .and_then(usage::read)
        .or_else(|| usage::read(body.get("x_groq")?.get("usage")?));
    if ask.operation == Operation::Embeddings {
        if !body.get("data").is_some_and(Value::is_array) {
            return Err(Garbage("embeddings without data"));
        }
        out.extend(counts.map(Piece::Usage));
        return Ok(out);
    }
    let choice = body
        .get("choices")
        .and_then(|choices| choices.get(0))
        .ok_or(Garbage("no choice"))?;
    let message = choice
        .get("message")
        .filter(|message| message.is_object())
        .ok_or(Garbage("no message"))?;
    if let Some(thought) = text(message, "reasoning")
        .or_else(|| text(message, "reasoning_content"))
        .filter(|thought| !thought.is_empty())
    {
        out.push(Piece::Reasoning {
            text: thought,
            signature: None,
        });
    }
    content(message.get("content"), &mut out);
    if let Some(declined) = text(message, "refusal").filter(|words| !words.is_empty()) {
        out.push(Piece::Declined(declined));
    }
    let mut calls = 0;
    for call in message
        .get("tool_calls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let function = call.get("function");
        let part = |name: &str| function.and_then(|function| function.get(name));
        let arguments = match part("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        };
        out.push(Piece::ToolCall {
            index: calls,
            id: Some(text(call, "id").unwrap_or_else(|| format!("call_{calls}"))),
            name: Some(
                part("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            ),
            arguments,
        });
        calls += 1;
    }
    if let Some(native) = choice.get("finish_reason").and_then(Value::as_str) {
        out.push(Piece::Finish {
            reason: finish(native, calls > 0),
            native: native.to_owned(),
        });
    }
    out.extend(counts.map(Piece::Usage));
    Ok(out)
}

/// Text, or parts of it: Mistral sends its thinking as parts.
pub fn content(content: Option<&Value>, out: &mut Vec<Piece>) {
    match content {
        Some(Value::String(text)) if !text.is_empty() => out.push(Piece::Text(text.clone())),
        Some(Value::Array(parts)) => {
            for part in parts {
                let text = part.get("text").and_then(Value::as_str);
                match (part.get("type").and_then(Value::as_str), text) {
                    (Some("text") | None, Some(text)) => out.push(Piece::Text(text.to_owned())),
                    (Some("refusal"), _) => out.push(Piece::Declined(
                        part.get("refusal")
                            .and_then(Value::as_str)
                            .unwrap_or_default()
                            .to_owned(),
                    )),
                    (Some("thinking"), _) => {
                        let thought = part
                            .get("thinking")
                            .and_then(Value::as_array)
                            .into_iter()
                            .flatten();
                        let text = thought
                            .filter_map(|part| part.get("text").and_then(Value::as_str))
                            .collect();
                        out.push(Piece::Reasoning {
                            text,
                            signature: None,
                        });
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// A finish reason in our words. Some providers say `stop` when they mean tool calls.
pub fn finish(native: &str, called: bool) -> FinishReason {
    match native {
        "stop" | "eos" | "eos_token" | "stop_sequence" | "end_turn" | "completed" if called => {
            FinishReason::ToolCalls
        }
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => {
            FinishReason::Length
        }
        "content_filter" | "safety" | "sensitive" => FinishReason::ContentFilter,
        "error" | "network_error" | "insufficient_system_resource" => FinishReason::Error,
        _ => FinishReason::Stop,
    }
}
