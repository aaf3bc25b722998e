//! Partial rows of one key become one row, by what each column's aggregate function implies.

use crate::error::LakeError;
use crate::sketch::{bottom_k, histogram};
use crate::spec::{Merge, MergeFn, TableSpec};
use datafusion::dataframe::DataFrame;
use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::{AggregateUDF, Expr, ident, lit};

/// One row per key of `rows`; rows of tables that keep every row come back as they are.
///
/// # Errors
/// When the rows do not have the table's columns.
pub fn merged(rows: DataFrame, spec: &TableSpec) -> Result<DataFrame, LakeError> {
    let Merge::ByKey { keys, values } = &spec.merge else {
        return Ok(rows);
    };
    let histogram_merge = AggregateUDF::from(histogram::Histogram::of_histograms());
    let bottom_k_merge = AggregateUDF::from(bottom_k::BottomK::of_sketches());
    let aggregates: Vec<Expr> = values
        .iter()
        .map(|(name, how)| {
            let column = ident(name);
            let merged = match how {
                MergeFn::Sum => sum(column),
                MergeFn::Min => min(column),
                MergeFn::Max => max(column),
                MergeFn::Histogram => histogram_merge.call(vec![column]),
                MergeFn::BottomK(k) => bottom_k_merge.call(vec![column, lit(*k)]),
            };
            merged.alias(name)
        })
        .collect();
    let keys: Vec<Expr> = keys.iter().map(ident).collect();
    let columns: Vec<Expr> = spec
        .schema
        .fields()
        .iter()
        .map(|field| ident(field.name()))
        .collect();
    Ok(rows.aggregate(keys, aggregates)?.select(columns)?)
}
