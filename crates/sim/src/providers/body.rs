//! Response bodies: all at once, or paced, broken and endless.

use super::answer::Tokens;
use super::behave::Pace;
use super::frames::Mark;
use super::ledger::{Ending, Entry, Ledger};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// An endless stream waits at least this long between its parts, or it would eat the machine.
const ENDLESS_PAUSE: Duration = Duration::from_millis(1);

/// A request's line in the ledger, written when this goes, whatever the reason.
pub(super) struct Bill {
    pub(super) ledger: Arc<Ledger>,
    pub(super) entry: Entry,
}

impl Drop for Bill {
    fn drop(&mut self) {
        let entry = Entry {
            provider: std::mem::take(&mut self.entry.provider),
            region: std::mem::take(&mut self.entry.region),
            model: std::mem::take(&mut self.entry.model),
            id: std::mem::take(&mut self.entry.id),
            ending: self.entry.ending,
            billed: self.entry.billed,
        };
        self.ledger.ended(entry);
    }
}

/// What follows the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The proper end.
    Done,
    /// The connection breaks.
    Cut,
    /// Nothing, for ever.
    Stall,
    /// The parts from this one on, again and again.
    Again(usize),
}

/// A body.
pub(super) enum Reply {
    Whole(Option<Bytes>),
    Paced(Box<Paced>),
}

/// A body that takes its time.
pub(super) struct Paced {
    data: Bytes,
    marks: Vec<Mark>,
    next: usize,
    /// Nothing after this byte goes out.
    stop: usize,
    end: End,
    pace: Pace,
    due: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether content was sent.
    started: bool,
    /// Whether the pause before the break was made.
    paused: bool,
    bill: Bill,
    /// What the whole answer costs.
    usage: Tokens,
    generated: u64,
}

impl Paced {
    /// `stop`: how many bytes go out, where not all do.
    pub(super) fn new(
        (data, marks): (Vec<u8>, Vec<Mark>),
        stop: Option<usize>,
        end: End,
        pace: Pace,
        bill: Bill,
        usage: Tokens,
    ) -> Self {
        Self {
            stop: stop.unwrap_or(data.len()).min(data.len()),
            data: Bytes::from(data),
            marks,
            next: 0,
            end,
            pace,
            due: Instant::now(),
            timer: None,
            started: false,
            paused: false,
            bill,
            usage,
            generated: 0,
        }
    }

    fn from(&self) -> usize {
        let before = self.next.checked_sub(1);
        before
            .and_then(|before| self.marks.get(before))
            .map_or(0, |mark| mark.end)
    }

    /// Charges for what was generated until now.
    fn charge(&mut self, whole: bool) {
        self.bill.entry.billed = if whole {
            self.usage
        } else if self.next == 0 {
            Tokens::default()
        } else {
            Tokens {
                completion: self.generated,
                reasoning: self.usage.reasoning.min(self.generated),
                ..self.usage
            }
        };
    }

    /// Waits until the next part is due.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = &mut self.timer else {
            return Poll::Ready(());
        };
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => {
                self.timer = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Sets the timer for a part of so many tokens.
    fn schedule(&mut self, tokens: u32) {
        let pause = match self.pace {
            Pace::PerChunk(pause) => pause,
            Pace::PerToken(pause) => pause.saturating_mul(tokens),
        };
        let pause = if matches!(self.end, End::Again(_)) {
            pause.max(ENDLESS_PAUSE)
        } else {
            pause
        };
        if pause.is_zero() {
            return;
        }
        self.due += pause;
        // A client that reads slowly does not get a burst afterwards.
        let now = Instant::now();
        if self.due + Duration::from_secs(1) < now {
            self.due = now;
        }
        if self.due > now {
            self.timer = Some(Box::pin(sleep_until(self.due)));
        }
    }

    fn part(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.wait(context).is_pending() {
            return Poll::Pending;
        }
        let from = self.from();
        if let Some(mark) = self
            .marks
            .get(self.next)
            .copied()
            .filter(|_| from < self.stop)
        {
            let part = self.data.slice(from..mark.end.min(self.stop));
            self.next += 1;
            self.generated += u64::from(mark.tokens);
            self.charge(false);
            // The first content came after the time to the first token; what is no content takes no time.
            self.started |= mark.delta;
            let next = self.marks.get(self.next).copied();
            if let Some(next) = next.filter(|next| next.delta && self.started) {
                self.schedule(next.tokens);
            }
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match self.end {
            End::Done => {
                let whole = self.next >= self.marks.len() && self.stop == self.data.len();
                self.charge(whole);
                self.bill.entry.ending = Ending::Answered;
                Poll::Ready(None)
            }
            End::Stall => Poll::Pending,
            End::Again(first) => {
                self.next = first.min(self.marks.len().saturating_sub(1));
                self.timer = Some(Box::pin(sleep_until(Instant::now() + ENDLESS_PAUSE)));
                self.part(context)
            }
            // What was sent must reach the wire before the connection breaks: hyper flushes while a body waits.
            End::Cut if !self.paused => {
                self.paused = true;
                self.timer = Some(Box::pin(sleep_until(
                    Instant::now() + Duration::from_millis(2),
                )));
                self.part(context)
            }
            End::Cut => {
                self.bill.entry.ending = Ending::Cut;
                Poll::Ready(Some(Err(io::Error::other("cut by the simulation"))))
            }
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            Self::Paced(paced) => paced.part(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(data) => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Self::Paced(_) => SizeHint::default(),
        }
    }
}
