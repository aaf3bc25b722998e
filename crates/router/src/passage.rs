//! From a provider's words to the client's. An answer in the dialect that the client speaks passes as it is, but for its id,
//! its model's name and its usage; any other is written anew from its pieces.

use crate::adapters::Dialect;
use crate::answer::{self, Bill, Head, Writer, sse as write_event};
use crate::ask::{Ask, Operation};
use crate::meter::Meter;
use crate::mould::Mould;
use crate::piece::{Piece, UpstreamError};
use crate::sse::Event;
use crate::veil;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How an answer goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// As it is: chat chunks to a chat client.
    Chat,
    /// As it is: messages events to a messages client.
    Messages,
    /// Written anew.
    Anew,
    /// Written anew, without what would tell whose model it is.
    Veiled,
}

impl Passage {
    /// How an answer goes from a provider's dialect to a client's.
    pub fn between(operation: Operation, dialect: Dialect) -> Self {
        match (operation, dialect) {
            (
                Operation::Chat | Operation::Embeddings,
                Dialect::Openai | Dialect::OpenaiCompatible,
            ) => Self::Chat,
            (Operation::Messages, Dialect::Anthropic) => Self::Messages,
            _ => Self::Anew,
        }
    }

    /// What the client reads of a whole answer: `body` is how the provider said it.
    pub fn whole(
        self,
        ask: &Ask,
        head: &Head,
        body: Bytes,
        pieces: &[Piece],
        bill: &Bill,
    ) -> Bytes {
        match self {
            Self::Chat => patch_whole(&body, head, bill).into(),
            Self::Messages => body,
            Self::Anew => answer::whole(ask.operation, head, pieces, bill)
                .to_string()
                .into(),
            Self::Veiled => {
                let pieces: Vec<Piece> = pieces.iter().map(veil::piece).collect();
                Self::Anew.whole(ask, head, body, &pieces, bill)
            }
        }
    }
}

/// Writes what the client reads of one streamed answer.
pub struct Voice {
    writer: Writer,
    passage: Passage,
    head: Head,
    include_usage: bool,
    usage_sent: bool,
    mould: Mould,
}

impl Voice {
    /// For the answer to one ask.
    pub fn new(ask: &Ask, passage: Passage, head: Head) -> Self {
        Self {
            writer: Writer::new(ask.operation, head.clone(), ask.include_usage),
            passage,
            head,
            include_usage: ask.include_usage,
            usage_sent: false,
            mould: Mould::default(),
        }
    }

    /// Meters and writes an event that is like the last but for its text. False where it is not: then it is to be decoded.
    pub fn again(&mut self, event: &Event, meter: &mut Meter, out: &mut Vec<u8>) -> bool {
        let poured = self.mould.pour(event, out);
        poured.inspect(|text| meter.piece(text)).is_some()
    }

    /// Meters the pieces of one event and appends what the client reads of it.
    ///
    /// # Errors
    /// The error that the provider says in the middle of its answer.
    pub fn event(
        &mut self,
        event: &Event,
        pieces: &[Piece],
        meter: &mut Meter,
        out: &mut Vec<u8>,
    ) -> Result<(), UpstreamError> {
        for piece in pieces {
            if let Piece::Failed(error) = piece {
                return Err(error.clone());
            }
            meter.piece(piece);
        }
        let (data, from) = (event.json(), out.len());
        match self.passage {
            // Clients parse every event they are given.
            Passage::Chat | Passage::Messages if data.is_empty() => {}
            Passage::Anew => {
                for piece in pieces {
                    self.writer.piece(piece, out);
                }
            }
            Passage::Veiled => {
                for piece in pieces {
                    self.writer.piece(&veil::piece(piece), out);
                }
            }
            Passage::Messages => write_event(
                Some(&event.name)
                    .filter(|name| !name.is_empty())
                    .map(String::as_str),
                &event.data,
                out,
            ),
            // Ours follows.
            Passage::Chat if data == b"[DONE]" => {}
            Passage::Chat => {
                let has_usage = pieces.iter().any(|piece| matches!(piece, Piece::Usage(_)));
                let bill = has_usage.then(|| meter.bill());
                self.usage_sent |= patch(
                    &event.data,
                    &self.head,
                    bill.as_ref(),
                    self.include_usage,
                    out,
                );
            }
        }
        self.mould.learn(event, pieces, &out[from..]);
        Ok(())
    }

    /// Appends the end of a whole answer.
    pub fn end(&mut self, bill: &Bill, out: &mut Vec<u8>) {
        match self.passage {
            Passage::Messages => {}
            Passage::Chat if self.usage_sent || !self.include_usage => {
                write_event(None, b"[DONE]", out);
            }
            Passage::Chat | Passage::Anew | Passage::Veiled => self.writer.end(bill, out),
        }
    }

    /// Appends the end of an answer that broke.
    pub fn fail(&mut self, error: &UpstreamError, out: &mut Vec<u8>) {
        self.writer.fail(error, out);
    }
}

/// The parts of a chat answer that the router changes, as they stand in the text.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
}

/// Writes a chunk with our id, model and usage in the place of the provider's. True when it carried the usage.
fn patch(
    data: &[u8],
    head: &Head,
    bill: Option<&Bill>,
    include_usage: bool,
    out: &mut Vec<u8>,
) -> bool {
    let Some((spans, only_usage)) = spans(data, head, bill.filter(|_| include_usage)) else {
        write_event(None, data, out);
        return false;
    };
    if only_usage && !include_usage {
        return false;
    }
    let mut chunk = Vec::with_capacity(data.len() + 64);
    splice(data, spans, &mut chunk);
    write_event(None, &chunk, out);
    bill.is_some() && include_usage
}

/// A whole chat answer with our id, model and usage in the place of the provider's.
fn patch_whole(data: &[u8], head: &Head, bill: &Bill) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 128);
    match spans(data, head, Some(bill)) {
        Some((spans, _)) => splice(data, spans, &mut out),
        None => out.extend_from_slice(data),
    }
    out
}

/// What stands where, and what comes in its place; and whether the text holds usage and no choice.
type Spans = Vec<(std::ops::Range<usize>, Vec<u8>)>;

fn spans(data: &[u8], head: &Head, bill: Option<&Bill>) -> Option<(Spans, bool)> {
    let text = std::str::from_utf8(data).ok()?;
    let parts: Parts<'_> = serde_json::from_str(text).ok()?;
    let span = |part: &RawValue| {
        let from = part.get().as_ptr() as usize - text.as_ptr() as usize;
        from..from + part.get().len()
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string().into_bytes();
    let mut spans = Vec::with_capacity(3);
    if let Some(id) = parts.id {
        spans.push((span(id), quoted(&head.id)));
    }
    if let Some(model) = parts.model {
        spans.push((span(model), quoted(&head.model)));
    }
    let usage = parts.usage.filter(|usage| usage.get() != "null");
    if let Some(usage) = usage {
        let ours = bill.map_or_else(
            || b"null".to_vec(),
            |bill| answer::chat::usage(bill).to_string().into_bytes(),
        );
        spans.push((span(usage), ours));
    }
    spans.sort_by_key(|(span, _)| span.start);
    let no_choice = parts.choices.is_none_or(|choices| {
        choices
            .get()
            .bytes()
            .filter(|b| !b.is_ascii_whitespace())
            .eq(*b"[]")
    });
    Some((spans, usage.is_some() && no_choice))
}

fn splice(data: &[u8], spans: Spans, out: &mut Vec<u8>) {
    let mut from = 0;
    for (span, ours) in spans {
        out.extend_from_slice(&data[from..span.start]);
        out.extend_from_slice(&ours);
        from = span.end;
    }
    out.extend_from_slice(&data[from..]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::adapters::adapter;
    use crate::emit::Emitter;
    use crate::piece::Usage;
    use crate::sse::Parser;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::sync::Arc;

    /// What a client reads of a stream that ends well, and what is billed for it.
    fn spoken(operation: Operation, dialect: Dialect, stream: &str) -> String {
        said(operation, dialect, stream, true).0
    }

    /// The same, with or without a look whether an event is like the last.
    fn said(
        operation: Operation,
        dialect: Dialect,
        stream: &str,
        moulded: bool,
    ) -> (String, Usage) {
        let (emitter, _events) = Emitter::piped();
        let mut meter = Meter::start(
            emitter.admit().unwrap(),
            Arc::default(),
            "t",
            Arc::default(),
        );
        let body = br#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#;
        let ask = crate::entrance::ask(operation, body).unwrap();
        let head = Head {
            id: "ours".to_owned(),
            model: "a/m".to_owned(),
            provider: "p".to_owned(),
            created: 1,
        };
        let mut voice = Voice::new(&ask, Passage::between(operation, dialect), head);
        let (mut parser, mut decoder) = (Parser::new(1 << 20), adapter(dialect).stream());
        let (mut events, mut out) = (Vec::new(), Vec::new());
        parser.push(stream.as_bytes(), &mut events).unwrap();
        parser.finish(&mut events).unwrap();
        for event in events {
            if moulded && voice.again(&event, &mut meter, &mut out) {
                continue;
            }
            let mut pieces = Vec::new();
            decoder.event(&event, &mut pieces).unwrap();
            voice.event(&event, &pieces, &mut meter, &mut out).unwrap();
        }
        assert!(decoder.at_end());
        let usage = meter.bill().usage;
        voice.end(&meter.bill(), &mut out);
        (String::from_utf8(out).unwrap(), usage)
    }

    /// The JSON of each event.
    fn events_of(said: &str) -> Vec<Value> {
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or(Value::Null))
            .collect()
    }

    #[test]
    fn empty_events_and_the_end_do_not_pass_as_they_are() {
        let out = spoken(
            Operation::Chat,
            Dialect::Openai,
            "data\n\ndata: {\"id\":\"x\",\"choices\":[]}\n\ndata: \n\ndata:  [DONE] \n\n",
        );
        assert_eq!(
            out,
            "data: {\"id\":\"ours\",\"choices\":[]}\n\ndata: [DONE]\n\n"
        );
        let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let out = spoken(
            Operation::Messages,
            Dialect::Anthropic,
            &format!("event: ping\ndata\n\n{stop}"),
        );
        assert_eq!(out, stop);
    }

    proptest! {
        #[test]
        fn a_mould_changes_nothing(chunks in prop::collection::vec((0..6_usize, 0..9_usize), 0..20)) {
            let texts = [r#""a""#, r#""x""#, r#""b\n\"c\"""#, r#"" \u00e4\ud83c\udf0a""#, r#""""#, "null", "5", r#"[{"type":"text","text":"d"}]"#, r#""stop""#];
            let (mut chat, mut messages) = (String::new(), "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":3}}}\n\n".to_owned());
            for (shape, text) in chunks {
                let text = texts[text];
                chat += &match shape {
                    0..=2 => format!("data: {{\"id\":\"x\",\"model\":\"y\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{text}}}}}]}}\n\n"),
                    3 => format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":{text}}}}}],\"usage\":null}}\n\n"),
                    4 => format!("data: {{\"id\":\"x\",\ndata: \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\ndata: {text}}}}}]}}\n\n"),
                    _ => format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"reasoning\":{text}}}}}]}}\n\n"),
                };
                messages += &match shape {
                    0..=3 => format!("event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":{text}}}}}\n\n"),
                    4 => "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n".to_owned(),
                    _ => "event: ping\ndata: {\"type\":\"ping\"}\n\n".to_owned(),
                };
            }
            chat += "data: [DONE]\n\n";
            messages += "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
            let both = |operation, dialect, stream: &str| (said(operation, dialect, stream, true), said(operation, dialect, stream, false));
            for (operation, dialect, stream) in [
                (Operation::Chat, Dialect::Openai, &chat),
                (Operation::Messages, Dialect::Anthropic, &messages),
            ] {
                let (with, without) = both(operation, dialect, stream);
                prop_assert_eq!(with, without);
            }
            for (operation, dialect, stream) in [
                (Operation::Messages, Dialect::Openai, &chat),
                (Operation::Chat, Dialect::Anthropic, &messages),
            ] {
                let (with, without) = both(operation, dialect, stream);
                prop_assert_eq!((events_of(&with.0), with.1), (events_of(&without.0), without.1));
            }
        }
    }
}
