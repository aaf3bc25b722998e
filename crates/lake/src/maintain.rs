//! Upkeep: compaction, vacuum and log clean-up, by one owner beside the appends.

use crate::error::LakeError;
use crate::files::{self, DataFile};
use crate::merge::merged;
use crate::spec::Merge;
use crate::table::Table;
use crate::{Lake, sketch};
use arrow::array::RecordBatch;
use chrono::Utc;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::logical_expr::ident;
use deltalake::kernel::transaction::CommitProperties;
use std::collections::BTreeMap;
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
    /// Files that no version since this long names are deleted. Far above the longest query.
    pub retention: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3600),
            open_files: 32,
            settle: Duration::from_secs(30),
            retention: Duration::from_secs(3600),
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
        by_day
            .into_iter()
            .filter_map(|(date, mut files)| {
                if files::is_closed(
                    &date,
                    now.timestamp_micros(),
                    upkeep.grace.as_micros() as i64,
                ) {
                    let quiet = files.iter().all(|file| written_millis(file) <= settled);
                    (files.len() > 1 && (quiet || files.len() >= upkeep.open_files))
                        .then_some(files)
                } else {
                    files.retain(|file| file.size < SMALL_FILE);
                    (files.len() >= upkeep.open_files.max(2)).then_some(files)
                }
            })
            .collect()
    }

    async fn compact(&self, upkeep: Upkeep, report: &mut UpkeepReport) -> Result<(), LakeError> {
        for old in self.to_compact(upkeep) {
            let store = self.store().await;
            let mut batches = Vec::new();
            for file in &old {
                for batch in files::read(store.as_ref(), &file.path, None).await? {
                    batches.push(files::conform(&batch, &self.spec().schema)?);
                }
            }
            let rows = self.merge_rows(batches).await?;
            let mut new = Vec::new();
            for (day, rows) in files::split_by_day(std::slice::from_ref(&rows), self.spec())? {
                new.push(files::write(store.as_ref(), self.spec(), day, &rows, true).await?);
            }
            report.files_before += old.len();
            report.files_after += new.len();
            report.rows_before += old.iter().map(|file| file.rows).sum::<i64>();
            report.rows_after += rows.num_rows() as i64;
            self.rearrange(&old, new).await?;
        }
        Ok(())
    }

    /// Partial rows of this table as one row per key, sorted by key.
    ///
    /// # Errors
    /// When the rows do not have the table's columns.
    pub async fn merge_rows(&self, batches: Vec<RecordBatch>) -> Result<RecordBatch, LakeError> {
        if batches.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.spec().schema)));
        }
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        sketch::register(&context);
        let rows = merged(context.read_batches(batches)?, self.spec())?;
        let order = match &self.spec().merge {
            Merge::Keep => vec![ident(&self.spec().window).sort(true, false)],
            Merge::ByKey { keys, .. } => keys
                .iter()
                .map(|key| ident(key).sort(true, false))
                .collect(),
        };
        let rows = rows.sort(order)?.collect().await?;
        let rows = rows
            .iter()
            .map(|batch| files::conform(batch, &self.spec().schema))
            .collect::<Result<Vec<_>, _>>()?;
        files::concat(&self.spec().schema, &rows)
    }

    async fn vacuum(&self, upkeep: Upkeep, report: &mut UpkeepReport) -> Result<(), LakeError> {
        let retention =
            chrono::Duration::from_std(upkeep.retention).unwrap_or(chrono::Duration::MAX);
        let mut deleted = 0;
        // What replaces the files and log entries that go now must not be in the page cache only.
        tokio::task::block_in_place(|| self.make_durable())?;
        self.adopt(async |delta| {
            let properties = CommitProperties::default()
                .with_create_checkpoint(false)
                .with_cleanup_expired_logs(Some(false));
            let (delta, metrics) = delta
                .vacuum()
                .with_retention_period(retention)
                .with_enforce_retention_duration(false)
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
