//! What a chat becomes, and what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::adapters::testing::{ask, sent, target};

fn translated(body: Value) -> Value {
    sent(&request(&ask(body), target("claude-sonnet-4-5")).unwrap())
}

fn refused(body: Value) -> String {
    request(&ask(body), target("claude-sonnet-4-5"))
        .unwrap_err()
        .param
}

#[test]
fn a_conversation() {
    let out = translated(json!({
        "model": "x", "max_tokens": 50, "stop": "END", "temperature": 0.2, "user": "u", "parallel_tool_calls": false, "tool_choice": "required",
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}, {"type": "function", "function": {"name": "g"}}],
        "messages": [
            {"role": "system", "content": "brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAA"}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
            ]},
            {"role": "assistant", "content": null, "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}], "tool_calls": [
                {"id": "a:1", "type": "function", "function": {"name": "f", "arguments": "{\"k\":1}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
            ]},
            {"role": "tool", "tool_call_id": "a:1", "content": "one"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": "and?"}
        ]
    }));
    assert_eq!(
        out,
        json!({
            "model": "claude-sonnet-4-5", "max_tokens": 50, "stop_sequences": ["END"], "temperature": 0.2, "metadata": {"user_id": "u"},
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object", "properties": {}}}],
            "system": [{"type": "text", "text": "brief"}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAA"}},
                    {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "a_1", "name": "f", "input": {"k": 1}},
                    {"type": "tool_use", "id": "b", "name": "g", "input": {}}
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a_1", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}]},
                    {"type": "text", "text": "and?"}
                ]}
            ]
        })
    );
}

#[test]
fn what_cannot_be_done_names_its_field() {
    let user = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    for (body, param) in [
        (json!({"n": 3}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"frequency_penalty": 0.5}), "frequency_penalty"),
        (json!({"temperature": 1.5}), "temperature"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format.type",
        ),
        (
            json!({"max_tokens": 100, "reasoning_effort": "low"}),
            "max_tokens",
        ),
        (
            user(json!({"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}})),
            "messages[0].content[0].input_audio",
        ),
        (
            user(json!({"type": "image_url", "image_url": {"url": "ftp://x"}})),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!({"type": "file", "file": {"file_id": "f"}})),
            "messages[0].content[0].file",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]}),
            "messages[0].tool_calls[0].function.arguments",
        ),
    ] {
        assert_eq!(refused(body.clone()), param, "{body}");
    }
    translated(
        json!({"n": 1, "frequency_penalty": 0, "logprobs": false, "response_format": {"type": "text"}, "seed": 1}),
    );
    let mut asked = ask(json!({"input": "x"}));
    asked.operation = Operation::Embeddings;
    assert!(request(&asked, target("claude")).is_err());
}

#[test]
fn thinking_by_model() {
    let of = |model: &str, body: Value| sent(&request(&ask(body), target(model)).unwrap());
    let out = of(
        "claude-sonnet-4-5-20250929",
        json!({"max_tokens": 5000, "reasoning_effort": "medium"}),
    );
    assert_eq!(
        out["thinking"],
        json!({"type": "enabled", "budget_tokens": 2500})
    );
    let out = of(
        "claude-3-7-sonnet-latest",
        json!({"max_tokens": 5000, "reasoning": {"max_tokens": 9000}}),
    );
    assert_eq!(out["thinking"]["budget_tokens"], 4999);
    let out = of("claude-opus-5", json!({"reasoning_effort": "minimal"}));
    assert_eq!(
        (&out["thinking"], &out["output_config"]),
        (&json!({"type": "adaptive"}), &json!({"effort": "low"}))
    );
    assert!(
        request(
            &ask(json!({"reasoning": {"max_tokens": 9000}})),
            target("claude-opus-4-7")
        )
        .is_err()
    );
    assert_eq!(
        of("claude-opus-5", json!({"reasoning_effort": "none"}))["thinking"],
        json!({"type": "disabled"})
    );
}

#[test]
fn answers_to_a_schema() {
    let out = translated(
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}),
    );
    assert_eq!(
        out["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})
    );
    assert_eq!(out["max_tokens"], 8192);
}

#[test]
fn a_messages_body_goes_as_it_came() {
    let mut asked = ask(json!({"messages": []}));
    let came = json!({"model": "x", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}], "provider": {"order": []}, "stream": true, "top_k": 4});
    asked.messages_body = came.as_object().cloned();
    let out = request(&asked, target("claude")).unwrap();
    assert_eq!(
        sent(&out),
        json!({"model": "claude", "max_tokens": 3, "messages": [{"role": "user", "content": "hi"}], "stream": true, "top_k": 4})
    );
    assert_eq!(out.path, "/messages");
    let names: Vec<_> = out
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.is_sensitive()))
        .collect();
    assert_eq!(names, [("anthropic-version", false), ("x-api-key", true)]);
}
