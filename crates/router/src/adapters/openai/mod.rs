//! OpenAI itself: the answers are read as for all that copy it, only the request differs.

mod request;

use super::openai_compatible::{error, reply, stream};
use super::{Adapter, Decoder, Garbage, Outgoing, Target, Unsupported};
use crate::ask::Ask;
use crate::piece::{Piece, UpstreamError};

/// OpenAI's own dialect.
pub struct Openai;

impl Adapter for Openai {
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
