//! The readers against OpenTelemetry's own messages, in both encodings.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../tests/support/otlp.rs"]
mod message;

use super::*;
use message::{Any, ExportTraceServiceRequest, ExportTraceServiceResponse, pairs, text, texts};
use proptest::prelude::*;
use prost::Message;
use tidemark_event::UsageEvent;

const CANARY: &str = "canary prompt 7f3a";
const START: u64 = 1_748_779_200_000_000_000;

/// A span with content wherever a span can have any.
fn span(attributes: &[(&str, Any)]) -> message::Span {
    let mut attributes = pairs(attributes);
    attributes.extend(pairs(&[
        ("gen_ai.input.messages", text(CANARY)),
        ("gen_ai.prompt.0.content", text(CANARY)),
        ("gen_ai.output.messages", texts(&[CANARY])),
    ]));
    message::Span {
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        trace_state: CANARY.to_owned(),
        name: CANARY.to_owned(),
        kind: 3,
        start_time_unix_nano: START,
        end_time_unix_nano: START + 2_500_000_000,
        attributes,
        events: vec![message::Event {
            name: CANARY.to_owned(),
            attributes: pairs(&[("gen_ai.prompt", text(CANARY))]),
            ..message::Event::default()
        }],
        flags: 0x101,
        ..message::Span::default()
    }
}

fn request(spans: Vec<message::Span>) -> ExportTraceServiceRequest {
    let resource = [
        ("service.name", text("My Shop")),
        ("host.name", text(CANARY)),
    ];
    message::request(&resource, spans)
}

/// What each span of a body becomes: an event and whether its cost is stated, an objection, or nothing.
type Became = Option<Result<(UsageEvent, bool), (Option<&'static str>, &'static str)>>;

fn read(encoding: Encoding, body: &[u8]) -> Option<Vec<Became>> {
    let mut all = Vec::new();
    let mut take = |span: &Span<'_>, resource: &Facts<'_>| {
        all.push(span::became(span, resource));
    };
    let read = match encoding {
        Encoding::Protobuf => protobuf::read(body, &mut take),
        Encoding::Json => json::read(body, &mut take),
    };
    read.is_ok().then_some(all)
}

/// Both encodings, which must agree.
fn both(request: &ExportTraceServiceRequest) -> Vec<Became> {
    let from_protobuf = read(Encoding::Protobuf, &request.encode_to_vec()).unwrap();
    let json = serde_json::to_vec(request).unwrap();
    assert_eq!(from_protobuf, read(Encoding::Json, &json).unwrap());
    assert!(!format!("{from_protobuf:?}").contains("canary"));
    from_protobuf
}

fn only(attributes: &[(&str, Any)]) -> Became {
    both(&request(vec![span(attributes)])).remove(0)
}

fn event(attributes: &[(&str, Any)]) -> UsageEvent {
    only(attributes).unwrap().unwrap().0
}

#[test]
fn present_names_and_older_ones_say_the_same() {
    let present = event(&[
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.response.model", text("gpt-4o-2024-08-06")),
        ("gen_ai.response.id", text("chatcmpl-1")),
        (
            "gen_ai.response.finish_reasons",
            texts(&["tool_calls", "stop"]),
        ),
        (
            "gen_ai.response.time_to_first_chunk",
            Any::DoubleValue(0.25),
        ),
        ("gen_ai.request.stream", Any::BoolValue(true)),
        ("gen_ai.usage.input_tokens", Any::IntValue(1200)),
        ("gen_ai.usage.output_tokens", Any::IntValue(300)),
        ("gen_ai.usage.cache_read.input_tokens", Any::IntValue(1000)),
        ("gen_ai.usage.cache_write.input_tokens", Any::IntValue(100)),
        ("gen_ai.usage.reasoning.output_tokens", Any::IntValue(200)),
        ("gen_ai.conversation.id", text("talk")),
    ]);
    assert_eq!(
        present,
        UsageEvent {
            ts: tidemark_event::Micros(1_748_779_200_000_000),
            request_id: "chatcmpl-1".into(),
            session_id: "talk".into(),
            app: "my-shop".into(),
            streamed: true,
            model_requested: "gpt-4o".into(),
            model: "gpt-4o-2024-08-06".into(),
            provider: "openai".into(),
            prompt_tokens: 1200,
            cached_tokens: 1000,
            cache_write_tokens: 100,
            completion_tokens: 300,
            reasoning_tokens: 200,
            ttft_us: Some(250_000),
            latency_us: 2_500_000,
            generation_us: Some(2_250_000),
            finish_reason: "tool_calls".into(),
            native_finish_reason: "tool_calls".into(),
            source: "ingest:otlp".into(),
            ..UsageEvent::default()
        }
    );
    let older = event(&[
        ("gen_ai.system", text("openai")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.response.model", text("gpt-4o-2024-08-06")),
        ("gen_ai.response.id", text("chatcmpl-1")),
        ("gen_ai.response.finish_reasons", text("[\"tool_calls\"]")),
        (
            "gen_ai.response.time_to_first_chunk",
            Any::DoubleValue(0.25),
        ),
        ("llm.is_streaming", text("True")),
        ("gen_ai.usage.prompt_tokens", Any::IntValue(1200)),
        ("gen_ai.usage.completion_tokens", Any::IntValue(300)),
        ("gen_ai.usage.cache_read_input_tokens", Any::IntValue(1000)),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            Any::IntValue(100),
        ),
        ("llm.usage.reasoning_tokens", Any::IntValue(200)),
        ("session.id", text("talk")),
    ]);
    assert_eq!(older, present);
    // Whichever comes first, the newest name counts.
    for names in [
        ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"],
        ["gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"],
    ] {
        let mut stated = vec![("gen_ai.operation.name", text("chat"))];
        stated.extend(names.map(|name| {
            (
                name,
                Any::IntValue(if name.contains("input") { 5 } else { 7 }),
            )
        }));
        assert_eq!(event(&stated).prompt_tokens, 5);
    }
}

#[test]
fn only_requests_to_a_model_count() {
    let used = ("gen_ai.usage.input_tokens", Any::IntValue(10));
    for (operation, counted_as) in [
        ("chat", Some("chat")),
        ("text_completion", Some("text_completion")),
        ("generate_content", Some("generate_content")),
        ("embeddings", Some("embeddings")),
        ("acompletion", Some("chat")),
        ("aembedding", Some("embeddings")),
        ("invoke_agent", None),
        ("create_agent", None),
        ("execute_tool", None),
        ("invoke_workflow", None),
        ("retrieval", None),
        ("something_new", None),
    ] {
        let became = only(&[
            ("gen_ai.operation.name", text(operation)),
            ("gen_ai.provider.name", text("openai")),
            ("gen_ai.request.model", text("gpt-4o")),
            used.clone(),
        ]);
        assert_eq!(
            became.map(|event| event.unwrap().0.operation),
            counted_as.map(str::to_owned),
            "{operation}"
        );
    }
    assert!(only(&[("http.request.method", text("POST"))]).is_none());
    assert!(only(&[("traceloop.span.kind", text("workflow")), used.clone()]).is_none());
    // The router has counted what it answered.
    let chat = ("gen_ai.operation.name", text("chat"));
    let routed = "gen-01890a5d-ac96-774b-bcce-b302099a8057";
    assert!(only(&[chat.clone(), ("gen_ai.response.id", text(routed))]).is_none());
    assert!(only(&[chat, ("gen_ai.response.id", text("gen-1748779200-abc"))]).is_some());
}

#[test]
fn errors_have_the_status_they_stand_for() {
    for (stated, outcome, status) in [
        ("RateLimitError", "error", 429),
        ("openai.BadRequestError", "error", 400),
        ("litellm.exceptions.ServiceUnavailableError", "error", 503),
        ("APITimeoutError", "error", 504),
        ("500", "error", 500),
        ("asyncio.exceptions.CancelledError", "cancelled", 499),
        ("APIConnectionError", "error", 0),
        ("what the user said", "error", 0),
    ] {
        let mut failed = span(&[
            ("gen_ai.operation.name", text("chat")),
            ("error.type", text(stated)),
        ]);
        failed.status = Some(message::Status {
            message: CANARY.to_owned(),
            code: 2,
        });
        let event = both(&request(vec![failed])).remove(0).unwrap().unwrap().0;
        assert_eq!(
            (event.outcome.as_str(), event.status),
            (outcome, status),
            "{stated}"
        );
        assert!(!event.error_type.is_empty() && !event.error_type.contains(' '));
    }
}

#[test]
fn costs_as_litellm_states_them() {
    let chat = ("gen_ai.operation.name", text("chat"));
    let (event, stated) = only(&[
        chat.clone(),
        ("gen_ai.cost.input_cost", Any::DoubleValue(0.000_25)),
        ("gen_ai.cost.output_cost", Any::DoubleValue(0.000_1)),
        ("gen_ai.cost.total_cost", Any::DoubleValue(0.000_35)),
    ])
    .unwrap()
    .unwrap();
    assert!(stated);
    assert_eq!(
        [
            event.cost_nanousd,
            event.cost_prompt_nanousd,
            event.cost_completion_nanousd
        ],
        [350_000, 250_000, 100_000]
    );
    assert!(!only(&[chat]).unwrap().unwrap().1);
}

#[test]
fn a_request_that_cannot_be_counted_says_why() {
    let chat = ("gen_ai.operation.name", text("chat"));
    let why = |span: message::Span| both(&request(vec![span])).remove(0).unwrap().unwrap_err();
    let good = || span(std::slice::from_ref(&chat));
    let without_ids = message::Span {
        trace_id: vec![1; 15],
        ..good()
    };
    assert_eq!(why(without_ids).1, "no valid trace id and span id");
    let without_time = message::Span {
        start_time_unix_nano: 0,
        ..good()
    };
    assert_eq!(why(without_time), (Some("ts"), "no start time"));
    let backwards = message::Span {
        end_time_unix_nano: START - 1,
        ..good()
    };
    assert_eq!(why(backwards).1, "it ends before it begins");
    let wrong_type = span(&[chat, ("gen_ai.usage.input_tokens", text("many"))]);
    assert_eq!(
        why(wrong_type),
        (Some("prompt_tokens"), "not a whole number")
    );
}

#[test]
fn json_by_hand() {
    // Numbers where the mapping has texts, names where it has numbers, nulls, and fields that are not known.
    let body = r#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[{"traceId":"0102030405060708090A0B0C0D0E0F10","spanId":"0102030405060708",
        "startTimeUnixNano":1748779200000000000,"endTimeUnixNano":"1748779201000000000","status":{"code":"STATUS_CODE_ERROR"},"new":{"a":[1]},
        "attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":12}},
        {"key":"gen_ai.usage.output_tokens","value":{"doubleValue":3.0}},{"key":"gen_ai.request.model","value":{}},{"key":"x","value":null}]}],"schemaUrl":""}]}, {}]}"#;
    let event = read(Encoding::Json, body.as_bytes())
        .unwrap()
        .remove(0)
        .unwrap()
        .unwrap()
        .0;
    assert_eq!(
        (
            event.prompt_tokens,
            event.completion_tokens,
            event.latency_us
        ),
        (12, 3, 1_000_000)
    );
    assert_eq!(event.outcome, "error");
    assert_eq!(
        event.request_id,
        "0102030405060708090a0b0c0d0e0f10-0102030405060708"
    );
    for bad in [
        "",
        "[]",
        "null",
        "{",
        r#"{"resourceSpans":{}}"#,
        r#"{"resourceSpans":[1]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":-1}]}]}]}"#,
    ] {
        assert_eq!(read(Encoding::Json, bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(read(Encoding::Json, b"{}").unwrap().len(), 0);
    assert_eq!(
        read(
            Encoding::Json,
            b"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"\xFF\"}]}]}]}"
        ),
        None
    );
}

#[test]
fn answers_are_what_their_readers_expect() {
    let body = protobuf::answer(3, "span 2: no start time");
    let read = ExportTraceServiceResponse::decode(&*body)
        .unwrap()
        .partial_success
        .unwrap();
    assert_eq!(
        (read.rejected_spans, read.error_message.as_str()),
        (3, "span 2: no start time")
    );
    assert!(
        ExportTraceServiceResponse::decode(&*protobuf::answer(0, ""))
            .unwrap()
            .partial_success
            .is_none()
    );
    // google.rpc.Status: a number and a text, as an AnyValue-like pair of fields.
    assert_eq!(protobuf::status(14, "no"), [8, 14, 18, 2, b'n', b'o']);
}

fn sample() -> Vec<u8> {
    request(vec![
        span(&[
            ("gen_ai.operation.name", text("chat")),
            ("gen_ai.usage.input_tokens", Any::IntValue(i64::MAX)),
            ("gen_ai.response.finish_reasons", texts(&["stop"])),
        ]);
        3
    ])
    .encode_to_vec()
}

#[test]
fn a_cut_body_is_refused_unless_it_ends_between_messages() {
    let body = sample();
    for end in 1..body.len() {
        // The library reads the same cut bodies as we do.
        let ours = read(Encoding::Protobuf, &body[..end]).is_some();
        assert_eq!(
            ours,
            ExportTraceServiceRequest::decode(&body[..end]).is_ok(),
            "{end}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(Encoding::Protobuf, &body);
        read(Encoding::Json, &body);
    }

    #[test]
    fn damage_is_read_or_refused(at in 0usize..700, byte: u8, bit in 0u8..8) {
        let mut body = sample();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        read(Encoding::Protobuf, &body);
        let request = ExportTraceServiceRequest::decode(&*sample()).unwrap();
        let mut json = serde_json::to_vec(&request).unwrap();
        let at = at % json.len();
        json[at] = byte;
        read(Encoding::Json, &json);
    }
}
