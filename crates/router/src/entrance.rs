//! What must hold before a request is looked at: a key, a whole body of bearable size, JSON that is a request.

use crate::answer::error::Refusal;
use crate::ask::{self, Ask, Operation};
use crate::keys::{Account, Keys};
use crate::settings::Settings;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::{Map, Value};

/// Whose key it is.
///
/// # Errors
/// 401 without a key in force.
pub(crate) fn account(keys: &Keys, headers: &HeaderMap) -> Result<Account, Refusal> {
    let key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim())
        .or_else(|| {
            headers
                .get("x-api-key")
                .and_then(|value| value.to_str().ok())
        });
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(Refusal::new(
            401,
            "missing_key",
            "no API key was given: send `Authorization: Bearer sk-tidemark-...`; `tidemark keys create --account NAME` makes one",
        ));
    };
    keys.account(key).ok_or_else(|| {
        Refusal::new(
            401,
            "invalid_key",
            "this API key is unknown or revoked; `tidemark keys list` shows those in force",
        )
    })
}

/// The body, whole, within limits of size and time.
///
/// # Errors
/// 413, 408 or 400.
pub(crate) async fn receive<B>(
    settings: &Settings,
    headers: &HeaderMap,
    mut body: B,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let limit = settings.max_body_bytes;
    let too_large = || {
        Refusal::new(
            413,
            "body_too_large",
            format!(
                "the request is larger than {limit} bytes: send less, or larger images by their address"
            ),
        )
    };
    let stated = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    if stated.is_some_and(|stated| stated > limit) {
        return Err(too_large());
    }
    let late = Refusal::new(408, "body_timeout", "the request did not arrive in time");
    let read = async {
        let mut all = BytesMut::with_capacity(stated.unwrap_or(0).min(1 << 16));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Refusal::new(400, "body_broken", "the request ended before its body did")
            })?;
            if let Ok(data) = frame.into_data() {
                if all.len() + data.len() > limit {
                    return Err(too_large());
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(all.freeze())
    };
    tokio::time::timeout(settings.receive_timeout(), read)
        .await
        .unwrap_or(Err(late))
}

/// What a body asks.
///
/// # Errors
/// 400 that says what is wrong and where, without a word of what was sent.
pub fn ask(operation: Operation, body: &[u8]) -> Result<Ask, Refusal> {
    let body = parse(body)?;
    Ok(match operation {
        Operation::Chat => ask::chat::read(body),
        Operation::Messages => ask::messages::read(body),
        Operation::Embeddings => ask::embeddings::read(body),
    }?)
}

/// The body as a JSON object.
fn parse(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Err(Refusal::new(
            400,
            "invalid_json",
            "the body is not a JSON object",
        )),
        Err(error) => Err(Refusal::new(
            400,
            "invalid_json",
            format!(
                "the body is not valid JSON: {} at line {}, column {}",
                category(&error),
                error.line(),
                error.column()
            ),
        )),
    }
}

/// What is wrong, without a word of what was sent.
fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "a fault",
    }
}

/// Whether the answer is to say how it was routed: `X-Tidemark-Explain: 1`.
pub(crate) fn explains(headers: &HeaderMap) -> bool {
    headers
        .get("x-tidemark-explain")
        .is_some_and(|value| !matches!(value.as_bytes(), b"" | b"0" | b"false"))
}

/// The calling app by its public name: a slug of what it calls itself, or its host.
pub(crate) fn app(headers: &HeaderMap) -> String {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let host = || {
        text("http-referer")
            .or_else(|| text("referer"))?
            .parse::<http::Uri>()
            .ok()?
            .host()
            .map(str::to_owned)
    };
    let name = text("x-openrouter-title")
        .or_else(|| text("x-title"))
        .map(str::to_owned)
        .or_else(host)
        .unwrap_or_default();
    let mut slug = String::new();
    for c in name.chars().take(64) {
        if c.is_ascii_alphanumeric() || c == '.' {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}
