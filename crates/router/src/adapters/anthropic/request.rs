//! A chat request as a message request.

use crate::adapters::chat::{
    self, Part, Thinking, append, data_url, list, past_calls, text, unsupported,
};
use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// The version of the API this is written for.
const VERSION: &str = "2023-06-01";
/// The answer's limit where neither the client nor the catalog names one.
const DEFAULT_LIMIT: u64 = 4096;
/// The API's smallest budget of thinking.
const LEAST_BUDGET: u64 = 1024;
/// What the API has no counterpart for.
const REFUSED: [&str; 8] = [
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "min_p",
    "top_a",
    "repetition_penalty",
    "web_search_options",
    "verbosity",
];

/// The request.
pub(super) fn request(ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
    let body = match (&ask.messages_body, ask.operation) {
        (_, Operation::Embeddings) => {
            return Err(unsupported(
                "model",
                "Anthropic has no embeddings: choose another model.",
            ));
        }
        (Some(body), _) => {
            let mut body = body.clone();
            for field in chat::ROUTER_ONLY {
                body.remove(field);
            }
            body.insert("model".to_owned(), target.model.into());
            body
        }
        (None, _) => translate(&ask.body, ask.stream, target)?,
    };
    let mut headers = vec![(
        HeaderName::from_static("anthropic-version"),
        HeaderValue::from_static(VERSION),
    )];
    if !target.key.is_empty() {
        headers.extend(chat::secret("x-api-key", target.key));
    }
    Ok(Outgoing {
        path: "/messages".to_owned(),
        headers,
        body: chat::bytes(body),
    })
}

fn translate(
    chat: &Map<String, Value>,
    stream: bool,
    target: Target<'_>,
) -> Result<Map<String, Value>, Unsupported> {
    chat::refuse_uncarried(chat)?;
    chat::refuse(chat, "Anthropic", &REFUSED)?;
    let mut body = Map::new();
    body.insert("model".to_owned(), target.model.into());
    let most = if target.max_output == 0 {
        u64::MAX
    } else {
        target.max_output
    };
    let limit = chat::limit(chat)
        .unwrap_or(if target.max_output == 0 {
            DEFAULT_LIMIT
        } else {
            target.max_output
        })
        .min(most);
    body.insert("max_tokens".to_owned(), limit.into());
    if stream {
        body.insert("stream".to_owned(), true.into());
    }
    let (system, messages) = messages(list(chat, "messages"))?;
    if !system.is_empty() {
        body.insert("system".to_owned(), system.into());
    }
    body.insert("messages".to_owned(), messages.into());
    if let Some(temperature) = chat.get("temperature").filter(|t| !t.is_null()) {
        if temperature.as_f64().is_some_and(|t| t > 1.0) {
            return Err(unsupported(
                "temperature",
                "Anthropic's `temperature` goes from 0 to 1.",
            ));
        }
        body.insert("temperature".to_owned(), temperature.clone());
    }
    for field in ["top_p", "top_k"] {
        if let Some(value) = chat.get(field).filter(|v| !v.is_null()) {
            body.insert(field.to_owned(), value.clone());
        }
    }
    let stops = chat::stops(chat);
    if !stops.is_empty() {
        body.insert("stop_sequences".to_owned(), stops.into());
    }
    if let Some(user) = chat
        .get("safety_identifier")
        .or_else(|| chat.get("user"))
        .and_then(Value::as_str)
    {
        body.insert("metadata".to_owned(), json!({"user_id": user}));
    }
    tools(chat, &mut body)?;
    let mut output = Map::new();
    match chat
        .get("response_format")
        .map(|format| text(format, "type"))
    {
        None | Some("" | "text") => {}
        Some("json_schema") => {
            let schema = chat
                .get("response_format")
                .and_then(|f| f.get("json_schema"))
                .and_then(|s| s.get("schema"));
            let Some(schema) = schema.filter(|schema| schema.is_object()) else {
                return Err(unsupported(
                    "response_format.json_schema.schema",
                    "Anthropic needs a schema to answer in JSON.",
                ));
            };
            output.insert(
                "format".to_owned(),
                json!({"type": "json_schema", "schema": schema}),
            );
        }
        Some(_) => {
            let advice = "Anthropic answers in JSON only to a schema: use `response_format` with the type `json_schema`.";
            return Err(unsupported("response_format.type", advice));
        }
    }
    thinking(chat, target.model, limit, &mut body, &mut output)?;
    if !output.is_empty() {
        body.insert("output_config".to_owned(), output.into());
    }
    Ok(body)
}

/// Models from 4.6 on decide themselves how long to think and take an effort; those before take a budget.
fn thinking(
    chat: &Map<String, Value>,
    model: &str,
    limit: u64,
    body: &mut Map<String, Value>,
    output: &mut Map<String, Value>,
) -> Result<(), Unsupported> {
    let Some(wanted) = chat::thinking(chat) else {
        return Ok(());
    };
    let version = version(model);
    let adaptive = version >= (4, 6);
    let share = |effort: &str| match effort {
        "minimal" => limit / 10,
        "low" => limit / 5,
        "medium" => limit / 2,
        _ => limit / 5 * 4,
    };
    let budget = match wanted {
        Thinking::Off => {
            body.insert("thinking".to_owned(), json!({"type": "disabled"}));
            return Ok(());
        }
        Thinking::On | Thinking::Effort(_) if adaptive => {
            body.insert("thinking".to_owned(), json!({"type": "adaptive"}));
            if let Thinking::Effort(effort) = wanted {
                let effort = if effort == "minimal" { "low" } else { effort };
                output.insert("effort".to_owned(), effort.into());
            }
            return Ok(());
        }
        Thinking::Tokens(_) if version >= (4, 7) => {
            return Err(unsupported(
                "reasoning.max_tokens",
                "This model decides itself how long to think: use `reasoning.effort`.",
            ));
        }
        Thinking::Tokens(tokens) => tokens,
        Thinking::On => share("medium"),
        Thinking::Effort(effort) => share(effort),
    };
    if limit <= LEAST_BUDGET {
        return Err(unsupported(
            "max_tokens",
            "Anthropic counts thinking into the limit of the answer: with `reasoning` it must be over 1024.",
        ));
    }
    let budget = budget.clamp(LEAST_BUDGET, limit - 1);
    body.insert(
        "thinking".to_owned(),
        json!({"type": "enabled", "budget_tokens": budget}),
    );
    Ok(())
}

/// Major and minor of `claude-opus-4-6-20260101`, `claude-3-7-sonnet-latest`, `anthropic.claude-sonnet-5`.
fn version(model: &str) -> (u32, u32) {
    let mut numbers = model
        .split(['-', '.', '@', ':'])
        .skip_while(|part| !part.parse::<u32>().is_ok_and(|n| n < 100));
    let major = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let minor = numbers
        .next()
        .and_then(|n| n.parse().ok())
        .filter(|n| *n < 100)
        .unwrap_or(0);
    (major, minor)
}

fn tools(chat: &Map<String, Value>, body: &mut Map<String, Value>) -> Result<(), Unsupported> {
    let mut tools = Vec::new();
    for tool in list(chat, "tools") {
        let function = tool.get("function").unwrap_or(&Value::Null);
        let mut out = Map::new();
        out.insert("name".to_owned(), text(function, "name").into());
        if let Some(description) = function.get("description").filter(|d| d.is_string()) {
            out.insert("description".to_owned(), description.clone());
        }
        let schema = function
            .get("parameters")
            .filter(|p| p.is_object())
            .cloned();
        out.insert(
            "input_schema".to_owned(),
            schema.unwrap_or_else(|| json!({"type": "object", "properties": {}})),
        );
        if function.get("strict") == Some(&Value::Bool(true)) {
            out.insert("strict".to_owned(), true.into());
        }
        if let Some(cache) = tool.get("cache_control") {
            out.insert("cache_control".to_owned(), cache.clone());
        }
        tools.push(Value::Object(out));
    }
    if tools.is_empty() {
        return Ok(());
    }
    let single = chat.get("parallel_tool_calls") == Some(&Value::Bool(false));
    let choice = match chat.get("tool_choice") {
        None | Some(Value::Null) => single.then(|| json!({"type": "auto"})),
        Some(Value::String(word)) => Some(match word.as_str() {
            "none" => json!({"type": "none"}),
            "required" => json!({"type": "any"}),
            _ => json!({"type": "auto"}),
        }),
        Some(named) => match named.get("function").map(|function| text(function, "name")) {
            Some(name) if !name.is_empty() => Some(json!({"type": "tool", "name": name})),
            _ => {
                return Err(unsupported(
                    "tool_choice",
                    "Anthropic takes `auto`, `none`, `required` or one named function.",
                ));
            }
        },
    };
    if let Some(mut choice) = choice {
        if single
            && text(&choice, "type") != "none"
            && let Some(choice) = choice.as_object_mut()
        {
            choice.insert("disable_parallel_tool_use".to_owned(), true.into());
        }
        body.insert("tool_choice".to_owned(), choice);
    }
    body.insert("tools".to_owned(), tools.into());
    Ok(())
}

/// The system blocks, wherever they stood, and the messages, those of one role in a row joined.
fn messages(chat: &[Value]) -> Result<(Vec<Value>, Vec<Value>), Unsupported> {
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    for (n, message) in chat.iter().enumerate() {
        let param = format!("messages[{n}].content");
        let content = message.get("content");
        match text(message, "role") {
            "system" | "developer" => system.extend(blocks(content, &param)?),
            "assistant" => append(
                &mut messages,
                "assistant",
                "content",
                assistant(message, n, blocks(content, &param)?)?,
            ),
            "tool" => {
                let mut result = Map::new();
                result.insert("type".to_owned(), "tool_result".into());
                result.insert(
                    "tool_use_id".to_owned(),
                    call_id(text(message, "tool_call_id")).into(),
                );
                result.insert(
                    "content".to_owned(),
                    match content {
                        Some(Value::String(text)) => text.clone().into(),
                        _ => blocks(content, &param)?.into(),
                    },
                );
                if message.get("is_error") == Some(&Value::Bool(true)) {
                    result.insert("is_error".to_owned(), true.into());
                }
                if let Some(cache) = message.get("cache_control") {
                    result.insert("cache_control".to_owned(), cache.clone());
                }
                append(&mut messages, "user", "content", vec![result.into()]);
            }
            _ => append(&mut messages, "user", "content", blocks(content, &param)?),
        }
    }
    Ok((system, messages))
}

/// Thoughts with their proof first, then text, then calls.
fn assistant(message: &Value, n: usize, content: Vec<Value>) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = Vec::new();
    for detail in message
        .get("reasoning_details")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        match text(detail, "type") {
            "reasoning.text" if !text(detail, "signature").is_empty() => {
                blocks.push(json!({"type": "thinking", "thinking": text(detail, "text"), "signature": text(detail, "signature")}));
            }
            "reasoning.encrypted" if !text(detail, "data").is_empty() => {
                blocks.push(json!({"type": "redacted_thinking", "data": text(detail, "data")}));
            }
            _ => {}
        }
    }
    blocks.extend(content);
    if !text(message, "refusal").is_empty() {
        blocks.push(json!({"type": "text", "text": text(message, "refusal")}));
    }
    for past in past_calls(message, n, "Anthropic")? {
        blocks.push(json!({"type": "tool_use", "id": call_id(text(past.call, "id")), "name": past.name, "input": past.arguments}));
    }
    Ok(blocks)
}

/// Ids as the API allows them: the same change at the call and at its result.
fn call_id(id: &str) -> String {
    id.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

fn blocks(content: Option<&Value>, param: &str) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = Vec::new();
    for (n, part) in chat::parts(content, param)?.into_iter().enumerate() {
        let (mut block, cache) = match part {
            // The API refuses empty texts.
            Part::Text("", _) => continue,
            Part::Text(text, cache) => (json!({"type": "text", "text": text}), cache),
            Part::Image(url, cache) => (
                json!({"type": "image", "source": image(url, param, n)?}),
                cache,
            ),
            Part::File(url, name) => {
                let Some(("application/pdf", data)) = data_url(url) else {
                    return Err(unsupported(
                        format!("{param}[{n}].file.file_data"),
                        "Anthropic takes PDF files as a base64 data URL.",
                    ));
                };
                let mut block = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}});
                if !name.is_empty()
                    && let Some(block) = block.as_object_mut()
                {
                    block.insert("title".to_owned(), name.into());
                }
                (block, None)
            }
            Part::Audio(..) => {
                return Err(unsupported(
                    format!("{param}[{n}].input_audio"),
                    "Anthropic does not take audio.",
                ));
            }
            Part::Video(_) => {
                return Err(unsupported(
                    format!("{param}[{n}].video_url"),
                    "Anthropic does not take video.",
                ));
            }
        };
        if let (Some(cache), Some(block)) = (cache, block.as_object_mut()) {
            block.insert("cache_control".to_owned(), cache.clone());
        }
        blocks.push(block);
    }
    Ok(blocks)
}

fn image(url: &str, param: &str, n: usize) -> Result<Value, Unsupported> {
    if let Some((media, data)) = data_url(url) {
        return Ok(json!({"type": "base64", "media_type": media, "data": data}));
    }
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(json!({"type": "url", "url": url}));
    }
    Err(unsupported(
        format!("{param}[{n}].image_url.url"),
        "Anthropic takes images as a base64 data URL or an https address.",
    ))
}

#[cfg(test)]
mod tests;
