//! A rollup that is new to a lake, filled from the raw events that are there already.

use crate::{Pipeline, RollupError};
use tidemark_lake::{EVENTS, Lake, Table, Written};

/// Fills every rollup that has taken in nothing yet from the raw events, and lets it go on from where they end.
///
/// To be called before a worker is made, by the only one that writes. All days go in with one commit: after a kill the
/// table is as new as before.
///
/// # Errors
/// When a file cannot be read or written.
pub async fn backfill(lake: &Lake, pipelines: &[Pipeline]) -> Result<(), RollupError> {
    let raw = lake.table(EVENTS)?;
    if is_new(raw) {
        return Ok(());
    }
    for pipeline in pipelines {
        let table = lake.table(&pipeline.spec().name)?;
        if !is_new(table) {
            continue;
        }
        let days = raw.days();
        tracing::info!(
            rollup = pipeline.spec().name,
            days = days.len(),
            "filling a new rollup from the raw events"
        );
        let mut written = Written::default();
        for date in days {
            let rows = pipeline.run(&raw.read_day(&date).await?).await?;
            table.write(&rows, &mut written).await?;
        }
        table.append_written(written, &raw.view().offsets).await?;
    }
    Ok(())
}

/// Whether no commit has moved its offsets.
fn is_new(table: &Table) -> bool {
    table.view().offsets.values().all(|next| *next == 0)
}
