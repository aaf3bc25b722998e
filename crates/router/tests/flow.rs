//! Requests through a real socket, a real journal and an upstream that says exactly what a test tells it: whatever happens,
//! one event each, and it says what happened.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod support;

use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::*;
use tidemark_router::adapters::Dialect;
use tidemark_router::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_whole_answer_is_metered_and_priced() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let (status, headers, body) = house.post("/v1/chat/completions", ask(false)).await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["model"], MODEL);
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there");
    assert_eq!(body["id"], headers["x-generation-id"].to_str().unwrap());
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 600);
    let events = house.events().await;
    only(&events);
    assert_eq!(events.text(0, "outcome"), "ok");
    assert_eq!(events.text(0, "request_id"), body["id"].as_str().unwrap());
    assert_eq!(
        (
            events.int(0, "prompt_tokens"),
            events.int(0, "cached_tokens"),
            events.int(0, "completion_tokens")
        ),
        (1000, 600, 200)
    );
    // $2.50 a million for 400, $1.25 for 600 cached, $10 for 200.
    assert_eq!(
        events.int(0, "cost_nanousd"),
        1_000_000 + 750_000 + 2_000_000
    );
    assert_eq!(
        (body["usage"]["cost"].as_f64().unwrap() * 1e9).round() as i64,
        events.int(0, "cost_nanousd")
    );
    assert_eq!(events.text(0, "finish_reason"), "stop");
    assert_eq!(events.text(0, "usage_source"), "provider");
    assert_ne!(events.text(0, "account_id"), "acme");
    assert!(!events.dump().contains("canary prompt"));
}

#[tokio::test]
async fn a_stream_passes_with_usage_only_when_asked_for() {
    for wanted in [false, true] {
        let house = with(vec![stream(&[
            &chunk("Hel"),
            &chunk("lo"),
            FINISH,
            USAGE,
            DONE,
        ])])
        .await;
        let mut body: Value = serde_json::from_str(&ask(true)).unwrap();
        if wanted {
            body["stream_options"] = json!({"include_usage": true});
        }
        let (status, headers, text) = house.post("/v1/chat/completions", body.to_string()).await;
        assert_eq!(
            (status, headers["content-type"].to_str().unwrap()),
            (200, "text/event-stream; charset=utf-8")
        );
        let chunks: Vec<Value> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert!(text.ends_with("data: [DONE]\n\n"));
        assert_eq!(chunks.len(), if wanted { 4 } else { 3 }, "{text}");
        assert!(
            chunks.iter().all(|chunk| chunk["model"] == MODEL
                && chunk["id"].as_str().unwrap().starts_with("gen-"))
        );
        let words: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(words, "Hello");
        assert_eq!(
            chunks.last().unwrap()["usage"]["prompt_tokens"].as_u64(),
            wanted.then_some(12)
        );
        let events = house.events().await;
        only(&events);
        assert_eq!(
            (
                events.int(0, "prompt_tokens"),
                events.int(0, "completion_tokens")
            ),
            (12, 3)
        );
        assert_eq!(
            (events.text(0, "outcome"), events.flag(0, "streamed")),
            ("ok".to_owned(), true)
        );
    }
}

#[tokio::test]
async fn the_client_is_billed_what_the_event_says() {
    // Far more text than the three tokens that the provider counts.
    let text = "word ".repeat(200);
    let house = with(vec![stream(&[&chunk(&text), FINISH, USAGE, DONE])]).await;
    let mut body: Value = serde_json::from_str(&ask(true)).unwrap();
    body["stream_options"] = json!({"include_usage": true});
    let (_, _, text) = house.post("/v1/chat/completions", body.to_string()).await;
    let usage = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .find_map(|chunk| {
            chunk
                .get("usage")
                .filter(|usage| usage.is_object())
                .cloned()
        })
        .unwrap();
    let events = house.events().await;
    assert_eq!(usage["completion_tokens"], 3);
    assert_eq!(events.int(0, "completion_tokens"), 3);
    assert_eq!(
        (usage["cost"].as_f64().unwrap() * 1e9).round() as i64,
        events.int(0, "cost_nanousd")
    );
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_asked_hides_no_failure() {
    let (bad, tried) = upstream(vec![http("500 Internal Server Error", "text/html", "")]).await;
    let (never, asked) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let settings = Settings {
        upstreams: vec![
            reach("openai", Dialect::OpenaiCompatible, &bad),
            reach("azure", Dialect::Anthropic, &never),
        ],
        ..Settings::default()
    };
    let house = house(settings).await;
    let mut body: Value = serde_json::from_str(&ask(false)).unwrap();
    body["provider"] = json!({"order": ["openai", "azure"]});
    // What the second one does not take.
    body["response_format"] = json!({"type": "json_object"});
    let (status, _, text) = house.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(status, 502, "{text}");
    assert_eq!(
        (tried.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)),
        (1, 0)
    );
    let events = house.events().await;
    only(&events);
    assert_eq!(
        (
            events.text(0, "outcome"),
            events.text(0, "provider"),
            events.failed_attempts(0)
        ),
        ("error".to_owned(), "openai".to_owned(), 0)
    );
}

#[tokio::test]
async fn another_endpoint_answers_when_the_first_fails() {
    let (bad, tried) = upstream(vec![http(
        "500 Internal Server Error",
        "text/html",
        "<html>canary secret</html>",
    )])
    .await;
    let (good, _) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let settings = Settings {
        upstreams: vec![
            reach("openai", Dialect::OpenaiCompatible, &bad),
            reach("azure", Dialect::OpenaiCompatible, &good),
        ],
        ..Settings::default()
    };
    let house = house(settings).await;
    let mut body: Value = serde_json::from_str(&ask(false)).unwrap();
    body["provider"] = json!({"order": ["openai", "azure"]});
    let (status, _, text) = house.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(tried.load(Ordering::SeqCst), 1);
    body["provider"] = json!({"order": ["openai"], "allow_fallbacks": false});
    let (status, _, text) = house.post("/v1/chat/completions", body.to_string()).await;
    assert_eq!(status, 502, "{text}");
    assert!(!text.contains("canary"), "{text}");
    let events = house.events().await;
    assert_eq!(events.len(), 2);
    let (ok, failed) = if events.text(0, "outcome") == "ok" {
        (0, 1)
    } else {
        (1, 0)
    };
    assert_eq!(
        (events.failed_attempts(ok), events.text(ok, "provider")),
        (1, "azure".to_owned())
    );
    assert_eq!(
        (
            events.text(failed, "outcome"),
            events.text(failed, "error_type"),
            events.failed_attempts(failed)
        ),
        ("error".to_owned(), "upstream_error".to_owned(), 0)
    );
}

#[tokio::test]
async fn a_client_that_leaves_at_any_byte_leaves_one_event() {
    let text: Vec<String> = (0..40).map(|n| chunk(&format!("word{n} "))).collect();
    let mut parts: Vec<&str> = text.iter().map(String::as_str).collect();
    parts.extend([FINISH, USAGE, DONE]);
    let act = Act {
        pause: Duration::from_millis(1),
        ..stream(&parts)
    };
    let house = with(vec![act]).await;
    let body = ask(true);
    let mut sent = 0;
    for position in 0..100_usize {
        let mut socket = tokio::net::TcpStream::connect(&house.address)
            .await
            .unwrap();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
            house.key,
            body.len()
        );
        // The first ten leave while they still send.
        if position < 10 {
            let cut = request.len() * (position + 1) / 11;
            socket.write_all(&request.as_bytes()[..cut]).await.unwrap();
            // A request counts once its head is there.
            sent += usize::from(
                request.as_bytes()[..cut]
                    .windows(4)
                    .any(|w| w == b"\r\n\r\n"),
            );
            continue;
        }
        socket.write_all(request.as_bytes()).await.unwrap();
        sent += 1;
        let mut left = (position - 10) * 110;
        let mut buffer = [0; 64];
        while left > 0 {
            let n = socket.read(&mut buffer).await.unwrap();
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n);
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let events = house.events().await;
    assert_eq!(events.len(), sent);
    for row in 0..events.len() {
        let outcome = events.text(row, "outcome");
        assert!(
            matches!(outcome.as_str(), "ok" | "cancelled" | "rejected"),
            "{outcome}"
        );
        if outcome == "cancelled" && events.text(row, "usage_source") == "provider" {
            assert!(events.int(row, "completion_tokens") >= 3);
        }
    }
}

#[tokio::test]
async fn an_upstream_killed_at_any_byte_leaves_one_event_and_a_clear_end() {
    let text: String = (0..8)
        .map(|n| chunk(&format!("word{n} ")))
        .chain([FINISH.to_owned(), USAGE.to_owned(), DONE.to_owned()])
        .collect();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let whole = [head, &text].concat().into_bytes();
    let cuts: Vec<usize> = (0..20).map(|n| whole.len() * n / 20).collect();
    let acts = cuts
        .iter()
        .map(|cut| Act {
            parts: vec![whole[..*cut].to_vec()],
            ..Act::default()
        })
        .collect();
    let house = with(acts).await;
    for cut in &cuts {
        let (status, _, text) = house.post("/v1/chat/completions", ask(true)).await;
        let relayed = text.matches("word").count();
        assert!(
            if relayed > 0 {
                status == 200 && text.contains("\"error\"")
            } else {
                status == 502 || text.contains("\"error\"")
            },
            "cut at {cut}: {status} {text}"
        );
    }
    let events = house.events().await;
    assert_eq!(events.len(), cuts.len());
    for row in 0..events.len() {
        assert_eq!(events.text(row, "outcome"), "error");
        assert!(matches!(
            events.text(row, "error_type").as_str(),
            "connection" | "invalid_response"
        ));
    }
}

#[tokio::test]
async fn silence_ends_in_a_timeout() {
    let settings = Settings {
        first_byte_timeout_s: 1,
        idle_timeout_s: 1,
        ..Settings::default()
    };
    let silent = Act {
        hang: true,
        ..Act::default()
    };
    let stalls = Act {
        hang: true,
        ..stream(&[&chunk("one"), &chunk("two")])
    };
    let house = with_settings(vec![silent, stalls], settings).await;
    let (status, _, body) = house.post("/v1/chat/completions", ask(true)).await;
    assert_eq!(status, 504, "{body}");
    let (status, _, body) = house.post("/v1/chat/completions", ask(true)).await;
    assert_eq!(status, 200);
    assert!(
        body.contains("two") && body.contains("\"timeout\"") && body.ends_with("data: [DONE]\n\n"),
        "{body}"
    );
    let events = house.events().await;
    assert_eq!(events.len(), 2);
    assert!((0..2).all(|row| events.text(row, "error_type") == "timeout"));
}
