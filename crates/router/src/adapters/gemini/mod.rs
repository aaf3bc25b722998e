//! The Gemini `generateContent` API.

mod error;
mod reply;
mod request;
mod stream;
mod usage;

use super::{Adapter, Decoder, Garbage, Outgoing, Target, Unsupported};
use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};

/// Gemini's dialect.
pub struct Gemini;

impl Adapter for Gemini {
    fn request(&self, ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
        request::request(ask, target)
    }

    fn reply(&self, _: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage> {
        reply::reply(body)
    }

    fn stream(&self) -> Box<dyn Decoder> {
        Box::new(stream::Stream::default())
    }

    fn error(&self, status: u16, body: &[u8]) -> UpstreamError {
        error::error(status, body)
    }
}
