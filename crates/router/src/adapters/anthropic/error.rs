//! Errors of the messages API: `{"type": "error", "error": {"type", "message"}}`, as a body and as an event.

use crate::adapters::fault::{self, Fault};
use crate::piece::UpstreamError;
use serde_json::Value;

/// An answer with a status other than 200.
pub(super) fn error(status: u16, body: &[u8]) -> UpstreamError {
    fault::error(status, Fault::read(body))
}

/// The error object of an `error` event, with the status the API gives errors of its type.
pub(super) fn in_band(error: &Value) -> UpstreamError {
    let status = match error
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 0,
    };
    fault::error(status, Fault::of(&serde_json::json!({ "error": error })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::ErrorKind;
    use serde_json::json;

    #[test]
    fn types_of_events() {
        for (name, status, kind) in [
            ("overloaded_error", 529, ErrorKind::Overloaded),
            ("rate_limit_error", 429, ErrorKind::RateLimited),
            ("api_error", 500, ErrorKind::Server),
            ("invalid_request_error", 400, ErrorKind::InvalidRequest),
            ("billing_error", 402, ErrorKind::Credentials),
            ("timeout_error", 504, ErrorKind::Timeout),
            ("something_new", 0, ErrorKind::Server),
        ] {
            let error = in_band(&json!({"type": name, "message": "x"}));
            assert_eq!((error.status, error.kind), (status, kind), "{name}");
        }
        let filtered = error(400, br#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#);
        assert_eq!(filtered.kind, ErrorKind::Filtered);
    }
}
