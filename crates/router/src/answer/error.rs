//! Error bodies in the shape of the API that was asked. Nothing from inside, nothing of the request's content.

use crate::ask::Operation;
use crate::piece::{ErrorKind, UpstreamError};
use serde_json::{Map, Value, json};

/// A request that ends without an answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// A name that programs can rely on.
    pub code: &'static str,
    /// One sentence: what was wrong, and what to do.
    pub message: String,
    /// Field at fault.
    pub param: Option<String>,
    /// Facts for programs.
    pub metadata: Map<String, Value>,
    /// Seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal with a status, a name and a sentence.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            metadata: Map::new(),
            retry_after: None,
        }
    }

    /// The same with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// The body, in the shape of the API.
    pub fn body(&self, operation: Option<Operation>, request_id: &str) -> Vec<u8> {
        let body = if operation == Some(Operation::Messages) {
            json!({"type": "error", "error": {"type": anthropic_type(self.status), "message": self.message, "code": self.code, "metadata": self.metadata}, "request_id": request_id})
        } else {
            json!({"error": {"message": self.message, "type": openai_type(self.status), "param": self.param, "code": self.code, "metadata": self.metadata}, "request_id": request_id})
        };
        body.to_string().into_bytes()
    }
}

impl From<crate::ask::BadRequest> for Refusal {
    fn from(bad: crate::ask::BadRequest) -> Self {
        Self {
            param: bad.param,
            ..Self::new(400, "invalid_request", bad.message)
        }
    }
}

impl From<&UpstreamError> for Refusal {
    fn from(error: &UpstreamError) -> Self {
        Self {
            retry_after: error.retry_after,
            ..Self::new(
                status(error.kind),
                error.kind.as_str(),
                error.message.clone(),
            )
        }
    }
}

/// The status a client gets for a class of upstream error. A provider's 401 is our fault, not the client's.
pub fn status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextOverflow => 400,
        ErrorKind::Filtered => 403,
        ErrorKind::RateLimited => 429,
        ErrorKind::Overloaded => 503,
        ErrorKind::Timeout => 504,
        ErrorKind::Credentials
        | ErrorKind::NotFound
        | ErrorKind::Server
        | ErrorKind::Connection
        | ErrorKind::Garbage => 502,
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

pub(crate) fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 | 410 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}
