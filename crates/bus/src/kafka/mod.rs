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
//!
//! - **A schema registry is an option** of the topic alone (`framing.rs`): spool and worker know Avro's own marks. While it does not
//!   answer, events wait in the spool, and a worker that meets a new number waits with what it has.
//!
//! # In a build without the feature `kafka`
//!
//! Settings and errors are the same, and nothing can be made of them: each way in answers [`TopicError::NotBuilt`].

#[cfg(not(feature = "kafka"))]
mod absent;
#[cfg(feature = "kafka")]
mod aside;
#[cfg(feature = "kafka")]
mod client;
mod error;
#[cfg(feature = "kafka")]
mod forward;
#[cfg(feature = "kafka")]
mod framing;
mod note;
#[cfg(feature = "kafka")]
mod producer;
#[cfg(feature = "kafka")]
mod read;
#[cfg(feature = "kafka")]
mod registry;
mod settings;
mod stats;
#[cfg(feature = "kafka")]
mod topics;
#[cfg(any(test, feature = "kafka"))]
mod window;

#[cfg(not(feature = "kafka"))]
pub use absent::{Forwarder, TopicReader, ends, prepare};
pub use error::TopicError;
#[cfg(feature = "kafka")]
pub use forward::Forwarder;
pub use note::Note;
#[cfg(feature = "kafka")]
pub use read::TopicReader;
pub use settings::{KafkaSettings, Registry, Sasl};
pub use stats::ForwardStats;
#[cfg(feature = "kafka")]
pub use topics::{ends, prepare};

/// Whether this build has Kafka's client.
///
/// # Errors
/// [`TopicError::NotBuilt`] if not.
pub fn is_built() -> Result<(), TopicError> {
    match cfg!(feature = "kafka") {
        true => Ok(()),
        false => Err(TopicError::NotBuilt),
    }
}
