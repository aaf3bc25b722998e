//! What the adapters' tests share.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Decoder, Outgoing, Target};
use crate::ask::{Ask, Operation};
use crate::judge::tools::Offered;
use crate::piece::Piece;
use crate::sse::Event;
use bytes::Bytes;
use serde_json::Value;

/// A chat request with this body.
pub(super) fn ask(body: Value) -> Ask {
    Ask {
        operation: Operation::Chat,
        model: "author/model".to_owned(),
        stream: false,
        include_usage: false,
        body: body.as_object().unwrap().clone(),
        messages_body: None,
        session: String::new(),
        offered: Offered::default(),
    }
}

/// A place to send it.
pub(super) fn target(model: &str) -> Target<'_> {
    Target {
        model,
        max_output: 8192,
        key: "test-key",
    }
}

/// What would be sent.
pub(super) fn sent(out: &Outgoing) -> Value {
    serde_json::from_slice(&out.body).unwrap()
}

/// The pieces of a stream that must be whole.
pub(super) fn pieces(mut decoder: Box<dyn Decoder>, events: &[&str]) -> Vec<Piece> {
    let mut out = Vec::new();
    for data in events {
        decoder
            .event(
                &Event {
                    name: String::new(),
                    data: Bytes::copy_from_slice(data.as_bytes()),
                },
                &mut out,
            )
            .unwrap();
    }
    out
}

/// Tool calls put together: id, name, arguments.
pub(super) fn calls(pieces: &[Piece]) -> Vec<(String, String, String)> {
    let mut calls: Vec<(String, String, String)> = Vec::new();
    for piece in pieces {
        if let Piece::ToolCall {
            index,
            id,
            name,
            arguments,
        } = piece
        {
            let index = *index as usize;
            assert!(index <= calls.len());
            if index == calls.len() {
                calls.push((
                    id.clone().unwrap(),
                    name.clone().unwrap_or_default(),
                    String::new(),
                ));
            }
            calls[index].2.push_str(arguments);
        }
    }
    calls
}
