//! Simulated traffic: what a router of some size might see, without any client.
//!
//! Accounts with habits and working hours ask models that rise and fall, at providers with tempers and
//! outages. [`Traffic::history`] tells a past month, [`Traffic::live`] the present; both carry
//! `simulated = true` and `source = "simulated"`.

mod accounts;
mod event;
mod history;
mod live;
mod profile;

pub use history::History;
pub use live::Live;

use crate::alias::Alias;
use crate::market::{Market, unit};
use accounts::Accounts;
use profile::{HOMES, Trend, activity};
use rand::rngs::SmallRng;
use std::sync::Arc;
use tidemark_catalog::{Catalog, Price};
use tidemark_event::Micros;
use xxhash_rust::xxh64::xxh64;

const HOUR: i64 = 3_600_000_000;

/// One provider fails for an hour about once in so many hours.
const HOURS_BETWEEN_OUTAGES: u64 = 1_000;

/// A simulated world, cheap to clone.
#[derive(Clone)]
pub struct Traffic {
    world: Arc<World>,
}

/// What does not change with time.
struct World {
    market: Market,
    accounts: Accounts,
    trends: Vec<Trend>,
    seed: u64,
}

/// What holds during one hour.
struct Hour {
    models: Alias,
    /// The chance that a habit is followed now: habits fade and grow with the model's trend.
    accepted: Vec<f32>,
    homes: Alias,
    prices: Vec<Option<Price>>,
    /// By provider.
    down: Vec<bool>,
}

impl Traffic {
    /// A world from the catalog's models, endpoints and prices. The same catalog and seed give the same world.
    pub fn new(catalog: &Catalog, seed: u64) -> Self {
        let market = Market::new(catalog, seed);
        let accounts = Accounts::new(&market, seed);
        // The very first models move little, or the top of the ranking would be a coin toss.
        let trend = |(rank, model): (usize, &crate::market::Model)| match Trend::of(unit(
            &model.id,
            seed ^ 0x7E4D,
        )) {
            Trend::Launch(_) if rank < 2 => Trend::Steady,
            trend => trend,
        };
        let trends = market.models.iter().enumerate().map(trend).collect();
        Self {
            world: Arc::new(World {
                market,
                accounts,
                trends,
                seed,
            }),
        }
    }

    /// Exactly `events` events from `from` up to, not including, `to`, in the order of their times. None when
    /// the span is empty or the catalog offers nothing.
    pub fn history(&self, from: Micros, to: Micros, events: u64) -> History {
        History::new(self.world.clone(), from, to, events)
    }

    /// The present, from `now` on, where a month's history ends.
    pub fn live(&self, now: Micros) -> Live {
        Live::new(self.world.clone(), now)
    }
}

impl World {
    /// The state of the hour that `ts` lies in; `x` is the place in the month, 0 to 1.
    fn hour(&self, ts: i64, x: f64) -> Hour {
        let start = ts.div_euclid(HOUR);
        let mut weights: Vec<f64> = Vec::with_capacity(self.trends.len());
        for (model, trend) in self.market.models.iter().zip(&self.trends) {
            let there = model.released.0 <= ts && model.retired.is_none_or(|at| ts < at.0);
            weights.push(if there {
                model.popularity * trend.factor(x)
            } else {
                0.0
            });
        }
        let chance = |(model, weight): (&crate::market::Model, &f64)| {
            (weight / (model.popularity * Trend::MOST)) as f32
        };
        let down = |provider: &crate::market::Provider| {
            xxh64(provider.slug.as_bytes(), self.seed ^ start as u64)
                .is_multiple_of(HOURS_BETWEEN_OUTAGES)
        };
        Hour {
            accepted: self
                .market
                .models
                .iter()
                .zip(&weights)
                .map(chance)
                .collect(),
            models: Alias::new(weights),
            homes: Alias::new((0..HOMES.len()).map(|home| activity(home, start * HOUR + HOUR / 2))),
            prices: (0..self.market.endpoints.len())
                .map(|endpoint| self.market.price(endpoint, Micros(ts)))
                .collect(),
            down: self.market.providers.iter().map(down).collect(),
        }
    }

    /// Draws who asks.
    fn account(&self, rng: &mut SmallRng, hour: &Hour) -> &accounts::Account {
        let (ranks, table) = &self.accounts.tables[hour.homes.pick(rng)];
        &self.accounts.all[ranks.get(table.pick(rng)).map_or(0, |&rank| rank as usize)]
    }

    /// The bytes that simulated ids derive from.
    fn id_source(&self) -> Vec<u8> {
        let mut source = b"simulated".to_vec();
        source.extend(self.seed.to_be_bytes());
        source
    }
}
