//! A whole answer.

use super::{error, usage};
use crate::adapters::Garbage;
use crate::piece::{FinishReason, Piece};
use serde_json::Value;

/// The pieces of a whole answer.
///
/// # Errors
/// When it is not one.
pub fn read(body: &[u8]) -> Result<Vec<Piece>, Garbage> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Garbage("not JSON"))?;
    if body.get("type").and_then(Value::as_str) == Some("error")
        || body.get("error").is_some_and(Value::is_object)
    {
        return Ok(vec![Piece::Failed(error::of(200, &body))]);
    }
    let text = |value: &Value, name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut out = vec![Piece::Start {
        id: text(&body, "id"),
        model: text(&body, "model"),
    }];
    let blocks = body
        .get("content")
        .and_then(Value::as_array)
        .ok_or(Garbage("no content"))?;
    let mut calls = 0;
    for block in blocks {
        match block.get("type").and_then(Value::as_str) {
            Some("text") => out.push(Piece::Text(text(block, "text"))),
            Some("thinking") => out.push(Piece::Reasoning {
                text: text(block, "thinking"),
                signature: Some(text(block, "signature")).filter(|s| !s.is_empty()),
            }),
            // What the provider's own tools did is not a call to the client.
            Some("tool_use") => {
                out.push(Piece::ToolCall {
                    index: calls,
                    id: Some(text(block, "id")),
                    name: Some(text(block, "name")),
                    arguments: block.get("input").map(Value::to_string).unwrap_or_default(),
                });
                calls += 1;
            }
            _ => {}
        }
    }
    if let Some(native) = body.get("stop_reason").and_then(Value::as_str) {
        finish(native, &mut out);
    }
    out.extend(
        body.get("usage")
            .and_then(|counts| usage::read(counts, None))
            .map(|counts| Piece::Usage(counts.into())),
    );
    Ok(out)
}

/// A stop reason in our words. `refusal` is the API's own word for a model that declines.
pub fn finish(native: &str, out: &mut Vec<Piece>) {
    let reason = match native {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => {
            out.push(Piece::Declined(String::new()));
            FinishReason::Stop
        }
        _ => FinishReason::Stop,
    };
    out.push(Piece::Finish {
        reason,
        native: native.to_owned(),
    });
}
