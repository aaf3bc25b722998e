//! Whatever dies, is cut off or forgets: every file is in once.

use crate::stage::{Stage, program};
use std::collections::BTreeMap;
use std::time::Duration;
use tidemark_tests::folder::eager_upkeep;
use tidemark_tests::warehouse::{Door, follow, is_wanted};
use tidemark_tests::{Dice, size};
use tidemark_warehouse::{Follower, Server};

/// Steps of the follower at which it is killed, and how often each is passed in a round at least.
const POINTS: [&str; 5] = [
    "warehouse::mid_body",
    "warehouse::before_end",
    "warehouse::after_insert",
    "warehouse::before_ledger",
    "warehouse::after_ledger",
];
/// Those of loading a day as a whole.
const DAY_POINTS: [&str; 2] = ["warehouse::before_replace", "warehouse::after_replace"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_is_in_once_whatever_dies() {
    if !is_wanted() {
        eprintln!("skipped: Python with venv does not run here");
        return;
    }
    let (kills, cuts) = (
        size("TIDEMARK_WAREHOUSE_KILLS", 2),
        size("TIDEMARK_WAREHOUSE_CUTS", 4),
    );
    let mut dice = Dice::new(7);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);

    for point in POINTS {
        for _ in 0..kills {
            stage.grow(&mut dice).await;
            // At least nine files are new: one for each table.
            let skip = if point.ends_with("ledger") { 5 } else { 7 };
            let died = stage.passes(&format!("{point}={}*off->return", dice.below(skip)));
            assert!(!died.success(), "{point} did not fire");
        }
        assert_eq!(stage.differences().await, [""; 0], "after {point}");
    }
    for point in DAY_POINTS {
        for _ in 0..kills {
            stage.grow(&mut dice).await;
            // Without its ledger every day has to be loaded again.
            stage.engine.ask("TRUNCATE TABLE lake_files").unwrap();
            let died = stage.passes(&format!("{point}={}*off->return", dice.below(9)));
            assert!(!died.success(), "{point} did not fire");
        }
        assert_eq!(stage.differences().await, [""; 0], "after {point}");
    }

    let door = Door::to(&stage.engine).unwrap();
    for nth in 0..cuts {
        stage.grow(&mut dice).await;
        // From the first byte of a file to beyond several.
        door.cut_after((nth * 1_777) as i64 % 40_000);
        let died = follow(program(), &stage.data(), &door.settings(), "").unwrap();
        assert!(!died.success(), "cut {nth} was not noticed");
    }
    assert_eq!(door.cuts(), cuts, "each cut happened");
    assert_eq!(stage.differences().await, [""; 0], "after cuts");

    // The engine dies while it is written to, and is away while the lake grows.
    for nth in 0..kills {
        stage.grow(&mut dice).await;
        let (data, settings) = (stage.data(), stage.engine.settings());
        let following = std::thread::spawn(move || {
            follow(program(), &data, &settings, "").unwrap();
        });
        std::thread::sleep(Duration::from_millis(150 + 90 * nth % 700));
        stage.engine.kill().unwrap();
        following.join().unwrap();
        stage.grow(&mut dice).await;
        assert!(!stage.passes("").success(), "nobody answers");
        stage.engine.again().unwrap();
    }
    assert_eq!(stage.differences().await, [""; 0], "after the engine died");
    eprintln!(
        "{} kills of the follower, {cuts} cuts, {kills} kills of the engine: {} events exactly once in lake and ClickHouse",
        kills * (POINTS.len() + DAY_POINTS.len()) as u64,
        stage.sent.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_forgot_is_loaded_by_days() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(11);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);
    for _ in 0..6 {
        stage.grow(&mut dice).await;
    }
    stage.folder.lake.compact(eager_upkeep()).await.unwrap();
    // The log's entries go, as upkeep lets them after their time, and so do files that were put together.
    for table in stage.folder.lake.tables() {
        let log = stage
            .data()
            .join("lake")
            .join(&table.spec().name)
            .join("_delta_log");
        let newest = table.view().version;
        for version in 0..newest {
            std::fs::remove_file(log.join(format!("{version:020}.json"))).ok();
        }
    }
    let server = Server::new(&stage.engine.settings()).unwrap();
    let mut follower = Follower::start(server, stage.folder.lake.clone())
        .await
        .unwrap();
    let report = follower.pass().await.unwrap();
    assert!(report.days > 0, "{report:?}");
    let again = follower.pass().await.unwrap();
    assert_eq!((again.files, again.days), (0, 0), "nothing is new");
    let mut wrong = Vec::new();
    stage.compare_events(&mut wrong);
    assert_eq!(wrong, [""; 0]);

    // A rebuild puts each day in its place; what was there twice is there once.
    stage
        .engine
        .ask("INSERT INTO raw_events SELECT * FROM raw_events LIMIT 10")
        .unwrap();
    stage.compare_events(&mut wrong);
    assert!(!wrong.is_empty(), "ten rows too many are noticed");
    let mut days = 0;
    follower.rebuild("raw_events", |_| days += 1).await.unwrap();
    wrong.clear();
    stage.compare_events(&mut wrong);
    assert_eq!(wrong, [""; 0]);
    assert!(days > 1);
}

/// An insert that comes again is told by its token, and beyond the window of tokens by the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_sent_again_counts_once() {
    if !is_wanted() {
        return;
    }
    let mut dice = Dice::new(23);
    let mut stage = Stage::set().await;
    stage.grow(&mut dice).await;
    assert_eq!(stage.differences().await, [""; 0]);

    // Rows are in, their line is not: the next pass sends them again. Three times, then once for good.
    let told = "SELECT coalesce(sum(value), 0) FROM system.events WHERE event = 'DuplicatedInsertedBlocks'";
    stage.grow(&mut dice).await;
    for _ in 0..3 {
        assert!(!stage.passes("warehouse::after_insert=return").success());
    }
    assert_eq!(stage.differences().await, [""; 0]);
    // The engine counts a block more than once on its way.
    let told: u64 = stage.engine.ask(told).unwrap().trim().parse().unwrap();
    assert!(told >= 3 && told.is_multiple_of(3), "{told} by their token");

    // One token is remembered, and many files come after it: none is sent again though nobody would notice that it was.
    stage
        .engine
        .ask("ALTER TABLE raw_events MODIFY SETTING non_replicated_deduplication_window = 1")
        .unwrap();
    for _ in 0..4 {
        stage.grow(&mut dice).await;
        assert_eq!(stage.differences().await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_bugs_are_caught() {
    if !is_wanted() {
        return;
    }
    let bugs = [
        (
            "bug::fresh_token=return",
            "warehouse::after_insert=3*off->return",
        ),
        (
            "bug::ledger_early=return",
            "warehouse::mid_body=3*off->return",
        ),
        ("bug::rearranged_is_new=return", ""),
    ];
    let mut caught = BTreeMap::new();
    for (bug, death) in bugs {
        let mut dice = Dice::new(3);
        let mut stage = Stage::set().await;
        stage.grow(&mut dice).await;
        assert_eq!(stage.differences().await, [""; 0]);
        for _ in 0..3 {
            stage.grow(&mut dice).await;
            stage.folder.lake.compact(eager_upkeep()).await.unwrap();
            stage.passes(&format!("{bug};{death}"));
        }
        caught.insert(bug, stage.differences().await.len());
    }
    assert!(
        caught.values().all(|differences| *differences > 0),
        "{caught:?}"
    );
}
