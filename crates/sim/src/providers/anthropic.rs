//! The Anthropic messages API.

use super::answer::{Answer, Finish, Said, Tokens, split};
use super::ask::{Ask, Choice, Format, Measure};
use super::dialect::Tongue;
use super::fault::{Fault, Kind, malformed};
use super::frames::{Frames, quoted};
use super::words::id;
use serde::Deserialize;
use serde_json::{Value, json};

/// The Anthropic messages API.
pub(super) struct Anthropic;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    #[serde(default)]
    system: Measure,
    max_tokens: Option<u32>,
    stream: Option<bool>,
    tools: Option<Vec<RawTool>>,
    tool_choice: Option<RawChoice>,
    thinking: Option<Thinking>,
    output_config: Option<Value>,
    output_format: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Measure,
}

#[derive(Deserialize)]
struct RawTool {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    input_schema: Value,
}

#[derive(Deserialize)]
struct RawChoice {
    r#type: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
struct Thinking {
    r#type: String,
}

impl Tongue for Anthropic {
    fn read(&self, body: &[u8], _path_model: Option<&str>) -> Result<Ask, Fault> {
        let body: Body = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        let missing = |field: &str| Fault::bad(format!("{field}: Field required"));
        let choice = body.tool_choice;
        let schema = body
            .output_config
            .as_ref()
            .and_then(|config| config.get("format"))
            .or(body.output_format.as_ref())
            .and_then(|format| format.get("schema"));
        let thinks = body
            .thinking
            .is_some_and(|thinking| thinking.r#type != "disabled");
        let mut ask = Ask {
            model: body.model.ok_or_else(|| missing("model"))?,
            stream: body.stream.unwrap_or(false),
            max_tokens: Some(body.max_tokens.ok_or_else(|| missing("max_tokens"))?),
            // Without being asked to, it does not think.
            thinking: Some(thinks),
            format: schema.map_or(Format::Text, |schema| Format::Schema(schema.clone())),
            ..Ask::default()
        };
        if let Some(choice) = choice {
            ask.parallel = choice.disable_parallel_tool_use != Some(true);
            ask.choice = match (choice.r#type.as_str(), choice.name) {
                ("auto", _) => Choice::Auto,
                ("none", _) => Choice::None,
                ("any", _) => Choice::Required,
                ("tool", Some(name)) => Choice::Named(name),
                _ => {
                    return Err(Fault::bad(
                        "tool_choice: Input should be auto, any, tool or none",
                    ));
                }
            };
        }
        for tool in body.tools.into_iter().flatten() {
            ask.tool(
                tool.name,
                tool.description.as_deref().unwrap_or_default(),
                tool.input_schema,
            );
        }
        if body.system.chars > 0 {
            ask.turn("system", &[&body.system]);
        }
        let messages = body.messages.ok_or_else(|| missing("messages"))?;
        if messages.is_empty() {
            return Err(Fault::bad("messages: at least one message is required"));
        }
        for message in messages {
            ask.turn(&message.role, &[&message.content]);
            ask.after_tool = message.content.tool_result;
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
        answer.id("msg_01", 22)
    }

    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let mut content = Vec::new();
        if shows_thinking(answer) {
            content.push(json!({
                "type": "thinking",
                "thinking": answer.thinking(),
                "signature": answer.id("Eq", 64),
            }));
        }
        match &answer.said {
            Said::Words(_) | Said::Text(_) => {
                content.push(json!({ "type": "text", "text": answer.text() }));
            }
            Said::Calls(calls) => content.extend(calls.iter().map(|call| {
                json!({
                    "type": "tool_use",
                    "id": id("toolu_01", call.salt, 22),
                    "name": call.name,
                    // What is not JSON stays the text that it is.
                    "input": serde_json::from_str::<Value>(&call.arguments)
                        .unwrap_or_else(|_| json!(call.arguments)),
                })
            })),
            Said::Refusal(_) | Said::Malformed => {}
        }
        let mut body = json!({
            "id": self.id(answer),
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": stop(answer.finish),
            "stop_sequence": null,
        });
        if answer.finish == Finish::Refusal {
            body["stop_details"] = details(answer);
        }
        if answer.tell_usage {
            body["usage"] = usage(&answer.usage, answer.usage.completion);
        }
        body.to_string().into_bytes()
    }

    fn stream(&self, answer: &Answer, _include_usage: bool) -> Frames {
        let mut frames = Frames::default();
        let told = |tokens: u64| {
            if answer.tell_usage {
                format!(",\"usage\":{}", usage(&answer.usage, tokens))
            } else {
                String::new()
            }
        };
        frames.note(&format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"model\":{},\"id\":\"{}\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null{}}}}}\n\n",
            quoted(&answer.model),
            self.id(answer),
            told(1),
        ));
        let mut blocks = Blocks { frames, next: 0 };
        if shows_thinking(answer) {
            let (before, after) = blocks.open(
                "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
                "thinking_delta",
                "thinking",
            );
            answer.thoughts(|piece, tokens| blocks.frames.delta(&before, piece, &after, tokens));
            let signature = before.replace(
                "\"type\":\"thinking_delta\",\"thinking\":",
                "\"type\":\"signature_delta\",\"signature\":",
            );
            blocks
                .frames
                .note(&format!("{signature}{}{after}", answer.id("Eq", 64)));
            blocks.close();
        }
        match &answer.said {
            Said::Words(_) | Said::Text(_) => {
                let (before, after) =
                    blocks.open("{\"type\":\"text\",\"text\":\"\"}", "text_delta", "text");
                answer.pieces(|piece, tokens| blocks.frames.delta(&before, piece, &after, tokens));
                blocks.close();
            }
            Said::Calls(calls) => {
                for call in calls {
                    let block = format!(
                        "{{\"type\":\"tool_use\",\"id\":\"{}\",\"name\":{},\"input\":{{}}}}",
                        id("toolu_01", call.salt, 22),
                        quoted(&call.name),
                    );
                    let (before, after) = blocks.open(&block, "input_json_delta", "partial_json");
                    let tokens = super::answer::tokens_of(&call.name);
                    let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
                    blocks.frames.delta(&before, "", &after, tokens);
                    split(&call.arguments, answer.tokens_per_chunk, |piece, tokens| {
                        blocks.frames.delta(&before, piece, &after, tokens);
                    });
                    blocks.close();
                }
            }
            Said::Refusal(_) | Said::Malformed => blocks.ping(),
        }
        let mut frames = blocks.frames;
        let details = if answer.finish == Finish::Refusal {
            format!(",\"stop_details\":{}", details(answer))
        } else {
            String::new()
        };
        frames.note(&format!(
            "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"{}\",\"stop_sequence\":null{details}}}{}}}\n\n",
            stop(answer.finish),
            told(answer.usage.completion),
        ));
        frames.note("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        frames
    }

    fn error(&self, fault: &Fault) -> Vec<u8> {
        error(fault).to_string().into_bytes()
    }

    fn stream_error(&self, fault: &Fault) -> String {
        format!("event: error\ndata: {}\n\n", error(fault))
    }
}

/// Content blocks, one after the other.
struct Blocks {
    frames: Frames,
    next: u32,
}

impl Blocks {
    /// Begins a block; gives what stands before and after the text of its deltas.
    fn open(&mut self, block: &str, kind: &str, field: &str) -> (String, String) {
        let index = self.next;
        self.frames.note(&format!(
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{index},\"content_block\":{block}}}\n\n"
        ));
        if index == 0 {
            self.ping();
        }
        (
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{field}\":\""
            ),
            "\"}}\n\n".to_owned(),
        )
    }

    fn ping(&mut self) {
        self.frames
            .note("event: ping\ndata: {\"type\": \"ping\"}\n\n");
    }

    fn close(&mut self) {
        self.frames.note(&format!(
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{}}}\n\n",
            self.next
        ));
        self.next += 1;
    }
}

fn shows_thinking(answer: &Answer) -> bool {
    answer.usage.reasoning > 0 && !matches!(answer.said, Said::Refusal(_))
}

/// `input_tokens` leaves out what the cache has to do with.
fn usage(usage: &Tokens, output: u64) -> Value {
    json!({
        "input_tokens": usage.prompt - usage.cached - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": output,
        "service_tier": "standard",
    })
}

fn stop(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Malformed => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Calls => "tool_use",
        Finish::Filter | Finish::Refusal => "refusal",
    }
}

fn details(answer: &Answer) -> Value {
    match answer.said {
        Said::Refusal(words) => {
            json!({ "type": "refusal", "category": null, "explanation": words })
        }
        _ => Value::Null,
    }
}

fn error(fault: &Fault) -> Value {
    let kind = match (fault.kind, fault.status) {
        (Kind::NoModel, _) | (_, 404) => "not_found_error",
        (_, 401) => "authentication_error",
        (_, 402) => "billing_error",
        (_, 403) => "permission_error",
        (_, 413) => "request_too_large",
        (_, 429) => "rate_limit_error",
        (_, 400..=499) => "invalid_request_error",
        (_, 504) => "timeout_error",
        (_, 503 | 529) => "overloaded_error",
        _ => "api_error",
    };
    json!({
        "type": "error",
        "error": { "type": kind, "message": fault.message },
        "request_id": id("req_01", xxhash_rust::xxh64::xxh64(fault.message.as_bytes(), 0), 22),
    })
}
