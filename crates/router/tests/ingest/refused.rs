//! What is refused, how that is said, and what it leaves alone.

use super::*;
use std::sync::Arc;

#[tokio::test]
async fn what_would_be_a_dead_letter_is_refused_at_the_door() {
    let house = empty_house().await;
    let ahead = Micros(Micros::now().0 + 3_600_000_000);
    let cases = [
        (
            json!({"ts": "2025-06-01T12:00:00Z", "prompt_tokens": -1}),
            "prompt_tokens",
            "below zero",
        ),
        (
            json!({"ts": "2025-06-01T12:00:00Z", "completion_tokens": 1_000_000_000}),
            "completion_tokens",
            "beyond anything real",
        ),
        (
            json!({"ts": "2025-06-01T12:00:00Z", "prompt_tokens": 5, "cached_tokens": 6}),
            "prompt_tokens",
            "its parts exceed it",
        ),
        (
            json!({"ts": "2025-06-01T12:00:00Z", "outcome": CANARY}),
            "outcome",
            "not one of the values",
        ),
        (
            json!({"ts": "2025-06-01T12:00:00Z", "request_id": CANARY.repeat(40)}),
            "request_id",
            "longer than 512 bytes",
        ),
        (
            json!({"ts": ahead.to_string()}),
            "ts",
            "ahead of the clock here, which says 20",
        ),
        (json!({"ts": -1}), "ts", "before 1970"),
        (json!({"ts": i64::MAX}), "ts", "ahead of the clock"),
        (
            json!({"ts": "2025-06-01T12:00:00Z", "failed_attempts": [{"latency_us": -1}]}),
            "failed_attempts",
            "below zero",
        ),
    ];
    let body: Vec<String> = cases.iter().map(|(line, _, _)| line.to_string()).collect();
    let answer = lines(&house, body.join("\n")).await;
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "no_events");
    assert_eq!(error["metadata"]["rejected"], cases.len());
    for (number, (_, field, message)) in cases.iter().enumerate() {
        let said = &error["metadata"]["errors"][number];
        assert_eq!(said["line"], number + 1);
        assert_eq!(said["field"], *field);
        assert!(
            said["message"].as_str().unwrap().contains(message),
            "{said}"
        );
    }
    // Many faults are counted, and the first hundred told.
    let answer = lines(&house, "{\n".repeat(5000)).await.json();
    assert_eq!(answer["error"]["metadata"]["rejected"], 5000);
    assert_eq!(
        answer["error"]["metadata"]["errors"]
            .as_array()
            .unwrap()
            .len(),
        100
    );
    assert_eq!(house.events().await.len(), 0);
}

#[tokio::test]
async fn bodies_that_are_none() {
    let house = empty_house().await;
    let bomb = gzip(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    let cut = gzip(b"{\"ts\":1}\n{\"ts\":2}");
    let cut = cut[..cut.len() - 12].to_vec();
    let long = format!("{{\"ts\":1,\"app\":\"{}\"}}", "x".repeat(10 << 20)).into_bytes();
    let many = "{\"ts\":1}\n".repeat(100_001).into_bytes();
    let spans = protobuf(&trace(vec![span(1, &[])]));
    let gz = ("content-encoding", "gzip");
    let ndjson = ("content-type", "application/x-ndjson");
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, u16);
    let cases: Vec<Case<'_>> = vec![
        ("/v1/events", vec![ndjson], Vec::new(), 400),
        ("/v1/events", vec![ndjson], b"\n \n".to_vec(), 400),
        (
            "/v1/events",
            vec![ndjson],
            b"{\"ts\":1,\"app\":\"\xFF\"}".to_vec(),
            400,
        ),
        ("/v1/events", vec![ndjson], long, 400),
        ("/v1/events", vec![ndjson], many, 413),
        ("/v1/events", vec![ndjson], vec![b'x'; 21 << 20], 413),
        ("/v1/events", vec![ndjson, gz], bomb.clone(), 413),
        ("/v1/events", vec![ndjson, gz], cut, 400),
        ("/v1/events", vec![ndjson, gz], b"{\"ts\":1}".to_vec(), 400),
        (
            "/v1/events",
            vec![ndjson, ("content-encoding", "br")],
            b"{\"ts\":1}".to_vec(),
            415,
        ),
        ("/v1/events", vec![PROTOBUF], spans.clone(), 415),
        (
            "/v1/events",
            vec![("authorization", "Bearer sk-tidemark-none")],
            b"{\"ts\":1}".to_vec(),
            401,
        ),
        (
            "/v1/traces",
            vec![PROTOBUF],
            spans[..spans.len() - 3].to_vec(),
            400,
        ),
        (
            "/v1/traces",
            vec![PROTOBUF],
            CANARY.as_bytes().to_vec(),
            400,
        ),
        ("/v1/traces", vec![JSON], spans.clone(), 400),
        (
            "/v1/traces",
            vec![JSON],
            b"{\"resourceSpans\":5}".to_vec(),
            400,
        ),
        ("/v1/traces", vec![PROTOBUF, gz], bomb, 413),
        (
            "/v1/traces",
            vec![PROTOBUF, ("authorization", "Bearer sk-tidemark-none")],
            spans.clone(),
            401,
        ),
        (
            "/v1/traces",
            vec![("content-type", "text/plain")],
            spans.clone(),
            415,
        ),
        ("/v1/traces", vec![], spans, 415),
    ];
    for (path, headers, body, status) in cases {
        let answer = send(&house, path, &headers, body).await;
        assert_eq!(answer.status, status, "{path} {headers:?}");
        if path == "/v1/traces" && headers.first() == Some(&PROTOBUF) {
            assert_eq!(answer.headers["content-type"], "application/x-protobuf");
            assert_eq!(answer.body[0], 8, "a google.rpc.Status");
        } else if path == "/v1/traces" {
            assert!(answer.json()["code"].is_u64() && answer.json()["message"].is_string());
        } else {
            assert!(answer.json()["error"]["message"].is_string());
        }
    }
    let request = http::Request::get(format!("http://{}/v1/events", house.address));
    let request = request.body(Full::default()).unwrap();
    let response = house.gateway_client().request(request).await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["allow"].as_bytes()
        ),
        (405, &b"POST"[..])
    );
    assert_eq!(house.events().await.len(), 0);
}

#[tokio::test]
async fn partial_success_in_both_encodings() {
    let house = empty_house().await;
    let spans = trace(vec![
        span(1, &[]),
        span(0, &[]),
        span(
            2,
            &[(
                "gen_ai.usage.cache_read.input_tokens",
                json!({"intValue": "2000"}),
            )],
        ),
        json!({"traceId": TRACE, "spanId": "0000000000000009", "name": "GET /", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}),
    ]);
    let answer = send(&house, "/v1/traces", &[PROTOBUF], protobuf(&spans)).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"application/x-protobuf".parse().unwrap())
    );
    let partial = ExportTraceServiceResponse::decode(answer.body)
        .unwrap()
        .partial_success
        .unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert_eq!(
        partial.error_message,
        "span 2: no valid trace id and span id; and 1 more"
    );
    let answer = send(&house, "/v1/traces", &[JSON], spans.to_string()).await;
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "2");
    assert_eq!(house.events().await.len(), 2);
}

#[tokio::test]
async fn a_full_journal_takes_nothing_and_says_when_to_come_back() {
    let options = JournalOptions {
        max_bytes: 64 << 10,
        ..JournalOptions::default()
    };
    let house = house_with(Settings::default(), options).await;
    let body: Vec<String> = (0..2000)
        .map(|n| {
            json!({"ts": 1_748_779_200_000_000_i64 + n, "request_id": "x".repeat(100)}).to_string()
        })
        .collect();
    let answer = lines(&house, body.join("\n")).await;
    assert_eq!(
        (answer.status, answer.headers["retry-after"].as_bytes()),
        (503, &b"1"[..])
    );
    let spans = trace((1..600).map(|n| span(n, &[])).collect());
    let answer = send(&house, "/v1/traces", &[PROTOBUF], protobuf(&spans)).await;
    assert_eq!(
        (answer.status, answer.headers["retry-after"].as_bytes()),
        (503, &b"1"[..])
    );
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    // What fits is taken, and durable before the answer.
    assert_eq!(lines(&house, body[0].clone()).await.status, 200);
    assert_eq!(house.events().await.len(), 1);
}

#[tokio::test]
async fn older_than_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (emitter, _events) = tidemark_router::emit::Emitter::piped();
    let routes = tidemark_router::route::Routes::new(
        Arc::new(tidemark_catalog::Catalog::builtin().unwrap()),
        &Settings::default(),
    )
    .unwrap();
    let keys = Keys::open(dir.path()).unwrap();
    let (_, key) = keys.create("acme").unwrap();
    let gateway =
        tidemark_router::gateway::Gateway::new(Settings::default(), routes, keys, emitter)
            .unwrap()
            .retaining(Some(std::time::Duration::from_secs(30 * 86_400)));
    let request = http::Request::post("/v1/events")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::new(Bytes::from_static(
            b"{\"ts\":\"2024-01-01T00:00:00Z\"}",
        )))
        .unwrap();
    let response = gateway.handle(request).await;
    assert_eq!(response.status(), 400);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        said["error"]["metadata"]["errors"][0]["message"],
        "older than the 30 days that are taken in here"
    );
}
