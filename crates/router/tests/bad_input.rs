//! Clients that send what is no request, upstreams that send what is no answer, a journal that takes nothing: a clear error, an
//! event, bounded memory, and nothing of the content in either.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

mod support;

use http_body_util::BodyExt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::*;
use tidemark_bus::JournalOptions;
use tidemark_router::adapters::Dialect;
use tidemark_router::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
