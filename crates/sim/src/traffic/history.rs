//! A past month, in order.

use super::profile::{HOMES, activity};
use super::{HOUR, Hour, World};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::sync::Arc;
use tidemark_event::{EventId, Micros, UsageEvent};

/// Load is constant within a bucket, and times are sorted within one, so it must stay small.
const BUCKET: i64 = 600_000_000;

/// The iterator of [`super::Traffic::history`].
pub struct History {
    world: Arc<World>,
    hour: Hour,
    hour_number: i64,
    from: i64,
    to: i64,
    /// How many events each bucket still to come has; the sum is exact.
    counts: std::vec::IntoIter<u64>,
    bucket: i64,
    /// Times of the current bucket, latest first.
    times: Vec<i64>,
    left: u64,
    number: u64,
    rng: SmallRng,
    id_source: Vec<u8>,
}

/// Splits `events` over the buckets by load. Rounding errors carry over, so that nothing is lost.
fn counts(from: i64, to: i64, events: u64) -> Vec<u64> {
    let buckets = (to.saturating_sub(from)).max(0) as u64;
    let buckets = buckets.div_ceil(BUCKET as u64) as usize;
    let load: Vec<f64> = (0..buckets)
        .map(|index| {
            let start = from + index as i64 * BUCKET;
            let length = BUCKET.min(to - start) as f64 / BUCKET as f64;
            let growth = 1.0 + 0.25 * index as f64 / buckets as f64;
            length
                * growth
                * (0..HOMES.len())
                    .map(|home| activity(home, start))
                    .sum::<f64>()
        })
        .collect();
    let whole: f64 = load.iter().sum();
    let (mut sum, mut given) = (0.0, 0_u64);
    let mut counts: Vec<u64> = load
        .iter()
        .map(|load| {
            sum += load;
            let upto = ((events as f64 * sum / whole) as u64).clamp(given, events);
            let count = upto - given;
            given = upto;
            count
        })
        .collect();
    if let Some(last) = counts.last_mut() {
        *last += events - given;
    }
    counts
}

impl History {
    pub(super) fn new(world: Arc<World>, from: Micros, to: Micros, events: u64) -> Self {
        let counts = counts(from.0, to.0, events);
        let nothing = counts.is_empty() || world.market.models.is_empty();
        Self {
            hour: world.hour(from.0, 0.0),
            hour_number: from.0.div_euclid(HOUR),
            from: from.0,
            to: to.0,
            counts: counts.into_iter(),
            bucket: 0,
            times: Vec::new(),
            left: if nothing { 0 } else { events },
            number: 0,
            rng: SmallRng::seed_from_u64(world.seed ^ 0x0415_7017),
            id_source: world.id_source(),
            world,
        }
    }

    fn refill(&mut self) -> Option<()> {
        while self.times.is_empty() {
            let count = self.counts.next()?;
            let start = self.from + self.bucket * BUCKET;
            let end = (start + BUCKET).min(self.to);
            self.bucket += 1;
            self.times
                .extend((0..count).map(|_| self.rng.random_range(start..end)));
            self.times.sort_unstable_by(|a, b| b.cmp(a));
        }
        Some(())
    }
}

impl Iterator for History {
    type Item = UsageEvent;

    fn next(&mut self) -> Option<UsageEvent> {
        if self.left == 0 {
            return None;
        }
        self.refill()?;
        let ts = self.times.pop()?;
        if ts.div_euclid(HOUR) != self.hour_number {
            self.hour_number = ts.div_euclid(HOUR);
            let x = (ts - self.from) as f64 / (self.to - self.from).max(1) as f64;
            self.hour = self.world.hour(ts, x);
        }
        let id = EventId::derived(Micros(ts), &self.id_source, self.number);
        self.number += 1;
        self.left -= 1;
        Some(
            self.world
                .event(&mut self.rng, &self.hour, Micros(ts), id, None),
        )
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for History {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_whatever_the_span() {
        for (span, events) in [
            (1, 7),
            (BUCKET, 1),
            (BUCKET + 1, 1_000),
            (30 * 24 * HOUR, 123_457),
            (HOUR, 0),
        ] {
            assert_eq!(
                counts(1_790_000_000_000_000, 1_790_000_000_000_000 + span, events)
                    .iter()
                    .sum::<u64>(),
                events
            );
        }
        assert!(counts(10, 10, 5).is_empty());
        assert!(counts(10, 0, 5).is_empty());
    }
}
