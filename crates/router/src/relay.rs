//! A streamed answer on its way to the client: each event is read, metered and passed on as it arrives.

use crate::answer::Head;
use crate::ask::Ask;
use crate::meter::Meter;
use crate::passage::{Passage, Voice};
use crate::piece::{ErrorKind, Piece, UpstreamError};
use crate::settings::Settings;
use crate::sse::Event;
use crate::upstream::Stream;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// So many bytes leave even while more are there.
const FULL: usize = 16 << 10;

/// What is dropped with the client.
struct Work {
    stream: Stream,
    meter: Meter,
}

/// The body of a streamed answer.
pub struct Relay {
    work: Option<Work>,
    voice: Voice,
    settings: Arc<Settings>,
    quiet: Pin<Box<Sleep>>,
    heard: Instant,
    deadline: Instant,
    bytes: usize,
    out: Vec<u8>,
    events: Vec<Event>,
    pieces: Vec<Piece>,
}

/// How a step ended.
enum Step {
    GoOn,
    Complete,
    Broke(UpstreamError),
}

impl Relay {
    /// Relays a stream that has begun.
    pub fn new(
        stream: Stream,
        meter: Meter,
        ask: &Ask,
        passage: Passage,
        head: Head,
        settings: Arc<Settings>,
        deadline: Instant,
    ) -> Self {
        Self {
            work: Some(Work { stream, meter }),
            voice: Voice::new(ask, passage, head),
            quiet: Box::pin(tokio::time::sleep(settings.idle_timeout())),
            settings,
            heard: Instant::now(),
            deadline,
            bytes: 0,
            out: Vec::with_capacity(4096),
            events: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Passes on what came before the relay was there.
    pub fn begin(&mut self) {
        let Some(work) = &mut self.work else { return };
        let begun = std::mem::take(&mut work.stream.begun);
        let mut step = Step::GoOn;
        for (event, pieces) in begun {
            self.pieces = pieces;
            step = self.pass(&event);
            if !matches!(step, Step::GoOn) {
                break;
            }
        }
        if matches!(step, Step::GoOn)
            && self
                .work
                .as_ref()
                .is_some_and(|work| work.stream.decoder.is_complete())
        {
            step = Step::Complete;
        }
        self.settle(step);
    }

    /// Meters the pieces of one event and writes what the client reads of it.
    fn pass(&mut self, event: &Event) -> Step {
        let Some(work) = &mut self.work else {
            return Step::GoOn;
        };
        match self
            .voice
            .event(event, &self.pieces, &mut work.meter, &mut self.out)
        {
            Ok(()) => Step::GoOn,
            // The provider's sentence may quote the request, which is gone by now.
            Err(error) => Step::Broke(broke(error.kind, error.kind.sentence())),
        }
    }

    /// What is to be written, as one frame.
    fn frame(&mut self) -> Frame<Bytes> {
        let chunk = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        Frame::data(chunk)
    }

    fn take_in(&mut self, data: &[u8]) -> Step {
        let Some(work) = &mut self.work else {
            return Step::GoOn;
        };
        self.heard = Instant::now();
        work.meter.heard();
        self.bytes += data.len();
        let limit = self.settings.max_answer_bytes;
        if self.bytes > limit || work.stream.parser.push(data, &mut self.events).is_err() {
            return Step::Broke(broke(
                ErrorKind::Garbage,
                "the provider's answer is too large",
            ));
        }
        self.drain_events()
    }

    fn drain_events(&mut self) -> Step {
        let mut events = std::mem::take(&mut self.events);
        let mut step = Step::GoOn;
        for event in events.drain(..) {
            let Some(work) = &mut self.work else { break };
            if self.voice.again(&event, &mut work.meter, &mut self.out) {
                continue;
            }
            self.pieces.clear();
            if work.stream.decoder.event(&event, &mut self.pieces).is_err() {
                step = Step::Broke(broke(
                    ErrorKind::Garbage,
                    "the provider's answer is not valid",
                ));
                break;
            }
            step = self.pass(&event);
            if matches!(step, Step::GoOn)
                && self
                    .work
                    .as_ref()
                    .is_some_and(|work| work.stream.decoder.is_complete())
            {
                step = Step::Complete;
            }
            if !matches!(step, Step::GoOn) {
                break;
            }
        }
        events.clear();
        self.events = events;
        step
    }

    /// Ends the answer where a step says so.
    fn settle(&mut self, step: Step) {
        if matches!(step, Step::GoOn) {
            return;
        }
        let Some(mut work) = self.work.take() else {
            return;
        };
        match step {
            Step::GoOn => {}
            Step::Complete => {
                work.meter.done();
                self.voice.end(&work.meter.bill(), &mut self.out);
                work.stream.body.finish();
            }
            Step::Broke(error) => {
                work.meter.broke(&error, 200);
                self.voice.fail(&error, &mut self.out);
            }
        }
    }
}

fn broke(kind: ErrorKind, message: &str) -> UpstreamError {
    UpstreamError {
        status: 200,
        kind,
        message: message.to_owned(),
        retry_after: None,
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if this.out.len() >= FULL || (this.work.is_none() && !this.out.is_empty()) {
                return Poll::Ready(Some(Ok(this.frame())));
            }
            let Some(work) = &mut this.work else {
                return Poll::Ready(None);
            };
            let step = match Pin::new(&mut work.stream.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.take_in(&data),
                    Err(_) => Step::GoOn,
                },
                Poll::Ready(Some(Err(_))) => Step::Broke(broke(
                    ErrorKind::Connection,
                    "the connection to the provider broke",
                )),
                Poll::Ready(None) => {
                    if work.stream.parser.finish(&mut this.events).is_err() {
                        Step::Broke(broke(
                            ErrorKind::Garbage,
                            "the provider's answer is not valid",
                        ))
                    } else {
                        match this.drain_events() {
                            Step::GoOn
                                if this
                                    .work
                                    .as_ref()
                                    .is_some_and(|work| work.stream.decoder.at_end()) =>
                            {
                                Step::Complete
                            }
                            Step::GoOn => Step::Broke(broke(
                                ErrorKind::Connection,
                                "the provider closed the stream before its end",
                            )),
                            step => step,
                        }
                    }
                }
                // Chunks that are there together leave in one write, which is what a chunk costs most; nothing waits for what
                // is not there.
                Poll::Pending if !this.out.is_empty() => {
                    return Poll::Ready(Some(Ok(this.frame())));
                }
                Poll::Pending => {
                    ready!(this.quiet.as_mut().poll(context));
                    // The timer is not moved with every chunk: when it rings, it looks when the last one came.
                    let now = Instant::now();
                    let silent = now.saturating_duration_since(this.heard);
                    if now >= this.deadline {
                        Step::Broke(broke(ErrorKind::Timeout, "the answer took too long"))
                    } else if silent >= this.settings.idle_timeout() {
                        Step::Broke(broke(
                            ErrorKind::Timeout,
                            "the provider fell silent in the middle of its answer",
                        ))
                    } else {
                        let next = (this.heard + this.settings.idle_timeout()).min(this.deadline);
                        this.quiet.as_mut().reset(next.into());
                        continue;
                    }
                }
            };
            let step = match step {
                Step::GoOn if Instant::now() >= this.deadline => {
                    Step::Broke(broke(ErrorKind::Timeout, "the answer took too long"))
                }
                step => step,
            };
            this.settle(step);
        }
    }
}

impl Drop for Relay {
    /// The client left. The provider goes on and bills: its count is read for a while, then the event is written.
    fn drop(&mut self) {
        let Some(mut work) = self.work.take() else {
            return;
        };
        let linger = Duration::from_secs(self.settings.linger_s);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if work.meter.is_stopping() || linger.is_zero() {
            return;
        }
        work.meter.client_gone();
        let stopped = work.meter.stopped();
        let mut left = self.settings.max_answer_bytes.saturating_sub(self.bytes);
        runtime.spawn(async move {
            let Work { stream, meter } = &mut work;
            let (mut events, mut pieces) = (Vec::new(), Vec::new());
            let rest = async {
                while let Some(Ok(frame)) = stream.body.frame().await {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    left = left.saturating_sub(data.len());
                    if left == 0 || stream.parser.push(&data, &mut events).is_err() {
                        break;
                    }
                    for event in events.drain(..) {
                        pieces.clear();
                        if stream.decoder.event(&event, &mut pieces).is_err() {
                            return;
                        }
                        pieces.iter().for_each(|piece| meter.piece(piece));
                    }
                    if stream.decoder.is_complete() {
                        break;
                    }
                }
            };
            tokio::select! {
                _ = tokio::time::timeout(linger, rest) => {}
                () = stopped => {}
            }
        });
    }
}
