//! One data file: batches to Parquet as they come, with the statistics that the log wants.

use crate::error::LakeError;
use crate::files::{self, DataFile};
use crate::spec::TableSpec;
use arrow::array::RecordBatch;
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Field};
use chrono::{DateTime, SecondsFormat};
use deltalake::kernel::Add;
use object_store::buffered::BufWriter;
use object_store::{ObjectStore, path::Path};
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows held back until their row group is written: what bounds the memory of writing a file of any size.
const ROW_GROUP: usize = 1 << 17;

/// How each column is written. A dictionary looks every value up in a hash table, which was a fifth of all ingest work
/// when everything had one: only text that repeats gets one. Whole numbers are packed by their differences, which leaves
/// nothing of columns that are all zeros or ones. Statistics are kept where a range can rule a file out: for numbers and
/// times, not for names, which every file holds from A to Z.
fn properties(spec: &TableSpec) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP))
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
        // An id begins with the time at which it was made.
        let ranged = numeric || name == "event_id";
        let column = ColumnPath::new(path);
        if !ranged {
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

/// A file of rows of one day under way. It counts only once a commit names it; one that is never finished leaves nothing
/// that a vacuum would not take.
pub struct FileWriter<'a> {
    spec: &'a TableSpec,
    date: String,
    path: String,
    parquet: AsyncArrowWriter<BufWriter>,
    rows: i64,
    window: (i64, i64),
}

impl<'a> FileWriter<'a> {
    /// A new file in the partition `date`.
    pub fn new(
        store: &Arc<dyn ObjectStore>,
        spec: &'a TableSpec,
        date: &str,
    ) -> Result<Self, LakeError> {
        let path = format!("date={date}/{}.parquet", uuid::Uuid::now_v7());
        let file = BufWriter::new(Arc::clone(store), Path::from(path.as_str()));
        let parquet =
            AsyncArrowWriter::try_new(file, Arc::clone(&spec.schema), Some(properties(spec)))?;
        Ok(Self {
            spec,
            date: date.to_owned(),
            path,
            parquet,
            rows: 0,
            window: (i64::MAX, i64::MIN),
        })
    }

    /// Takes rows that have the table's columns and belong to the file's day.
    pub async fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let times = files::windows(rows, self.spec)?;
        self.window.0 = self.window.0.min(min(times).unwrap_or(i64::MAX));
        self.window.1 = self.window.1.max(max(times).unwrap_or(i64::MIN));
        self.rows += rows.num_rows() as i64;
        Ok(self.parquet.write(rows).await?)
    }

    /// Ends the file: what it holds, and the action that names it. `rearranged` says that the rows were there before.
    pub async fn finish(mut self, rearranged: bool) -> Result<(DataFile, Add), LakeError> {
        self.parquet.finish().await?;
        let size = self.parquet.bytes_written() as i64;
        let text = |us: i64| {
            DateTime::from_timestamp_micros(us)
                .map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
        };
        let window = self.spec.window.as_str();
        let stats = serde_json::json!({
            "numRecords": self.rows,
            "minValues": { window: text(self.window.0) },
            "maxValues": { window: text(self.window.1) },
            "nullCount": { window: 0 },
        });
        let add = Add {
            path: self.path.clone(),
            partition_values: HashMap::from([("date".to_owned(), Some(self.date.clone()))]),
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
        let file = DataFile {
            path: self.path,
            date: self.date,
            size,
            rows: self.rows,
            window: self.window,
        };
        Ok((file, add))
    }
}
