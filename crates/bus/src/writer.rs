//! The one thread that writes: it takes everything queued, writes it, syncs each touched partition
//! once, shows it to readers and only then acknowledges.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::JournalError;
use crate::faults::crash_point;
use crate::lane::{Failed, Lane};
use crate::record::HEADER;
use crate::segment::{self, SegmentFile};
use crate::state::{Counters, Shared, Span};

/// A group stops growing here, so that one slow sync does not delay the first caller without end.
const GROUP_BYTES: u64 = 16 << 20;

pub(crate) type Answer = oneshot::Sender<Result<(), JournalError>>;

/// Records that are acknowledged together.
pub(crate) struct Append {
    pub(crate) records: Vec<(u32, Vec<u8>)>,
    pub(crate) answer: Answer,
    /// Room in the queue, given back when the command is done.
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Append {
    fn bytes(&self) -> u64 {
        framed(&self.records)
    }
}

/// Bytes that records take on disk.
pub(crate) fn framed(records: &[(u32, Vec<u8>)]) -> u64 {
    records
        .iter()
        .map(|(_, payload)| (HEADER + payload.len()) as u64)
        .sum()
}

pub(crate) enum Command {
    Append(Append),
    Trim {
        partition: u32,
        before: u64,
        answer: Answer,
    },
    Advance {
        partition: u32,
        to: u64,
        answer: Answer,
    },
}

pub(crate) struct Limits {
    pub(crate) segment_bytes: u64,
    pub(crate) max_bytes: u64,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    limits: Limits,
    lanes: Vec<Lane>,
    /// An append was refused, or met a full disk, since the last one that fitted.
    short_of_room: bool,
    poison: Option<String>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, limits: Limits, actives: Vec<SegmentFile>) -> Self {
        let lanes = actives
            .into_iter()
            .zip(&shared.partitions)
            .map(|(active, partition)| Lane::new(active, partition.view().end))
            .collect();
        Self {
            shared,
            limits,
            lanes,
            short_of_room: false,
            poison: None,
        }
    }

    /// Runs until every handle is gone. What was queued by then is still written.
    pub(crate) fn run(mut self, queue: &Receiver<Command>) {
        let mut open = true;
        while open {
            let Ok(first) = queue.recv() else { return };
            let mut group = Vec::new();
            let mut bytes = 0;
            let mut upkeep = None;
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Append(append) => {
                        bytes += append.bytes();
                        group.push(append);
                    }
                    // Ends the group, so that commands take effect in the order they were given.
                    other => {
                        upkeep = Some(other);
                        break;
                    }
                }
                if bytes < GROUP_BYTES {
                    match queue.try_recv() {
                        Ok(command) => next = Some(command),
                        Err(TryRecvError::Empty) => {}
                        Err(TryRecvError::Disconnected) => open = false,
                    }
                }
            }
            if !group.is_empty() {
                self.commit(group);
            }
            match upkeep {
                Some(Command::Trim {
                    partition,
                    before,
                    answer,
                }) => {
                    let _ = answer.send(self.trim(partition, before));
                }
                Some(Command::Advance {
                    partition,
                    to,
                    answer,
                }) => {
                    let _ = answer.send(self.advance(partition, to));
                }
                Some(Command::Append(_)) | None => {}
            }
        }
    }

    fn commit(&mut self, group: Vec<Append>) {
        if let Err(error) = self.healthy() {
            for append in group {
                let _ = append.answer.send(Err(error.clone()));
            }
            return;
        }
        let accepted = self.stage(group);
        if accepted.is_empty() {
            return;
        }
        let outcome = self.write_and_sync();
        if outcome.is_ok() {
            self.publish();
        }
        crash_point("journal::before_ack");
        for append in accepted {
            // A caller that went away does not mind.
            let _ = append.answer.send(outcome.clone());
        }
    }

    /// Frames what fits into the journal's bound and refuses the rest.
    fn stage(&mut self, group: Vec<Append>) -> Vec<Append> {
        let now = now_us();
        let mut used = self.shared.bytes();
        let mut accepted = Vec::with_capacity(group.len());
        for append in group {
            let needed = append.bytes();
            self.short_of_room = used + needed > self.limits.max_bytes;
            if self.short_of_room {
                let _ = append.answer.send(Err(JournalError::Full {
                    bytes: used,
                    needed,
                    max_bytes: self.limits.max_bytes,
                }));
                continue;
            }
            used += needed;
            for (partition, payload) in &append.records {
                // Partitions were checked before queueing.
                if let Some(lane) = self.lanes.get_mut(*partition as usize) {
                    lane.stage(now, payload, self.limits.segment_bytes);
                }
            }
            accepted.push(append);
        }
        accepted
    }

    fn write_and_sync(&mut self) -> Result<(), JournalError> {
        crash_point("journal::before_write");
        let written = self
            .lanes
            .iter_mut()
            .zip(&self.shared.partitions)
            .filter(|(lane, _)| !lane.staged.is_empty())
            .try_for_each(|(lane, partition)| lane.write(&partition.dir));
        if let Err(failed) = written {
            return Err(self.undo(failed));
        }
        crash_point("journal::after_write");
        crash_point("journal::before_sync");
        if let Err(error) = self.sync() {
            return Err(self.poison(&error));
        }
        crash_point("journal::after_sync");
        Ok(())
    }

    /// Syncs every touched partition, all at the same time: the file system then shares one commit
    /// and one flush of the disk among them, where one after the other each would pay its own.
    fn sync(&mut self) -> Result<(), JournalError> {
        let lanes = self.lanes.iter_mut().enumerate();
        let mut touched = lanes.filter(|(_, lane)| lane.touched());
        let Some((_, first)) = touched.next() else {
            return Ok(());
        };
        let mut left = Vec::new();
        let outcome: Result<(), JournalError> = thread::scope(|scope| {
            let mut helpers = Vec::new();
            for (nth, lane) in touched {
                let helper = thread::Builder::new().name("journal-sync".to_owned());
                match helper.spawn_scoped(scope, || lane.active.sync()) {
                    Ok(helper) => helpers.push(helper),
                    Err(_) => left.push(nth),
                }
            }
            let first = first.active.sync();
            helpers.into_iter().fold(first, |outcome, helper| {
                let ended = helper.join().unwrap_or_else(|_| {
                    Err(JournalError::Poisoned {
                        reason: "a thread that synced a partition died".to_owned(),
                    })
                });
                outcome.and(ended)
            })
        });
        // No thread to be had: after the others is slower, but as good.
        let lanes = self.lanes.iter_mut().enumerate();
        lanes
            .filter(|(nth, _)| left.contains(nth))
            .fold(outcome, |outcome, (_, lane)| {
                outcome.and_then(|()| lane.active.sync())
            })
    }

    /// Takes a half-written group back, so that it leaves neither records nor gaps.
    fn undo(&mut self, failed: Failed) -> JournalError {
        if failed.at_sync {
            return self.poison(&failed.error);
        }
        for (lane, partition) in self.lanes.iter_mut().zip(&self.shared.partitions) {
            let before = partition.view().end;
            if let Err(error) = lane.undo(&partition.dir, before) {
                return self.poison(&error);
            }
        }
        // Room is short, whatever the bound says: consumed segments must go even if they are not complete.
        self.short_of_room |= matches!(failed.error, JournalError::DiskFull { .. });
        tracing::warn!(error = %failed.error, "an append failed and was taken back");
        failed.error
    }

    /// Shows a durable group to the readers.
    fn publish(&mut self) {
        let mut records = 0;
        let mut bytes = 0;
        for (lane, partition) in self.lanes.iter_mut().zip(&self.shared.partitions) {
            if !lane.touched() {
                continue;
            }
            let mut view = partition.view_mut();
            records += lane.next - view.end;
            bytes += lane.publish(&mut view.spans);
            view.end = lane.next;
        }
        let counters = &self.shared.counters;
        Counters::add(&counters.bytes, bytes);
        Counters::add(&counters.appended, records);
        Counters::add(&counters.groups, 1);
        self.shared.ticks.send_modify(|tick| *tick += 1);
    }

    fn trim(&mut self, partition: u32, before: u64) -> Result<(), JournalError> {
        self.healthy()?;
        let shared = Arc::clone(&self.shared);
        let part = shared.partition(partition)?;
        let end = part.view().end;
        // Only whole segments go, so a journal whose last segments hold consumed records could stay
        // full for ever. When space is getting short, start a fresh one and let the old one go.
        let scarce = self.short_of_room || shared.bytes() > self.limits.max_bytes / 2;
        if before >= end && scarce {
            self.start_segment(partition, end)?;
        }
        let victims: Vec<Span> = {
            let view = part.view();
            let next_bases = view.spans.iter().skip(1).map(|span| span.base);
            let pairs = view.spans.iter().zip(next_bases);
            pairs
                .take_while(|(_, next)| *next <= before)
                .map(|(span, _)| *span)
                .collect()
        };
        if victims.is_empty() {
            return Ok(());
        }
        for victim in victims {
            // Oldest first: after a crash in between, what is left is still without holes.
            crash_point("journal::trim");
            let path = part.dir.join(segment::file_name(victim.base));
            segment::remove(&path)?;
            part.view_mut()
                .spans
                .retain(|span| span.base != victim.base);
            shared
                .counters
                .bytes
                .fetch_sub(victim.len, Ordering::Relaxed);
        }
        segment::sync_dir(&part.dir)
    }

    fn advance(&mut self, partition: u32, to: u64) -> Result<(), JournalError> {
        self.healthy()?;
        let shared = Arc::clone(&self.shared);
        let part = shared.partition(partition)?;
        if to <= part.view().end {
            return Ok(());
        }
        self.start_segment(partition, to)
    }

    /// Starts a new segment at `base`, which is the end or beyond it; replaces an empty one.
    fn start_segment(&mut self, partition: u32, base: u64) -> Result<(), JournalError> {
        let shared = Arc::clone(&self.shared);
        let part = shared.partition(partition)?;
        let Some(lane) = self.lanes.get_mut(partition as usize) else {
            return Ok(());
        };
        if lane.active.base == base {
            return Ok(());
        }
        let fresh = SegmentFile::create(&part.dir, base)?;
        let old = mem::replace(&mut lane.active, fresh);
        lane.mark = 0;
        lane.next = base;
        let mut view = part.view_mut();
        if old.len == 0 {
            segment::remove(old.path())?;
            view.spans.retain(|span| span.base != old.base);
        }
        view.spans.push(Span { base, len: 0 });
        view.end = base;
        drop(view);
        segment::sync_dir(&part.dir)
    }

    fn healthy(&self) -> Result<(), JournalError> {
        match &self.poison {
            Some(reason) => Err(JournalError::Poisoned {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Stops writing for good: nobody knows what is on disk behind the last durable group.
    fn poison(&mut self, cause: &JournalError) -> JournalError {
        let reason = match cause {
            JournalError::Io {
                what, file, source, ..
            } => format!("it could not {what} {file} ({source})"),
            JournalError::DiskFull { what, file } => {
                format!("it could not {what} {file} (the disk is full)")
            }
            other => other.to_string(),
        };
        tracing::error!(%reason, "the journal stopped writing");
        self.shared.poisoned.store(true, Ordering::Relaxed);
        self.poison = Some(reason.clone());
        JournalError::Poisoned { reason }
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}
