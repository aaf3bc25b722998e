//! What can stop the rollup worker.

use tidemark_bus::JournalError;
use tidemark_event::wire::SchemaError;
use tidemark_lake::LakeError;

/// An error of the rollup worker or of a pipeline file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollupError {
    /// A rollup's SQL is not one the engine can merge.
    #[error("pipelines/rollups/{name}.sql: {why}")]
    Pipeline {
        /// File name without extension.
        name: String,
        /// What is wrong and what to write instead.
        why: String,
    },
    /// The lake and the journal disagree about what was committed.
    #[error(
        "table {table} is committed up to offset {committed} of partition {partition}, the batch covers {from} to {to}: \
         journal and lake do not belong together; restore the folder they were saved in"
    )]
    Offsets {
        /// Table.
        table: String,
        /// Journal partition.
        partition: u32,
        /// The table's next offset.
        committed: u64,
        /// First offset of the batch.
        from: u64,
        /// First offset after it.
        to: u64,
    },
    /// The event schema is unusable.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The query engine failed.
    #[error("rollup: {0}")]
    Query(#[from] datafusion::error::DataFusionError),
    /// Arrow failed.
    #[error("rollup: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A task died.
    #[error("rollup task: {0}")]
    Task(#[from] tokio::task::JoinError),
}
