//! A chat request as a `generateContent` request.

use crate::adapters::chat::{
    self, Part, PastCall, Thinking, append, data_url, list, past_calls, text, unsupported,
};
use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;

/// What the API has no counterpart for.
const REFUSED: [&str; 6] = [
    "logit_bias",
    "min_p",
    "top_a",
    "repetition_penalty",
    "web_search_options",
    "verbosity",
];

/// What stands for the proof of a thought that belongs to a past call when it is not known: the API's own word for "made
/// elsewhere". Models from 3 on refuse past calls without any.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// The request.
pub(super) fn request(ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
    if ask.operation == Operation::Embeddings {
        return Err(unsupported(
            "model",
            "Embeddings of Gemini are reached over its OpenAI-compatible address only.",
        ));
    }
    let chat = &ask.body;
    chat::refuse_uncarried(chat)?;
    chat::refuse(chat, "Gemini", &REFUSED)?;
    let model = target.model.strip_prefix("models/").unwrap_or(target.model);
    let mut body = Map::new();
    let (system, contents) = contents(list(chat, "messages"), generation(model) >= 3)?;
    if !system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({"parts": system}));
    }
    body.insert("contents".to_owned(), contents.into());
    tools(chat, &mut body)?;
    let config = config(chat, model)?;
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), config.into());
    }
    let method = if ask.stream {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    };
    let headers = if target.key.is_empty() {
        None
    } else {
        chat::secret("x-goog-api-key", target.key)
    };
    Ok(Outgoing {
        path: format!("/models/{}:{method}", in_path(model)),
        headers: headers.into_iter().collect(),
        body: chat::bytes(body),
    })
}

/// The number in `gemini-3-pro`; 0 of models named otherwise.
fn generation(model: &str) -> u32 {
    let number = model.strip_prefix("gemini-").unwrap_or_default();
    number
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn in_path(model: &str) -> String {
    let mut out = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@') {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn config(chat: &Map<String, Value>, model: &str) -> Result<Map<String, Value>, Unsupported> {
    let mut config = Map::new();
    for (ours, theirs) in [
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("top_k", "topK"),
        ("seed", "seed"),
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
    ] {
        if let Some(value) = chat.get(ours).filter(|v| !v.is_null()) {
            config.insert(theirs.to_owned(), value.clone());
        }
    }
    if let Some(limit) = chat::limit(chat) {
        config.insert("maxOutputTokens".to_owned(), limit.into());
    }
    let stops = chat::stops(chat);
    if !stops.is_empty() {
        config.insert("stopSequences".to_owned(), stops.into());
    }
    match chat
        .get("response_format")
        .map(|format| text(format, "type"))
    {
        None | Some("" | "text") => {}
        Some("json_object") => {
            config.insert("responseMimeType".to_owned(), "application/json".into());
        }
        Some("json_schema") => {
            config.insert("responseMimeType".to_owned(), "application/json".into());
            if let Some(schema) = chat
                .get("response_format")
                .and_then(|f| f.get("json_schema")?.get("schema"))
            {
                config.insert("responseJsonSchema".to_owned(), schema.clone());
            }
        }
        Some(_) => {
            return Err(unsupported(
                "response_format.type",
                "Gemini answers as `text`, `json_object` or `json_schema`.",
            ));
        }
    }
    if let Some(wanted) = chat::thinking(chat) {
        let levels = generation(model) >= 3;
        let mut thinking = Map::new();
        let exclude =
            chat.get("reasoning").and_then(|r| r.get("exclude")) == Some(&Value::Bool(true));
        if wanted != Thinking::Off {
            thinking.insert("includeThoughts".to_owned(), (!exclude).into());
        }
        match wanted {
            Thinking::Off if levels => {
                return Err(unsupported(
                    "reasoning",
                    "This model always thinks: ask for the effort `minimal` or `low`.",
                ));
            }
            Thinking::Off => {
                thinking.insert("thinkingBudget".to_owned(), 0.into());
            }
            Thinking::On => {}
            Thinking::Tokens(tokens) => {
                thinking.insert("thinkingBudget".to_owned(), tokens.into());
            }
            Thinking::Effort(effort) if levels => {
                let level = if matches!(effort, "minimal" | "low" | "medium") {
                    effort
                } else {
                    "high"
                };
                thinking.insert("thinkingLevel".to_owned(), level.into());
            }
            Thinking::Effort(effort) => {
                let budget = match effort {
                    "minimal" | "low" => 1024,
                    "medium" => 8192,
                    _ => 24_576,
                };
                thinking.insert("thinkingBudget".to_owned(), budget.into());
            }
        }
        config.insert("thinkingConfig".to_owned(), thinking.into());
    }
    Ok(config)
}

fn tools(chat: &Map<String, Value>, body: &mut Map<String, Value>) -> Result<(), Unsupported> {
    let mut declarations = Vec::new();
    for tool in list(chat, "tools") {
        let function = tool.get("function").unwrap_or(&Value::Null);
        let mut out = Map::new();
        out.insert("name".to_owned(), text(function, "name").into());
        for (ours, theirs) in [
            ("description", "description"),
            ("parameters", "parametersJsonSchema"),
        ] {
            if let Some(value) = function.get(ours).filter(|v| !v.is_null()) {
                out.insert(theirs.to_owned(), value.clone());
            }
        }
        declarations.push(Value::Object(out));
    }
    if declarations.is_empty() {
        return Ok(());
    }
    if chat.get("parallel_tool_calls") == Some(&Value::Bool(false)) {
        return Err(unsupported(
            "parallel_tool_calls",
            "Gemini cannot be held to one tool call at a time.",
        ));
    }
    let choice = match chat.get("tool_choice") {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) => Some(json!({"mode": match word.as_str() {
            "none" => "NONE",
            "required" => "ANY",
            _ => "AUTO",
        }})),
        Some(named) => match named.get("function").map(|function| text(function, "name")) {
            Some(name) if !name.is_empty() => {
                Some(json!({"mode": "ANY", "allowedFunctionNames": [name]}))
            }
            _ => {
                return Err(unsupported(
                    "tool_choice",
                    "Gemini takes `auto`, `none`, `required` or one named function.",
                ));
            }
        },
    };
    if let Some(choice) = choice {
        body.insert(
            "toolConfig".to_owned(),
            json!({"functionCallingConfig": choice}),
        );
    }
    body.insert(
        "tools".to_owned(),
        json!([{"functionDeclarations": declarations}]),
    );
    Ok(())
}

/// The system parts, wherever they stood, and the contents, those of one role in a row joined.
fn contents(chat: &[Value], signed: bool) -> Result<(Vec<Value>, Vec<Value>), Unsupported> {
    let (mut system, mut contents) = (Vec::new(), Vec::new());
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (n, message) in chat.iter().enumerate() {
        let param = format!("messages[{n}].content");
        let content = message.get("content");
        match text(message, "role") {
            "system" | "developer" => system.extend(parts(content, &param)?),
            "assistant" => {
                let mut parts = parts(content, &param)?;
                if !text(message, "refusal").is_empty() {
                    parts.push(json!({"text": text(message, "refusal")}));
                }
                for (c, past) in past_calls(message, n, "Gemini")?.into_iter().enumerate() {
                    names.insert(text(past.call, "id"), past.name);
                    parts.push(past_call(past, signed && c == 0));
                }
                append(&mut contents, "model", "parts", parts);
            }
            "tool" => append(
                &mut contents,
                "user",
                "parts",
                vec![result(message, n, &names)?],
            ),
            _ => append(&mut contents, "user", "parts", parts(content, &param)?),
        }
    }
    Ok((system, contents))
}

fn past_call(past: PastCall<'_>, sign: bool) -> Value {
    let mut part = json!({"functionCall": {"name": past.name, "args": past.arguments}});
    let known = past
        .call
        .pointer("/extra_content/google/thought_signature")
        .and_then(Value::as_str);
    if let (Some(signature), Some(part)) = (
        known.or_else(|| sign.then_some(NO_SIGNATURE)),
        part.as_object_mut(),
    ) {
        part.insert("thoughtSignature".to_owned(), signature.into());
    }
    part
}

/// The API knows results by the name of the function; by order where one is called twice.
fn result(message: &Value, n: usize, names: &HashMap<&str, &str>) -> Result<Value, Unsupported> {
    let named = text(message, "name");
    let Some(name) = names
        .get(text(message, "tool_call_id"))
        .copied()
        .or_else(|| (!named.is_empty()).then_some(named))
    else {
        return Err(unsupported(
            format!("messages[{n}].tool_call_id"),
            "Gemini takes results only of tool calls that stand in a message before.",
        ));
    };
    let mut output = String::new();
    for (p, part) in chat::parts(message.get("content"), &format!("messages[{n}].content"))?
        .into_iter()
        .enumerate()
    {
        match part {
            Part::Text(text, _) => output.push_str(text),
            _ => {
                return Err(unsupported(
                    format!("messages[{n}].content[{p}]"),
                    "Gemini takes results of tools as text.",
                ));
            }
        }
    }
    let response = match serde_json::from_str::<Value>(&output) {
        Ok(object @ Value::Object(_)) => object,
        _ => json!({"output": output}),
    };
    Ok(json!({"functionResponse": {"name": name, "response": response}}))
}

fn parts(content: Option<&Value>, param: &str) -> Result<Vec<Value>, Unsupported> {
    let mut parts = Vec::new();
    for (n, part) in chat::parts(content, param)?.into_iter().enumerate() {
        let inline = |url: &str, field: &str| match data_url(url) {
            Some((media, data)) => Ok(json!({"inlineData": {"mimeType": media, "data": data}})),
            None => Err(unsupported(
                format!("{param}[{n}].{field}"),
                "Gemini does not fetch addresses: send a base64 data URL.",
            )),
        };
        parts.push(match part {
            Part::Text("", _) => continue,
            Part::Text(text, _) => json!({"text": text}),
            Part::Image(url, _) => inline(url, "image_url.url")?,
            Part::File(url, _) => inline(url, "file.file_data")?,
            Part::Video(url) => inline(url, "video_url.url")?,
            Part::Audio(data, format) => {
                json!({"inlineData": {"mimeType": format!("audio/{format}"), "data": data}})
            }
        });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::adapters::testing::{ask, sent, target};

    fn translated(body: Value) -> Value {
        sent(&request(&ask(body), target("gemini-2.5-flash")).unwrap())
    }

    fn conversation() -> Value {
        json!([
            {"role": "system", "content": "brief"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA"}}]},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"k\":1}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "tool", "tool_call_id": "b", "content": "{\"x\":2}"},
            {"role": "user", "content": "and?"}
        ])
    }

    #[test]
    fn a_conversation() {
        let out = translated(json!({
            "model": "x", "max_tokens": 50, "stop": ["END"], "temperature": 0.2, "top_k": 3,
            "tool_choice": {"type": "function", "function": {"name": "f"}}, "reasoning_effort": "low",
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            "messages": conversation()
        }));
        assert_eq!(
            out,
            json!({
                "systemInstruction": {"parts": [{"text": "brief"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "AAA"}}]},
                    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"k": 1}}}, {"functionCall": {"name": "g", "args": {}}}]},
                    {"role": "user", "parts": [
                        {"functionResponse": {"name": "f", "response": {"output": "one"}}},
                        {"functionResponse": {"name": "g", "response": {"x": 2}}},
                        {"text": "and?"}
                    ]}
                ],
                "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
                "generationConfig": {
                    "temperature": 0.2, "topK": 3, "maxOutputTokens": 50, "stopSequences": ["END"],
                    "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"},
                    "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 1024}
                }
            })
        );
    }

    #[test]
    fn paths_and_key() {
        let mut asked = ask(json!({"messages": []}));
        assert_eq!(
            request(&asked, target("models/gemini-3-pro")).unwrap().path,
            "/models/gemini-3-pro:generateContent"
        );
        asked.stream = true;
        let out = request(&asked, target("odd/name?x")).unwrap();
        assert_eq!(
            out.path,
            "/models/odd%2Fname%3Fx:streamGenerateContent?alt=sse"
        );
        assert!(out.headers[0].0 == "x-goog-api-key" && out.headers[0].1.is_sensitive());
    }

    #[test]
    fn newer_models_want_levels_and_signatures() {
        let of = |body: Value| sent(&request(&ask(body), target("gemini-3-pro")).unwrap());
        let out = of(
            json!({"messages": conversation(), "reasoning": {"effort": "high", "exclude": true}}),
        );
        assert_eq!(
            out["generationConfig"]["thinkingConfig"],
            json!({"includeThoughts": false, "thinkingLevel": "high"})
        );
        assert_eq!(
            out["contents"][1]["parts"][0]["thoughtSignature"],
            NO_SIGNATURE
        );
        assert_eq!(out["contents"][1]["parts"][1].get("thoughtSignature"), None);
    }

    #[test]
    fn what_cannot_be_done_names_its_field() {
        let user = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
        for (body, param) in [
            (
                user(json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}})),
                "messages[0].content[0].image_url.url",
            ),
            (json!({"logit_bias": {"1": 2}}), "logit_bias"),
            (
                json!({"messages": [{"role": "tool", "tool_call_id": "z", "content": "x"}]}),
                "messages[0].tool_call_id",
            ),
            (
                json!({"parallel_tool_calls": false, "tools": [{"type": "function", "function": {"name": "f"}}]}),
                "parallel_tool_calls",
            ),
            (json!({"n": 2}), "n"),
        ] {
            assert_eq!(
                request(&ask(body.clone()), target("gemini-2.5-flash"))
                    .unwrap_err()
                    .param,
                param,
                "{body}"
            );
        }
        let mut asked = ask(json!({"input": "x"}));
        asked.operation = Operation::Embeddings;
        assert!(request(&asked, target("gemini")).is_err());
    }
}
