//! What clients read of an answer, as strictly as SDKs do: every deviation from the API's documents is a finding.

use crate::lines;
use crate::said::{Call, Said};
use serde::de::IgnoredAny;
use serde_json::Value;

/// How an answer ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Whole,
    /// In an error that says so.
    Failed,
    /// In the middle.
    Open,
}

/// Events of a stream. What the router writes has plain line ends, whole events and UTF-8 only.
pub fn events(out: &[u8]) -> Vec<(String, String)> {
    assert!(!out.contains(&b'\r'), "a stray carriage return");
    assert!(out.is_empty() || out.ends_with(b"\n\n"), "half an event");
    let event = |(name, data)| {
        let data = String::from_utf8(data).unwrap_or_default();
        assert!(!data.is_empty(), "an event of nothing, or no UTF-8");
        (name, data)
    };
    lines::events(out).into_iter().map(event).collect()
}

/// Asserts that a text is one JSON object, whatever is in it.
pub fn is_object(text: &[u8]) {
    let fine = std::str::from_utf8(text).is_ok_and(|text| {
        text.trim_ascii_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
    });
    assert!(fine, "not a JSON object: {}", text.escape_ascii());
}

fn json(text: &str) -> Value {
    let value = serde_json::from_str(text);
    assert!(value.is_ok(), "not JSON: {text}");
    value.unwrap_or_default()
}

fn text(value: &Value, path: &str) -> String {
    let found = value.pointer(path);
    assert!(
        found.is_none_or(|found| found.is_string() || found.is_null()),
        "no text at {path}: {value}"
    );
    found.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, path: &str) -> usize {
    let found = value.pointer(path).and_then(Value::as_u64);
    assert!(found.is_some(), "no number at {path}: {value}");
    found.unwrap_or_default() as usize
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Reads a chat stream that passed as it came: JSON objects with our id and model, `[DONE]` once, at the end.
pub fn chat_passed(out: &[u8], id: &str, model: &str) -> End {
    let events = events(out);
    let mut end = End::Open;
    for (n, (_, data)) in events.iter().enumerate() {
        if data == "[DONE]" {
            assert!(n + 1 == events.len(), "something after the end");
            return if end == End::Open { End::Whole } else { end };
        }
        is_object(data.as_bytes());
        // Texts that only a lenient reader takes are the provider's affair.
        if let Ok(chunk) = serde_json::from_str::<Value>(data) {
            for (field, ours) in [("id", id), ("model", model)] {
                assert!(
                    chunk.get(field).is_none_or(|v| v.is_null() || v == ours),
                    "not our {field}: {chunk}"
                );
            }
            if chunk.get("error").is_some_and(|error| !error.is_null()) {
                end = End::Failed;
            }
        }
    }
    End::Open
}

/// Reads a chat stream that was written anew.
pub fn chat_stream(out: &[u8]) -> (Said, End) {
    let events = events(out);
    let (mut said, mut end, mut first) = (Said::default(), End::Open, true);
    for (n, (name, data)) in events.iter().enumerate() {
        assert!(name.is_empty(), "chat events have no names");
        if data == "[DONE]" {
            assert!(n + 1 == events.len(), "something after the end");
            return (said, if end == End::Open { End::Whole } else { end });
        }
        let chunk = json(data);
        assert!(chunk["object"] == "chat.completion.chunk" && chunk["id"].is_string());
        if chunk.get("error").is_some() {
            assert!(!text(&chunk, "/error/message").is_empty());
            end = End::Failed;
        }
        let choices = list(&chunk, "/choices");
        assert!(
            choices.len() == 1 || chunk["usage"].is_object(),
            "a chunk that says nothing: {chunk}"
        );
        for choice in choices {
            assert!(!first || choice["delta"]["role"] == "assistant" || end == End::Failed);
            first = false;
            said.text.push_str(&text(choice, "/delta/content"));
            said.thought.push_str(&text(choice, "/delta/reasoning"));
            said.declined.push_str(&text(choice, "/delta/refusal"));
            for part in list(choice, "/delta/tool_calls") {
                let index = number(part, "/index");
                if index == said.calls.len() {
                    assert!(part["type"] == "function" && part["id"].is_string());
                    said.calls.push(Call::default());
                }
                assert!(index < said.calls.len(), "a call without a beginning");
                let call = &mut said.calls[index];
                call.id.push_str(&text(part, "/id"));
                call.name.push_str(&text(part, "/function/name"));
                call.arguments.push_str(&text(part, "/function/arguments"));
            }
            let finish = text(choice, "/finish_reason");
            if !finish.is_empty() && end == End::Open {
                said.finish = finish;
            }
        }
    }
    (said, End::Open)
}

/// Reads a whole chat answer that was written anew.
pub fn chat_whole(body: &[u8]) -> Said {
    let body = json(&String::from_utf8_lossy(body));
    assert!(body["object"] == "chat.completion" && list(&body, "/choices").len() == 1);
    let message = &body["choices"][0]["message"];
    let call = |call: &Value| {
        assert!(call["type"] == "function" && call["id"].is_string());
        Call {
            id: text(call, "/id"),
            name: text(call, "/function/name"),
            arguments: text(call, "/function/arguments"),
        }
    };
    Said {
        text: text(message, "/content"),
        thought: text(message, "/reasoning"),
        declined: text(message, "/refusal"),
        calls: list(message, "/tool_calls").iter().map(call).collect(),
        finish: text(&body, "/choices/0/finish_reason"),
        ..Said::default()
    }
}

/// Reads a messages stream that passed as it came.
pub fn messages_passed(out: &[u8]) {
    for (_, data) in events(out) {
        is_object(data.as_bytes());
    }
}

/// Reads a messages stream that was written anew.
pub fn messages_stream(out: &[u8]) -> (Said, End) {
    let (mut said, mut end) = (Said::default(), End::Open);
    // Of each block: its type, whether it is open, and which call it is.
    let mut blocks: Vec<(String, bool, usize)> = Vec::new();
    let mut started = false;
    for (name, data) in events(out) {
        let event = json(&data);
        assert!(
            event["type"] == name.as_str(),
            "a name that is not the type"
        );
        assert!(end == End::Open, "something after the end");
        assert!(
            (name == "message_start") != started || name == "error",
            "one start, and first"
        );
        match name.as_str() {
            "message_start" => {
                started = true;
                assert!(event["message"]["role"] == "assistant");
            }
            "content_block_start" => {
                assert!(number(&event, "/index") == blocks.len(), "a gap");
                let kind = text(&event, "/content_block/type");
                let call = said.calls.len();
                if kind == "tool_use" {
                    assert!(event["content_block"]["input"].is_object());
                    said.calls.push(Call {
                        id: text(&event, "/content_block/id"),
                        name: text(&event, "/content_block/name"),
                        arguments: String::new(),
                    });
                }
                blocks.push((kind, true, call));
            }
            "content_block_delta" => {
                let at = number(&event, "/index");
                assert!(at < blocks.len(), "a part of no block");
                let (kind, open, call) = &blocks[at];
                assert!(*open || kind == "tool_use", "a part of a closed block");
                let delta = text(&event, "/delta/type");
                let wanted = match delta.as_str() {
                    "text_delta" => "text",
                    "thinking_delta" | "signature_delta" => "thinking",
                    "input_json_delta" => "tool_use",
                    _ => "",
                };
                assert!(kind == wanted, "{delta} in a block of {kind}");
                said.text.push_str(&text(&event, "/delta/text"));
                said.thought.push_str(&text(&event, "/delta/thinking"));
                said.signature.push_str(&text(&event, "/delta/signature"));
                if wanted == "tool_use" {
                    let more = text(&event, "/delta/partial_json");
                    said.calls[*call].arguments.push_str(&more);
                }
            }
            "content_block_stop" => {
                let at = number(&event, "/index");
                assert!(at < blocks.len() && blocks[at].1, "a second end");
                blocks[at].1 = false;
            }
            "message_delta" => {
                assert!(blocks.iter().all(|block| !block.1), "a block left open");
                said.finish = text(&event, "/delta/stop_reason");
                assert!(event["usage"]["output_tokens"].is_u64());
            }
            "message_stop" => {
                assert!(!said.finish.is_empty());
                end = End::Whole;
            }
            "error" => {
                assert!(!text(&event, "/error/message").is_empty());
                end = End::Failed;
            }
            other => assert!(other.is_empty(), "an unknown event {other}"),
        }
    }
    (said, end)
}

/// Reads a whole message that was written anew.
pub fn messages_whole(body: &[u8]) -> Said {
    let body = json(&String::from_utf8_lossy(body));
    assert!(body["type"] == "message" && body["content"].is_array());
    let mut said = Said {
        finish: text(&body, "/stop_reason"),
        ..Said::default()
    };
    for block in list(&body, "/content") {
        match text(block, "/type").as_str() {
            "text" => said.text.push_str(&text(block, "/text")),
            "thinking" => {
                said.thought.push_str(&text(block, "/thinking"));
                said.signature.push_str(&text(block, "/signature"));
            }
            "tool_use" => said.calls.push(Call {
                id: text(block, "/id"),
                name: text(block, "/name"),
                arguments: block["input"].to_string(),
            }),
            other => assert!(other.is_empty(), "an unknown block {other}"),
        }
    }
    said
}
