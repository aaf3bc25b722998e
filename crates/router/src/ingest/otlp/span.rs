//! One span as one usage event, if it is a request to a model.

use super::Span;
use super::attributes::{Fact, Facts};
use crate::ingest::TooMany;
use crate::ingest::batch::{Batch, Fault};
use crate::ingest::names::plain;
use tidemark_event::{EventId, Micros, UsageEvent};

/// What events of spans carry in `source`.
const SOURCE: &str = "ingest:otlp";

/// Takes a span if it is a request; says why not if it is one and cannot be counted.
pub(super) fn take(
    number: u64,
    span: &Span<'_>,
    resource: &Facts<'_>,
    batch: &mut Batch<'_>,
) -> Result<(), TooMany> {
    match became(span, resource) {
        None => Ok(()),
        Some(Ok((event, costs_stated))) => batch.push(number, event, costs_stated),
        Some(Err((field, message))) => {
            batch.refuse(Fault {
                place: number,
                field,
                message: message.into(),
            });
            Ok(())
        }
    }
}

/// A field, where it is one's fault, and what is wrong.
type Objection = (Option<&'static str>, &'static str);

/// What a span is: nothing that counts, an event, with whether its cost is stated, or a request that cannot be counted.
pub(super) fn became(
    span: &Span<'_>,
    resource: &Facts<'_>,
) -> Option<Result<(UsageEvent, bool), Objection>> {
    Some(event(span, resource, operation(&span.facts)?))
}

/// What a request asks for, by the conventions' name. None for agents, tools, workflows and everything else that only
/// surrounds requests, for spans that say nothing of a model, and for requests that a Tidemark router has answered: those
/// it has counted itself.
fn operation(facts: &Facts<'_>) -> Option<&'static str> {
    if is_routed(facts.text(Fact::ResponseId)) {
        return None;
    }
    Some(match facts.text(Fact::Operation) {
        "chat" => "chat",
        "text_completion" => "text_completion",
        "generate_content" => "generate_content",
        "embeddings" => "embeddings",
        // LiteLLM's types of calls, and OpenLLMetry's.
        "completion" | "acompletion" | "responses" | "aresponses" | "anthropic_messages" => "chat",
        "atext_completion" => "text_completion",
        "agenerate_content" | "generate_content_stream" | "agenerate_content_stream" => {
            "generate_content"
        }
        "embedding" | "aembedding" => "embeddings",
        "" if is_early(facts) => "chat",
        _ => return None,
    })
}

/// Early conventions had no operation: what names a provider, a model and tokens is a request.
fn is_early(facts: &Facts<'_>) -> bool {
    let named = |fact| !facts.text(fact).is_empty();
    let counted = |fact| !matches!(facts.count(fact), Ok(None));
    named(Fact::Provider)
        && (named(Fact::Model) || named(Fact::ModelAsked))
        && (counted(Fact::Prompt) || counted(Fact::Completion))
}

/// `gen-` and a UUIDv7: the id of an answer of a Tidemark router.
fn is_routed(response_id: &str) -> bool {
    response_id
        .strip_prefix("gen-")
        .and_then(|id| id.parse::<EventId>().ok())
        .is_some_and(|id| id.0[6] >> 4 == 7)
}

/// The event, and whether the span states what it cost.
fn event(
    span: &Span<'_>,
    resource: &Facts<'_>,
    operation: &str,
) -> Result<(UsageEvent, bool), Objection> {
    let facts = &span.facts;
    if span.trace_id == [0; 16] || span.span_id == [0; 8] {
        return Err((None, "no valid trace id and span id"));
    }
    if span.start == 0 {
        return Err((Some("ts"), "no start time"));
    }
    let Some(took) = span.end.checked_sub(span.start) else {
        return Err((Some("latency_us"), "it ends before it begins"));
    };
    let micros = |nanos: u64| i64::try_from(nanos / 1000).unwrap_or(i64::MAX);
    let count = |fact, field| {
        facts
            .count(fact)
            .map_err(|()| (Some(field), "not a whole number"))
    };
    let prompt = count(Fact::Prompt, "prompt_tokens")?;
    let completion = count(Fact::Completion, "completion_tokens")?;
    let ttft_us = facts.parts(Fact::FirstChunk, 1e6);
    let latency_us = micros(took);
    let (outcome, status, error_type) = end(span);
    let mut event = UsageEvent {
        ts: Micros(micros(span.start)),
        event_id: facts.text(Fact::EventId).parse().unwrap_or_default(),
        request_id: match plain(facts.text(Fact::ResponseId)) {
            Some(id) => id.to_owned(),
            None => format!("{}-{}", hex(&span.trace_id), hex(&span.span_id)),
        },
        session_id: facts.text(Fact::Conversation).to_owned(),
        account_id: facts.text(Fact::Account).to_owned(),
        app: service(resource),
        operation: operation.to_owned(),
        streamed: facts.flag(Fact::Streamed) || ttft_us.is_some(),
        model_requested: facts.text(Fact::ModelAsked).to_owned(),
        model: facts.text(Fact::Model).to_owned(),
        provider: facts.text(Fact::Provider).to_owned(),
        prompt_tokens: prompt.unwrap_or(0),
        cached_tokens: count(Fact::Cached, "cached_tokens")?.unwrap_or(0),
        cache_write_tokens: count(Fact::CacheWrite, "cache_write_tokens")?.unwrap_or(0),
        completion_tokens: completion.unwrap_or(0),
        reasoning_tokens: count(Fact::Reasoning, "reasoning_tokens")?.unwrap_or(0),
        ttft_us,
        latency_us,
        generation_us: ttft_us.map(|first| latency_us.saturating_sub(first).max(0)),
        outcome: outcome.to_owned(),
        status,
        error_type,
        cancelled: outcome == "cancelled",
        simulated: facts.flag(Fact::Simulated) || resource.flag(Fact::Simulated),
        source: SOURCE.to_owned(),
        ..UsageEvent::default()
    };
    if prompt.is_none() && completion.is_none() {
        "estimated".clone_into(&mut event.usage_source);
    }
    finish(facts.text(Fact::Finish), &mut event);
    let costs_stated = cost(facts, &mut event);
    Ok((event, costs_stated))
}

/// Why the answer ended. LiteLLM writes the list as the text of a JSON list.
fn finish(stated: &str, event: &mut UsageEvent) {
    let list: Vec<String> = serde_json::from_str(stated).unwrap_or_default();
    let native = list.first().map_or(stated, String::as_str);
    event.finish_reason = match native.to_ascii_lowercase().as_str() {
        "stop" | "end_turn" | "stop_sequence" | "completed" | "complete" => "stop",
        "length" | "max_tokens" | "incomplete" => "length",
        "tool_calls" | "tool_call" | "tool_use" | "function_call" => "tool_calls",
        "content_filter" | "safety" | "refusal" => "content_filter",
        "error" | "failed" => "error",
        _ => "",
    }
    .to_owned();
    event.native_finish_reason = plain(native).unwrap_or_default().to_owned();
    event.truncated = event.finish_reason == "length";
    if native.eq_ignore_ascii_case("refusal") {
        "declined".clone_into(&mut event.refusal);
    } else if event.finish_reason == "content_filter" {
        "filtered".clone_into(&mut event.refusal);
    }
}

/// Outcome, status and class of error. Clients' SDKs name errors after their classes; the status they stand for is known.
fn end(span: &Span<'_>) -> (&'static str, i32, String) {
    let stated = span.facts.text(Fact::ErrorType);
    let status = span.facts.count(Fact::Status).ok().flatten();
    if !span.failed && stated.is_empty() {
        return ("ok", 200, String::new());
    }
    let class = stated.rsplit(['.', ':']).next().unwrap_or_default();
    let class = class.strip_suffix("Error").unwrap_or(class);
    let known = match class {
        "BadRequest" | "ContextWindowExceeded" | "ContentPolicyViolation" => 400,
        "Authentication" => 401,
        "PermissionDenied" => 403,
        "NotFound" => 404,
        "Conflict" => 409,
        "UnprocessableEntity" => 422,
        "RateLimit" => 429,
        "Cancelled" | "GeneratorExit" => 499,
        "InternalServer" => 500,
        "ServiceUnavailable" => 503,
        "APITimeout" | "Timeout" | "timeout" => 504,
        // Zero is a failure without an answer.
        number => number.parse().unwrap_or(0),
    };
    let status = status
        .and_then(|status| i32::try_from(status).ok())
        .unwrap_or(known);
    let outcome = if known == 499 { "cancelled" } else { "error" };
    (outcome, status, plain(stated).unwrap_or("other").to_owned())
}

/// Dollars as stated. What is not prompt or completion is something else.
fn cost(facts: &Facts<'_>, event: &mut UsageEvent) -> bool {
    let nanousd = |fact| facts.parts(fact, 1e9);
    let Some(total) = nanousd(Fact::Cost) else {
        return false;
    };
    event.cost_nanousd = total;
    let prompt = nanousd(Fact::CostPrompt).unwrap_or(0);
    let completion = nanousd(Fact::CostCompletion).unwrap_or(0);
    if prompt.saturating_add(completion) <= total {
        event.cost_prompt_nanousd = prompt;
        event.cost_completion_nanousd = completion;
    }
    true
}

/// The service's name, unless its SDK made it up.
fn service(resource: &Facts<'_>) -> String {
    let name = resource.text(Fact::Service);
    if name.starts_with("unknown_service") {
        return String::new();
    }
    crate::entrance::slug(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
