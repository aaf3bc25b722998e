//! What everyone's traffic says of an endpoint in a region: the api computes it from the rollups, the router reads it back.

use serde::{Deserialize, Serialize};

/// One endpoint in one region over the window that [`Statistics`] names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// `provider/model-slug`, as in the catalog.
    pub endpoint: String,
    /// Region, empty where it is not told apart.
    pub region: String,
    /// Tries that ended well.
    pub attempts_ok: u64,
    /// Tries that failed by the formula of uptime.
    pub attempts_failed: u64,
    /// Tries answered with 429.
    pub rate_limited: u64,
    /// Median time to the first token, microseconds.
    pub ttft_p50_us: Option<u64>,
    /// Median throughput, tokens per second x 1000.
    pub throughput_p50_mtps: Option<u64>,
    /// Answered requests that were refused, in whatever way.
    pub refused: u64,
    /// Requests that finished with tool calls.
    pub tool_requests: u64,
    /// Those of them without a wrong one.
    pub tool_requests_ok: u64,
}

/// Statistics of all endpoints, as of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Unix seconds of the newest event within.
    pub as_of: i64,
    /// The last five minutes: health and speed.
    pub recent: Vec<Observed>,
    /// The last two hours: tool calls and refusals, which need more requests.
    pub long: Vec<Observed>,
}
