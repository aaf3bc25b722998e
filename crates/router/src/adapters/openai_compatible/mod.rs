//! The OpenAI chat API as most providers serve it.

pub mod error;
pub mod reply;
pub mod request;
pub mod stream;
pub mod usage;

use super::{Adapter, Decoder, Garbage, Outgoing, Target, Unsupported};
use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};

/// The dialect.
pub struct OpenaiCompatible;

impl Adapter for OpenaiCompatible {
    fn request(&self, ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
        let mut body = request::body(ask, target);
        request::older_names(&mut body);
        Ok(request::outgoing(ask, target, &body))
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
