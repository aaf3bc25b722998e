//! Apache Kafka in the place of the embedded journal, for more than one machine.
//!
//! # A record's path
//!
//! 1. Routers append to a journal of their own, as without Kafka: it is the spool.
//! 2. [`Forwarder`] reads the spool and hands each record to an idempotent producer, to the partition that its event's id
//!    belongs to. The spool forgets a record only after the brokers' report that it is stored (`acks=all`).
//! 3. Workers form a group; [`TopicReader`] is one member. It starts each partition where the lake says, never where the group
//!    says: the group's own offsets are for lag monitors.
//!
//! # Rules
//!
//! - **Sent twice is normal**: after a kill the forwarder sends the last records again. They count once, by their event's id,
//!   which always meets the same partition. So the number of partitions is fixed, and checked.
//! - **Kafka away is normal**: the spool grows. Only a full spool refuses requests.
//! - **What brokers never take** (too large for the topic) is passed over, counted and named in the dead-letter topic; so is what a
//!   worker cannot count, which the lake keeps a line of besides.

mod aside;
mod forward;
mod note;
mod read;
mod settings;
mod topics;
mod window;

pub use forward::{ForwardStats, Forwarder};
pub use note::Note;
pub use read::TopicReader;
pub use settings::{KafkaSettings, Sasl};
pub use topics::{ends, prepare};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why Kafka could not be used. Being away for a while is none of these: that is waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The settings do not make a client.
    #[error("the [kafka] settings are refused by the client: {0}")]
    Settings(String),
    /// No broker answers.
    #[error(
        "no Kafka broker answers at {brokers} ({source}); check `brokers` under [kafka], and that the brokers run"
    )]
    Away {
        /// The addresses asked.
        brokers: String,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// The topic is not as the settings say.
    #[error(
        "topic {topic} has {found} partitions and the settings say {wanted}: an event's partition follows from their number, so it must \
         not change; set `partitions` under [kafka] to {found}, or choose another topic"
    )]
    Partitions {
        /// Topic.
        topic: String,
        /// Partitions it has.
        found: usize,
        /// Partitions in the settings.
        wanted: u32,
    },
    /// The topic could not be made.
    #[error(
        "topic {topic} cannot be made: {code}; make it by hand or check what this client may do"
    )]
    Create {
        /// Topic.
        topic: String,
        /// What the brokers say.
        code: RDKafkaErrorCode,
    },
    /// The lake has taken in more than the topic ever held.
    #[error(
        "the lake has taken in partition {partition} of {topic} up to offset {committed}, and the topic ends at {end}: it was made anew; \
         choose another topic name, or restore the topic"
    )]
    Rewound {
        /// Topic.
        topic: String,
        /// Partition.
        partition: u32,
        /// What the lake holds.
        committed: u64,
        /// Where the topic ends.
        end: u64,
    },
    /// The client gave up.
    #[error("the Kafka client failed for good: {0}; start again")]
    Fatal(#[source] KafkaError),
    /// The brokers refused a step.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
}
