//! A chat request as a messages request; a messages request as it came.

use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

const VERSION: &str = "2023-06-01";
/// Least budget that the API takes for thinking.
const LEAST_THINKING: u64 = 1024;

fn unsupported(param: &str, message: &str) -> Unsupported {
    Unsupported {
        param: param.to_owned(),
        message: message.to_owned(),
    }
}

/// The HTTP request.
///
/// # Errors
/// [`Unsupported`] for what the API cannot do.
pub fn outgoing(ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
    let body = match (&ask.messages_body, ask.operation) {
        (_, Operation::Embeddings) => {
            return Err(unsupported("model", "this provider gives no embeddings"));
        }
        (Some(body), _) => {
            let mut body = body.clone();
            for name in ["provider", "session_id", "models", "route"] {
                body.remove(name);
            }
            body.insert("model".into(), json!(target.model));
            body
        }
        (None, _) => translate(&ask.body, ask.stream, target)?,
    };
    let mut headers = vec![(
        HeaderName::from_static("anthropic-version"),
        HeaderValue::from_static(VERSION),
    )];
    if let (false, Ok(mut key)) = (target.key.is_empty(), HeaderValue::from_str(target.key)) {
        key.set_sensitive(true);
        headers.push((HeaderName::from_static("x-api-key"), key));
    }
    Ok(Outgoing {
        path: "/messages".to_owned(),
        headers,
        body: serde_json::to_vec(&body).unwrap_or_default().into(),
    })
}

fn translate(
    chat: &Map<String, Value>,
    stream: bool,
    target: Target<'_>,
) -> Result<Map<String, Value>, Unsupported> {
    let given = |name: &str| chat.get(name).filter(|value| !value.is_null());
    if given("n").is_some_and(|n| n != 1) {
        return Err(unsupported(
            "n",
            "this provider gives one answer at a time: leave `n` out, or ask several times",
        ));
    }
    for name in [
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "audio",
        "prediction",
    ] {
        if given(name).is_some_and(|value| value != false && value != 0) {
            return Err(unsupported(
                name,
                "this provider does not offer this: leave it out, or name another one in `provider.only`",
            ));
        }
    }
    let mut body = Map::new();
    body.insert("model".into(), json!(target.model));
    let limit = given("max_completion_tokens")
        .or_else(|| given("max_tokens"))
        .and_then(Value::as_u64);
    let mut limit = limit.unwrap_or(if target.max_output > 0 {
        target.max_output
    } else {
        4096
    });
    if stream {
        body.insert("stream".into(), json!(true));
    }
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    for (n, message) in chat
        .get("messages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        match message.get("role").and_then(Value::as_str) {
            Some("system" | "developer") => system.push(plain(message.get("content"))),
            Some("assistant") => push(&mut messages, "assistant", assistant(message)),
            Some("tool" | "function") => push(
                &mut messages,
                "user",
                vec![json!({
                    "type": "tool_result",
                    "tool_use_id": message.get("tool_call_id").cloned().unwrap_or_default(),
                    "content": plain(message.get("content")),
                })],
            ),
            _ => push(&mut messages, "user", user(n, message.get("content"))?),
        }
    }
    if messages.is_empty() {
        return Err(unsupported(
            "messages",
            "this provider needs a message of the user",
        ));
    }
    if !system.is_empty() {
        body.insert("system".into(), json!(system.join("\n\n")));
    }
    body.insert("messages".into(), Value::Array(messages));
    for (ours, theirs) in [
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("top_k", "top_k"),
        ("cache_control", "cache_control"),
    ] {
        if let Some(value) = given(ours) {
            body.insert(theirs.into(), value.clone());
        }
    }
    match given("stop") {
        Some(Value::String(stop)) => drop(body.insert("stop_sequences".into(), json!([stop]))),
        Some(stops) => drop(body.insert("stop_sequences".into(), stops.clone())),
        None => {}
    }
    tools(chat, &mut body);
    if let Some(format) = given("response_format") {
        response_format(format, &mut body)?;
    }
    if let Some(budget) = thinking(chat, limit) {
        body.insert(
            "thinking".into(),
            json!({"type": "enabled", "budget_tokens": budget}),
        );
        // The limit holds for thinking and answer together.
        limit = limit.max(budget + LEAST_THINKING);
        body.remove("temperature");
        body.remove("top_k");
    }
    body.insert("max_tokens".into(), json!(limit));
    Ok(body)
}

/// Appends blocks; neighbours of one role are one message.
fn push(messages: &mut Vec<Value>, role: &str, blocks: Vec<Value>) {
    if blocks.is_empty() {
        return;
    }
    if let Some(last) = messages
        .last_mut()
        .filter(|last| last.get("role").is_some_and(|last| last == role))
        && let Some(content) = last.get_mut("content").and_then(Value::as_array_mut)
    {
        content.extend(blocks);
        return;
    }
    messages.push(json!({"role": role, "content": blocks}));
}

fn plain(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn assistant(message: &Value) -> Vec<Value> {
    let mut blocks = Vec::new();
    let text = plain(message.get("content"));
    if !text.is_empty() {
        blocks.push(json!({"type": "text", "text": text}));
    }
    for call in message
        .get("tool_calls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let function = |name: &str| call.get("function").and_then(|function| function.get(name));
        let arguments = function("arguments")
            .and_then(Value::as_str)
            .unwrap_or("{}");
        let input: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
        blocks.push(json!({"type": "tool_use", "id": call.get("id").cloned().unwrap_or_default(), "name": function("name").cloned().unwrap_or_default(), "input": input}));
    }
    blocks
}

fn user(n: usize, content: Option<&Value>) -> Result<Vec<Value>, Unsupported> {
    let parts = match content {
        Some(Value::Array(parts)) => parts,
        content => {
            let text = plain(content);
            // Empty blocks are refused there.
            return Ok(if text.is_empty() {
                Vec::new()
            } else {
                vec![json!({"type": "text", "text": text})]
            });
        }
    };
    let mut blocks = Vec::new();
    for (m, part) in parts.iter().enumerate() {
        match part.get("type").and_then(Value::as_str) {
            Some("text") => {
                let mut block =
                    json!({"type": "text", "text": part.get("text").cloned().unwrap_or_default()});
                if let (Some(cache), Some(block)) =
                    (part.get("cache_control"), block.as_object_mut())
                {
                    block.insert("cache_control".into(), cache.clone());
                }
                blocks.push(block);
            }
            Some("image_url") => {
                let url = part
                    .get("image_url")
                    .and_then(|image| image.get("url"))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                blocks.push(json!({"type": "image", "source": source(url)}));
            }
            _ => {
                return Err(unsupported(
                    &format!("messages[{n}].content[{m}].type"),
                    "this provider takes text and images only",
                ));
            }
        }
    }
    Ok(blocks)
}

fn source(url: &str) -> Value {
    match url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
    {
        Some((media, data)) => json!({"type": "base64", "media_type": media, "data": data}),
        None => json!({"type": "url", "url": url}),
    }
}

fn tools(chat: &Map<String, Value>, body: &mut Map<String, Value>) {
    let Some(tools) = chat
        .get("tools")
        .and_then(Value::as_array)
        .filter(|tools| !tools.is_empty())
    else {
        return;
    };
    let translated = tools.iter().map(|tool| {
        let Some(function) = tool.get("function") else {
            return tool.clone();
        };
        let mut out = Map::new();
        out.insert(
            "name".into(),
            function.get("name").cloned().unwrap_or_default(),
        );
        if let Some(description) = function.get("description").filter(|text| text.is_string()) {
            out.insert("description".into(), description.clone());
        }
        out.insert(
            "input_schema".into(),
            function
                .get("parameters")
                .filter(|schema| schema.is_object())
                .cloned()
                .unwrap_or_else(|| json!({"type": "object"})),
        );
        if function.get("strict").and_then(Value::as_bool) == Some(true) {
            out.insert("strict".into(), json!(true));
        }
        Value::Object(out)
    });
    body.insert("tools".into(), translated.collect());
    let mut choice = match chat.get("tool_choice") {
        Some(Value::String(choice)) if choice == "required" => json!({"type": "any"}),
        Some(Value::String(choice)) if choice == "none" => json!({"type": "none"}),
        Some(Value::Object(named)) => {
            json!({"type": "tool", "name": named.get("function").and_then(|function| function.get("name")).cloned().unwrap_or_default()})
        }
        _ => json!({"type": "auto"}),
    };
    if chat.get("parallel_tool_calls").and_then(Value::as_bool) == Some(false)
        && choice.get("type").is_some_and(|kind| kind != "none")
        && let Some(choice) = choice.as_object_mut()
    {
        choice.insert("disable_parallel_tool_use".into(), json!(true));
    }
    body.insert("tool_choice".into(), choice);
}

fn response_format(format: &Value, body: &mut Map<String, Value>) -> Result<(), Unsupported> {
    match format.get("type").and_then(Value::as_str) {
        None | Some("text") => Ok(()),
        Some("json_schema") => {
            let schema = format
                .get("json_schema")
                .and_then(|outer| outer.get("schema"))
                .cloned()
                .unwrap_or_else(|| json!({"type": "object"}));
            body.insert(
                "output_config".into(),
                json!({"format": {"type": "json_schema", "schema": schema}}),
            );
            Ok(())
        }
        Some(_) => Err(unsupported(
            "response_format",
            "this provider takes a `json_schema`, not a bare `json_object`",
        )),
    }
}

/// The budget for thinking, where the client wants any.
fn thinking(chat: &Map<String, Value>, limit: u64) -> Option<u64> {
    let reasoning = chat.get("reasoning");
    let inner = |name: &str| reasoning.and_then(|reasoning| reasoning.get(name));
    if inner("enabled").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    if let Some(budget) = inner("max_tokens").and_then(Value::as_u64) {
        return Some(budget.max(LEAST_THINKING));
    }
    let effort = inner("effort")
        .or_else(|| chat.get("reasoning_effort"))
        .and_then(Value::as_str);
    let tenths = match effort {
        Some("xhigh" | "max") => 9,
        Some("high") => 8,
        Some("medium") => 5,
        Some("low") => 2,
        Some("minimal") => 1,
        None if inner("enabled").and_then(Value::as_bool) == Some(true) => 5,
        _ => return None,
    };
    Some((limit / 10 * tenths).clamp(LEAST_THINKING, 32_000))
}
