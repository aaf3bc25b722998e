//! Every behaviour that can be forced, in every dialect.

use crate::client::{DIALECTS, World, eventually, request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidemark_sim::providers::Ending;

#[tokio::test]
async fn statuses_in_each_dialects_shape() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            for status in [401, 402, 404, 429, 500, 503, 529] {
                let words = format!("{status} retry-after=9");
                let got = world.ask(dialect, &words, stream, json!({})).await;
                assert_eq!(
                    (got.status, got.header("content-type")),
                    (status, "application/json")
                );
                let waits = matches!(status, 429 | 503 | 529);
                assert_eq!(got.header("retry-after"), if waits { "9" } else { "" });
                let error = got.json();
                let message = error["error"]["message"].as_str().unwrap();
                assert!(!message.is_empty());
                let (field, wanted) = match (dialect, status) {
                    ("anthropic", 429) => ("type", json!("rate_limit_error")),
                    ("anthropic", 529) => ("type", json!("overloaded_error")),
                    ("anthropic", 500) => ("type", json!("api_error")),
                    ("gemini", 429) => ("status", json!("RESOURCE_EXHAUSTED")),
                    ("gemini", 503) => ("status", json!("UNAVAILABLE")),
                    ("openai" | "compatible", 429) => ("code", json!("rate_limit_exceeded")),
                    ("openai" | "compatible", 500) => ("type", json!("server_error")),
                    _ => continue,
                };
                assert_eq!(error["error"][field], wanted);
            }
        }
    }
}

#[tokio::test]
async fn hang_and_stall_last_until_the_client_leaves() {
    let world = World::new().await;
    for (index, dialect) in DIALECTS.into_iter().enumerate() {
        for stream in [false, true] {
            let (path, body) = request(dialect, "hang", stream, json!({}));
            let answer = world.open(&path, &[], body);
            assert!(
                tokio::time::timeout(Duration::from_millis(60), answer)
                    .await
                    .is_err()
            );

            let (path, body) = request(dialect, "stall tokens=40", stream, json!({}));
            let mut body = world.open(&path, &[], body).await.into_body();
            let mut bytes = Vec::new();
            while let Ok(Some(frame)) =
                tokio::time::timeout(Duration::from_millis(60), body.frame()).await
            {
                bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            assert!(bytes.len() > 40, "{dialect}");
            drop(body);
        }
        eventually(|| world.ledger.total().left == 4 * (index as u64 + 1)).await;
        let billed = world.ledger.served(dialect).billed;
        assert!(billed.prompt > 0 && billed.completion > 0 && billed.completion < 80);
    }
}

#[tokio::test]
async fn cuts() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            for words in [
                "cut tokens=40",
                "cut=2 tokens=40",
                "cut=100b tokens=40",
                "cut=0 tokens=40",
                "cut=0b",
            ] {
                let got = world.ask(dialect, words, stream, json!({})).await;
                assert_eq!((got.status, got.broken), (200, true), "{dialect} {words}");
                if words.starts_with("cut=100b") {
                    assert_eq!(got.body.len(), 100);
                }
                if stream && words.starts_with("cut=2") {
                    assert_eq!(got.events().len(), 2, "{dialect}");
                }
            }
        }
        eventually(|| world.ledger.served(dialect).cut == 10).await;
    }
}

fn content(dialect: &str, body: &Value) -> Option<String> {
    let text = match dialect {
        "anthropic" => &body["content"][0]["text"],
        "gemini" => &body["candidates"][0]["content"]["parts"][0]["text"],
        _ => &body["choices"][0]["message"]["content"],
    };
    text.as_str().map(str::to_owned)
}

#[tokio::test]
async fn refusals_of_three_kinds() {
    let world = World::new().await;
    for dialect in DIALECTS {
        let body = world
            .ask(dialect, "refuse-text", false, json!({}))
            .await
            .json();
        let text = content(dialect, &body).unwrap();
        assert!(
            text.contains("sorry")
                || text.contains("Sorry")
                || text.contains("n't")
                || text.contains("not able"),
            "{text}"
        );

        let body = world.ask(dialect, "refuse", false, json!({})).await.json();
        let stream = world.ask(dialect, "refuse", true, json!({})).await;
        match dialect {
            "anthropic" => {
                assert_eq!(body["stop_reason"], "refusal");
                assert_eq!(body["content"], json!([]));
                assert!(stream.text().contains("\"stop_reason\":\"refusal\""));
            }
            "gemini" => assert!(content(dialect, &body).is_some()),
            _ => {
                assert!(body["choices"][0]["message"]["refusal"].is_string());
                assert_eq!(body["choices"][0]["message"]["content"], Value::Null);
                assert!(stream.text().contains("{\"refusal\":\""));
            }
        }

        let got = world
            .ask(dialect, "filter tokens=30", false, json!({}))
            .await;
        let stream = world
            .ask(dialect, "filter tokens=30", true, json!({}))
            .await;
        match dialect {
            "anthropic" => {
                assert_eq!(got.status, 400);
                assert!(got.text().contains("content filtering policy"));
                assert!(stream.text().contains("event: error\n"));
            }
            "gemini" => {
                assert_eq!(got.json()["candidates"][0]["finishReason"], "SAFETY");
                assert!(stream.text().contains("\"SAFETY\""));
            }
            _ => {
                assert_eq!(got.json()["choices"][0]["finish_reason"], "content_filter");
                assert!(
                    stream
                        .text()
                        .contains("\"finish_reason\":\"content_filter\"")
                );
            }
        }
    }
}

#[tokio::test]
async fn garbage_of_all_kinds() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            let got = world.ask(dialect, "html", stream, json!({})).await;
            assert_eq!((got.status, got.header("content-type")), (200, "text/html"));
            assert!(got.text().starts_with("<!DOCTYPE html>"));

            let got = world.ask(dialect, "wrong-type", stream, json!({})).await;
            assert!(got.status == 200 && got.header("content-type").starts_with("text/plain"));

            let got = world
                .ask(dialect, "half-sse tokens=40", stream, json!({}))
                .await;
            assert!(got.status == 200 && !got.broken && !got.text().ends_with('\n'));

            let got = world.ask(dialect, "error-200", stream, json!({})).await;
            assert_eq!(got.status, 200);
            let error = if stream {
                got.events()[0].1.clone()
            } else {
                got.json()
            };
            assert!(error["error"]["message"].is_string(), "{error}");
        }
        let got = world
            .ask(dialect, "error-in-stream tokens=60", true, json!({}))
            .await;
        let events = got.events();
        let (last, before) = events.split_last().unwrap();
        assert!(last.1["error"]["message"].is_string() && before.len() > 1);
        assert!(!got.text().contains("[DONE]"));
        assert_eq!(last.0, if dialect == "anthropic" { "error" } else { "" });
    }
}

#[tokio::test]
async fn endless_streams_do_not_end() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            let (path, body) = request(dialect, "endless tokens=5", stream, json!({}));
            let mut body = world.open(&path, &[], body).await.into_body();
            let mut bytes = 0;
            for _ in 0..60 {
                let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await;
                bytes += frame.unwrap().unwrap().unwrap().into_data().unwrap().len();
            }
            assert!(bytes > 500, "{dialect} {bytes}");
        }
    }
}

#[tokio::test]
async fn usage_can_be_missing() {
    let world = World::new().await;
    for dialect in DIALECTS {
        for stream in [false, true] {
            let got = world
                .ask(dialect, "no-usage tokens=9", stream, json!({}))
                .await;
            assert_eq!(got.status, 200);
            assert!(
                !got.text().to_lowercase().contains("usage"),
                "{}",
                got.text()
            );
        }
        assert!(world.ledger.served(dialect).billed.completion == 18);
    }
}

#[tokio::test]
async fn headers_say_the_same_as_words_and_win() {
    let world = World::new().await;
    let (path, body) = request("compatible", "429 tokens=3", false, json!({}));
    let headers = [("x-sim", "ok"), ("x-sim-tokens", "11")];
    let got = world.raw(&path, &headers, body.clone()).await;
    assert_eq!(got.json()["usage"]["completion_tokens"], 11);
    assert_eq!(
        world
            .raw(&path, &[("x-sim", "503")], body.clone())
            .await
            .status,
        503
    );
    assert_eq!(
        world
            .raw(&path, &[("x-sim", "nonsense")], body)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn delays_are_kept_whatever_the_speed() {
    let world = World::new().await;
    let start = Instant::now();
    world
        .ask("openai", "ttft-ms=80 tokens=3", false, json!({}))
        .await;
    assert!(start.elapsed() >= Duration::from_millis(80));
    let (path, body) = request("openai", "tokens=11", true, json!({}));
    let start = Instant::now();
    let got = world
        .raw(
            &path,
            &[("x-sim-chunk-ms", "10"), ("x-sim-ttft-ms", "20")],
            body,
        )
        .await;
    assert!(
        start.elapsed() >= Duration::from_millis(119),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(got.events().len(), 14);
    let start = Instant::now();
    world.ask("openai", "tokens=3000", true, json!({})).await;
    assert!(
        start.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn length_and_the_ledgers_endings() {
    let world = World::new().await;
    for dialect in DIALECTS {
        let got = world
            .ask(dialect, "length tokens=9", true, json!({}))
            .await
            .text();
        let reason = match dialect {
            "anthropic" => "max_tokens",
            "gemini" => "MAX_TOKENS",
            _ => "length",
        };
        assert!(got.contains(&format!("\"{reason}\"")), "{got}");
    }
    world.ask("openai", "429", true, json!({})).await;
    let recent = world.ledger.recent();
    assert_eq!(recent.len(), 5);
    assert!(
        recent[..4]
            .iter()
            .all(|entry| entry.ending == Ending::Answered)
    );
    assert_eq!(recent[4].ending, Ending::Refused(429));
    let openai = world.ledger.served("openai");
    assert_eq!(
        (openai.requests, openai.answered, openai.rate_limited),
        (2, 1, 1)
    );
}
