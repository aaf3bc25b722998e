//! A whole answer; a streamed one is a row of the same objects.

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
    let mut out = Vec::new();
    start(&body, &mut out);
    let mut calls = 0;
    if !part(&body, &mut calls, &mut out) {
        return Err(Garbage("no candidate"));
    }
    Ok(out)
}

/// The answer's id and model.
pub fn start(body: &Value, out: &mut Vec<Piece>) {
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    out.push(Piece::Start {
        id: text("responseId"),
        model: text("modelVersion"),
    });
}

/// The pieces of one object, whole answer or part. `calls` counts tool calls, which have no index there. False when the
/// object says nothing that is known.
pub fn part(body: &Value, calls: &mut u32, out: &mut Vec<Piece>) -> bool {
    if let Some(problem) = body.get("error").filter(|problem| problem.is_object()) {
        out.push(Piece::Failed(error::of(200, problem)));
        return true;
    }
    let mut known = false;
    if let Some(blocked) = body
        .get("promptFeedback")
        .and_then(|feedback| feedback.get("blockReason"))
        .and_then(Value::as_str)
    {
        out.push(Piece::Finish {
            reason: FinishReason::ContentFilter,
            native: blocked.to_owned(),
        });
        known = true;
    }
    if let Some(candidate) = body
        .get("candidates")
        .and_then(|candidates| candidates.get(0))
    {
        known = true;
        let parts = candidate
            .get("content")
            .and_then(|content| content.get("parts"))
            .and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            content(part, calls, out);
        }
        if let Some(native) = candidate
            .get("finishReason")
            .and_then(Value::as_str)
            .filter(|native| *native != "FINISH_REASON_UNSPECIFIED")
        {
            out.push(Piece::Finish {
                reason: finish(native, *calls > 0),
                native: native.to_owned(),
            });
        }
    }
    if let Some(counts) = body.get("usageMetadata").and_then(usage::read) {
        known = true;
        out.push(Piece::Usage(counts));
    }
    known
}

fn content(part: &Value, calls: &mut u32, out: &mut Vec<Piece>) {
    let signature = part
        .get("thoughtSignature")
        .and_then(Value::as_str)
        .map(str::to_owned);
    if let Some(call) = part.get("functionCall") {
        out.push(Piece::ToolCall {
            index: *calls,
            id: Some(
                call.get("id")
                    .and_then(Value::as_str)
                    .map_or_else(|| format!("call_{calls}"), str::to_owned),
            ),
            name: Some(
                call.get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            ),
            arguments: call
                .get("args")
                .filter(|args| !args.is_null())
                .map_or_else(|| "{}".to_owned(), Value::to_string),
        });
        *calls += 1;
    } else if let Some(text) = part
        .get("text")
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
    {
        out.push(
            if part.get("thought").and_then(Value::as_bool) == Some(true) {
                Piece::Reasoning {
                    text: text.to_owned(),
                    signature,
                }
            } else {
                Piece::Text(text.to_owned())
            },
        );
    }
}

/// A finish reason in our words.
pub fn finish(native: &str, called: bool) -> FinishReason {
    match native {
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "PROHIBITED_CONTENT"
        | "BLOCKLIST"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "LANGUAGE" => FinishReason::ContentFilter,
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MALFORMED_RESPONSE" => FinishReason::Error,
        _ if called => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}
