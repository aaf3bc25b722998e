//! Errors of Google's APIs: `{"error": {"code", "message", "status", "details"}}`, of a stream sometimes inside a list.

use crate::adapters::fault::{self, Fault};
use crate::piece::UpstreamError;
use serde_json::Value;

/// An answer with a status other than 200.
pub(super) fn error(status: u16, body: &[u8]) -> UpstreamError {
    fault::error(status, Fault::read(body))
}

/// An error object inside an answer.
pub(super) fn in_band(error: &Value) -> UpstreamError {
    fault::error(0, Fault::of(&serde_json::json!({ "error": error })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::ErrorKind;

    #[test]
    fn statuses_and_details() {
        let limited = error(
            429,
            br#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan.","status":"RESOURCE_EXHAUSTED",
            "details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}"#,
        );
        assert_eq!(
            (limited.kind, limited.retry_after),
            (ErrorKind::RateLimited, Some(35))
        );
        let key = error(400, br#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#);
        assert_eq!(key.kind, ErrorKind::Credentials);
        let busy = in_band(
            &serde_json::json!({"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}),
        );
        assert_eq!((busy.status, busy.kind), (503, ErrorKind::Overloaded));
    }
}
