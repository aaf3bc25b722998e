//! What the request translators share: reading a chat request without trusting its shape.

use super::Unsupported;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// Fields that steer this router and mean nothing to a provider.
pub(super) const ROUTER_ONLY: [&str; 11] = [
    "provider",
    "models",
    "route",
    "transforms",
    "plugins",
    "session_id",
    "usage",
    "preset",
    "trace",
    "include_reasoning",
    "fallbacks",
];

/// An [`Unsupported`].
pub(super) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Unsupported {
    Unsupported {
        param: param.into(),
        message: message.into(),
    }
}

/// Whether a field asks for anything: set, and neither `null`, `false`, zero nor empty.
pub(super) fn is_set(body: &Map<String, Value>, field: &str) -> bool {
    match body.get(field) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
        Some(_) => true,
    }
}

/// What no dialect here carries back to the client.
///
/// # Errors
/// Names the field.
pub(super) fn refuse_uncarried(body: &Map<String, Value>) -> Result<(), Unsupported> {
    if body
        .get("n")
        .and_then(Value::as_f64)
        .is_some_and(|n| n > 1.0)
    {
        return Err(unsupported(
            "n",
            "This router gives one answer per request: leave out `n` and send the request several times.",
        ));
    }
    for field in ["logprobs", "top_logprobs"] {
        if is_set(body, field) {
            return Err(unsupported(
                field,
                format!("This router does not carry log probabilities: leave out `{field}`."),
            ));
        }
    }
    if is_set(body, "audio")
        || body
            .get("modalities")
            .and_then(Value::as_array)
            .is_some_and(|m| m.iter().any(|m| m != "text"))
    {
        return Err(unsupported(
            "modalities",
            "This router carries text answers only: leave out `audio` and `modalities`.",
        ));
    }
    for field in ["functions", "function_call"] {
        if is_set(body, field) {
            return Err(unsupported(
                field,
                format!("`{field}` is not carried any more: use `tools` and `tool_choice`."),
            ));
        }
    }
    for (n, tool) in list(body, "tools").iter().enumerate() {
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            return Err(unsupported(
                format!("tools[{n}].type"),
                "This router carries tools of the type `function` only.",
            ));
        }
    }
    Ok(())
}

/// Refuses the fields a provider has no counterpart for.
///
/// # Errors
/// Names the first that is set.
pub(super) fn refuse(
    body: &Map<String, Value>,
    provider: &str,
    fields: &[&str],
) -> Result<(), Unsupported> {
    match fields.iter().find(|field| is_set(body, field)) {
        Some(field) => Err(unsupported(
            *field,
            format!(
                "{provider} has nothing like `{field}`: leave it out or choose another provider."
            ),
        )),
        None => Ok(()),
    }
}

/// A list field; empty where there is none.
pub(super) fn list<'a>(body: &'a Map<String, Value>, field: &str) -> &'a [Value] {
    body.get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A text field; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The client's limit of the answer.
pub(super) fn limit(body: &Map<String, Value>) -> Option<u64> {
    ["max_completion_tokens", "max_tokens"]
        .iter()
        .find_map(|field| body.get(*field).and_then(Value::as_u64))
}

/// `stop` as a list.
pub(super) fn stops(body: &Map<String, Value>) -> Vec<Value> {
    match body.get("stop") {
        Some(Value::String(one)) => vec![Value::String(one.clone())],
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    }
}

/// How much the client wants thought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking<'a> {
    /// Not at all.
    Off,
    /// As the model likes.
    On,
    /// `minimal`, `low`, `medium`, `high`, `xhigh`, `max`.
    Effort(&'a str),
    /// Up to so many tokens.
    Tokens(u64),
}

/// Reads `reasoning` and `reasoning_effort`.
pub(super) fn thinking(body: &Map<String, Value>) -> Option<Thinking<'_>> {
    if let Some(reasoning) = body.get("reasoning").and_then(Value::as_object) {
        if reasoning.get("enabled") == Some(&Value::Bool(false)) {
            return Some(Thinking::Off);
        }
        if let Some(tokens) = reasoning.get("max_tokens").and_then(Value::as_u64) {
            return Some(if tokens == 0 {
                Thinking::Off
            } else {
                Thinking::Tokens(tokens)
            });
        }
        if let Some(word) = reasoning.get("effort").and_then(Value::as_str) {
            return Some(effort(word));
        }
        if reasoning.get("enabled") == Some(&Value::Bool(true)) {
            return Some(Thinking::On);
        }
    }
    body.get("reasoning_effort")
        .and_then(Value::as_str)
        .map(effort)
}

fn effort(word: &str) -> Thinking<'_> {
    if word == "none" {
        Thinking::Off
    } else {
        Thinking::Effort(word)
    }
}

/// One part of a message's content.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part<'a> {
    /// Text, with what the client said about caching up to here.
    Text(&'a str, Option<&'a Value>),
    /// An image: data URL or address.
    Image(&'a str, Option<&'a Value>),
    /// A file as a data URL, with its name.
    File(&'a str, &'a str),
    /// A video: data URL or address.
    Video(&'a str),
    /// Audio: base64 and format.
    Audio(&'a str, &'a str),
}

/// The parts of `content`, whether it is a text or a list.
///
/// # Errors
/// Names a part of an unknown type.
pub(super) fn parts<'a>(
    content: Option<&'a Value>,
    param: &str,
) -> Result<Vec<Part<'a>>, Unsupported> {
    let list = match content {
        Some(Value::String(text)) => return Ok(vec![Part::Text(text, None)]),
        Some(Value::Array(list)) => list,
        _ => return Ok(Vec::new()),
    };
    let mut parts = Vec::with_capacity(list.len());
    for (n, part) in list.iter().enumerate() {
        let cache = part.get("cache_control");
        let inner = |field: &str| part.get(field).unwrap_or(&Value::Null);
        parts.push(match text(part, "type") {
            "text" | "input_text" | "output_text" => Part::Text(text(part, "text"), cache),
            "refusal" => Part::Text(text(part, "refusal"), cache),
            "image_url" => Part::Image(
                inner("image_url")
                    .as_str()
                    .unwrap_or_else(|| text(inner("image_url"), "url")),
                cache,
            ),
            "video_url" => Part::Video(
                inner("video_url")
                    .as_str()
                    .unwrap_or_else(|| text(inner("video_url"), "url")),
            ),
            "input_audio" => Part::Audio(
                text(inner("input_audio"), "data"),
                text(inner("input_audio"), "format"),
            ),
            "file" if !text(inner("file"), "file_data").is_empty() => Part::File(
                text(inner("file"), "file_data"),
                text(inner("file"), "filename"),
            ),
            "file" => {
                return Err(unsupported(
                    format!("{param}[{n}].file"),
                    "Files are carried as `file_data` with a data URL only.",
                ));
            }
            _ => {
                return Err(unsupported(
                    format!("{param}[{n}].type"),
                    "A content part of this type cannot be carried to the provider.",
                ));
            }
        });
    }
    Ok(parts)
}

/// Media type and base64 text of a data URL.
pub(super) fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    let media = head.split(';').next().unwrap_or_default();
    (!media.is_empty() && !data.is_empty()).then_some((media, data))
}

/// A secret header; left out where the key cannot be one, which the provider then answers with a 401.
pub(super) fn secret(name: &'static str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_static(name), value))
}

/// The JSON text of a body.
pub(super) fn bytes(body: Map<String, Value>) -> Bytes {
    Bytes::from(Value::Object(body).to_string())
}

/// Appends a message's parts, joining them with the message before where the role is the same.
pub(super) fn append(messages: &mut Vec<Value>, role: &str, field: &str, parts: Vec<Value>) {
    if parts.is_empty() {
        return;
    }
    if let Some(last) = messages.last_mut()
        && text(last, "role") == role
        && let Some(Value::Array(before)) = last.get_mut(field)
    {
        before.extend(parts);
        return;
    }
    messages.push(serde_json::json!({"role": role, field: parts}));
}

/// A tool call that an earlier answer made.
pub(super) struct PastCall<'a> {
    /// As the client sent it.
    pub(super) call: &'a Value,
    /// Name of the tool.
    pub(super) name: &'a str,
    /// An object.
    pub(super) arguments: Value,
}

/// The tool calls of message `n`, for providers that take arguments as objects.
pub(super) fn past_calls<'a>(
    message: &'a Value,
    n: usize,
    provider: &str,
) -> Result<Vec<PastCall<'a>>, Unsupported> {
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let read = |(c, call): (usize, &'a Value)| {
        let function = call.get("function").unwrap_or(&Value::Null);
        let said = text(function, "arguments");
        let arguments = if said.trim().is_empty() {
            Some(Value::Object(Map::new()))
        } else {
            serde_json::from_str(said).ok().filter(Value::is_object)
        };
        let arguments = arguments.ok_or_else(|| {
            unsupported(
                format!("messages[{n}].tool_calls[{c}].function.arguments"),
                format!(
                    "{provider} takes past tool calls only with arguments that are a JSON object."
                ),
            )
        })?;
        Ok(PastCall {
            call,
            name: text(function, "name"),
            arguments,
        })
    };
    calls.into_iter().flatten().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn thinking_in_both_spellings() {
        for (value, want) in [
            (json!({}), None),
            (
                json!({"reasoning_effort": "low"}),
                Some(Thinking::Effort("low")),
            ),
            (json!({"reasoning_effort": "none"}), Some(Thinking::Off)),
            (
                json!({"reasoning": {"effort": "high"}, "reasoning_effort": "low"}),
                Some(Thinking::Effort("high")),
            ),
            (
                json!({"reasoning": {"max_tokens": 2000}}),
                Some(Thinking::Tokens(2000)),
            ),
            (json!({"reasoning": {"enabled": true}}), Some(Thinking::On)),
            (
                json!({"reasoning": {"enabled": false}}),
                Some(Thinking::Off),
            ),
            (json!({"reasoning": {"exclude": true}}), None),
        ] {
            assert_eq!(thinking(&body(value.clone())), want, "{value}");
        }
    }

    #[test]
    fn what_no_dialect_carries_names_its_field() {
        for (value, param) in [
            (json!({"n": 2}), "n"),
            (json!({"logprobs": true}), "logprobs"),
            (json!({"modalities": ["text", "audio"]}), "modalities"),
            (json!({"functions": [{}]}), "functions"),
            (json!({"tools": [{"type": "custom"}]}), "tools[0].type"),
        ] {
            assert_eq!(refuse_uncarried(&body(value)).unwrap_err().param, param);
        }
        refuse_uncarried(&body(
            json!({"n": 1, "logprobs": false, "modalities": ["text"], "functions": null}),
        ))
        .unwrap();
    }

    #[test]
    fn data_urls() {
        assert_eq!(
            data_url("data:image/png;base64,AAA"),
            Some(("image/png", "AAA"))
        );
        assert_eq!(
            data_url("data:image/png;charset=x;base64,AAA"),
            Some(("image/png", "AAA"))
        );
        for bad in [
            "https://x/y.png",
            "data:image/png,AAA",
            "data:;base64,AAA",
            "data:image/png;base64,",
            "",
        ] {
            assert_eq!(data_url(bad), None, "{bad}");
        }
    }
}
