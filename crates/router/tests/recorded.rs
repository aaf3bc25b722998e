//! Recorded exchanges of real providers through the adapters, cut at random bytes, against a plain reading of the same
//! recording that shares no code with them.
//!
//! The recordings lie in `../shared/data` (or `TIDEMARK_SHARED_DATA`) and are not part of the project: without them the tests
//! say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and figures are for people"
)]

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use tidemark_router::adapters::{Dialect, adapter};
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::judge::tools::Offered;
use tidemark_router::piece::{Piece, Usage};
use tidemark_router::sse::{Event, Parser};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("TIDEMARK_SHARED_DATA").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into(),
        PathBuf::from,
    );
    let there = folder.is_dir();
    if !there {
        eprintln!("skipped: there are no recordings in {}", folder.display());
    }
    there.then_some(folder)
}

fn ask(operation: Operation, stream: bool) -> Ask {
    Ask {
        operation,
        model: String::new(),
        stream,
        include_usage: true,
        body: Map::new(),
        messages_body: None,
        session: String::new(),
        offered: Offered::default(),
    }
}

/// What an answer came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    prompt: u64,
    cached: u64,
    completion: u64,
    finish: String,
    calls: Vec<(String, String)>,
    failed: bool,
}

fn sum(pieces: &[Piece]) -> Sum {
    let mut sum = Sum::default();
    let mut calls: BTreeMap<u32, (String, String)> = BTreeMap::new();
    for piece in pieces {
        match piece {
            Piece::Usage(Usage {
                prompt,
                cached,
                completion,
                ..
            }) => (sum.prompt, sum.cached, sum.completion) = (*prompt, *cached, *completion),
            Piece::Finish { native, .. } => sum.finish.clone_from(native),
            Piece::ToolCall {
                index,
                name,
                arguments,
                ..
            } => {
                let call = calls.entry(*index).or_default();
                call.0.push_str(name.as_deref().unwrap_or_default());
                call.1.push_str(arguments);
            }
            Piece::Failed(_) => sum.failed = true,
            _ => {}
        }
    }
    sum.calls = calls
        .into_values()
        .map(|(name, arguments)| (name, parsed(&arguments)))
        .collect();
    sum
}

/// Arguments as JSON where they are, so that blanks do not matter.
fn parsed(arguments: &str) -> String {
    serde_json::from_str::<Value>(if arguments.is_empty() {
        "{}"
    } else {
        arguments
    })
    .map_or_else(|_| arguments.to_owned(), |value| value.to_string())
}

fn n(value: &Value, path: &[&str]) -> u64 {
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .and_then(Value::as_u64)
        .unwrap_or(0)
}

fn s<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The objects of a stream, read line by line.
fn lines(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| line.trim_end().strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data.trim()).ok())
        .collect()
}

/// Plain readings, whole bodies being streams of one object.
fn plain(dialect: Dialect, objects: &[Value]) -> Sum {
    match dialect {
        Dialect::Openai | Dialect::OpenaiCompatible => plain_openai(objects),
        Dialect::Anthropic => plain_anthropic(objects),
        Dialect::Gemini => plain_gemini(objects),
    }
}

fn plain_openai(objects: &[Value]) -> Sum {
    let mut sum = Sum::default();
    let mut calls: Vec<(String, String, String)> = Vec::new();
    for object in objects {
        for usage in [&object["x_groq"]["usage"], &object["usage"]] {
            if usage.is_object() {
                sum.prompt = n(usage, &["prompt_tokens"]);
                sum.completion = n(usage, &["completion_tokens"]);
                sum.cached = n(usage, &["prompt_tokens_details", "cached_tokens"])
                    .max(n(usage, &["prompt_cache_hit_tokens"]))
                    .max(n(usage, &["cached_tokens"]));
                let reasoning = n(usage, &["completion_tokens_details", "reasoning_tokens"]);
                if reasoning > 0
                    && n(usage, &["total_tokens"]) == sum.prompt + sum.completion + reasoning
                {
                    sum.completion += reasoning;
                }
            }
        }
        let choice = &object["choices"][0];
        if !s(choice, &["finish_reason"]).is_empty() {
            sum.finish = s(choice, &["finish_reason"]).to_owned();
        }
        let said = if choice["message"].is_object() {
            &choice["message"]
        } else {
            &choice["delta"]
        };
        for call in said["tool_calls"].as_array().into_iter().flatten() {
            let (id, name) = (s(call, &["id"]), s(call, &["function", "name"]));
            // A part belongs to the call of its id; without one, to the last.
            let known = calls
                .iter()
                .rposition(|(known, ..)| known == id)
                .or_else(|| (id.is_empty() && !calls.is_empty()).then(|| calls.len() - 1));
            let at = known.unwrap_or_else(|| {
                calls.push((id.to_owned(), name.to_owned(), String::new()));
                calls.len() - 1
            });
            calls[at].2.push_str(s(call, &["function", "arguments"]));
        }
        sum.failed |= object["error"].is_object();
    }
    sum.calls = calls
        .into_iter()
        .map(|(_, name, arguments)| (name, parsed(&arguments)))
        .collect();
    sum
}

fn plain_anthropic(objects: &[Value]) -> Sum {
    let mut sum = Sum::default();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for object in objects {
        let message = if object["type"] == "message" {
            object
        } else {
            &object["message"]
        };
        for usage in [&message["usage"], &object["usage"]] {
            for name in [
                "input_tokens",
                "cache_read_input_tokens",
                "cache_creation_input_tokens",
                "output_tokens",
            ] {
                if let Some(count) = usage[name].as_u64() {
                    counts.insert(name, count);
                }
            }
        }
        for stop in [
            s(message, &["stop_reason"]),
            s(object, &["delta", "stop_reason"]),
        ] {
            if !stop.is_empty() {
                sum.finish = stop.to_owned();
            }
        }
        for (at, block) in message["content"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            if block["type"] == "tool_use" {
                calls.insert(
                    at as u64,
                    (s(block, &["name"]).to_owned(), block["input"].to_string()),
                );
            }
        }
        let at = n(object, &["index"]);
        if object["content_block"]["type"] == "tool_use" {
            calls.insert(
                at,
                (
                    s(object, &["content_block", "name"]).to_owned(),
                    String::new(),
                ),
            );
        }
        if let (Some(call), Some(part)) =
            (calls.get_mut(&at), object["delta"]["partial_json"].as_str())
        {
            call.1.push_str(part);
        }
        sum.failed |= object["type"] == "error";
    }
    let count = |name| counts.get(name).copied().unwrap_or(0);
    sum.cached = count("cache_read_input_tokens");
    sum.prompt = count("input_tokens") + sum.cached + count("cache_creation_input_tokens");
    sum.completion = count("output_tokens");
    sum.calls = calls
        .into_values()
        .map(|(name, arguments)| (name, parsed(&arguments)))
        .collect();
    sum
}

fn plain_gemini(objects: &[Value]) -> Sum {
    let mut sum = Sum::default();
    for object in objects {
        let usage = &object["usageMetadata"];
        if usage.is_object() {
            sum.prompt = n(usage, &["promptTokenCount"]) + n(usage, &["toolUsePromptTokenCount"]);
            sum.cached = n(usage, &["cachedContentTokenCount"]);
            sum.completion =
                n(usage, &["candidatesTokenCount"]) + n(usage, &["thoughtsTokenCount"]);
        }
        let candidate = &object["candidates"][0];
        for reason in [
            s(object, &["promptFeedback", "blockReason"]),
            s(candidate, &["finishReason"]),
        ] {
            if !reason.is_empty() {
                sum.finish = reason.to_owned();
            }
        }
        for part in candidate["content"]["parts"]
            .as_array()
            .into_iter()
            .flatten()
        {
            if part["functionCall"].is_object() {
                let arguments = &part["functionCall"]["args"];
                sum.calls.push((
                    s(part, &["functionCall", "name"]).to_owned(),
                    if arguments.is_null() {
                        "{}".to_owned()
                    } else {
                        arguments.to_string()
                    },
                ));
            }
        }
        sum.failed |= object["error"].is_object();
    }
    sum
}

/// Through parser and adapter, cut at `cuts`.
fn streamed(dialect: Dialect, body: &[u8], cuts: &[usize]) -> Result<(Vec<Piece>, bool), String> {
    let mut decoder = adapter(dialect).stream();
    let (mut parser, mut events, mut pieces, mut from) =
        (Parser::new(64 << 20), Vec::new(), Vec::new(), 0);
    for cut in cuts.iter().copied().chain([body.len()]) {
        parser
            .push(&body[from..cut], &mut events)
            .map_err(|error| error.to_string())?;
        from = cut;
    }
    parser
        .finish(&mut events)
        .map_err(|error| error.to_string())?;
    for event in &events {
        decoder
            .event(event, &mut pieces)
            .map_err(|error| error.to_string())?;
    }
    Ok((pieces, decoder.at_end()))
}

/// The dialect of a recording, or why it is not claimed.
fn claimed(host: &str, path: &str) -> Result<Dialect, &'static str> {
    if host.starts_with("demo-endpoints") {
        Err("an endpoint made to answer wrongly")
    } else if path.contains("/responses") {
        Err("OpenAI Responses API")
    } else if host.starts_with("bedrock") {
        Err("Amazon Bedrock")
    } else if path.ends_with("/chat/completions") {
        Ok(if host == "api.openai.com" {
            Dialect::Openai
        } else {
            Dialect::OpenaiCompatible
        })
    } else if path.ends_with("/v1/messages") {
        Ok(Dialect::Anthropic)
    } else if path.contains(":generateContent") || path.contains(":streamGenerateContent") {
        Ok(Dialect::Gemini)
    } else {
        Err("another API")
    }
}

#[test]
fn recorded_answers_are_read_right_wherever_they_are_cut() {
    let Some(folder) = data() else { return };
    let file = std::fs::File::open(folder.join("sse/pydantic_ai/exchanges.jsonl.gz")).unwrap();
    let mut rng = SmallRng::seed_from_u64(20_261_123);
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let (mut wrong, mut errors) = (Vec::new(), 0);
    for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
        let exchange: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (host, path) = (s(&exchange, &["host"]), s(&exchange, &["path"]));
        let said = |name: &str| {
            exchange[name] == true || s(&exchange, &[name]).eq_ignore_ascii_case("true")
        };
        let status: u16 = exchange["status"].as_u64().map_or_else(
            || s(&exchange, &["status"]).parse().unwrap_or(0),
            |status| status as u16,
        );
        let body = s(&exchange, &["body"]);
        let dialect = match claimed(host, path) {
            Ok(dialect) => dialect,
            Err(why) => {
                counts.entry(format!("not claimed: {why}")).or_default().0 += 1;
                continue;
            }
        };
        if said("body_base64") || body.is_empty() {
            counts
                .entry("not claimed: no text recorded".into())
                .or_default()
                .0 += 1;
            continue;
        }
        if status != 200 {
            let error = adapter(dialect).error(status, body.as_bytes());
            assert!(
                error.status == status && !error.message.is_empty() && error.message.len() <= 1200
            );
            errors += 1;
            continue;
        }
        let stream = said("sse");
        let label = format!("{dialect:?} {}", if stream { "streams" } else { "whole" });
        let entry = counts.entry(label).or_default();
        entry.0 += 1;
        let outcome = if stream {
            let expected = plain(dialect, &lines(body));
            (0..8).try_for_each(|round| {
                let mut cuts: Vec<usize> = (0..round * 4)
                    .map(|_| rng.random_range(0..=body.len()))
                    .collect();
                cuts.sort_unstable();
                let (pieces, complete) = streamed(dialect, body.as_bytes(), &cuts)?;
                let mut found = sum(&pieces);
                // A chunk that fails says nothing else to us; the plain reading goes on.
                if found.failed {
                    found.finish.clone_from(&expected.finish);
                }
                if found != expected {
                    Err(format!("found {found:?}, expected {expected:?}"))
                } else if !complete && !found.failed {
                    Err("not complete".to_owned())
                } else {
                    Ok(())
                }
            })
        } else {
            let object: Value = serde_json::from_str(body).unwrap_or_default();
            let expected = plain(dialect, std::slice::from_ref(&object));
            adapter(dialect)
                .reply(&ask(Operation::Chat, false), body.as_bytes())
                .map_err(|error| error.to_string())
                .and_then(|pieces| {
                    let found = sum(&pieces);
                    if found == expected {
                        Ok(())
                    } else {
                        Err(format!("found {found:?}, expected {expected:?}"))
                    }
                })
        };
        match outcome {
            Ok(()) => entry.1 += 1,
            Err(why) => wrong.push(format!(
                "{} #{} {host}{path}: {why}",
                s(&exchange, &["file"]),
                exchange["i"]
            )),
        }
    }
    for (label, (all, right)) in &counts {
        eprintln!(
            "{label}: {all}{}",
            if label.starts_with("not") {
                String::new()
            } else {
                format!(", {right} right")
            }
        );
    }
    eprintln!("errors classified: {errors}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

proptest! {
    #[test]
    fn no_bytes_make_an_adapter_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), json in "\\{\"(choices|candidates|content|usage|error|type|delta)\":[\\[\\]{}0-9a-z\",:]{0,60}\\}", status in 0_u16..700) {
        for dialect in [Dialect::Openai, Dialect::OpenaiCompatible, Dialect::Anthropic, Dialect::Gemini] {
            for body in [&bytes[..], json.as_bytes()] {
                let adapter = adapter(dialect);
                adapter.reply(&ask(Operation::Chat, false), body).ok();
                adapter.reply(&ask(Operation::Embeddings, false), body).ok();
                adapter.error(status, body);
                let mut decoder = adapter.stream();
                decoder.event(&Event { name: String::new(), data: body.to_vec().into() }, &mut Vec::new()).ok();
                decoder.at_end();
            }
        }
    }
}
