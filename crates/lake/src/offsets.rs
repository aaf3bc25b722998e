//! How far a table holds the log that its rows come from.

use std::collections::BTreeMap;

/// What the next commit of a table says of a partition of its log: everything below this offset is in.
pub type Offsets = BTreeMap<u32, u64>;

/// The log that a lake's offsets count in. Two logs may have the same offsets, so each has its own in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    name: String,
    partitions: u32,
}

impl Log {
    /// The embedded journal.
    pub fn journal(partitions: u32) -> Self {
        Self {
            name: "journal".to_owned(),
            partitions,
        }
    }

    /// A Kafka topic.
    pub fn topic(topic: &str, partitions: u32) -> Self {
        Self {
            name: format!("kafka-{topic}"),
            partitions,
        }
    }

    /// How many partitions it has, numbered from 0.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Under which name a table keeps a partition's offset.
    pub(crate) fn app_id(&self, partition: u32) -> String {
        format!("{}-{partition}", self.name)
    }

    /// The partition whose offset a table keeps under this name, if it is one of this log.
    pub(crate) fn partition_of(&self, app_id: &str) -> Option<u32> {
        (0..self.partitions).find(|partition| self.app_id(*partition) == app_id)
    }
}
