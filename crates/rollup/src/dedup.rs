//! Which events have been seen: by id, in memory for recent hours, from the raw table for the others.
//!
//! An id is remembered with the offset that first held it. An event is a duplicate when its id is known
//! from a smaller offset of its partition; known from its own offset it is itself, read again after a
//! stop. (An id always meets the same partition, because the id is the partitioning key.)

use crate::RollupError;
use arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use fail::fail_point;
use hashbrown::HashMap;
use tidemark_event::validate::ID_TOLERANCE_US;
use tidemark_lake::Lake;

const HOUR_MS: i64 = 3_600_000;

/// Ids remembered in memory: about 50 MB.
const CAPACITY: usize = 1_500_000;

type Id = (u64, u64);

#[derive(Default)]
struct Hour {
    first_offset: HashMap<Id, u64>,
    /// The last batch with an id of this hour.
    used: u64,
}

/// The memory of ids.
#[derive(Default)]
pub struct Dedup {
    hours: HashMap<i64, Hour>,
    held: usize,
    batch: u64,
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

fn hour_of(id: Id) -> i64 {
    (id.0 >> 16) as i64 / HOUR_MS
}

impl Dedup {
    /// All before is committed.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
        self.forget();
    }

    /// Fetches the hours that `ids` fall into, where they are not in memory.
    ///
    /// # Errors
    /// When the raw table cannot be read.
    pub async fn prepare(
        &mut self,
        ids: &FixedSizeBinaryArray,
        lake: &Lake,
    ) -> Result<(), RollupError> {
        let mut last = i64::MIN;
        for id in ids.iter().flatten() {
            let hour = hour_of(split(id));
            if hour == last {
                continue;
            }
            last = hour;
            if let Some(known) = self.hours.get_mut(&hour) {
                known.used = self.batch;
                continue;
            }
            let mut fetched = Hour {
                used: self.batch,
                ..Hour::default()
            };
            let from = hour * HOUR_MS * 1000 - ID_TOLERANCE_US;
            let to = (hour + 1) * HOUR_MS * 1000 + ID_TOLERANCE_US;
            for batch in lake.event_ids(from, to).await? {
                remember(&mut fetched, &batch, hour);
            }
            self.held += fetched.first_offset.len();
            self.hours.insert(hour, fetched);
        }
        Ok(())
    }

    /// Whether the event at `offset` is a duplicate; if not, it is remembered.
    pub fn is_duplicate(&mut self, id: &[u8], offset: u64) -> bool {
        fail_point!("bug::skip_dedup", |_| false);
        let id = split(id);
        let hour = self.hours.entry(hour_of(id)).or_default();
        match hour.first_offset.entry(id) {
            hashbrown::hash_map::Entry::Occupied(first) => *first.get() < offset,
            hashbrown::hash_map::Entry::Vacant(slot) => {
                slot.insert(offset);
                self.held += 1;
                false
            }
        }
    }

    /// Lets go of the hours not used for longest. What was forgotten comes back from the lake.
    fn forget(&mut self) {
        while self.held > CAPACITY {
            let oldest = self.hours.iter().min_by_key(|(_, hour)| hour.used);
            let Some((&hour, _)) = oldest else { return };
            if let Some(gone) = self.hours.remove(&hour) {
                self.held -= gone.first_offset.len();
            }
        }
    }
}

fn remember(hour: &mut Hour, batch: &RecordBatch, of: i64) {
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
        if hour_of(id) == of {
            hour.first_offset.insert(id, offsets.value(row) as u64);
        }
    }
}
