//! What of Kafka can be set.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `[kafka]` section. Without brokers the journal is the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Addresses as `HOST:PORT,HOST:PORT`; empty for no Kafka.
    pub brokers: String,
    /// Usage events.
    pub topic: String,
    /// What cannot be counted, as headers without content.
    pub dead_letters: String,
    /// Consumer group of the rollup workers.
    pub group: String,
    /// This worker's place in the group, kept over a restart; empty for none.
    pub instance: String,
    /// Partitions of the topic; fixed once it exists.
    pub partitions: u32,
    /// Copies of each partition where the topic is made here; half of them, and one more, must have a record.
    pub replication: u16,
    /// Hours for which brokers keep events, where the topic is made here. The lake is what keeps them for good.
    pub retention_hours: u32,
    /// Milliseconds without a sign of life after which a worker's partitions go to others.
    pub session_timeout_ms: u32,
    /// Encrypted connections.
    pub tls: bool,
    /// Authority that signs the brokers' certificates, as a PEM file; empty for the system's.
    pub ca_file: PathBuf,
    /// How to log in; none without a user.
    pub sasl: Sasl,
    /// Who numbers schemas; none without a URL.
    pub registry: Registry,
}

/// A user of Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sasl {
    /// PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    pub mechanism: String,
    /// Name.
    pub user: String,
    /// File that holds the password, so that no setting does.
    pub password_file: PathBuf,
}

/// A schema registry of Confluent's API. With one, messages begin with a zero byte and the number that it gave to their schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Address, as in `http://127.0.0.1:8081`; empty for none.
    pub url: String,
    /// Name; empty for none.
    pub user: String,
    /// File that holds the password.
    pub password_file: PathBuf,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            topic: "tidemark.usage".to_owned(),
            dead_letters: "tidemark.dead-letters".to_owned(),
            group: "tidemark-rollup".to_owned(),
            instance: String::new(),
            partitions: 12,
            replication: 3,
            retention_hours: 7 * 24,
            session_timeout_ms: 10_000,
            tls: false,
            ca_file: PathBuf::new(),
            sasl: Sasl::default(),
            registry: Registry::default(),
        }
    }
}

impl Default for Sasl {
    fn default() -> Self {
        Self {
            mechanism: "SCRAM-SHA-512".to_owned(),
            user: String::new(),
            password_file: PathBuf::new(),
        }
    }
}

impl KafkaSettings {
    /// Whether there is a Kafka to use.
    pub fn is_set(&self) -> bool {
        !self.brokers.is_empty()
    }
}
