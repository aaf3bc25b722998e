//! What an answer says: as the adapters read it, and read again from the JSON with none of their code.

use super::*;

/// What matters of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Reading {
    pub text: String,
    pub thought: String,
    pub declined: bool,
    /// Name and arguments.
    pub calls: Vec<(String, Value)>,
    /// The provider's word.
    pub finish: String,
    /// prompt, cached, cache write, completion, reasoning.
    pub tokens: Option<[u64; 5]>,
    pub failed: bool,
}

/// Of the adapter's pieces.
pub fn of_pieces(pieces: &[Piece]) -> Reading {
    let mut out = Reading::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Start { .. } => {}
            Piece::Text(text) => out.text.push_str(text),
            Piece::Reasoning { text, .. } => out.thought.push_str(text),
            Piece::Declined(_) => out.declined = true,
            Piece::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let index = *index as usize;
                assert!(index <= calls.len(), "a call's index is left out");
                if index == calls.len() {
                    assert!(
                        id.as_ref().is_some_and(|id| !id.is_empty()),
                        "the first part of a call has no id"
                    );
                    calls.push((String::new(), String::new()));
                }
                calls[index].0.push_str(name.as_deref().unwrap_or_default());
                calls[index].1.push_str(arguments);
            }
            Piece::Finish { native, reason } => {
                out.finish.clone_from(native);
                if *reason == FinishReason::Stop {
                    assert!(calls.is_empty(), "a stop after tool calls");
                }
            }
            Piece::Usage(u) => {
                out.tokens = Some([u.prompt, u.cached, u.cache_write, u.completion, u.reasoning])
            }
            Piece::Failed(error) => {
                assert!(!error.message.is_empty());
                out.failed = true;
            }
        }
    }
    out.calls = calls
        .into_iter()
        .map(|(name, arguments)| (name, parsed(&arguments)))
        .collect();
    out
}

pub fn parsed(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()))
}

pub fn count(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

pub fn string<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Of the documents of an OpenAI answer.
pub fn of_openai(documents: &[Value]) -> Reading {
    let mut out = Reading::default();
    let mut calls: Vec<(Value, String, String)> = Vec::new();
    for document in documents {
        let usage = [
            document.pointer("/usage"),
            document.pointer("/x_groq/usage"),
            document.pointer("/choices/0/usage"),
        ];
        if let Some(u) = usage.into_iter().flatten().find(|u| u.is_object()) {
            let (prompt, mut completion, total) = (
                count(u, "/prompt_tokens"),
                count(u, "/completion_tokens"),
                count(u, "/total_tokens"),
            );
            let reasoning = count(u, "/completion_tokens_details/reasoning_tokens");
            if reasoning > 0 && (reasoning > completion || total == prompt + completion + reasoning)
            {
                completion += reasoning;
            }
            let places = [
                "/prompt_tokens_details/cached_tokens",
                "/prompt_cache_hit_tokens",
                "/cached_tokens",
                "/num_cached_tokens",
            ];
            let cached = places.iter().map(|p| count(u, p)).max().unwrap();
            // One gateway says of one recorded answer that the same tokens were written and read: parts of a prompt do not overlap.
            let written =
                count(u, "/prompt_tokens_details/cache_write_tokens").min(prompt - cached);
            out.tokens = Some([prompt, cached, written, completion, reasoning]);
        }
        out.failed |= document.get("error").is_some_and(|e| !e.is_null());
        let Some(choice) = document.pointer("/choices/0") else {
            continue;
        };
        for place in ["/native_finish_reason", "/finish_reason"] {
            if !string(choice, place).is_empty() {
                out.finish = string(choice, place).to_owned();
                break;
            }
        }
        let Some(delta) = choice
            .get("delta")
            .filter(|d| d.is_object())
            .or(choice.get("message"))
        else {
            continue;
        };
        let thought = string(delta, "/reasoning");
        out.thought.push_str(if thought.is_empty() {
            string(delta, "/reasoning_content")
        } else {
            thought
        });
        out.text.push_str(string(delta, "/content"));
        for part in delta
            .get("content")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            out.text.push_str(string(part, "/text"));
            for thought in part
                .get("thinking")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                out.thought.push_str(string(thought, "/text"));
            }
        }
        out.declined |= !string(delta, "/refusal").is_empty();
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = if call["index"].is_null() {
                call["id"].clone()
            } else {
                call["index"].clone()
            };
            let at = calls.iter().position(|c| c.0 == key).unwrap_or_else(|| {
                calls.push((key, String::new(), String::new()));
                calls.len() - 1
            });
            calls[at].1.push_str(string(call, "/function/name"));
            match &call["function"]["arguments"] {
                Value::String(text) => calls[at].2.push_str(text),
                Value::Null => {}
                other => calls[at].2.push_str(&other.to_string()),
            }
        }
    }
    out.calls = calls
        .into_iter()
        .map(|(_, name, arguments)| (name, parsed(&arguments)))
        .collect();
    out
}

/// Of the documents of an Anthropic answer.
pub fn of_anthropic(documents: &[Value]) -> Reading {
    let mut out = Reading::default();
    let mut usage = Map::new();
    let mut open: BTreeMap<u64, (usize, String)> = BTreeMap::new();
    let take = |usage: &mut Map<String, Value>, from: Option<&Value>| {
        for (key, value) in from.and_then(Value::as_object).into_iter().flatten() {
            if !value.is_null() {
                usage.insert(key.clone(), value.clone());
            }
        }
    };
    for document in documents {
        let index = count(document, "/index");
        match string(document, "/type") {
            "message_start" => take(&mut usage, document.pointer("/message/usage")),
            "content_block_start" => {
                out.text.push_str(string(document, "/content_block/text"));
                out.thought
                    .push_str(string(document, "/content_block/thinking"));
                if string(document, "/content_block/type") == "tool_use" {
                    open.insert(index, (out.calls.len(), String::new()));
                    out.calls.push((
                        string(document, "/content_block/name").to_owned(),
                        document["content_block"]["input"].clone(),
                    ));
                }
            }
            "content_block_delta" => {
                out.text.push_str(string(document, "/delta/text"));
                out.thought.push_str(string(document, "/delta/thinking"));
                if let Some((at, text)) = open.get_mut(&index) {
                    text.push_str(string(document, "/delta/partial_json"));
                    if !text.is_empty() {
                        out.calls[*at].1 = parsed(text);
                    }
                }
            }
            "message_delta" => {
                take(&mut usage, document.get("usage"));
                string(document, "/delta/stop_reason").clone_into(&mut out.finish);
            }
            "message" => {
                take(&mut usage, document.get("usage"));
                string(document, "/stop_reason").clone_into(&mut out.finish);
                for block in document["content"].as_array().into_iter().flatten() {
                    match string(block, "/type") {
                        "text" => out.text.push_str(string(block, "/text")),
                        "thinking" => out.thought.push_str(string(block, "/thinking")),
                        "tool_use" => out
                            .calls
                            .push((string(block, "/name").to_owned(), block["input"].clone())),
                        _ => {}
                    }
                }
            }
            "error" => out.failed = true,
            _ => {}
        }
    }
    out.declined = out.finish == "refusal";
    if !usage.is_empty() {
        let usage = Value::Object(usage);
        let (read, write) = (
            count(&usage, "/cache_read_input_tokens"),
            count(&usage, "/cache_creation_input_tokens"),
        );
        let thinking = count(&usage, "/output_tokens_details/thinking_tokens");
        out.tokens = Some([
            count(&usage, "/input_tokens") + read + write,
            read,
            write,
            count(&usage, "/output_tokens"),
            thinking,
        ]);
    }
    out
}

/// Of the documents of a Gemini answer.
pub fn of_gemini(documents: &[Value]) -> Reading {
    let mut out = Reading::default();
    for document in documents {
        out.failed |= document.get("error").is_some();
        let u = &document["usageMetadata"];
        if u["promptTokenCount"].is_u64() || u["candidatesTokenCount"].is_u64() {
            let thoughts = count(u, "/thoughtsTokenCount");
            let prompt = count(u, "/promptTokenCount") + count(u, "/toolUsePromptTokenCount");
            out.tokens = Some([
                prompt,
                count(u, "/cachedContentTokenCount"),
                0,
                count(u, "/candidatesTokenCount") + thoughts,
                thoughts,
            ]);
        }
        for place in ["/candidates/0/finishReason", "/promptFeedback/blockReason"] {
            if !string(document, place).is_empty() {
                string(document, place).clone_into(&mut out.finish);
            }
        }
        for part in document
            .pointer("/candidates/0/content/parts")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(call) = part.get("functionCall") {
                let args = call.get("args").cloned().unwrap_or_else(|| json!({}));
                out.calls.push((string(call, "/name").to_owned(), args));
            } else if part["thought"] == true {
                out.thought.push_str(string(part, "/text"));
            } else {
                out.text.push_str(string(part, "/text"));
            }
        }
    }
    out
}

pub fn independent(dialect: Dialect, documents: &[Value]) -> Reading {
    match dialect {
        Dialect::OpenaiCompatible | Dialect::Openai => of_openai(documents),
        Dialect::Anthropic => of_anthropic(documents),
        Dialect::Gemini => of_gemini(documents),
    }
}

/// The documents of a stream, line by line.
pub fn documents(stream: &str) -> Vec<Value> {
    let lines = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim);
    lines
        .filter(|data| *data != "[DONE]" && !data.is_empty())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

pub fn decode(dialect: Dialect, parts: &[&[u8]]) -> Result<(Vec<Piece>, bool), Garbage> {
    let (mut parser, mut decoder) = (Parser::new(8 << 20), adapter(dialect).stream());
    let (mut events, mut pieces) = (Vec::new(), Vec::new());
    for part in parts {
        parser.push(part, &mut events).unwrap();
        for event in events.drain(..) {
            decoder.event(&event, &mut pieces)?;
        }
    }
    parser.finish(&mut events).unwrap();
    for event in events.drain(..) {
        decoder.event(&event, &mut pieces)?;
    }
    Ok((pieces, decoder.at_end()))
}

/// Decodes whole and cut in many ways; all must agree.
pub fn decode_cut(dialect: Dialect, stream: &str) -> Result<(Vec<Piece>, bool), Garbage> {
    let bytes = stream.as_bytes();
    let whole = decode(dialect, &[bytes]);
    for (seed, longest) in [1, 3, 17, 300, 5000, 70_000].into_iter().enumerate() {
        let mut random = StdRng::seed_from_u64(seed as u64);
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (part, tail) = rest.split_at(random.random_range(1..=longest).min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        assert_eq!(decode(dialect, &parts), whole, "cuts matter (seed {seed})");
    }
    whole
}
