//! Lanes: what sorting by price, latency or throughput brings against always the same provider.

use crate::asker::{Answer, Asker, Target};
use crate::figures::{Share, millis, quantile, table};
use crate::talk::{Turn, cached_share, invented, play};
use crate::world::{PATIENCE, cost, direct, endpoints, routed, troubled};
use crate::{MODEL, Options};
use anyhow::Result;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tidemark_catalog::Catalog;

/// A fixed choice that answers less than this is none.
const BEARABLE: f64 = 0.95;

/// So much of a run is left out of its figures: a router knows nothing at first.
const LEARNING: f64 = 0.25;

/// What the conversations of one way of asking came to.
struct Lane {
    name: String,
    ok: Share,
    /// Dollars for a thousand answers.
    dollars: f64,
    ttft_p50: f64,
    ttft_p99: f64,
    /// Median, tokens a second.
    throughput: f64,
    cached: f64,
}

impl Lane {
    fn of(name: &str, answers: &[Answer], cost: impl Fn(&Answer) -> f64) -> Self {
        let settled = &answers[(answers.len() as f64 * LEARNING) as usize..];
        let answered: Vec<Answer> = settled.iter().filter(|answer| answer.ok).cloned().collect();
        let mut ttft: Vec<f64> = answered.iter().map(|answer| millis(answer.ttft)).collect();
        let mut throughput: Vec<f64> = answered.iter().filter_map(Answer::throughput).collect();
        Self {
            name: name.to_owned(),
            ok: Share::count(settled.iter().map(|answer| answer.ok)),
            dollars: 1_000.0 * answered.iter().map(cost).sum::<f64>()
                / answered.len().max(1) as f64,
            ttft_p50: quantile(&mut ttft, 0.5),
            ttft_p99: quantile(&mut ttft, 0.99),
            throughput: quantile(&mut throughput, 0.5),
            cached: cached_share(&answered),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            format!("{:.1}%", 100.0 * self.ok.value()),
            format!("{:.3}", self.dollars),
            format!("{:.0}", self.ttft_p50),
            format!("{:.0}", self.ttft_p99),
            format!("{:.0}", self.throughput),
            format!("{:.1}%", 100.0 * self.cached),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "answered": self.ok.json(),
            "dollars_per_1000": self.dollars,
            "ttft_p50_ms": self.ttft_p50,
            "ttft_p99_ms": self.ttft_p99,
            "throughput_p50": self.throughput,
            "cached_share": self.cached,
        })
    }
}

pub async fn measure(options: &Options) -> Result<Value> {
    let time = Duration::from_secs(if options.full { 240 } else { 40 });
    let catalog = Catalog::builtin()?;
    let endpoints = endpoints(&catalog, &troubled(), MODEL);
    let asker = Asker::new(PATIENCE);
    let pause = Duration::from_secs(1);
    let (many, few) = (
        invented(4.0, time, pause, options.seed),
        invented(0.5, time, pause, options.seed),
    );

    let by = [None, Some("price"), Some("latency"), Some("throughput")];
    let through = join_all(by.map(|sort| {
        let (asker, many) = (asker.clone(), &many);
        async move {
            let routed = routed(troubled(), options.seed, false, MODEL).await?;
            let answers = converse(&asker, &routed.target, many, sort).await;
            anyhow::Ok((sort.unwrap_or("default"), answers))
        }
    }));
    let direct = direct(troubled(), options.seed).await?;
    let straight = join_all(endpoints.iter().map(|endpoint| {
        let (asker, target) = (asker.clone(), direct.target(endpoint));
        let few = &few;
        async move { converse(&asker, &target, few, None).await }
    }));
    let (through, straight) = tokio::join!(through, straight);

    let mut routed = Vec::new();
    for lane in through {
        let (sort, answers) = lane?;
        let name = format!("router, {sort}");
        routed.push(Lane::of(&name, &answers, |answer| answer.cost));
    }
    let fixed: Vec<Lane> = endpoints
        .iter()
        .zip(&straight)
        .map(|(endpoint, answers)| {
            Lane::of(&endpoint.provider, answers, |answer| cost(endpoint, answer))
        })
        .collect();
    let best = |value: fn(&Lane) -> f64| {
        let bearable = fixed.iter().filter(|lane| lane.ok.value() >= BEARABLE);
        bearable.min_by(|a, b| value(a).total_cmp(&value(b)))
    };
    let best = [
        ("cheapest", best(|lane| lane.dollars)),
        ("first to speak", best(|lane| lane.ttft_p50)),
        ("fastest", best(|lane| -lane.throughput)),
    ];

    let head = [
        "",
        "answered",
        "$ per 1,000",
        "TTFT p50 ms",
        "p99",
        "tokens/s",
        "cached",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(routed.iter().map(Lane::row));
    for (what, lane) in &best {
        if let Some(lane) = lane {
            let mut row = lane.row();
            row[0] = format!("always {} ({what})", lane.name);
            rows.push(row);
        }
    }
    table(
        &format!(
            "Lanes: {} requests each through the router, {} straight to each provider; delays at a tenth",
            many.len(),
            few.len()
        ),
        &rows,
    );
    Ok(json!({
        "routed": routed.iter().map(Lane::json).collect::<Vec<_>>(),
        "best_fixed": best.iter().map(|(what, lane)| json!({ "by": what, "lane": lane.map(Lane::json) })).collect::<Vec<_>>(),
        "fixed": fixed.iter().map(Lane::json).collect::<Vec<_>>(),
    }))
}

async fn converse(
    asker: &Asker,
    target: &Target,
    turns: &[Turn],
    sort: Option<&'static str>,
) -> Vec<Answer> {
    play(turns, |turn| {
        let (asker, target) = (asker.clone(), target.clone());
        async move {
            let mut body = turn.body();
            if let Some(sort) = sort {
                body["provider"] = json!({ "sort": sort });
            }
            asker.ask(&target, body, true).await
        }
    })
    .await
}
