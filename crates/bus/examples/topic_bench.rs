//! What a worker's first steps from Kafka cost: `topic_bench BROKERS TOPIC PARTITIONS bare|decode`.
//!
//! `bare` is rdkafka's own consumer that looks at no message: the ceiling. `decode` is what a worker does before it counts: the
//! topic's reader, and the messages as Arrow columns.
//! Reads all that the topic holds, and prints how many messages that was.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::error::Error;
use std::time::Duration;
use tidemark_bus::kafka::{KafkaSettings, TopicReader, ends};
use tidemark_bus::{Read, Source};
use tidemark_event::wire;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

// A worker's.
const POLL_RECORDS: usize = 8192;
const POLL_BYTES: usize = 8 << 20;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, partitions, kind] = &arguments[..] else {
        return Err("usage: topic_bench BROKERS TOPIC PARTITIONS bare|decode".into());
    };
    let settings = KafkaSettings {
        brokers: brokers.clone(),
        topic: topic.clone(),
        group: format!("{topic}.bench"),
        partitions: partitions.parse()?,
        ..KafkaSettings::default()
    };
    let wanted = ends(&settings)?;
    let messages = match kind.as_str() {
        "bare" => bare(&settings, &wanted)?,
        "decode" => decode(&settings, &wanted)?,
        other => return Err(format!("{other}: bare or decode").into()),
    };
    println!("{messages}");
    Ok(())
}

/// The client with a worker's settings for fetching, and nothing done with what it brings.
fn bare(settings: &KafkaSettings, wanted: &[u64]) -> Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..settings.partitions {
        all.add_partition_offset(&settings.topic, partition as i32, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (total, mut messages) = (wanted.iter().sum::<u64>(), 0);
    while messages < total {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            message?;
            messages += 1;
        }
    }
    Ok(messages)
}

fn decode(settings: &KafkaSettings, wanted: &[u64]) -> Result<u64> {
    let mut source = Source::from(TopicReader::join(settings)?);
    let mut reader = wire::Reader::new(&[])?;
    let (mut reads, mut rows) = (Vec::new(), 0);
    let starts = (0..settings.partitions).map(|partition| (partition, 0));
    let starts = starts.collect();
    loop {
        if let Some((change, _)) = source.given()? {
            source.begin(change, &starts, &starts)?;
            rows = 0;
        }
        let (mut idle, mut done) = (true, source.holds());
        for (partition, end) in (0..).zip(wanted) {
            reads.clear();
            let from = source.position(partition);
            let to = source.poll(partition, *end, POLL_RECORDS, POLL_BYTES, &mut reads)?;
            done &= to >= *end;
            idle &= to == from;
            let messages: Vec<_> = reads
                .iter()
                .filter_map(|read| match read {
                    Read::Record(record) => Some(&record.payload),
                    Read::Damaged { .. } => None,
                })
                .collect();
            rows += reader.read(&messages)?.batch.num_rows() as u64;
        }
        if done {
            return Ok(rows);
        }
        if idle {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
