//! From the journal to the lake.
//!
//! [`Worker`] polls the journal's partitions, decodes a micro-batch into Arrow, sets aside what cannot
//! be counted ([`intake`]), drops duplicates ([`dedup`]), runs every rollup of `pipelines/rollups` over
//! the rest ([`pipeline`]) and commits each table with the offsets it came from.

pub mod dedup;
mod error;
pub mod intake;
pub mod pipeline;
mod verify;
mod worker;

pub use error::RollupError;
pub use pipeline::Pipeline;
pub use verify::{Difference, verify};
pub use worker::{Tally, Worker, WorkerOptions};

use tidemark_event::wire::Reader;
use tidemark_lake::TableSpec;

/// Every table that the pipelines write: the raw events, one per rollup, dead letters and the ledger.
///
/// # Errors
/// When a rollup's SQL does not plan or cannot be merged.
pub async fn table_specs(pipelines: &[Pipeline]) -> Result<Vec<TableSpec>, RollupError> {
    let reader = Reader::new(&[])?;
    let mut specs = vec![
        TableSpec::events(&reader.schema()),
        TableSpec::dead_letters(),
        TableSpec::intake(),
    ];
    specs.extend(pipelines.iter().map(|pipeline| pipeline.spec().clone()));
    Ok(specs)
}
