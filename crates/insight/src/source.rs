//! Where rankings read from.

use crate::InsightError;
use crate::directory::Directory;
use crate::public::publish;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use datafusion::execution::context::SessionContext;
use std::sync::Arc;
use tidemark_catalog::Catalog;

/// One consistent state of the lake: all tables at one point.
#[derive(Clone)]
pub struct Snapshot {
    /// Grows with every change of the data; equal versions hold equal data.
    pub version: u64,
    /// The held tables as anyone may see them, the catalog's tables, and the lake's SQL functions.
    pub context: SessionContext,
    /// What the catalog says in public.
    pub directory: Directory,
    /// Everything committed up to here is in it.
    pub as_of: DateTime<Utc>,
    /// Today, as far as the held tables know: they hold days together that no window of this day tells apart.
    pub today: NaiveDate,
}

impl Snapshot {
    /// The state of the held tables that anyone may see at `now`.
    ///
    /// # Errors
    /// A table cannot be read or registered.
    pub async fn publish(
        version: u64,
        held: &SessionContext,
        catalog: Arc<Catalog>,
        as_of: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Self, InsightError> {
        Ok(Self {
            version,
            context: publish(held, &catalog, now).await?,
            directory: Directory::new(catalog),
            as_of,
            today: now.date_naive(),
        })
    }

    /// `now`, or the last moment of today if that is over already: around midnight, for as long as a refresh takes.
    pub(crate) fn clock(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let midnight = self.today.succ_opt().unwrap_or(NaiveDate::MAX);
        let midnight = midnight.and_time(NaiveTime::MIN).and_utc();
        now.min(midnight - TimeDelta::microseconds(1))
    }
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
