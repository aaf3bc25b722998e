//! `POST /v1/chat/completions`: the body checked field by field, as far as the router itself depends on it. What only the
//! provider understands passes unread.

use super::{Ask, BadRequest, Operation};
use crate::judge::tools::Offered;
use serde_json::{Map, Value};

const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];
/// Longest session id taken in, in characters.
const SESSION_CHARS: usize = 256;

/// Reads the body of a chat request.
///
/// # Errors
/// [`BadRequest`] that names the field.
pub fn read(body: Map<String, Value>) -> Result<Ask, BadRequest> {
    let model = model(&body)?;
    let stream = flag(&body, "stream")?;
    messages(&body)?;
    numbers(&body)?;
    let include_usage = match body.get("stream_options") {
        None | Some(Value::Null) => false,
        Some(Value::Object(options)) => flag(options, "include_usage").map_err(|_| {
            BadRequest::field(
                "stream_options.include_usage",
                "`stream_options.include_usage` is true or false",
            )
        })?,
        Some(_) => {
            return Err(BadRequest::field(
                "stream_options",
                "`stream_options` is an object such as {\"include_usage\": true}",
            ));
        }
    };
    let offered = Offered::read(body.get("tools"), body.get("tool_choice"))?;
    let session = session(&body);
    Ok(Ask {
        operation: Operation::Chat,
        model,
        stream,
        include_usage,
        body,
        messages_body: None,
        session,
        offered,
    })
}

/// The model's name as the client gave it; the first of `models` where it gave no other.
///
/// # Errors
/// When there is none, or it is no text.
pub(super) fn model(body: &Map<String, Value>) -> Result<String, BadRequest> {
    let first = || body.get("models").and_then(|models| models.get(0));
    let named = body.get("model").filter(|name| !name.is_null());
    match named.or_else(first) {
        Some(Value::String(name)) if !name.is_empty() && name.len() <= 256 => Ok(name.clone()),
        _ => Err(BadRequest::field(
            "model",
            "`model` is the id of a model, such as \"openai/gpt-4o\": GET /v1/models lists them",
        )),
    }
}

/// A field that is true, false or absent.
///
/// # Errors
/// When it is something else.
pub(super) fn flag(body: &Map<String, Value>, name: &str) -> Result<bool, BadRequest> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(set)) => Ok(*set),
        Some(_) => Err(BadRequest::field(
            name,
            format!("`{name}` is true or false"),
        )),
    }
}

/// The conversation a request belongs to; empty if it does not say.
pub(super) fn session(body: &Map<String, Value>) -> String {
    ["session_id", "prompt_cache_key"]
        .iter()
        .find_map(|name| body.get(*name).and_then(Value::as_str))
        .map(|id| id.chars().take(SESSION_CHARS).collect())
        .unwrap_or_default()
}

fn messages(body: &Map<String, Value>) -> Result<(), BadRequest> {
    let wrong = |at: String, message: &str| Err(BadRequest::field(at, message));
    let Some(Value::Array(messages)) = body.get("messages") else {
        return wrong(
            "messages".into(),
            "`messages` is a list of messages such as {\"role\": \"user\", \"content\": \"Hello\"}",
        );
    };
    if messages.is_empty() {
        return wrong(
            "messages".into(),
            "`messages` is empty: it needs at least one message",
        );
    }
    for (n, message) in messages.iter().enumerate() {
        let Value::Object(message) = message else {
            return wrong(
                format!("messages[{n}]"),
                "a message is an object with `role` and `content`",
            );
        };
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !ROLES.contains(&role) {
            return wrong(
                format!("messages[{n}].role"),
                "`role` is one of system, developer, user, assistant, tool",
            );
        }
        let has_calls = message
            .get("tool_calls")
            .is_some_and(|calls| calls.as_array().is_some_and(|calls| !calls.is_empty()));
        match message.get("content") {
            Some(Value::String(_)) => {}
            Some(Value::Array(parts)) => {
                for (m, part) in parts.iter().enumerate() {
                    if part.get("type").and_then(Value::as_str).is_none() {
                        return wrong(
                            format!("messages[{n}].content[{m}]"),
                            "a part of a message is an object with a `type`, such as {\"type\": \"text\", \"text\": \"Hello\"}",
                        );
                    }
                }
            }
            None | Some(Value::Null)
                if role == "assistant"
                    && (has_calls
                        || message.contains_key("refusal")
                        || message.contains_key("function_call")) => {}
            _ => {
                return wrong(
                    format!("messages[{n}].content"),
                    "`content` is a text or a list of parts",
                );
            }
        }
        if role == "tool"
            && message
                .get("tool_call_id")
                .and_then(Value::as_str)
                .is_none()
        {
            return wrong(
                format!("messages[{n}].tool_call_id"),
                "a message of role `tool` names the call it answers in `tool_call_id`",
            );
        }
        if let Some(calls) = message.get("tool_calls").filter(|calls| !calls.is_null()) {
            let fine = calls.as_array().is_some_and(|calls| {
                calls
                    .iter()
                    .all(|call| call.get("id").is_some_and(Value::is_string))
            });
            if !fine {
                return wrong(
                    format!("messages[{n}].tool_calls"),
                    "`tool_calls` is a list of calls, each with an `id` and a `function`",
                );
            }
        }
    }
    Ok(())
}

/// Numbers whose type providers answer with errors of every kind.
fn numbers(body: &Map<String, Value>) -> Result<(), BadRequest> {
    for name in ["max_tokens", "max_completion_tokens", "n", "top_logprobs"] {
        match body.get(name) {
            None | Some(Value::Null) => {}
            Some(value)
                if value
                    .as_u64()
                    .is_some_and(|n| n > 0 || name == "top_logprobs") => {}
            Some(_) => {
                return Err(BadRequest::field(
                    name,
                    format!("`{name}` is a whole number above 0"),
                ));
            }
        }
    }
    for name in [
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
    ] {
        match body.get(name) {
            None | Some(Value::Null | Value::Number(_)) => {}
            Some(_) => return Err(BadRequest::field(name, format!("`{name}` is a number"))),
        }
    }
    match body.get("stop") {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(Value::Array(stops)) if stops.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err(BadRequest::field(
            "stop",
            "`stop` is a text or a list of texts",
        )),
    }
}
