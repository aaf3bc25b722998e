//! Error bodies: `{"error": {"code", "message", "metadata"}}`, with nothing from inside.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tidemark_insight::InsightError;

/// What a client is told instead of an answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    metadata: Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            metadata: Map::new(),
        }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// A query parameter that cannot be used, and what could be.
    pub(crate) fn parameter(name: &str, problem: &str, allowed: Vec<String>) -> Self {
        let message = if allowed.is_empty() {
            problem.to_owned()
        } else {
            format!("{problem}; allowed: {}", allowed.join(", "))
        };
        Self::new(StatusCode::BAD_REQUEST, message)
            .with("parameter", name)
            .with("allowed", allowed)
    }

    pub(crate) fn query_string() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the query string is not valid")
    }

    pub(crate) fn not_ready() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the first data is being loaded, try again in a moment",
        )
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this address")
    }

    pub(crate) fn no_model() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is no such model; /api/v1/models lists them",
        )
    }

    pub(crate) fn no_provider() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is no such provider; /api/v1/providers lists them",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this address does not take this method",
        )
    }

    /// For the page: the status and the sentence.
    pub(crate) fn parts(&self) -> (StatusCode, &str) {
        (self.status, &self.message)
    }
}

impl From<InsightError> for ApiError {
    fn from(error: InsightError) -> Self {
        match error {
            InsightError::UnknownRanking { known } => Self::new(
                StatusCode::NOT_FOUND,
                format!("there is no such ranking; there are: {}", known.join(", ")),
            )
            .with("rankings", known),
            InsightError::Parameter {
                name,
                problem,
                allowed,
            } => Self::parameter(name, &problem, allowed),
            internal => {
                tracing::error!(error = %internal, "an answer could not be computed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the answer could not be computed",
                )
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": {
            "code": self.status.as_u16(),
            "message": self.message,
            "metadata": self.metadata,
        } });
        let mut response = (
            self.status,
            [(header::CACHE_CONTROL, "no-store")],
            Json(body),
        )
            .into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(
                header::RETRY_AFTER,
                axum::http::HeaderValue::from_static("1"),
            );
        }
        response
    }
}
