//! What of Kafka can be set, and the client settings that follow.

use super::TopicError;
use rdkafka::ClientConfig;
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

    /// What every client of these brokers is made with.
    pub(super) fn client(&self) -> Result<ClientConfig, TopicError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "tidemark")
            // A broker that comes back is met within a second or two.
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "30000");
        let login = !self.sasl.user.is_empty();
        let protocol = match (self.tls, login) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if self.tls {
            // The TLS library is built in and does not know where this system keeps its authorities.
            let file = match self.ca_file.as_os_str().is_empty() {
                true => "probe".to_owned(),
                false => self.ca_file.to_string_lossy().into_owned(),
            };
            client.set("ssl.ca.location", file);
        }
        if login {
            let file = &self.sasl.password_file;
            let password = std::fs::read_to_string(file).map_err(|error| {
                TopicError::Settings(format!(
                    "the password file {} cannot be read: {error}",
                    file.display()
                ))
            })?;
            client
                .set("sasl.mechanism", &self.sasl.mechanism)
                .set("sasl.username", &self.sasl.user)
                .set("sasl.password", password.trim_end_matches(['\r', '\n']));
        }
        Ok(client)
    }

    /// The producer: in order, without gaps or doubles of its own, and never giving a record up.
    pub(super) fn producer(&self) -> Result<ClientConfig, TopicError> {
        let mut client = self.client()?;
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "zstd")
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "65536")
            // The spool is what waits; a record handed over stays handed over.
            .set("message.timeout.ms", "0");
        Ok(client)
    }

    /// A member of the group.
    pub(super) fn member(&self) -> Result<ClientConfig, TopicError> {
        let mut client = self.client()?;
        client
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Where to begin is the lake's to say; what is not there any more is a loss, and reported.
            .set("auto.offset.reset", "error")
            // All partitions are given back before others are given: who has one never shares it.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set(
                "heartbeat.interval.ms",
                (self.session_timeout_ms / 4).max(250).to_string(),
            )
            .set("max.poll.interval.ms", "300000")
            .set("fetch.wait.max.ms", "100")
            .set("queued.max.messages.kbytes", "16384");
        if !self.instance.is_empty() {
            client.set("group.instance.id", &self.instance);
        }
        Ok(client)
    }
}
