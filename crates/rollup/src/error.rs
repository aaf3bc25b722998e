//! What can stop the rollup worker.

use tidemark_bus::SourceError;
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
    /// The event schema is unusable.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Journal or Kafka failed.
    #[error(transparent)]
    Source(#[from] SourceError),
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
