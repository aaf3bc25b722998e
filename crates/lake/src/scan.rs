//! Data files as a source of queries: rows come as they are asked for, and a file that is not there is an error.

use crate::files::{self, DataFile};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::DateTime;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::buffered::BufReader;
use object_store::{ObjectMeta, ObjectStore, path::Path};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use std::sync::Arc;

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
    let file = ObjectMeta {
        location: Path::from(file.path.as_str()),
        last_modified: DateTime::UNIX_EPOCH,
        size: file.size as u64,
        e_tag: None,
        version: None,
    };
    let reader = BufReader::new(store, &file);
    let rows = ParquetRecordBatchStreamBuilder::new(reader)
        .await?
        .build()?;
    Ok(rows.map_err(DataFusionError::from))
}
