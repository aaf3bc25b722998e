//! Reads result columns by name, whatever width of text the engine chose.

use crate::InsightError;
use crate::boards::{FOLD, TOTALS};
use crate::ranking::{Row, Totals};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

/// The rows of `_fold.sql`.
pub(crate) fn rows(batches: &[RecordBatch]) -> Result<Vec<Row>, InsightError> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = Columns { file: FOLD, batch };
        let place = columns.integers("place")?;
        let key = columns.texts("key")?;
        let name = columns.texts("name")?;
        let tokens = columns.integers("tokens")?;
        let requests = columns.integers("requests")?;
        let spend = columns.integers("spend_nanousd")?;
        let accounts = columns.integers("accounts")?;
        let capped = columns.integers("capped_tokens")?;
        let simulated = columns.integers("simulated_requests")?;
        let share = columns.reals("share")?;
        let growth = columns.reals("growth")?;
        let growth_percent = columns.reals("growth_percent")?;
        for row in 0..batch.num_rows() {
            rows.push(Row {
                rank: integer(&place, row).and_then(|place| u32::try_from(place).ok()),
                key: text(&key, row),
                name: text(&name, row),
                tokens: integer(&tokens, row).unwrap_or(0),
                requests: integer(&requests, row).unwrap_or(0),
                spend_nanousd: integer(&spend, row).unwrap_or(0),
                accounts: integer(&accounts, row).unwrap_or(0),
                capped_tokens: integer(&capped, row).unwrap_or(0),
                simulated_requests: integer(&simulated, row).unwrap_or(0),
                share: real(&share, row).unwrap_or(0.0),
                growth: real(&growth, row),
                growth_percent: real(&growth_percent, row),
            });
        }
    }
    Ok(rows)
}

/// The one row of `_totals.sql`.
pub(crate) fn totals(batches: &[RecordBatch]) -> Result<Totals, InsightError> {
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return Ok(Totals::default());
    };
    let columns = Columns {
        file: TOTALS,
        batch,
    };
    let first = |name| Ok::<i64, InsightError>(integer(&columns.integers(name)?, 0).unwrap_or(0));
    Ok(Totals {
        tokens: first("tokens")?,
        requests: first("requests")?,
        spend_nanousd: first("spend_nanousd")?,
        accounts: first("accounts")?,
        capped_tokens: first("capped_tokens")?,
        simulated_requests: first("simulated_requests")?,
        simulated_share: real(&columns.reals("simulated_share")?, 0).unwrap_or(0.0),
    })
}

/// The columns of one batch of a file's result.
pub(crate) struct Columns<'a> {
    pub(crate) file: &'static str,
    pub(crate) batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn column(&self, name: &str, to: &DataType) -> Result<ArrayRef, InsightError> {
        let shape = |problem| InsightError::Shape {
            file: format!("{}.sql", self.file),
            problem,
        };
        let found = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| shape(format!("the column {name} is missing")))?;
        cast(found, to).map_err(|_| {
            shape(format!(
                "the column {name} is {} and cannot be read as {to}",
                found.data_type()
            ))
        })
    }

    pub(crate) fn integers(&self, name: &str) -> Result<ArrayRef, InsightError> {
        self.column(name, &DataType::Int64)
    }

    pub(crate) fn reals(&self, name: &str) -> Result<ArrayRef, InsightError> {
        self.column(name, &DataType::Float64)
    }

    pub(crate) fn texts(&self, name: &str) -> Result<ArrayRef, InsightError> {
        self.column(name, &DataType::Utf8)
    }
}

pub(crate) fn integer(column: &ArrayRef, row: usize) -> Option<i64> {
    column
        .is_valid(row)
        .then(|| column.as_primitive::<Int64Type>().value(row))
}

pub(crate) fn real(column: &ArrayRef, row: usize) -> Option<f64> {
    column
        .is_valid(row)
        .then(|| column.as_primitive::<Float64Type>().value(row))
}

pub(crate) fn text(column: &ArrayRef, row: usize) -> String {
    if column.is_valid(row) {
        column.as_string::<i32>().value(row).to_owned()
    } else {
        String::new()
    }
}
