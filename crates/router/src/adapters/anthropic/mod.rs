//! The Anthropic messages API.

pub mod error;
pub mod reply;
pub mod request;
pub mod stream;
pub mod usage;

use super::{Adapter, Decoder, Garbage, Outgoing, Target, Unsupported};
use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};

/// The dialect.
pub struct Anthropic;

impl Adapter for Anthropic {
    fn request(&self, ask: &Ask, target: Target<'_>) -> Result<Outgoing, Unsupported> {
        request::outgoing(ask, target)
    }

    fn reply(&self, _: &Ask, body: &[u8]) -> Result<Vec<Piece>, Garbage> {
        reply::read(body)
    }

    fn stream(&self) -> Box<dyn Decoder> {
        Box::<stream::Stream>::default()
    }

    fn error(&self, status: u16, body: &[u8]) -> UpstreamError {
        error::read(status, body)
    }
}
