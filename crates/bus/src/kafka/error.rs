//! What can be wrong with topics.

#[cfg(feature = "kafka")]
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why Kafka could not be used. Being away for a while is none of these: that is waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// This build has no client.
    #[error(
        "this tidemark was built without Kafka's client, which wants a C++ compiler and Perl: build it with `--features kafka`, see \
         docs/kafka.md"
    )]
    NotBuilt,
    /// The settings do not make a client.
    #[error("the [kafka] settings are refused by the client: {0}")]
    Settings(String),
    /// No broker answers.
    #[cfg(feature = "kafka")]
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
    #[cfg(feature = "kafka")]
    #[error(
        "topic {topic} cannot be made: {code}; make it by hand or check what this client may do"
    )]
    Create {
        /// Topic.
        topic: String,
        /// What the brokers say.
        code: RDKafkaErrorCode,
    },
    /// The schema registry did not do what was asked.
    #[error("the schema registry at {url}: {why}; check `url` under [kafka.registry]")]
    Registry {
        /// Its address.
        url: String,
        /// What it says, or why it says nothing.
        why: String,
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
    #[cfg(feature = "kafka")]
    #[error("the Kafka client failed for good: {0}; start again")]
    Fatal(#[source] KafkaError),
    /// The brokers refused a step.
    #[cfg(feature = "kafka")]
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
}

impl TopicError {
    /// Whether it may be over when asked again.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Registry { .. } => true,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
            _ => false,
        }
    }
}
