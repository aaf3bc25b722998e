//! The client settings that follow from ours.

use super::{KafkaSettings, TopicError};
use rdkafka::ClientConfig;
use std::path::Path;

impl KafkaSettings {
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
            client
                .set("sasl.mechanism", &self.sasl.mechanism)
                .set("sasl.username", &self.sasl.user)
                .set("sasl.password", password(&self.sasl.password_file)?);
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

/// What a password file holds.
pub(super) fn password(file: &Path) -> Result<String, TopicError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        TopicError::Settings(format!(
            "the password file {} cannot be read: {error}",
            file.display()
        ))
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
