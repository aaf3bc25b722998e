//! What a table is: its columns, its window, and how partial rows of one key merge.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// How two partial values of one key become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeFn {
    /// Counts and sums add up.
    Sum,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// Bucket counts add up.
    Histogram,
    /// The k smallest of both.
    BottomK(i64),
}

/// How rows of a table combine when files are compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Every row is a fact of its own.
    Keep,
    /// Rows with equal keys are partials of one row.
    ByKey {
        /// Key columns.
        keys: Vec<String>,
        /// The other columns and how each merges.
        values: Vec<(String, MergeFn)>,
    },
}

/// One table of the lake.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Name, as SQL sees it.
    pub name: String,
    /// Columns, without the partition column `date`.
    pub schema: SchemaRef,
    /// The timestamp column whose UTC day is the partition `date`.
    pub window: String,
    /// How rows combine.
    pub merge: Merge,
}

/// The raw events: the wire schema and where in the journal each came from.
pub const EVENTS: &str = "raw_events";
/// Messages that could not be counted, with a reason and no content.
pub const DEAD_LETTERS: &str = "dead_letters";
/// The ledger: what came in, and what became of it.
pub const INTAKE: &str = "intake";

/// What was erased: ids, so that nothing is counted again, and sums, so that the rest can still be checked.
pub const ERASURES: &str = "erasures";

/// UTC microseconds, the one time type of the lake.
pub fn timestamp() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()))
}

impl TableSpec {
    /// The raw events table over the Arrow schema of the wire.
    pub fn events(wire: &Schema) -> Self {
        let mut fields: Vec<Arc<Field>> = wire
            .fields()
            .iter()
            .map(|field| Arc::new(stored_field(field)))
            .collect();
        fields.push(Arc::new(Field::new("partition", DataType::Int32, false)));
        fields.push(Arc::new(Field::new("offset", DataType::Int64, false)));
        Self {
            name: EVENTS.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            window: "ts".to_owned(),
            merge: Merge::Keep,
        }
    }

    /// The dead letters table.
    pub fn dead_letters() -> Self {
        let fields = vec![
            Field::new("arrived", timestamp(), false),
            Field::new("partition", DataType::Int32, false),
            Field::new("offset", DataType::Int64, false),
            Field::new("reason", DataType::Utf8, false),
            Field::new("bytes", DataType::Int64, false),
        ];
        Self {
            name: DEAD_LETTERS.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            window: "arrived".to_owned(),
            merge: Merge::Keep,
        }
    }

    /// What was erased of a day: the events' ids and where they were, and what they had added to rollups that stay, summed over the
    /// day and all keys. One row for each day of each erasure.
    pub fn erasures() -> Self {
        let list = |name: &str, fields: Vec<Field>| {
            let item = Field::new("element", DataType::Struct(fields.into()), false);
            Field::new(name, DataType::List(Arc::new(item)), false)
        };
        let fields = vec![
            Field::new("day", timestamp(), false),
            list(
                "events",
                vec![
                    Field::new("event_id", DataType::Binary, false),
                    Field::new("partition", DataType::Int32, false),
                    Field::new("offset", DataType::Int64, false),
                ],
            ),
            list(
                "sums",
                vec![
                    Field::new("rollup", DataType::Utf8, false),
                    Field::new("measure", DataType::Utf8, false),
                    Field::new("sum", DataType::Int64, false),
                ],
            ),
        ];
        Self {
            name: ERASURES.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            window: "day".to_owned(),
            merge: Merge::Keep,
        }
    }

    /// Whether it is filled from the log, and so has offsets.
    pub fn is_filled(&self) -> bool {
        self.name != ERASURES
    }

    /// The intake ledger.
    pub fn intake() -> Self {
        let counts = [
            "received",
            "accepted",
            "duplicates",
            "dead_letters",
            "damaged",
        ];
        let mut fields = vec![
            Field::new("minute", timestamp(), false),
            Field::new("partition", DataType::Int32, false),
        ];
        fields.extend(
            counts
                .iter()
                .map(|name| Field::new(*name, DataType::Int64, false)),
        );
        Self {
            name: INTAKE.to_owned(),
            schema: Arc::new(Schema::new(fields)),
            window: "minute".to_owned(),
            merge: Merge::ByKey {
                keys: vec!["minute".to_owned(), "partition".to_owned()],
                values: counts
                    .iter()
                    .map(|name| ((*name).to_owned(), MergeFn::Sum))
                    .collect(),
            },
        }
    }
}

/// Delta has no fixed-size binary and one spelling of UTC: how a wire field is stored.
fn stored_field(field: &Field) -> Field {
    Field::new(
        field.name(),
        stored_type(field.data_type()),
        field.is_nullable(),
    )
}

/// The type in which the lake stores a value of type `from`.
pub fn stored_type(from: &DataType) -> DataType {
    match from {
        DataType::FixedSizeBinary(_) | DataType::BinaryView => DataType::Binary,
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::Timestamp(_, _) => timestamp(),
        DataType::List(item) => DataType::List(Arc::new(Field::new(
            "element",
            stored_type(item.data_type()),
            item.is_nullable(),
        ))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| Arc::new(stored_field(f))).collect())
        }
        other => other.clone(),
    }
}
