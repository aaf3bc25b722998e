//! One attempt at one endpoint: send, wait for the answer to begin, and hear its first words, so that a failure up to there
//! can still be mended at another endpoint.

use crate::adapters::{Decoder, Garbage, Target};
use crate::ask::Ask;
use crate::meter::Meter;
use crate::piece::{ErrorKind, Piece, UpstreamError};
use crate::route::Candidate;
use crate::settings::Settings;
use crate::sse::{Event, Parser};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::{Duration, Instant};

/// The pool of connections to all upstreams.
pub type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Longest error body read.
const ERROR_BYTES: usize = 64 << 10;
const POOL_IDLE: Duration = Duration::from_secs(60);

/// A pool with the settings' connect timeout.
///
/// # Errors
/// When the TLS library offers none of the protocol versions wanted.
pub fn pool(settings: &Settings) -> Result<Pool, rustls::Error> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(Duration::from_millis(
        settings.connect_timeout_ms.max(1),
    )));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(connector))
}

/// An answer that has begun well.
pub enum Answer {
    /// A whole one: its body, and what it says.
    Whole {
        /// As the provider sent it.
        body: Bytes,
        /// What it says.
        pieces: Vec<Piece>,
    },
    /// A stream, with what came of it so far.
    Stream(Box<Stream>),
}

/// A stream under way.
pub struct Stream {
    /// The rest.
    pub body: Incoming,
    /// Cuts bytes into events.
    pub parser: Parser,
    /// Reads events.
    pub decoder: Box<dyn Decoder>,
    /// Events read and decoded, not yet relayed.
    pub begun: Vec<(Event, Vec<Piece>)>,
}

fn error(kind: ErrorKind, status: u16, message: &str) -> UpstreamError {
    UpstreamError {
        status,
        kind,
        message: message.to_owned(),
        retry_after: None,
    }
}

impl From<Garbage> for UpstreamError {
    fn from(_: Garbage) -> Self {
        error(
            ErrorKind::Garbage,
            200,
            "the provider's answer is not valid",
        )
    }
}

/// Why an attempt gave no answer.
pub enum Failure {
    /// The provider cannot do what is asked; nothing was sent.
    Unsupported(crate::adapters::Unsupported),
    /// It was tried.
    Upstream(UpstreamError),
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// Tries one endpoint.
///
/// # Errors
/// [`Failure`]; the meter knows of the attempt when something was sent.
pub async fn attempt(
    pool: &Pool,
    settings: &Settings,
    ask: &Ask,
    candidate: &Candidate<'_>,
    meter: &mut Meter,
    until: Instant,
) -> Result<Answer, Failure> {
    let target = Target {
        model: &candidate.endpoint.upstream,
        max_output: candidate.lane.max_output,
        key: &candidate.lane.reach.key,
    };
    let adapter = candidate.lane.reach.adapter;
    let outgoing = adapter.request(ask, target).map_err(Failure::Unsupported)?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{}", candidate.lane.reach.base, outgoing.path))
        .header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )
        .body(Full::new(outgoing.body))
        .map_err(|_| {
            error(
                ErrorKind::Connection,
                0,
                "the provider's address is not valid",
            )
        })?;
    request.headers_mut().extend(outgoing.headers);
    request.headers_mut().insert(
        header::ACCEPT,
        HeaderValue::from_static(if ask.stream {
            "text/event-stream"
        } else {
            "application/json"
        }),
    );

    meter.attempt(candidate);
    let begin = Duration::from_secs(settings.first_byte_timeout_s.max(1))
        .min(until.saturating_duration_since(Instant::now()));
    let late = || {
        error(
            ErrorKind::Timeout,
            0,
            "the provider did not begin to answer in time",
        )
    };
    let response = match tokio::time::timeout(begin, pool.request(request)).await {
        Err(_) => return Err(late().into()),
        Ok(Err(_)) => {
            return Err(error(
                ErrorKind::Connection,
                0,
                "the provider could not be reached",
            )
            .into());
        }
        Ok(Ok(response)) => response,
    };
    meter.heard();
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let read = tokio::time::timeout(begin, collect(body, ERROR_BYTES, settings)).await;
        let body = read.ok().and_then(Result::ok).unwrap_or_default();
        meter.heard();
        let mut error = adapter.error(head.status.as_u16(), &body);
        error.retry_after = retry_after(&head.headers).or(error.retry_after);
        return Err(error.into());
    }
    let is_stream = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            kind.trim_start()
                .to_ascii_lowercase()
                .starts_with("text/event-stream")
        });
    if ask.stream {
        if !is_stream {
            return Err(UpstreamError::from(Garbage("not a stream")).into());
        }
        return tokio::time::timeout(begin, begun(body, adapter.stream(), settings, meter))
            .await
            .map_err(|_| late())?
            .map_err(Failure::from);
    }
    let rest = until.saturating_duration_since(Instant::now());
    let body = tokio::time::timeout(rest, collect(body, settings.max_answer_bytes, settings))
        .await
        .map_err(|_| {
            error(
                ErrorKind::Timeout,
                200,
                "the provider did not finish its answer in time",
            )
        })??;
    meter.heard();
    let pieces = adapter.reply(ask, &body).map_err(UpstreamError::from)?;
    if let Some(Piece::Failed(error)) = pieces
        .iter()
        .find(|piece| matches!(piece, Piece::Failed(_)))
    {
        return Err(error.clone().into());
    }
    Ok(Answer::Whole { body, pieces })
}

/// Reads a stream up to its first piece.
async fn begun(
    mut body: Incoming,
    mut decoder: Box<dyn Decoder>,
    settings: &Settings,
    meter: &mut Meter,
) -> Result<Answer, UpstreamError> {
    let mut parser = Parser::new(settings.max_answer_bytes);
    let (mut events, mut begun) = (Vec::new(), Vec::new());
    let mut heard = 0;
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                meter.heard();
                heard += data.len();
                parser
                    .push(&data, &mut events)
                    .map_err(|_| UpstreamError::from(Garbage("an event too large")))?;
            }
            Some(Err(_)) => {
                return Err(error(
                    ErrorKind::Connection,
                    200,
                    "the connection to the provider broke",
                ));
            }
            None => {
                parser
                    .finish(&mut events)
                    .map_err(|_| UpstreamError::from(Garbage("an event too large")))?;
                if events.is_empty() {
                    return Err(error(
                        ErrorKind::Connection,
                        200,
                        "the provider closed the stream before it began",
                    ));
                }
            }
        }
        let mut said = false;
        for event in events.drain(..) {
            let mut pieces = Vec::new();
            decoder.event(&event, &mut pieces)?;
            if let Some(Piece::Failed(error)) = pieces
                .iter()
                .find(|piece| matches!(piece, Piece::Failed(_)))
            {
                return Err(error.clone());
            }
            said |= !pieces.is_empty();
            begun.push((event, pieces));
        }
        if said || decoder.is_complete() {
            return Ok(Answer::Stream(Box::new(Stream {
                body,
                parser,
                decoder,
                begun,
            })));
        }
        // Comments and pings may go on for ever: they cost a bounded number of events and of bytes.
        if begun.len() > 10_000 || heard > settings.max_answer_bytes {
            return Err(Garbage("a stream that says nothing").into());
        }
    }
}

/// A body, up to a limit and with a limit on silence.
async fn collect(
    mut body: Incoming,
    limit: usize,
    settings: &Settings,
) -> Result<Bytes, UpstreamError> {
    let mut all = BytesMut::new();
    loop {
        match tokio::time::timeout(settings.idle_timeout(), body.frame()).await {
            Err(_) => {
                return Err(error(
                    ErrorKind::Timeout,
                    200,
                    "the provider fell silent in the middle of its answer",
                ));
            }
            Ok(Some(Err(_))) => {
                return Err(error(
                    ErrorKind::Connection,
                    200,
                    "the connection to the provider broke",
                ));
            }
            Ok(None) => return Ok(all.freeze()),
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if all.len() + data.len() > limit {
                    return Err(error(
                        ErrorKind::Garbage,
                        200,
                        "the provider's answer is too large",
                    ));
                }
                all.extend_from_slice(&data);
            }
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
