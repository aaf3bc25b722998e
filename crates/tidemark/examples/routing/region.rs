//! A region of one provider becomes slow, and heals: who still meets it, and for how long.

use crate::asker::Asker;
use crate::figures::table;
use crate::world::{PATIENCE, at_random, routed};
use crate::{MODEL, Options, SPEED};
use anyhow::Result;
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_sim::providers::{Ledger, Script};

/// Three providers that ask the same price, in eight regions; one region is the first to speak.
const SCRIPT: &str = r#"
[behaviour]
ttft_ms = { median = 400, p95 = 600 }
tokens_per_second = 100
tokens_per_chunk = 8
completion_tokens = { median = 60, p95 = 120 }
[provider.groq]
any_model = true
regions = ["us-east", "us-west", "eu-north"]
[provider.groq.region.us-east]
ttft_ms = { median = 200, p95 = 300 }
[provider.together]
any_model = true
regions = ["us-east", "us-west", "eu-north"]
[provider.fireworks]
any_model = true
regions = ["us-east", "eu-west"]
"#;

/// The region that becomes slow.
const PROVIDER: &str = "groq";
const REGION: &str = "us-east";

/// So many times as slow.
const SLOWDOWN: f64 = 20.0;

const RATE: f64 = 50.0;
const LOOK: Duration = Duration::from_millis(100);

/// Looks in the second over which a share is taken.
const WINDOW: usize = 10;

/// Requests so far: at the region, and at all.
type Look = (u64, u64);

pub async fn measure(options: &Options) -> Result<Value> {
    let phases: [u64; 3] = if options.full {
        [60, 120, 180]
    } else {
        [20, 20, 30]
    };
    let ways = [
        ("default", json!({})),
        ("sort by latency", json!({ "sort": "latency" })),
        (
            "latency below 1 s preferred",
            json!({ "preferred_max_latency": 1.0 * SPEED }),
        ),
    ];
    let measured = join_all(ways.map(|(name, provider)| async move {
        let looks = watch(options.seed, provider, phases).await?;
        anyhow::Ok((name, looks))
    }))
    .await;
    let mut results = Vec::new();
    let head = [
        "",
        "share before",
        "avoided after",
        "share while slow",
        "once avoided",
        "back after",
        "share at the end",
        "switches",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for way in measured {
        let (name, looks) = way?;
        let seen = Seen::of(&looks, phases);
        rows.push(seen.row(name));
        results.push(seen.json(name));
    }
    table(
        &format!(
            "Region: {PROVIDER} in {REGION} is {SLOWDOWN} times as slow from {} s to {} s; {RATE} requests a second of other users",
            phases[0],
            phases[0] + phases[1]
        ),
        &rows,
    );
    Ok(json!({ "phases_s": phases, "slowdown": SLOWDOWN, "ways": results }))
}

/// Runs the three phases and looks at the providers' books all the while.
async fn watch(seed: u64, provider: Value, phases: [u64; 3]) -> Result<Vec<Look>> {
    let script = Script::from_toml(SCRIPT)?.with_speed(SPEED);
    let routed = routed(script, seed, true, MODEL).await?;
    let asker = Asker::new(PATIENCE);
    let all = Duration::from_secs(phases.iter().sum());
    let asking = at_random(RATE, all, seed, |number| {
        let (asker, target) = (asker.clone(), routed.target.clone());
        let body = json!({
            "messages": [{ "role": "user", "content": format!("When is tide number {number}?") }],
            "provider": provider,
        });
        async move { asker.ask(&target, body, true).await }
    });
    let ledger = Arc::clone(&routed.ledger);
    let looking = look(&ledger, all);
    let turning = async {
        for (wait, slowdown) in [(phases[0], SLOWDOWN), (phases[1], 1.0)] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let order = json!({ "provider": PROVIDER, "region": REGION, "behaviour": { "slowdown": slowdown } });
            asker.order(&routed.providers, &order).await?;
        }
        anyhow::Ok(())
    };
    let (_, looks, turned) = tokio::join!(asking, looking, turning);
    turned?;
    Ok(looks)
}

async fn look(ledger: &Ledger, time: Duration) -> Vec<Look> {
    let (began, mut looks) = (Instant::now(), Vec::new());
    let mut every = tokio::time::interval(LOOK);
    while began.elapsed() < time {
        every.tick().await;
        looks.push((
            ledger.served_in(PROVIDER, REGION).requests,
            ledger.total().requests,
        ));
    }
    looks
}

/// What the looks say.
struct Seen {
    before: f64,
    avoided_after: Option<f64>,
    slow: f64,
    once_avoided: Option<f64>,
    back_after: Option<f64>,
    end: f64,
    switches: u32,
}

impl Seen {
    fn of(looks: &[Look], phases: [u64; 3]) -> Self {
        let per_second = 1_000 / LOOK.as_millis() as usize;
        let slow_at = phases[0] as usize * per_second;
        let healed_at = slow_at + phases[1] as usize * per_second;
        let share = |from: usize, to: usize| -> f64 {
            let last = looks.len().saturating_sub(1);
            let (Some(a), Some(b)) = (looks.get(from), looks.get(to.min(last))) else {
                return 0.0;
            };
            b.0.saturating_sub(a.0) as f64 / b.1.saturating_sub(a.1).max(1) as f64
        };
        // The first half teaches the router who is who.
        let before = share(slow_at / 2, slow_at);
        let (out, back) = (before / 10.0, before / 2.0);
        let first = |from: usize, to: usize, holds: &dyn Fn(f64) -> bool| {
            (from..to.saturating_sub(WINDOW)).find(|at| holds(share(*at, at + WINDOW)))
        };
        let seconds = |looks: usize| looks as f64 / per_second as f64;
        let avoided = first(slow_at, healed_at, &|share| share <= out);
        let returned = first(healed_at, looks.len(), &|share| share >= back);
        let (mut inside, mut switches) = (true, 0);
        for at in slow_at..looks.len().saturating_sub(WINDOW) {
            let now = share(at, at + WINDOW);
            if (inside && now <= out) || (!inside && now >= back) {
                inside = !inside;
                switches += 1;
            }
        }
        Self {
            before,
            avoided_after: avoided.map(|at| seconds(at - slow_at)),
            slow: share(slow_at, healed_at),
            once_avoided: avoided.map(|at| share(at, healed_at)),
            back_after: returned.map(|at| seconds(at - healed_at)),
            end: share(looks.len().saturating_sub(5 * per_second), looks.len()),
            switches,
        }
    }

    fn row(&self, name: &str) -> Vec<String> {
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let time = |time: Option<f64>| time.map_or("never".to_owned(), |s| format!("{s:.1} s"));
        vec![
            name.to_owned(),
            percent(self.before),
            time(self.avoided_after),
            percent(self.slow),
            self.once_avoided.map_or("-".to_owned(), percent),
            time(self.back_after),
            percent(self.end),
            self.switches.to_string(),
        ]
    }

    fn json(&self, name: &str) -> Value {
        json!({
            "way": name,
            "share_before": self.before,
            "avoided_after_s": self.avoided_after,
            "share_while_slow": self.slow,
            "share_once_avoided": self.once_avoided,
            "back_after_s": self.back_after,
            "share_at_end": self.end,
            "switches": self.switches,
        })
    }
}
