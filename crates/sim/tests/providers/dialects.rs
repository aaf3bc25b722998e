//! The shape of plain answers.

use crate::client::{DIALECTS, World};
use serde_json::{Value, json};

#[tokio::test]
async fn openai_whole() {
    let world = World::new().await;
    for name in ["openai", "compatible"] {
        let got = world
            .ask(name, "tokens=20 reasoning=5", false, json!({}))
            .await;
        assert_eq!(
            (got.status, got.header("content-type")),
            (200, "application/json")
        );
        assert!(got.header("x-request-id").starts_with("req_"));
        let body = got.json();
        assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
        assert_eq!(body["object"], "chat.completion");
        assert!(body["created"].as_i64().unwrap() > 1_700_000_000);
        assert!(
            body["system_fingerprint"]
                .as_str()
                .unwrap()
                .starts_with("fp_")
        );
        assert_eq!(body["model"], "m");
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "stop");
        assert_eq!(choice["message"]["role"], "assistant");
        assert!(choice["message"]["content"].as_str().unwrap().len() > 20);
        assert_eq!(
            choice["message"]["reasoning_content"].is_string(),
            name == "compatible"
        );
        let usage = &body["usage"];
        assert_eq!(usage["completion_tokens"], 25);
        assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 5);
        // "What is the tide? [sim: tokens=20 reasoning=5]" has 46 characters.
        assert_eq!(usage["prompt_tokens"], 12);
        assert_eq!(usage["total_tokens"], 37);
    }
}

#[tokio::test]
async fn openai_stream() {
    let world = World::new().await;
    for name in ["openai", "compatible"] {
        let got = world.ask(name, "tokens=20", true, json!({})).await;
        assert!(got.header("content-type").starts_with("text/event-stream"));
        assert!(got.text().ends_with("data: [DONE]\n\n"));
        let events = got.events();
        assert_eq!(events.len(), 23);
        assert_eq!(events[0].1["choices"][0]["delta"]["role"], "assistant");
        let text: String = events
            .iter()
            .filter_map(|(_, event)| event["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert!(text.len() > 20 && !text.starts_with(' '));
        assert_eq!(events[21].1["choices"][0]["finish_reason"], "stop");
        assert_eq!(events[22].1["choices"], json!([]));
        assert_eq!(events[22].1["usage"]["completion_tokens"], 20);
        assert_eq!(events[3].1["usage"], Value::Null);
        for (_, event) in &events {
            assert_eq!(event["id"], events[0].1["id"]);
            assert_eq!(event["object"], "chat.completion.chunk");
        }
        let got = world
            .ask(name, "tokens=20", true, json!({ "stream_options": null }))
            .await;
        assert_eq!(got.events().len(), 22);
        assert!(!got.text().contains("usage"));
    }
}

#[tokio::test]
async fn reasoning_is_streamed_by_compatible_ones() {
    let world = World::new().await;
    let got = world
        .ask("compatible", "tokens=2 reasoning=6", true, json!({}))
        .await;
    let thoughts = got
        .events()
        .iter()
        .filter(|(_, event)| event["choices"][0]["delta"]["reasoning_content"].is_string())
        .count();
    assert_eq!(thoughts, 6);
    let got = world
        .ask("openai", "tokens=2 reasoning=6", true, json!({}))
        .await;
    assert!(!got.text().contains("reasoning_content"));
    assert_eq!(
        got.events().last().unwrap().1["usage"]["completion_tokens"],
        8
    );
}

#[tokio::test]
async fn anthropic_whole_and_stream() {
    let world = World::new().await;
    let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 2_000 } });
    let got = world
        .ask(
            "anthropic",
            "tokens=20 reasoning=8",
            false,
            thinking.clone(),
        )
        .await;
    assert!(got.header("request-id").starts_with("req_"));
    let body = got.json();
    assert_eq!(body["type"], "message");
    assert!(body["id"].as_str().unwrap().starts_with("msg_01"));
    assert_eq!(body["content"][0]["type"], "thinking");
    assert_eq!(body["content"][1]["type"], "text");
    assert_eq!(body["stop_reason"], "end_turn");
    assert_eq!(body["usage"]["output_tokens"], 28);
    assert_eq!(body["usage"]["input_tokens"], 12);

    let got = world
        .ask("anthropic", "tokens=20 reasoning=8", true, thinking)
        .await;
    let events = got.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        &names[..3],
        ["message_start", "content_block_start", "ping"]
    );
    assert_eq!(
        &names[names.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    for (name, event) in &events {
        assert_eq!(event["type"], name.as_str());
    }
    assert!(
        events
            .iter()
            .any(|(_, event)| event["delta"]["type"] == "thinking_delta")
    );
    assert!(
        events
            .iter()
            .any(|(_, event)| event["delta"]["type"] == "signature_delta")
    );
    let text: String = events
        .iter()
        .filter_map(|(_, event)| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(
        text,
        body["content"][1]["text"]
            .as_str()
            .map(|_| text.clone())
            .unwrap()
    );
    let last = &events[events.len() - 2].1;
    assert_eq!(last["delta"]["stop_reason"], "end_turn");
    assert_eq!(last["usage"]["output_tokens"], 28);
}

#[tokio::test]
async fn gemini_whole_and_stream() {
    let world = World::new().await;
    let got = world
        .ask("gemini", "tokens=30 reasoning=9", false, json!({}))
        .await;
    let body = got.json();
    let candidate = &body["candidates"][0];
    assert_eq!(candidate["finishReason"], "STOP");
    assert_eq!(candidate["content"]["role"], "model");
    assert_eq!(candidate["content"]["parts"].as_array().unwrap().len(), 1);
    assert_eq!(body["usageMetadata"]["candidatesTokenCount"], 30);
    assert_eq!(body["usageMetadata"]["thoughtsTokenCount"], 9);
    assert_eq!(body["usageMetadata"]["totalTokenCount"], 51);

    let shown = json!({ "generationConfig": { "thinkingConfig": { "includeThoughts": true } } });
    let got = world
        .ask("gemini", "tokens=30 reasoning=9", true, shown)
        .await;
    assert!(got.text().ends_with("}\r\n\r\n"));
    let events = got.events();
    assert_eq!(events.len(), 1 + 3 + 1);
    assert_eq!(
        events[0].1["candidates"][0]["content"]["parts"][0]["thought"],
        true
    );
    let last = &events[4].1;
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["usageMetadata"]["candidatesTokenCount"], 30);
    assert_eq!(last["usageMetadata"]["thoughtsTokenCount"], 9);
}

#[tokio::test]
async fn limits_are_kept() {
    let world = World::new().await;
    let got = world
        .ask("compatible", "tokens=90", false, json!({ "max_tokens": 7 }))
        .await;
    assert_eq!(got.json()["choices"][0]["finish_reason"], "length");
    assert_eq!(got.json()["usage"]["completion_tokens"], 7);
    let got = world
        .ask("anthropic", "tokens=90", false, json!({ "max_tokens": 7 }))
        .await;
    assert_eq!(got.json()["stop_reason"], "max_tokens");
    let config = json!({ "generationConfig": { "maxOutputTokens": 7 } });
    let got = world.ask("gemini", "tokens=90", false, config).await;
    assert_eq!(got.json()["candidates"][0]["finishReason"], "MAX_TOKENS");
}

#[tokio::test]
async fn prefixes_are_cached() {
    let world = World::new().await;
    let long = "tide ".repeat(2_000);
    for name in ["compatible", "openai"] {
        let ask = |last: &str| {
            json!({ "messages": [
                { "role": "system", "content": long },
                { "role": "user", "content": format!("{last} [sim: ok]") },
            ]})
        };
        let first = world.ask(name, "", false, ask("one")).await.json();
        let second = world.ask(name, "", false, ask("another")).await.json();
        let cached = |body: &Value| body["usage"]["prompt_tokens_details"]["cached_tokens"].clone();
        assert_eq!((cached(&first), cached(&second)), (json!(0), json!(2_500)));
    }
    let ask = |last: &str| {
        json!({
            "system": [{ "type": "text", "text": long, "cache_control": { "type": "ephemeral" } }],
            "messages": [{ "role": "user", "content": format!("{last} [sim: ok]") }],
        })
    };
    let first = world.ask("anthropic", "", false, ask("one")).await.json();
    assert_eq!(first["usage"]["cache_creation_input_tokens"], 2_503);
    assert_eq!(first["usage"]["input_tokens"], 1);
    let second = world.ask("anthropic", "", false, ask("more")).await.json();
    assert_eq!(second["usage"]["cache_read_input_tokens"], 2_500);
    let ask = json!({ "systemInstruction": { "parts": [{ "text": long }] } });
    world.ask("gemini", "ok", false, ask.clone()).await;
    let second = world.ask("gemini", "ok", false, ask).await.json();
    assert!(
        second["usageMetadata"]["cachedContentTokenCount"]
            .as_u64()
            .unwrap()
            >= 2_500
    );
}

#[tokio::test]
async fn bad_requests_get_the_dialects_own_errors() {
    let world = World::new().await;
    let cases = [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{}",
        r#"{"model":7}"#,
        r#"{"model":"m","messages":"x"}"#,
        r#"{"model":"m","max_tokens":9,"messages":[]}"#,
        r#"{"model":"m","messages":[{"role":1}]}"#,
        r#"{"contents":7}"#,
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"[sim: bogus]"}],"contents":[{"parts":[{"text":"[sim: bogus]"}]}]}"#,
    ];
    for dialect in DIALECTS {
        let (path, _) = crate::client::request(dialect, "", false, json!({}));
        for body in cases {
            let got = world.raw(&path, &[], body.to_owned()).await;
            assert_eq!(got.status, 400, "{dialect} {body} {}", got.text());
            let error = got.json();
            match dialect {
                "anthropic" => {
                    assert_eq!(error["type"], "error");
                    assert_eq!(error["error"]["type"], "invalid_request_error");
                }
                "gemini" => assert_eq!(error["error"]["status"], "INVALID_ARGUMENT"),
                _ => assert_eq!(error["error"]["type"], "invalid_request_error"),
            }
        }
        let deep = format!(r#"{{"model":"m","messages":{}"#, "[".repeat(100_000));
        assert_eq!(world.raw(&path, &[], deep).await.status, 400);
        assert_eq!(world.get(&path).await.status, 405);
    }
    assert_eq!(
        world
            .raw("/nobody/v1/chat/completions", &[], String::new())
            .await
            .status,
        404
    );
    assert_eq!(
        world
            .raw("/openai/v1/nothing", &[], String::new())
            .await
            .status,
        404
    );
    assert_eq!(
        world.get("/").await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn embeddings() {
    let world = World::new().await;
    let body = json!({ "model": "e", "input": ["one two", "three"], "dimensions": 8 }).to_string();
    let got = world
        .raw("/openai/v1/embeddings", &[], body.clone())
        .await
        .json();
    assert_eq!(got["data"][1]["embedding"].as_array().unwrap().len(), 8);
    assert_eq!(got["usage"]["prompt_tokens"], 4);
    assert_eq!(
        got["data"],
        world.raw("/openai/v1/embeddings", &[], body).await.json()["data"]
    );
    let base64 = json!({ "model": "e", "input": "x", "encoding_format": "base64" }).to_string();
    let got = world.raw("/openai/v1/embeddings", &[], base64).await.json();
    assert_eq!(got["data"][0]["embedding"].as_str().unwrap().len(), 1_368);
    let limited = json!({ "model": "e", "input": "x [sim: 429]" }).to_string();
    assert_eq!(
        world
            .raw("/openai/v1/embeddings", &[], limited)
            .await
            .status,
        429
    );
    for bad in [
        "{}",
        r#"{"model":"e"}"#,
        r#"{"model":"e","input":[]}"#,
        r#"{"model":"e","input":{"a":1}}"#,
    ] {
        assert_eq!(
            world
                .raw("/openai/v1/embeddings", &[], bad.to_owned())
                .await
                .status,
            400,
            "{bad}"
        );
    }
}
