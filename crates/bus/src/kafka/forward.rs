//! From the spool to the topic.

use super::framing::Framing;
use super::producer::{IDLE, hand_over};
use super::window::Window;
use super::{ForwardStats, KafkaSettings, Note, TopicError};
use crate::faults::crash_point;
use crate::{Journal, JournalError, Read, Reader};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tidemark_event::wire;

/// Records read from one partition of the spool at a time.
const POLL: usize = 1024;
const POLL_BYTES: usize = 1 << 20;
/// How often it is written down how far delivery has come, and space is given back.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Waiting before another producer is made.
const AGAIN: Duration = Duration::from_secs(1);
/// At the end, waiting for brokers that do not answer; the rest stays in the spool.
const PARTING: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    damaged: AtomicU64,
    refused: AtomicU64,
    waiting: AtomicU64,
    rebuilt: AtomicU64,
}

/// Carries a spool to the topic, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Forwarder {
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Forwarder {
    /// Starts from where the last one came, as it stands in `file`; the topics are there ([`super::prepare`]).
    ///
    /// # Errors
    /// When the settings make no producer, or the schema registry of the settings does not number the schema.
    pub async fn start(
        spool: Journal,
        file: &Path,
        settings: KafkaSettings,
    ) -> Result<Self, TopicError> {
        let counters = Arc::<Counters>::default();
        let stop = Arc::<AtomicBool>::default();
        let framing = Framing::agree(&settings).await?;
        let first = Sender::new(&settings, framing.clone())?;
        let mut work = Work {
            lanes: lanes(&spool, file),
            spool,
            settings,
            framing,
            file: file.to_owned(),
            counters: Arc::clone(&counters),
            kept: Instant::now(),
        };
        work.count();
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("forwarder".to_owned())
            .spawn(move || work.run(first, &told))
            .map_err(|error| {
                TopicError::Settings(format!("no thread for the forwarder: {error}"))
            })?;
        Ok(Self {
            counters,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Sends what the spool holds, while brokers answer, and ends. Answers how many records stay in the spool.
    pub fn finish(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            thread.join().ok();
        }
        self.stats().waiting
    }

    /// Figures as of now.
    pub fn stats(&self) -> ForwardStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ForwardStats {
            delivered: get(&self.counters.delivered),
            damaged: get(&self.counters.damaged),
            refused: get(&self.counters.refused),
            waiting: get(&self.counters.waiting),
            rebuilt: get(&self.counters.rebuilt),
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One partition of the spool.
struct Lane {
    reader: Reader,
    window: Window,
}

/// Where each partition goes on.
fn lanes(spool: &Journal, file: &Path) -> Vec<Lane> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lanes = Vec::new();
    for partition in 0..spool.partitions() {
        let kept = text.lines().find_map(|line| {
            let (number, offset) = line.split_once(' ')?;
            (number.parse() == Ok(partition)).then(|| offset.parse::<u64>().ok())?
        });
        // A spool that ends before that is another one.
        let from = kept
            .filter(|kept| *kept <= spool.end_offset(partition))
            .unwrap_or(0)
            .max(spool.start_offset(partition));
        lanes.push(Lane {
            reader: spool.reader(partition, from),
            window: Window::starting_at(from),
        });
    }
    lanes
}

struct Work {
    spool: Journal,
    lanes: Vec<Lane>,
    settings: KafkaSettings,
    framing: Option<Framing>,
    file: PathBuf,
    counters: Arc<Counters>,
    kept: Instant,
}

impl Work {
    fn run(&mut self, first: Sender, stop: &AtomicBool) {
        let mut sender = Some(first);
        let mut parting: Option<Instant> = None;
        loop {
            let now = match sender.take() {
                Some(now) => now,
                None => match Sender::new(&self.settings, self.framing.clone()) {
                    Ok(now) => {
                        self.counters.rebuilt.fetch_add(1, Ordering::Relaxed);
                        self.rewind();
                        now
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no producer can be made; what is accepted waits in the spool");
                        thread::sleep(AGAIN);
                        continue;
                    }
                },
            };
            match self.turn(&now) {
                Ok(()) => sender = Some(now),
                Err(why) => {
                    tracing::warn!(%why, "making another producer; what is not delivered is sent again and counts once");
                    drop(now);
                    thread::sleep(AGAIN);
                }
            }
            self.keep(false);
            if stop.load(Ordering::Relaxed) {
                let since = *parting.get_or_insert_with(Instant::now);
                let waiting = self.counters.waiting.load(Ordering::Relaxed);
                if waiting == 0 || since.elapsed() > PARTING {
                    if waiting > 0 {
                        tracing::warn!(
                            waiting,
                            "stopping with undelivered events in the spool; the next start sends them"
                        );
                    }
                    self.keep(true);
                    return;
                }
            }
        }
    }

    /// Sends some, and takes in what the brokers report.
    fn turn(&mut self, sender: &Sender) -> Result<(), String> {
        let mut idle = true;
        let mut reads = Vec::new();
        for (partition, lane) in self.lanes.iter_mut().enumerate() {
            reads.clear();
            if !sender.has_room() {
                break;
            }
            lane.reader
                .poll(POLL, POLL_BYTES, &mut reads)
                .map_err(|error: JournalError| error.to_string())?;
            for read in reads.drain(..) {
                idle = false;
                match read {
                    Read::Record(record) => {
                        sender.send(partition as u32, record.offset, &record.payload)?;
                    }
                    Read::Damaged {
                        offset_from,
                        offset_to,
                        bytes,
                    } => {
                        let lost = offset_to - offset_from;
                        tracing::error!(
                            partition,
                            offset_from,
                            lost,
                            bytes,
                            "records of the spool cannot be read any more"
                        );
                        self.counters.damaged.fetch_add(lost, Ordering::Relaxed);
                        sender.note(
                            "damaged",
                            partition as u32,
                            offset_from,
                            bytes as usize,
                            "",
                        )?;
                        lane.window.settle(offset_from, offset_to);
                    }
                }
            }
        }
        sender
            .producer
            .poll(if idle { IDLE } else { Duration::ZERO });
        self.reports(sender)?;
        self.count();
        Ok(())
    }

    /// Says how much waits: before the first turn too, or for a moment nothing would seem to.
    fn count(&self) {
        let waiting = self.lanes.iter().enumerate().map(|(partition, lane)| {
            let end = self.spool.end_offset(partition as u32);
            end.saturating_sub(lane.window.done())
        });
        self.counters
            .waiting
            .store(waiting.sum(), Ordering::Relaxed);
    }

    fn reports(&mut self, sender: &Sender) -> Result<(), String> {
        while let Ok(report) = sender.reports.try_recv() {
            let Some(lane) = self.lanes.get_mut(report.of.partition as usize) else {
                continue;
            };
            match report.failed {
                None if report.of.is_note => {}
                None => {
                    self.counters.delivered.fetch_add(1, Ordering::Relaxed);
                }
                Some(code) if is_unfit(code) && !report.of.is_note => {
                    tracing::error!(%code, partition = report.of.partition, offset = report.of.offset, "the brokers never take this event: it is counted as refused");
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                    sender.note(
                        "too_large",
                        report.of.partition,
                        report.of.offset,
                        report.of.bytes,
                        &report.of.schema,
                    )?;
                }
                Some(code) => return Err(code.to_string()),
            }
            if !report.of.is_note {
                lane.window.settle(report.of.offset, report.of.offset + 1);
            }
        }
        match sender.producer.context().failed.load(Ordering::Relaxed) {
            true => Err("the client failed for good".to_owned()),
            false => Ok(()),
        }
    }

    /// Goes back to what is delivered without a gap: reports of the producer before do not come any more.
    fn rewind(&mut self) {
        for (partition, lane) in self.lanes.iter_mut().enumerate() {
            let done = lane.window.done();
            lane.window = Window::starting_at(done);
            lane.reader = self.spool.reader(partition as u32, done);
        }
    }

    /// Writes down how far delivery has come, and lets the spool forget the rest.
    fn keep(&mut self, at_once: bool) {
        if !at_once && self.kept.elapsed() < KEEP_EVERY {
            return;
        }
        self.kept = Instant::now();
        let lines = self.lanes.iter().enumerate();
        let text: String = lines
            .map(|(partition, lane)| format!("{partition} {}\n", lane.window.done()))
            .collect();
        let draft = self.file.with_extension("new");
        let written =
            std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &self.file));
        if let Err(error) = written {
            // Less is known then after a kill: more is sent twice, and counts once.
            tracing::warn!(%error, "it cannot be written down how far delivery has come");
        }
        crash_point("forward::before_trim");
        for (partition, lane) in self.lanes.iter().enumerate() {
            if let Err(error) = self.spool.trim(partition as u32, lane.window.done()) {
                tracing::warn!(%error, "the spool gives no space back");
            }
        }
    }
}

/// Whether no broker will ever take the record.
fn is_unfit(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord
    )
}

/// What a report is of.
struct Sent {
    partition: u32,
    offset: u64,
    bytes: usize,
    schema: String,
    is_note: bool,
}

struct Report {
    of: Sent,
    failed: Option<RDKafkaErrorCode>,
}

/// One producer and the reports of what it sent.
struct Sender {
    producer: BaseProducer<Reports>,
    reports: mpsc::Receiver<Report>,
    topic: String,
    dead_letters: String,
    partitions: u64,
    framing: Option<Framing>,
}

impl Sender {
    fn new(settings: &KafkaSettings, framing: Option<Framing>) -> Result<Self, TopicError> {
        let (tell, reports) = mpsc::channel();
        let context = Reports {
            tell,
            failed: AtomicBool::new(false),
        };
        Ok(Self {
            producer: settings.producer()?.create_with_context(context)?,
            reports,
            topic: settings.topic.clone(),
            dead_letters: settings.dead_letters.clone(),
            partitions: u64::from(settings.partitions.max(1)),
            framing,
        })
    }

    /// Whether a poll's worth fits the producer's queue.
    fn has_room(&self) -> bool {
        self.producer.in_flight_count() < 100_000
    }

    fn send(&self, partition: u32, offset: u64, payload: &[u8]) -> Result<(), String> {
        crash_point("forward::before_send");
        let id = wire::id(payload);
        let to = xxhash_rust::xxh64::xxh64(id.unwrap_or(payload), 0) % self.partitions;
        let sent = Box::new(Sent {
            partition,
            offset,
            bytes: payload.len(),
            schema: wire::schema_named(payload).unwrap_or_default(),
            is_note: false,
        });
        let framed = match &self.framing {
            Some(framing) => framing.frame(payload),
            None => Cow::Borrowed(payload),
        };
        let record = BaseRecord::with_opaque_to(&self.topic, sent)
            .partition(to as i32)
            .payload(&*framed);
        match id {
            Some(id) => self.hand_over(record.key(id)),
            None => self.hand_over(record),
        }
    }

    fn note(
        &self,
        reason: &str,
        partition: u32,
        offset: u64,
        bytes: usize,
        schema: &str,
    ) -> Result<(), String> {
        let note = Note {
            reason: reason.to_owned(),
            source: "spool".to_owned(),
            partition,
            offset,
            bytes,
            schema: schema.to_owned(),
        };
        let key = note.key();
        let sent = Box::new(Sent {
            partition,
            offset,
            bytes,
            schema: String::new(),
            is_note: true,
        });
        let record: BaseRecord<'_, [u8], [u8], Box<Sent>> =
            BaseRecord::with_opaque_to(&self.dead_letters, sent)
                .key(key.as_bytes())
                .headers(note.headers());
        self.hand_over(record)
    }

    /// What brokers never take counts as reported.
    fn hand_over(&self, record: BaseRecord<'_, [u8], [u8], Box<Sent>>) -> Result<(), String> {
        match hand_over(&self.producer, record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(code), back)) if is_unfit(code) => {
                let report = Report {
                    of: *back.delivery_opaque,
                    failed: Some(code),
                };
                self.producer.context().tell.send(report).ok();
                Ok(())
            }
            Err((error, _)) => Err(error.to_string()),
        }
    }
}

impl Drop for Sender {
    /// What is in its queue is still in the spool.
    fn drop(&mut self) {
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
    }
}

struct Reports {
    tell: mpsc::Sender<Report>,
    failed: AtomicBool,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::read::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.failed.store(true, Ordering::Relaxed);
        }
        tracing::debug!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, of: Box<Sent>) {
        let failed = match result {
            Ok(_) => None,
            Err((error, _)) => Some(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)),
        };
        self.tell.send(Report { of: *of, failed }).ok();
    }
}
