//! From the journal to the lake.
//!
//! [`Worker`] polls the journal's partitions, decodes a micro-batch into Arrow, sets aside what cannot
//! be counted ([`intake`]), drops duplicates ([`dedup`]), runs every rollup of `pipelines/rollups` over
//! the rest ([`pipeline`]) and commits each table with the offsets it came from.

mod backfill;
pub mod dedup;
mod erase;
mod error;
pub mod intake;
pub mod pipeline;
mod sums;
mod verify;
mod worker;

pub use backfill::backfill;
pub use erase::{ACCOUNT, Erasure, erase, survey};
pub use error::RollupError;
pub use pipeline::Pipeline;
pub use verify::{Difference, verify};
pub use worker::{Tally, Worker, WorkerOptions};

use tidemark_event::wire::Reader;
use tidemark_lake::{EVENTS, Lake, Log, Place, TableSpec};

/// Every table of a lake: the raw events, one per rollup, dead letters, the ledger, and the book of erasures.
///
/// # Errors
/// When a rollup's SQL does not plan or cannot be merged.
pub async fn table_specs(pipelines: &[Pipeline]) -> Result<Vec<TableSpec>, RollupError> {
    let reader = Reader::new(&[])?;
    let mut specs = vec![
        TableSpec::events(&reader.schema()),
        TableSpec::dead_letters(),
        TableSpec::intake(),
        TableSpec::erasures(),
    ];
    specs.extend(pipelines.iter().map(|pipeline| pipeline.spec().clone()));
    Ok(specs)
}

/// Opens the lake in `root` with a table for every built-in rollup.
///
/// # Errors
/// When a rollup does not plan, or the folder cannot be used.
pub async fn open_lake(
    place: impl Into<Place>,
    log: &Log,
) -> Result<(Lake, Vec<Pipeline>), RollupError> {
    let events = TableSpec::events(&Reader::new(&[])?.schema());
    let pipelines = Pipeline::built_in(&events.schema).await?;
    let lake = Lake::open(place, table_specs(&pipelines).await?, log).await?;
    // In a lake of an earlier version, columns that came later may be null.
    let stored = &lake.table(EVENTS)?.spec().schema;
    let pipelines = match *stored == events.schema {
        true => pipelines,
        false => Pipeline::built_in(stored).await?,
    };
    Ok((lake, pipelines))
}
