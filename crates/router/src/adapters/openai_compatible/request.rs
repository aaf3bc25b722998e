//! A chat request for a provider that serves the OpenAI API without OpenAI's newer fields.

use crate::adapters::chat::{self, Thinking, unsupported};
use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

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
        return Ok(outgoing("/embeddings", &body, target));
    }
    for field in OPENAI_ONLY {
        body.remove(field);
    }
    if let Some(limit) = body
        .remove("max_completion_tokens")
        .filter(|limit| !limit.is_null())
    {
        body.insert("max_tokens", limit);
    }
    let is_developer =
        |message: &Map<String, Value>| message.get("role").is_some_and(|role| role == "developer");
    change(&mut body, "messages", is_developer, |message| {
        message.insert("role".to_owned(), "system".into());
    });
    if ask.stream {
        let options = json!({"include_usage": true});
        body.insert("stream_options", Cow::Owned(options));
    }
    Ok(outgoing("/chat/completions", &body, target))
}

/// The fields of a request on its way out, borrowed from what was asked where nothing about them changes.
pub(in crate::adapters) type Fields<'a> = BTreeMap<&'a str, Cow<'a, Value>>;

/// Changes those objects of a list that have something to change. Prompts are long and rarely do: the list is copied only then.
pub(in crate::adapters) fn change(
    body: &mut Fields<'_>,
    list: &str,
    concerns: impl Fn(&Map<String, Value>) -> bool,
    change: impl Fn(&mut Map<String, Value>),
) {
    let Some(list) = body.get_mut(list) else {
        return;
    };
    let mut items = list.as_array().into_iter().flatten();
    if items.any(|item| item.as_object().is_some_and(&concerns))
        && let Value::Array(items) = list.to_mut()
    {
        let items = items.iter_mut().filter_map(Value::as_object_mut);
        items.filter(|item| concerns(item)).for_each(change);
    }
}

/// What OpenAI and the others have in common: the provider's name of the model, no fields of this router, thinking as
/// `reasoning_effort`.
pub(in crate::adapters) fn common<'a>(
    ask: &'a Ask,
    target: Target<'a>,
) -> Result<Fields<'a>, Unsupported> {
    let fields = ask.body.iter();
    let mut body: Fields<'a> = fields
        .map(|(name, value)| (name.as_str(), Cow::Borrowed(value)))
        .collect();
    for field in chat::ROUTER_ONLY {
        body.remove(field);
    }
    body.insert("model", Cow::Owned(target.model.into()));
    if ask.operation == Operation::Embeddings {
        return Ok(body);
    }
    chat::refuse_uncarried(&ask.body)?;
    let effort = match chat::thinking(&ask.body) {
        Some(Thinking::Off) => Some("none"),
        Some(Thinking::Effort(effort)) => Some(effort),
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
        body.insert("reasoning_effort", Cow::Owned(effort.into()));
    }
    let thought = ["reasoning", "reasoning_details"];
    change(
        &mut body,
        "messages",
        |message| {
            let parts = message.get("content").and_then(Value::as_array);
            thought.iter().any(|field| message.contains_key(*field))
                || parts.is_some_and(|parts| parts.iter().any(is_cached))
        },
        |message| {
            thought
                .iter()
                .for_each(|field| drop(message.remove(*field)));
            if let Some(Value::Array(parts)) = message.get_mut("content") {
                for part in parts.iter_mut().filter_map(Value::as_object_mut) {
                    part.remove("cache_control");
                }
            }
        },
    );
    let is_cached = |tool: &Map<String, Value>| tool.contains_key("cache_control");
    change(&mut body, "tools", is_cached, |tool| {
        tool.remove("cache_control");
    });
    body.insert("stream", Cow::Owned(ask.stream.into()));
    Ok(body)
}

fn is_cached(part: &Value) -> bool {
    part.get("cache_control").is_some()
}

/// With its path and key.
pub(in crate::adapters) fn outgoing(path: &str, body: &Fields<'_>, target: Target<'_>) -> Outgoing {
    let key = if target.key.is_empty() {
        None
    } else {
        chat::secret("authorization", &format!("Bearer {}", target.key))
    };
    Outgoing {
        path: path.to_owned(),
        headers: key.into_iter().collect(),
        // JSON values always are JSON.
        body: serde_json::to_vec(body).map_or_else(|_| Bytes::new(), Bytes::from),
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
