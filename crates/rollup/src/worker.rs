//! The stream job: poll, decode, set aside, drop duplicates, roll up, commit.
//!
//! Workers that share a topic never talk to each other. What keeps them apart is that every table's commit checks the offsets it
//! goes on from: a worker whose partitions moved while it slept finds other ones, drops what it read, and begins anew.

use crate::dedup::Dedup;
use crate::intake::{Counts, MicroBatch};
use crate::{Pipeline, RollupError};
use arrow::array::{Array, AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use bytes::Bytes;
use fail::fail_point;
use futures::{StreamExt, stream};
use std::future::Future;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_bus::{Read, Source, SourceError};
use tidemark_event::validate::{self, Limits};
use tidemark_event::wire;
use tidemark_lake::{DEAD_LETTERS, EVENTS, INTAKE, Lake, LakeError, Offsets, Table, conform};
use tokio::sync::watch;

/// How the worker paces itself.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Time between commits while traffic is light.
    pub commit_interval: Duration,
    /// Rows after which a commit does not wait for the interval.
    pub max_rows: usize,
    /// Events older than this at arrival become dead letters.
    pub retention: Option<Duration>,
    /// The journal is trimmed at most this often: it costs syncing the lake.
    pub trim_every: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_secs(1),
            max_rows: 65_536,
            retention: None,
            trim_every: Duration::from_secs(30),
        }
    }
}

/// What the worker has committed since it was made, and a number that grows with each commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sums over committed batches.
    pub counts: Counts,
    /// Batches committed.
    pub commits: u64,
    /// Arrival time of the newest committed record, microseconds.
    pub newest_us: i64,
}

/// Records per poll of a partition: one decoder batch.
const POLL_RECORDS: usize = 8192;
const POLL_BYTES: usize = 8 << 20;

/// While an interrupted commit is repeated: how often to look whether the brokers have sent the rest.
const AGAIN: Duration = Duration::from_millis(20);
/// While brokers or schema registry are away: how often to ask again.
const AWAY: Duration = Duration::from_secs(1);

/// Reads the partitions of a source into a lake.
pub struct Worker {
    source: Source,
    lake: Lake,
    pipelines: Arc<Vec<Pipeline>>,
    options: WorkerOptions,
    reader: wire::Reader,
    partitions: Vec<u32>,
    /// Where an interrupted commit ended: the next batch is read exactly up to there.
    replay_to: Offsets,
    dedup: Dedup,
    tally: watch::Sender<Tally>,
    newest_us: i64,
    trimmed: Instant,
}

impl Worker {
    /// A worker that goes on where the lake's commits end.
    ///
    /// # Errors
    /// When the lake and the journal do not fit together.
    pub fn new(
        source: impl Into<Source>,
        lake: Lake,
        pipelines: Vec<Pipeline>,
        options: WorkerOptions,
    ) -> Result<Self, RollupError> {
        let mut worker = Self {
            source: source.into(),
            lake,
            pipelines: Arc::new(pipelines),
            options,
            reader: wire::Reader::new(&[])?,
            partitions: Vec::new(),
            replay_to: Offsets::new(),
            dedup: Dedup::default(),
            tally: watch::Sender::new(Tally::default()),
            newest_us: 0,
            trimmed: Instant::now(),
        };
        // Before anything else is appended to a journal.
        if !worker.source.is_shared()
            && let Some((change, given)) = worker.source.given()?
        {
            worker.begin(change, given)?;
        }
        Ok(worker)
    }

    /// Takes up partitions where the lake's commits end.
    fn begin(&mut self, change: u64, given: Vec<u32>) -> Result<(), RollupError> {
        let mut from = Offsets::new();
        let mut furthest = Offsets::new();
        for partition in &given {
            let committed = || self.lake.committed(*partition);
            from.insert(*partition, committed().min().unwrap_or(0));
            furthest.insert(*partition, committed().max().unwrap_or(0));
        }
        // What was read and not committed may be another's now.
        self.dedup = Dedup::default();
        self.partitions = given;
        self.replay_to = self.uneven();
        self.source.begin(change, &from, &furthest)?;
        Ok(())
    }

    /// Where a commit ended that did not reach all tables, by partition: the nearest such place, if there are several.
    fn uneven(&self) -> Offsets {
        let mut uneven = Offsets::new();
        for partition in &self.partitions {
            let least = self.lake.committed(*partition).min().unwrap_or(0);
            let beyond = self.lake.committed(*partition).filter(|next| *next > least);
            uneven.extend(beyond.min().map(|next| (*partition, next)));
        }
        uneven
    }

    /// Reads messages of other schema versions too, given as `(name, schema JSON)`.
    ///
    /// # Errors
    /// When one of them is no Avro schema or cannot be resolved against the current one.
    pub fn with_schemas(mut self, schemas: &[(String, String)]) -> Result<Self, RollupError> {
        self.reader = wire::Reader::new(schemas)?;
        Ok(self)
    }

    /// Follows what is committed.
    pub fn tally(&self) -> watch::Receiver<Tally> {
        self.tally.subscribe()
    }

    /// Runs until `shutdown`, then commits what has been read.
    ///
    /// # Errors
    /// When journal or lake fail; nothing accepted is lost, a new worker goes on from the last commit.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<Tally, RollupError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut appended = self.source.news();
        let mut last_commit = Instant::now();
        loop {
            appended.borrow_and_update();
            let full = self.step().await?;
            if full {
                last_commit = Instant::now();
                // A long catch-up must still end when told to.
                if futures::poll!(&mut shutdown).is_ready() {
                    break;
                }
                continue;
            }
            tokio::select! {
                () = &mut shutdown => break,
                changed = appended.changed() => if changed.is_err() { break },
            }
            let rest = self
                .options
                .commit_interval
                .saturating_sub(last_commit.elapsed());
            tokio::select! {
                () = &mut shutdown => break,
                () = tokio::time::sleep(rest) => {}
            }
            last_commit = Instant::now();
        }
        self.drain().await
    }

    /// Takes in everything the journal holds now and returns.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub async fn drain(mut self) -> Result<Tally, RollupError> {
        while self.step().await? {}
        Ok(*self.tally.borrow())
    }

    /// One micro-batch: whether there may be more at once.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub async fn step(&mut self) -> Result<bool, RollupError> {
        if let Some((change, given)) = self.source.given()? {
            self.lake.reload().await?;
            match tokio::task::block_in_place(|| self.begin(change, given)) {
                Err(RollupError::Source(SourceError::Topic(error))) if error.may_pass() => {
                    tracing::warn!(%error, "the brokers do not say where partitions begin; they are asked again");
                    tokio::time::sleep(AWAY).await;
                    return Ok(true);
                }
                begun => begun?,
            }
        }
        let mut batch = MicroBatch::default();
        self.dedup.begin_batch();
        let replaying = !self.replay_to.is_empty();
        let full = match self.fill(&mut batch).await {
            Err(RollupError::Source(SourceError::Topic(error))) if error.may_pass() => {
                tracing::warn!(%error, "what a message is cannot be known now; it is asked again");
                self.source.again();
                tokio::time::sleep(AWAY).await;
                return Ok(true);
            }
            filled => filled?,
        };
        if !self.source.holds() {
            return Ok(true);
        }
        if batch.from.is_empty() {
            return Ok(false);
        }
        fail_point!("rollup::after_fill", |_| std::process::abort());
        self.tell(&batch);
        match self.commit(&batch).await {
            Err(RollupError::Lake(LakeError::Moved { partition, .. }))
                if self.source.is_shared() =>
            {
                tracing::info!(
                    partition,
                    "another worker has gone on with a partition of ours: beginning anew"
                );
                self.source.again();
                return Ok(true);
            }
            done => done?,
        }
        if replaying {
            self.replay_to = self.uneven();
        }
        self.tally.send_modify(|tally| {
            tally.counts.add(batch.total);
            tally.commits += 1;
            tally.newest_us = self.newest_us;
        });
        if self.trimmed.elapsed() >= self.options.trim_every {
            self.trim()?;
        }
        Ok(full || replaying)
    }

    /// Tells whoever listens what was set aside. Before the commit: a stop between the two tells it twice, under one key, and never
    /// not at all. The lake is what keeps it, so brokers that do not take it hold nothing up.
    fn tell(&self, batch: &MicroBatch) {
        let Source::Topic(reader) = &self.source else {
            return;
        };
        let notes = batch.notes(reader.topic());
        if notes.is_empty() {
            return;
        }
        if let Err(error) = tokio::task::block_in_place(|| reader.tell(&notes)) {
            tracing::warn!(%error, letters = notes.len(), "the dead-letter topic was not told of what the lake will list");
        }
    }

    /// Reads what the source held when asked, up to a full batch; whether the batch is full.
    async fn fill(&mut self, batch: &mut MicroBatch) -> Result<bool, RollupError> {
        // The goal is set before the first poll: under steady traffic there is always one more record to wait for.
        let replaying = !self.replay_to.is_empty();
        let goal: Offsets = match replaying {
            true => self.replay_to.clone(),
            false => {
                let ends = self.partitions.iter();
                ends.map(|partition| (*partition, self.source.end(*partition)))
                    .collect()
            }
        };
        let mut reads = Vec::new();
        loop {
            let mut idle = true;
            for (partition, goal) in &goal {
                let (partition, source) = (*partition, &mut self.source);
                let from = source.position(partition);
                reads.clear();
                let to = tokio::task::block_in_place(|| {
                    source.poll(partition, *goal, POLL_RECORDS, POLL_BYTES, &mut reads)
                })?;
                for (name, schema) in source.learnt() {
                    if let Err(error) = self.reader.learn(&name, &schema) {
                        tracing::error!("messages of {name} become dead letters: {error}");
                    }
                }
                if to == from {
                    continue;
                }
                fail_point!("rollup::after_poll", |_| std::process::abort());
                idle = false;
                batch.from.entry(partition).or_insert(from);
                batch.to.insert(partition, to);
                self.take_in(partition, &reads, batch).await?;
            }
            if !self.source.holds() {
                return Ok(false);
            }
            if idle {
                let reached =
                    |(partition, goal): (&u32, &u64)| self.source.position(*partition) >= *goal;
                if replaying && !goal.iter().all(reached) {
                    // Brokers have it; it has not come yet.
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                return Ok(false);
            }
            // A commit cut short is repeated whole, whatever its size.
            let full = batch.rows() >= self.options.max_rows
                || batch.total.received >= 2 * self.options.max_rows as u64;
            if full && !replaying {
                return Ok(true);
            }
        }
    }

    /// Decodes, checks and de-duplicates one poll.
    async fn take_in(
        &mut self,
        partition: u32,
        reads: &[Read],
        batch: &mut MicroBatch,
    ) -> Result<(), RollupError> {
        let mut messages: Vec<&Bytes> = Vec::with_capacity(reads.len());
        let mut origin: Vec<(u64, i64)> = Vec::with_capacity(reads.len());
        for read in reads {
            match read {
                Read::Record(record) => {
                    messages.push(&record.payload);
                    origin.push((record.offset, record.appended_at_us));
                    self.newest_us = self.newest_us.max(record.appended_at_us);
                }
                Read::Damaged {
                    offset_from,
                    offset_to,
                    bytes,
                } => {
                    let arrived = if self.newest_us > 0 {
                        self.newest_us
                    } else {
                        chrono::Utc::now().timestamp_micros()
                    };
                    batch.damaged(
                        partition,
                        *offset_from,
                        offset_to - offset_from,
                        arrived,
                        *bytes,
                    );
                }
            }
        }
        let decoded = tokio::task::block_in_place(|| self.reader.read(&messages))?;
        for (message, reason) in &decoded.rejected {
            let (offset, arrived) = origin[*message as usize];
            batch.dead_letter(
                partition,
                offset,
                arrived,
                messages[*message as usize],
                *reason,
            );
        }
        let mut offsets: Vec<i64> = decoded
            .rows
            .iter()
            .map(|row| origin[*row as usize].0 as i64)
            .collect();
        let mut arrived: Vec<i64> = decoded
            .rows
            .iter()
            .map(|row| origin[*row as usize].1)
            .collect();
        let limits = Limits {
            arrived: &arrived,
            retention_us: self.options.retention.map(|r| r.as_micros() as i64),
        };
        let verdicts = validate::check(&decoded.batch, limits);
        let mut rows = decoded.batch;
        if verdicts.iter().any(Option::is_some) {
            for (row, reason) in verdicts.iter().enumerate() {
                if let Some(reason) = reason {
                    let message = messages[decoded.rows[row] as usize];
                    let (offset, arrived) = (offsets[row] as u64, arrived[row]);
                    batch.dead_letter(partition, offset, arrived, message, *reason);
                }
            }
            let good: Vec<u32> = (0..verdicts.len() as u32)
                .filter(|row| verdicts[*row as usize].is_none())
                .collect();
            offsets = good.iter().map(|row| offsets[*row as usize]).collect();
            arrived = good.iter().map(|row| arrived[*row as usize]).collect();
            rows = take_record_batch(&rows, &UInt32Array::from(good))?;
        }
        let Some(ids) = rows
            .column_by_name("event_id")
            .and_then(|ids| ids.as_fixed_size_binary_opt())
        else {
            return Ok(());
        };
        let ids: &FixedSizeBinaryArray = ids;
        self.dedup.prepare(ids, &self.lake).await?;
        let keep: BooleanArray = (0..ids.len())
            .map(|row| Some(!self.dedup.is_duplicate(ids.value(row), offsets[row] as u64)))
            .collect();
        fail_point!("rollup::after_dedup", |_| std::process::abort());
        Ok(batch.accept(partition, &rows, offsets, &arrived, &keep)?)
    }

    /// Commits every table, some beside each other. A table that an interrupted commit had reached before is left alone.
    async fn commit(&self, batch: &MicroBatch) -> Result<(), RollupError> {
        // Shared by all tables, as the lake stores them: what rollups are planned over.
        let stored = &self.lake.table(EVENTS)?.spec().schema;
        let events = batch.events.iter().map(|rows| conform(rows, stored));
        let events = Arc::new(events.collect::<Result<Vec<_>, _>>()?);
        let mut tasks = Vec::new();
        for table in self.lake.filled() {
            if !lacks(table, batch)? {
                continue;
            }
            let rows = match table.spec().name.as_str() {
                EVENTS => Rows::Events(Arc::clone(&events)),
                DEAD_LETTERS => Rows::Ready(batch.dead_letter_rows()?),
                INTAKE => Rows::Ready(batch.ledger_rows()?),
                name => match self
                    .pipelines
                    .iter()
                    .find(|pipeline| pipeline.spec().name == name)
                {
                    Some(pipeline) => Rows::Of(pipeline.clone(), Arc::clone(&events)),
                    None => continue,
                },
            };
            let span = (batch.from.clone(), batch.to.clone());
            tasks.push(fill_table(Arc::clone(table), rows, span));
        }
        // As many at once as there are cores: more would hold more memory and be no quicker.
        let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut filled = stream::iter(tasks)
            .map(tokio::spawn)
            .buffer_unordered(at_once);
        while let Some(done) = filled.next().await {
            done??;
        }
        fail_point!("rollup::after_commit", |_| std::process::abort());
        Ok(())
    }

    /// Lets the journal forget what every table holds and the disk has.
    fn trim(&mut self) -> Result<(), RollupError> {
        self.trimmed = Instant::now();
        tokio::task::block_in_place(|| self.lake.make_durable())?;
        fail_point!("rollup::before_trim", |_| std::process::abort());
        let committed = self.partitions.iter().map(|partition| {
            let least = self.lake.committed(*partition).min();
            (*partition, least.unwrap_or(0))
        });
        Ok(self.source.forget(&committed.collect())?)
    }
}

/// Whether a planted bug is on; always false in a shipped binary.
fn planted(bug: &str) -> bool {
    fail_point!(bug, |_| true);
    let _ = bug;
    false
}

enum Rows {
    Ready(RecordBatch),
    Events(Arc<Vec<RecordBatch>>),
    Of(Pipeline, Arc<Vec<RecordBatch>>),
}

async fn fill_table(
    table: Arc<Table>,
    rows: Rows,
    (from, to): (Offsets, Offsets),
) -> Result<(), RollupError> {
    let rows = match rows {
        Rows::Ready(rows) => Arc::new(vec![rows]),
        Rows::Events(events) => events,
        Rows::Of(pipeline, events) => Arc::new(pipeline.run(&events).await?),
    };
    fail_point!("rollup::after_rollup", |_| std::process::abort());
    if planted("bug::offset_early") {
        table.append(&[], &to).await?;
        return Ok(table.append(&rows, &Offsets::new()).await?);
    }
    if planted("bug::skip_txn_check") {
        return Ok(table.append(&rows, &to).await?);
    }
    Ok(table.append_between(&rows, &from, &to).await?)
}

/// Whether `table` still lacks the batch: what is in already need not be computed.
fn lacks(table: &Table, batch: &MicroBatch) -> Result<bool, RollupError> {
    if planted("bug::skip_txn_check") {
        return Ok(true);
    }
    Ok(table.lacks(&batch.from, &batch.to)?)
}
