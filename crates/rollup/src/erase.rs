//! An account's rows taken out of the lake: raw events, and rollups that have a row per account. What it had added to the other
//! rollups stays in their sums, and is booked, so that `verify` can still balance them against the events that are left.

use crate::sums::{measures, sums};
use crate::verify::settle;
use crate::{Pipeline, RollupError};
use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tidemark_lake::{EVENTS, Erased, Lake, LakeError, Merge, Table, TableSpec};

/// The column of events, and of rollups by account, that says whose they are.
pub const ACCOUNT: &str = "account_id";

/// Times that the lake is gone over: rows that arrive meanwhile want another one.
const PASSES: usize = 5;

/// What an erasure found or took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Rows, by table.
    pub rows: BTreeMap<String, i64>,
    /// UTC days that had any.
    pub days: BTreeSet<String>,
    /// What the events had added to rollups that stay: by rollup and measure.
    pub stays: BTreeMap<(String, String), i64>,
    /// Whether rows still arrived when it gave up: the account is in use.
    pub in_use: bool,
}

/// What there is of an account; nothing is changed. `each` hears of every day done.
///
/// # Errors
/// When a file cannot be read.
pub async fn survey(
    lake: &Lake,
    pipelines: &[Pipeline],
    account: &str,
    mut each: impl FnMut(usize, usize),
) -> Result<Erasure, RollupError> {
    let mut found = Erasure::default();
    let days = days(lake)?;
    for (done, date) in days.iter().enumerate() {
        for table in by_account(lake) {
            let rows = table.find(date, ACCOUNT, account).await?;
            if table.spec().name == EVENTS {
                stays(&mut found, &added(lake, pipelines, &rows.rows).await?);
            }
            count(&mut found, table, date, rows.len());
        }
        each(done + 1, days.len());
    }
    Ok(found)
}

/// Takes every row of an account out, beside whoever writes. A stop anywhere leaves a lake that goes on working; the same call again
/// does the rest.
///
/// # Errors
/// When a file cannot be read or written.
pub async fn erase(
    lake: &Lake,
    pipelines: &[Pipeline],
    account: &str,
    mut each: impl FnMut(usize, usize),
) -> Result<Erasure, RollupError> {
    let mut gone = Erasure::default();
    for pass in 0..PASSES {
        // A commit that has reached the events only still brings rows to the rollups.
        settle(lake).await?;
        let before = gone.rows.clone();
        let days = days(lake)?;
        for (done, date) in days.iter().enumerate() {
            while let Err(error) = erase_day(lake, pipelines, account, date, &mut gone).await {
                // Others put files together or write the book: what is left is found again.
                let RollupError::Lake(LakeError::Conflict { .. }) = error else {
                    return Err(error);
                };
                lake.reload().await?;
            }
            each(done + 1, days.len());
        }
        lake.reload().await?;
        gone.in_use = gone.rows != before && pass + 1 == PASSES;
        if gone.rows == before {
            break;
        }
    }
    tokio::task::block_in_place(|| lake.make_durable())?;
    Ok(gone)
}

async fn erase_day(
    lake: &Lake,
    pipelines: &[Pipeline],
    account: &str,
    date: &str,
    gone: &mut Erasure,
) -> Result<(), RollupError> {
    // Before anything of this day's is removed: else a stop would leave events that could come again.
    let events = lake.table(EVENTS)?.find(date, ACCOUNT, account).await?;
    if !events.is_empty() {
        let booked: HashSet<Vec<u8>> = lake
            .erased(date)
            .await?
            .events
            .into_iter()
            .map(|(id, _, _)| id)
            .collect();
        let fresh = not_in(&events.rows, &booked)?;
        let erased = Erased {
            events: ids(&fresh),
            sums: added(lake, pipelines, &fresh).await?,
        };
        if !erased.events.is_empty() {
            lake.book_erased(date, &erased).await?;
            stays(gone, &erased.sums);
        }
    }
    for table in by_account(lake) {
        let found = table.find(date, ACCOUNT, account).await?;
        if !found.is_empty() {
            table.remove(&found).await?;
            count(gone, table, date, found.len());
        }
    }
    Ok(())
}

/// The tables that say whose their rows are.
fn by_account(lake: &Lake) -> impl Iterator<Item = &Arc<Table>> {
    lake.tables().filter(|table| is_by_account(table.spec()))
}

pub(crate) fn is_by_account(spec: &TableSpec) -> bool {
    match &spec.merge {
        Merge::Keep => spec.name == EVENTS,
        Merge::ByKey { keys, .. } => keys.iter().any(|key| key == ACCOUNT),
    }
}

fn days(lake: &Lake) -> Result<BTreeSet<String>, RollupError> {
    Ok(by_account(lake).flat_map(|table| table.days()).collect())
}

fn count(erasure: &mut Erasure, table: &Table, date: &str, rows: i64) {
    if rows > 0 {
        *erasure.rows.entry(table.spec().name.clone()).or_default() += rows;
        erasure.days.insert(date.to_owned());
    }
}

fn stays(erasure: &mut Erasure, sums: &BTreeMap<(String, String), i64>) {
    for (measure, sum) in sums {
        *erasure.stays.entry(measure.clone()).or_default() += sum;
    }
}

/// What events add to the rollups that have no row per account, over all keys.
async fn added(
    lake: &Lake,
    pipelines: &[Pipeline],
    events: &[RecordBatch],
) -> Result<BTreeMap<(String, String), i64>, RollupError> {
    let mut all = BTreeMap::new();
    for pipeline in pipelines {
        let spec = pipeline.spec();
        if is_by_account(spec) || events.is_empty() {
            continue;
        }
        let partials = lake
            .table(&spec.name)?
            .merge_rows(pipeline.run(events).await?)
            .await?;
        for (measure, sum) in measures(spec).zip(sums(&partials, spec)?) {
            if sum != 0 {
                all.insert((spec.name.clone(), measure.to_owned()), sum);
            }
        }
    }
    Ok(all)
}

/// The events whose ids are not among these.
fn not_in(events: &[RecordBatch], ids: &HashSet<Vec<u8>>) -> Result<Vec<RecordBatch>, RollupError> {
    let mut left = Vec::new();
    for rows in events {
        let Some(column) = rows
            .column_by_name("event_id")
            .and_then(|column| column.as_binary_opt::<i32>())
        else {
            continue;
        };
        let new: Vec<u32> = (0..rows.num_rows() as u32)
            .filter(|row| !ids.contains(column.value(*row as usize)))
            .collect();
        if !new.is_empty() {
            left.push(take_record_batch(rows, &UInt32Array::from(new))?);
        }
    }
    Ok(left)
}

fn ids(events: &[RecordBatch]) -> Vec<(Vec<u8>, i32, i64)> {
    let mut all = Vec::new();
    for rows in events {
        let columns = (
            rows.column_by_name("event_id")
                .and_then(|column| column.as_binary_opt::<i32>()),
            rows.column_by_name("partition")
                .and_then(|column| column.as_primitive_opt::<Int32Type>()),
            rows.column_by_name("offset")
                .and_then(|column| column.as_primitive_opt::<Int64Type>()),
        );
        if let (Some(ids), Some(partitions), Some(offsets)) = columns {
            all.extend((0..rows.num_rows()).map(|at| {
                (
                    ids.value(at).to_vec(),
                    partitions.value(at),
                    offsets.value(at),
                )
            }));
        }
    }
    all
}
