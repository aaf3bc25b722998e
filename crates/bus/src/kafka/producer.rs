//! What everything that writes to topics does alike.

use super::Note;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use std::time::Duration;

/// Between looks for room in a producer's queue, and for reports when there is nothing to send.
pub(super) const IDLE: Duration = Duration::from_millis(10);

type Bytes<'a, C> = BaseRecord<'a, [u8], [u8], <C as ProducerContext>::DeliveryOpaque>;

/// Waits for room in the producer's queue. A record that is not taken comes back.
#[allow(clippy::result_large_err, reason = "as the client gives it back")]
pub(super) fn hand_over<'a, C: ProducerContext>(
    producer: &BaseProducer<C>,
    mut record: Bytes<'a, C>,
) -> Result<(), (KafkaError, Bytes<'a, C>)> {
    loop {
        match producer.send(record) {
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(IDLE);
            }
            done => return done,
        }
    }
}

impl Note {
    /// What tells it from others: sent twice, it has the same key.
    pub(super) fn key(&self) -> String {
        format!("{}/{}/{}", self.source, self.partition, self.offset)
    }

    /// What is said of it.
    pub(super) fn headers(&self) -> OwnedHeaders {
        let numbers = [
            ("partition", u64::from(self.partition)),
            ("offset", self.offset),
            ("bytes", self.bytes as u64),
        ];
        let texts = [
            ("reason", &self.reason),
            ("source", &self.source),
            ("schema", &self.schema),
        ];
        let mut headers = OwnedHeaders::new();
        for (key, value) in texts {
            headers = headers.insert(Header {
                key,
                value: Some(value.as_str()),
            });
        }
        for (key, value) in numbers {
            headers = headers.insert(Header {
                key,
                value: Some(&value.to_string()),
            });
        }
        headers
    }
}
