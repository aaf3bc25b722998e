//! Traces over HTTP as OpenTelemetry's protocol has them, in protobuf and in JSON.
//!
//! [`protobuf`] and [`json`] show spans one at a time, [`attributes`] says what counts in them, [`span`] makes events of
//! those that are requests to a model. Events, links and names of spans are never looked at.

mod attributes;
mod json;
mod protobuf;
mod span;

use super::batch::{Batch, Fault, Taken};
use super::{Refusal, TooMany};
use crate::gateway::{JSON, Reply};
use crate::respond::{json_response, refused};
use attributes::Facts;
use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::json;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// `STATUS_CODE_ERROR` of a span.
const STATUS_ERROR: u64 = 2;

/// The body is not what its type says.
struct Unreadable;

/// What is read of a span.
#[derive(Default)]
struct Span<'a> {
    /// Zeros where it has none.
    trace_id: [u8; 16],
    /// Zeros where it has none.
    span_id: [u8; 8],
    /// Nanoseconds since 1970.
    start: u64,
    /// Nanoseconds since 1970.
    end: u64,
    failed: bool,
    facts: Facts<'a>,
}

/// Takes a span and what its resource says.
type Spans<'s> = dyn FnMut(&Span<'_>, &Facts<'_>) + 's;

/// How a request is written, and therefore its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// By the content type; none for one that OTLP does not have.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        match super::media_type(headers) {
            "application/x-protobuf" | "application/protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Reads a body into the batch.
    ///
    /// # Errors
    /// 400 when it cannot be read to its end, 413 for too many spans. Nothing of it is taken then.
    pub(super) fn read(self, body: &[u8], batch: &mut Batch<'_>) -> Result<(), Refusal> {
        let mut number = 0;
        let mut full = Ok(());
        let mut take = |span: &Span<'_>, resource: &Facts<'_>| {
            number += 1;
            if full.is_ok() {
                full = span::take(number, span, resource, batch);
            }
        };
        let read = match self {
            Self::Protobuf => protobuf::read(body, &mut take),
            Self::Json => json::read(body, &mut take),
        };
        read.map_err(|Unreadable| {
            Refusal::new(
                400,
                "unreadable",
                "the body is no ExportTraceServiceRequest in the encoding that its content type names; nothing was taken",
            )
        })?;
        full.map_err(|TooMany| super::too_many("spans"))
    }

    /// An `ExportTraceServiceResponse`.
    pub(super) fn answer(self, taken: &Taken) -> Response<Reply> {
        let message = taken.faults.first().map_or(String::new(), |fault| {
            let Fault {
                place,
                field,
                message,
            } = fault;
            let field = field.map_or(String::new(), |field| format!(", {field}"));
            let more = taken.rejected - 1;
            let more = if more == 0 {
                String::new()
            } else {
                format!("; and {more} more")
            };
            format!("span {place}{field}: {message}{more}")
        });
        match self {
            Self::Protobuf => self.reply(200, protobuf::answer(taken.rejected, &message)),
            Self::Json if taken.rejected == 0 => self.reply(200, b"{}".to_vec()),
            // A 64-bit number is a text in protobuf's JSON.
            Self::Json => self.reply(200, json!({"partialSuccess": {"rejectedSpans": taken.rejected.to_string(), "errorMessage": message}}).to_string().into_bytes()),
        }
    }

    /// A refusal as a `google.rpc.Status`, with the headers it has anywhere.
    pub(super) fn refuse(self, refusal: &Refusal) -> Response<Reply> {
        let code = status_code(refusal.status);
        let body = match self {
            Self::Protobuf => protobuf::status(code, &refusal.message),
            Self::Json => json!({"code": code, "message": refusal.message})
                .to_string()
                .into_bytes(),
        };
        let plain = refused(refusal, None, "");
        let mut response = self.reply(refusal.status, body);
        for name in [header::RETRY_AFTER, header::CACHE_CONTROL] {
            if let Some(value) = plain.headers().get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }

    fn reply(self, status: u16, body: Vec<u8>) -> Response<Reply> {
        let mut response = json_response(status, body);
        let kind = match self {
            Self::Protobuf => PROTOBUF,
            Self::Json => JSON,
        };
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// The code of `google.rpc` that goes with an HTTP status.
fn status_code(status: u16) -> u64 {
    match status {
        400 | 415 => 3, // INVALID_ARGUMENT
        401 => 16,      // UNAUTHENTICATED
        403 => 7,       // PERMISSION_DENIED
        408 => 4,       // DEADLINE_EXCEEDED
        413 | 429 => 8, // RESOURCE_EXHAUSTED
        503 => 14,      // UNAVAILABLE
        405 => 12,      // UNIMPLEMENTED
        _ => 13,        // INTERNAL
    }
}

#[cfg(test)]
mod tests;
