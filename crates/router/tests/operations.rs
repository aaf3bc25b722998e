//! Settings change under open streams, and secrets stay where they belong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

#[path = "support/said.rs"]
mod said;
mod support;

use said::Said;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::*;
use tidemark_catalog::Catalog;
use tidemark_router::adapters::Dialect;
use tidemark_router::route::Routes;
use tidemark_router::settings::{Settings, Upstream};

fn settings(upstreams: Vec<Upstream>) -> Settings {
    Settings {
        upstreams,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_reload_holds_for_the_next_request_and_cuts_no_stream() {
    let parts = [chunk("one "), chunk("two "), chunk("three")];
    let slow = Act {
        pause: Duration::from_millis(150),
        ..stream(&[&parts[0], &parts[1], &parts[2], FINISH, USAGE, DONE])
    };
    let (old, asked_old) = upstream(vec![slow]).await;
    let (new, asked_new) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let house = house(settings(vec![reach(
        "openai",
        Dialect::OpenaiCompatible,
        &old,
    )]))
    .await;
    let streaming = house
        .gateway_client()
        .request(house.request("/v1/chat/completions", ask(true)))
        .await
        .unwrap();

    let fresh = settings(vec![reach("azure", Dialect::OpenaiCompatible, &new)]);
    let routes = Routes::new(Arc::new(Catalog::builtin().unwrap()), &fresh).unwrap();
    house.gateway.reload(fresh, routes).unwrap();
    let (status, _, body) = house.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(status, 200, "{body}");

    let text = http_body_util::BodyExt::collect(streaming.into_body())
        .await
        .unwrap()
        .to_bytes();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("three") && text.ends_with(DONE), "{text}");
    let asked =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((asked(&asked_old), asked(&asked_new)), (1, 1));
    let events = house.events().await;
    let mut providers: Vec<String> = (0..events.len())
        .map(|row| {
            assert_eq!(events.text(row, "outcome"), "ok");
            events.text(row, "provider")
        })
        .collect();
    providers.sort();
    assert_eq!(providers, ["azure", "openai"]);
}

const PROMPT: &str = "canary-prompt-5b1e";
/// Any variable of the environment will do as the key of a provider; the test runner sets this one.
const KEY_VARIABLE: &str = "CARGO_MANIFEST_DIR";

/// Bodies with the canary in every place where a client can put a word.
fn bodies() -> Vec<(&'static str, String)> {
    let user = json!([{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}]);
    let chat = |extra: Value| {
        let mut body = json!({"model": MODEL, "messages": user});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        ("/v1/chat/completions", body.to_string())
    };
    vec![
        chat(json!({})),
        chat(json!({"stream": true, "stream_options": {"include_usage": true}})),
        chat(json!({"user": PROMPT, "metadata": {PROMPT: PROMPT}, "stop": [PROMPT]})),
        chat(json!({"tools": [{"type": "function", "function": {"name": PROMPT, "description": PROMPT,
            "parameters": {"type": "object", "properties": {PROMPT: {"const": PROMPT}}, "required": [PROMPT]}}}]})),
        chat(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": PROMPT}}}]})),
        chat(json!({"tools": PROMPT})),
        chat(json!({"tool_choice": PROMPT})),
        chat(json!({"response_format": {"type": PROMPT}})),
        chat(json!({"temperature": PROMPT})),
        chat(json!({"stream": PROMPT})),
        chat(json!({"max_tokens": PROMPT})),
        chat(json!({"model": PROMPT})),
        chat(json!({"provider": {"order": [PROMPT], "only": [PROMPT]}})),
        chat(json!({"messages": PROMPT})),
        chat(json!({"messages": [{"role": PROMPT, "content": "x"}]})),
        chat(json!({"messages": [{"role": "user", "content": [{"type": PROMPT}]}]})),
        chat(json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PROMPT}}]}]})),
        chat(json!({"messages": [{"role": "tool", "tool_call_id": PROMPT, "content": PROMPT}]})),
        ("/v1/chat/completions", format!("{{\"model\": \"{PROMPT}")),
        ("/v1/chat/completions", format!("{{\"{PROMPT}\": {PROMPT}}}")),
        ("/v1/messages", json!({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": PROMPT}]}).to_string()),
        ("/v1/messages", json!({"model": MODEL, "messages": [{"role": PROMPT, "content": PROMPT}], "system": PROMPT}).to_string()),
        ("/v1/embeddings", json!({"model": MODEL, "input": PROMPT}).to_string()),
        ("/v1/embeddings", json!({"model": "openai/text-embedding-3-small", "input": PROMPT, "encoding_format": PROMPT}).to_string()),
    ]
}

/// Answers that say the words back, as a hostile or careless provider may.
fn echoes(key: &str) -> Vec<Act> {
    let said = format!("{PROMPT} {key}");
    let error =
        json!({"error": {"message": said, "type": said, "code": said, "param": said}}).to_string();
    let answer = OK
        .replace("Hello there", &said)
        .replace("chatcmpl-1", PROMPT);
    vec![
        http("200 OK", "application/json", &answer),
        stream(&[&chunk(PROMPT), FINISH, USAGE, DONE]),
        stream(&[&chunk(PROMPT), &format!("data: {error}\n\n")]),
        stream(&[&chunk(PROMPT), &format!("data: {said}\n\n")]),
        http("400 Bad Request", "application/json", &error),
        http("401 Unauthorized", "application/json", &error),
        http("429 Too Many Requests", "application/json", &error),
        http("500 Internal Server Error", "text/html", &said),
        http("200 OK", "text/html", &said),
        http("200 OK", "application/json", &format!("{{\"{said}")),
        http("200 OK", "application/json", &error),
    ]
}

fn holds(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds(&path, needle)
        } else {
            std::fs::read(&path)
                .unwrap()
                .windows(needle.len())
                .any(|bytes| bytes == needle)
        }
    })
}

/// One test of its own process for logs: the subscriber is the process's.
#[tokio::test]
async fn a_key_and_a_prompt_are_found_in_nothing_that_is_kept_or_said() {
    let said = Said::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(said.clone())
        .with_ansi(false)
        .init();
    let provider_key = std::env::var(KEY_VARIABLE).unwrap();
    let mut asked = 0;
    for echo in echoes(&provider_key) {
        let (base, _) = upstream(vec![echo]).await;
        let mut to = reach("openai", Dialect::OpenaiCompatible, &base);
        to.key_env = Some(KEY_VARIABLE.into());
        let house = house(settings(vec![to])).await;
        let mut wrong_key = house.key.clone();
        wrong_key.push_str("wrong");
        let secrets = [PROMPT, &house.key, &wrong_key, &provider_key];
        for (path, body) in bodies() {
            for key in [&house.key, &wrong_key] {
                let mut request = house.request(path, body.clone());
                request
                    .headers_mut()
                    .insert("authorization", format!("Bearer {key}").parse().unwrap());
                let response = house.gateway_client().request(request).await.unwrap();
                let (head, body) = response.into_parts();
                let body = http_body_util::BodyExt::collect(body)
                    .await
                    .unwrap()
                    .to_bytes();
                let body = String::from_utf8_lossy(&body);
                let headers = format!("{:?}", head.headers);
                assert!(
                    secrets.iter().all(|word| !headers.contains(word)),
                    "{headers}"
                );
                // The model's words are the client's; an error's are ours.
                let ours: String = if head.status == 200 {
                    body.lines()
                        .filter(|line| line.contains("\"error\""))
                        .collect()
                } else {
                    body.into_owned()
                };
                assert!(
                    secrets.iter().all(|word| !ours.contains(word)),
                    "{path}: {ours}"
                );
                asked += 1;
            }
        }
        let metrics = house.gateway.metrics();
        let kept = secrets.map(|word| holds(house.dir.path(), word.as_bytes()));
        let secrets = secrets.map(str::to_owned);
        let events = house.events().await.dump();
        for word in &secrets {
            assert!(!metrics.contains(word), "{metrics}");
            let line = events.lines().find(|line| line.contains(word));
            assert_eq!(line, None, "in an event");
        }
        assert_eq!(kept, [false; 4], "in a file");
        let log = said.text();
        for word in &secrets {
            let line = log.lines().find(|line| line.contains(word));
            assert_eq!(line, None);
        }
    }
    let log = said.text();
    assert!(
        log.contains("tidemark_router") && log.contains("hyper"),
        "the log was listened to"
    );
    assert_eq!(asked, 11 * 24 * 2);
}
