//! Events of other gateways over HTTP: what is taken, what is refused and how that is said, and what becomes of identity, account,
//! names and price on the way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

#[path = "support/otlp.rs"]
mod otlp;
mod support;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use support::*;
use tidemark_bus::JournalOptions;
use tidemark_event::Micros;
use tidemark_router::keys::Keys;
use tidemark_router::settings::Settings;
use tracing_subscriber::fmt::MakeWriter;

const CANARY: &str = "canary prompt 7f3a";
const TRACE: &str = "0102030405060708090a0b0c0d0e0f10";

async fn empty_house() -> House {
    house(Settings::default()).await
}

/// What was answered.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn send(
    house: &House,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Answer {
    let mut request = http::Request::post(format!("http://{}{path}", house.address));
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.header("authorization", format!("Bearer {}", house.key));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = house.gateway_client().request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let answer = Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    assert!(
        !String::from_utf8_lossy(&answer.body).contains("canary"),
        "an answer repeats what was sent"
    );
    answer
}

async fn lines(house: &House, body: impl Into<Bytes>) -> Answer {
    send(
        house,
        "/v1/events",
        &[("content-type", "application/x-ndjson")],
        body,
    )
    .await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

/// A span as JSON: chat by gpt-4o, with a canary in it.
fn span(number: u64, more: &[(&str, Value)]) -> Value {
    let mut attributes = vec![
        json!({"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}),
        json!({"key": "gen_ai.provider.name", "value": {"stringValue": "openai"}}),
        json!({"key": "gen_ai.response.model", "value": {"stringValue": "gpt-4o-2024-08-06"}}),
        json!({"key": "gen_ai.usage.input_tokens", "value": {"intValue": "1000"}}),
        json!({"key": "gen_ai.usage.output_tokens", "value": {"intValue": "200"}}),
        json!({"key": "gen_ai.input.messages", "value": {"stringValue": CANARY}}),
    ];
    for (key, value) in more {
        attributes.push(json!({"key": key, "value": value}));
    }
    let start = 1_748_779_200_000_000_000_u64;
    json!({
        "traceId": TRACE, "spanId": format!("{number:016x}"), "name": CANARY, "kind": 3,
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_500_000_000).to_string(),
        "attributes": attributes, "events": [{"name": CANARY, "timeUnixNano": start.to_string()}],
    })
}

fn trace(spans: Vec<Value>) -> Value {
    json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "test"}, "spans": spans}]}]})
}

fn protobuf(trace: &Value) -> Vec<u8> {
    let request: ExportTraceServiceRequest = serde_json::from_value(trace.clone()).unwrap();
    request.encode_to_vec()
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn one_bad_line_of_five_harms_no_other() {
    let house = empty_house().await;
    let good = |n: u32| {
        format!(
            "{{\"ts\":\"2025-06-01T12:00:0{n}Z\",\"model\":\"openai/gpt-4o\",\"provider\":\"openai\",\"prompt_tokens\":1000}}"
        )
    };
    let body = [
        good(1),
        good(2),
        format!("{{\"ts\":\"{CANARY}\"}}"),
        good(4),
        good(5),
    ]
    .join("\r\n");
    let answer = lines(&house, body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"accepted": 4, "rejected": 1, "errors": [{"line": 3, "field": "ts", "message": "not a value this field can have"}]})
    );
    let events = house.events().await;
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn an_event_becomes_its_senders_own() {
    let house = empty_house().await;
    let keys = Keys::open(house.dir.path()).unwrap();
    let (_, other) = keys.create("other").unwrap();
    house.gateway.keys().reload().unwrap();
    let own = keys.account(&house.key).unwrap().id.to_string();
    let line = |account: &str, id: &str| {
        json!({
        "ts": "2025-06-01T12:00:00Z", "account_id": account, "request_id": id, "session_id": "talk", "model": "gpt-4o-2024-08-06", "provider": "OpenAI",
        "model_requested": "gpt-4o", "prompt_tokens": 1000, "completion_tokens": 200, "router_id": "theirs", "router_version": "9", "overhead_us": 5, "source": "router",
    }).to_string()
    };
    let body = [line("", "a"), line("u1", "b"), line(&own, "c")].join("\n");
    assert_eq!(lines(&house, body).await.status, 200);
    let authorization = format!("Bearer {other}");
    let of_other = [("authorization", authorization.as_str())];
    assert_eq!(
        send(&house, "/v1/events", &of_other, line("u1", "b"))
            .await
            .status,
        200
    );
    let events = house.events().await;
    let mut accounts = Vec::new();
    let mut ids = Vec::new();
    for row in 0..events.len() {
        accounts.push(events.text(row, "account_id"));
        ids.push(format!(
            "{:?}",
            events.0.column_by_name("event_id").unwrap().slice(row, 1)
        ));
        for (field, wanted) in [
            ("model", "openai/gpt-4o"),
            ("model_requested", "gpt-4o"),
            ("provider", "openai"),
            ("endpoint", "openai/gpt-4o"),
            ("source", "ingest"),
            ("router_id", ""),
            ("router_version", ""),
        ] {
            assert_eq!(events.text(row, field), wanted);
        }
        assert_eq!(events.int(row, "overhead_us"), 0);
        // 1000 at $2.50 and 200 at $10 per million, by hand.
        assert_eq!(events.int(row, "cost_prompt_nanousd"), 2_500_000);
        assert_eq!(events.int(row, "cost_nanousd"), 4_500_000);
        assert!(!events.text(row, "session_id").contains("talk"));
    }
    assert_eq!(
        accounts.iter().filter(|account| **account == own).count(),
        1,
        "only who states none is the key's own account"
    );
    accounts.sort();
    accounts.dedup();
    assert_eq!(accounts.len(), 4, "u1 of one key is not u1 of another");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "nor is their request b the same");
}

#[tokio::test]
async fn one_identity_over_both_protocols() {
    let house = empty_house().await;
    let uuid = "0f9d1c1e-7c1b-4b7e-9a51-2f6f7f2f3c11";
    // By event id, by request id, and by the ids of trace and span.
    let at = "2025-06-01T12:00:00Z";
    let body = [
        json!({"ts": at, "event_id": uuid}),
        json!({"ts": at, "request_id": "chatcmpl-1"}),
        json!({"ts": at, "request_id": format!("{TRACE}-0000000000000003")}),
    ]
    .map(|line| line.to_string());
    let spans = trace(vec![
        span(1, &[("tidemark.event_id", json!({"stringValue": uuid}))]),
        span(
            2,
            &[("gen_ai.response.id", json!({"stringValue": "chatcmpl-1"}))],
        ),
        span(3, &[]),
    ]);
    assert_eq!(lines(&house, body.join("\n")).await.json()["accepted"], 3);
    let answer = send(&house, "/v1/traces", &[PROTOBUF], protobuf(&spans)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let answer = send(
        &house,
        "/v1/traces",
        &[JSON, ("content-encoding", "gzip")],
        gzip(spans.to_string().as_bytes()),
    )
    .await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    let mut backwards = body.to_vec();
    backwards.reverse();
    assert_eq!(lines(&house, backwards.join("\n")).await.status, 200);
    // The same words twice are the same event; other words are another.
    for line in [
        json!({"ts": at, "app": "a"}),
        json!({"app": "a", "ts": at}),
        json!({"ts": at, "app": "b"}),
    ] {
        assert_eq!(lines(&house, line.to_string()).await.status, 200);
    }
    let events = house.events().await;
    assert_eq!(events.len(), 15);
    let mut times = std::collections::BTreeMap::new();
    for row in 0..events.len() {
        let id = format!(
            "{:?}",
            events.0.column_by_name("event_id").unwrap().slice(row, 1)
        );
        *times.entry(id).or_insert(0) += 1;
    }
    let mut times: Vec<i32> = times.into_values().collect();
    times.sort_unstable();
    assert_eq!(times, [1, 2, 4, 4, 4]);
}

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

/// What the program says, at every level.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn content_reaches_neither_event_nor_log() {
    let said = Said::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(said.clone())
        .init();
    let house = empty_house().await;
    let text = json!({"stringValue": CANARY});
    let everywhere: Vec<(&str, Value)> = [
        "gen_ai.prompt",
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.content",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "llm.request.functions.0.description",
        "hidden_params",
        "gen_ai.response.id",
        "error.type",
        "gen_ai.request.model",
        "gen_ai.conversation.id",
        "tidemark.event_id",
    ]
    .map(|key| (key, text.clone()))
    .to_vec();
    let mut odd = span(2, &everywhere);
    odd["attributes"]
        .as_array_mut()
        .unwrap()
        .retain(|pair| pair["key"] != "gen_ai.response.model");
    let spans = trace(vec![span(1, &everywhere), odd]);
    assert_eq!(
        send(&house, "/v1/traces", &[PROTOBUF], protobuf(&spans))
            .await
            .body
            .len(),
        0
    );
    assert_eq!(
        send(&house, "/v1/traces", &[JSON], spans.to_string())
            .await
            .json(),
        json!({})
    );
    let bad = format!(
        "{{\"ts\":1,\"prompt\":\"{CANARY}\"}}\n{{\"ts\":1,\"outcome\":\"{CANARY}\"}}\n{CANARY}"
    );
    assert_eq!(lines(&house, bad).await.status, 400);
    let events = house.events().await;
    assert_eq!(events.len(), 4);
    assert!(!events.dump().contains("canary"));
    assert!(!String::from_utf8_lossy(&said.0.lock().unwrap()).contains("canary"));
}
