//! Where rankings read from.

use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionContext;

/// One consistent state of the lake: all tables at one point.
#[derive(Clone)]
pub struct Snapshot {
    /// Grows with every change of the data; equal versions hold equal data.
    pub version: u64,
    /// The rollup tables by file name, the catalog's tables, and the lake's SQL functions.
    pub context: SessionContext,
    /// Everything committed up to here is in it.
    pub as_of: DateTime<Utc>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .field("as_of", &self.as_of)
            .finish_non_exhaustive()
    }
}

/// Gives the newest snapshot. Called for every request: it must not block.
pub trait Source: Send + Sync {
    /// The newest snapshot, or none while the first is being loaded.
    fn current(&self) -> Option<Snapshot>;
}
