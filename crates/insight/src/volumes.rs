//! What boards count: `accounts_by_day`, with numbers for its keys. `volumes` says what an account used of a flow on a day, `flows`
//! what a flow is: an app's requests for a model to a provider. Who the accounts are is told to no board.

use crate::InsightError;
use crate::query::Window;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use std::sync::Arc;
use tidemark_lake::{Dimension, Held, LakeError, Merge, Shape, TableSpec};

const ROLLUP: &str = "accounts_by_day";
pub(crate) const VOLUMES: &str = "volumes";
pub(crate) const FLOWS: &str = "flows";
const FLOW: &[&str] = &["app", "model", "variant", "provider", "simulated"];
const ACCOUNT: &[&str] = &["account_id"];

/// What is held of the rollup: days that no window tells apart as one.
pub(crate) fn held() -> Held {
    let dimensions = vec![
        Dimension::new("flow", FLOW).with_table(FLOWS),
        Dimension::new("account", ACCOUNT),
    ];
    Held::by_windows(VOLUMES, ROLLUP, Window::begins()).numbered(dimensions)
}

/// Puts rows with the columns of `accounts_by_day` where boards read them, each batch as a partition.
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
    let volumes = MemTable::try_new(Arc::clone(&shape.spec.schema), rows);
    let mut tables = vec![(
        VOLUMES.to_owned(),
        volumes.map_err(LakeError::from).map_err(failed)?,
    )];
    for (name, rows) in shape.dimensions().map_err(failed)? {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]);
        tables.push((name, table.map_err(LakeError::from).map_err(failed)?));
    }
    for (name, table) in tables {
        let done = context.register_table(name.as_str(), Arc::new(table));
        done.map_err(LakeError::from).map_err(failed)?;
    }
    Ok(())
}
