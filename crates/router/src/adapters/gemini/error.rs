//! What a refusal means: `{"error": {"code", "message", "status"}}`, the words of Google's APIs.

use crate::adapters::openai_compatible::error as shared;
use crate::piece::{ErrorKind, UpstreamError};
use serde_json::Value;

/// Reads an error body of any shape.
pub fn read(status: u16, body: &[u8]) -> UpstreamError {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let object = parsed.get(0).unwrap_or(&parsed);
    of(status, object.get("error").unwrap_or(&Value::Null))
}

/// Reads the error object itself.
pub fn of(status: u16, error: &Value) -> UpstreamError {
    let mut read = shared::of(status, error);
    let named = error
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if matches!(read.kind, ErrorKind::InvalidRequest | ErrorKind::Server) {
        read.kind = match named {
            "RESOURCE_EXHAUSTED" => ErrorKind::RateLimited,
            "UNAVAILABLE" => ErrorKind::Overloaded,
            "DEADLINE_EXCEEDED" => ErrorKind::Timeout,
            "UNAUTHENTICATED" | "PERMISSION_DENIED" => ErrorKind::Credentials,
            _ => read.kind,
        };
    }
    let delay = error
        .get("details")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find_map(|detail| detail.get("retryDelay")?.as_str());
    read.retry_after = delay
        .and_then(|delay| delay.trim_end_matches('s').parse::<f64>().ok())
        .filter(|s| (0.0..86_400.0).contains(s))
        .map(|s| s.ceil() as u64);
    read
}
