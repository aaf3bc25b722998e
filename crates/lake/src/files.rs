//! One data file: batch to Parquet with its statistics, and back.

use crate::error::LakeError;
use crate::spec::TableSpec;
use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::compute::{cast, concat_batches, filter_record_batch, max, min};
use arrow::datatypes::DataType::Timestamp;
use arrow::datatypes::TimeUnit::Microsecond;
use arrow::datatypes::{DataType, Field, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, SecondsFormat};
use deltalake::kernel::Add;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const DAY_US: i64 = 86_400_000_000;
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

/// Text of a day as the partition value spells it.
pub fn date_text(day: i64) -> String {
    DateTime::from_timestamp_micros(day * DAY_US)
        .map_or_else(|| "1970-01-01".to_owned(), |at| at.date_naive().to_string())
}

/// Fits `batch` to the stored columns: types are cast, columns picked by name.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                arrow::error::ArrowError::SchemaError(format!(
                    "the rows lack the column {}",
                    field.name()
                ))
            })?;
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

fn windows<'a>(
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

/// How each column is written. A dictionary looks every value up in a hash table, which was a fifth of all ingest work
/// when everything had one: only text that repeats gets one. Whole numbers are packed by their differences, which leaves
/// nothing of columns that are all zeros or ones. Statistics are kept where a range can rule a file out: for numbers and
/// times, not for names, which every file holds from A to Z.
fn properties(spec: &TableSpec) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(1 << 20))
        .set_created_by("tidemark".to_owned());
    let mut leaves = Vec::new();
    for field in spec.schema.fields() {
        leaves_of(field, &mut Vec::new(), &mut leaves);
    }
    for (path, kind) in leaves {
        let name = path.last().map_or("", String::as_str);
        let numeric = kind.is_integer() || kind.is_temporal();
        let encoding = match name {
            // Ids share a prefix with their neighbours, the time.
            "event_id" => Some(Encoding::DELTA_BYTE_ARRAY),
            "request_id" | "session_id" => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            // Lists hold account hashes: no order to them, but the same ones in many rows.
            _ if path.iter().any(|part| part == "list") => None,
            _ if numeric => Some(Encoding::DELTA_BINARY_PACKED),
            _ => None,
        };
        let column = ColumnPath::new(path);
        if !numeric {
            builder =
                builder.set_column_statistics_enabled(column.clone(), EnabledStatistics::None);
        }
        if let Some(encoding) = encoding {
            builder = builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, encoding);
        }
    }
    builder.build()
}

/// The paths and types of the columns that Parquet sees below `field`.
fn leaves_of(field: &Field, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, DataType)>) {
    path.push(field.name().clone());
    match field.data_type() {
        DataType::Struct(fields) => {
            for field in fields {
                leaves_of(field, path, leaves);
            }
        }
        DataType::List(item) => {
            path.push("list".to_owned());
            leaves_of(item, path, leaves);
            path.pop();
        }
        DataType::Map(entries, _) => leaves_of(entries, path, leaves),
        kind => leaves.push((path.clone(), kind.clone())),
    }
    path.pop();
}

/// Writes the rows of one day as one file; the file counts only once a commit names it.
pub async fn write(
    store: &dyn ObjectStore,
    spec: &TableSpec,
    day: i64,
    batches: &[RecordBatch],
    rearranged: bool,
) -> Result<(DataFile, Add), LakeError> {
    let mut window = (i64::MAX, i64::MIN);
    let mut rows = 0;
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&spec.schema), Some(properties(spec)))?;
    for batch in batches {
        let times = windows(batch, spec)?;
        window.0 = window.0.min(min(times).unwrap_or(i64::MAX));
        window.1 = window.1.max(max(times).unwrap_or(i64::MIN));
        rows += batch.num_rows() as i64;
        writer.write(batch)?;
    }
    let bytes = writer.into_inner()?;
    let date = date_text(day);
    let path = format!("date={date}/{}.parquet", uuid::Uuid::now_v7());
    let size = bytes.len() as i64;
    store
        .put(&Path::from(path.as_str()), PutPayload::from(bytes))
        .await
        .map_err(LakeError::store)?;
    let text = |us: i64| {
        DateTime::from_timestamp_micros(us)
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
    };
    let stats = serde_json::json!({
        "numRecords": rows,
        "minValues": { spec.window.as_str(): text(window.0) },
        "maxValues": { spec.window.as_str(): text(window.1) },
        "nullCount": { spec.window.as_str(): 0 },
    });
    let add = Add {
        path: path.clone(),
        partition_values: HashMap::from([("date".to_owned(), Some(date.clone()))]),
        size,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: !rearranged,
        stats: Some(stats.to_string()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    };
    Ok((
        DataFile {
            path,
            date,
            size,
            rows,
            window,
        },
        add,
    ))
}

/// Reads a file's rows, all columns or the named ones.
pub async fn read(
    store: &dyn ObjectStore,
    path: &str,
    columns: Option<&[&str]>,
) -> Result<Vec<RecordBatch>, LakeError> {
    let bytes = store
        .get(&Path::from(path))
        .await
        .map_err(LakeError::store)?
        .bytes()
        .await
        .map_err(LakeError::store)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(16_384);
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
    };
    Ok(builder
        .with_projection(mask)
        .build()?
        .collect::<Result<Vec<_>, _>>()?)
}

/// Several batches of one table as one.
pub fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, LakeError> {
    Ok(concat_batches(schema, batches)?)
}

/// The statistics that [`write`] put into the log.
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
