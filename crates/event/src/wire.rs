//! The wire: Avro single objects (two magic bytes, the writer schema's fingerprint, the datum).
//!
//! Writing goes from the struct; reading goes from many messages straight into one Arrow batch,
//! whatever known schema version each was written with.

use crate::UsageEvent;
use crate::encode::AvroEncode;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_avro::codec::Tz;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use std::collections::HashMap;
use std::fmt;

/// The schema file that owns the wire format.
pub const WIRE_SCHEMA: &str = include_str!("../../../schemas/usage_event.avsc");

/// Larger messages are dead letters: a usage event is a few hundred bytes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

const MAGIC: [u8; 2] = [0xC3, 0x01];
/// Bytes before the datum.
pub const PREFIX: usize = 10;
const REFUSAL_MAGIC: &[u8] = b"TMRJ";

/// The schema could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the event schema {name} cannot be used: {source}")]
pub struct SchemaError {
    name: String,
    #[source]
    source: ArrowError,
}

/// Why a message is not counted. The words are what a dead letter shows; they never quote content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not an Avro single object.
    NotAvro,
    /// The fingerprint names a schema this build does not know.
    UnknownSchema,
    /// Truncated, trailing bytes, invalid UTF-8 or otherwise not what its schema says.
    Undecodable,
    /// Over [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// A count, duration or amount below zero.
    Negative,
    /// A count, duration or amount beyond anything real.
    Absurd,
    /// Parts exceed the whole: cached tokens over prompt tokens, reasoning over completion, cost parts over total.
    Inconsistent,
    /// A field with a fixed set of values holds another.
    UnknownValue,
    /// A text over its limit.
    TextTooLong,
    /// More than five minutes ahead of the clock here.
    InTheFuture,
    /// Older than the retention that is set.
    TooOld,
    /// Not a UUIDv7, or its time is not the event's.
    BadEventId,
    /// A line of a recorded trace that could not be read as an event.
    UnreadableLine,
}

impl Reason {
    /// The word in the dead letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAvro => "not_avro",
            Self::UnknownSchema => "unknown_schema",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::Negative => "negative",
            Self::Absurd => "absurd",
            Self::Inconsistent => "inconsistent",
            Self::UnknownValue => "unknown_value",
            Self::TextTooLong => "text_too_long",
            Self::InTheFuture => "in_the_future",
            Self::TooOld => "too_old",
            Self::BadEventId => "bad_event_id",
            Self::UnreadableLine => "unreadable_line",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes events with the current schema.
#[derive(Debug, Clone)]
pub struct Writer {
    prefix: [u8; PREFIX],
}

impl Writer {
    /// A writer for [`WIRE_SCHEMA`].
    ///
    /// # Errors
    /// When the built-in schema cannot be read, which a test rules out.
    pub fn new() -> Result<Self, SchemaError> {
        let prefix = mark("usage_event", WIRE_SCHEMA)?;
        Ok(Self { prefix })
    }

    /// One message.
    pub fn write(&self, event: &UsageEvent) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&self.prefix);
        event.encode(&mut out);
        out
    }

    /// Stands in for an input line that was no event, so that it is counted where all events are.
    pub fn write_unreadable() -> Vec<u8> {
        REFUSAL_MAGIC.to_vec()
    }
}

/// The event id in a message, unchecked: what every schema version begins with. None where there is no message.
pub fn id(message: &[u8]) -> Option<&[u8]> {
    message.strip_prefix(&MAGIC)?.get(PREFIX - 2..PREFIX + 14)
}

/// The fingerprint of the schema that a message names, as [`fingerprint`] writes it. None where there is no message.
pub fn schema_named(message: &[u8]) -> Option<String> {
    let named = message.strip_prefix(&MAGIC)?.first_chunk::<8>()?;
    Some(format!("{:016x}", u64::from_le_bytes(*named)))
}

/// What messages of a schema are marked with: the Rabin fingerprint of its canonical form, as 16 hexadecimal digits.
///
/// # Errors
/// When `json` is no Avro schema; `name` is for the error.
pub fn fingerprint(name: &str, json: &str) -> Result<String, SchemaError> {
    fingerprint_of(name, json).map(|value| format!("{value:016x}"))
}

/// What messages of a schema begin with.
///
/// # Errors
/// As [`fingerprint`].
pub fn mark(name: &str, json: &str) -> Result<[u8; PREFIX], SchemaError> {
    let mut mark = [0; PREFIX];
    mark[..2].copy_from_slice(&MAGIC);
    mark[2..].copy_from_slice(&fingerprint_of(name, json)?.to_le_bytes());
    Ok(mark)
}

fn fingerprint_of(name: &str, json: &str) -> Result<u64, SchemaError> {
    match AvroSchema::new(json.to_owned()).fingerprint(FingerprintAlgorithm::Rabin) {
        Ok(Fingerprint::Rabin(value)) => Ok(value),
        Ok(_) => Err(SchemaError {
            name: name.to_owned(),
            source: ArrowError::SchemaError("unexpected fingerprint".into()),
        }),
        Err(source) => Err(SchemaError {
            name: name.to_owned(),
            source,
        }),
    }
}

/// What came out of a run of messages: `rows[i]` is the message that row `i` of `batch` was.
#[derive(Debug)]
pub struct Decoded {
    /// The readable messages in their order, in the current schema.
    pub batch: RecordBatch,
    /// For each row, the index of its message.
    pub rows: Vec<u32>,
    /// The others, by message index.
    pub rejected: Vec<(u32, Reason)>,
}

/// Reads messages of every known schema version into the current Arrow schema.
pub struct Reader {
    decoders: HashMap<u64, Decoder>,
    schema: SchemaRef,
    /// Fingerprint, name and JSON; the current one first.
    known: Vec<(u64, String, String)>,
}

/// Rows per decoder flush. Small enough that a batch's columns stay in the cache; no other size has been measured here.
const DECODE_ROWS: usize = 8192;

impl Reader {
    /// Reads the current schema and `older_or_newer` ones, given as `(name, schema JSON)`.
    ///
    /// # Errors
    /// When one of them is no Avro schema or cannot be resolved against the current one.
    pub fn new(older_or_newer: &[(String, String)]) -> Result<Self, SchemaError> {
        let mut reader = Self {
            decoders: HashMap::new(),
            schema: SchemaRef::new(arrow::datatypes::Schema::empty()),
            known: Vec::new(),
        };
        reader.learn("usage_event", WIRE_SCHEMA)?;
        for (name, json) in older_or_newer {
            reader.learn(name, json)?;
        }
        Ok(reader)
    }

    /// Reads messages of one more schema from now on.
    ///
    /// # Errors
    /// When `json` is no Avro schema or cannot be resolved against the current one; the reader is then as it was.
    pub fn learn(&mut self, name: &str, json: &str) -> Result<(), SchemaError> {
        let fingerprint = fingerprint_of(name, json)?;
        if self.decoders.contains_key(&fingerprint) {
            return Ok(());
        }
        let index = self.known.len();
        self.known
            .push((fingerprint, name.to_owned(), json.to_owned()));
        match self.build(index) {
            Ok(decoder) => {
                if index == 0 {
                    self.schema = decoder.schema();
                }
                self.decoders.insert(fingerprint, decoder);
                Ok(())
            }
            Err(source) => {
                self.known.pop();
                Err(SchemaError {
                    name: name.to_owned(),
                    source,
                })
            }
        }
    }

    /// The Arrow schema of every batch, derived from the wire schema.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, index: usize) -> Result<Decoder, ArrowError> {
        let mut store = SchemaStore::new();
        let fingerprint = store.register(AvroSchema::new(self.known[index].2.clone()))?;
        let builder = ReaderBuilder::new()
            .with_batch_size(DECODE_ROWS)
            .with_writer_schema_store(store)
            .with_active_fingerprint(fingerprint)
            .with_tz(Tz::Utc);
        if index == 0 {
            builder.build_decoder()
        } else {
            builder
                .with_reader_schema(AvroSchema::new(WIRE_SCHEMA.to_owned()))
                .build_decoder()
        }
    }

    /// Decodes `messages`. A bad one is set aside with its reason and harms no other.
    ///
    /// # Errors
    /// Only when Arrow itself fails, never for what a message holds.
    pub fn read<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> Result<Decoded, ArrowError> {
        let mut batches = Vec::new();
        let mut rows = Vec::with_capacity(messages.len());
        let mut rejected = Vec::new();
        let mut run: Vec<u32> = Vec::with_capacity(DECODE_ROWS);
        let mut run_of = 0;
        for (index, message) in messages.iter().enumerate() {
            let fingerprint = match self.classify(message.as_ref()) {
                Ok(fingerprint) => fingerprint,
                Err(reason) => {
                    rejected.push((index as u32, reason));
                    continue;
                }
            };
            if (fingerprint != run_of || run.len() == DECODE_ROWS) && !run.is_empty() {
                self.decode_run(
                    run_of,
                    messages,
                    &run,
                    &mut batches,
                    &mut rows,
                    &mut rejected,
                )?;
                run.clear();
            }
            run_of = fingerprint;
            run.push(index as u32);
        }
        if !run.is_empty() {
            self.decode_run(
                run_of,
                messages,
                &run,
                &mut batches,
                &mut rows,
                &mut rejected,
            )?;
        }
        rejected.sort_unstable_by_key(|(index, _)| *index);
        Ok(Decoded {
            batch: concat_batches(&self.schema, &batches)?,
            rows,
            rejected,
        })
    }

    fn classify(&self, message: &[u8]) -> Result<u64, Reason> {
        if message == REFUSAL_MAGIC {
            return Err(Reason::UnreadableLine);
        }
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Reason::TooLarge);
        }
        let Some(prefix) = message
            .first_chunk::<PREFIX>()
            .filter(|prefix| prefix[..2] == MAGIC)
        else {
            return Err(Reason::NotAvro);
        };
        let fingerprint = u64::from_le_bytes([
            prefix[2], prefix[3], prefix[4], prefix[5], prefix[6], prefix[7], prefix[8], prefix[9],
        ]);
        if self.decoders.contains_key(&fingerprint) {
            Ok(fingerprint)
        } else {
            Err(Reason::UnknownSchema)
        }
    }

    /// Decodes messages of one schema; on a failure halves the run until the bad message stands alone.
    fn decode_run<M: AsRef<[u8]>>(
        &mut self,
        fingerprint: u64,
        messages: &[M],
        run: &[u32],
        batches: &mut Vec<RecordBatch>,
        rows: &mut Vec<u32>,
        rejected: &mut Vec<(u32, Reason)>,
    ) -> Result<(), ArrowError> {
        if let Some(batch) = self.try_decode(fingerprint, messages, run)? {
            batches.push(batch);
            rows.extend_from_slice(run);
            return Ok(());
        }
        if let [only] = run {
            rejected.push((*only, Reason::Undecodable));
            return Ok(());
        }
        let (head, tail) = run.split_at(run.len() / 2);
        self.decode_run(fingerprint, messages, head, batches, rows, rejected)?;
        self.decode_run(fingerprint, messages, tail, batches, rows, rejected)
    }

    /// A batch resolved from another schema version differs in field metadata, at most.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| arrow::compute::cast(column, field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }

    fn try_decode<M: AsRef<[u8]>>(
        &mut self,
        fingerprint: u64,
        messages: &[M],
        run: &[u32],
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let Some(decoder) = self.decoders.get_mut(&fingerprint) else {
            return Ok(None);
        };
        let whole = run.iter().all(|index| {
            let message = messages[*index as usize].as_ref();
            matches!(decoder.decode(message), Ok(used) if used == message.len())
        });
        // Every message must have given exactly one row: a shorter one leaves its body pending.
        if whole
            && decoder.batch_size() - decoder.capacity() == run.len()
            && let Ok(Some(batch)) = decoder.flush()
            && batch.num_rows() == run.len()
        {
            return Ok(Some(self.conform(&batch)?));
        }
        // A failed decoder holds half a row: start from a clean one.
        let index = self
            .known
            .iter()
            .position(|(known, _, _)| *known == fingerprint)
            .unwrap_or(0);
        let fresh = self.build(index)?;
        self.decoders.insert(fingerprint, fresh);
        Ok(None)
    }
}
