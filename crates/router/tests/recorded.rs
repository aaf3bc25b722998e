//! Adapters against exchanges that others recorded: streams cut anywhere, whole bodies, published prices, errors, and noise.
//!
//! The recordings lie beside the project (`../shared/data`, or `TIDEMARK_SHARED_DATA`); without them these tests say so and
//! pass. What is compared with the adapters is read here a second time, from the JSON, with none of their code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

use flate2::read::GzDecoder;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tidemark_router::adapters::{Decoder, Dialect, Garbage, Target, adapter};
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::judge::tools::Offered;
use tidemark_router::piece::{ErrorKind, FinishReason, Piece, Usage};
use tidemark_router::sse::{Event, Parser};

const ALL: [Dialect; 4] = [
    Dialect::OpenaiCompatible,
    Dialect::Openai,
    Dialect::Anthropic,
    Dialect::Gemini,
];

fn data(under: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TIDEMARK_SHARED_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(under);
    if !path.exists() {
        eprintln!("skipped: {under} is not beside the project");
        return None;
    }
    Some(path)
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn ask(operation: Operation, body: Value) -> Ask {
    Ask {
        operation,
        model: "author/model".to_owned(),
        stream: false,
        include_usage: false,
        body: body.as_object().cloned().unwrap_or_default(),
        messages_body: None,
        session: String::new(),
        offered: Offered::default(),
    }
}

// What is read, both ways.

/// What matters of an answer.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    text: String,
    thought: String,
    declined: bool,
    /// Name and arguments.
    calls: Vec<(String, Value)>,
    /// The provider's word.
    finish: String,
    /// prompt, cached, cache write, completion, reasoning.
    tokens: Option<[u64; 5]>,
    failed: bool,
}

/// Of the adapter's pieces.
fn of_pieces(pieces: &[Piece]) -> Reading {
    let mut out = Reading::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Start { .. } => {}
            Piece::Text(text) => out.text.push_str(text),
            Piece::Reasoning { text, .. } => out.thought.push_str(text),
            Piece::Declined(_) => out.declined = true,
            Piece::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let index = *index as usize;
                assert!(index <= calls.len(), "a call's index is left out");
                if index == calls.len() {
                    assert!(
                        id.as_ref().is_some_and(|id| !id.is_empty()),
                        "the first part of a call has no id"
                    );
                    calls.push((String::new(), String::new()));
                }
                calls[index].0.push_str(name.as_deref().unwrap_or_default());
                calls[index].1.push_str(arguments);
            }
            Piece::Finish { native, reason } => {
                out.finish.clone_from(native);
                if *reason == FinishReason::Stop {
                    assert!(calls.is_empty(), "a stop after tool calls");
                }
            }
            Piece::Usage(u) => {
                out.tokens = Some([u.prompt, u.cached, u.cache_write, u.completion, u.reasoning])
            }
            Piece::Failed(error) => {
                assert!(!error.message.is_empty());
                out.failed = true;
            }
        }
    }
    out.calls = calls
        .into_iter()
        .map(|(name, arguments)| (name, parsed(&arguments)))
        .collect();
    out
}

fn parsed(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()))
}

fn count(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

fn string<'a>(value: &'a Value, path: &str) -> &'a str {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Of the documents of an OpenAI answer.
fn of_openai(documents: &[Value]) -> Reading {
    let mut out = Reading::default();
    let mut calls: Vec<(Value, String, String)> = Vec::new();
    for document in documents {
        let usage = [
            document.pointer("/usage"),
            document.pointer("/x_groq/usage"),
            document.pointer("/choices/0/usage"),
        ];
        if let Some(u) = usage.into_iter().flatten().find(|u| u.is_object()) {
            let (prompt, mut completion, total) = (
                count(u, "/prompt_tokens"),
                count(u, "/completion_tokens"),
                count(u, "/total_tokens"),
            );
            let reasoning = count(u, "/completion_tokens_details/reasoning_tokens");
            if reasoning > 0 && (reasoning > completion || total == prompt + completion + reasoning)
            {
                completion += reasoning;
            }
            let places = [
                "/prompt_tokens_details/cached_tokens",
                "/prompt_cache_hit_tokens",
                "/cached_tokens",
                "/num_cached_tokens",
            ];
            let cached = places.iter().map(|p| count(u, p)).max().unwrap();
            // One gateway says of one recorded answer that the same tokens were written and read: parts of a prompt do not overlap.
            let written =
                count(u, "/prompt_tokens_details/cache_write_tokens").min(prompt - cached);
            out.tokens = Some([prompt, cached, written, completion, reasoning]);
        }
        out.failed |= document.get("error").is_some_and(|e| !e.is_null());
        let Some(choice) = document.pointer("/choices/0") else {
            continue;
        };
        for place in ["/native_finish_reason", "/finish_reason"] {
            if !string(choice, place).is_empty() {
                out.finish = string(choice, place).to_owned();
                break;
            }
        }
        let Some(delta) = choice
            .get("delta")
            .filter(|d| d.is_object())
            .or(choice.get("message"))
        else {
            continue;
        };
        let thought = string(delta, "/reasoning");
        out.thought.push_str(if thought.is_empty() {
            string(delta, "/reasoning_content")
        } else {
            thought
        });
        out.text.push_str(string(delta, "/content"));
        for part in delta
            .get("content")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            out.text.push_str(string(part, "/text"));
            for thought in part
                .get("thinking")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                out.thought.push_str(string(thought, "/text"));
            }
        }
        out.declined |= !string(delta, "/refusal").is_empty();
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let key = if call["index"].is_null() {
                call["id"].clone()
            } else {
                call["index"].clone()
            };
            let at = calls.iter().position(|c| c.0 == key).unwrap_or_else(|| {
                calls.push((key, String::new(), String::new()));
                calls.len() - 1
            });
            calls[at].1.push_str(string(call, "/function/name"));
            match &call["function"]["arguments"] {
                Value::String(text) => calls[at].2.push_str(text),
                Value::Null => {}
                other => calls[at].2.push_str(&other.to_string()),
            }
        }
    }
    out.calls = calls
        .into_iter()
        .map(|(_, name, arguments)| (name, parsed(&arguments)))
        .collect();
    out
}

/// Of the documents of an Anthropic answer.
fn of_anthropic(documents: &[Value]) -> Reading {
    let mut out = Reading::default();
    let mut usage = Map::new();
    let mut open: BTreeMap<u64, (usize, String)> = BTreeMap::new();
    let take = |usage: &mut Map<String, Value>, from: Option<&Value>| {
        for (key, value) in from.and_then(Value::as_object).into_iter().flatten() {
            if !value.is_null() {
                usage.insert(key.clone(), value.clone());
            }
        }
    };
    for document in documents {
        let index = count(document, "/index");
        match string(document, "/type") {
            "message_start" => take(&mut usage, document.pointer("/message/usage")),
            "content_block_start" => {
                out.text.push_str(string(document, "/content_block/text"));
                out.thought
                    .push_str(string(document, "/content_block/thinking"));
                if string(document, "/content_block/type") == "tool_use" {
                    open.insert(index, (out.calls.len(), String::new()));
                    out.calls.push((
                        string(document, "/content_block/name").to_owned(),
                        document["content_block"]["input"].clone(),
                    ));
                }
            }
            "content_block_delta" => {
                out.text.push_str(string(document, "/delta/text"));
                out.thought.push_str(string(document, "/delta/thinking"));
                if let Some((at, text)) = open.get_mut(&index) {
                    text.push_str(string(document, "/delta/partial_json"));
                    if !text.is_empty() {
                        out.calls[*at].1 = parsed(text);
                    }
                }
            }
            "message_delta" => {
                take(&mut usage, document.get("usage"));
                string(document, "/delta/stop_reason").clone_into(&mut out.finish);
            }
            "message" => {
                take(&mut usage, document.get("usage"));
                string(document, "/stop_reason").clone_into(&mut out.finish);
                for block in document["content"].as_array().into_iter().flatten() {
                    match string(block, "/type") {
                        "text" => out.text.push_str(string(block, "/text")),
                        "thinking" => out.thought.push_str(string(block, "/thinking")),
                        "tool_use" => out
                            .calls
                            .push((string(block, "/name").to_owned(), block["input"].clone())),
                        _ => {}
                    }
                }
            }
            "error" => out.failed = true,
            _ => {}
        }
    }
    out.declined = out.finish == "refusal";
    if !usage.is_empty() {
        let usage = Value::Object(usage);
        let (read, write) = (
            count(&usage, "/cache_read_input_tokens"),
            count(&usage, "/cache_creation_input_tokens"),
        );
        let thinking = count(&usage, "/output_tokens_details/thinking_tokens");
        out.tokens = Some([
            count(&usage, "/input_tokens") + read + write,
            read,
            write,
            count(&usage, "/output_tokens"),
            thinking,
        ]);
    }
    out
}

/// Of the documents of a Gemini answer.
fn of_gemini(documents: &[Value]) -> Reading {
    let mut out = Reading::default();
    for document in documents {
        out.failed |= document.get("error").is_some();
        let u = &document["usageMetadata"];
        if u["promptTokenCount"].is_u64() || u["candidatesTokenCount"].is_u64() {
            let thoughts = count(u, "/thoughtsTokenCount");
            let prompt = count(u, "/promptTokenCount") + count(u, "/toolUsePromptTokenCount");
            out.tokens = Some([
                prompt,
                count(u, "/cachedContentTokenCount"),
                0,
                count(u, "/candidatesTokenCount") + thoughts,
                thoughts,
            ]);
        }
        for place in ["/candidates/0/finishReason", "/promptFeedback/blockReason"] {
            if !string(document, place).is_empty() {
                string(document, place).clone_into(&mut out.finish);
            }
        }
        for part in document
            .pointer("/candidates/0/content/parts")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(call) = part.get("functionCall") {
                let args = call.get("args").cloned().unwrap_or_else(|| json!({}));
                out.calls.push((string(call, "/name").to_owned(), args));
            } else if part["thought"] == true {
                out.thought.push_str(string(part, "/text"));
            } else {
                out.text.push_str(string(part, "/text"));
            }
        }
    }
    out
}

fn independent(dialect: Dialect, documents: &[Value]) -> Reading {
    match dialect {
        Dialect::OpenaiCompatible | Dialect::Openai => of_openai(documents),
        Dialect::Anthropic => of_anthropic(documents),
        Dialect::Gemini => of_gemini(documents),
    }
}

/// The documents of a stream, line by line.
fn documents(stream: &str) -> Vec<Value> {
    let lines = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim);
    lines
        .filter(|data| *data != "[DONE]" && !data.is_empty())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn decode(dialect: Dialect, parts: &[&[u8]]) -> Result<(Vec<Piece>, bool), Garbage> {
    let (mut parser, mut decoder) = (Parser::new(8 << 20), adapter(dialect).stream());
    let (mut events, mut pieces) = (Vec::new(), Vec::new());
    for part in parts {
        parser.push(part, &mut events).unwrap();
        for event in events.drain(..) {
            decoder.event(&event, &mut pieces)?;
        }
    }
    parser.finish(&mut events).unwrap();
    for event in events.drain(..) {
        decoder.event(&event, &mut pieces)?;
    }
    Ok((pieces, decoder.at_end()))
}

/// Decodes whole and cut in many ways; all must agree.
fn decode_cut(dialect: Dialect, stream: &str) -> Result<(Vec<Piece>, bool), Garbage> {
    let bytes = stream.as_bytes();
    let whole = decode(dialect, &[bytes]);
    for (seed, longest) in [1, 3, 17, 300, 5000, 70_000].into_iter().enumerate() {
        let mut random = StdRng::seed_from_u64(seed as u64);
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (part, tail) = rest.split_at(random.random_range(1..=longest).min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        assert_eq!(decode(dialect, &parts), whole, "cuts matter (seed {seed})");
    }
    whole
}

// Counting.

#[derive(Default)]
struct Tally(BTreeMap<String, (u32, u32)>, Vec<String>);

impl Tally {
    fn claimed(&mut self, group: &str, name: &str, problem: Option<String>) {
        let entry = self.0.entry(group.to_owned()).or_default();
        entry.0 += 1;
        match problem {
            None => entry.1 += 1,
            Some(problem) => self.1.push(format!("{name}: {problem}")),
        }
    }

    fn left(&mut self, reason: &str) {
        self.0
            .entry(format!("not claimed: {reason}"))
            .or_default()
            .0 += 1;
    }

    fn report(&self, title: &str) {
        let claimed = self.0.iter().filter(|g| !g.0.starts_with("not claimed"));
        let (all, passed) = claimed.fold((0, 0), |a, g| (a.0 + g.1.0, a.1 + g.1.1));
        eprintln!("{title}: {passed} of {all} claimed are equal");
        for (group, (all, passed)) in &self.0 {
            if group.starts_with("not claimed") {
                eprintln!("  {all:5}       {group}");
            } else {
                eprintln!("  {passed:5}/{all:<5} {group}");
            }
        }
        assert!(
            self.1.is_empty(),
            "{} of the claimed differ:\n{}",
            self.1.len(),
            self.1.join("\n")
        );
    }
}

fn differs(adapter: &Reading, independent: &Reading) -> Option<String> {
    (adapter != independent)
        .then(|| format!("\n  adapter     {adapter:?}\n  independent {independent:?}"))
}

fn compare(dialect: Dialect, stream: &str) -> Option<String> {
    let want = independent(dialect, &documents(stream));
    match decode_cut(dialect, stream) {
        Err(garbage) => Some(garbage.to_string()),
        Ok((_, false)) => Some("not complete".to_owned()),
        Ok((pieces, true)) => differs(&of_pieces(&pieces), &want),
    }
}

fn compare_body(dialect: Dialect, body: &str) -> Option<String> {
    let want = independent(dialect, &[serde_json::from_str(body).unwrap()]);
    match adapter(dialect).reply(&ask(Operation::Chat, json!({})), body.as_bytes()) {
        Err(garbage) => Some(garbage.to_string()),
        Ok(pieces) => differs(&of_pieces(&pieces), &want),
    }
}

// Pydantic's recordings.

struct Exchange {
    name: String,
    dialect: Result<Dialect, &'static str>,
    host: String,
    status: u16,
    sse: bool,
    body: String,
}

fn exchanges() -> Option<Vec<Exchange>> {
    let text = gunzip(&data("sse/pydantic_ai/exchanges.jsonl.gz")?);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let (host, path) = (
            string(&line, "/host"),
            string(&line, "/path").split('?').next().unwrap(),
        );
        let dialect = if line["llm_api"] != true {
            Err("no model answers there (files, batches, lists)")
        } else if path.ends_with("/chat/completions") {
            match host {
                "api.openai.com" => Ok(Dialect::Openai),
                "demo-endpoints.pydantic.workers.dev" => {
                    Err("a test server that answers with no chat answer on purpose")
                }
                _ => Ok(Dialect::OpenaiCompatible),
            }
        } else if path.ends_with("/v1/messages") {
            Ok(Dialect::Anthropic)
        } else if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") {
            Ok(Dialect::Gemini)
        } else if path.contains("/responses") {
            Err("OpenAI Responses API")
        } else if host.starts_with("bedrock") || path.contains("/bedrock/") {
            Err("Bedrock (converse, invoke, binary event frames)")
        } else if path.ends_with("count_tokens") {
            Err("Anthropic's token counting")
        } else if host.contains("cohere") {
            Err("Cohere v2")
        } else {
            Err("another API of a provider")
        };
        Exchange {
            name: format!("{} #{}", string(&line, "/file"), line["i"]),
            dialect,
            host: host.to_owned(),
            status: u16::try_from(line["status"].as_u64().unwrap()).unwrap(),
            sse: line["sse"] == true,
            body: line["body"].as_str().unwrap_or_default().to_owned(),
        }
    };
    Some(text.lines().map(read).collect())
}

#[test]
fn recorded_streams() {
    let Some(exchanges) = exchanges() else { return };
    let mut tally = Tally::default();
    for e in exchanges.iter().filter(|e| e.status == 200 && e.sse) {
        match e.dialect {
            Ok(dialect) => tally.claimed(
                &format!("{dialect:?} {}", e.host),
                &e.name,
                compare(dialect, &e.body),
            ),
            Err(reason) => tally.left(reason),
        }
    }
    tally.report("pydantic_ai, streams");
}

#[test]
fn recorded_bodies() {
    let Some(exchanges) = exchanges() else { return };
    let mut tally = Tally::default();
    for e in exchanges.iter().filter(|e| e.status == 200 && !e.sse) {
        match e.dialect {
            Ok(dialect) => tally.claimed(
                &format!("{dialect:?} {}", e.host),
                &e.name,
                compare_body(dialect, &e.body),
            ),
            Err(reason) => tally.left(reason),
        }
    }
    tally.report("pydantic_ai, whole bodies");
}

#[test]
fn recorded_errors() {
    let Some(exchanges) = exchanges() else { return };
    let mut tally = Tally::default();
    for e in exchanges.iter().filter(|e| e.status >= 400) {
        for dialect in ALL {
            let error = adapter(dialect).error(e.status, e.body.as_bytes());
            assert!(
                !error.message.is_empty()
                    && error.message.chars().count() <= 300
                    && error.status == e.status
            );
        }
        let Ok(dialect) = e.dialect else {
            tally.left("error of an API that is not claimed");
            continue;
        };
        let error = adapter(dialect).error(e.status, e.body.as_bytes());
        let want = match e.status {
            404 => ErrorKind::NotFound,
            429 => ErrorKind::RateLimited,
            400 if e.body.contains("tool_use_failed") => ErrorKind::Server,
            _ => ErrorKind::InvalidRequest,
        };
        let problem = (error.kind != want)
            .then(|| format!("{:?} instead of {want:?}: {}", error.kind, error.message));
        tally.claimed(
            &format!("{dialect:?} {} {} -> {}", e.host, e.status, want.as_str()),
            &e.name,
            problem,
        );
    }
    tally.report("pydantic_ai, errors");
}

// Vercel's fixtures.

fn files(under: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out)
        } else {
            out.push(path)
        }
    }
}

/// What an answer is, from its looks.
fn looks(first: &Value, text: &str) -> Result<(Dialect, Operation), &'static str> {
    let kind = string(first, "/type");
    if first.pointer("/choices/0/text").is_some() && first.pointer("/choices/0/delta").is_none() {
        Err("OpenAI's old completions")
    } else if first["choices"].is_array() {
        Ok((Dialect::OpenaiCompatible, Operation::Chat))
    } else if kind == "message_start" || kind == "message" {
        Ok((Dialect::Anthropic, Operation::Chat))
    } else if text.contains("\"partialArgs\"") {
        Err("Vertex's streamed arguments, which are never asked for")
    } else if first["candidates"].is_array() {
        Ok((Dialect::Gemini, Operation::Chat))
    } else if first.pointer("/data/0/embedding").is_some()
        && first["usage"]["prompt_tokens"].is_u64()
    {
        Ok((Dialect::OpenaiCompatible, Operation::Embeddings))
    } else if kind.starts_with("response.") || first["object"] == "response" {
        Err("OpenAI Responses API")
    } else {
        Err(
            "another API (Bedrock, Cohere, images, speech, reranking, skills, interactions) or an error",
        )
    }
}

#[test]
fn fixtures() {
    let Some(root) = data("sse/vercel_ai/packages") else {
        return;
    };
    let (mut paths, mut streams, mut bodies) = (Vec::new(), Tally::default(), Tally::default());
    files(&root, &mut paths);
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let package = name.split('/').next().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        if name.ends_with(".json") {
            let Ok(body) = serde_json::from_str::<Value>(&text) else {
                bodies.left("not JSON");
                continue;
            };
            match looks(&body, &text) {
                Ok((_, Operation::Embeddings)) => {
                    let pieces = adapter(Dialect::Openai)
                        .reply(&ask(Operation::Embeddings, json!({})), text.as_bytes())
                        .unwrap();
                    let want = Piece::Usage(Usage {
                        prompt: count(&body, "/usage/prompt_tokens"),
                        ..Usage::default()
                    });
                    bodies.claimed(
                        &format!("embeddings {package}"),
                        &name,
                        (pieces.last() != Some(&want)).then(|| format!("{pieces:?}")),
                    );
                }
                Ok((dialect, _)) => bodies.claimed(
                    &format!("{dialect:?} {package}"),
                    &name,
                    compare_body(dialect, &text),
                ),
                Err(reason) => bodies.left(reason),
            }
            continue;
        }
        let stream = if name.ends_with(".sse") {
            text
        } else {
            text.lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| format!("data: {line}\r\n\r\n"))
                .collect()
        };
        let Some(first) = stream
            .lines()
            .find_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        else {
            streams.left("not JSON");
            continue;
        };
        match looks(&first, &stream) {
            Ok((dialect, _)) if name.ends_with("spliced-message-start.chunks.txt") => {
                let problem = decode_cut(dialect, &stream)
                    .is_ok()
                    .then(|| "two answers in one were taken for one".to_owned());
                streams.claimed(
                    "Anthropic anthropic: two answers in one, refused",
                    &name,
                    problem,
                );
            }
            // Some files hold several turns, one after the other: each is an answer of its own.
            Ok((dialect, _)) => {
                for answer in stream.split_inclusive("data: {\"type\":\"message_stop\"}\r\n\r\n") {
                    streams.claimed(
                        &format!("{dialect:?} {package}"),
                        &name,
                        compare(dialect, answer),
                    );
                }
            }
            Err(reason) => streams.left(reason),
        }
    }
    streams.report("vercel_ai, streams");
    bodies.report("vercel_ai, whole bodies");
}

// Published prices.

/// The day the published prices are of; prices that begin later are not in force.
const PRICED_ON: &str = "2026-07-01";

/// A decimal number times 10^18.
fn exact(text: &str) -> i128 {
    let (digits, exponent) = text
        .split_once(['e', 'E'])
        .map_or((text, 0_i32), |(digits, e)| (digits, e.parse().unwrap()));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = 18 + exponent - i32::try_from(fraction.len()).unwrap();
    format!("{whole}{fraction}").parse::<i128>().unwrap()
        * 10_i128.pow(u32::try_from(places).unwrap())
}

/// A price per token, times 10^18, in the tier of the prompt's size.
fn price(prices: &Value, key: &str, prompt: u64) -> Option<i128> {
    let value = prices.get(key)?;
    let number = match value.get("tiers").and_then(Value::as_array) {
        None => value,
        Some(tiers) => tiers
            .iter()
            .rev()
            .find(|t| prompt > count(t, "/start"))
            .map_or(&value["base"], |t| &t["price"]),
    };
    Some(exact(&number.to_string()) / 1_000_000)
}

fn priced(prices: &Value, usage: Usage) -> (i128, i128) {
    let of = |key: &str| price(prices, key, usage.prompt);
    let (mut input, mut rest) = (0, i128::from(usage.prompt));
    for (key, tokens) in [
        ("cache_read_mtok", usage.cached),
        ("cache_write_mtok", usage.cache_write),
        ("input_audio_mtok", usage.audio_prompt),
    ] {
        if let Some(price) = of(key) {
            input += price * i128::from(tokens);
            rest -= i128::from(tokens);
        }
    }
    input += of("input_mtok").unwrap_or(0) * rest;
    let (mut output, mut rest) = (0, i128::from(usage.completion));
    if let Some(price) = of("output_audio_mtok") {
        output += price * i128::from(usage.audio_completion);
        rest -= i128::from(usage.audio_completion);
    }
    (input, output + of("output_mtok").unwrap_or(0) * rest)
}

fn matches(rule: &Value, model: &str) -> bool {
    let (kind, value) = rule.as_object().unwrap().iter().next().unwrap();
    let word = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "or" => value
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| matches(rule, model)),
        "and" => value
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| matches(rule, model)),
        "equals" => model == word,
        "starts_with" => model.starts_with(word),
        "ends_with" => model.ends_with(word),
        "contains" => model.contains(word),
        // The few there are: literal text, then digits.
        "regex" => {
            let (literal, digits) = word
                .strip_prefix('^')
                .unwrap()
                .split_once("\\d")
                .unwrap_or_else(|| panic!("{word}"));
            let Some(tail) = model.strip_prefix(&literal.replace("\\.", ".")) else {
                return false;
            };
            match digits {
                "{8}$" => tail.len() == 8 && tail.bytes().all(|b| b.is_ascii_digit()),
                "" => tail.starts_with(|c: char| c.is_ascii_digit()),
                _ => panic!("{word}"),
            }
        }
        _ => panic!("{kind}"),
    }
}

fn prices<'a>(providers: &'a [Value], provider: &str, model: &str) -> Option<&'a Value> {
    let provider = providers.iter().find(|p| p["id"] == provider)?;
    let found = provider["models"]
        .as_array()?
        .iter()
        .find(|m| matches(&m["match"], model));
    let Some(found) = found else {
        let fallbacks = provider
            .get("fallback_model_providers")
            .and_then(Value::as_array);
        return fallbacks
            .into_iter()
            .flatten()
            .find_map(|p| prices(providers, p.as_str()?, model));
    };
    let Some(list) = found["prices"].as_array() else {
        return Some(&found["prices"]);
    };
    let in_force = |entry: &&Value| match entry
        .pointer("/constraint/start_date")
        .and_then(Value::as_str)
    {
        Some(date) => date <= PRICED_ON,
        // No constraint, or a time of day: published in the dear hours, which stand last.
        None => true,
    };
    list.iter()
        .rev()
        .find(in_force)
        .map(|entry| &entry["prices"])
}

#[test]
fn published_prices() {
    let (Some(usages), Some(list)) = (
        data("usage_bodies/usages.json.gz"),
        data("usage_bodies/data.json"),
    ) else {
        return;
    };
    let usages: Vec<Value> = serde_json::from_str(&gunzip(&usages)).unwrap();
    let providers: Vec<Value> = serde_json::from_str(&fs::read_to_string(list).unwrap()).unwrap();
    let mut tally = Tally::default();
    let mut claimed_bodies = 0;
    for usage in &usages {
        let body = &usage["body"];
        let model = string(usage, "/model").to_lowercase();
        let mut claimed_body = false;
        for extracted in usage["extracted"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|e| e["extractors"].as_array().unwrap())
        {
            let (provider, flavor) = (
                string(extracted, "/provider_id"),
                string(extracted, "/api_flavor"),
            );
            let (dialect, reply) = match (provider, flavor) {
                _ if extracted.get("input_price").is_none() => {
                    tally.left("no published price");
                    continue;
                }
                (_, "responses") => {
                    tally.left("OpenAI Responses API");
                    continue;
                }
                ("aws", "default") | ("cohere", _) => {
                    tally.left("Bedrock converse, Cohere");
                    continue;
                }
                ("google", "default") => (
                    Dialect::Gemini,
                    json!({"candidates": [{"finishReason": "STOP"}], "usageMetadata": body["usageMetadata"]}),
                ),
                (_, "anthropic") | ("anthropic" | "minimax", "default") => (
                    Dialect::Anthropic,
                    json!({"type": "message", "content": [], "usage": body["usage"]}),
                ),
                (_, "embeddings") => (
                    Dialect::Openai,
                    json!({"data": [{"embedding": []}], "usage": body["usage"]}),
                ),
                ("openai" | "azure", _) => (
                    Dialect::Openai,
                    json!({"choices": [{"message": {}}], "usage": body["usage"]}),
                ),
                _ => (
                    Dialect::OpenaiCompatible,
                    json!({"choices": [{"message": {}}], "usage": body["usage"]}),
                ),
            };
            let Some(prices) = prices(&providers, provider, &model) else {
                tally.left("data.json has no price for the model");
                continue;
            };
            if dialect == Dialect::Gemini && model.contains("-image") {
                tally.left("image models: data.json has one output price where the published ones have two");
                continue;
            }
            // Two gaps, both known: what is priced beside them is compared.
            if provider == "azure"
                && flavor == "chat"
                && count(body, "/usage/prompt_tokens_details/cache_write_tokens") > 0
            {
                tally.left(
                    "OpenAI's counts of cache writes, which the published Azure price leaves out",
                );
                continue;
            }
            let in_cache = body
                .pointer("/usageMetadata/cacheTokensDetails")
                .and_then(Value::as_array);
            if in_cache
                .into_iter()
                .flatten()
                .any(|detail| detail["modality"] == "AUDIO")
            {
                tally.left("Gemini audio read from the cache: `Usage` has no count for it");
                continue;
            }
            let operation = if flavor == "embeddings" {
                Operation::Embeddings
            } else {
                Operation::Chat
            };
            let pieces = adapter(dialect)
                .reply(&ask(operation, json!({})), reply.to_string().as_bytes())
                .unwrap();
            let found = pieces.iter().rev().find_map(|p| {
                if let Piece::Usage(usage) = p {
                    Some(*usage)
                } else {
                    None
                }
            });
            let mut found = found.unwrap_or_default();
            if operation == Operation::Embeddings {
                found = Usage {
                    prompt: found.prompt,
                    ..Usage::default()
                };
            }
            claimed_body = true;
            let (input, output) = priced(prices, found);
            let published = (
                exact(string(extracted, "/input_price")),
                extracted["output_price"].as_str().map_or(0, exact),
            );
            let problem = ((input, output) != published)
                .then(|| format!("{input}+{output} instead of {published:?} for {body}"));
            let group = if provider.starts_with("huggingface") {
                "huggingface"
            } else {
                provider
            };
            tally.claimed(
                &format!("{dialect:?} {group}/{flavor}"),
                &format!("{provider}/{flavor} {model}"),
                problem,
            );
        }
        claimed_bodies += u32::from(claimed_body);
    }
    eprintln!(
        "genai-prices: {} bodies, {claimed_bodies} of them claimed",
        usages.len()
    );
    tally.report("genai-prices, prices");
}

// Noise.

fn everything(bytes: &[u8], status: u16) {
    for dialect in ALL {
        let adapter = adapter(dialect);
        for operation in [Operation::Chat, Operation::Embeddings] {
            for piece in adapter
                .reply(&ask(operation, json!({})), bytes)
                .unwrap_or_default()
            {
                // An event whose parts exceed their whole would be turned away.
                if let Piece::Usage(u) = piece {
                    assert!(u.cached + u.cache_write <= u.prompt && u.reasoning <= u.completion);
                    assert!(u.image_prompt + u.audio_prompt + u.video_prompt <= u.prompt);
                    assert!(u.image_completion + u.audio_completion <= u.completion);
                }
            }
        }
        let error = adapter.error(status, bytes);
        assert!(!error.message.is_empty() && error.message.chars().count() <= 300);
        let _ = decode(dialect, &[bytes]);
        let mut decoder: Box<dyn Decoder> = adapter.stream();
        for part in bytes.split(|b| *b == b'\n') {
            let _ = decoder.event(
                &Event {
                    name: "error".to_owned(),
                    data: part.to_vec().into(),
                },
                &mut Vec::new(),
            );
        }
    }
}

/// JSON of the words the dialects use, in every wrong place.
fn jumble() -> impl Strategy<Value = Value> {
    const WORDS: &str = "choices delta message tool_calls function name arguments id index content usage prompt_tokens \
        completion_tokens error code type message_start content_block content_block_start content_block_delta tool_use message_delta \
        stop_reason candidates parts text functionCall args finishReason usageMetadata promptTokenCount cachedContentTokenCount \
        prompt_tokens_details image_tokens audio_tokens cached_tokens cache_write_tokens input_tokens output_tokens messages role tool assistant \
        image_url tools reasoning response_format details retryDelay data:image/png;base64,A";
    let word = prop::sample::select(WORDS.split_whitespace().collect::<Vec<_>>());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..50).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let pairs = prop::collection::vec((word.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            pairs.prop_map(|pairs| Value::Object(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), status in any::<u16>()) {
        everything(&bytes, status);
    }

    #[test]
    fn no_json_causes_a_panic(value in jumble(), status in any::<u16>(), cut in 0_usize..400) {
        let text = value.to_string();
        everything(text.as_bytes(), status);
        everything(format!("data: {text}\n\ndata: {text}\n\n").as_bytes(), status);
        everything(&text.as_bytes()[..cut.min(text.len())], status);
    }

    #[test]
    fn no_request_causes_a_panic(value in jumble(), messages in jumble(), message in jumble()) {
        let mut asked = ask(Operation::Chat, value);
        asked.stream = true;
        for messages in [messages, json!([message.clone(), {"role": "assistant", "tool_calls": message, "content": [message]}])] {
            asked.body.insert("messages".to_owned(), messages);
            for dialect in ALL {
                for key in ["", "key", "bad\nkey"] {
                    let _ = adapter(dialect).request(&asked, Target { model: "gemini-3", max_output: 0, key });
                }
            }
        }
    }
}
