//! OpenAI itself: the same shapes, newer names in the request.

pub mod error;
pub mod reply;
pub mod request;
pub mod stream;
pub mod usage;

use super::{Adapter, Decoder, Garbage, Outgoing, Target, Unsupported};
use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};

/// The dialect.
pub struct Openai;

impl Adapter for Openai {
    fn request(&self, ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
        Ok(request::outgoing(ask, target))
    }

    fn reply(&self, ask: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage> {
        reply::read(ask, body)
    }

    fn stream(&self) -> Box<dyn Decoder> {
        Box::<stream::Stream>::default()
    }

    fn error(&self, status: u16, body: &[u8]) -> UpstreamError {
        error::read(status, body)
    }
}
