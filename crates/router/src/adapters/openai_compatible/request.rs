//! A chat request for a provider that serves the OpenAI API without OpenAI's newer fields.

use crate::adapters::chat::{self, Thinking, unsupported};
use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use serde_json::{Map, Value, json};

/// Fields of OpenAI's own that change nothing in the answer; strict providers refuse them.
const OPENAI_ONLY: [&str; 8] = [
    "store",
    "metadata",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
    "stream_options",
];

/// The request.
pub(super) fn request(ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
    let mut body = common(ask, target)?;
    if ask.operation == Operation::Embeddings {
        return Ok(outgoing("/embeddings", body, target));
    }
    for field in OPENAI_ONLY {
        body.remove(field);
    }
    if let Some(limit) = body
        .remove("max_completion_tokens")
        .filter(|limit| !limit.is_null())
    {
        body.insert("max_tokens".to_owned(), limit);
    }
    if let Some(Value::Array(messages)) = body.get_mut("messages") {
        for message in messages {
            if let Some(role) = message.get_mut("role").filter(|role| *role == "developer") {
                *role = "system".into();
            }
        }
    }
    if ask.stream {
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    Ok(outgoing("/chat/completions", body, target))
}

/// What OpenAI and the others have in common: the provider's name of the model, no fields of this router, thinking as
/// `reasoning_effort`.
pub(in crate::adapters) fn common(
    ask: &Ask,
    target: Target<'_>,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = ask.body.clone();
    for field in chat::ROUTER_ONLY {
        body.remove(field);
    }
    body.insert("model".to_owned(), target.model.into());
    if ask.operation == Operation::Embeddings {
        return Ok(body);
    }
    chat::refuse_uncarried(&body)?;
    let effort = match chat::thinking(&body) {
        Some(Thinking::Off) => Some("none".to_owned()),
        Some(Thinking::Effort(effort)) => Some(effort.to_owned()),
        Some(Thinking::Tokens(_)) => {
            return Err(unsupported(
                "reasoning.max_tokens",
                "This provider takes an effort, not a number of tokens: use `reasoning_effort`.",
            ));
        }
        Some(Thinking::On) | None => None,
    };
    body.remove("reasoning");
    if let Some(effort) = effort {
        body.insert("reasoning_effort".to_owned(), effort.into());
    }
    if let Some(Value::Array(messages)) = body.get_mut("messages") {
        for message in messages.iter_mut().filter_map(Value::as_object_mut) {
            message.remove("reasoning");
            message.remove("reasoning_details");
            if let Some(Value::Array(parts)) = message.get_mut("content") {
                for part in parts.iter_mut().filter_map(Value::as_object_mut) {
                    part.remove("cache_control");
                }
            }
        }
    }
    if let Some(Value::Array(tools)) = body.get_mut("tools") {
        for tool in tools.iter_mut().filter_map(Value::as_object_mut) {
            tool.remove("cache_control");
        }
    }
    body.insert("stream".to_owned(), ask.stream.into());
    Ok(body)
}

/// With its path and key.
pub(in crate::adapters) fn outgoing(
    path: &str,
    body: Map<String, Value>,
    target: Target<'_>,
) -> Outgoing {
    let key = if target.key.is_empty() {
        None
    } else {
        chat::secret("authorization", &format!("Bearer {}", target.key))
    };
    Outgoing {
        path: path.to_owned(),
        headers: key.into_iter().collect(),
        body: chat::bytes(body),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::adapters::testing::{ask, sent, target};

    #[test]
    fn a_chat_request() {
        let mut asked = ask(json!({
            "model": "author/m:free", "stream": true, "max_completion_tokens": 9, "max_tokens": 5, "provider": {"order": ["x"]},
            "models": ["a"], "session_id": "s", "usage": {"include": true}, "store": true, "temperature": 0.5,
            "reasoning": {"effort": "low"}, "stream_options": {"include_usage": false},
            "messages": [
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
                {"role": "assistant", "content": "a", "reasoning": "thought", "reasoning_details": []}
            ]
        }));
        asked.stream = true;
        let out = request(&asked, target("m-1")).unwrap();
        assert_eq!(out.path, "/chat/completions");
        assert_eq!(
            sent(&out),
            json!({
                "model": "m-1", "stream": true, "max_tokens": 9, "temperature": 0.5, "reasoning_effort": "low",
                "stream_options": {"include_usage": true},
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                    {"role": "assistant", "content": "a"}
                ]
            })
        );
        let (name, value) = &out.headers[0];
        assert!(name == "authorization" && value.is_sensitive() && value == "Bearer test-key");
    }

    #[test]
    fn no_stream_no_options_no_key() {
        let out = request(
            &ask(json!({"messages": [], "stream_options": {}})),
            Target {
                key: "",
                ..target("m")
            },
        )
        .unwrap();
        assert_eq!(
            sent(&out),
            json!({"model": "m", "stream": false, "messages": []})
        );
        assert!(out.headers.is_empty());
    }

    #[test]
    fn embeddings() {
        let mut asked = ask(json!({"input": ["a"], "model": "x", "provider": {}, "dimensions": 3}));
        asked.operation = Operation::Embeddings;
        let out = request(&asked, target("e")).unwrap();
        assert_eq!(out.path, "/embeddings");
        assert_eq!(
            sent(&out),
            json!({"input": ["a"], "model": "e", "dimensions": 3})
        );
    }

    #[test]
    fn a_budget_is_not_dropped() {
        let refused =
            request(&ask(json!({"reasoning": {"max_tokens": 100}})), target("m")).unwrap_err();
        assert_eq!(refused.param, "reasoning.max_tokens");
    }
}
