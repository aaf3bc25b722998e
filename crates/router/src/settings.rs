//! What an operator can set.

use crate::adapters::Dialect;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidemark_catalog::DataPolicy;

/// The `[router]` table of the settings file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name of this router in events.
    pub id: String,
    /// Longest request body, bytes.
    pub max_body_bytes: usize,
    /// Longest answer, and longest event of a stream, bytes.
    pub max_answer_bytes: usize,
    /// Seconds for headers, and again for the body, to arrive.
    pub receive_timeout_s: u64,
    /// Milliseconds until a connection to an upstream must stand.
    pub connect_timeout_ms: u64,
    /// Seconds until an upstream must begin to answer.
    pub first_byte_timeout_s: u64,
    /// Seconds an upstream may be silent in the middle of an answer.
    pub idle_timeout_s: u64,
    /// Seconds after which any answer is cut.
    pub total_timeout_s: u64,
    /// Seconds to read on at the provider after the client has left, so that the count is the provider's.
    pub linger_s: u64,
    /// Seconds requests may go on after the signal to stop.
    pub drain_s: u64,
    /// Endpoints tried for one request, at most.
    pub max_attempts: usize,
    /// The providers that can be reached.
    pub upstreams: Vec<Upstream>,
}

/// How to reach one provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Slug of the provider in the catalog.
    pub provider: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// Region that this address serves from, such as `eu-west`: the same provider may be named once for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What was agreed on requests' content there, such as `{ collects = false, zdr = true }`; goes before what the catalog says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataPolicy>,
    /// Environment variable that holds our key there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// It only simulates: its events are marked so.
    #[serde(default)]
    pub simulated: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            id: "router".to_owned(),
            max_body_bytes: 20 << 20,
            max_answer_bytes: 32 << 20,
            receive_timeout_s: 30,
            connect_timeout_ms: 5_000,
            first_byte_timeout_s: 120,
            idle_timeout_s: 60,
            total_timeout_s: 1_800,
            linger_s: 10,
            drain_s: 30,
            max_attempts: 4,
            upstreams: Vec::new(),
        }
    }
}

impl Settings {
    /// Time for headers, and again for the body.
    pub fn receive_timeout(&self) -> Duration {
        Duration::from_secs(self.receive_timeout_s.max(1))
    }

    /// Time an upstream may be silent.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s.max(1))
    }

    /// Time any answer may take.
    pub fn total_timeout(&self) -> Duration {
        Duration::from_secs(self.total_timeout_s.max(1))
    }
}
