//! Upstream dialects. One folder each, with the same file names: `request` (what is asked), `reply` (a whole answer),
//! `stream` (an answer in parts), `usage` (token counts), `error` (what a refusal means).
//!
//! An adapter holds no state and knows no network: bytes in, [`Piece`]s out. To add a dialect, add a folder, an arm in
//! [`adapter`], and its recorded exchanges in `tests/recorded.rs`.

pub mod anthropic;
mod chat;
mod fault;
mod finish;
pub mod gemini;
pub mod openai;
pub mod openai_compatible;
#[cfg(test)]
mod testing;
mod wire;

use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};
use crate::sse::Event;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// The OpenAI chat API as most providers serve it: `max_tokens`, `system`, no OpenAI-only fields.
    OpenaiCompatible,
    /// OpenAI itself: `max_completion_tokens`, `developer`.
    Openai,
    /// The Anthropic messages API.
    Anthropic,
    /// The Gemini `generateContent` API.
    Gemini,
}

/// Where an ask goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// What the provider itself calls the model.
    pub model: &'a str,
    /// Longest answer the model gives, in tokens; what Anthropic needs when the client named no limit.
    pub max_output: u64,
    /// Our key there; empty where none is needed.
    pub key: &'a str,
}

/// An HTTP request to an upstream, without its host.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Appended to the upstream's base URL, with its leading slash (`/chat/completions`), query included.
    pub path: String,
    /// Credentials and versions, marked sensitive where they are. `content-type` is set by the caller.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: Bytes,
}

/// What the provider cannot do, before any call: becomes a 400 that names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unsupported {
    /// Field of the chat request.
    pub param: String,
    /// What cannot be done there, and what could be done instead.
    pub message: String,
}

/// An answer that is not what its dialect says. Carries no content of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer is not valid: {0}")]
pub struct Garbage(pub &'static str);

/// One dialect.
pub trait Adapter: Send + Sync {
    /// The request in the provider's words.
    ///
    /// # Errors
    /// [`Unsupported`] for what the provider cannot do.
    fn request(&self, ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported>;

    /// A whole answer with a status of 200.
    ///
    /// # Errors
    /// [`Garbage`] when the body is not what the dialect says.
    fn reply(&self, ask: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage>;

    /// A reader for one answer in parts.
    fn stream(&self) -> Box<dyn Decoder>;

    /// What an answer with another status means. `body` may be anything: HTML, half of a JSON text, nothing.
    fn error(&self, status: u16, body: &[u8]) -> UpstreamError;
}

/// Reads one streamed answer.
pub trait Decoder: Send {
    /// The pieces of one event, appended to `out`.
    ///
    /// # Errors
    /// [`Garbage`] when the event is not what the dialect says.
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage>;

    /// Whether the dialect's end has been seen. A stream that stops before is broken, whatever its status was.
    fn is_complete(&self) -> bool;

    /// The connection has ended cleanly: whether the answer is whole. Where a dialect has no mark of the end, or providers
    /// forget it, a finish reason is enough.
    fn at_end(&self) -> bool {
        self.is_complete()
    }
}

/// The adapter of a dialect.
pub fn adapter(dialect: Dialect) -> &'static dyn Adapter {
    match dialect {
        Dialect::OpenaiCompatible => &openai_compatible::OpenaiCompatible,
        Dialect::Openai => &openai::Openai,
        Dialect::Anthropic => &anthropic::Anthropic,
        Dialect::Gemini => &gemini::Gemini,
    }
}
