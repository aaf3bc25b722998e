//! A data folder opened the way the binary opens it, with small sizes.

use crate::Result;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::path::Path;
use std::time::Duration;
use tidemark_bus::{Journal, JournalOptions};
use tidemark_event::{UsageEvent, wire};
use tidemark_lake::{Lake, Log, Table, Upkeep};
use tidemark_rollup::{Pipeline, Worker, WorkerOptions, backfill};

/// Sizes that make much happen in little time.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Journal partitions.
    pub partitions: u32,
    /// Journal segment.
    pub segment_bytes: u64,
    /// Between commits.
    pub commit_interval: Duration,
    /// Rows that make a commit early.
    pub max_rows: usize,
    /// Older events are refused.
    pub retention: Option<Duration>,
    /// Between trims of the journal.
    pub trim_every: Duration,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            partitions: 3,
            segment_bytes: 64 << 10,
            commit_interval: Duration::from_millis(50),
            max_rows: 500,
            retention: None,
            trim_every: Duration::from_millis(100),
        }
    }
}

/// Upkeep that never waits. The retention still lies far above any write or read of these tests.
pub fn eager_upkeep() -> Upkeep {
    Upkeep {
        grace: Duration::ZERO,
        open_files: 4,
        settle: Duration::ZERO,
        retention: Duration::from_secs(60),
        // Little, so that merging may need temporary files or more tries.
        memory: 4 << 20,
    }
}

/// Journal, lake and rollups of one folder.
pub struct Folder {
    /// The bus.
    pub journal: Journal,
    /// The tables.
    pub lake: Lake,
    /// The rollups.
    pub pipelines: Vec<Pipeline>,
    /// The wire.
    pub writer: wire::Writer,
    sizes: Sizes,
}

impl Folder {
    /// Opens `dir`, making what is not there.
    pub async fn open(dir: &Path, sizes: Sizes) -> Result<Self> {
        let options = JournalOptions {
            partitions: sizes.partitions,
            segment_bytes: sizes.segment_bytes,
            max_record_bytes: 16 << 20,
            ..JournalOptions::default()
        };
        let journal = Journal::open(&dir.join("journal"), options)?;
        let (lake, pipelines) = open_lake(dir, journal.partitions()).await?;
        backfill(&lake, &pipelines).await?;
        Ok(Self {
            journal,
            lake,
            pipelines,
            writer: wire::Writer::new()?,
            sizes,
        })
    }

    /// A worker that goes on where the lake ends.
    pub fn worker(&self) -> Result<Worker> {
        let options = WorkerOptions {
            commit_interval: self.sizes.commit_interval,
            max_rows: self.sizes.max_rows,
            retention: self.sizes.retention,
            trim_every: self.sizes.trim_every,
        };
        Ok(Worker::new(
            self.journal.clone(),
            self.lake.clone(),
            self.pipelines.clone(),
            options,
        )?)
    }

    /// Publishes events, each under its id; returns when they are durable.
    pub async fn publish(&self, events: &[UsageEvent]) -> Result {
        let record = |event: &UsageEvent| {
            (
                self.journal.partition_for(&event.event_id.0),
                self.writer.write(event),
            )
        };
        Ok(self
            .journal
            .append(events.iter().map(record).collect())
            .await?)
    }

    /// One beyond the last durable offset of each partition.
    pub fn ends(&self) -> Vec<u64> {
        (0..self.journal.partitions())
            .map(|partition| self.journal.end_offset(partition))
            .collect()
    }

    /// Whether a crash left tables at different places: the step that replay must take care of.
    pub fn is_torn(&self) -> bool {
        let mut offsets = self.lake.filled().map(|table| table.view().offsets);
        let first = offsets.next();
        offsets.any(|other| Some(other) != first)
    }

    /// Whether every table holds everything below `ends`.
    pub fn holds(&self, ends: &[u64]) -> bool {
        let committed = self.lake.resume_from(self.journal.partitions());
        ends.iter()
            .zip(committed.values())
            .all(|(end, committed)| committed >= end)
    }
}

/// The lake of `dir` alone.
pub async fn open_lake(dir: &Path, partitions: u32) -> Result<(Lake, Vec<Pipeline>)> {
    Ok(tidemark_rollup::open_lake(&dir.join("lake"), &Log::journal(partitions)).await?)
}

/// One stored row: the named columns as text (times as microseconds, ids in hexadecimal), others as numbers.
pub type PlainRow = (Vec<String>, Vec<i64>);

/// Stored rows of a table, partials as they are.
pub async fn rows(table: &Table, texts: &[&str], numbers: &[&str]) -> Result<Vec<PlainRow>> {
    let mut out = Vec::new();
    for date in table.days() {
        for batch in table.read_day(&date).await? {
            plain(&batch, texts, numbers, &mut out)?;
        }
    }
    Ok(out)
}

fn plain(batch: &RecordBatch, texts: &[&str], numbers: &[&str], out: &mut Vec<PlainRow>) -> Result {
    let missing = |name: &str| format!("no column {name}");
    let mut columns = Vec::new();
    for name in texts {
        let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
        let micros = matches!(
            column.data_type(),
            DataType::Timestamp(TimeUnit::Microsecond, _)
        );
        columns.push(if micros {
            cast(column, &DataType::Int64)?
        } else {
            column.clone()
        });
    }
    let options = FormatOptions::default();
    let formatters = columns
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut values = Vec::new();
    for name in numbers {
        values.push(cast(
            batch.column_by_name(name).ok_or_else(|| missing(name))?,
            &DataType::Int64,
        )?);
    }
    for row in 0..batch.num_rows() {
        let texts = formatters
            .iter()
            .map(|column| column.value(row).to_string())
            .collect();
        let numbers = values
            .iter()
            .map(|column| column.as_primitive::<Int64Type>())
            .map(|column| {
                if column.is_null(row) {
                    0
                } else {
                    column.value(row)
                }
            });
        out.push((texts, numbers.collect()));
    }
    Ok(())
}
