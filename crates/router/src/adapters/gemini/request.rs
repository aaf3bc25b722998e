//! A chat request as a `generateContent` request.

use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

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
    if ask.operation == Operation::Embeddings {
        return Err(unsupported(
            "model",
            "this provider's embeddings are not offered here: name another one in `provider.only`",
        ));
    }
    let body = translate(&ask.body)?;
    let path = if ask.stream {
        format!("/models/{}:streamGenerateContent?alt=sse", target.model)
    } else {
        format!("/models/{}:generateContent", target.model)
    };
    let mut headers = Vec::new();
    if let (false, Ok(mut key)) = (target.key.is_empty(), HeaderValue::from_str(target.key)) {
        key.set_sensitive(true);
        headers.push((HeaderName::from_static("x-goog-api-key"), key));
    }
    Ok(Outgoing {
        path,
        headers,
        body: serde_json::to_vec(&body).unwrap_or_default().into(),
    })
}

fn translate(chat: &Map<String, Value>) -> Result<Value, Unsupported> {
    let given = |name: &str| chat.get(name).filter(|value| !value.is_null());
    if given("n").is_some_and(|n| n != 1) {
        return Err(unsupported(
            "n",
            "this provider gives one answer at a time: leave `n` out, or ask several times",
        ));
    }
    for name in [
        "logit_bias",
        "audio",
        "prediction",
        "logprobs",
        "top_logprobs",
    ] {
        if given(name).is_some_and(|value| value != false && value != 0) {
            return Err(unsupported(
                name,
                "this provider does not offer this: leave it out, or name another one in `provider.only`",
            ));
        }
    }
    let (mut system, mut contents) = (Vec::new(), Vec::new());
    // A result names its call by id; this API wants the tool's name.
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (n, message) in chat
        .get("messages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        match message.get("role").and_then(Value::as_str) {
            Some("system" | "developer") => {
                system.push(json!({"text": plain(message.get("content"))}))
            }
            Some("assistant") => {
                for call in message
                    .get("tool_calls")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    let name = call
                        .get("function")
                        .and_then(|function| function.get("name"))
                        .and_then(Value::as_str);
                    if let (Some(id), Some(name)) = (call.get("id").and_then(Value::as_str), name) {
                        names.insert(id, name);
                    }
                }
                push(&mut contents, "model", assistant(message));
            }
            Some("tool" | "function") => {
                let id = message
                    .get("tool_call_id")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let name = names
                    .get(id)
                    .copied()
                    .or_else(|| message.get("name").and_then(Value::as_str))
                    .unwrap_or(id);
                let said = plain(message.get("content"));
                let response = serde_json::from_str::<Map<String, Value>>(&said)
                    .map_or_else(|_| json!({"result": said}), Value::Object);
                push(
                    &mut contents,
                    "user",
                    vec![json!({"functionResponse": {"name": name, "response": response}})],
                );
            }
            _ => push(&mut contents, "user", user(n, message.get("content"))?),
        }
    }
    let mut body = json!({"contents": contents});
    let Some(out) = body.as_object_mut() else {
        return Ok(body);
    };
    if !system.is_empty() {
        out.insert("systemInstruction".into(), json!({"parts": system}));
    }
    tools(chat, out);
    let config = config(chat)?;
    if !config.is_empty() {
        out.insert("generationConfig".into(), Value::Object(config));
    }
    Ok(body)
}

fn push(contents: &mut Vec<Value>, role: &str, parts: Vec<Value>) {
    if parts.is_empty() {
        return;
    }
    if let Some(last) = contents
        .last_mut()
        .filter(|last| last.get("role").is_some_and(|last| last == role))
        && let Some(there) = last.get_mut("parts").and_then(Value::as_array_mut)
    {
        there.extend(parts);
        return;
    }
    contents.push(json!({"role": role, "parts": parts}));
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
    let mut parts = Vec::new();
    let text = plain(message.get("content"));
    if !text.is_empty() {
        parts.push(json!({"text": text}));
    }
    for call in message
        .get("tool_calls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let function = |name: &str| call.get("function").and_then(|function| function.get(name));
        let arguments: Map<String, Value> = serde_json::from_str(
            function("arguments")
                .and_then(Value::as_str)
                .unwrap_or("{}"),
        )
        .unwrap_or_default();
        parts.push(json!({"functionCall": {"name": function("name").cloned().unwrap_or_default(), "args": arguments}}));
    }
    parts
}

fn user(n: usize, content: Option<&Value>) -> Result<Vec<Value>, Unsupported> {
    let Some(Value::Array(parts)) = content else {
        let text = plain(content);
        return Ok(vec![json!({"text": text})]);
    };
    let mut out = Vec::new();
    for (m, part) in parts.iter().enumerate() {
        match part.get("type").and_then(Value::as_str) {
            Some("text") => {
                out.push(json!({"text": part.get("text").cloned().unwrap_or_default()}))
            }
            Some("image_url") => {
                let url = part
                    .get("image_url")
                    .and_then(|image| image.get("url"))
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let Some((media, data)) = url
                    .strip_prefix("data:")
                    .and_then(|rest| rest.split_once(";base64,"))
                else {
                    return Err(unsupported(
                        &format!("messages[{n}].content[{m}].image_url"),
                        "this provider takes images only inside the request: send a data: URL",
                    ));
                };
                out.push(json!({"inlineData": {"mimeType": media, "data": data}}));
            }
            Some("input_audio") => {
                let audio = |name: &str| {
                    part.get("input_audio")
                        .and_then(|audio| audio.get(name))
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                out.push(json!({"inlineData": {"mimeType": format!("audio/{}", audio("format")), "data": audio("data")}}));
            }
            _ => {
                return Err(unsupported(
                    &format!("messages[{n}].content[{m}].type"),
                    "this provider takes text, images and audio only",
                ));
            }
        }
    }
    Ok(out)
}

fn tools(chat: &Map<String, Value>, body: &mut Map<String, Value>) {
    let Some(tools) = chat
        .get("tools")
        .and_then(Value::as_array)
        .filter(|tools| !tools.is_empty())
    else {
        return;
    };
    let functions: Vec<Value> = tools
        .iter()
        .filter_map(|tool| tool.get("function"))
        .map(|function| {
            let mut out = Map::new();
            out.insert(
                "name".into(),
                function.get("name").cloned().unwrap_or_default(),
            );
            out.insert(
                "description".into(),
                function
                    .get("description")
                    .cloned()
                    .unwrap_or_else(|| json!("")),
            );
            if let Some(schema) = function
                .get("parameters")
                .filter(|schema| schema.is_object())
            {
                out.insert("parametersJsonSchema".into(), schema.clone());
            }
            Value::Object(out)
        })
        .collect();
    body.insert("tools".into(), json!([{"functionDeclarations": functions}]));
    let calling = match chat.get("tool_choice") {
        Some(Value::String(choice)) if choice == "required" => json!({"mode": "ANY"}),
        Some(Value::String(choice)) if choice == "none" => json!({"mode": "NONE"}),
        Some(Value::Object(named)) => {
            let name = named
                .get("function")
                .and_then(|function| function.get("name"))
                .cloned()
                .unwrap_or_default();
            json!({"mode": "ANY", "allowedFunctionNames": [name]})
        }
        _ => json!({"mode": "AUTO"}),
    };
    body.insert(
        "toolConfig".into(),
        json!({"functionCallingConfig": calling}),
    );
}

fn config(chat: &Map<String, Value>) -> Result<Map<String, Value>, Unsupported> {
    let given = |name: &str| chat.get(name).filter(|value| !value.is_null());
    let mut config = Map::new();
    for (ours, theirs) in [
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("top_k", "topK"),
        ("seed", "seed"),
        ("frequency_penalty", "frequencyPenalty"),
        ("presence_penalty", "presencePenalty"),
        ("max_tokens", "maxOutputTokens"),
        ("max_completion_tokens", "maxOutputTokens"),
    ] {
        if let Some(value) = given(ours) {
            config.insert(theirs.into(), value.clone());
        }
    }
    match given("stop") {
        Some(Value::String(stop)) => drop(config.insert("stopSequences".into(), json!([stop]))),
        Some(stops) => drop(config.insert("stopSequences".into(), stops.clone())),
        None => {}
    }
    if let Some(format) = given("response_format") {
        match format.get("type").and_then(Value::as_str) {
            Some("json_object") => {
                drop(config.insert("responseMimeType".into(), json!("application/json")))
            }
            Some("json_schema") => {
                config.insert("responseMimeType".into(), json!("application/json"));
                if let Some(schema) = format
                    .get("json_schema")
                    .and_then(|outer| outer.get("schema"))
                {
                    config.insert("responseJsonSchema".into(), schema.clone());
                }
            }
            None | Some("text") => {}
            Some(_) => {
                return Err(unsupported(
                    "response_format",
                    "this provider takes `text`, `json_object` and `json_schema`",
                ));
            }
        }
    }
    let reasoning = |name: &str| {
        chat.get("reasoning")
            .and_then(|reasoning| reasoning.get(name))
    };
    let effort = reasoning("effort")
        .or_else(|| chat.get("reasoning_effort"))
        .and_then(Value::as_str);
    let budget = reasoning("max_tokens")
        .and_then(Value::as_u64)
        .or(match effort {
            Some("none") => Some(0),
            Some("minimal") => Some(512),
            Some("low") => Some(1024),
            Some("medium") => Some(8192),
            Some("high" | "xhigh" | "max") => Some(24_576),
            _ => None,
        });
    if let Some(budget) = budget {
        config.insert(
            "thinkingConfig".into(),
            json!({"thinkingBudget": budget, "includeThoughts": budget > 0}),
        );
    }
    Ok(config)
}
