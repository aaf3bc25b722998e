//! What stands here in a build without Kafka's client: the names, and no way to make anything of them.

use super::{ForwardStats, KafkaSettings, Note, TopicError};
use crate::{Journal, Read};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::watch;

/// Answers that there is no client.
///
/// # Errors
/// Always.
pub async fn prepare(_: &KafkaSettings) -> Result<(), TopicError> {
    Err(TopicError::NotBuilt)
}

/// Answers that there is no client.
///
/// # Errors
/// Always.
pub fn ends(_: &KafkaSettings) -> Result<Vec<u64>, TopicError> {
    Err(TopicError::NotBuilt)
}

/// None can be.
#[derive(Debug)]
pub enum Forwarder {}

/// None can be.
#[derive(Debug)]
pub enum TopicReader {}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as with a client")]
impl Forwarder {
    pub async fn start(_: Journal, _: &Path, _: KafkaSettings) -> Result<Self, TopicError> {
        Err(TopicError::NotBuilt)
    }

    pub fn finish(&self) -> u64 {
        match *self {}
    }

    pub fn stats(&self) -> ForwardStats {
        match *self {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as with a client")]
impl TopicReader {
    pub fn join(_: &KafkaSettings) -> Result<Self, TopicError> {
        Err(TopicError::NotBuilt)
    }

    pub fn given(&self) -> Result<Option<(u64, Vec<u32>)>, TopicError> {
        match *self {}
    }

    pub fn holds(&self) -> bool {
        match *self {}
    }

    pub fn begin(&mut self, _: u64, _: &BTreeMap<u32, u64>) -> Result<(), TopicError> {
        match *self {}
    }

    pub fn again(&self) {
        match *self {}
    }

    pub fn position(&self, _: u32) -> u64 {
        match *self {}
    }

    pub fn end(&self, _: u32) -> u64 {
        match *self {}
    }

    pub fn poll(
        &mut self,
        _: u32,
        _: u64,
        _: usize,
        _: usize,
        _: &mut Vec<Read>,
    ) -> Result<(), TopicError> {
        match *self {}
    }

    pub fn learnt(&mut self) -> Vec<(String, String)> {
        match *self {}
    }

    pub fn topic(&self) -> &str {
        match *self {}
    }

    pub fn tell(&self, _: &[Note]) -> Result<(), TopicError> {
        match *self {}
    }

    pub fn news(&self) -> watch::Receiver<u64> {
        match *self {}
    }

    pub fn committed(&self, _: &BTreeMap<u32, u64>) {
        match *self {}
    }
}
