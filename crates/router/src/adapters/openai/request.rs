//! The body as the client sent it, in the names that OpenAI's newer models insist on.

use crate::adapters::openai_compatible::request;
use crate::adapters::{Outgoing, Target};
use crate::ask::Ask;
use serde_json::json;

/// The HTTP request.
pub fn outgoing(ask: &Ask, target: Target<'_>) -> Outgoing {
    let mut body = request::body(ask, target);
    if let Some(limit) = body.remove("max_tokens") {
        body.entry("max_completion_tokens").or_insert(limit);
    }
    // Other routers take `reasoning: {effort}`; OpenAI takes the effort alone.
    if let Some(reasoning) = body.remove("reasoning")
        && let Some(effort) = reasoning.get("effort").filter(|effort| effort.is_string())
    {
        body.entry("reasoning_effort")
            .or_insert_with(|| effort.clone());
    }
    if body
        .get("stream")
        .is_some_and(|stream| stream == &json!(false))
    {
        body.remove("stream");
    }
    request::outgoing(ask, target, &body)
}
