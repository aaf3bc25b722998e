//! Which events have been seen: by id, in memory for recent minutes, from the raw table for the others.
//!
//! An id is remembered with the offset that first held it. An event is a duplicate when its id is known
//! from a smaller offset of its partition; known from its own offset it is itself, read again after a
//! stop. (An id always meets the same partition, because the id is the partitioning key.)

use crate::RollupError;
use arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use fail::fail_point;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::ops::Range;
use tidemark_event::validate::ID_TOLERANCE_US;
use tidemark_lake::Lake;

const MINUTE_MS: i64 = 60_000;
/// Minutes in one.
const HOUR: i64 = 60;
/// Hours that two looks may lie apart and still meet the same files: a look goes as far to both sides as an id may be off.
const NEAR: i64 = 2 * ID_TOLERANCE_US / (HOUR * MINUTE_MS * 1000);

/// Ids remembered in memory: about 50 MB.
const CAPACITY: usize = 1_500_000;

type Id = (u64, u64);

/// The ids made in one minute: the unit of fetching and forgetting. An hour of a busy router would be larger than all that may be held.
#[derive(Default)]
struct Minute {
    first_offset: HashMap<Id, u64>,
    /// The last batch with an id of this minute.
    used: u64,
}

/// The memory of ids.
pub struct Dedup {
    capacity: usize,
    minutes: HashMap<i64, Minute>,
    held: usize,
    batch: u64,
}

impl Default for Dedup {
    fn default() -> Self {
        Self::holding(CAPACITY)
    }
}

fn split(id: &[u8]) -> Id {
    let mut halves = [0_u64; 2];
    for (half, bytes) in halves.iter_mut().zip(id.chunks(8)) {
        *half = bytes
            .iter()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte));
    }
    (halves[0], halves[1])
}

fn minute_of(id: Id) -> i64 {
    (id.0 >> 16) as i64 / MINUTE_MS
}

impl Dedup {
    /// One that remembers about so many ids, beside those of the running batch.
    pub fn holding(capacity: usize) -> Self {
        Self {
            capacity,
            minutes: HashMap::new(),
            held: 0,
            batch: 0,
        }
    }

    /// Ids in memory.
    pub fn held(&self) -> usize {
        self.held
    }

    /// All before is committed.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
        self.forget();
    }

    /// Fetches the minutes that `ids` were made in, where they are not in memory.
    ///
    /// # Errors
    /// When the raw table cannot be read.
    pub async fn prepare(
        &mut self,
        ids: &FixedSizeBinaryArray,
        lake: &Lake,
    ) -> Result<(), RollupError> {
        let mut missing: BTreeSet<i64> = BTreeSet::new();
        let mut last = i64::MIN;
        for id in ids.iter().flatten() {
            let minute = minute_of(split(id));
            if minute == last {
                continue;
            }
            last = minute;
            match self.minutes.get_mut(&minute) {
                Some(known) => known.used = self.batch,
                None => {
                    missing.insert(minute);
                }
            }
        }
        while let Some(first) = missing.first() {
            let look = self.look(first.div_euclid(HOUR), &missing, lake)?;
            let rest = missing.split_off(&(look.end * HOUR));
            self.fetch(look, missing, lake).await?;
            missing = rest;
        }
        Ok(())
    }

    /// The hours from `hour` on that one look at the lake is to fetch: those with missing minutes that lie so near that they meet the same
    /// files, as long as there are few events. A file holds a day of what one worker took at once: hour by hour, each would be read
    /// 24 times.
    fn look(
        &self,
        hour: i64,
        missing: &BTreeSet<i64>,
        lake: &Lake,
    ) -> Result<Range<i64>, RollupError> {
        let mut look = hour..hour + 1;
        for minute in missing.range(look.end * HOUR..) {
            let next = minute.div_euclid(HOUR);
            if next < look.end {
                continue;
            }
            if next - look.end > NEAR || !self.has_few(look.start..next + 1, lake)? {
                break;
            }
            look.end = next + 1;
        }
        Ok(look)
    }

    /// Whether so few events may have ids made in these hours that all of them may be held.
    fn has_few(&self, hours: Range<i64>, lake: &Lake) -> Result<bool, RollupError> {
        let us = |hour: i64| hour * HOUR * MINUTE_MS * 1000;
        let around = us(hours.start) - ID_TOLERANCE_US..us(hours.end) + ID_TOLERANCE_US;
        Ok(lake.events_within(around.start, around.end)? <= self.capacity as i64 / 4)
    }

    /// Fetches the wanted minutes of some hours with one look at the lake, and the others beside them where that costs little.
    async fn fetch(
        &mut self,
        hours: Range<i64>,
        mut wanted: BTreeSet<i64>,
        lake: &Lake,
    ) -> Result<(), RollupError> {
        if self.has_few(hours.clone(), lake)? {
            let all = hours.start * HOUR..hours.end * HOUR;
            wanted.extend(all.filter(|minute| !self.minutes.contains_key(minute)));
        }
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Ok(());
        };
        let made = first * MINUTE_MS..=(last + 1) * MINUTE_MS - 1;
        let known = lake.event_ids(made, ID_TOLERANCE_US).await?;
        for minute in &wanted {
            let fetched = self.minutes.entry(*minute).or_default();
            fetched.used = self.batch;
        }
        for batch in &known {
            self.remember(batch, &wanted);
        }
        Ok(())
    }

    fn remember(&mut self, batch: &RecordBatch, wanted: &BTreeSet<i64>) {
        let columns = (
            batch
                .column_by_name("event_id")
                .and_then(|column| column.as_binary_opt::<i32>()),
            batch
                .column_by_name("partition")
                .and_then(|column| column.as_primitive_opt::<Int32Type>()),
            batch
                .column_by_name("offset")
                .and_then(|column| column.as_primitive_opt::<Int64Type>()),
        );
        let (Some(ids), Some(_), Some(offsets)) = columns else {
            return;
        };
        for row in 0..ids.len() {
            let id = split(ids.value(row));
            let minute = minute_of(id);
            if !wanted.contains(&minute) {
                continue;
            }
            let minute = self.minutes.entry(minute).or_default();
            let before = minute.first_offset.len();
            minute.first_offset.insert(id, offsets.value(row) as u64);
            self.held += minute.first_offset.len() - before;
        }
    }

    /// Whether the event at `offset` is a duplicate; if not, it is remembered.
    pub fn is_duplicate(&mut self, id: &[u8], offset: u64) -> bool {
        fail_point!("bug::skip_dedup", |_| false);
        let id = split(id);
        let minute = self.minutes.entry(minute_of(id)).or_default();
        match minute.first_offset.entry(id) {
            hashbrown::hash_map::Entry::Occupied(first) => *first.get() < offset,
            hashbrown::hash_map::Entry::Vacant(slot) => {
                slot.insert(offset);
                self.held += 1;
                false
            }
        }
    }

    /// Lets go of the minutes not used for longest, down to three quarters, so that it need not be done for every batch. What was
    /// forgotten comes back from the lake.
    fn forget(&mut self) {
        if self.held <= self.capacity {
            return;
        }
        let mut oldest: Vec<(u64, i64)> = self
            .minutes
            .iter()
            .map(|(minute, held)| (held.used, *minute))
            .collect();
        oldest.sort_unstable();
        for (_, minute) in oldest {
            if self.held <= self.capacity / 4 * 3 {
                return;
            }
            if let Some(gone) = self.minutes.remove(&minute) {
                self.held -= gone.first_offset.len();
            }
        }
    }
}
