//! A data folder opened for work: journal, lake and what connects them.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::Duration;
use tidemark_bus::{Journal, JournalOptions};
use tidemark_event::{UsageEvent, wire};
use tidemark_lake::{EVENTS, Lake, Log, Place, Upkeep};
use tidemark_rollup::{Pipeline, Worker, WorkerOptions, backfill, open_lake};

/// Version of the folder's layout. A larger one in the folder means a newer Tidemark wrote it.
const LAYOUT: u32 = 1;

/// An open data folder.
pub struct Instance {
    /// The bus.
    pub journal: Journal,
    /// The tables.
    pub lake: Lake,
    /// The rollups.
    pub pipelines: Vec<Pipeline>,
    options: WorkerOptions,
    /// How upkeep goes about it.
    pub upkeep: Upkeep,
    writer: wire::Writer,
    schemas: Vec<(String, String)>,
}

impl Instance {
    /// Opens `config.data_dir`, making it if it is not there. One process at a time may hold it.
    pub async fn open(config: &Config) -> Result<Self> {
        let dir = &config.data_dir;
        std::fs::create_dir_all(dir).with_context(|| {
            format!(
                "the data folder {} cannot be made: choose another with --data-dir",
                dir.display()
            )
        })?;
        check_layout(dir)?;
        let options = JournalOptions {
            partitions: config.partitions,
            max_bytes: config.journal_max_bytes,
            ..JournalOptions::default()
        };
        let options = JournalOptions {
            max_record_bytes: 16 << 20,
            ..options
        };
        let journal = Journal::open(&dir.join("journal"), options)?;
        let log = Log::journal(journal.partitions());
        let (lake, pipelines) = open_lake(config.place()?, &log).await?;
        backfill(&lake, &pipelines).await?;
        Ok(Self {
            journal,
            lake,
            pipelines,
            options: worker_options(config),
            upkeep: upkeep(config),
            writer: wire::Writer::new()?,
            schemas: remember_schema(dir)?,
        })
    }

    /// A rollup worker that goes on where the lake ends.
    pub fn worker(&self) -> Result<Worker> {
        Ok(Worker::new(
            self.journal.clone(),
            self.lake.clone(),
            self.pipelines.clone(),
            self.options,
        )?
        .with_schemas(&self.schemas)?)
    }

    /// Publishes events; returns when they are durable.
    pub fn publish(&self, events: &[UsageEvent]) -> Result<()> {
        let records = events
            .iter()
            .map(|event| {
                (
                    self.journal.partition_for(&event.event_id.0),
                    self.writer.write(event),
                )
            })
            .collect();
        Ok(self.journal.append_blocking(records)?)
    }

    /// Books input that could not be read as an event, so that it is counted.
    pub fn publish_unreadable(&self, how_many: usize) -> Result<()> {
        let records = (0..how_many)
            .map(|_| (0, wire::Writer::write_unreadable()))
            .collect();
        Ok(self.journal.append_blocking(records)?)
    }

    /// Records taken in so far.
    pub fn appended(&self) -> u64 {
        (0..self.journal.partitions())
            .map(|partition| self.journal.end_offset(partition))
            .sum()
    }

    /// Records committed so far.
    pub fn committed(&self) -> u64 {
        self.lake
            .resume_from(self.journal.partitions())
            .values()
            .sum()
    }
}

/// The schema versions that messages in `dir` may have: every `.avsc` below `schemas/`. An operator puts a newer router's
/// schema there before its first message.
pub fn schemas(dir: &Path) -> Result<Vec<(String, String)>> {
    let folder = dir.join("schemas");
    let mut found = Vec::new();
    if folder.is_dir() {
        let unreadable = || {
            format!(
                "the schemas in {} cannot be read: check their owner",
                folder.display()
            )
        };
        for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
            let path = entry.with_context(unreadable)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "avsc")
            {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                found.push((
                    name,
                    std::fs::read_to_string(&path).with_context(unreadable)?,
                ));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A folder remembers every schema it was written with, so that what still lies in the journal stays readable after an
/// upgrade.
pub fn remember_schema(dir: &Path) -> Result<Vec<(String, String)>> {
    let folder = dir.join("schemas");
    let file = folder.join(format!(
        "{}.avsc",
        wire::fingerprint("usage_event", wire::WIRE_SCHEMA)?
    ));
    if !file.exists() {
        let draft = file.with_extension("new");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&draft, wire::WIRE_SCHEMA))
            .and_then(|()| std::fs::rename(&draft, &file))
            .with_context(|| {
                format!(
                    "the data folder {} cannot be written: check its owner and free space",
                    dir.display()
                )
            })?;
    }
    schemas(dir)
}

/// A worker's pace as configured.
pub fn worker_options(config: &Config) -> WorkerOptions {
    WorkerOptions {
        commit_interval: Duration::from_millis(config.commit_interval_ms),
        max_rows: config.max_batch_rows,
        retention: config.retention(),
        ..WorkerOptions::default()
    }
}

/// Upkeep as configured.
pub fn upkeep(config: &Config) -> Upkeep {
    Upkeep {
        retention: Duration::from_secs(config.file_retention_s),
        ..Upkeep::default()
    }
}

/// The lake below the data folder, for reading; nothing is made.
pub async fn existing_lake(config: &Config) -> Result<(Lake, Vec<Pipeline>)> {
    let dir = &config.data_dir;
    let place = config.place()?;
    let there = match &place {
        Place::Folder(lake) => lake.is_dir(),
        Place::Bucket(bucket) => bucket.holds_a_lake(EVENTS).await?,
    };
    if !there {
        bail!(
            "there is no lake in {}: `tidemark up --demo` or `tidemark replay` make one, or name its folder with --data-dir",
            config.place_named()
        );
    }
    if dir.is_dir() {
        check_layout(dir)?;
    }
    Ok(open_lake(place, &config.log(partitions(dir))).await?)
}

fn partitions(dir: &Path) -> u32 {
    Journal::open_read_only(&dir.join("journal")).map_or(4, |journal| journal.partitions())
}

/// Whether this version may use the folder; marks a new one.
pub fn check_layout(dir: &Path) -> Result<()> {
    let marker = dir.join("layout");
    match std::fs::read_to_string(&marker) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= LAYOUT => Ok(()),
            Ok(found) => bail!("{} was written by a newer Tidemark (layout {found}, this one knows {LAYOUT}): use that version, or another --data-dir", dir.display()),
            Err(_) => bail!("{} is not a Tidemark data folder any more (its file `layout` holds no number): choose another with --data-dir", dir.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::write(&marker, format!("{LAYOUT}\n"))
            .with_context(|| format!("the data folder {} cannot be written: check its owner and free space, or choose another with --data-dir", dir.display())),
        Err(error) => Err(error).with_context(|| format!("the data folder {} cannot be read: check its owner, or choose another with --data-dir", dir.display())),
    }
}
