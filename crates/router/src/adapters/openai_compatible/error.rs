//! Errors of the OpenAI API and its relatives.

use crate::adapters::fault::{self, Fault};
use crate::piece::UpstreamError;
use serde_json::Value;

/// An answer with a status other than 200.
pub(in crate::adapters) fn error(status: u16, body: &[u8]) -> UpstreamError {
    fault::error(status, Fault::read(body))
}

/// An error object where an answer was expected. Some providers leave its status in `code` or `status_code`.
pub(in crate::adapters) fn in_band(error: &Value) -> UpstreamError {
    fault::error(0, Fault::of(&serde_json::json!({ "error": error })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::ErrorKind;
    use serde_json::json;

    #[test]
    fn errors_in_band() {
        let groq = in_band(
            &json!({"message": "no call", "type": "invalid_request_error", "code": "tool_use_failed", "status_code": 400}),
        );
        assert_eq!((groq.status, groq.kind), (400, ErrorKind::Server));
        let openrouter = in_band(&json!({"code": 400, "message": "Token limit reached"}));
        assert_eq!(
            (openrouter.status, openrouter.kind),
            (400, ErrorKind::ContextOverflow)
        );
        assert_eq!(in_band(&json!("it broke")).message, "The provider failed.");
        assert_eq!(in_band(&json!(7)).kind, ErrorKind::Server);
    }

    #[test]
    fn the_meaning_behind_a_gateway_is_read_but_not_shown() {
        let body = br#"{"error":{"code":400,"message":"Provider returned error","metadata":{"raw":"prompt is too long: secret"}}}"#;
        let error = error(400, body);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::ContextOverflow, "Provider returned error")
        );
    }
}
