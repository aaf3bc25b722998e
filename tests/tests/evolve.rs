//! Messages of an older and of a newer schema are read as the current one; `apache-avro` is the independent witness.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

use apache_avro::headers::{HeaderBuilder, RabinFingerprintHeader};
use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema as Columns};
use std::path::Path;
use tidemark_bus::Journal;
use tidemark_event::wire::{self, Reader, Reason, WIRE_SCHEMA, Writer};
use tidemark_event::{FailedAttempt, UsageEvent};
use tidemark_lake::{Lake, Log, TableSpec};
use tidemark_rollup::{Pipeline, Worker, WorkerOptions, table_specs, verify};
use tidemark_tests::folder::{Folder, Sizes};
use tidemark_tests::traffic::event;

const OLDER: &str = include_str!("../fixtures/usage_event_older.avsc");
const NEWER: &str = include_str!("../fixtures/usage_event_newer.avsc");

/// Fields that the older version does not have.
const OLDER_LACKS: &[&str] = &[
    "session_id",
    "audio_prompt_tokens",
    "video_prompt_tokens",
    "audio_completion_tokens",
    "image_completion_tokens",
    "cost_other_nanousd",
    "tool_schema_mismatch",
    "context_overflow",
    "category",
    "router_version",
    "route",
    "generation_us",
    "overhead_us",
];

/// One version of the schema in another implementation.
struct Witness {
    schema: Schema,
    head: Vec<u8>,
}

impl Witness {
    fn new(json: &str) -> Self {
        let mut json = serde_json::from_str(json).unwrap();
        let schema = Schema::parse(&json).unwrap();
        // The specification's canonical form of `{"type": "long", "logicalType": ...}` is `"long"`, as Java and Arrow have
        // it; apache-avro 0.21 leaves `{"type": "long"}`, which gives another fingerprint. The rest of its form is used.
        strip_logical_types(&mut json);
        let head = RabinFingerprintHeader::from_schema(&Schema::parse(&json).unwrap());
        Self {
            schema,
            head: head.build_header(),
        }
    }

    fn write(&self, event: &UsageEvent) -> Vec<u8> {
        let datum = to_avro_datum(&self.schema, value(event, &self.schema)).unwrap();
        [&self.head[..], &datum].concat()
    }

    fn read(&self, message: &[u8]) -> Value {
        let (head, mut datum) = message.split_at(10);
        assert_eq!(head, self.head);
        let value = from_avro_datum(&self.schema, &mut datum, None).unwrap();
        assert_eq!(datum, b"", "bytes are left over");
        value
    }
}

fn strip_logical_types(json: &mut serde_json::Value) {
    if let Some(items) = json.as_array_mut() {
        items.iter_mut().for_each(strip_logical_types);
    } else if let Some(object) = json.as_object_mut() {
        if object.contains_key("logicalType") {
            *json = object["type"].clone();
        } else {
            object.values_mut().for_each(strip_logical_types);
        }
    }
}

fn fields(schema: &Schema) -> Vec<(String, Schema)> {
    let Schema::Record(record) = schema else {
        panic!("not a record")
    };
    record
        .fields
        .iter()
        .map(|field| (field.name.clone(), field.schema.clone()))
        .collect()
}

/// The event as `apache-avro` sees it under `schema`: what the schema lacks is left out, what it adds gets a value.
fn value(event: &UsageEvent, schema: &Schema) -> Value {
    let json = serde_json::to_value(event).unwrap();
    let parts = fields(schema).into_iter().map(|(name, schema)| {
        let value = match name.as_str() {
            "event_id" => Value::Fixed(16, event.event_id.0.to_vec()),
            "ts" => Value::TimestampMicros(event.ts.0),
            "service_tier" => Value::String("priority".to_owned()),
            "hops" => Value::Int(3),
            "queue_us" => Value::Union(1, Box::new(Value::Long(77))),
            _ => Value::from(json[&name].clone()).resolve(&schema).unwrap(),
        };
        (name, value)
    });
    Value::Record(parts.collect())
}

/// Full of values that differ from the defaults.
fn rich(n: u64) -> UsageEvent {
    let mut event = event(n);
    event.category = "coding".to_owned();
    event.native_finish_reason = "end_turn".to_owned();
    event.audio_prompt_tokens = 1;
    event.image_completion_tokens = 2;
    event.tool_schema_mismatch = 3;
    event.context_overflow = true;
    event.router_version = "1.2.3".to_owned();
    event.route = "by=price lanes=1/2".to_owned();
    event.model_requested = "ünïcode/模型".to_owned();
    event
}

#[test]
fn the_wire_is_what_another_implementation_reads_and_writes() {
    let wire = Witness::new(WIRE_SCHEMA);
    let names: Vec<String> = fields(&wire.schema)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        UsageEvent::FIELDS,
        "the struct and the schema file disagree"
    );
    let attempts = fields(&wire.schema)
        .into_iter()
        .find(|(name, _)| name == "failed_attempts")
        .unwrap()
        .1;
    let Schema::Array(attempts) = attempts else {
        panic!("not an array")
    };
    let names: Vec<String> = fields(&attempts.items)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, FailedAttempt::FIELDS);

    let writer = Writer::new().unwrap();
    for event in (0..300).map(rich).chain([UsageEvent::default()]) {
        let bytes = writer.write(&event);
        // Header with its fingerprint, then every value.
        assert_eq!(wire.read(&bytes), value(&event, &wire.schema));
        assert_eq!(wire.write(&event), bytes);
    }
}

#[test]
fn the_struct_has_the_defaults_of_the_schema_file() {
    let json: serde_json::Value = serde_json::from_str(WIRE_SCHEMA).unwrap();
    let default = serde_json::to_value(UsageEvent::default()).unwrap();
    for field in json["fields"].as_array().unwrap() {
        let name = field["name"].as_str().unwrap();
        if let Some(wanted) = field.get("default") {
            assert_eq!(&default[name], wanted, "{name}");
        } else {
            assert!(
                ["event_id", "ts"].contains(&name),
                "{name} needs a default, or older messages cannot be read"
            );
        }
    }
}

#[test]
fn older_and_newer_messages_are_read() {
    let known = [
        ("older".to_owned(), OLDER.to_owned()),
        ("newer".to_owned(), NEWER.to_owned()),
    ];
    let (older, newer) = (Witness::new(OLDER), Witness::new(NEWER));
    let current = Witness::new(WIRE_SCHEMA);
    let writer = Writer::new().unwrap();

    let mut messages = Vec::new();
    let mut wanted = Vec::new();
    for n in 0..400 {
        let event = rich(n);
        match n % 5 {
            0 => {
                messages.push(older.write(&event));
                let default = serde_json::to_value(UsageEvent::default()).unwrap();
                let mut json = serde_json::to_value(&event).unwrap();
                OLDER_LACKS
                    .iter()
                    .for_each(|name| json[*name] = default[*name].clone());
                let mut event: UsageEvent = serde_json::from_value(json).unwrap();
                for attempt in &mut event.failed_attempts {
                    (attempt.region, attempt.cost_nanousd) = (String::new(), 0);
                }
                wanted.push(writer.write(&event));
            }
            1 => {
                messages.push(newer.write(&event));
                wanted.push(writer.write(&UsageEvent {
                    native_finish_reason: String::new(),
                    ..event
                }));
            }
            2 => {
                messages.push(current.write(&event));
                wanted.push(writer.write(&event));
            }
            3 => {
                messages.push(writer.write(&event));
                wanted.push(writer.write(&event));
            }
            // Between the others, so that a decoder that stumbles would take a neighbour with it.
            _ => messages.push(newer.write(&event)[..60].to_vec()),
        }
    }
    let decoded = Reader::new(&known).unwrap().read(&messages).unwrap();
    let plain = Reader::new(&[]).unwrap().read(&wanted).unwrap();
    assert_eq!(plain.rejected, []);
    assert_eq!(decoded.rejected.len(), 80);
    assert!(
        decoded
            .rejected
            .iter()
            .all(|(index, reason)| index % 5 == 4 && *reason == Reason::Undecodable)
    );
    assert_eq!(
        decoded.rows,
        (0..400).filter(|n| n % 5 != 4).collect::<Vec<u32>>()
    );
    assert_eq!(decoded.batch.num_rows(), plain.batch.num_rows());
    for row in 0..plain.batch.num_rows() {
        assert_eq!(
            decoded.batch.slice(row, 1),
            plain.batch.slice(row, 1),
            "message {}",
            decoded.rows[row]
        );
    }
}

/// A message's partition on a topic follows from its id, so whoever carries it must find that without a schema.
#[test]
fn every_version_begins_with_the_id() {
    for n in 0..20 {
        let event = rich(n);
        for schema in [OLDER, NEWER, WIRE_SCHEMA] {
            let message = Witness::new(schema).write(&event);
            assert_eq!(wire::id(&message), Some(&event.event_id.0[..]));
            let named = wire::schema_named(&message).unwrap();
            assert_eq!(named, wire::fingerprint("test", schema).unwrap());
        }
        assert_eq!(wire::id(&event.event_id.0), None);
    }
}

#[test]
fn an_unknown_schema_is_set_aside() {
    let newer = Witness::new(NEWER);
    let messages = [
        newer.write(&rich(1)),
        Writer::new().unwrap().write(&rich(2)),
    ];
    let decoded = Reader::new(&[]).unwrap().read(&messages).unwrap();
    assert_eq!(decoded.rejected, [(0, Reason::UnknownSchema)]);
    assert_eq!(decoded.rows, [1]);
}

/// The whole way: what the worker is told of is counted, what it is not is set aside.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_counts_messages_of_another_version() {
    for (known, counted) in [
        (vec![("older".to_owned(), OLDER.to_owned())], 2),
        (vec![], 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path(), Sizes::default()).await.unwrap();
        let messages = [
            Witness::new(OLDER).write(&rich(1)),
            folder.writer.write(&rich(2)),
        ];
        folder
            .journal
            .append(messages.map(|message| (0, message)).to_vec())
            .await
            .unwrap();
        let worker = folder.worker().unwrap().with_schemas(&known).unwrap();
        let counts = worker.drain().await.unwrap().counts;
        assert_eq!(
            (counts.accepted, counts.dead_letters),
            (counted, 2 - counted)
        );
    }
}

/// Takes in what the journal holds as a version does whose events had no field `route`.
async fn take_in_as_before(dir: &Path, journal: Journal) {
    let schema = Reader::new(&[]).unwrap().schema();
    let fields = schema
        .fields()
        .iter()
        .filter(|field| field.name() != "route");
    let events = TableSpec::events(&Columns::new(fields.cloned().collect::<Vec<_>>()));
    let pipelines = Pipeline::built_in(&events.schema).await.unwrap();
    let mut specs = table_specs(&pipelines).await.unwrap();
    specs[0] = events;
    let lake = Lake::open(
        &dir.join("lake"),
        specs,
        &Log::journal(journal.partitions()),
    )
    .await
    .unwrap();
    let worker = Worker::new(journal, lake, pipelines, WorkerOptions::default()).unwrap();
    worker.drain().await.unwrap();
}

/// An upgrade brings a field and a rollup: the folder of before is widened, and the rollup holds its history.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_before_gets_the_new_field_and_the_new_rollup() {
    let dir = tempfile::tempdir().unwrap();
    let events = |numbers: std::ops::Range<u64>| numbers.map(rich).collect::<Vec<_>>();
    {
        let folder = Folder::open(dir.path(), Sizes::default()).await.unwrap();
        folder.publish(&events(0..900)).await.unwrap();
        std::fs::remove_dir_all(dir.path().join("lake")).unwrap();
        take_in_as_before(dir.path(), folder.journal.clone()).await;
    }
    std::fs::remove_dir_all(dir.path().join("lake/models_by_hour")).unwrap();

    for (from, to) in [(900, 1200), (1200, 1300)] {
        let folder = Folder::open(dir.path(), Sizes::default()).await.unwrap();
        folder.publish(&events(from..to)).await.unwrap();
        let counts = folder.worker().unwrap().drain().await.unwrap().counts;
        assert_eq!(counts.accepted, to - from, "nothing is taken in again");
        let differences = verify(&folder.lake, &folder.pipelines, |_, _| ()).await;
        assert_eq!(differences.unwrap(), []);
        let sql = folder.lake.sql().await.unwrap();
        let counted = sql
            .sql(
                "SELECT count(*), count(route), (SELECT CAST(sum(requests) AS BIGINT) FROM models_by_hour)
                 FROM usage_events",
            )
            .await
            .unwrap();
        let counted = &counted.collect().await.unwrap()[0];
        let of = |column: usize| counted.column(column).as_primitive::<Int64Type>().value(0) as u64;
        assert_eq!([of(0), of(1), of(2)], [to, to - 900, to]);
    }
}
