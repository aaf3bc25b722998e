//! One micro-batch: what was read, what it became, and the books over both.

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_bus::kafka::Note;
use tidemark_event::wire::{self, Reason};
use tidemark_lake::{Offsets, TableSpec};

const MINUTE_US: i64 = 60_000_000;

/// What became of a run of messages. Every one is in exactly one of the last four.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of the journal.
    pub received: u64,
    /// Counted.
    pub accepted: u64,
    /// Seen before.
    pub duplicates: u64,
    /// Set aside with a reason.
    pub dead_letters: u64,
    /// Lost to damage on the disk, set aside as a range.
    pub damaged: u64,
}

impl Counts {
    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.dead_letters += other.dead_letters;
        self.damaged += other.damaged;
    }
}

struct DeadLetter {
    arrived: i64,
    partition: i32,
    offset: i64,
    reason: &'static str,
    bytes: i64,
    /// Fingerprint that the message names, if any.
    schema: String,
}

/// Everything between two commits.
#[derive(Default)]
pub struct MicroBatch {
    /// Accepted events, with partition and offset as the last columns.
    pub events: Vec<RecordBatch>,
    /// First offset of each partition.
    pub from: Offsets,
    /// First offset after the batch, of each partition.
    pub to: Offsets,
    /// Sum over the batch.
    pub total: Counts,
    dead: Vec<DeadLetter>,
    books: BTreeMap<(i64, u32), Counts>,
}

impl MicroBatch {
    /// Accepted events held.
    pub fn rows(&self) -> usize {
        self.events.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.total.received == 0
    }

    fn book(&mut self, arrived: i64, partition: u32, counts: Counts) {
        self.books
            .entry((arrived - arrived.rem_euclid(MINUTE_US), partition))
            .or_default()
            .add(counts);
        self.total.add(counts);
    }

    /// Sets a message aside.
    pub fn dead_letter(
        &mut self,
        partition: u32,
        offset: u64,
        arrived: i64,
        message: &[u8],
        reason: Reason,
    ) {
        self.book(
            arrived,
            partition,
            Counts {
                received: 1,
                dead_letters: 1,
                ..Counts::default()
            },
        );
        self.dead.push(DeadLetter {
            arrived,
            partition: partition as i32,
            offset: offset as i64,
            reason: reason.as_str(),
            bytes: message.len() as i64,
            schema: wire::schema_named(message).unwrap_or_default(),
        });
    }

    /// Books `records` offsets that the journal could not read any more.
    pub fn damaged(&mut self, partition: u32, offset: u64, records: u64, arrived: i64, bytes: u64) {
        self.book(
            arrived,
            partition,
            Counts {
                received: records,
                damaged: records,
                ..Counts::default()
            },
        );
        self.dead.push(DeadLetter {
            arrived,
            partition: partition as i32,
            offset: offset as i64,
            reason: "damaged",
            bytes: bytes as i64,
            schema: String::new(),
        });
    }

    /// Takes the rows of one decoded run that `keep` says; the others are duplicates.
    ///
    /// # Errors
    /// When Arrow fails.
    pub fn accept(
        &mut self,
        partition: u32,
        rows: &RecordBatch,
        offsets: Vec<i64>,
        arrived: &[i64],
        keep: &BooleanArray,
    ) -> Result<(), ArrowError> {
        for (row, arrived) in arrived.iter().enumerate() {
            let kept = keep.value(row);
            let counts = Counts {
                received: 1,
                accepted: u64::from(kept),
                duplicates: u64::from(!kept),
                ..Counts::default()
            };
            self.book(*arrived, partition, counts);
        }
        let mut fields: Vec<Arc<Field>> = rows.schema_ref().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("partition", DataType::Int32, false)));
        fields.push(Arc::new(Field::new("offset", DataType::Int64, false)));
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.push(Arc::new(Int32Array::from_value(
            partition as i32,
            rows.num_rows(),
        )));
        columns.push(Arc::new(Int64Array::from(offsets)));
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let rows = if keep.true_count() == rows.num_rows() {
            rows
        } else {
            filter_record_batch(&rows, keep)?
        };
        if rows.num_rows() > 0 {
            self.events.push(rows);
        }
        Ok(())
    }

    /// What is said of the messages set aside to those who listen; `source` is the topic.
    pub fn notes(&self, source: &str) -> Vec<Note> {
        let note = |letter: &DeadLetter| Note {
            reason: letter.reason.to_owned(),
            source: source.to_owned(),
            partition: letter.partition as u32,
            offset: letter.offset as u64,
            bytes: letter.bytes as usize,
            schema: letter.schema.clone(),
        };
        self.dead.iter().map(note).collect()
    }

    /// The rows for the dead letters table.
    ///
    /// # Errors
    /// When Arrow fails.
    pub fn dead_letter_rows(&self) -> Result<RecordBatch, ArrowError> {
        let arrived =
            TimestampMicrosecondArray::from_iter_values(self.dead.iter().map(|d| d.arrived))
                .with_timezone("UTC");
        RecordBatch::try_new(
            TableSpec::dead_letters().schema,
            vec![
                Arc::new(arrived),
                Arc::new(Int32Array::from_iter_values(
                    self.dead.iter().map(|d| d.partition),
                )),
                Arc::new(Int64Array::from_iter_values(
                    self.dead.iter().map(|d| d.offset),
                )),
                Arc::new(StringArray::from_iter_values(
                    self.dead.iter().map(|d| d.reason),
                )),
                Arc::new(Int64Array::from_iter_values(
                    self.dead.iter().map(|d| d.bytes),
                )),
            ],
        )
    }

    /// The rows for the intake ledger.
    ///
    /// # Errors
    /// When Arrow fails.
    pub fn ledger_rows(&self) -> Result<RecordBatch, ArrowError> {
        let minutes = TimestampMicrosecondArray::from_iter_values(
            self.books.keys().map(|(minute, _)| *minute),
        )
        .with_timezone("UTC");
        let counts = |pick: fn(&Counts) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                self.books.values().map(|counts| pick(counts) as i64),
            ))
        };
        RecordBatch::try_new(
            TableSpec::intake().schema,
            vec![
                Arc::new(minutes),
                Arc::new(Int32Array::from_iter_values(
                    self.books.keys().map(|(_, partition)| *partition as i32),
                )),
                counts(|c| c.received),
                counts(|c| c.accepted),
                counts(|c| c.duplicates),
                counts(|c| c.dead_letters),
                counts(|c| c.damaged),
            ],
        )
    }
}
