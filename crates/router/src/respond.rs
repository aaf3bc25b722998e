//! Responses that are no answers of a model: refusals, lists, and the headers that speak of a model's end.

use crate::answer::error::Refusal;
use crate::ask::Operation;
use crate::gateway::{GENERATION, JSON, Reply};
use crate::piece::ErrorKind;
use bytes::Bytes;
use chrono::NaiveDate;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use std::convert::Infallible;

/// A model as `GET /v1/models` shows it.
pub(crate) fn model_json(model: &tidemark_catalog::Model) -> Value {
    let created = model
        .released
        .and_hms_opt(0, 0, 0)
        .map_or(0, |time| time.and_utc().timestamp());
    json!({
        "id": model.id, "object": "model", "created": created, "owned_by": model.author, "name": model.name,
        "context_length": model.context_length, "max_completion_tokens": model.max_output,
        "expiration_date": model.deprecated, "successor": model.successor,
    })
}

/// Says when a model ends (RFC 9745, RFC 8594) and where to go.
pub(crate) fn end_of_life(
    day: Option<NaiveDate>,
    successor: Option<&str>,
    headers: &mut HeaderMap,
) {
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    if let Some(midnight) = day.and_then(|day| day.and_hms_opt(0, 0, 0)) {
        let end = midnight.and_utc();
        // The catalog keeps the day of the end, not that of its announcement: the end is the one date both headers can state.
        set(
            HeaderName::from_static("deprecation"),
            format!("@{}", end.timestamp()),
        );
        set(
            HeaderName::from_static("sunset"),
            end.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        );
    }
    if let Some(successor) = successor {
        set(
            header::LINK,
            format!("</v1/models/{successor}>; rel=\"successor-version\""),
        );
    }
}

pub(crate) fn boxed(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Reply {
    UnsyncBoxBody::new(body.map_err(|never| match never {}))
}

pub(crate) fn json_response(status: u16, body: Vec<u8>) -> Response<Reply> {
    let mut response = Response::new(boxed(Full::from(body)));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

pub(crate) fn refused(
    refusal: &Refusal,
    operation: Option<Operation>,
    id: &str,
) -> Response<Reply> {
    let mut response = json_response(refusal.status, refusal.body(operation, id));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(GENERATION, id);
    }
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.code == "model_deprecated" {
        let fact = |name: &str| refusal.metadata.get(name).and_then(Value::as_str);
        let day = fact("sunset").and_then(|day| day.parse().ok());
        end_of_life(day, fact("successor"), headers);
    }
    if matches!(ErrorKind::of_status(refusal.status), ErrorKind::Server) {
        tracing::info!(
            request = id,
            status = refusal.status,
            code = refusal.code,
            "a request got no answer"
        );
    }
    response
}
