//! The book of erasures: which events are gone, so that none is counted a second time, and what they had added to rollups that stay.

use crate::error::LakeError;
use crate::files::{self, DAY_US, DataFile};
use crate::offsets::Offsets;
use crate::spec::ERASURES;
use crate::{Lake, TableSpec};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use chrono::NaiveDate;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was erased of one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// The events: id, partition and offset.
    pub events: Vec<(Vec<u8>, i32, i64)>,
    /// What they had added to rollups that stay, over all keys: by rollup and measure.
    pub sums: BTreeMap<(String, String), i64>,
}

impl Lake {
    /// What was erased of a day.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn erased(&self, date: &str) -> Result<Erased, LakeError> {
        let mut all = Erased::default();
        for rows in self.table(ERASURES)?.read_day(date).await? {
            if let Some(events) = items(&rows, "events") {
                let ids = events.column(0).as_binary::<i32>();
                let partitions = events.column(1).as_primitive::<Int32Type>();
                let offsets = events.column(2).as_primitive::<Int64Type>();
                all.events.extend((0..events.len()).map(|at| {
                    (
                        ids.value(at).to_vec(),
                        partitions.value(at),
                        offsets.value(at),
                    )
                }));
            }
            if let Some(sums) = items(&rows, "sums") {
                let rollups = sums.column(0).as_string::<i32>();
                let measures = sums.column(1).as_string::<i32>();
                let values = sums.column(2).as_primitive::<Int64Type>();
                for at in 0..sums.len() {
                    let key = (rollups.value(at).to_owned(), measures.value(at).to_owned());
                    *all.sums.entry(key).or_default() += values.value(at);
                }
            }
        }
        Ok(all)
    }

    /// Books that events of a day are being erased: before they are, so that a stop in between leaves none that could come again.
    ///
    /// # Errors
    /// [`LakeError::Conflict`] when the book was put together or written by another since it was last looked at.
    pub async fn book_erased(&self, date: &str, erased: &Erased) -> Result<(), LakeError> {
        let rows = row(date, erased)?;
        let table = self.table(ERASURES)?;
        table.append(&[rows], &Offsets::new()).await
    }

    /// The ids erased of days that `[from_us, to_us]` touches, as [`Lake::event_ids`] gives them.
    pub(crate) async fn erased_ids(
        &self,
        from_us: i64,
        to_us: i64,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let table = self.table(ERASURES)?;
        // A row stands at the beginning of its day.
        let touched = |file: &&DataFile| file.meets(from_us - DAY_US + 1, to_us);
        let mut out = Vec::new();
        for file in table.view().files.iter().filter(touched) {
            let store = table.store().await;
            for rows in files::read(store.as_ref(), &file.path, None).await? {
                out.extend(items(&rows, "events").map(RecordBatch::from));
            }
        }
        Ok(out)
    }
}

/// The items of a list of structs, of all rows.
fn items<'a>(rows: &'a RecordBatch, column: &str) -> Option<&'a StructArray> {
    rows.column_by_name(column)?
        .as_list_opt::<i32>()?
        .values()
        .as_struct_opt()
}

/// One row of the book.
fn row(date: &str, erased: &Erased) -> Result<RecordBatch, ArrowError> {
    let spec = TableSpec::erasures();
    let day = NaiveDate::parse_from_str(date, "%Y-%m-%d")
        .map_err(|_| ArrowError::ParseError(format!("{date} is not a day")))?;
    let day_us = day
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp_micros();
    let events = &erased.events;
    let sums = &erased.sums;
    let events: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(events.iter().map(|e| &e.0))),
        Arc::new(Int32Array::from_iter_values(events.iter().map(|e| e.1))),
        Arc::new(Int64Array::from_iter_values(events.iter().map(|e| e.2))),
    ];
    let sums: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(sums.keys().map(|key| &key.0))),
        Arc::new(StringArray::from_iter_values(sums.keys().map(|key| &key.1))),
        Arc::new(Int64Array::from_iter_values(sums.values().copied())),
    ];
    let days = TimestampMicrosecondArray::from(vec![day_us]).with_timezone("UTC");
    let mut columns: Vec<ArrayRef> = vec![Arc::new(days)];
    for (at, values) in [(1, events), (2, sums)] {
        let DataType::List(item) = spec.schema.field(at).data_type() else {
            continue;
        };
        let DataType::Struct(fields) = item.data_type() else {
            continue;
        };
        let values = StructArray::try_new(fields.clone(), values, None)?;
        let all = OffsetBuffer::from_lengths([values.len()]);
        columns.push(Arc::new(ListArray::try_new(
            Arc::clone(item),
            all,
            Arc::new(values),
            None,
        )?));
    }
    RecordBatch::try_new(spec.schema, columns)
}
