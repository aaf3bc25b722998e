//! Usage events from other gateways: JSON lines at `/v1/events`, OpenTelemetry's traces at `/v1/traces`.
//!
//! # A body's path
//!
//! 1. A key names the account; the body arrives within the limits of any request.
//! 2. It is unpacked, and its events are read ([`ndjson`], [`otlp`]), one at a time and off the threads that serve requests.
//! 3. The [`sender`] makes each its own: its id, its account, the catalog's [`names`], its price.
//! 4. The [`batch`] judges each as the rollup would. What could not be counted is refused by line or span.
//! 5. The others go to the journal in one append, all or none. Only when they are durable is the sender answered.
//!
//! `docs/ingest.md` is for those who send.

mod batch;
mod names;
mod ndjson;
mod otlp;
mod sender;

use crate::answer::error::Refusal;
use crate::emit::Emitter;
use crate::entrance;
use crate::gateway::Reply;
use crate::keys::{Account, Keys};
use crate::respond::refused;
use crate::settings::Settings;
use batch::{Batch, Taken};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, Method, Response, header, request};
use http_body::Body;
use otlp::Encoding;
use sender::Sender;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tidemark_catalog::Catalog;
use tokio::sync::Semaphore;

/// Bodies unpacked, read and appended at once. The others wait: that, and the limit on a body, bounds the memory.
const AT_ONCE: usize = 4;

/// How events come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON lines.
    Events,
    /// OTLP.
    Traces,
}

impl Protocol {
    /// By the path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/events" => Some(Self::Events),
            "/v1/traces" => Some(Self::Traces),
            _ => None,
        }
    }
}

/// The way in.
pub(crate) struct Ingest {
    room: Arc<Semaphore>,
    retention: Option<Duration>,
}

impl Ingest {
    /// With what the rollup takes for too old.
    pub(crate) fn new(retention: Option<Duration>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(AT_ONCE)),
            retention,
        }
    }
}

/// What of the router a body needs.
pub(crate) struct Desk<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) emitter: &'a Emitter,
    pub(crate) settings: &'a Settings,
    pub(crate) catalog: &'a Arc<Catalog>,
}

/// More events in one body than are taken.
struct TooMany;

impl Ingest {
    /// Takes in a request's events and answers it.
    pub(crate) async fn answer<B>(
        &self,
        protocol: Protocol,
        desk: Desk<'_>,
        head: request::Parts,
        body: B,
    ) -> Response<Reply>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let encoding = Encoding::of(&head.headers);
        let answered = match protocol {
            Protocol::Events => self
                .take(
                    desk,
                    &head,
                    body,
                    ndjson::speaks(&head.headers),
                    ndjson::read,
                )
                .await
                .and_then(|taken| ndjson::answer(&taken)),
            Protocol::Traces => self
                .take(desk, &head, body, encoding.is_some(), move |body, batch| {
                    encoding.unwrap_or(Encoding::Json).read(body, batch)
                })
                .await
                .map(|taken| encoding.unwrap_or(Encoding::Json).answer(&taken)),
        };
        let mut response = answered.unwrap_or_else(|refusal| match protocol {
            Protocol::Events => refused(&refusal, None, ""),
            Protocol::Traces => encoding.unwrap_or(Encoding::Json).refuse(&refusal),
        });
        if response.status() == http::StatusCode::METHOD_NOT_ALLOWED {
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(header::ALLOW, post);
        }
        response
    }

    async fn take<B, F>(
        &self,
        desk: Desk<'_>,
        head: &request::Parts,
        body: B,
        spoken: bool,
        read: F,
    ) -> Result<Taken, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        F: FnOnce(&[u8], &mut Batch<'_>) -> Result<(), Refusal> + Send + 'static,
    {
        if head.method != Method::POST {
            return Err(Refusal::new(
                405,
                "method_not_allowed",
                "this address takes POST",
            ));
        }
        let account = match head.extensions.get::<Account>() {
            Some(account) => account.clone(),
            None => entrance::account(desk.keys, &head.headers)?,
        };
        if !spoken {
            return Err(Refusal::new(
                415,
                "unsupported_content_type",
                "this address does not read that content type: /v1/events takes application/x-ndjson, /v1/traces takes application/x-protobuf and application/json",
            ));
        }
        let packed = packed(&head.headers)?;
        let body = entrance::receive(desk.settings, &head.headers, body).await?;
        let room = tokio::time::timeout(
            desk.settings.receive_timeout(),
            Arc::clone(&self.room).acquire_owned(),
        )
        .await;
        let Ok(Ok(room)) = room else {
            return Err(unavailable(
                "busy",
                "too many bodies are being read: try again in a moment",
            ));
        };
        let work = Work {
            keys: desk.keys.clone(),
            account,
            app: entrance::app(&head.headers),
            catalog: Arc::clone(desk.catalog),
            retention: self.retention,
            limit: desk.settings.max_body_bytes,
        };
        let failed = || Refusal::new(500, "internal", "the events could not be read");
        // Reading takes as long as a body is large: requests must not wait for it.
        let mut taken = tokio::task::spawn_blocking(move || {
            let body = if packed {
                unpack(&body, work.limit)?
            } else {
                body
            };
            work.read(&body, read)
        })
        .await
        .map_err(|_| failed())??;
        let count = taken.events.len();
        let events = std::mem::take(&mut taken.events);
        if let Err(error) = desk.emitter.append(events).await {
            tracing::warn!(%error, "events of another gateway could not be recorded; their sender was told to send them again");
            return Err(unavailable(
                "spool_full",
                "the events cannot be recorded right now and none was taken: send them again in a moment",
            ));
        }
        drop(room);
        taken.accepted = count;
        Ok(taken)
    }
}

/// What a body is read with.
struct Work {
    keys: Keys,
    account: Account,
    app: String,
    catalog: Arc<Catalog>,
    retention: Option<Duration>,
    limit: usize,
}

impl Work {
    fn read<F>(&self, body: &[u8], read: F) -> Result<Taken, Refusal>
    where
        F: FnOnce(&[u8], &mut Batch<'_>) -> Result<(), Refusal>,
    {
        let sender = Sender::new(&self.keys, &self.account, &self.app, &self.catalog);
        let mut batch = Batch::new(&sender, self.retention)
            .map_err(|_| Refusal::new(500, "internal", "the event schema cannot be used"))?;
        read(body, &mut batch)?;
        Ok(batch.finish())
    }
}

/// The content type without its parameters; empty if there is none.
fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.map_or("", |value| value.to_str().unwrap_or("?"));
    text.split(';').next().unwrap_or_default().trim()
}

/// Whether the body is packed.
///
/// # Errors
/// 415 when it is packed in a way that cannot be unpacked here.
fn packed(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None | Some(b"" | b"identity" | b"none") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(_) => Err(Refusal::new(
            415,
            "unsupported_encoding",
            "bodies are taken as they are or packed with gzip",
        )),
    }
}

/// Unpacks a body. Unpacked it may be as large as any other, however small it came.
fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Refusal> {
    let mut body = Vec::new();
    let read = MultiGzDecoder::new(packed)
        .take(limit as u64 + 1)
        .read_to_end(&mut body);
    if body.len() > limit {
        return Err(Refusal::new(
            413,
            "body_too_large",
            format!("unpacked, the request is larger than {limit} bytes: send it in parts"),
        ));
    }
    match read {
        Ok(_) => Ok(body.into()),
        Err(_) => Err(Refusal::new(
            400,
            "unreadable",
            "the body is said to be packed with gzip and cannot be unpacked to its end",
        )),
    }
}

fn too_many(what: &str) -> Refusal {
    Refusal::new(
        413,
        "too_many_events",
        format!(
            "the request has more than {} {what} that are events: send it in parts; nothing was taken",
            batch::MOST
        ),
    )
}

fn unavailable(code: &'static str, message: &str) -> Refusal {
    Refusal {
        retry_after: Some(1),
        ..Refusal::new(503, code, message)
    }
}
