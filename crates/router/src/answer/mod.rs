//! Answers in the shape the client asked in.

pub mod chat;
pub mod echo;
pub mod error;
pub mod messages;

use crate::ask::Operation;
use crate::piece::{Piece, UpstreamError, Usage};
use serde_json::Value;

/// What is known of one answer from its start: its id and names, as the client sees them.
#[derive(Debug, Clone)]
pub struct Head {
    /// Our id of the answer.
    pub id: String,
    /// The model as the catalog names it.
    pub model: String,
    /// The provider that answers.
    pub provider: String,
    /// Seconds since 1970.
    pub created: i64,
}

/// What the client pays and what it is told of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bill {
    /// Token counts.
    pub usage: Usage,
    /// Nano-dollars.
    pub cost_nanousd: i64,
}

/// Writes the parts of a streamed answer.
pub enum Writer {
    /// Chat chunks.
    Chat(chat::Chunks),
    /// Messages events.
    Messages(messages::Events),
}

impl Writer {
    /// A writer for one answer.
    pub fn new(operation: Operation, head: Head, include_usage: bool) -> Self {
        match operation {
            Operation::Messages => Self::Messages(messages::Events::new(head)),
            Operation::Chat | Operation::Embeddings => {
                Self::Chat(chat::Chunks::new(head, include_usage))
            }
        }
    }

    /// Appends what the client reads of one piece.
    pub fn piece(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        match self {
            Self::Chat(chunks) => chunks.piece(piece, out),
            Self::Messages(events) => events.piece(piece, out),
        }
    }

    /// Appends the end of a whole answer.
    pub fn end(&mut self, bill: &Bill, out: &mut Vec<u8>) {
        match self {
            Self::Chat(chunks) => chunks.end(bill, out),
            Self::Messages(events) => events.end(bill, out),
        }
    }

    /// Appends the end of an answer that broke.
    pub fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        match self {
            Self::Chat(chunks) => chunks.fail(error, out),
            Self::Messages(events) => events.fail(error, out),
        }
    }
}

/// A whole answer out of its pieces.
pub fn whole(operation: Operation, head: &Head, pieces: &[Piece], bill: &Bill) -> Value {
    match operation {
        Operation::Messages => messages::whole(head, pieces, bill),
        Operation::Chat | Operation::Embeddings => chat::whole(head, pieces, bill),
    }
}

/// One server-sent event.
pub(crate) fn sse(name: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    // A line end inside would end the field: what came in as several lines goes out as several.
    for line in data.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Dollars, as clients of other routers read them.
pub(crate) fn dollars(nanousd: i64) -> f64 {
    nanousd as f64 / 1e9
}
