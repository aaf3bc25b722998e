//! The ingest benchmark: journal to committed lake, raw events and all rollups.
//!
//! `cargo run --release --example ingest -- DIR 2000000` fills a journal in DIR with demo-shaped events and writes the same
//! events as JSON lines and as an Avro container file for other engines; the same command again takes the journal into a
//! lake and prints what that cost.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tidemark_bus::{Journal, JournalOptions};
use tidemark_catalog::Catalog;
use tidemark_event::{Micros, UsageEvent, wire};
use tidemark_lake::Log;
use tidemark_rollup::{Worker, WorkerOptions, open_lake};
use tidemark_sim::traffic::Traffic;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MONTH_US: i64 = 30 * 86_400 * 1_000_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .filter(|dir| !dir.starts_with('-'))
        .context("usage: ingest DIR [EVENTS]")?;
    let events: u64 = arguments
        .next()
        .map_or(Ok(2_000_000), |text| text.parse())
        .context("EVENTS is a number")?;
    let dir = Path::new(&dir);
    let journal_dir = dir.join("journal");
    if !journal_dir.exists() {
        generate(dir, &journal_dir, events)?;
        println!("generated; run the same command again to measure");
        return Ok(());
    }
    let lake_dir = dir.join("lake");
    if lake_dir.exists() {
        std::fs::remove_dir_all(&lake_dir)?;
        // ext4 searches for inodes not freed within the last five seconds: a tenth of the work of creating the new files.
        std::thread::sleep(Duration::from_secs(6));
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(measure(&journal_dir, &lake_dir))
}

fn open(dir: &Path) -> Result<Journal> {
    Ok(Journal::open(
        dir,
        JournalOptions {
            max_bytes: 64 << 30,
            ..JournalOptions::default()
        },
    )?)
}

fn generate(dir: &Path, journal_dir: &Path, events: u64) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let journal = open(journal_dir)?;
    let writer = wire::Writer::new()?;
    let mut lines = std::io::BufWriter::new(std::fs::File::create(dir.join("events.jsonl"))?);
    let mut container = Container::create(&dir.join("events.avro"))?;
    let now = Micros::now().0;
    let mut stream =
        Traffic::new(&Catalog::builtin()?, 7).history(Micros(now - MONTH_US), Micros(now), events);
    loop {
        let group: Vec<UsageEvent> = stream.by_ref().take(8192).collect();
        if group.is_empty() {
            container.0.flush()?;
            return Ok(lines.flush()?);
        }
        for event in &group {
            serde_json::to_writer(&mut lines, event)?;
            lines.write_all(b"\n")?;
        }
        let messages: Vec<Vec<u8>> = group.iter().map(|event| writer.write(event)).collect();
        container.block(&messages)?;
        journal.append_blocking(
            group
                .iter()
                .zip(messages)
                .map(|(e, message)| (journal.partition_for(&e.event_id.0), message))
                .collect(),
        )?;
    }
}

/// An Avro object container file (Avro specification 1.12, "Object Container Files"), not compressed: the datums of our
/// messages, in blocks.
struct Container(std::io::BufWriter<std::fs::File>);

/// What marks the end of a block: any 16 bytes.
const SYNC: [u8; 16] = *b"tidemark-ingest!";
/// The mark and the fingerprint before the datum of a single object.
const SINGLE_OBJECT_PREFIX: usize = 10;

impl Container {
    fn create(path: &Path) -> Result<Self> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        file.write_all(b"Obj\x01")?;
        long(&mut file, 2)?;
        for (key, value) in [("avro.schema", wire::WIRE_SCHEMA), ("avro.codec", "null")] {
            for text in [key, value] {
                long(&mut file, text.len())?;
                file.write_all(text.as_bytes())?;
            }
        }
        long(&mut file, 0)?;
        file.write_all(&SYNC)?;
        Ok(Self(file))
    }

    fn block(&mut self, messages: &[Vec<u8>]) -> Result<()> {
        let bytes: usize = messages
            .iter()
            .map(|m| m.len() - SINGLE_OBJECT_PREFIX)
            .sum();
        long(&mut self.0, messages.len())?;
        long(&mut self.0, bytes)?;
        for message in messages {
            self.0.write_all(&message[SINGLE_OBJECT_PREFIX..])?;
        }
        Ok(self.0.write_all(&SYNC)?)
    }
}

/// A zigzag variable-length long that is not negative.
fn long(out: &mut impl Write, value: usize) -> Result<()> {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.write_all(&[rest as u8 | 0x80])?;
        rest >>= 7;
    }
    Ok(out.write_all(&[rest as u8])?)
}

async fn measure(journal_dir: &Path, lake_dir: &Path) -> Result<()> {
    let journal = open(journal_dir)?;
    let (lake, pipelines) = open_lake(lake_dir, &Log::journal(journal.partitions())).await?;
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let tally = Worker::new(journal, lake.clone(), pipelines, WorkerOptions::default())?
        .drain()
        .await?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let events = tally.counts.accepted as f64;
    println!("events              {events}");
    println!("wall                {wall:.2} s");
    println!("cpu                 {cpu:.2} s");
    println!("events per cpu-s    {:.0}", events / cpu);
    println!("peak memory         {} MB", peak_kib()? / 1024);
    println!("commits             {}", tally.commits);
    for table in lake.tables() {
        let view = table.view();
        let (rows, bytes): (i64, i64) = view
            .files
            .iter()
            .fold((0, 0), |(r, b), file| (r + file.rows, b + file.size));
        println!(
            "{:<28}{rows:>10} rows {:>8.1} bytes per event",
            table.spec().name,
            bytes as f64 / events
        );
    }
    Ok(())
}

/// User and system time of this process, all threads.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

fn peak_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).unwrap_or("0").parse()?)
}
