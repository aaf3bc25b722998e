//! A day's rollup as one number for each measure that adds up: what is left of it to compare when some of its events are gone.

use crate::RollupError;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, sum};
use arrow::datatypes::{DataType, Int64Type};
use tidemark_lake::{Merge, MergeFn, TableSpec};

/// The measures that add up, in the table's order: counts and sums, and of a histogram the number of samples.
pub(crate) fn measures(spec: &TableSpec) -> impl Iterator<Item = &str> {
    values(spec)
        .iter()
        .filter(|(_, how)| adds_up(*how))
        .map(|(name, _)| name.as_str())
}

/// Each measure of [`measures`], summed over all rows.
pub(crate) fn sums(rows: &RecordBatch, spec: &TableSpec) -> Result<Vec<i64>, RollupError> {
    measures(spec)
        .map(|name| Ok(amounts(rows, name)?.iter().sum()))
        .collect()
}

/// What each row has of a measure that adds up.
fn amounts(rows: &RecordBatch, name: &str) -> Result<Vec<i64>, RollupError> {
    let Some(column) = rows.column_by_name(name) else {
        return Ok(vec![0; rows.num_rows()]);
    };
    if let Some(buckets) = column.as_map_opt() {
        let counts = |row| sum(buckets.value(row).column(1).as_primitive::<Int64Type>());
        return Ok((0..buckets.len())
            .map(|row| counts(row).unwrap_or(0))
            .collect());
    }
    let column = cast(column, &DataType::Int64)?;
    let values = column.as_primitive::<Int64Type>().iter();
    Ok(values.map(Option::unwrap_or_default).collect())
}

/// Whether `stored` can be `left`, the rollup of the events that are left of a day, and `erased`, the sums of those that are gone: all sums to the
/// last unit, no row of `left` missing, and no row of it larger than what is stored. `both` is `left` merged with `stored`.
pub(crate) fn balances(
    spec: &TableSpec,
    stored: &RecordBatch,
    left: &RecordBatch,
    both: &RecordBatch,
    erased: impl Fn(&str) -> i64,
) -> Result<Result<(), String>, RollupError> {
    if both.num_rows() != stored.num_rows() {
        let missing = both.num_rows() - stored.num_rows();
        return Ok(Err(format!(
            "{missing} rows from raw events are not stored at all"
        )));
    }
    for (name, how) in values(spec) {
        if adds_up(*how) {
            let (stored, both) = (amounts(stored, name)?, amounts(both, name)?);
            let here: i64 = stored.iter().sum();
            let left: i64 = amounts(left, name)?.iter().sum();
            let gone = erased(name);
            if here != left + gone {
                return Ok(Err(format!(
                    "{name} adds up to {here}, the raw events to {left} and what was erased to {gone}"
                )));
            }
            // Row by row, both = stored + left.
            let rows = stored.iter().zip(&both);
            let short = rows
                .filter(|(stored, both)| *both - *stored > **stored)
                .count();
            if short > 0 {
                return Ok(Err(format!(
                    "{short} rows hold less of {name} than the raw events"
                )));
            }
        } else if both.column_by_name(name) != stored.column_by_name(name) {
            return Ok(Err(format!("{name} lacks what the raw events have")));
        }
    }
    Ok(Ok(()))
}

fn values(spec: &TableSpec) -> &[(String, MergeFn)] {
    match &spec.merge {
        Merge::Keep => &[],
        Merge::ByKey { values, .. } => values,
    }
}

/// Merged with itself, what adds up doubles; a minimum, a maximum or a sketch stays.
fn adds_up(how: MergeFn) -> bool {
    matches!(how, MergeFn::Sum | MergeFn::Histogram)
}
