//! The body as the client sent it, with the provider's name of the model and without what only the router reads.

use crate::adapters::{Outgoing, Target};
use crate::ask::{Ask, Operation};
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

/// Fields of the request that steer the router.
const ROUTER_ONLY: [&str; 8] = [
    "provider",
    "models",
    "route",
    "transforms",
    "session_id",
    "usage",
    "plugins",
    "preset",
];

/// The body, with the model's name there and the usage asked for.
pub fn body(ask: &Ask, target: Target<'_>) -> Map<String, Value> {
    let mut body = ask.body.clone();
    for name in ROUTER_ONLY {
        body.remove(name);
    }
    body.insert("model".into(), json!(target.model));
    if ask.stream {
        let options = body.entry("stream_options").or_insert_with(|| json!({}));
        if let Some(options) = options.as_object_mut() {
            options.insert("include_usage".into(), json!(true));
        } else {
            *options = json!({"include_usage": true});
        }
    } else {
        body.remove("stream_options");
    }
    body
}

/// Names that only OpenAI itself knows, as others know them.
pub fn older_names(body: &mut Map<String, Value>) {
    if let Some(limit) = body.remove("max_completion_tokens") {
        body.entry("max_tokens").or_insert(limit);
    }
    if let Some(Value::Array(messages)) = body.get_mut("messages") {
        for message in messages {
            if let Some(role) = message.get_mut("role").filter(|role| *role == "developer") {
                *role = json!("system");
            }
        }
    }
}

/// The HTTP request.
pub fn outgoing(ask: &Ask, target: Target<'_>, body: &Map<String, Value>) -> Outgoing {
    let mut headers = Vec::new();
    if !target.key.is_empty()
        && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", target.key))
    {
        value.set_sensitive(true);
        headers.push((header::AUTHORIZATION, value));
    }
    let path = if ask.operation == Operation::Embeddings {
        "/embeddings"
    } else {
        "/chat/completions"
    };
    Outgoing {
        path: path.to_owned(),
        headers,
        body: serde_json::to_vec(body).unwrap_or_default().into(),
    }
}
