//! Fills in what a trace does not say: who asked which model, served where, at what price, how fast.
//!
//! Each row's draw depends on the seed and the row's place alone, so that a limit or an unreadable line
//! changes no other event.

use super::{Format, Row, TraceError};
use crate::alias::Alias;
use crate::market::{Market, bill};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tidemark_catalog::Catalog;
use tidemark_event::{EventId, Micros, UsageEvent};
use xxhash_rust::xxh64::xxh64;

/// Where assigned models and accounts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The same seed assigns the same.
    pub seed: u64,
    /// How many accounts share the trace, by a Zipf law. Traces that tell clients apart use those instead.
    pub accounts: u32,
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            seed: 1,
            accounts: 500,
        }
    }
}

const APPS: [&str; 12] = [
    "patchwright",
    "harborchat",
    "inklantern",
    "lintel-ide",
    "ledgerleaf",
    "quillmate",
    "beaconsearch",
    "tessera-notes",
    "northdesk",
    "foldout",
    "mapleform",
    "sparrowbot",
];

pub(super) struct Assigner {
    market: Market,
    models: Alias,
    accounts: Alias,
    /// The model with the longest context, for prompts that no other could take.
    roomiest: usize,
    seed: u64,
}

impl Assigner {
    pub(super) fn new(catalog: &Catalog, assignment: Assignment) -> Result<Self, TraceError> {
        let market = Market::new(catalog, assignment.seed);
        let roomiest = (0..market.models.len()).max_by_key(|&index| market.models[index].context);
        Ok(Self {
            roomiest: roomiest.ok_or(TraceError::EmptyCatalog)?,
            models: Alias::new(market.models.iter().map(|model| model.popularity)),
            accounts: Alias::new(
                (1..=assignment.accounts.max(1)).map(|rank| 1.0 / f64::from(rank)),
            ),
            market,
            seed: assignment.seed,
        })
    }

    /// Accounts keep to two models most of the time.
    fn model(&self, rng: &mut SmallRng, account: u64, needed: i64) -> usize {
        let mut habits = SmallRng::seed_from_u64(account);
        let (first, second) = (self.models.pick(&mut habits), self.models.pick(&mut habits));
        let choice = match rng.random_range(0..10) {
            0..7 => first,
            7..9 => second,
            _ => self.models.pick(rng),
        };
        let fits = |model: &usize| self.market.models[*model].context >= needed;
        let others = (0..8).map(|_| self.models.pick(&mut habits));
        [choice, first, second]
            .into_iter()
            .chain(others)
            .find(fits)
            .unwrap_or(self.roomiest)
    }

    pub(super) fn event(&self, row: &Row, ts: Micros, id: EventId, format: Format) -> UsageEvent {
        let mut rng = SmallRng::seed_from_u64(xxh64(&row.place.to_be_bytes(), self.seed));
        let who = row
            .client
            .map_or_else(|| self.accounts.pick(&mut rng) as u64, u64::from);
        let account = xxh64(format!("{format}/{who}").as_bytes(), self.seed);
        let model = &self.market.models[self.model(&mut rng, account, row.prompt + row.completion)];
        let at = model.endpoints[model.reach.pick(&mut rng)];
        let at = self.market.fitting(model, at, row.prompt + row.completion);
        let endpoint = &self.market.endpoints[at];
        let pace = self
            .market
            .pace(&mut rng, at, row.prompt - row.cached, row.completion);
        let streamed = rng.random_range(0..10) < 7 && row.completion > 0;
        let mut event = UsageEvent {
            event_id: id,
            ts,
            account_id: format!("{account:016x}"),
            app: if account.is_multiple_of(8) {
                String::new()
            } else {
                APPS[(account >> 8) as usize % APPS.len()].to_owned()
            },
            streamed,
            model_requested: model.id.clone(),
            model: model.id.clone(),
            provider: self.market.providers[endpoint.provider].slug.clone(),
            endpoint: endpoint.id.clone(),
            region: endpoint
                .regions
                .get((account % 7) as usize % endpoint.regions.len().max(1))
                .cloned()
                .unwrap_or_default(),
            quantization: endpoint.quantization.to_owned(),
            prompt_tokens: row.prompt,
            cached_tokens: row.cached,
            completion_tokens: row.completion,
            ttft_us: streamed.then_some(pace.ttft),
            generation_us: streamed.then_some(pace.generation),
            overhead_us: pace.overhead,
            latency_us: pace.overhead + pace.ttft + pace.generation,
            finish_reason: "stop".to_owned(),
            simulated: true,
            source: format.source().to_owned(),
            ..UsageEvent::default()
        };
        bill(&mut event, self.market.price(at, ts).as_ref());
        event
    }
}
