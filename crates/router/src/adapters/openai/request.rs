//! A chat request in OpenAI's present words.

use crate::adapters::openai_compatible::request::{change, common, outgoing};
use crate::adapters::{Outgoing, Target, Unsupported};
use crate::ask::{Ask, Operation};
use serde_json::{Map, Value, json};

/// The request.
pub(super) fn request(ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
    let mut body = common(ask, target)?;
    if ask.operation == Operation::Embeddings {
        return Ok(outgoing("/embeddings", &body, target));
    }
    let limit = body.remove("max_tokens").filter(|limit| !limit.is_null());
    if let Some(limit) = limit
        && body
            .get("max_completion_tokens")
            .is_none_or(|limit| limit.is_null())
    {
        body.insert("max_completion_tokens", limit);
    }
    let thought = |message: &Map<String, Value>| message.contains_key("reasoning_content");
    change(&mut body, "messages", thought, |message| {
        message.remove("reasoning_content");
    });
    if ask.stream {
        let options = body.entry("stream_options").or_default().to_mut();
        match options.as_object_mut() {
            Some(options) => {
                options.insert("include_usage".to_owned(), true.into());
            }
            None => *options = json!({"include_usage": true}),
        }
    } else {
        body.remove("stream_options");
    }
    Ok(outgoing("/chat/completions", &body, target))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::adapters::testing::{ask, sent, target};

    #[test]
    fn what_differs_from_the_others() {
        let mut asked = ask(json!({
            "max_tokens": 5, "store": true, "messages": [{"role": "developer", "content": "x"}], "provider": {},
            "stream_options": {"include_usage": false, "include_obfuscation": false}
        }));
        asked.stream = true;
        assert_eq!(
            sent(&request(&asked, target("gpt")).unwrap()),
            json!({
                "model": "gpt", "stream": true, "max_completion_tokens": 5, "store": true, "messages": [{"role": "developer", "content": "x"}],
                "stream_options": {"include_usage": true, "include_obfuscation": false}
            })
        );
        asked.stream = false;
        asked
            .body
            .insert("max_completion_tokens".to_owned(), 7.into());
        let out = sent(&request(&asked, target("gpt")).unwrap());
        assert_eq!(
            (
                &out["max_completion_tokens"],
                out.get("max_tokens"),
                out.get("stream_options")
            ),
            (&json!(7), None, None)
        );
    }
}
