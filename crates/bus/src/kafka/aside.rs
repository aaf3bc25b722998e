//! What a worker set aside, told to whoever reads the dead-letter topic.

use super::producer::hand_over;
use super::{KafkaSettings, Note, TopicError};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For the brokers to store the notes of a batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure, before it is tried again: a topic that is not there must not hold up every batch.
const AGAIN: Duration = Duration::from_secs(60);

/// Writes notes. The lake keeps the dead letters; these are for those who would rather listen than ask.
pub(super) struct Aside {
    producer: BaseProducer<Counted>,
    topic: String,
    failed: Mutex<Option<Instant>>,
}

impl Aside {
    pub(super) fn new(settings: &KafkaSettings) -> Result<Self, TopicError> {
        Ok(Self {
            producer: settings
                .producer()?
                .create_with_context(Counted::default())?,
            topic: settings.dead_letters.clone(),
            failed: Mutex::default(),
        })
    }

    /// Sends, and waits until all are stored. For a minute after a failure nothing is sent.
    pub(super) fn tell(&self, notes: &[Note]) -> Result<(), TopicError> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::Fail).into());
        }
        let done = self.send_all(notes);
        *failed = done.is_err().then(Instant::now);
        done
    }

    fn send_all(&self, notes: &[Note]) -> Result<(), TopicError> {
        let stored = &self.producer.context().stored;
        let before = stored.load(Ordering::Relaxed);
        let sent = notes.iter().try_for_each(|note| self.send(note));
        let done = sent.and_then(|()| Ok(self.producer.flush(PATIENCE)?));
        if done.is_err() {
            // They must not come later, and be counted with others.
            self.producer
                .purge(PurgeConfig::default().queue().inflight());
            self.producer.poll(Duration::ZERO);
        }
        done?;
        match stored.load(Ordering::Relaxed) - before == notes.len() as u64 {
            true => Ok(()),
            false => Err(KafkaError::MessageProduction(RDKafkaErrorCode::Fail).into()),
        }
    }

    fn send(&self, note: &Note) -> Result<(), TopicError> {
        let key = note.key();
        let record = BaseRecord::to(&self.topic)
            .key(key.as_bytes())
            .headers(note.headers());
        hand_over(&self.producer, record).map_err(|(error, _)| error.into())
    }
}

/// How many the brokers have stored.
#[derive(Default)]
struct Counted {
    stored: AtomicU64,
}

impl ClientContext for Counted {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::read::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer of dead letters");
    }
}

impl ProducerContext for Counted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.stored.fetch_add(1, Ordering::Relaxed);
        }
    }
}
