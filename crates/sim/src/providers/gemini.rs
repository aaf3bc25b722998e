//! The Gemini `generateContent` API.

use super::answer::{Answer, Call, Finish, Said, Tokens};
use super::ask::{Ask, Choice, Format, Measure};
use super::dialect::Tongue;
use super::fault::{Fault, Kind, malformed};
use super::frames::{Frames, quoted};
use serde::Deserialize;
use serde_json::{Value, json};

/// The Gemini `generateContent` API.
pub(super) struct Gemini;

/// As Gemini ends its lines.
const END: &str = "\r\n\r\n";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    contents: Option<Vec<Content>>,
    #[serde(alias = "system_instruction")]
    system_instruction: Option<Content>,
    tools: Option<Vec<RawTool>>,
    #[serde(alias = "tool_config")]
    tool_config: Option<ToolConfig>,
    #[serde(default, alias = "generation_config")]
    generation_config: Option<Config>,
}

#[derive(Deserialize)]
struct Content {
    role: Option<String>,
    #[serde(default)]
    parts: Measure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTool {
    #[serde(default, alias = "function_declarations")]
    function_declarations: Vec<Function>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Function {
    name: String,
    description: Option<String>,
    #[serde(default)]
    parameters: Value,
    #[serde(alias = "parameters_json_schema")]
    parameters_json_schema: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig {
    #[serde(alias = "function_calling_config")]
    function_calling_config: Option<Calling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calling {
    mode: Option<String>,
    #[serde(default, alias = "allowed_function_names")]
    allowed_function_names: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    #[serde(alias = "max_output_tokens")]
    max_output_tokens: Option<u32>,
    #[serde(alias = "response_mime_type")]
    response_mime_type: Option<String>,
    #[serde(alias = "response_schema")]
    response_schema: Option<Value>,
    #[serde(alias = "response_json_schema")]
    response_json_schema: Option<Value>,
    #[serde(alias = "thinking_config")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    #[serde(alias = "include_thoughts")]
    include_thoughts: Option<bool>,
    #[serde(alias = "thinking_budget")]
    thinking_budget: Option<i64>,
}

impl Tongue for Gemini {
    fn read(&self, body: &[u8], path_model: Option<&str>) -> Result<Ask, Fault> {
        let body: Body = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        let config = body.generation_config.unwrap_or_default();
        let json = config.response_mime_type.as_deref() == Some("application/json");
        let thinking = config.thinking_config.as_ref();
        let mut ask = Ask {
            model: path_model.unwrap_or_default().to_owned(),
            max_tokens: config.max_output_tokens,
            format: match (config.response_json_schema.or(config.response_schema), json) {
                (Some(schema), _) => Format::Schema(schema),
                (None, true) => Format::Json,
                (None, false) => Format::Text,
            },
            thinking: thinking
                .and_then(|config| config.thinking_budget)
                .map(|budget| budget != 0),
            show_thinking: thinking.and_then(|config| config.include_thoughts) == Some(true),
            ..Ask::default()
        };
        for tool in body
            .tools
            .into_iter()
            .flatten()
            .flat_map(|tool| tool.function_declarations)
        {
            ask.tool(
                tool.name,
                tool.description.as_deref().unwrap_or_default(),
                tool.parameters_json_schema.unwrap_or(tool.parameters),
            );
        }
        if let Some(calling) = body
            .tool_config
            .and_then(|config| config.function_calling_config)
        {
            ask.choice = match (
                calling.mode.as_deref(),
                calling.allowed_function_names.as_slice(),
            ) {
                (Some("ANY"), [name]) => Choice::Named(name.clone()),
                (Some("ANY"), _) => Choice::Required,
                (Some("NONE"), _) => Choice::None,
                _ => Choice::Auto,
            };
        }
        if let Some(system) = body.system_instruction {
            ask.turn("system", &[&system.parts]);
        }
        let contents = body.contents.unwrap_or_default();
        if contents.is_empty() {
            return Err(Fault::bad(
                "* GenerateContentRequest.contents: contents is not specified",
            ));
        }
        for content in contents {
            let role = content.role.as_deref().unwrap_or("user");
            ask.turn(role, &[&content.parts]);
            ask.after_tool = content.parts.tool_result;
            if role == "user" {
                ask.words = content.parts.words;
            }
        }
        Ok(ask)
    }

    fn has_refusals(&self) -> bool {
        false
    }

    fn parses_arguments(&self) -> bool {
        true
    }

    fn id(&self, answer: &Answer) -> String {
        answer.id("", 22)
    }

    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let mut parts = Vec::new();
        if shows_thinking(answer) {
            parts.push(json!({ "text": answer.thinking(), "thought": true }));
        }
        match &answer.said {
            Said::Words(_) | Said::Text(_) if answer.finish != Finish::Filter => {
                parts.push(json!({ "text": answer.text() }));
            }
            Said::Calls(calls) => parts.extend(calls.iter().map(part)),
            _ => {}
        }
        let mut candidate = json!({ "finishReason": finish(answer.finish), "index": 0 });
        if !parts.is_empty() {
            candidate["content"] = json!({ "parts": parts, "role": "model" });
        }
        if answer.finish == Finish::Malformed {
            candidate["finishMessage"] = json!("Malformed function call: call:");
        }
        let mut body = json!({
            "candidates": [candidate],
            "modelVersion": answer.model,
            "responseId": self.id(answer),
        });
        if answer.tell_usage {
            body["usageMetadata"] = usage(
                &answer.usage,
                answer.usage.completion - answer.usage.reasoning,
            );
        }
        body.to_string().into_bytes()
    }

    fn stream(&self, answer: &Answer, _include_usage: bool) -> Frames {
        let mut frames = Frames::default();
        let mut spoken = 0_u64;
        let end = |spoken: u64| {
            let usage = if answer.tell_usage {
                format!(",\"usageMetadata\": {}", usage(&answer.usage, spoken))
            } else {
                String::new()
            };
            format!(
                "{usage},\"modelVersion\": {},\"responseId\": \"{}\"}}{END}",
                quoted(&answer.model),
                self.id(answer)
            )
        };
        let open = "data: {\"candidates\": [{\"content\": {\"parts\": [";
        let close = "],\"role\": \"model\"},\"index\": 0}]";
        let hidden = if shows_thinking(answer) {
            let before = format!("{open}{{\"text\": \"");
            let after = format!("\",\"thought\": true}}{close}{}", end(0));
            answer.thoughts(|piece, tokens| frames.delta(&before, piece, &after, tokens));
            0
        } else {
            u32::try_from(answer.usage.reasoning).unwrap_or(u32::MAX)
        };
        let mut hidden = hidden;
        let before = format!("{open}{{\"text\": \"");
        answer.pieces(|piece, tokens| {
            spoken += u64::from(tokens);
            let after = format!("\"}}{close}{}", end(spoken));
            frames.delta(&before, piece, &after, tokens + std::mem::take(&mut hidden));
        });
        if let Said::Calls(calls) = &answer.said {
            for call in calls {
                let tokens = super::answer::tokens_of(&call.name)
                    + super::answer::tokens_of(&call.arguments);
                spoken += tokens;
                let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
                frames.mark(tokens + std::mem::take(&mut hidden), true, |out| {
                    out.extend_from_slice(
                        format!("{open}{}{close}{}", part(call), end(spoken)).as_bytes(),
                    );
                });
            }
        }
        let last = match answer.finish {
            Finish::Filter | Finish::Malformed => String::new(),
            _ => "\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": \"model\"},".to_owned(),
        };
        let spoken = answer.usage.completion - answer.usage.reasoning;
        frames.note(&format!(
            "data: {{\"candidates\": [{{{last}\"finishReason\": \"{}\",\"index\": 0}}]{}",
            finish(answer.finish),
            end(spoken),
        ));
        frames
    }

    fn error(&self, fault: &Fault) -> Vec<u8> {
        error(fault).to_string().into_bytes()
    }

    fn stream_error(&self, fault: &Fault) -> String {
        format!("data: {}{END}", error(fault))
    }
}

fn part(call: &Call) -> Value {
    let args = serde_json::from_str::<Value>(&call.arguments).unwrap_or_else(|_| json!({}));
    json!({ "functionCall": { "name": call.name, "args": args } })
}

fn shows_thinking(answer: &Answer) -> bool {
    answer.show_thinking && answer.usage.reasoning > 0 && answer.finish != Finish::Filter
}

/// `candidatesTokenCount` leaves thoughts out.
fn usage(usage: &Tokens, spoken: u64) -> Value {
    let mut out = json!({
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": spoken,
        "totalTokenCount": usage.prompt + spoken + usage.reasoning,
        "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": usage.prompt }],
    });
    if usage.reasoning > 0 {
        out["thoughtsTokenCount"] = json!(usage.reasoning);
    }
    if usage.cached > 0 {
        out["cachedContentTokenCount"] = json!(usage.cached);
        out["cacheTokensDetails"] = json!([{ "modality": "TEXT", "tokenCount": usage.cached }]);
    }
    out
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Calls | Finish::Refusal => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filter => "SAFETY",
        Finish::Malformed => "MALFORMED_FUNCTION_CALL",
    }
}

fn error(fault: &Fault) -> Value {
    let status = match (fault.kind, fault.status) {
        (Kind::NoModel, _) | (_, 404) => "NOT_FOUND",
        (_, 401) => "UNAUTHENTICATED",
        (_, 402 | 403) => "PERMISSION_DENIED",
        (_, 429) => "RESOURCE_EXHAUSTED",
        (_, 400..=499) => "INVALID_ARGUMENT",
        (_, 503 | 529) => "UNAVAILABLE",
        (_, 504) => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    let mut error = json!({
        "code": fault.status,
        "message": fault.message,
        "status": status,
    });
    if let Some(seconds) = fault.retry_after {
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s"),
        }]);
    }
    json!({ "error": error })
}
