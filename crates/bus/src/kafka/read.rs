//! One member of the group that reads the topic.
//!
//! A thread asks the client for records and puts them aside until the worker takes them. When the group gives partitions, nothing
//! is read before the worker has said from where; when it takes them, what was put aside goes. That thread alone tells the client
//! where to begin: a record that it asked for before is then never taken for one from there.

use super::aside::Aside;
use super::framing::Unframing;
use super::{KafkaSettings, Note, TopicError};
use crate::{Read, Record};
use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// Bytes put aside at most; more stays with the brokers.
const ASIDE: usize = 32 << 20;
const POLL: Duration = Duration::from_millis(100);
/// While the worker looks where to begin.
const SOON: Duration = Duration::from_millis(10);
/// Bytes that are put aside at once: taking turns with the worker for each record costs more than the record.
const AT_ONCE: usize = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

type Offsets = BTreeMap<u32, u64>;

/// A reader of the partitions that the group gives to this process.
pub struct TopicReader {
    client: Arc<BaseConsumer<Member>>,
    shared: Arc<Shared>,
    topic: String,
    aside: Aside,
    /// With a schema registry.
    unframing: Option<Box<Unframing>>,
    /// The change of partitions that reading began with.
    began: u64,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (&self.topic, self.began);
        f.debug_tuple("TopicReader").field(&shown).finish()
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Ticks when there is something new.
    news: watch::Sender<u64>,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the changes of partitions.
    change: u64,
    given: Vec<u32>,
    /// The client waits to be told where to begin.
    asked: bool,
    /// Where, once the worker has said.
    begins: Option<TopicPartitionList>,
    lanes: BTreeMap<u32, Lane>,
    bytes: usize,
    failed: Option<KafkaError>,
}

/// What is put aside of one partition.
#[derive(Debug, Default)]
struct Lane {
    /// The offset that is taken next.
    position: u64,
    /// One beyond the last that is here.
    end: u64,
    reads: VecDeque<Read>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.news.send_modify(|ticks| *ticks += 1);
    }

    /// Other partitions, or the same ones from another place.
    fn change(&self, given: Option<Vec<u32>>) {
        let mut state = self.state();
        state.change += 1;
        state.asked = given.is_some();
        state.given = given.unwrap_or_default();
        state.begins = None;
        state.lanes.clear();
        state.bytes = 0;
        drop(state);
        self.tell();
    }
}

impl Shared {
    fn again(&self) {
        let given = self.state().given.clone();
        self.change((!given.is_empty()).then_some(given));
    }

    /// Puts records aside that were read after `change`, unless there was another one since.
    fn put(&self, change: u64, records: Vec<(u32, Record)>) {
        let mut state = self.state();
        if state.change != change {
            return;
        }
        let mut is_news = false;
        for (partition, record) in records {
            let Some(lane) = state.lanes.get_mut(&partition) else {
                continue;
            };
            is_news |= lane.reads.is_empty();
            lane.end = record.offset + 1;
            let bytes = record.payload.len();
            lane.reads.push_back(Read::Record(record));
            state.bytes += bytes;
        }
        drop(state);
        if is_news {
            self.tell();
        }
    }
}

impl TopicReader {
    /// Joins the group; the topic is there ([`super::prepare`]).
    ///
    /// # Errors
    /// When the settings make no client.
    pub fn join(settings: &KafkaSettings) -> Result<Self, TopicError> {
        let shared = Arc::<Shared>::default();
        let member = Member(Arc::clone(&shared));
        let client: BaseConsumer<Member> = settings.member()?.create_with_context(member)?;
        client.subscribe(&[&settings.topic])?;
        let client = Arc::new(client);
        let thread = {
            let (client, shared) = (Arc::clone(&client), Arc::clone(&shared));
            thread::Builder::new()
                .name("kafka".to_owned())
                .spawn(move || pump(&client, &shared))
                .map_err(|error| TopicError::Settings(format!("no thread to read with: {error}")))?
        };
        Ok(Self {
            client,
            shared,
            topic: settings.topic.clone(),
            aside: Aside::new(settings)?,
            unframing: Unframing::new(settings)?,
            began: 0,
            thread: Some(thread),
        })
    }

    /// The partitions to begin anew with, when they are other ones than those of the last [`TopicReader::begin`]: the number of
    /// the change, and which.
    ///
    /// # Errors
    /// When the client failed for good.
    pub fn given(&self) -> Result<Option<(u64, Vec<u32>)>, TopicError> {
        let mut state = self.shared.state();
        if let Some(failed) = state.failed.take() {
            return Err(TopicError::Fatal(failed));
        }
        let news = state.change != self.began;
        Ok(news.then(|| (state.change, state.given.clone())))
    }

    /// Whether the partitions are still those of the last [`TopicReader::begin`].
    pub fn holds(&self) -> bool {
        self.shared.state().change == self.began
    }

    /// Reads from these offsets, if the partitions are still those of `change`.
    ///
    /// # Errors
    /// When the brokers do not say what they hold, or hold less than was taken in.
    pub fn begin(&mut self, change: u64, from: &Offsets) -> Result<(), TopicError> {
        let mut lanes = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for (partition, from) in from {
            let number = *partition as i32;
            let (low, high) = self
                .client
                .fetch_watermarks(&self.topic, number, PATIENCE)?;
            let (low, high) = (low.max(0) as u64, high.max(0) as u64);
            if *from > high {
                return Err(TopicError::Rewound {
                    topic: self.topic.clone(),
                    partition: *partition,
                    committed: *from,
                    end: high,
                });
            }
            let mut lane = Lane {
                position: *from,
                end: *from,
                reads: VecDeque::new(),
            };
            if *from < low {
                tracing::error!(
                    topic = self.topic,
                    partition,
                    from,
                    low,
                    "the brokers have thrown away events before they were read"
                );
                lane.end = low;
                lane.reads.push_back(Read::Damaged {
                    offset_from: *from,
                    offset_to: low,
                    bytes: 0,
                });
            }
            list.add_partition_offset(&self.topic, number, Offset::Offset(lane.end as i64))?;
            lanes.insert(*partition, lane);
        }
        let mut state = self.shared.state();
        if state.change == change {
            self.began = change;
            state.lanes = lanes;
            state.bytes = 0;
            state.begins = state.asked.then_some(list);
        }
        Ok(())
    }

    /// Begins anew with the partitions there are.
    pub fn again(&self) {
        self.shared.again();
    }

    /// The offset that is taken next.
    pub fn position(&self, partition: u32) -> u64 {
        let state = self.shared.state();
        state.lanes.get(&partition).map_or(0, |lane| lane.position)
    }

    /// One beyond the last offset that is here to be taken.
    pub fn end(&self, partition: u32) -> u64 {
        let state = self.shared.state();
        state.lanes.get(&partition).map_or(0, |lane| lane.end)
    }

    /// Adds to `out` what is here below `goal`: at most `max_records` items and, beyond the first, about `max_bytes`. May ask the
    /// schema registry, and blocks for as long.
    ///
    /// # Errors
    /// When that does not answer. What was taken is gone then: begin anew, see [`TopicReader::again`].
    pub fn poll(
        &mut self,
        partition: u32,
        goal: u64,
        max_records: usize,
        max_bytes: usize,
        out: &mut Vec<Read>,
    ) -> Result<(), TopicError> {
        let from = out.len();
        self.take(partition, goal, max_records, max_bytes, out);
        let Some(unframing) = &mut self.unframing else {
            return Ok(());
        };
        for read in &mut out[from..] {
            if let Read::Record(record) = read {
                record.payload = unframing.unframe(std::mem::take(&mut record.payload))?;
            }
        }
        Ok(())
    }

    /// Schemas that the registry has told of since this was last asked, as name and JSON.
    pub fn learnt(&mut self) -> Vec<(String, String)> {
        match &mut self.unframing {
            Some(unframing) => unframing.learnt(),
            None => Vec::new(),
        }
    }

    fn take(
        &self,
        partition: u32,
        goal: u64,
        max_records: usize,
        max_bytes: usize,
        out: &mut Vec<Read>,
    ) {
        let mut state = self.shared.state();
        let Some(lane) = state.lanes.get_mut(&partition) else {
            return;
        };
        let mut bytes = 0;
        for _ in 0..max_records {
            if bytes >= max_bytes || lane.position >= goal {
                break;
            }
            match lane.reads.pop_front() {
                Some(Read::Record(record)) if record.offset < goal => {
                    bytes += record.payload.len();
                    lane.position = record.offset + 1;
                    out.push(Read::Record(record));
                }
                // Numbers between two records may be none's.
                Some(Read::Record(record)) => {
                    lane.position = goal;
                    lane.reads.push_front(Read::Record(record));
                }
                Some(Read::Damaged {
                    offset_from,
                    offset_to,
                    ..
                }) => {
                    let to = offset_to.min(goal);
                    let part = |offset_from, offset_to| Read::Damaged {
                        offset_from,
                        offset_to,
                        bytes: 0,
                    };
                    if to < offset_to {
                        lane.reads.push_front(part(to, offset_to));
                    }
                    lane.position = to;
                    out.push(part(offset_from, to));
                }
                None => break,
            }
        }
        // What stays was announced before `goal` was set, and nothing more is said of a lane that is not empty: whoever waits for news
        // now would wait for somebody else's.
        let is_more = !lane.reads.is_empty();
        state.bytes = state.bytes.saturating_sub(bytes);
        drop(state);
        if is_more {
            self.shared.tell();
        }
    }

    /// The topic that is read.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Tells the dead-letter topic what cannot be counted, and waits until it is stored there.
    ///
    /// # Errors
    /// When the brokers do not take it within ten seconds.
    pub fn tell(&self, notes: &[Note]) -> Result<(), TopicError> {
        self.aside.tell(notes)
    }

    /// Changes when there is something new.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// Tells the group how far the lake is, for whoever watches the lag.
    pub fn committed(&self, offsets: &Offsets) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(
                &self.topic,
                *partition as i32,
                Offset::Offset(*offset as i64),
            )
            .ok();
        }
        if let Err(error) = self.client.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "the group was not told how far the lake is");
        }
    }
}

impl Drop for TopicReader {
    /// Leaves the group, so that others have the partitions at once.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        self.client.unsubscribe();
    }
}

fn pump(client: &BaseConsumer<Member>, shared: &Shared) {
    let mut last = String::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let mut state = shared.state();
        if state.bytes >= ASIDE {
            drop(state);
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        if let Some(begins) = state.begins.take() {
            // Under the lock: what is taken away just now must not be asked for after that.
            if let Err(error) = client.assign(&begins) {
                state.failed = Some(error);
                drop(state);
                shared.tell();
                return;
            }
            state.asked = false;
        }
        let (change, asked) = (state.change, state.asked);
        drop(state);

        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut polled = client.poll(if asked { SOON } else { POLL });
        while let Some(Ok(message)) = &polled {
            let payload = message.payload().unwrap_or_default();
            let record = Record {
                offset: message.offset() as u64,
                appended_at_us: message.timestamp().to_millis().unwrap_or(0) * 1000,
                payload: Bytes::copy_from_slice(payload),
            };
            bytes += payload.len();
            records.push((message.partition() as u32, record));
            if bytes >= AT_ONCE {
                break;
            }
            polled = client.poll(Duration::ZERO);
        }
        // What comes while the worker has not said where to begin is of before.
        if !asked && !records.is_empty() {
            shared.put(change, records);
        }
        match polled {
            None | Some(Ok(_)) => {}
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                shared.state().failed = Some(KafkaError::MessageConsumptionFatal(code));
                shared.tell();
                return;
            }
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            ))) => {
                // The brokers threw away what comes next: beginning anew says how much.
                shared.again();
            }
            Some(Err(error)) => {
                // Brokers that are away are met again; once is enough to say.
                let text = error.to_string();
                if text != last {
                    tracing::warn!(error = text, "reading from Kafka; it is tried again");
                    last = text;
                }
            }
        }
    }
}

/// What the client calls.
#[derive(Debug)]
struct Member(Arc<Shared>);

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = list.elements();
        let partitions = partitions.iter().map(|one| one.partition().max(0) as u32);
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // The client goes on when the worker has said where to begin.
            self.0.change(Some(partitions.collect()));
        } else {
            self.0.change(None);
            if let Err(error) = client.unassign() {
                tracing::warn!(%error, "giving partitions back");
            }
        }
    }
}

/// The client's own log lines, which name brokers and topics only.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice => tracing::info!(facility, "kafka: {message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, "kafka: {message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: u64) -> Record {
        Record {
            offset,
            appended_at_us: 0,
            payload: Bytes::from_static(b"event"),
        }
    }

    /// What the client had in hand when the partitions went and came again is of the old place, and must not stand in the new one.
    #[test]
    fn what_was_read_before_a_change_is_not_put_aside() {
        let shared = Shared::default();
        let lane = |state: &mut State| state.lanes.insert(0, Lane::default());
        let aside = || {
            let state = shared.state();
            (state.bytes, state.lanes[&0].end)
        };
        lane(&mut shared.state());
        let before = shared.state().change;
        shared.put(before, vec![(0, record(7)), (1, record(3))]);
        assert_eq!(aside(), (5, 8));
        shared.change(Some(vec![0]));
        lane(&mut shared.state());
        shared.put(before, vec![(0, record(8))]);
        assert_eq!(aside(), (0, 0));
    }

    /// Records may come between the moment at which a worker looks how far it goes and the one at which it takes them.
    #[test]
    fn what_is_left_behind_is_news() -> Result<(), TopicError> {
        let mut reader = TopicReader::join(&KafkaSettings {
            brokers: "127.0.0.1:9".to_owned(),
            ..KafkaSettings::default()
        })?;
        let lane = Lane {
            position: 0,
            end: 2,
            reads: [record(0), record(1)].map(Read::Record).into(),
        };
        reader.shared.state().lanes.insert(0, lane);
        let mut news = reader.news();
        let mut taken = Vec::new();
        for (goal, is_news) in [(1, true), (2, false)] {
            news.borrow_and_update();
            reader.poll(0, goal, 10, usize::MAX, &mut taken)?;
            assert_eq!(taken.len() as u64, goal);
            assert_eq!(news.has_changed().ok(), Some(is_news), "up to {goal}");
        }
        Ok(())
    }
}
