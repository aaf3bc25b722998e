//! An answer in parts, each an object like a whole one. There is no mark of the end: the finish reason is it, and the
//! connection's end.

use super::reply;
use crate::adapters::{Decoder, Garbage};
use crate::piece::Piece;
use crate::sse::Event;
use serde_json::Value;

/// Reads parts.
#[derive(Debug, Default)]
pub struct Stream {
    started: bool,
    finished: bool,
    complete: bool,
    calls: u32,
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, out: &mut Vec<Piece>) -> Result<(), Garbage> {
        if event.data.trim_ascii().is_empty() {
            return Ok(());
        }
        let body: Value =
            serde_json::from_slice(&event.data).map_err(|_| Garbage("a part that is not JSON"))?;
        if !self.started {
            self.started = true;
            reply::start(&body, out);
        }
        let from = out.len();
        reply::part(&body, &mut self.calls, out);
        self.finished |= out
            .iter()
            .skip(from)
            .any(|piece| matches!(piece, Piece::Finish { .. }));
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn at_end(&mut self) -> bool {
        self.complete = self.finished;
        self.complete
    }
}
