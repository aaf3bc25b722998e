//! Data files: which rows belong to which, and reading them back. `writer` makes them.

use crate::error::LakeError;
use crate::spec::TableSpec;
use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType::{self, Timestamp};
use arrow::datatypes::TimeUnit::Microsecond;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const DAY_US: i64 = 86_400_000_000;
/// A batch whose days alternate more often than this is sorted out by filters instead of slices.
const FEW_RUNS: usize = 16;

/// A file that a snapshot of a table names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path below the table's folder.
    pub path: String,
    /// UTC day of every row's window.
    pub date: String,
    /// Bytes.
    pub size: i64,
    /// Rows.
    pub rows: i64,
    /// Smallest and largest window, microseconds.
    pub window: (i64, i64),
}

impl DataFile {
    /// Whether it may hold a window of `[from_us, to_us]`.
    pub fn meets(&self, from_us: i64, to_us: i64) -> bool {
        self.window.0 <= to_us && self.window.1 >= from_us
    }
}

/// Text of a day as the partition value spells it.
pub fn date_text(day: i64) -> String {
    DateTime::from_timestamp_micros(day * DAY_US)
        .map_or_else(|| "1970-01-01".to_owned(), |at| at.date_naive().to_string())
}

/// Fits `batch` to the stored columns: types are cast, columns picked by name. One that came after the rows is null.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let Some(column) = batch.column_by_name(field.name()) else {
                return match field.is_nullable() {
                    true => Ok(new_null_array(field.data_type(), batch.num_rows())),
                    false => Err(arrow::error::ArrowError::SchemaError(format!(
                        "the rows lack the column {}",
                        field.name()
                    ))),
                };
            };
            match (column.data_type(), field.data_type()) {
                (from, to) if from == to => Ok(Arc::clone(column)),
                // Times without a zone are UTC here. A cast would convert each value through a calendar.
                (Timestamp(Microsecond, None), Timestamp(Microsecond, Some(zone))) => {
                    let times = column.as_primitive::<TimestampMicrosecondType>();
                    Ok(Arc::new(times.clone().with_timezone(Arc::clone(zone))) as ArrayRef)
                }
                (_, to) => cast(column, to),
            }
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

pub(crate) fn windows<'a>(
    batch: &'a RecordBatch,
    spec: &TableSpec,
) -> Result<&'a TimestampMicrosecondArray, LakeError> {
    batch
        .column_by_name(&spec.window)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| {
            arrow::error::ArrowError::SchemaError(format!(
                "{}: {} is not a time column",
                spec.name, spec.window
            ))
            .into()
        })
}

/// Splits rows by the UTC day of their window. Rows of one day that stand together are cut out without a copy.
pub fn split_by_day(
    batches: &[RecordBatch],
    spec: &TableSpec,
) -> Result<BTreeMap<i64, Vec<RecordBatch>>, LakeError> {
    let mut days: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let of_row: Vec<i64> = windows(batch, spec)?
            .values()
            .iter()
            .map(|us| us.div_euclid(DAY_US))
            .collect();
        let runs = of_row.chunk_by(|a, b| a == b).count();
        if runs <= FEW_RUNS {
            let mut at = 0;
            for run in of_row.chunk_by(|a, b| a == b) {
                let rows = batch.slice(at, run.len());
                days.entry(run[0]).or_default().push(rows);
                at += run.len();
            }
            continue;
        }
        let mut distinct = of_row.clone();
        distinct.sort_unstable();
        distinct.dedup();
        for day in distinct {
            let here = of_row.iter().map(|of| Some(*of == day)).collect();
            let rows = filter_record_batch(batch, &here)?;
            days.entry(day).or_default().push(rows);
        }
    }
    Ok(days)
}

/// Reads the named columns of a file's rows whose window begins at `since_us` or later. Only the windows of the others are decoded.
pub async fn read_since(
    store: &dyn ObjectStore,
    path: &str,
    columns: &[&str],
    window: &str,
    since_us: i64,
) -> Result<Vec<RecordBatch>, LakeError> {
    let builder = open(store, path).await?;
    let schema = builder.parquet_schema();
    let mask = ProjectionMask::columns(schema, columns.iter().copied());
    let recent = ArrowPredicateFn::new(ProjectionMask::columns(schema, [window]), move |rows| {
        let times = cast(rows.column(0), &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        Ok(times
            .iter()
            .map(|time| time.map(|time| time >= since_us))
            .collect())
    });
    Ok(builder
        .with_projection(mask)
        .with_row_filter(RowFilter::new(vec![Box::new(recent)]))
        .build()?
        .collect::<Result<Vec<_>, _>>()?)
}

async fn open(
    store: &dyn ObjectStore,
    path: &str,
) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, LakeError> {
    let bytes = store
        .get(&Path::from(path))
        .await
        .map_err(LakeError::store)?
        .bytes()
        .await
        .map_err(LakeError::store)?;
    Ok(ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(16_384))
}

/// Reads a file's rows, all columns or the named ones.
pub async fn read(
    store: &dyn ObjectStore,
    path: &str,
    columns: Option<&[&str]>,
) -> Result<Vec<RecordBatch>, LakeError> {
    let builder = open(store, path).await?;
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
    };
    Ok(builder
        .with_projection(mask)
        .build()?
        .collect::<Result<Vec<_>, _>>()?)
}

/// The window that the statistics in the log state.
pub fn window_of(stats: Option<&str>, spec: &TableSpec) -> (i64, i64) {
    let parse = |stats: &serde_json::Value, side: &str| {
        let text = stats.get(side)?.get(&spec.window)?.as_str()?.to_owned();
        DateTime::parse_from_rfc3339(&text)
            .ok()
            .map(|at| at.timestamp_micros())
    };
    let stats: serde_json::Value = stats
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    // A file without statistics may hold any time.
    (
        parse(&stats, "minValues").unwrap_or(i64::MIN),
        parse(&stats, "maxValues").unwrap_or(i64::MAX),
    )
}

/// Whether `date`'s day ended before `now` by more than `grace_us`.
pub fn is_closed(date: &str, now_us: i64, grace_us: i64) -> bool {
    NaiveDate::parse_from_str(date, "%Y-%m-%d")
        .ok()
        .and_then(|day| day.and_hms_opt(0, 0, 0))
        .is_some_and(|start| start.and_utc().timestamp_micros() + DAY_US + grace_us <= now_us)
}
