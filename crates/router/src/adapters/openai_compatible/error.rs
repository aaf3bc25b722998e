//! What a refusal means. Providers agree on little: the status, then words that several of them use.

use crate::piece::{ErrorKind, UpstreamError};
use serde_json::Value;

const LONGEST: usize = 300;
const OVERFLOW: [&str; 9] = [
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context length",
    "prompt is too long",
    "too many tokens",
    "maximum number of tokens",
    "input is too long",
    "reduce the length",
];
const FILTER: [&str; 5] = [
    "content_filter",
    "content_policy",
    "content management policy",
    "safety system",
    "moderation",
];
const CREDIT: [&str; 4] = [
    "insufficient_quota",
    "insufficient credit",
    "credit balance",
    "billing",
];

/// Reads an error body of any shape.
pub fn read(status: u16, body: &[u8]) -> UpstreamError {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    // Gemini's compatible API wraps the object in a list.
    let object = parsed.get(0).unwrap_or(&parsed);
    let error = object.get("error").unwrap_or(object);
    of(status, error)
}

/// Reads the error object itself, also where it comes in the middle of a stream.
pub fn of(status: u16, error: &Value) -> UpstreamError {
    let text = |value: &Value, name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let said = match error {
        Value::String(text) => text.clone(),
        _ => [text(error, "message"), text(error, "detail")]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
    };
    let code = error
        .get("code")
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (400..600).contains(code));
    let status = if (400..600).contains(&status) {
        status
    } else {
        code.unwrap_or(status)
    };
    let words = [
        said.as_str(),
        &text(error, "code"),
        &text(error, "type"),
        &text(error, "status"),
    ]
    .join(" ")
    .to_lowercase();
    let kind = kind(status, &words);
    UpstreamError {
        status,
        kind,
        message: message(kind, &said),
        retry_after: None,
    }
}

/// The class, from the status and the words beside it.
pub fn kind(status: u16, words: &str) -> ErrorKind {
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    match status {
        400 | 403 | 413 | 422 if has(&OVERFLOW) => ErrorKind::ContextOverflow,
        400 | 403 | 422 if has(&FILTER) => ErrorKind::Filtered,
        400 | 402 | 429 if has(&CREDIT) => ErrorKind::Credentials,
        400 if words.contains("api key") || words.contains("api_key") => ErrorKind::Credentials,
        200 | 0 if words.contains("overloaded") => ErrorKind::Overloaded,
        200 | 0 if words.contains("rate_limit") || words.contains("rate limit") => {
            ErrorKind::RateLimited
        }
        200 | 0 => ErrorKind::Server,
        status => ErrorKind::of_status(status),
    }
}

/// What the client may read: the provider's own sentence where it is about the request, ours where it is about us.
pub fn message(kind: ErrorKind, said: &str) -> String {
    let ours = match kind {
        ErrorKind::Credentials => Some("the provider does not accept the router's credentials"),
        ErrorKind::NotFound => Some("the provider does not serve this model at this address"),
        _ => None,
    };
    if let Some(ours) = ours {
        return ours.to_owned();
    }
    let looks_secret =
        |word: &str| word.starts_with("sk-") || word.starts_with("AIza") || word.len() > 60;
    let clean = said
        .split_whitespace()
        .map(|word| if looks_secret(word) { "[...]" } else { word })
        .collect::<Vec<_>>()
        .join(" ");
    if clean.is_empty() || clean.starts_with('<') {
        return match kind {
            ErrorKind::RateLimited => "the provider takes no more requests right now",
            ErrorKind::Overloaded => "the provider is overloaded",
            ErrorKind::InvalidRequest => "the provider does not accept this request",
            ErrorKind::ContextOverflow => "the prompt is longer than the model takes",
            ErrorKind::Filtered => "the provider's filter refused the prompt",
            _ => "the provider failed",
        }
        .to_owned();
    }
    clean.chars().take(LONGEST).collect()
}
