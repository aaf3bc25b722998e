//! The simulated accounts: few heavy ones, many light ones, each with habits.

use super::profile::{HOMES, WORKLOADS};
use crate::alias::Alias;
use crate::market::Market;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use xxhash_rust::xxh64::xxh64;

pub(super) const ACCOUNTS: u32 = 3_000;

/// How many models an account keeps to.
const HABITS: usize = 4;

pub(super) struct Account {
    pub(super) id: String,
    pub(super) key: u64,
    pub(super) work: usize,
    pub(super) app: &'static str,
    pub(super) home: usize,
    /// Opted in to sampling: its events may carry a category.
    pub(super) sampled: bool,
    /// Share of requests that go to the models it is used to.
    pub(super) loyalty: f32,
    pub(super) habits: [u16; HABITS],
    /// Multiplies its prompts' length.
    pub(super) size: f32,
    /// Leans to `:free`, `:nitro`, `:floor`.
    pub(super) free: f32,
    pub(super) nitro: f32,
    pub(super) floor: f32,
}

/// All accounts, and for each home a table to draw one by weight.
pub(super) struct Accounts {
    pub(super) all: Vec<Account>,
    pub(super) tables: Vec<(Vec<u32>, Alias)>,
}

impl Accounts {
    pub(super) fn new(market: &Market, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x00AC_C011);
        let works = Alias::new(WORKLOADS.iter().map(|work| work.share));
        let homes = Alias::new(HOMES.iter().map(|home| home.0));
        let models = Alias::new(market.models.iter().map(|model| model.popularity));
        let capable = Alias::new(
            market
                .models
                .iter()
                .map(|model| if model.tools { model.popularity } else { 0.0 }),
        );
        let mut tables = vec![(Vec::new(), Vec::new()); HOMES.len()];
        let mut all = Vec::new();
        for rank in 0..ACCOUNTS {
            let key = xxh64(&rank.to_be_bytes(), seed);
            let work = works.pick(&mut rng);
            let home = homes.pick(&mut rng);
            let taste = if WORKLOADS[work].tools > 0.5 {
                &capable
            } else {
                &models
            };
            let apps = WORKLOADS[work].apps;
            // Squaring a draw favours the first apps of each list.
            let app = apps[(rng.random::<f64>().powi(2) * apps.len() as f64) as usize % apps.len()];
            let lean = |rng: &mut SmallRng, share: f64, strength: f32| {
                if rng.random_bool(share) {
                    strength
                } else {
                    0.002
                }
            };
            all.push(Account {
                id: format!("{key:016x}"),
                key,
                work,
                app: if rng.random_bool(0.15) { "" } else { app },
                home,
                sampled: rng.random_bool(0.1),
                loyalty: 0.55 + 0.4 * rng.random::<f32>(),
                habits: std::array::from_fn(|_| taste.pick(&mut rng) as u16),
                size: 0.5 + 1.2 * rng.random::<f32>().powi(2),
                free: lean(&mut rng, 0.12, 0.5),
                nitro: lean(&mut rng, 0.06, 0.35),
                floor: lean(&mut rng, 0.08, 0.4),
            });
            tables[home].0.push(rank);
            tables[home].1.push(1.0 / f64::from(rank + 4).powf(0.9));
        }
        Self {
            all,
            tables: tables
                .into_iter()
                .map(|(ranks, weights)| (ranks, Alias::new(weights)))
                .collect(),
        }
    }
}

impl Account {
    /// One of the models it is used to, the first most often.
    pub(super) fn habit(&self, rng: &mut SmallRng) -> usize {
        let slot = match rng.random::<u8>() {
            0..140 => 0,
            140..205 => 1,
            205..240 => 2,
            _ => 3,
        };
        usize::from(self.habits[slot])
    }
}
