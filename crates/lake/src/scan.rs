//! Data files as a source of queries: rows come as they are asked for, and a file that is not there is an error.

use crate::error::LakeError;
use crate::files::{self, DataFile};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as Read};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// Bytes at the end of a file that are read at once, for they hold most footers whole.
const FOOTER: usize = 64 << 10;
/// Up to so many bytes a file is read whole, with one request to the store where footer and columns would take one each.
const SMALL: u64 = 256 << 10;

/// The files of a table, one after the other.
#[derive(Debug)]
pub struct Scan {
    /// Where they are.
    pub store: Arc<dyn ObjectStore>,
    /// Which.
    pub files: Vec<DataFile>,
    /// The table's columns.
    pub schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (store, schema) = (Arc::clone(&self.store), Arc::clone(&self.schema));
        let rows = futures::stream::iter(self.files.clone())
            .then(move |file| rows_of(Arc::clone(&store), file))
            .try_flatten()
            .map(move |rows| {
                files::conform(&rows?, &schema)
                    .map_err(|error| DataFusionError::External(Box::new(error)))
            });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            rows,
        ))
    }
}

async fn rows_of(
    store: Arc<dyn ObjectStore>,
    file: DataFile,
) -> Result<impl Stream<Item = Result<RecordBatch>>> {
    let rows = ParquetRecordBatchStreamBuilder::new(StoredFile::of(store, &file))
        .await?
        .build()?;
    Ok(rows.map_err(DataFusionError::from))
}

/// Ids with partition and offset from a file of raw events, without the row groups that have no id made in `made` (milliseconds).
pub async fn ids(
    store: Arc<dyn ObjectStore>,
    file: DataFile,
    made: RangeInclusive<i64>,
) -> std::result::Result<Vec<RecordBatch>, LakeError> {
    let rows = ParquetRecordBatchStreamBuilder::new(StoredFile::of(store, &file)).await?;
    let schema = rows.parquet_schema();
    let id = schema.columns().iter().position(|c| c.name() == "event_id");
    let groups = rows.metadata().row_groups().iter().enumerate();
    let wanted = groups
        .filter(|(_, group)| id.is_none_or(|id| may_hold(group.column(id), &made)))
        .map(|(at, _)| at)
        .collect();
    let mask = ProjectionMask::columns(schema, ["event_id", "partition", "offset"]);
    let rows = rows
        .with_projection(mask)
        .with_row_groups(wanted)
        .with_batch_size(16_384)
        .build()?;
    Ok(rows.try_collect().await?)
}

/// Whether a column of ids may have one made in `made`. One without statistics, as earlier versions wrote it, may have any.
fn may_hold(ids: &ColumnChunkMetaData, made: &RangeInclusive<i64>) -> bool {
    let millis = |id: &[u8]| {
        id.iter()
            .take(6)
            .fold(0, |ms, byte| (ms << 8) | i64::from(*byte))
    };
    let ends = ids.statistics().and_then(|stats| {
        Some((
            millis(stats.min_bytes_opt()?),
            millis(stats.max_bytes_opt()?),
        ))
    });
    ends.is_none_or(|(first, last)| first <= *made.end() && last >= *made.start())
}

/// A file of the store, whose size the log has told.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    /// All of a small one, once it has been asked for anything.
    whole: Option<Bytes>,
}

impl StoredFile {
    fn of(store: Arc<dyn ObjectStore>, file: &DataFile) -> Self {
        Self {
            store,
            path: Path::from(file.path.as_str()),
            size: file.size as u64,
            whole: None,
        }
    }

    async fn ranges(&mut self, ranges: &[Range<u64>]) -> Read<Vec<Bytes>> {
        if self.size > SMALL {
            let parts = self.store.get_ranges(&self.path, ranges).await;
            return parts.map_err(foreign);
        }
        let whole = match self.whole.take() {
            Some(whole) => whole,
            None => {
                let all = self.store.get_range(&self.path, 0..self.size).await;
                all.map_err(foreign)?
            }
        };
        let parts = ranges.iter().map(|range| {
            let within = range.start <= range.end && range.end <= whole.len() as u64;
            within
                .then(|| whole.slice(range.start as usize..range.end as usize))
                .ok_or_else(|| {
                    ParquetError::EOF(format!("{} ends before {}", self.path, range.end))
                })
        });
        let parts = parts.collect();
        self.whole = Some(whole);
        parts
    }
}

fn foreign(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Read<Bytes>> {
        async move {
            let parts = self.ranges(std::slice::from_ref(&range)).await?;
            Ok(parts.into_iter().next().unwrap_or_default())
        }
        .boxed()
    }

    /// All at once: the columns of a row group lie side by side.
    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Read<Vec<Bytes>>> {
        async move { self.ranges(&ranges).await }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Read<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let metadata = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(FOOTER))
                .load_and_finish(self, size)
                .await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}
