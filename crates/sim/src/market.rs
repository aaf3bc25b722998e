//! The catalog as a simulation needs it: what can be asked for, how popular, where it is served, how fast.
//!
//! Popularity, speed and faults are nobody's measurements: they follow from names, prices, dates and a seed.

use crate::alias::Alias;
use chrono::{NaiveDate, NaiveTime};
use rand::Rng;
use rand_distr::StandardNormal;
use std::collections::HashMap;
use tidemark_catalog::{
    Catalog, Endpoint as CatalogEndpoint, Modality, Price, Quantization, Status, Tokens,
};
use tidemark_event::{Micros, UsageEvent};
use xxhash_rust::xxh64::xxh64;

/// A provider's made-up temper.
pub(crate) struct Provider {
    pub(crate) slug: String,
    /// Multiplies the speed of generation.
    speed: f32,
    /// Median time to the first token of a short prompt, microseconds.
    first_us: f32,
    /// Share of attempts that fail when nothing special is on.
    pub(crate) faults: f32,
    /// Share of answers its own filter stops.
    pub(crate) filtered: f32,
    /// Share of tool calls that come out wrong.
    pub(crate) tool_faults: f32,
}

/// A model at a provider.
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) provider: usize,
    pub(crate) regions: Vec<String>,
    pub(crate) quantization: &'static str,
    pub(crate) context: i64,
    tokens_per_second: f32,
    prices: CatalogEndpoint,
}

/// A model that somebody serves at a price.
pub(crate) struct Model {
    pub(crate) id: String,
    /// Of the endpoint that allows most.
    pub(crate) context: i64,
    pub(crate) max_output: i64,
    pub(crate) tools: bool,
    pub(crate) reasoning: bool,
    pub(crate) open: bool,
    /// Zipf weight.
    pub(crate) popularity: f64,
    pub(crate) released: Micros,
    /// When nobody could ask for it any more. Deprecated models are still asked for: that is what advice is about.
    pub(crate) retired: Option<Micros>,
    pub(crate) endpoints: Vec<usize>,
    pub(crate) reach: Alias,
    pub(crate) fastest: usize,
    pub(crate) cheapest: usize,
    pub(crate) roomiest: usize,
}

/// Everything on offer, models by popularity.
pub(crate) struct Market {
    pub(crate) models: Vec<Model>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) providers: Vec<Provider>,
}

/// How long the parts of an answer took, microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    pub(crate) ttft: i64,
    pub(crate) generation: i64,
    pub(crate) overhead: i64,
}

/// Authors whose models open the ranking more often than others.
const FLAGSHIPS: [(&str, f64); 14] = [
    ("anthropic", 2.4),
    ("openai", 2.2),
    ("google", 2.2),
    ("deepseek", 2.0),
    ("x-ai", 1.8),
    ("qwen", 1.7),
    ("moonshotai", 1.5),
    ("z-ai", 1.5),
    ("minimax", 1.4),
    ("meta-llama", 1.2),
    ("mistralai", 1.2),
    ("nvidia", 0.8),
    ("cohere", 0.6),
    ("amazon", 0.6),
];

/// A number from 0 to 1 that belongs to a name.
pub(crate) fn unit(name: &str, seed: u64) -> f64 {
    (xxh64(name.as_bytes(), seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A log-normal draw.
pub(crate) fn spread(rng: &mut impl Rng, median: f32, sigma: f32) -> f32 {
    let normal: f32 = rng.sample(StandardNormal);
    median * (sigma * normal).exp()
}

fn micros(day: NaiveDate) -> Micros {
    Micros(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

fn quantization(format: Quantization) -> &'static str {
    match format {
        Quantization::Int4 => "int4",
        Quantization::Int8 => "int8",
        Quantization::Fp4 => "fp4",
        Quantization::Fp6 => "fp6",
        Quantization::Fp8 => "fp8",
        Quantization::Fp16 => "fp16",
        Quantization::Bf16 => "bf16",
        Quantization::Fp32 => "fp32",
        Quantization::Unknown => "unknown",
    }
}

fn tokens(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

impl Provider {
    fn new(slug: &str, seed: u64) -> Self {
        let fast = ["groq", "cerebras", "sambanova"]
            .iter()
            .any(|name| slug.contains(name));
        let draw = |what: &str| unit(slug, seed ^ xxh64(what.as_bytes(), 1)) as f32;
        Self {
            slug: slug.to_owned(),
            speed: if fast {
                4.0 + 4.0 * draw("speed")
            } else {
                0.6 + 0.9 * draw("speed")
            },
            first_us: if fast {
                180_000.0
            } else {
                260_000.0 + 700_000.0 * draw("first").powi(2)
            },
            faults: 0.006 + 0.04 * draw("faults").powi(2),
            filtered: if slug.contains("azure") || slug.contains("google") {
                0.006
            } else {
                0.0015 * draw("filter")
            },
            tool_faults: 0.004 + 0.06 * draw("tools").powi(3),
        }
    }
}

/// The price in force. What happened before the first one is charged at the first one.
fn price(endpoint: &CatalogEndpoint, ts: Micros) -> Option<Price> {
    let at = ts.to_datetime()?;
    endpoint
        .price_at(at)
        .or_else(|| endpoint.prices.first())
        .cloned()
}

impl Market {
    pub(crate) fn new(catalog: &Catalog, seed: u64) -> Self {
        let mut market = Self {
            models: Vec::new(),
            endpoints: Vec::new(),
            providers: Vec::new(),
        };
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut scores = Vec::new();
        // Ages count from the newest release and not from the clock: the same catalog gives the same market.
        let today = catalog
            .models()
            .iter()
            .map(|model| model.released)
            .max()
            .map_or(Micros(0), micros);
        // Embeddings are another operation with another life: only models that answer in text are traded here.
        for model in catalog
            .models()
            .iter()
            .filter(|model| model.output.contains(&Modality::Text))
        {
            let mut weights = Vec::new();
            let mut own = Vec::new();
            for endpoint in catalog.endpoints_of(&model.id) {
                let Some(price) = price(endpoint, today) else {
                    continue;
                };
                let provider = *known.entry(endpoint.provider.clone()).or_insert_with(|| {
                    market
                        .providers
                        .push(Provider::new(&endpoint.provider, seed));
                    market.providers.len() - 1
                });
                let cost = price.cost(&Tokens {
                    prompt: 3_000_000,
                    completion: 1_000_000,
                    ..Tokens::default()
                });
                let dollars = (cost.total() as f64 / 1e9).max(0.02);
                let size = (dollars as f32).powf(-0.22) * 95.0;
                let speed = (size * market.providers[provider].speed).clamp(9.0, 1_800.0);
                // Cheap endpoints draw more, but a free one must not draw all.
                weights.push(dollars.powf(-0.6) * (0.25 + unit(&endpoint.id, seed)));
                own.push((
                    market.endpoints.len(),
                    dollars,
                    speed,
                    tokens(endpoint.context_length),
                ));
                market.endpoints.push(Endpoint {
                    id: endpoint.id.clone(),
                    provider,
                    regions: endpoint.regions.clone(),
                    quantization: quantization(endpoint.quantization),
                    context: tokens(endpoint.context_length),
                    tokens_per_second: speed,
                    prices: endpoint.clone(),
                });
            }
            let Some(cheapest) = own
                .iter()
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|own| own.0)
            else {
                continue;
            };
            let fastest = own
                .iter()
                .max_by(|a, b| a.2.total_cmp(&b.2))
                .map_or(cheapest, |own| own.0);
            let roomiest = own
                .iter()
                .max_by_key(|own| own.3)
                .map_or((cheapest, 0), |own| (own.0, own.3));
            let released = micros(model.released);
            let fame = FLAGSHIPS
                .iter()
                .find(|(author, _)| *author == model.author)
                .map_or(0.0, |(_, fame)| *fame);
            let years = ((today.0 - released.0) as f64 / 3.156e13).max(0.0);
            scores.push((
                fame - 0.9 * years + 2.2 * unit(&model.id, seed),
                market.models.len(),
            ));
            market.models.push(Model {
                id: model.id.clone(),
                context: tokens(model.context_length).min(roomiest.1).max(2_048),
                max_output: tokens(model.max_output).max(256),
                tools: model.tools,
                reasoning: model.reasoning,
                open: model.open_weights,
                popularity: 0.0,
                released,
                retired: (model.status == Status::Retired)
                    .then(|| model.deprecated.map_or(released, micros)),
                endpoints: own.iter().map(|own| own.0).collect(),
                reach: Alias::new(weights),
                fastest,
                cheapest,
                roomiest: roomiest.0,
            });
        }
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (rank, (_, index)) in scores.iter().enumerate() {
            market.models[*index].popularity = 1.0 / (rank as f64 + 1.5).powf(0.95);
        }
        market
            .models
            .sort_by(|a, b| b.popularity.total_cmp(&a.popularity));
        market
    }

    /// The price of an endpoint in force at `ts`; before its first date, the first one.
    pub(crate) fn price(&self, endpoint: usize, ts: Micros) -> Option<Price> {
        price(&self.endpoints[endpoint].prices, ts)
    }

    /// The endpoint itself, or the model's roomiest where the request does not fit.
    pub(crate) fn fitting(&self, model: &Model, endpoint: usize, needed: i64) -> usize {
        if self.endpoints[endpoint].context >= needed {
            endpoint
        } else {
            model.roomiest
        }
    }

    /// Draws plausible durations for an answer.
    pub(crate) fn pace(
        &self,
        rng: &mut impl Rng,
        endpoint: usize,
        fresh_prompt: i64,
        completion: i64,
    ) -> Pace {
        let endpoint = &self.endpoints[endpoint];
        let provider = &self.providers[endpoint.provider];
        // Reading a prompt is some sixty times faster than writing an answer.
        let prefill = fresh_prompt as f32 / (60.0 * endpoint.tokens_per_second) * 1e6;
        let speed = spread(rng, endpoint.tokens_per_second, 0.22);
        Pace {
            ttft: spread(rng, provider.first_us + prefill, 0.45) as i64 + 20_000,
            generation: ((completion - 1).max(0) as f32 / speed * 1e6) as i64 + 500,
            overhead: spread(rng, 420.0, 0.5) as i64,
        }
    }
}

/// Sets the tokens' price on an event.
pub(crate) fn bill(event: &mut UsageEvent, price: Option<&Price>) {
    let Some(price) = price else { return };
    let count = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
    let cost = price.cost(&Tokens {
        prompt: count(event.prompt_tokens),
        cached: count(event.cached_tokens),
        cache_write: count(event.cache_write_tokens),
        completion: count(event.completion_tokens),
    });
    event.cost_prompt_nanousd = cost.prompt;
    event.cost_cached_nanousd = cost.cached;
    event.cost_cache_write_nanousd = cost.cache_write;
    event.cost_completion_nanousd = cost.completion;
    event.cost_request_nanousd = cost.request;
    event.cost_nanousd = cost.total();
}
