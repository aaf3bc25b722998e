//! The OpenAI chat API as most providers serve it. Also read for Groq, Mistral, DeepSeek, OpenRouter, Together, xAI and others:
//! what they add or leave out is told where it is read.

pub(super) mod error;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod stream;
pub(super) mod usage;

use super::{Adapter, Decoder, Garbage, Outgoing, Target, Unsupported};
use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};

/// The dialect most providers speak.
pub struct OpenaiCompatible;

impl Adapter for OpenaiCompatible {
    fn request(&self, ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
        request::request(ask, target)
    }

    fn reply(&self, ask: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage> {
        reply::reply(ask, body)
    }

    fn stream(&self) -> Box<dyn Decoder> {
        Box::new(stream::Stream::default())
    }

    fn error(&self, status: u16, body: &[u8]) -> UpstreamError {
        error::error(status, body)
    }
}
