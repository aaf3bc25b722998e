//! `POST /v1/messages`: a request in Anthropic's shape as a chat request, so that every provider can take it.
//!
//! The body as it came is kept beside it, for providers that speak this API themselves.

use super::{Ask, BadRequest, Operation, chat};
use crate::judge::tools::Offered;
use serde_json::{Map, Value, json};

/// Reads the body of a messages request.
///
/// # Errors
/// [`BadRequest`] that names the field.
pub fn read(body: Map<String, Value>) -> Result<Ask, BadRequest> {
    let model = chat::model(&body)?;
    let stream = chat::flag(&body, "stream")?;
    let Some(max_tokens) = body
        .get("max_tokens")
        .and_then(Value::as_u64)
        .filter(|n| *n > 0)
    else {
        return Err(BadRequest::field(
            "max_tokens",
            "`max_tokens` is required: a whole number above 0",
        ));
    };
    let mut hub = Map::new();
    hub.insert("model".into(), json!(model));
    hub.insert("max_tokens".into(), json!(max_tokens));
    hub.insert("stream".into(), json!(stream));
    let mut messages = Vec::new();
    if let Some(text) = system(body.get("system"))? {
        messages.push(json!({"role": "system", "content": text}));
    }
    let Some(Value::Array(given)) = body.get("messages") else {
        return Err(BadRequest::field(
            "messages",
            "`messages` is a list of messages such as {\"role\": \"user\", \"content\": \"Hello\"}",
        ));
    };
    if given.is_empty() {
        return Err(BadRequest::field(
            "messages",
            "`messages` is empty: it needs at least one message",
        ));
    }
    for (n, message) in given.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str);
        match (role, message.get("content")) {
            (Some("user"), Some(content)) => user(n, content, &mut messages)?,
            (Some("assistant"), Some(content)) => assistant(n, content, &mut messages)?,
            (Some("user" | "assistant"), None) => {
                return Err(BadRequest::field(
                    format!("messages[{n}].content"),
                    "`content` is a text or a list of blocks",
                ));
            }
            _ => {
                return Err(BadRequest::field(
                    format!("messages[{n}].role"),
                    "`role` is user or assistant; a system prompt goes into `system`",
                ));
            }
        }
    }
    hub.insert("messages".into(), Value::Array(messages));
    for (theirs, ours) in [
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("stop_sequences", "stop"),
    ] {
        if let Some(value) = body.get(theirs).filter(|value| !value.is_null()) {
            hub.insert(ours.into(), value.clone());
        }
    }
    tools(&body, &mut hub)?;
    if let Some(thinking) = body.get("thinking").and_then(Value::as_object)
        && thinking.get("type").and_then(Value::as_str) == Some("enabled")
    {
        let budget = thinking
            .get("budget_tokens")
            .and_then(Value::as_u64)
            .unwrap_or(1024);
        hub.insert("reasoning".into(), json!({"max_tokens": budget}));
    }
    let offered = Offered::read(hub.get("tools"), hub.get("tool_choice"))?;
    let session = body
        .get("metadata")
        .and_then(|about| about.get("session_id"))
        .and_then(Value::as_str)
        .map_or_else(|| chat::session(&body), |id| id.chars().take(256).collect());
    Ok(Ask {
        operation: Operation::Messages,
        model,
        stream,
        include_usage: true,
        body: hub,
        messages_body: Some(body),
        session,
        offered,
    })
}

fn system(system: Option<&Value>) -> Result<Option<String>, BadRequest> {
    match system {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(blocks)) => {
            let texts: Option<Vec<&str>> = blocks
                .iter()
                .map(|block| block.get("text").and_then(Value::as_str))
                .collect();
            texts.map(|texts| Some(texts.join("\n\n"))).ok_or_else(|| {
                BadRequest::field("system", "`system` is a text or a list of text blocks")
            })
        }
        Some(_) => Err(BadRequest::field(
            "system",
            "`system` is a text or a list of text blocks",
        )),
    }
}

/// A user message: tool results become messages of their own, before what else it says.
fn user(n: usize, content: &Value, out: &mut Vec<Value>) -> Result<(), BadRequest> {
    let blocks = match content {
        Value::String(text) => {
            out.push(json!({"role": "user", "content": text}));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        _ => {
            return Err(BadRequest::field(
                format!("messages[{n}].content"),
                "`content` is a text or a list of blocks",
            ));
        }
    };
    let mut parts = Vec::new();
    for (m, block) in blocks.iter().enumerate() {
        let at = || format!("messages[{n}].content[{m}]");
        match block.get("type").and_then(Value::as_str) {
            Some("text") => parts.push(json!({"type": "text", "text": text_of(block, &at)?})),
            Some("image") => parts.push(image(block, &at)?),
            Some("tool_result") => {
                let Some(id) = block.get("tool_use_id").and_then(Value::as_str) else {
                    return Err(BadRequest::field(
                        format!("{}.tool_use_id", at()),
                        "a tool result names its call in `tool_use_id`",
                    ));
                };
                out.push(json!({"role": "tool", "tool_call_id": id, "content": result(block.get("content"))}));
            }
            Some("document") => {
                return Err(BadRequest::field(
                    at(),
                    "document blocks are taken by Anthropic's own models only through text; send the text",
                ));
            }
            _ => {
                return Err(BadRequest::field(
                    at(),
                    "a block of a user message is text, image or tool_result",
                ));
            }
        }
    }
    if !parts.is_empty() {
        out.push(json!({"role": "user", "content": parts}));
    }
    Ok(())
}

fn assistant(n: usize, content: &Value, out: &mut Vec<Value>) -> Result<(), BadRequest> {
    let blocks = match content {
        Value::String(text) => {
            out.push(json!({"role": "assistant", "content": text}));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        _ => {
            return Err(BadRequest::field(
                format!("messages[{n}].content"),
                "`content` is a text or a list of blocks",
            ));
        }
    };
    let (mut text, mut calls) = (String::new(), Vec::new());
    for (m, block) in blocks.iter().enumerate() {
        let at = || format!("messages[{n}].content[{m}]");
        match block.get("type").and_then(Value::as_str) {
            Some("text") => text.push_str(text_of(block, &at)?),
            Some("tool_use") => {
                let (Some(id), Some(name)) = (
                    block.get("id").and_then(Value::as_str),
                    block.get("name").and_then(Value::as_str),
                ) else {
                    return Err(BadRequest::field(
                        at(),
                        "a tool use has an `id` and a `name`",
                    ));
                };
                let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
                calls.push(json!({"id": id, "type": "function", "function": {"name": name, "arguments": input.to_string()}}));
            }
            // Thinking is only understood by the model that did it; providers of this API get the body as it came.
            Some("thinking" | "redacted_thinking") => {}
            _ => {
                return Err(BadRequest::field(
                    at(),
                    "a block of an assistant message is text, tool_use or thinking",
                ));
            }
        }
    }
    let mut message = json!({"role": "assistant", "content": if text.is_empty() && !calls.is_empty() { Value::Null } else { json!(text) }});
    if let (false, Some(message)) = (calls.is_empty(), message.as_object_mut()) {
        message.insert("tool_calls".into(), Value::Array(calls));
    }
    out.push(message);
    Ok(())
}

fn text_of<'a>(block: &'a Value, at: &dyn Fn() -> String) -> Result<&'a str, BadRequest> {
    block
        .get("text")
        .and_then(Value::as_str)
        .ok_or_else(|| BadRequest::field(format!("{}.text", at()), "a text block has a `text`"))
}

fn image(block: &Value, at: &dyn Fn() -> String) -> Result<Value, BadRequest> {
    let source = |name: &str| {
        block
            .get("source")
            .and_then(|source| source.get(name))
            .and_then(Value::as_str)
    };
    let url = match (
        source("type"),
        source("media_type"),
        source("data"),
        source("url"),
    ) {
        (Some("base64"), Some(media), Some(data), _) => format!("data:{media};base64,{data}"),
        (Some("url"), _, _, Some(url)) => url.to_owned(),
        _ => {
            return Err(BadRequest::field(
                format!("{}.source", at()),
                "an image's `source` is {\"type\": \"base64\", \"media_type\", \"data\"} or {\"type\": \"url\", \"url\"}",
            ));
        }
    };
    Ok(json!({"type": "image_url", "image_url": {"url": url}}))
}

/// What a tool gave, as text: other blocks than text are named, not carried.
fn result(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => blocks
            .iter()
            .map(|block| match block.get("text").and_then(Value::as_str) {
                Some(text) => text.to_owned(),
                None => format!(
                    "[{}]",
                    block.get("type").and_then(Value::as_str).unwrap_or("block")
                ),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn tools(body: &Map<String, Value>, hub: &mut Map<String, Value>) -> Result<(), BadRequest> {
    if let Some(tools) = body.get("tools").filter(|tools| !tools.is_null()) {
        let Value::Array(tools) = tools else {
            return Err(BadRequest::field(
                "tools",
                "`tools` is a list of tools, each with `name` and `input_schema`",
            ));
        };
        let translated = tools
            .iter()
            .map(|tool| {
                if tool.get("input_schema").is_none() && tool.get("type").is_some_and(|kind| kind != "custom") {
                    // A tool that the provider itself runs: counted, not checked.
                    return tool.clone();
                }
                json!({"type": "function", "function": {
                    "name": tool.get("name").cloned().unwrap_or_default(),
                    "description": tool.get("description").cloned().unwrap_or_else(|| json!("")),
                    "parameters": tool.get("input_schema").cloned().unwrap_or_else(|| json!({"type": "object"})),
                }})
            })
            .collect();
        hub.insert("tools".into(), Value::Array(translated));
    }
    let Some(choice) = body.get("tool_choice").filter(|choice| !choice.is_null()) else {
        return Ok(());
    };
    let translated = match (
        choice.get("type").and_then(Value::as_str),
        choice.get("name").and_then(Value::as_str),
    ) {
        (Some("auto"), _) => json!("auto"),
        (Some("any"), _) => json!("required"),
        (Some("none"), _) => json!("none"),
        (Some("tool"), Some(name)) => json!({"type": "function", "function": {"name": name}}),
        _ => {
            return Err(BadRequest::field(
                "tool_choice",
                "`tool_choice` is {\"type\": \"auto\"}, \"any\", \"none\", or \"tool\" with a `name`",
            ));
        }
    };
    hub.insert("tool_choice".into(), translated);
    if choice
        .get("disable_parallel_tool_use")
        .and_then(Value::as_bool)
        == Some(true)
    {
        hub.insert("parallel_tool_calls".into(), json!(false));
    }
    Ok(())
}
