//! Events of other gateways over HTTP: what is taken, what is refused and how that is said, and what becomes of identity, account,
//! names and price on the way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

#[path = "../support/otlp.rs"]
mod otlp;
mod refused;
#[path = "../support/said.rs"]
mod said;
#[path = "../support/mod.rs"]
mod support;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use said::Said;
use serde_json::{Value, json};
use std::io::Write;
use support::*;
use tidemark_bus::JournalOptions;
use tidemark_event::Micros;
use tidemark_router::keys::{Keys, StoredKey};
use tidemark_router::settings::Settings;

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
    let gateway = |key: &mut StoredKey| key.gateway = true;
    let (_, other) = keys.create_with("other", gateway).unwrap();
    let (_, plain) = keys.create("plain").unwrap();
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
    let two = [line("u1", "b"), line("u2", "d")].join("\n");
    for (key, body) in [(other, line("u1", "b")), (plain.clone(), two)] {
        let authorization = format!("Bearer {key}");
        let as_key = [("authorization", authorization.as_str())];
        let answer = send(&house, "/v1/events", &as_key, body).await;
        assert_eq!(answer.status, 200);
    }
    let plain = keys.account(&plain).unwrap().id.to_string();
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
    assert_eq!(
        accounts.iter().filter(|account| **account == plain).count(),
        2,
        "who is no gateway has one account, whatever is stated"
    );
    accounts.sort();
    accounts.dedup();
    assert_eq!(accounts.len(), 5, "u1 of one key is not u1 of another");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "nor is their request b the same");
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
    assert!(!said.text().contains("canary"));
}
