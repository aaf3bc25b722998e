//! Stickiness: how much of the prompts the providers' caches hold, and what happens to conversations whose provider dies.

use crate::asker::{Answer, Asker, Target};
use crate::figures::{Share, table};
use crate::talk::{Turn, cached_share, invented, play, recorded};
use crate::world::{Direct, PATIENCE, direct, endpoints, routed};
use crate::{Options, SPEED};
use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidemark_catalog::{Catalog, Endpoint};
use tidemark_event::UsageEvent;
use tidemark_sim::providers::Script;

/// Twelve providers of the catalog serve it with a lower price for what is cached.
const MODEL: &str = "z-ai/glm-5.2";

/// Conversations go on so many times as fast as they did, and caches forget so much sooner.
const FASTER: f64 = 1.0 / SPEED;

pub async fn measure(options: &Options) -> Result<Value> {
    let time = Duration::from_secs(if options.full { 180 } else { 40 });
    let turns = match &options.trace {
        Some(file) => recorded(file, time, FASTER)?,
        None => invented(5.0, time, Duration::from_secs(4), options.seed),
    };
    let catalog = Catalog::builtin()?;
    let script = world(&catalog)?;
    let endpoints = endpoints(&catalog, &script, MODEL);
    let asker = Asker::new(PATIENCE);

    let straight = direct(script.clone(), options.seed).await?;
    let other = direct(script.clone(), options.seed).await?;
    let named = routed(script.clone(), options.seed, false, MODEL).await?;
    let unnamed = routed(script.clone(), options.seed, false, MODEL).await?;
    let weights = Weights::of(&endpoints);
    let (none, perfect, named, unnamed) = tokio::join!(
        spread(&asker, &straight, &endpoints, &weights, &turns, false),
        spread(&asker, &other, &endpoints, &weights, &turns, true),
        converse(&asker, &named.target, &turns, true),
        converse(&asker, &unnamed.target, &turns, false),
    );
    let rows = [
        (
            "no stickiness: each request drawn by price",
            none.as_slice(),
        ),
        (
            "perfect: each conversation at one provider",
            perfect.as_slice(),
        ),
        ("router, session_id", named.as_slice()),
        ("router, by the prompt's beginning", unnamed.as_slice()),
    ];
    let (low, high) = (cached_share(&none), cached_share(&perfect));
    let head = [
        "",
        "cached share of prompt tokens",
        "of what is possible",
        "answered",
    ];
    let mut table_rows = vec![head.map(str::to_owned).to_vec()];
    for (name, answers) in &rows {
        let share = cached_share(answers);
        table_rows.push(vec![
            (*name).to_owned(),
            format!("{:.1}%", 100.0 * share),
            format!("{:.1}%", 100.0 * (share - low) / (high - low).max(1e-9)),
            Share::count(answers.iter().map(|answer| answer.ok)).text(),
        ]);
    }
    let source = if options.trace.is_some() {
        "recorded"
    } else {
        "made up"
    };
    table(
        &format!(
            "Stickiness: {} turns of {} conversations, {source}; {} providers without faults",
            turns.len(),
            turns
                .iter()
                .map(|turn| turn.talk)
                .max()
                .map_or(0, |last| last + 1),
            endpoints.len()
        ),
        &table_rows,
    );
    let dead = dead(&asker, options, script, &turns, &endpoints, time).await?;
    Ok(json!({
        "turns": turns.len(),
        "none": low,
        "perfect": high,
        "session_id": cached_share(&named),
        "prefix": cached_share(&unnamed),
        "dead": dead,
    }))
}

/// All providers that serve the model cheaper from their cache, alike and without faults.
fn world(catalog: &Catalog) -> Result<Script> {
    let now = chrono::Utc::now();
    let mut text = format!(
        "[behaviour]\nttft_ms = {{ median = 300, p95 = 500 }}\ncompletion_tokens = {{ median = 40, p95 = 90 }}\n\
         tokens_per_chunk = 8\ncache_s = {}\n",
        300.0 / FASTER
    );
    for endpoint in catalog.endpoints_of(MODEL) {
        let price = endpoint.price_at(now);
        if price.is_some_and(|price| price.cache_read.is_some_and(|read| read < price.prompt)) {
            text += &format!("[provider.{}]\nany_model = true\n", endpoint.provider);
        }
    }
    Ok(Script::from_toml(&text)?.with_speed(SPEED))
}

/// The chance of each endpoint where nothing is known but its price: by the inverse square.
struct Weights(Vec<f64>);

impl Weights {
    fn of(endpoints: &[Endpoint]) -> Self {
        let now = chrono::Utc::now();
        let weight = |endpoint: &Endpoint| {
            let price = endpoint.price_at(now);
            price.map_or(0.0, |price| {
                ((price.prompt + price.completion).max(1) as f64).powi(-2)
            })
        };
        Self(endpoints.iter().map(weight).collect())
    }

    fn draw(&self, seed: u64) -> usize {
        let draw: f64 = SmallRng::seed_from_u64(seed).random();
        let mut left = draw * self.0.iter().sum::<f64>();
        let taken = self.0.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        taken.unwrap_or(0)
    }
}

/// Straight to the providers: each turn anywhere, or each conversation always at the same one.
async fn spread(
    asker: &Asker,
    direct: &Direct,
    endpoints: &[Endpoint],
    weights: &Weights,
    turns: &[Turn],
    sticky: bool,
) -> Vec<Answer> {
    let targets: Vec<Target> = endpoints
        .iter()
        .map(|endpoint| direct.target(endpoint))
        .collect();
    play(turns, |turn| {
        let by = if sticky {
            turn.talk
        } else {
            turn.at.as_nanos() as u64 ^ (turn.talk << 40)
        };
        let (asker, target) = (asker.clone(), targets[weights.draw(by)].clone());
        async move { asker.ask(&target, turn.body(), true).await }
    })
    .await
}

async fn converse(asker: &Asker, target: &Target, turns: &[Turn], named: bool) -> Vec<Answer> {
    play(turns, |turn| {
        let (asker, target) = (asker.clone(), target.clone());
        async move {
            let mut body = turn.body();
            if named {
                body["session_id"] = json!(turn.session());
            }
            asker.ask(&target, body, true).await
        }
    })
    .await
}

/// The provider with the most conversations fails altogether from the middle on.
async fn dead(
    asker: &Asker,
    options: &Options,
    script: Script,
    turns: &[Turn],
    endpoints: &[Endpoint],
    time: Duration,
) -> Result<Value> {
    let routed = routed(script, options.seed, false, MODEL).await?;
    let ledger = Arc::clone(&routed.ledger);
    let dying = async {
        tokio::time::sleep(time / 2).await;
        let busiest = endpoints
            .iter()
            .max_by_key(|endpoint| ledger.served(&endpoint.provider).requests)
            .map(|endpoint| endpoint.provider.clone())
            .unwrap_or_default();
        let before = ledger.served(&busiest).requests;
        let order = json!({ "provider": busiest, "behaviour": { "server_error": 1 } });
        asker.order(&routed.providers, &order).await?;
        anyhow::Ok((busiest, before))
    };
    let (answers, died) = tokio::join!(converse(asker, &routed.target, turns, true), dying);
    let (provider, before) = died?;
    let met = ledger.served(&provider).requests - before;
    let answered = Share::count(answers.iter().map(|answer| answer.ok));
    let attempts = routed.end().await?;
    let attempts = attempts.iter().map(|event| attempts_at(event, &provider));
    let stuck = attempts.filter(|attempts| *attempts > 1).count();
    let rows = vec![
        [
            "requests that met it after its death",
            "requests that tried it twice or more",
            "answered",
        ]
        .map(str::to_owned)
        .to_vec(),
        vec![met.to_string(), stuck.to_string(), answered.text()],
    ];
    table(
        &format!(
            "Death: {provider}, the busiest, fails altogether after {} s",
            time.as_secs() / 2
        ),
        &rows,
    );
    Ok(
        json!({ "provider": provider, "met_after_death": met, "stuck": stuck, "answered": answered.json() }),
    )
}

/// How many of a request's failed attempts were at a provider, the last included.
fn attempts_at(event: &UsageEvent, provider: &str) -> usize {
    let before = event.failed_attempts.iter();
    let before = before.filter(|attempt| attempt.provider == provider);
    let last = event.outcome == "error" && event.provider == provider;
    before.count() + usize::from(last)
}
