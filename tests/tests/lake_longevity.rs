//! Thousands of commits with compaction and vacuum beside: opening stays quick, readers never fail, nothing is lost.
//!
//! Acceptance: `TIDEMARK_COMMITS=5000 cargo test --release -p tidemark-tests --test lake_longevity -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and figures are for people"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidemark_event::UsageEvent;
use tidemark_lake::{Hot, Lake, Upkeep};
use tidemark_tests::check::compare_rollups;
use tidemark_tests::folder::{Folder, Sizes, open_lake};
use tidemark_tests::{size, traffic};

/// Events per commit.
const ROWS: u64 = 20;
/// Openings per measurement, so far apart that they fall on different distances from a checkpoint.
const OPENINGS: u64 = 5;
const APART: u64 = 20;

async fn opening(dir: &Path) -> f64 {
    let started = Instant::now();
    open_lake(dir, 3).await.unwrap();
    started.elapsed().as_secs_f64() * 1e3
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Refreshes all the time; requests never shrink and are never more than were sent.
async fn read(
    lake: Lake,
    tables: Vec<String>,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> (u64, Vec<String>) {
    let mut hot = Hot::new(lake, tables);
    let (mut refreshes, mut wrong, mut before) = (0, Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        match hot.refresh().await {
            Ok(Some((_, context))) => {
                refreshes += 1;
                let rows = context.sql("SELECT CAST(coalesce(sum(requests), 0) AS BIGINT) AS n FROM accounts_by_day").await.unwrap();
                let batch = rows.collect().await.unwrap().remove(0);
                let n = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(
                    batch.column(0),
                )
                .value(0) as u64;
                if n < before || n > sent.load(Ordering::SeqCst) {
                    wrong.push(format!("a reader saw {n} requests after {before}"));
                }
                before = n;
            }
            Ok(None) => {}
            Err(error) => wrong.push(format!("a reader failed: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    (refreshes, wrong)
}

#[derive(Debug, Default)]
struct Kept {
    compactions: u64,
    merged: usize,
    deleted: usize,
    failures: Vec<String>,
}

/// The one owner of upkeep. Files go as soon as no reader of this test can still want them.
async fn maintain(lake: Lake, stop: Arc<AtomicBool>) -> Kept {
    let upkeep = Upkeep {
        grace: Duration::ZERO,
        open_files: 8,
        settle: Duration::ZERO,
        retention: Duration::from_secs(5),
        ..Upkeep::default()
    };
    let mut kept = Kept::default();
    let mut vacuumed = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(250)).await;
        match lake.compact(upkeep).await {
            Ok(report) => {
                kept.compactions += u64::from(report.files_before > 0);
                kept.merged += report.files_before;
            }
            Err(error) => kept.failures.push(format!("compaction: {error}")),
        }
        if vacuumed.elapsed() > Duration::from_secs(2) {
            vacuumed = Instant::now();
            match lake.vacuum(upkeep).await {
                Ok(report) => kept.deleted += report.deleted,
                Err(error) => kept.failures.push(format!("vacuum: {error}")),
            }
        }
    }
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_grows_old_gracefully() {
    let commits = size("TIDEMARK_COMMITS", 300);
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(
        dir.path(),
        Sizes {
            segment_bytes: 8 << 20,
            ..Sizes::default()
        },
    )
    .await
    .unwrap();
    let mut worker = folder.worker().unwrap();
    let (sent, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let tables = folder
        .pipelines
        .iter()
        .map(|pipeline| pipeline.spec().name.clone())
        .collect();
    let reader = tokio::spawn(read(
        folder.lake.clone(),
        tables,
        Arc::clone(&sent),
        Arc::clone(&stop),
    ));
    let upkeep = tokio::spawn(maintain(folder.lake.clone(), Arc::clone(&stop)));

    let started = Instant::now();
    let mut openings: Vec<(u64, f64)> = Vec::new();
    let (mut slowest, mut of_commits) = (0.0_f64, Vec::new());
    let early = commits / 10;
    let late = commits.saturating_sub((OPENINGS - 1) * APART);
    let mut events: Vec<UsageEvent> = Vec::new();
    for commit in 1..=commits {
        // Some ten minutes pass between commits, so that days end and are closed.
        let batch: Vec<UsageEvent> = (0..ROWS)
            .map(|n| traffic::event(commit * 7 * ROWS + n))
            .collect();
        sent.fetch_add(ROWS, Ordering::SeqCst);
        let from = Instant::now();
        folder.publish(&batch).await.unwrap();
        worker.step().await.unwrap();
        let took = from.elapsed().as_secs_f64() * 1e3;
        slowest = slowest.max(took);
        of_commits.push(took);
        events.extend(batch);
        let turn = |from: u64| (0..OPENINGS).any(|n| commit == from.max(1) + n * APART);
        if turn(early) || turn(late) {
            openings.push((commit, opening(dir.path()).await));
        }
    }
    while worker.step().await.unwrap() {}
    stop.store(true, Ordering::Relaxed);
    let (refreshes, wrong) = reader.await.unwrap();
    let kept = upkeep.await.unwrap();

    let at = |first: u64| {
        median(
            openings
                .iter()
                .filter(|(commit, _)| *commit >= first)
                .take(OPENINGS as usize)
                .map(|(_, ms)| *ms)
                .collect(),
        )
    };
    let (young, old) = (at(early), at(late));
    let files: usize = folder
        .lake
        .tables()
        .map(|table| table.view().files.len())
        .sum();
    let versions: Vec<u64> = folder
        .lake
        .tables()
        .map(|table| table.view().version)
        .collect();
    eprintln!(
        "{commits} commits of {} tables in {:.1} s, median {:.1} ms, slowest {slowest:.1} ms; opening {young:.1} ms at a tenth, {old:.1} ms at the end \
         (ratio {:.2}); {refreshes} refreshes; {} compactions of {} files, {} files deleted, {files} left; versions {versions:?}",
        versions.len(),
        started.elapsed().as_secs_f64(),
        median(of_commits),
        old / young,
        kept.compactions,
        kept.merged,
        kept.deleted,
    );
    eprintln!("openings {openings:?}");

    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(kept.failures.is_empty(), "{:?}", kept.failures);
    assert!(kept.compactions > 0 && refreshes > 0);
    let mut wrong = Vec::new();
    let (lake, pipelines) = open_lake(dir.path(), 3).await.unwrap();
    compare_rollups(&lake, &events, &mut wrong).await.unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(
        tidemark_rollup::verify(&lake, &pipelines, |_, _| {})
            .await
            .unwrap(),
        []
    );
    // A time is judged only in the acceptance run: on a busy machine a short run says nothing about age.
    assert!(
        std::env::var_os("TIDEMARK_COMMITS").is_none() || old <= 2.0 * young,
        "opening took {young:.1} ms at a tenth and {old:.1} ms at the end"
    );
}
