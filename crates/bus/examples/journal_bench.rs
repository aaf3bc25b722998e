//! The journal against an embedded LSM tree (fjall) at the same work: append in groups, each group
//! durable before the next, then read everything in order.
//!
//! `cargo run --release -p tidemark-bus --example journal_bench [DIR]`
#![allow(
    clippy::print_stdout,
    reason = "a benchmark's figures are its output and go to stdout"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use tidemark_bus::{Journal, JournalOptions, Read};

const RECORDS: usize = 500_000;
const RECORD_BYTES: usize = 350;
const PARTITIONS: u32 = 4;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a phase cost this process.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    written_mb: f64,
}

struct Meter {
    start: Instant,
    cpu: f64,
    written: f64,
}

impl Meter {
    fn start() -> Outcome<Self> {
        Ok(Self {
            start: Instant::now(),
            cpu: cpu_seconds()?,
            written: written_mb()?,
        })
    }

    fn stop(self) -> Outcome<Cost> {
        Ok(Cost {
            wall: self.start.elapsed().as_secs_f64(),
            cpu: cpu_seconds()? - self.cpu,
            written_mb: written_mb()? - self.written,
        })
    }
}

/// User and system time of all threads, also those that ended.
fn cpu_seconds() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The command name may contain anything but ends with the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .ok_or("short stat")?
            .parse::<f64>()
            .map_err(Box::<dyn Error>::from)
    };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn written_mb() -> Outcome<f64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes")?.trim().parse::<f64>()? / 1e6)
}

/// Records like encoded events: some bytes that repeat, some that do not.
fn payload(n: usize) -> Vec<u8> {
    let mut state = n as u64 + 1;
    let mut bytes = Vec::with_capacity(RECORD_BYTES);
    while bytes.len() < RECORD_BYTES {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"provider/model-name-v1:east");
    }
    bytes.truncate(RECORD_BYTES);
    bytes
}

fn partition(n: usize) -> u32 {
    n as u32 % PARTITIONS
}

fn journal(dir: &Path, group: usize) -> Outcome<(Cost, Cost)> {
    let options = JournalOptions {
        partitions: PARTITIONS,
        ..JournalOptions::default()
    };
    let journal = Journal::open(dir, options)?;
    let meter = Meter::start()?;
    for start in (0..RECORDS).step_by(group) {
        let records = (start..RECORDS.min(start + group)).map(|n| (partition(n), payload(n)));
        journal.append_blocking(records.collect())?;
    }
    let write = meter.stop()?;
    let meter = Meter::start()?;
    let (mut count, mut bytes) = (0, 0);
    let mut batch = Vec::new();
    for partition in 0..PARTITIONS {
        let mut reader = journal.reader(partition, 0);
        while reader.poll(4096, 4 << 20, &mut batch)? > 0 {
            for read in batch.drain(..) {
                let Read::Record(record) = read else {
                    return Err("damaged".into());
                };
                count += 1;
                bytes += record.payload.len();
            }
        }
    }
    check(count, bytes)?;
    Ok((write, meter.stop()?))
}

fn lsm(dir: &Path, group: usize) -> Outcome<(Cost, Cost)> {
    let db = Database::builder(dir).open()?;
    let events = db.keyspace("events", KeyspaceCreateOptions::default)?;
    let mut next = [0_u64; PARTITIONS as usize];
    let meter = Meter::start()?;
    for start in (0..RECORDS).step_by(group) {
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        for n in start..RECORDS.min(start + group) {
            let offset = &mut next[partition(n) as usize];
            let mut key = [0; 12];
            key[..4].copy_from_slice(&partition(n).to_be_bytes());
            key[4..].copy_from_slice(&offset.to_be_bytes());
            *offset += 1;
            batch.insert(&events, key, payload(n));
        }
        batch.commit()?;
    }
    let write = meter.stop()?;
    let meter = Meter::start()?;
    let (mut count, mut bytes) = (0, 0);
    for partition in 0..PARTITIONS {
        for item in events.prefix(partition.to_be_bytes()) {
            count += 1;
            bytes += item.value()?.len();
        }
    }
    check(count, bytes)?;
    Ok((write, meter.stop()?))
}

fn check(count: usize, bytes: usize) -> Outcome<()> {
    if (count, bytes) == (RECORDS, RECORDS * RECORD_BYTES) {
        Ok(())
    } else {
        Err(format!("read {count} records of {bytes} bytes").into())
    }
}

fn main() -> Outcome<()> {
    let root = match std::env::args_os().nth(1) {
        Some(dir) => PathBuf::from(dir),
        None => std::env::temp_dir(),
    };
    let root = root.join(format!("journal-bench-{}", std::process::id()));
    println!(
        "{RECORDS} records of {RECORD_BYTES} bytes, {PARTITIONS} partitions, one durable sync per group"
    );
    println!("group  engine   phase    wall s    CPU s  written MB    records/s");
    for group in [256, 4096] {
        let mut costs = Vec::new();
        for (engine, run) in [
            (
                "journal",
                journal as fn(&Path, usize) -> Outcome<(Cost, Cost)>,
            ),
            ("fjall", lsm),
        ] {
            let dir = root.join(format!("{engine}-{group}"));
            fs::create_dir_all(&dir)?;
            let (write, read) = run(&dir, group)?;
            for (phase, cost) in [("append", write), ("read", read)] {
                println!(
                    "{group:>5}  {engine:<8} {phase:<7} {:>7.2}  {:>7.2}  {:>10.0}  {:>11.0}",
                    cost.wall,
                    cost.cpu,
                    cost.written_mb,
                    RECORDS as f64 / cost.wall
                );
            }
            costs.push((write, read));
            fs::remove_dir_all(&dir)?;
        }
        if let [own, peer] = &costs[..] {
            println!(
                "{group:>5}  fjall / journal: append wall {:.2}, CPU {:.2}, written {:.2}; read wall {:.2}, CPU {:.2}",
                peer.0.wall / own.0.wall,
                peer.0.cpu / own.0.cpu,
                peer.0.written_mb / own.0.written_mb,
                peer.1.wall / own.1.wall,
                peer.1.cpu / own.1.cpu,
            );
        }
    }
    fs::remove_dir_all(&root)?;
    Ok(())
}
