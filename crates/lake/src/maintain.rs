//! Upkeep: compaction, vacuum and log clean-up, by one owner beside the appends.

use crate::error::LakeError;
use crate::files::{self, DataFile};
use crate::merge::merged;
use crate::scan::Scan;
use crate::spec::{Merge, TableSpec};
use crate::table::Table;
use crate::writer::FileWriter;
use crate::{Lake, sketch};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use chrono::Utc;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ident;
use deltalake::kernel::Add;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::table::config::TablePropertiesExt;
use deltalake::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What upkeep may touch.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// A day is closed this long after its end; its partials are then merged down to one row per key.
    pub grace: Duration,
    /// Small files of an open day are merged once there are this many.
    pub open_files: usize,
    /// A closed day that still receives files is left alone for this long after the last one, unless files pile up.
    pub settle: Duration,
    /// Bytes that merging holds before it goes to temporary files.
    pub memory: usize,
    /// What this long ago was replaced or superseded goes: files, what the log remembers of them, and the log's own entries.
    /// Far above the longest query.
    pub retention: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3600),
            open_files: 32,
            settle: Duration::from_secs(30),
            memory: 128 << 20,
            retention: Duration::from_secs(900),
        }
    }
}

/// What upkeep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpkeepReport {
    /// Files merged away.
    pub files_before: usize,
    /// Files they became.
    pub files_after: usize,
    /// Rows before.
    pub rows_before: i64,
    /// Rows after: fewer where partials of one key met.
    pub rows_after: i64,
    /// Files deleted by vacuum.
    pub deleted: usize,
}

/// Rows that merging handles at a time. A row with its sketches may have tens of kilobytes.
const BATCH: usize = 1024;

/// Files above this are not merged again on an open day.
const SMALL_FILE: i64 = 16 << 20;

impl Lake {
    /// Merges small files and, on closed days, partial rows of one key.
    ///
    /// # Errors
    /// When reading or writing fails; what was committed by then stays and is whole.
    pub async fn compact(&self, upkeep: Upkeep) -> Result<UpkeepReport, LakeError> {
        let mut report = UpkeepReport::default();
        for table in self.tables() {
            table.compact(upkeep, &mut report).await?;
        }
        Ok(report)
    }

    /// Deletes files and log entries that no recent version needs.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn vacuum(&self, upkeep: Upkeep) -> Result<UpkeepReport, LakeError> {
        let mut report = UpkeepReport::default();
        for table in self.tables() {
            table.vacuum(upkeep, &mut report).await?;
        }
        Ok(report)
    }
}

/// When a file was written: its name is a UUIDv7.
fn written_millis(file: &DataFile) -> i64 {
    let name = file
        .path
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".parquet"));
    let stamp = name
        .and_then(|name| uuid::Uuid::parse_str(name).ok())
        .and_then(|id| id.get_timestamp());
    stamp.map_or(0, |stamp| (stamp.to_unix().0 as i64) * 1000)
}

impl Table {
    /// The groups of files to merge, each of one day.
    fn to_compact(&self, upkeep: Upkeep) -> Vec<Vec<DataFile>> {
        let now = Utc::now();
        let mut by_day: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for file in self.view().files.iter() {
            by_day
                .entry(file.date.clone())
                .or_default()
                .push(file.clone());
        }
        let settled = now.timestamp_millis() - upkeep.settle.as_millis() as i64;
        let grace_us = upkeep.grace.as_micros() as i64;
        by_day
            .into_iter()
            .filter_map(|(date, mut files)| {
                let closed = files::is_closed(&date, now.timestamp_micros(), grace_us);
                // Only the partials of a closed day have to meet in one file; rows that stay as they are need not.
                if !closed || self.spec().merge == Merge::Keep {
                    files.retain(|file| file.size < SMALL_FILE);
                }
                let quiet = closed && files.iter().all(|file| written_millis(file) <= settled);
                let enough = if quiet { 2 } else { upkeep.open_files.max(2) };
                (files.len() >= enough).then_some(files)
            })
            .collect()
    }

    async fn compact(&self, upkeep: Upkeep, report: &mut UpkeepReport) -> Result<(), LakeError> {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for group in self.to_compact(upkeep) {
            let mut memory = upkeep.memory;
            let merged = loop {
                match self.merge_files(&group, memory).await {
                    // A single batch may be larger than its share: better to take more memory than never to merge.
                    Err(LakeError::Query(error)) if is_short_of_memory(&error) => memory *= 2,
                    done => break done?,
                }
            };
            let (before, after) = (group.iter().map(|file| file.rows).sum(), merged.0.rows);
            let kept = match &self.spec().merge {
                Merge::Keep => after == before,
                Merge::ByKey { .. } => (1..=before).contains(&after),
            };
            if !kept {
                let table = self.spec().name.clone();
                return Err(LakeError::RowsLost {
                    table,
                    before,
                    after,
                });
            }
            report.rows_before += before;
            report.rows_after += after;
            old.extend(group);
            new.push(merged);
        }
        report.files_before += old.len();
        report.files_after += new.len();
        // One commit for all days: the log grows by one entry, and appends wait once.
        if !new.is_empty() {
            self.replace(&old, new, false).await?;
        }
        Ok(())
    }

    /// Writes the rows of `old`, all of one day, as one file.
    async fn merge_files(
        &self,
        old: &[DataFile],
        memory: usize,
    ) -> Result<(DataFile, Add), LakeError> {
        let context = bounded(memory, &self.root().scratch)?;
        let rows = self.scan(&context, old).await?;
        let rows = match &self.spec().merge {
            Merge::Keep => rows,
            Merge::ByKey { keys, .. } => by_key(rows, self.spec(), keys)?,
        };
        let mut writer = FileWriter::new(&self.store().await, self.spec(), &old[0].date)?;
        let mut rows = rows.execute_stream().await?;
        while let Some(batch) = rows.try_next().await? {
            let batch = files::conform(&batch, &self.spec().schema)?;
            writer.write(&batch).await?;
        }
        writer.finish(true).await
    }

    /// The rows of `files`, read as they are asked for.
    pub(crate) async fn scan(
        &self,
        context: &SessionContext,
        files: &[DataFile],
    ) -> Result<DataFrame, LakeError> {
        let scan = Scan {
            store: self.store().await,
            files: files.to_vec(),
            schema: Arc::clone(&self.spec().schema),
        };
        let table = StreamingTable::try_new(Arc::clone(&scan.schema), vec![Arc::new(scan)])?;
        Ok(context.read_table(Arc::new(table))?)
    }

    /// Partial rows of this table as one row per key, sorted by key; the rows of a table that keeps all, sorted by time.
    ///
    /// # Errors
    /// When the rows do not have the table's columns.
    pub async fn merge_rows(&self, batches: Vec<RecordBatch>) -> Result<RecordBatch, LakeError> {
        let schema = &self.spec().schema;
        if batches.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let context = SessionContext::new_with_config(one_partition());
        sketch::register(&context);
        let rows = context.read_batches(batches)?;
        let rows = match &self.spec().merge {
            Merge::Keep => rows.sort(vec![ident(&self.spec().window).sort(true, false)])?,
            Merge::ByKey { keys, .. } => by_key(rows, self.spec(), keys)?,
        };
        let rows = rows
            .collect()
            .await?
            .iter()
            .map(|batch| files::conform(batch, schema))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(schema, &rows)?)
    }

    async fn vacuum(&self, upkeep: Upkeep, report: &mut UpkeepReport) -> Result<(), LakeError> {
        let mut deleted = 0;
        // What replaces the files and log entries that go now must not be in the page cache only.
        tokio::task::block_in_place(|| self.make_durable())?;
        self.adopt(async |delta| {
            let properties = CommitProperties::default()
                .with_create_checkpoint(false)
                .with_cleanup_expired_logs(Some(false));
            let delta = retain(delta, upkeep.retention, properties.clone()).await?;
            let (delta, metrics) = delta
                .vacuum()
                .with_mode(deltalake::operations::vacuum::VacuumMode::Full)
                .with_commit_properties(properties)
                .await?;
            deleted = metrics.files_deleted.len();
            deltalake::checkpoints::cleanup_metadata(&delta, None).await?;
            Ok(delta)
        })
        .await?;
        report.deleted += deleted;
        Ok(())
    }
}

/// Gives the table this retention if it has another. The table owns it, for checkpoints and vacuum must agree: a checkpoint that
/// forgets a replaced file before its time leaves it to vacuum as one that nobody ever named, and one that remembers it longer
/// makes every opening read what is gone.
async fn retain(
    delta: DeltaTable,
    retention: Duration,
    properties: CommitProperties,
) -> Result<DeltaTable, DeltaTableError> {
    let retention = Duration::from_secs(retention.as_secs());
    let config = delta.snapshot()?.table_config();
    if config.deleted_file_retention_duration() == retention
        && config.log_retention_duration() == retention
    {
        return Ok(delta);
    }
    let interval = format!("interval {} seconds", retention.as_secs());
    let wanted = [
        "delta.logRetentionDuration",
        "delta.deletedFileRetentionDuration",
    ]
    .map(|key| (key.to_owned(), interval.clone()));
    delta
        .set_tbl_properties()
        .with_properties(wanted.into())
        .with_commit_properties(properties)
        .await
}

fn one_partition() -> SessionConfig {
    SessionConfig::new().with_target_partitions(1)
}

fn is_short_of_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// A context whose queries hold at most about `memory` bytes; what is more goes to temporary files below `folder`. They stand
/// on the lake's disk, for the system's folder is often memory, and vacuum takes what a kill leaves of them.
pub(crate) fn bounded(memory: usize, folder: &Path) -> Result<SessionContext, LakeError> {
    std::fs::create_dir_all(folder).map_err(LakeError::Folder)?;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
        .with_temp_file_path(folder)
        .build_arc()?;
    // What the sorter sets aside for merging its files must fit in its share.
    let config = one_partition()
        .with_sort_spill_reservation_bytes(memory / 8)
        .with_batch_size(BATCH);
    let context = SessionContext::new_with_config_rt(config, runtime);
    sketch::register(&context);
    Ok(context)
}

/// One row per key, sorted by key.
fn by_key(rows: DataFrame, spec: &TableSpec, keys: &[String]) -> Result<DataFrame, LakeError> {
    let order = keys.iter().map(|key| ident(key).sort(true, false));
    Ok(merged(rows, spec)?.sort(order.collect())?)
}
