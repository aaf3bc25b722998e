//! Tool calls and structured output, against the offered schemas.

use crate::client::{DIALECTS, Got, World};
use serde_json::{Value, json};

fn schemas() -> [(&'static str, Value); 2] {
    [
        (
            "get_tide",
            json!({
                "type": "object",
                "properties": {
                    "harbour": { "type": "string", "minLength": 2 },
                    "unit": { "type": "string", "enum": ["m", "ft"] },
                    "days": { "type": "array", "minItems": 2, "items": { "type": "integer", "minimum": 1, "maximum": 7 } },
                    "where": {
                        "type": "object",
                        "properties": { "lat": { "type": "number", "minimum": 40 }, "lon": { "type": "number" } },
                        "required": ["lat", "lon"]
                    }
                },
                "required": ["harbour", "unit", "days", "where"],
                "additionalProperties": false
            }),
        ),
        (
            "book_boat",
            json!({ "type": "object", "properties": { "seats": { "type": "integer" } }, "required": ["seats"] }),
        ),
    ]
}

fn offer(dialect: &str, choice: &str) -> Value {
    let each = schemas();
    match dialect {
        "anthropic" => {
            let tools: Vec<Value> = each
                .iter()
                .map(|(name, schema)| json!({ "name": name, "description": "d", "input_schema": schema }))
                .collect();
            let choice = match choice {
                "required" => json!({ "type": "any" }),
                "auto" | "none" => json!({ "type": choice }),
                name => json!({ "type": "tool", "name": name }),
            };
            json!({ "tools": tools, "tool_choice": choice })
        }
        "gemini" => {
            let tools: Vec<Value> = each
                .iter()
                .map(|(name, schema)| json!({ "name": name, "description": "d", "parametersJsonSchema": schema }))
                .collect();
            let config = match choice {
                "required" => json!({ "mode": "ANY" }),
                "auto" | "none" => json!({ "mode": choice.to_uppercase() }),
                name => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
            };
            json!({
                "tools": [{ "functionDeclarations": tools }],
                "toolConfig": { "functionCallingConfig": config },
            })
        }
        _ => {
            let tools: Vec<Value> = each
                .iter()
                .map(|(name, schema)| json!({ "type": "function", "function": { "name": name, "parameters": schema } }))
                .collect();
            let choice = match choice {
                "required" | "auto" | "none" => json!(choice),
                name => json!({ "type": "function", "function": { "name": name } }),
            };
            json!({ "tools": tools, "tool_choice": choice })
        }
    }
}

/// Names and argument texts of the calls in an answer.
fn calls(dialect: &str, got: &Got, stream: bool) -> Vec<(String, String)> {
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !stream {
        let body = got.json();
        let list = match dialect {
            "anthropic" => &body["content"],
            "gemini" => &body["candidates"][0]["content"]["parts"],
            _ => &body["choices"][0]["message"]["tool_calls"],
        };
        return list
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| match dialect {
                "anthropic" => (item["type"] == "tool_use").then(|| {
                    let input = &item["input"];
                    let text = input
                        .as_str()
                        .map_or_else(|| input.to_string(), str::to_owned);
                    (string(&item["name"]), text)
                }),
                "gemini" => item["functionCall"].is_object().then(|| {
                    (
                        string(&item["functionCall"]["name"]),
                        item["functionCall"]["args"].to_string(),
                    )
                }),
                _ => Some((
                    string(&item["function"]["name"]),
                    string(&item["function"]["arguments"]),
                )),
            })
            .collect();
    }
    let mut out: Vec<(String, String)> = Vec::new();
    for (_, event) in got.events() {
        match dialect {
            "anthropic" => {
                if event["content_block"]["type"] == "tool_use" {
                    assert_eq!(event["content_block"]["input"], json!({}));
                    out.push((string(&event["content_block"]["name"]), String::new()));
                }
                if let Some(part) = event["delta"]["partial_json"].as_str() {
                    out.last_mut().unwrap().1.push_str(part);
                }
            }
            "gemini" => {
                let call = &event["candidates"][0]["content"]["parts"][0]["functionCall"];
                if call.is_object() {
                    out.push((string(&call["name"]), call["args"].to_string()));
                }
            }
            _ => {
                for part in event["choices"][0]["delta"]["tool_calls"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    let index = part["index"].as_u64().unwrap() as usize;
                    if part["id"].is_string() {
                        assert_eq!(index, out.len());
                        out.push((string(&part["function"]["name"]), String::new()));
                    }
                    out[index]
                        .1
                        .push_str(part["function"]["arguments"].as_str().unwrap());
                }
            }
        }
    }
    out
}

fn is_valid(name: &str, arguments: &str) -> bool {
    let schemas = schemas();
    let (_, schema) = schemas
        .iter()
        .find(|(offered, _)| *offered == name)
        .unwrap();
    jsonschema::is_valid(schema, &serde_json::from_str(arguments).unwrap())
}

#[tokio::test]
async fn calls_satisfy_their_schemas() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            for choice in ["auto", "required"] {
                let got = world.ask(dialect, "", stream, offer(dialect, choice)).await;
                let made = calls(dialect, &got, stream);
                let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["get_tide", "book_boat"], "{dialect} {}", got.text());
                assert!(
                    made.iter()
                        .all(|(name, arguments)| is_valid(name, arguments))
                );
                let finish = match dialect {
                    "anthropic" => "\"stop_reason\":\"tool_use\"",
                    "gemini" => "STOP",
                    _ => "\"finish_reason\":\"tool_calls\"",
                };
                assert!(got.text().contains(finish));
            }
            let got = world
                .ask(dialect, "ok", stream, offer(dialect, "book_boat"))
                .await;
            let made = calls(dialect, &got, stream);
            assert_eq!(made.len(), 1);
            assert_eq!(made[0].0, "book_boat");
            let got = world
                .ask(dialect, "ok", stream, offer(dialect, "none"))
                .await;
            assert!(calls(dialect, &got, stream).is_empty());
            let got = world
                .ask(dialect, "ignore-tools", stream, offer(dialect, "required"))
                .await;
            assert!(got.status == 200 && calls(dialect, &got, stream).is_empty());
            let got = world
                .ask(dialect, "", stream, offer(dialect, "not_offered"))
                .await;
            assert_eq!(got.status, 400);
        }
    }
}

#[tokio::test]
async fn wrong_calls_are_wrong_in_their_way() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            let got = world
                .ask(dialect, "unknown-tool", stream, offer(dialect, "auto"))
                .await;
            let made = calls(dialect, &got, stream);
            assert_eq!(
                (made[0].0.as_str(), made[1].0.as_str()),
                ("get_tide_v2", "book_boat")
            );

            let got = world
                .ask(dialect, "schema-mismatch", stream, offer(dialect, "auto"))
                .await;
            let made = calls(dialect, &got, stream);
            assert!(!is_valid(&made[0].0, &made[0].1) && is_valid(&made[1].0, &made[1].1));

            let got = world
                .ask(dialect, "bad-json", stream, offer(dialect, "auto"))
                .await;
            if dialect == "gemini" {
                assert!(got.text().contains("MALFORMED_FUNCTION_CALL"));
            } else {
                let made = calls(dialect, &got, stream);
                assert!(
                    serde_json::from_str::<Value>(&made[0].1).is_err(),
                    "{}",
                    made[0].1
                );
                assert!(is_valid(&made[1].0, &made[1].1));
            }
        }
    }
}

#[tokio::test]
async fn one_at_a_time_where_asked() {
    let world = World::new().await;
    let mut body = offer("openai", "auto");
    body["parallel_tool_calls"] = json!(false);
    let got = world.ask("openai", "", false, body).await;
    assert_eq!(calls("openai", &got, false).len(), 1);
    let mut body = offer("anthropic", "auto");
    body["tool_choice"]["disable_parallel_tool_use"] = json!(true);
    let got = world.ask("anthropic", "", false, body).await;
    assert_eq!(calls("anthropic", &got, false).len(), 1);
}

#[tokio::test]
async fn after_a_tools_result_comes_text() {
    let world = World::new().await;
    let mut body = offer("openai", "auto");
    body["messages"] = json!([
        { "role": "user", "content": "tide?" },
        { "role": "assistant", "content": null, "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "get_tide", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": "high" },
    ]);
    let got = world.ask("openai", "", false, body).await;
    assert_eq!(got.json()["choices"][0]["finish_reason"], "stop");
    let mut body = offer("anthropic", "auto");
    body["messages"] = json!([
        { "role": "user", "content": "tide?" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "c", "name": "get_tide", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "high" }] },
    ]);
    let got = world.ask("anthropic", "", false, body).await;
    assert_eq!(got.json()["stop_reason"], "end_turn");
    let mut body = offer("gemini", "auto");
    body["contents"] = json!([
        { "role": "user", "parts": [{ "text": "tide?" }] },
        { "role": "model", "parts": [{ "functionCall": { "name": "get_tide", "args": {} } }] },
        { "role": "user", "parts": [{ "functionResponse": { "name": "get_tide", "response": { "x": "high" } } }] },
    ]);
    let got = world.ask("gemini", "", false, body).await;
    assert!(calls("gemini", &got, false).is_empty());
}

#[tokio::test]
async fn structured_output_satisfies_its_schema() {
    let world = World::new().await;
    let schema = schemas()[0].1.clone();
    let openai = json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } });
    for name in ["openai", "compatible"] {
        let body = world.ask(name, "", false, openai.clone()).await.json();
        let text = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(is_valid("get_tide", text), "{text}");
        let got = world.ask(name, "", true, openai.clone()).await;
        let streamed: String = got
            .events()
            .iter()
            .filter_map(|(_, event)| event["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(streamed, text);
        let cut = world
            .ask(name, "length", false, openai.clone())
            .await
            .json();
        let text = cut["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(text).is_err());
    }
    let gemini = json!({ "generationConfig": { "responseMimeType": "application/json", "responseJsonSchema": schema } });
    let body = world.ask("gemini", "", false, gemini).await.json();
    let text = body["candidates"][0]["content"]["parts"][0]["text"]
        .as_str()
        .unwrap();
    assert!(is_valid("get_tide", text), "{text}");
    let anthropic =
        json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } });
    let body = world.ask("anthropic", "", false, anthropic).await.json();
    assert!(is_valid(
        "get_tide",
        body["content"][0]["text"].as_str().unwrap()
    ));
    let object = json!({ "response_format": { "type": "json_object" } });
    let body = world.ask("openai", "", false, object).await.json();
    let text = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap().is_object());
}
