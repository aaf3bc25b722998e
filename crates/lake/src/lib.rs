//! The lake: Delta tables on plain Parquet, in a folder or a bucket, the truth that everything else can be rebuilt from.
//!
//! A commit of a [`Table`] holds rows and the journal offsets they came from, so that a crash at any
//! step neither loses nor doubles a row. [`Lake`] opens the tables, `maintain` keeps them small and
//! quick, [`Hot`] holds the tables that rankings read in memory, and [`sketch`] teaches SQL to merge
//! histograms and distinct counts.

mod changes;
mod columns;
mod dimension;
mod erase;
mod erasures;
mod error;
mod files;
mod held;
mod hot;
mod kept;
mod maintain;
mod merge;
mod offsets;
mod place;
mod scan;
pub mod sketch;
mod spec;
mod sql;
mod stretch;
mod table;
mod writer;

pub use changes::Changes;
pub use dimension::Dimension;
pub use erase::Found;
pub use erasures::Erased;
pub use error::LakeError;
pub use files::{DataFile, conform, date_text};
pub use held::{Cut, Held, Part, Shape};
pub use hot::Hot;
pub use kept::Kept;
pub use maintain::{Upkeep, UpkeepReport};
pub use merge::merged;
pub use offsets::{Log, Offsets};
pub use place::{Bucket, BucketAddress, Place};
pub use spec::{
    DEAD_LETTERS, ERASURES, EVENTS, INTAKE, Merge, MergeFn, TableSpec, stored_type, timestamp,
};
pub use table::{Table, TableView, Written};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Files of a table that are read or written at once: a bucket answers one in some ten milliseconds, and many at the same time.
const AT_ONCE: usize = 8;

/// All tables of one data folder.
#[derive(Clone)]
pub struct Lake {
    tables: Arc<BTreeMap<String, Arc<Table>>>,
}

impl Lake {
    /// Opens the lake in a place, making the folder and the tables that are not there yet.
    ///
    /// # Errors
    /// When the place cannot be used or belongs to another version of Tidemark.
    pub async fn open(
        place: impl Into<Place>,
        specs: Vec<TableSpec>,
        log: &Log,
    ) -> Result<Self, LakeError> {
        let place = place.into();
        let mut tables = BTreeMap::new();
        for spec in specs {
            tables.insert(
                spec.name.clone(),
                Arc::new(Table::open(&place, spec, log).await?),
            );
        }
        Ok(Self {
            tables: Arc::new(tables),
        })
    }

    /// One table.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn table(&self, name: &str) -> Result<&Arc<Table>, LakeError> {
        self.tables.get(name).ok_or_else(|| LakeError::NoSuchTable {
            table: name.to_owned(),
            known: self.tables.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// All tables, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Reads what another process may have committed.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn reload(&self) -> Result<(), LakeError> {
        for table in self.tables() {
            table.reload().await?;
        }
        Ok(())
    }

    /// Per partition, the first offset that some table still lacks: where reading goes on after a stop.
    pub fn resume_from(&self, partitions: u32) -> Offsets {
        (0..partitions)
            .map(|partition| {
                let next = self.committed(partition).min();
                (partition, next.unwrap_or(0))
            })
            .collect()
    }

    /// All tables that are filled from the log, by name.
    pub fn filled(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables().filter(|table| table.spec().is_filled())
    }

    /// The first offset of a partition that each table still lacks.
    pub fn committed(&self, partition: u32) -> impl Iterator<Item = u64> {
        self.filled()
            .map(move |table| table.view().offsets.get(&partition).copied().unwrap_or(0))
    }

    /// Forces all commits so far to the disk.
    ///
    /// # Errors
    /// When a file cannot be synced: the journal must then keep its entries.
    pub fn make_durable(&self) -> Result<(), LakeError> {
        self.tables().try_for_each(|table| table.make_durable())
    }

    /// Rows of the raw files that may hold an event of `[from_us, to_us]`, other rows of these files among them.
    ///
    /// # Errors
    /// When the lake has no raw table.
    pub fn events_within(&self, from_us: i64, to_us: i64) -> Result<i64, LakeError> {
        let files = self.table(EVENTS)?.view().files;
        let within = files.iter().filter(|file| file.meets(from_us, to_us));
        Ok(within.map(|file| file.rows).sum())
    }

    /// The ids made in `made` (milliseconds) of events whose time is at most `apart_us` off, with partition and offset, as the raw
    /// table's columns `event_id`, `partition` and `offset`: those that were erased, too, and some that were made before or after.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn event_ids(
        &self,
        made: RangeInclusive<i64>,
        apart_us: i64,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let (from_us, to_us) = (made.start() * 1000 - apart_us, made.end() * 1000 + apart_us);
        let mut out = self.erased_ids(from_us, to_us).await?;
        let table = self.table(EVENTS)?;
        let files = table.view().files;
        let store = table.store().await;
        let near = files.iter().filter(|file| file.meets(from_us, to_us));
        let looks: Vec<_> = near
            .map(|file| scan::ids(Arc::clone(&store), file.clone(), made.clone()))
            .collect();
        let mut ids = stream::iter(looks).buffered(AT_ONCE);
        while let Some(ids) = ids.try_next().await? {
            out.extend(ids);
        }
        Ok(out)
    }
}
