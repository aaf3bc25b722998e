//! Anything that a provider may send, on its whole way to the client: as a whole answer, as a stream cut anywhere, and as an
//! error with any status.

use crate::client::{self, End};
use crate::dice::Dice;
use crate::said::Said;
use crate::stage::Stage;
use bytes::Bytes;
use tidemark_router::adapters::{Adapter, Dialect, adapter};
use tidemark_router::answer::error::Refusal;
use tidemark_router::answer::{Head, echo};
use tidemark_router::ask::{Ask, Operation};
use tidemark_router::judge::refusal::RefusalJudge;
use tidemark_router::meter::Meter;
use tidemark_router::passage::{Passage, Voice};
use tidemark_router::piece::{ErrorKind, Piece, UpstreamError};
use tidemark_router::sse::Parser;

/// The longest event.
const LIMIT: usize = 1 << 20;
/// Most characters of a provider's sentence that a client reads.
const SENTENCE: usize = 300;

/// Lets a provider of this dialect send the input.
pub fn check(dialect: Dialect, data: &[u8]) {
    Stage::with(|stage| {
        let mut dice = Dice::of(data);
        let adapter = adapter(dialect);
        for ask in stage.asks.clone() {
            whole(stage, dialect, &ask, data, &mut dice);
            if ask.stream {
                stream(stage, dialect, &ask, data, &mut dice);
            }
        }
        error(adapter, &stage.asks[0], data, &mut dice);
    });
}

/// The input as a body that came with a 200.
fn whole(stage: &mut Stage, dialect: Dialect, ask: &Ask, data: &[u8], dice: &mut Dice) {
    let Ok(pieces) = adapter(dialect).reply(ask, data) else {
        return;
    };
    let Some((mut meter, head)) = stage.sent(ask) else {
        return;
    };
    let mut said = Said::default();
    said.take_in(&pieces);
    if let Some(error) = failure(&pieces) {
        bearable(error);
        meter.attempt_failed(error);
        meter.broke(error, Refusal::from(error).status);
        stage.end(meter);
        return;
    }
    pieces.iter().for_each(|piece| meter.piece(piece));
    meter.done();
    let bill = meter.bill();
    let passage = Passage::between(ask.operation, dialect);
    let body = Bytes::copy_from_slice(data);
    let body = passage.whole(ask, &head, body, &pieces, &bill);
    client::is_object(&body);
    if passage == Passage::Anew {
        read_whole(ask.operation, &body, &said);
    }
    stage.end(meter);
    judge(ask, &pieces, &said, dice);
}

/// The input as a stream, as the relay takes it.
fn stream(stage: &mut Stage, dialect: Dialect, ask: &Ask, data: &[u8], dice: &mut Dice) {
    let Some((mut meter, head)) = stage.sent(ask) else {
        return;
    };
    let passage = Passage::between(ask.operation, dialect);
    let mut course = Course {
        parser: Parser::new(LIMIT),
        voice: Voice::new(ask, passage, head.clone()),
        pieces: Vec::new(),
        out: Vec::new(),
    };
    let end = course.run(adapter(dialect), &dice.cut(data), &mut meter);
    let Course {
        mut voice,
        pieces,
        mut out,
        ..
    } = course;
    match &end {
        Ok(()) => {
            meter.done();
            voice.end(&meter.bill(), &mut out);
        }
        Err(error) => {
            meter.broke(error, 200);
            voice.fail(error, &mut out);
        }
    }
    let mut said = Said::default();
    said.take_in(&pieces);
    let bill = meter.bill();
    stage.end(meter);
    read_stream(ask, passage, &head, &out, &said, end.is_ok());
    // The same pieces as a whole answer say the same.
    if end.is_ok() && passage == Passage::Anew {
        let body = passage.whole(ask, &head, Bytes::new(), &pieces, &bill);
        read_whole(ask.operation, &body, &said);
    }
    judge(ask, &pieces, &said, dice);
}

/// A stream on its way.
struct Course {
    parser: Parser,
    voice: Voice,
    /// All that was passed on.
    pieces: Vec<Piece>,
    out: Vec<u8>,
}

impl Course {
    fn run(
        &mut self,
        adapter: &dyn Adapter,
        parts: &[&[u8]],
        meter: &mut Meter,
    ) -> Result<(), UpstreamError> {
        let mut decoder = adapter.stream();
        let (mut events, mut pieces) = (Vec::new(), Vec::new());
        for part in parts.iter().map(Some).chain([None]) {
            match part {
                Some(part) => {
                    meter.heard();
                    self.parser.push(part, &mut events)
                }
                None => self.parser.finish(&mut events),
            }
            .map_err(|_| broke(ErrorKind::Garbage))?;
            for event in events.drain(..) {
                pieces.clear();
                decoder
                    .event(&event, &mut pieces)
                    .map_err(|_| broke(ErrorKind::Garbage))?;
                if let Some(error) = failure(&pieces) {
                    bearable(error);
                }
                self.voice
                    .event(&event, &pieces, meter, &mut self.out)
                    .map_err(|error| broke(error.kind))?;
                self.pieces.append(&mut pieces);
                if decoder.is_complete() {
                    return Ok(());
                }
            }
        }
        if decoder.at_end() {
            Ok(())
        } else {
            Err(broke(ErrorKind::Connection))
        }
    }
}

/// What a client reads of a stream is what the pieces say.
fn read_stream(ask: &Ask, passage: Passage, head: &Head, out: &[u8], said: &Said, fine: bool) {
    let (read, end) = match (ask.operation, passage) {
        (Operation::Messages, Passage::Anew) => client::messages_stream(out),
        (Operation::Messages, _) => return client::messages_passed(out),
        (_, Passage::Anew) => client::chat_stream(out),
        _ => {
            let end = client::chat_passed(out, &head.id, &head.model);
            assert!(end != End::Open && (end == End::Whole) == fine, "{end:?}");
            return;
        }
    };
    assert!(end != End::Open && (end == End::Whole) == fine, "{end:?}");
    if fine {
        same(ask.operation, &read, said, true);
    }
}

/// What a client reads of a whole answer is what the pieces say.
fn read_whole(operation: Operation, body: &[u8], said: &Said) {
    let read = match operation {
        Operation::Messages => client::messages_whole(body),
        _ => client::chat_whole(body),
    };
    same(operation, &read, said, false);
}

fn same(operation: Operation, read: &Said, said: &Said, streamed: bool) {
    if operation == Operation::Messages {
        // A refusal's words are text like any other there, in whatever order they came.
        assert!(read.text.len() == said.text.len() + said.declined.len());
        assert!(!said.declined.is_empty() || read.text == said.text);
        assert!(read.thought == said.thought && read.signature == said.signature);
        assert!(read.calls.len() == said.calls.len());
        for (read, said) in read.calls.iter().zip(&said.calls) {
            assert!(read.id == said.id && read.name == said.name);
            assert!(read.input() == said.input(), "{read:?} for {said:?}");
        }
    } else {
        let wanted = Said {
            signature: String::new(),
            finish: match said.finish.as_str() {
                "" if !streamed => "stop".to_owned(),
                finish => finish.to_owned(),
            },
            ..said.clone()
        };
        assert!(*read == wanted, "{read:?} for {wanted:?}");
    }
}

/// The judges come to the same verdict however the answer was cut.
fn judge(ask: &Ask, pieces: &[Piece], said: &Said, dice: &mut Dice) {
    let (mut at_once, mut as_it_came) = (RefusalJudge::default(), RefusalJudge::default());
    let (mut calls_at_once, mut calls_as_they_came) = (ask.offered.judge(), ask.offered.judge());
    at_once.text(&said.text);
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                let (a, b) = text.split_at(text.floor_char_boundary(dice.below(text.len() + 1)));
                as_it_came.text(a);
                as_it_came.text(b);
            }
            Piece::ToolCall {
                index,
                name,
                arguments,
                ..
            } => {
                let cut = arguments.floor_char_boundary(dice.below(arguments.len() + 1));
                let (a, b) = arguments.split_at(cut);
                calls_as_they_came.part(*index, name.as_deref(), a);
                calls_as_they_came.part(*index, None, b);
            }
            _ => {}
        }
    }
    for (index, call) in (0..).zip(&said.calls) {
        calls_at_once.part(index, Some(&call.name), &call.arguments);
    }
    assert!(at_once.declined() == as_it_came.declined());
    let counts = calls_at_once.finish();
    assert!(counts == calls_as_they_came.finish(), "{:?}", said.calls);
    assert!(counts.called as usize == said.calls.len());
    assert!(counts.invalid_json + counts.unknown_name + counts.schema_mismatch <= counts.called);
}

/// The input as a body that came with another status.
fn error(adapter: &dyn Adapter, ask: &Ask, data: &[u8], dice: &mut Dice) {
    const USUAL: [u16; 12] = [400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 529];
    let any = u16::try_from(dice.below(1000)).unwrap_or_default();
    for status in [USUAL[dice.below(USUAL.len())], any] {
        let error = adapter.error(status, data);
        assert!(error.status == status || status == 0);
        bearable(&error);
        let quoteless = echo::without(&error.message, ask);
        let refusal = Refusal::from(&UpstreamError {
            message: quoteless,
            ..error
        });
        assert!([400, 403, 429, 502, 503, 504].contains(&refusal.status));
        for operation in [Operation::Chat, Operation::Messages] {
            client::is_object(&refusal.body(Some(operation), "id"));
        }
    }
}

/// What a client may read of a provider's error.
fn bearable(error: &UpstreamError) {
    let message = &error.message;
    assert!(!message.is_empty() && message.chars().count() <= SENTENCE);
    assert!(!message.chars().any(char::is_control), "{message:?}");
    assert!(
        !error.kind.try_elsewhere() || message == error.kind.sentence(),
        "a sentence of the provider's about itself: {message:?}"
    );
}

fn failure(pieces: &[Piece]) -> Option<&UpstreamError> {
    pieces.iter().find_map(|piece| match piece {
        Piece::Failed(error) => Some(error),
        _ => None,
    })
}

fn broke(kind: ErrorKind) -> UpstreamError {
    UpstreamError {
        status: 200,
        kind,
        message: kind.sentence().to_owned(),
        retry_after: None,
    }
}
