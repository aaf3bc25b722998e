//! What boards count: `accounts_by_day`, with numbers for its keys. `volumes` says what an account used of a flow on a day, `flows`
//! what a flow is: an app's requests for a model to a provider. Who the accounts are is told to no board.
//!
//! There is a table of volumes for each period, with the days that no question about that period tells apart as one.

use crate::InsightError;
use crate::query::{Period, Window};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use std::sync::Arc;
use tidemark_lake::{Cut, Dimension, Held, LakeError, Merge, Shape, TableSpec};

const ROLLUP: &str = "accounts_by_day";
pub(crate) const VOLUMES: &str = "volumes";
pub(crate) const FLOWS: &str = "flows";
const FLOW: &[&str] = &["app", "model", "variant", "provider", "simulated"];
const ACCOUNT: &[&str] = &["account_id"];

/// Where what is asked about a period is counted.
pub(crate) fn volumes_of(period: Period) -> String {
    format!("{VOLUMES}_{}", period.as_str())
}

/// What is held of the rollup.
pub(crate) fn held() -> Held {
    let cuts = Period::ALL.iter().map(|period| Cut {
        name: volumes_of(*period),
        begins: Window::begins(*period),
        is_endless: period.days().is_none(),
    });
    // In this order: rows of one account stand side by side, and what sums them finds their sums in the cache.
    let dimensions = vec![
        Dimension::new("account", ACCOUNT),
        Dimension::new("flow", FLOW).with_table(FLOWS),
    ];
    Held::by_windows(VOLUMES, ROLLUP, cuts.collect()).numbered(dimensions)
}

/// Puts rows with the columns of `accounts_by_day` where boards read them, whatever the period, each batch as a partition.
///
/// # Errors
/// A column is missing, the batches differ in their columns, or the tables are there already.
pub fn register_volumes(
    context: &SessionContext,
    partitions: &[RecordBatch],
) -> Result<(), InsightError> {
    let failed = |source| InsightError::Held(Box::new(source));
    let keys = ACCOUNT.iter().chain(FLOW).map(|key| (*key).to_owned());
    let spec = TableSpec {
        name: ROLLUP.to_owned(),
        schema: partitions
            .first()
            .map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema),
        window: "day".to_owned(),
        merge: Merge::ByKey {
            keys: keys.collect(),
            values: Vec::new(),
        },
    };
    let shape = Shape::of(&held(), &spec, Utc::now());
    let rows = partitions.iter().map(|rows| Ok(vec![shape.number(rows)?]));
    let rows = rows
        .collect::<Result<Vec<_>, LakeError>>()
        .map_err(failed)?;
    let volumes = Period::ALL.iter().map(|period| {
        let schema = Arc::clone(&shape.spec.schema);
        (volumes_of(*period), schema, rows.clone())
    });
    let dimensions = shape.dimensions().map_err(failed)?.into_iter();
    let dimensions = dimensions.map(|(name, rows)| (name, rows.schema(), vec![vec![rows]]));
    for (name, schema, rows) in volumes.chain(dimensions) {
        let done = MemTable::try_new(schema, rows)
            .and_then(|table| context.register_table(name.as_str(), Arc::new(table)));
        done.map_err(LakeError::from).map_err(failed)?;
    }
    Ok(())
}
