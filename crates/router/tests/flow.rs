//! Requests through a real socket, a real journal and an upstream that says exactly what a test tells it: whatever happens,
//! one event each, and it says what happened.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod support;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Act, Events, House, house, house_with, http, reach, stream, upstream};
use tidemark_bus::JournalOptions;
use tidemark_router::adapters::Dialect;
use tidemark_router::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MODEL: &str = "openai/gpt-4o";
const OK: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200,"prompt_tokens_details":{"cached_tokens":600}}}"#;

fn ask(stream: bool) -> String {
    json!({"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "canary prompt 7f3a"}]}).to_string()
}

fn chunk(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const FINISH: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3,\"total_tokens\":15}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

async fn with(acts: Vec<Act>) -> House {
    with_settings(acts, Settings::default()).await
}

async fn with_settings(acts: Vec<Act>, settings: Settings) -> House {
    let (base, _) = upstream(acts).await;
    house(Settings {
        upstreams: vec![reach("openai", Dialect::OpenaiCompatible, &base)],
        ..settings
    })
    .await
}

fn only(events: &Events) {
    assert_eq!(events.len(), 1, "one request, one event");
}

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

#[tokio::test]
async fn bad_requests_get_a_clear_error_and_an_event() {
    let house = with(vec![http("200 OK", "application/json", OK)]).await;
    let cases = [
        ("/v1/chat/completions", "{", 400, "not valid JSON"),
        ("/v1/chat/completions", "[]", 400, "not a JSON object"),
        ("/v1/chat/completions", r#"{"messages":[]}"#, 400, "`model`"),
        (
            "/v1/chat/completions",
            r#"{"model":"openai/gpt-4o","messages":"canary"}"#,
            400,
            "`messages`",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"openai/gpt-4o","messages":[{"role":"wizard","content":"canary"}]}"#,
            400,
            "`role`",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"openai/gtp-4o","messages":[{"role":"user","content":"canary"}]}"#,
            404,
            "openai/gpt-4o",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"openai/gpt-4o","stream":"yes","messages":[{"role":"user","content":"canary"}]}"#,
            400,
            "`stream`",
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"openai/gpt-4o","max_tokens":-1,"messages":[{"role":"user","content":"canary"}]}"#,
            400,
            "`max_tokens`",
        ),
        (
            "/v1/messages",
            r#"{"model":"openai/gpt-4o","messages":[{"role":"user","content":"canary"}]}"#,
            400,
            "`max_tokens`",
        ),
        (
            "/v1/embeddings",
            r#"{"model":"openai/gpt-4o","input":"canary"}"#,
            400,
            "embeddings",
        ),
    ];
    for (path, body, wanted, word) in cases {
        let (status, _, text) = house.post(path, body).await;
        assert_eq!(status, wanted, "{body}: {text}");
        assert!(
            text.contains(word) && !text.contains("canary"),
            "{body}: {text}"
        );
    }
    let mut request = house.request("/v1/chat/completions", ask(false));
    request.headers_mut().insert(
        "authorization",
        "Bearer sk-tidemark-canary".parse().unwrap(),
    );
    let response = house.gateway_client().request(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(
        !String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes())
            .contains("canary")
    );
    let (status, _, _) = house
        .post("/v1/chat/completions", "x".repeat(21 << 20))
        .await;
    assert_eq!(status, 413);
    let events = house.events().await;
    assert_eq!(events.len(), cases.len() + 2);
    assert!((0..events.len()).all(|row| events.text(row, "outcome") == "rejected"));
    assert!(!events.dump().contains("canary"));
}

#[tokio::test]
async fn garbage_from_upstream_is_a_clear_error() {
    let html = "<html>canary</html>";
    let endless = "data: ".to_owned() + &"x".repeat(3 << 20);
    let acts = vec![
        http("200 OK", "text/html", html),
        http("200 OK", "application/json", "{\"choices\": 7}"),
        http("200 OK", "application/json", ""),
        http(
            "200 OK",
            "application/json",
            "{\"error\":{\"message\":\"boom\",\"code\":500}}",
        ),
        stream(&["data: {not json}\n\n"]),
        stream(&["data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n"]),
        stream(&[&endless]),
        http("418 I'm a teapot", "text/plain", "canary"),
    ];
    let streams = [false, false, false, false, true, true, true, false];
    let house = with_settings(
        acts,
        Settings {
            max_answer_bytes: 1 << 20,
            ..Settings::default()
        },
    )
    .await;
    for wanted in streams {
        let (status, _, text) = house.post("/v1/chat/completions", ask(wanted)).await;
        assert!(
            status >= 400 && text.contains("\"error\"") && !text.contains("canary"),
            "{status} {text}"
        );
    }
    let events = house.events().await;
    assert_eq!(events.len(), streams.len());
    assert!((0..events.len()).all(|row| events.text(row, "outcome") == "error"));
}

#[tokio::test]
async fn a_full_journal_turns_requests_away_before_any_work() {
    let (base, served) = upstream(vec![http("200 OK", "application/json", OK)]).await;
    let settings = Settings {
        upstreams: vec![reach("openai", Dialect::OpenaiCompatible, &base)],
        ..Settings::default()
    };
    let house = house_with(
        settings,
        JournalOptions {
            max_bytes: 2 << 10,
            ..JournalOptions::default()
        },
    )
    .await;
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..40 {
        let (status, headers, _) = house.post("/v1/chat/completions", ask(false)).await;
        match status {
            200 => answered += 1,
            503 => {
                refused += 1;
                assert_eq!(headers["retry-after"], "1");
            }
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        refused > 20 && answered > 0,
        "{answered} answered, {refused} refused"
    );
    assert_eq!(
        served.load(Ordering::SeqCst),
        answered,
        "no work for a request that is turned away"
    );
}

#[tokio::test]
async fn slow_and_greedy_clients_are_cut_off() {
    let house = with_settings(
        vec![http("200 OK", "application/json", OK)],
        Settings {
            receive_timeout_s: 1,
            ..Settings::default()
        },
    )
    .await;
    let mut slow = tokio::net::TcpStream::connect(&house.address)
        .await
        .unwrap();
    slow.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let mut bomb = tokio::net::TcpStream::connect(&house.address)
        .await
        .unwrap();
    let mut head = "POST /v1/chat/completions HTTP/1.1\r\n".to_owned();
    (0..5000).for_each(|n| head.push_str(&format!("x-{n}: {n}\r\n")));
    bomb.write_all(head.as_bytes()).await.ok();
    let mut body = tokio::net::TcpStream::connect(&house.address)
        .await
        .unwrap();
    let start = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 500\r\n\r\n{{",
        house.key
    );
    body.write_all(start.as_bytes()).await.unwrap();
    // What does not fit is cut off; an answer to it may be lost with the bytes that were never read.
    for (socket, wanted) in [
        (&mut slow, None),
        (&mut bomb, None),
        (&mut body, Some("408")),
    ] {
        let mut text = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), async {
            let mut buffer = [0; 4096];
            loop {
                match socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => text.extend_from_slice(&buffer[..n]),
                }
                if text.windows(4).any(|w| w == b"\r\n\r\n") {
                    break;
                }
            }
        });
        assert!(read.await.is_ok(), "the connection was left open");
        if let Some(wanted) = wanted {
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains(wanted), "{text}");
        }
    }
    drop((slow, bomb, body));
    let events = house.events().await;
    only(&events);
    assert_eq!(events.text(0, "error_type"), "body_timeout");
}
