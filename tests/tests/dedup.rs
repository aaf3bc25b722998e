//! What has been seen is known again, however little of it is held in memory.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail loudly"
)]

use arrow::array::FixedSizeBinaryArray;
use std::time::Duration;
use tidemark_event::UsageEvent;
use tidemark_rollup::dedup::Dedup;
use tidemark_tests::Dice;
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::traffic::{BASE_US, event_of};

fn ids(events: &[UsageEvent]) -> FixedSizeBinaryArray {
    FixedSizeBinaryArray::try_from_iter(events.iter().map(|event| event.event_id.0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lake_remembers_what_memory_forgot() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = Sizes {
        commit_interval: Duration::ZERO,
        max_rows: 3_000,
        ..Sizes::default()
    };
    let folder = Folder::open(dir.path(), sizes).await.unwrap();
    let mut worker = folder.worker().unwrap();
    // Days in which an hour has 150 events, and twenty minutes that have 600 each.
    let busy = |n| event_of("busy", BASE_US, n / 60);
    let sent: Vec<UsageEvent> = (0..24_000)
        .map(|n| match n % 2 {
            0 => event_of("calm", BASE_US, n * 4),
            _ => UsageEvent {
                event_id: tidemark_event::EventId::derived(busy(n).ts, b"busy", n),
                ..busy(n)
            },
        })
        .collect();
    for (nth, some) in sent.chunks(6_000).enumerate() {
        folder.publish(some).await.unwrap();
        while worker.step().await.unwrap() {}
        if nth == 2 {
            folder.lake.compact(eager_upkeep()).await.unwrap();
        }
    }

    // From all in memory, over hours fetched whole, to minutes fetched one by one.
    for capacity in [100_000, 40_000, 2_000] {
        let mut dedup = Dedup::holding(capacity);
        let mut dice = Dice::new(capacity as u64);
        for _ in 0..12 {
            dedup.begin_batch();
            assert!(dedup.held() <= capacity);
            let old: Vec<UsageEvent> = (0..300).map(|_| dice.pick(&sent).clone()).collect();
            dedup.prepare(&ids(&old), &folder.lake).await.unwrap();
            for event in &old {
                assert!(dedup.is_duplicate(&event.event_id.0, u64::MAX));
            }
            let seed = dice.roll();
            let new: Vec<UsageEvent> = (0..300)
                .map(|n| event_of(&format!("new-{seed}"), BASE_US, n * 31))
                .collect();
            dedup.prepare(&ids(&new), &folder.lake).await.unwrap();
            for event in &new {
                assert!(!dedup.is_duplicate(&event.event_id.0, u64::MAX - 1));
                assert!(dedup.is_duplicate(&event.event_id.0, u64::MAX));
            }
        }
    }
}
