//! What a refusal means: `{"type": "error", "error": {"type", "message"}}`.

use crate::adapters::openai_compatible::error as shared;
use crate::piece::{ErrorKind, UpstreamError};
use serde_json::Value;

/// Reads an error body of any shape.
pub fn read(status: u16, body: &[u8]) -> UpstreamError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    of(status, &body)
}

/// Reads an error object, of a body or of an event in a stream.
pub fn of(status: u16, body: &Value) -> UpstreamError {
    let text = |name: &str| {
        body.get("error")
            .and_then(|error| error.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (named, said) = (text("type"), text("message"));
    let status = match (status, named) {
        (200 | 0, "invalid_request_error") => 400,
        (200 | 0, "authentication_error") => 401,
        (200 | 0, "permission_error") => 403,
        (200 | 0, "not_found_error") => 404,
        (200 | 0, "request_too_large") => 413,
        (200 | 0, "rate_limit_error") => 429,
        (200 | 0, "overloaded_error") => 529,
        (200 | 0, "timeout_error") => 504,
        (status, _) => status,
    };
    let kind = shared::kind(status, &said.to_lowercase());
    // A body beyond the limit is not a prompt beyond the context.
    let kind = if named == "request_too_large" {
        ErrorKind::InvalidRequest
    } else {
        kind
    };
    UpstreamError {
        status,
        kind,
        message: shared::message(kind, said),
        retry_after: None,
    }
}
