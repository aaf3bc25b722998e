//! The present: events for the time that has passed since one last asked.

use super::{HOUR, Hour, World};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::sync::Arc;
use tidemark_event::{EventId, Micros, UsageEvent};

const MINUTE: i64 = 60_000_000;

/// Events a second unless told otherwise.
const RATE: f64 = 60.0;

/// What one tick may catch up: a machine that slept must not answer with a flood.
const CATCH_UP: i64 = MINUTE;

/// While a model surges, so much of the traffic is its own.
const SURGE: f64 = 0.3;

/// Traffic as it happens. Each minute one or two other models surge, so that a ranking on a screen moves.
pub struct Live {
    world: Arc<World>,
    hour: Hour,
    hour_number: i64,
    surging: [usize; 2],
    minute: i64,
    last: i64,
    rate: f64,
    /// The part of an event that earlier ticks still owe.
    owed: f64,
    number: u64,
    rng: SmallRng,
    id_source: Vec<u8>,
}

impl Live {
    pub(super) fn new(world: Arc<World>, now: Micros) -> Self {
        // Two runs of one seed are different traffic: the start is part of the identity.
        let mut id_source = world.id_source();
        id_source.extend(now.0.to_be_bytes());
        Self {
            hour: world.hour(now.0, 1.0),
            hour_number: now.0.div_euclid(HOUR),
            surging: [0; 2],
            minute: i64::MIN,
            last: now.0,
            rate: RATE,
            owed: 0.0,
            number: 0,
            rng: SmallRng::seed_from_u64(world.seed ^ now.0 as u64),
            id_source,
            world,
        }
    }

    /// The same at another number of events a second.
    #[must_use]
    pub fn rate(mut self, events_per_second: f64) -> Self {
        self.rate = if events_per_second.is_finite() {
            events_per_second.max(0.0)
        } else {
            RATE
        };
        self
    }

    /// The models that surge at `now`, as `author/slug`.
    pub fn surging(&self) -> impl Iterator<Item = &str> {
        self.surging
            .iter()
            .filter_map(|&index| self.world.market.models.get(index))
            .map(|model| model.id.as_str())
    }

    /// The events since the last tick, in order, all later than it and none later than `now`. After a pause
    /// of more than a minute, the last minute's only.
    pub fn tick(&mut self, now: Micros) -> Vec<UsageEvent> {
        let from = self.last.max(now.0.saturating_sub(CATCH_UP));
        if now.0 <= from || self.world.market.models.is_empty() {
            return Vec::new();
        }
        self.last = now.0;
        if now.0.div_euclid(HOUR) != self.hour_number {
            self.hour_number = now.0.div_euclid(HOUR);
            self.hour = self.world.hour(now.0, 1.0);
        }
        if now.0.div_euclid(MINUTE) != self.minute {
            self.minute = now.0.div_euclid(MINUTE);
            self.change_surge();
        }
        self.owed += (now.0 - from) as f64 / 1e6 * self.rate;
        let count = self.owed as u64;
        self.owed -= count as f64;
        let mut times: Vec<i64> = (0..count)
            .map(|_| self.rng.random_range(from + 1..=now.0))
            .collect();
        times.sort_unstable();
        times.into_iter().map(|ts| self.event(Micros(ts))).collect()
    }

    /// Models just below the top: they can overtake what a watcher sees.
    fn change_surge(&mut self) {
        let reach = self.world.market.models.len().min(24);
        let one = self.rng.random_range(0..reach);
        let two = if self.rng.random_bool(0.5) {
            one
        } else {
            self.rng.random_range(0..reach)
        };
        self.surging = [one, two];
    }

    fn event(&mut self, ts: Micros) -> UsageEvent {
        let surge = self
            .rng
            .random_bool(SURGE)
            .then(|| self.surging[usize::from(self.rng.random::<bool>())]);
        let id = EventId::derived(ts, &self.id_source, self.number);
        self.number += 1;
        self.world.event(&mut self.rng, &self.hour, ts, id, surge)
    }
}
