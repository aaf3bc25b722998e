//! What is held of the days that no window tells apart gives every board the answers that the days themselves give.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and figures are for people"
)]

use chrono::{DateTime, Days, Utc};
use std::sync::Arc;
use tidemark_catalog::Catalog;
use tidemark_event::{EventId, Micros, UsageEvent};
use tidemark_insight::{Metric, Period, Policy, Ranking, RankingQuery, Rankings, Snapshot, held};
use tidemark_lake::Hot;
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::traffic::event_of;
use tidemark_tests::{Dice, cases};

const DAY_US: i64 = 86_400_000_000;

/// Somewhere within the last 200 days, a third of them within the last nine.
fn event(n: u64, now: i64) -> UsageEvent {
    let mut dice = Dice::new(n);
    let mut event = event_of("windows", 0, n);
    let days = *dice.pick(&[9, 60, 200]);
    event.ts = Micros(now - dice.below(days * DAY_US as u64) as i64);
    event.event_id = EventId::derived(event.ts, b"windows", n);
    event
}

async fn answers(hot: &mut Hot, now: DateTime<Utc>) -> Vec<Ranking> {
    let (version, tables) = hot.refresh_at(now).await.unwrap().unwrap();
    let catalog = Arc::new(Catalog::builtin().unwrap());
    let snapshot = Snapshot::publish(version, &tables, catalog, now, now)
        .await
        .unwrap();
    let policy = Policy {
        min_accounts: 1,
        dominance: 1.0,
        cap_tokens: 5_000,
    };
    let rankings = Rankings::embedded(policy).unwrap();
    let mut answers = Vec::new();
    for board in rankings.names() {
        // The others are sums like tokens.
        for (period, metric) in Period::ALL
            .iter()
            .flat_map(|period| [(*period, Metric::Tokens), (*period, Metric::Capped)])
        {
            let query = RankingQuery {
                period,
                metric,
                now: Some(now),
                ..RankingQuery::of(&board)
            };
            if rankings.check(&query).is_ok() {
                let answer = rankings.answer(&snapshot.context, now, &query).await;
                answers.push(answer.unwrap());
            }
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_held_together_answer_like_days() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = Sizes {
        commit_interval: std::time::Duration::ZERO,
        ..Sizes::default()
    };
    let folder = Folder::open(dir.path(), sizes).await.unwrap();
    let mut worker = folder.worker().unwrap();
    let mut together = Hot::new(folder.lake.clone(), held());
    let clock = Utc::now();
    let mut now = clock;
    let mut asked = 0;
    for round in 0..6_u64 {
        // Rows for old days come all the time, in many files; then files are put together, and days go by.
        let events: Vec<_> = (round * 1_500..(round + 1) * 1_500)
            .map(|n| event(n, clock.timestamp_micros()))
            .collect();
        folder.publish(&events).await.unwrap();
        while worker.step().await.unwrap() {}
        let mut apart = Hot::new(folder.lake.clone(), cases::held());
        let here = answers(&mut together, now).await;
        let there = answers(&mut apart, now).await;
        assert!(here.iter().any(|answer| answer.rows.len() > 3));
        assert_eq!(here, there);
        asked += here.len();
        match round {
            1 | 3 => {
                folder.lake.compact(eager_upkeep()).await.unwrap();
            }
            2 => now = now.checked_add_days(Days::new(1)).unwrap(),
            _ => {}
        }
    }
    eprintln!("{asked} answers alike");
}
