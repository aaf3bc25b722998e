//! The OpenAI chat API, as OpenAI serves it and as everybody else does, and embeddings.

use super::answer::{Answer, Finish, Said, Tokens, split};
use super::ask::{Ask, Choice, Format, Measure};
use super::dialect::Tongue;
use super::fault::{Fault, Kind, malformed};
use super::frames::{Frames, quoted};
use super::words::id;
use serde::Deserialize;
use serde_json::{Value, json};

/// Both kinds of OpenAI's chat API.
pub(super) struct Openai {
    /// OpenAI itself: thinking is hidden, `refusal` is always there.
    pub(super) original: bool,
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    tools: Option<Vec<RawTool>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<Value>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    reasoning_effort: Option<String>,
    reasoning: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Measure,
    #[serde(default)]
    tool_calls: Measure,
}

#[derive(Deserialize)]
struct RawTool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Value,
}

impl Tongue for Openai {
    fn read(&self, body: &[u8], _path_model: Option<&str>) -> Result<Ask, Fault> {
        let body: Body = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        let missing = |param| Fault {
            param: Some(param),
            ..Fault::bad(format!("Missing required parameter: '{param}'."))
        };
        let mut ask = Ask {
            model: body.model.ok_or_else(|| missing("model"))?,
            stream: body.stream.unwrap_or(false),
            include_usage: body
                .stream_options
                .and_then(|options| options.include_usage)
                .unwrap_or(false),
            choice: choice(body.tool_choice.as_ref())?,
            parallel: body.parallel_tool_calls.unwrap_or(true),
            max_tokens: body.max_completion_tokens.or(body.max_tokens),
            format: format(body.response_format.as_ref())?,
            thinking: match body.reasoning_effort.as_deref() {
                Some("none") => Some(false),
                _ if body.reasoning.as_ref().is_some_and(off) => Some(false),
                _ => None,
            },
            show_thinking: !self.original,
            ..Ask::default()
        };
        for tool in body.tools.into_iter().flatten() {
            let Function {
                name,
                description,
                parameters,
            } = tool.function;
            ask.tool(name, description.as_deref().unwrap_or_default(), parameters);
        }
        let messages = body.messages.ok_or_else(|| missing("messages"))?;
        if messages.is_empty() {
            return Err(Fault {
                param: Some("messages"),
                ..Fault::bad(
                    "Invalid 'messages': empty array. Expected an array with minimum length 1.",
                )
            });
        }
        for message in messages {
            ask.turn(&message.role, &[&message.content, &message.tool_calls]);
            ask.after_tool = message.role == "tool";
            if message.role == "user" {
                ask.words = message.content.words;
            }
        }
        Ok(ask)
    }

    fn has_refusals(&self) -> bool {
        true
    }

    fn id(&self, answer: &Answer) -> String {
        answer.id("chatcmpl-", if self.original { 29 } else { 32 })
    }

    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let text = match &answer.said {
            Said::Words(_) | Said::Text(_) => json!(answer.text()),
            _ => Value::Null,
        };
        let mut message = json!({ "role": "assistant", "content": text });
        match &answer.said {
            Said::Refusal(refusal) => message["refusal"] = json!(refusal),
            Said::Calls(calls) => {
                message["tool_calls"] = calls
                    .iter()
                    .map(|call| {
                        json!({
                            "id": id("call_", call.salt, 24),
                            "type": "function",
                            "function": { "name": call.name, "arguments": call.arguments },
                        })
                    })
                    .collect();
            }
            _ => {}
        }
        if self.original {
            let object = message.as_object_mut();
            if let Some(object) = object {
                object.entry("refusal").or_insert(Value::Null);
                object.insert("annotations".to_owned(), json!([]));
            }
        } else if answer.usage.reasoning > 0 {
            message["reasoning_content"] = json!(answer.thinking());
        }
        let mut body = json!({
            "id": self.id(answer),
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.model,
            "choices": [{
                "index": 0,
                "message": message,
                "logprobs": null,
                "finish_reason": finish(answer.finish),
            }],
            "system_fingerprint": fingerprint(&answer.model),
        });
        if self.original {
            body["service_tier"] = json!("default");
        }
        if answer.tell_usage {
            body["usage"] = self.usage(&answer.usage);
        }
        body.to_string().into_bytes()
    }

    fn stream(&self, answer: &Answer, include_usage: bool) -> Frames {
        let mut frames = Frames::default();
        let tier = if self.original {
            "\"service_tier\":\"default\","
        } else {
            ""
        };
        let head = format!(
            "data: {{\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},{tier}\"system_fingerprint\":\"{}\",\"choices\":[",
            self.id(answer),
            answer.created,
            quoted(&answer.model),
            fingerprint(&answer.model),
        );
        let include_usage = include_usage && answer.tell_usage;
        let tail = if include_usage {
            "],\"usage\":null}\n\n"
        } else {
            "]}\n\n"
        };
        let open = format!("{head}{{\"index\":0,\"delta\":{{");
        let close = format!("}},\"logprobs\":null,\"finish_reason\":null}}{tail}");
        let hidden = if self.original {
            u32::try_from(answer.usage.reasoning).unwrap_or(u32::MAX)
        } else {
            0
        };
        let first = match answer.said {
            Said::Calls(_) | Said::Malformed => "\"role\":\"assistant\",\"content\":null",
            _ if self.original => "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null",
            _ => "\"role\":\"assistant\",\"content\":\"\"",
        };
        frames.mark(hidden, false, |out| {
            for part in [open.as_str(), first, close.as_str()] {
                out.extend_from_slice(part.as_bytes());
            }
        });
        if !self.original {
            let before = format!("{open}\"content\":null,\"reasoning_content\":\"");
            let after = format!("\"{close}");
            answer.thoughts(|piece, tokens| frames.delta(&before, piece, &after, tokens));
        }
        let field = match answer.said {
            Said::Refusal(_) => "refusal",
            _ => "content",
        };
        let before = format!("{open}\"{field}\":\"");
        let after = format!("\"{close}");
        answer.pieces(|piece, tokens| frames.delta(&before, piece, &after, tokens));
        if let Said::Calls(calls) = &answer.said {
            for (index, call) in calls.iter().enumerate() {
                let begin = format!(
                    "{open}\"tool_calls\":[{{\"index\":{index},\"id\":\"{}\",\"type\":\"function\",\"function\":{{\"name\":\"",
                    id("call_", call.salt, 24)
                );
                let end = format!("\",\"arguments\":\"\"}}}}]{close}");
                let tokens = super::answer::tokens_of(&call.name);
                frames.delta(
                    &begin,
                    &call.name,
                    &end,
                    u32::try_from(tokens).unwrap_or(u32::MAX),
                );
                let begin = format!(
                    "{open}\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":\""
                );
                let end = format!("\"}}}}]{close}");
                split(&call.arguments, answer.tokens_per_chunk, |piece, tokens| {
                    frames.delta(&begin, piece, &end, tokens);
                });
            }
        }
        frames.note(&format!(
            "{open}}},\"logprobs\":null,\"finish_reason\":\"{}\"}}{tail}",
            finish(answer.finish)
        ));
        if include_usage {
            frames.note(&format!(
                "{head}],\"usage\":{}}}\n\n",
                self.usage(&answer.usage)
            ));
        }
        frames.note("data: [DONE]\n\n");
        frames
    }

    fn error(&self, fault: &Fault) -> Vec<u8> {
        self.error_value(fault).to_string().into_bytes()
    }

    fn stream_error(&self, fault: &Fault) -> String {
        format!("data: {}\n\n", self.error_value(fault))
    }
}

impl Openai {
    fn usage(&self, usage: &Tokens) -> Value {
        let mut out = json!({
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
            "prompt_tokens_details": { "cached_tokens": usage.cached },
            "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
        });
        if self.original {
            out["prompt_tokens_details"]["audio_tokens"] = json!(0);
            for field in [
                "audio_tokens",
                "accepted_prediction_tokens",
                "rejected_prediction_tokens",
            ] {
                out["completion_tokens_details"][field] = json!(0);
            }
        }
        out
    }

    fn error_value(&self, fault: &Fault) -> Value {
        let (kind, code) = match (fault.kind, fault.status) {
            (Kind::NoModel, _) => ("invalid_request_error", Some("model_not_found")),
            (Kind::Context, _) => ("invalid_request_error", Some("context_length_exceeded")),
            (Kind::Filter, _) => ("invalid_request_error", Some("content_filter")),
            (Kind::Plain, 401) => ("invalid_request_error", Some("invalid_api_key")),
            (Kind::Plain, 402) => ("insufficient_quota", Some("insufficient_quota")),
            (Kind::Plain, 429) => ("requests", Some("rate_limit_exceeded")),
            (Kind::Plain, 400..=499) => ("invalid_request_error", None),
            (Kind::Plain, 503) => ("server_error", Some("server_overloaded")),
            (Kind::Plain, _) => ("server_error", None),
        };
        json!({ "error": {
            "message": fault.message,
            "type": kind,
            "param": fault.param,
            "code": code,
        }})
    }
}

fn fingerprint(model: &str) -> String {
    format!(
        "fp_{:010x}",
        xxhash_rust::xxh64::xxh64(model.as_bytes(), 0) >> 24
    )
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Refusal | Finish::Malformed => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Filter => "content_filter",
    }
}

fn off(reasoning: &Value) -> bool {
    reasoning.get("enabled") == Some(&json!(false))
        || reasoning.get("effort").and_then(Value::as_str) == Some("none")
}

fn choice(value: Option<&Value>) -> Result<Choice, Fault> {
    let wrong = || Fault {
        param: Some("tool_choice"),
        ..Fault::bad("Invalid value for 'tool_choice'.")
    };
    match value {
        None | Some(Value::Null) => Ok(Choice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" | "any" => Ok(Choice::Required),
            _ => Err(wrong()),
        },
        Some(object) => object
            .pointer("/function/name")
            .and_then(Value::as_str)
            .map(|name| Choice::Named(name.to_owned()))
            .ok_or_else(wrong),
    }
}

fn format(value: Option<&Value>) -> Result<Format, Fault> {
    let kind = value
        .and_then(|value| value.get("type"))
        .and_then(Value::as_str);
    match kind {
        None | Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Json),
        Some("json_schema") => value
            .and_then(|value| value.pointer("/json_schema/schema"))
            .map(|schema| Format::Schema(schema.clone()))
            .ok_or_else(|| Fault {
                param: Some("response_format.json_schema"),
                ..Fault::bad("Missing required parameter: 'response_format.json_schema.schema'.")
            }),
        Some(_) => Err(Fault {
            param: Some("response_format.type"),
            ..Fault::bad("Invalid value for 'response_format.type'.")
        }),
    }
}
