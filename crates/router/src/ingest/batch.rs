//! The events of one body: judged as the rollup will judge them, before they are accepted.
//!
//! What would become a dead letter is refused here instead, where its sender can still mend it. The judge is the rollup's own:
//! the very bytes that the journal would get are read back and checked by the same rules.

use super::TooMany;
use super::sender::Sender;
use std::borrow::Cow;
use std::time::Duration;
use tidemark_event::validate::{self, Limits};
use tidemark_event::wire::{self, Reason};
use tidemark_event::{EventId, Micros, UsageEvent};

/// Events of one body, at most.
pub(super) const MOST: u64 = 100_000;
/// Faults told of, at most; the others are counted.
const FAULTS: usize = 100;
/// Events judged together.
const GROUP: usize = 4096;

/// Why one event is refused. Says nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Number of its line or span, from 1.
    pub(super) place: u64,
    /// The field at fault, as usage events call it.
    pub(super) field: Option<&'static str>,
    pub(super) message: Cow<'static, str>,
}

/// What became of a body.
#[derive(Default)]
pub(super) struct Taken {
    /// Good events, on their way to the journal.
    pub(super) events: Vec<(EventId, Vec<u8>)>,
    /// Those that arrived there.
    pub(super) accepted: usize,
    pub(super) rejected: u64,
    /// The first of them.
    pub(super) faults: Vec<Fault>,
}

/// A body being read.
pub(super) struct Batch<'a> {
    sender: &'a Sender<'a>,
    writer: wire::Writer,
    reader: wire::Reader,
    now: Micros,
    retention: Option<Duration>,
    waiting: Vec<(EventId, Vec<u8>)>,
    places: Vec<u64>,
    taken: Taken,
    pushed: u64,
}

impl<'a> Batch<'a> {
    /// # Errors
    /// When the embedded schema cannot be read.
    pub(super) fn new(
        sender: &'a Sender<'a>,
        retention: Option<Duration>,
    ) -> Result<Self, wire::SchemaError> {
        Ok(Self {
            sender,
            writer: wire::Writer::new()?,
            reader: wire::Reader::new(&[])?,
            now: Micros::now(),
            retention,
            waiting: Vec::new(),
            places: Vec::new(),
            taken: Taken::default(),
            pushed: 0,
        })
    }

    /// Takes an event as stated.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn push(
        &mut self,
        place: u64,
        mut event: UsageEvent,
        costs_stated: bool,
    ) -> Result<(), TooMany> {
        self.pushed += 1;
        if self.pushed > MOST {
            return Err(TooMany);
        }
        self.sender.adopt(&mut event, costs_stated);
        self.waiting
            .push((event.event_id, self.writer.write(&event)));
        self.places.push(place);
        if self.waiting.len() == GROUP {
            self.judge();
        }
        Ok(())
    }

    /// Refuses one that could not be read as an event.
    pub(super) fn refuse(&mut self, fault: Fault) {
        self.taken.rejected += 1;
        if self.taken.faults.len() < FAULTS {
            self.taken.faults.push(fault);
        }
    }

    /// What became of all of them.
    pub(super) fn finish(mut self) -> Taken {
        self.judge();
        // Groups are judged later than lines are read.
        self.taken.faults.sort_by_key(|fault| fault.place);
        self.taken
    }

    fn judge(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let places = std::mem::take(&mut self.places);
        let messages: Vec<&[u8]> = waiting.iter().map(|(_, bytes)| &bytes[..]).collect();
        let mut against: Vec<Option<(Reason, Option<&'static str>)>> = vec![None; waiting.len()];
        match self.reader.read(&messages) {
            Ok(decoded) => {
                for (index, reason) in decoded.rejected {
                    against[index as usize] = Some((reason, None));
                }
                let arrived = vec![self.now.0; decoded.rows.len()];
                let limits = Limits {
                    arrived: &arrived,
                    retention_us: self
                        .retention
                        .map(|kept| i64::try_from(kept.as_micros()).unwrap_or(i64::MAX)),
                };
                let objections = validate::objections(&decoded.batch, limits);
                for (row, objection) in decoded.rows.iter().zip(objections) {
                    if let Some(objection) = objection {
                        let field = UsageEvent::FIELDS.get(objection.column).copied();
                        against[*row as usize] = Some((objection.reason, field));
                    }
                }
            }
            // Only Arrow's own failure: nothing was judged, so nothing may pass.
            Err(_) => against.fill(Some((Reason::Undecodable, None))),
        }
        for ((event, place), against) in waiting.into_iter().zip(places).zip(against) {
            match against {
                None => self.taken.events.push(event),
                Some((reason, field)) => {
                    let message = self.say(reason);
                    self.refuse(Fault {
                        place,
                        field,
                        message,
                    });
                }
            }
        }
    }

    fn say(&self, reason: Reason) -> Cow<'static, str> {
        match reason {
            Reason::Negative => "below zero".into(),
            Reason::Absurd => "beyond anything real".into(),
            Reason::Inconsistent => {
                "its parts exceed it, or, of a cost, do not add up to it".into()
            }
            Reason::UnknownValue => "not one of the values that this field can have".into(),
            Reason::TextTooLong => "longer than 512 bytes".into(),
            Reason::InTheFuture => format!(
                "more than five minutes ahead of the clock here, which says {}: set the sender's clock and send UTC",
                self.now
            )
            .into(),
            Reason::TooOld => match self.retention {
                Some(kept) => format!(
                    "older than the {} days that are taken in here",
                    kept.as_secs() / 86_400
                )
                .into(),
                None => "before 1970".into(),
            },
            _ => "cannot be stored as an event".into(),
        }
    }
}
