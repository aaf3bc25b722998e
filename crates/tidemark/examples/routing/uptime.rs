//! Uptime: the same faults, straight and through the router.

use crate::asker::{Answer, Asker, Target};
use crate::figures::{Share, table};
use crate::world::{PATIENCE, at_random, direct, endpoints, routed, troubled};
use crate::{MODEL, Options, SPEED};
use anyhow::Result;
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tidemark_catalog::Catalog;

/// The official SDKs try so often.
const TRIES: u32 = 3;

/// And wait this long before the second try, twice as long before the third.
const PAUSE: Duration = Duration::from_millis(500);

/// One client's request: whether the first try was answered, and whether any was.
#[derive(Clone, Copy)]
struct Tried {
    first: bool,
    any: bool,
}

pub async fn measure(options: &Options) -> Result<Value> {
    let time = Duration::from_secs(if options.full { 300 } else { 60 });
    let (rate_routed, rate_each) = (100.0, 5.0);
    let catalog = Catalog::builtin()?;
    let endpoints = endpoints(&catalog, &troubled(), MODEL);
    let asker = Asker::new(PATIENCE);

    // Both worlds begin at the same moment: the incidents are the same, minute by minute.
    let routed = routed(troubled(), options.seed, false, MODEL).await?;
    let direct = direct(troubled(), options.seed).await?;
    let through = at_random(rate_routed, time, options.seed, |number| {
        let (asker, target) = (asker.clone(), routed.target.clone());
        async move { ask(&asker, &target, number).await }
    });
    let straight = join_all(endpoints.iter().enumerate().map(|(index, endpoint)| {
        let (asker, target) = (asker.clone(), direct.target(endpoint));
        at_random(
            rate_each,
            time,
            options.seed + index as u64 + 1,
            move |number| {
                let (asker, target) = (asker.clone(), target.clone());
                async move { insist(&asker, &target, number).await }
            },
        )
    }));
    let (through, straight) = tokio::join!(through, straight);

    let shares: Vec<(&str, Share, Share)> = endpoints
        .iter()
        .zip(&straight)
        .map(|(endpoint, tried)| {
            (
                endpoint.provider.as_str(),
                Share::count(tried.iter().map(|tried| tried.first)),
                Share::count(tried.iter().map(|tried| tried.any)),
            )
        })
        .collect();
    let mean = |share: fn(&(&str, Share, Share)) -> f64| {
        shares.iter().map(share).sum::<f64>() / shares.len().max(1) as f64
    };
    let (mean_first, mean_any) = (mean(|s| s.1.value()), mean(|s| s.2.value()));
    let best = |share: fn(&(&str, Share, Share)) -> f64| {
        let ordered = shares.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
        ordered.copied().unwrap_or_default()
    };
    let (best_first, best_any) = (best(|s| s.1.value()), best(|s| s.2.value()));
    let routed_share = Share::count(through.iter().map(|answer| answer.ok));

    let mut rows = vec![
        ["", "one try", "with two retries of the client"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (provider, first, any) in &shares {
        rows.push(vec![(*provider).to_owned(), first.text(), any.text()]);
    }
    let percent = |value: f64| format!("{:.2}%", 100.0 * value);
    rows.push(vec![
        "mean of the providers".to_owned(),
        percent(mean_first),
        percent(mean_any),
    ]);
    rows.push(vec![
        "best single provider".to_owned(),
        format!("{} {}", percent(best_first.1.value()), best_first.0),
        format!("{} {}", percent(best_any.2.value()), best_any.0),
    ]);
    rows.push(vec!["through the router".to_owned(), routed_share.text()]);
    table(
        &format!(
            "Uptime: answered requests, straight ({} each) and through the router ({}), {} s",
            shares.first().map_or(0, |share| share.1.all),
            routed_share.all,
            time.as_secs()
        ),
        &rows,
    );
    let failures = failures(&through);
    if !failures.is_empty() {
        println!("\n  what failed through the router, by status: {failures:?}");
    }
    Ok(json!({
        "seconds": time.as_secs(),
        "router": routed_share.json(),
        "mean": mean_first,
        "mean_with_retries": mean_any,
        "points_over_mean": 100.0 * (routed_share.value() - mean_first),
        "best": { "provider": best_first.0, "share": best_first.1.json() },
        "best_with_retries": { "provider": best_any.0, "share": best_any.2.json() },
        "router_failures_by_status": failures,
        "providers": shares.iter().map(|(provider, first, any)| json!({
            "provider": provider, "one_try": first.json(), "with_retries": any.json(),
        })).collect::<Vec<_>>(),
    }))
}

async fn ask(asker: &Asker, target: &Target, number: u64) -> Answer {
    let body = json!({ "messages": [{ "role": "user", "content": format!("When is tide number {number}?") }] });
    asker.ask(target, body, number % 2 == 1).await
}

/// Asks as the SDKs do.
async fn insist(asker: &Asker, target: &Target, number: u64) -> Tried {
    let mut first = false;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep((PAUSE * attempt).mul_f64(SPEED)).await;
        }
        let ok = ask(asker, target, number).await.ok;
        first |= ok && attempt == 0;
        if ok {
            return Tried { first, any: true };
        }
    }
    Tried { first, any: false }
}

/// What came instead of answers: a status, 200 where a stream broke, 0 where nothing came in time.
fn failures(answers: &[Answer]) -> BTreeMap<String, u64> {
    let mut failures = BTreeMap::new();
    for answer in answers.iter().filter(|answer| !answer.ok) {
        *failures.entry(answer.status.to_string()).or_default() += 1;
    }
    failures
}
