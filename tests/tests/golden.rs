//! The same rankings, byte for byte, however the events came in.
//!
//! `UPDATE_CASES=1 cargo test --release -p tidemark-tests --test golden` writes `pipelines/cases` anew. Every answer is
//! compared with a plain Rust computation over the same events, also while updating.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tidemark_event::UsageEvent;
use tidemark_insight::{Rankings, register_catalog_rows};
use tidemark_lake::Hot;
use tidemark_rollup::Worker;
use tidemark_tests::check::compare_rollups;
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::{Dice, cases, oracle};

/// Text of every board's answers.
type Answers = BTreeMap<String, String>;

async fn open(dir: &Path) -> (Folder, Worker) {
    let folder = Folder::open(
        dir,
        Sizes {
            commit_interval: Duration::ZERO,
            ..Sizes::default()
        },
    )
    .await
    .unwrap();
    let worker = folder.worker().unwrap();
    (folder, worker)
}

async fn take_in(folder: &Folder, worker: &mut Worker, events: &[UsageEvent]) {
    folder.publish(events).await.unwrap();
    while worker.step().await.unwrap() {}
}

fn hot(folder: &Folder) -> Hot {
    Hot::new(folder.lake.clone(), cases::held())
}

/// Asks every question of every board; each answer must also be the oracle's.
async fn answers(hot: &mut Hot, events: &[UsageEvent]) -> Answers {
    let (_, context) = hot.refresh().await.unwrap().unwrap();
    register_catalog_rows(
        &context,
        cases::models(),
        cases::authors(),
        cases::providers(),
    )
    .unwrap();
    let rankings = Rankings::embedded(cases::policy()).unwrap();
    let mut out = Answers::new();
    for board in rankings.names() {
        let mut texts = Vec::new();
        for query in cases::questions(&rankings, &board) {
            let answer = rankings
                .answer(&context, cases::now(), &query)
                .await
                .unwrap();
            if let Some((lines, totals)) =
                oracle::answer(events, &query, &cases::policy(), &cases::models())
            {
                assert_eq!(oracle::lines(&answer), lines, "{query:?}");
                let t = answer.totals;
                assert_eq!(
                    [t.tokens, t.requests, t.spend_nanousd, t.accounts],
                    totals,
                    "{query:?}"
                );
            }
            texts.push(cases::text(&query, &answer).unwrap());
        }
        out.insert(board, format!("[\n{}\n]\n", texts.join(",\n")));
    }
    out
}

/// Ends a way of taking events in: rollups summed by hand, the lake against itself, and the answers.
async fn finish(
    what: &str,
    folder: &Folder,
    hot: &mut Hot,
    events: &[UsageEvent],
) -> (String, Answers) {
    let mut wrong = Vec::new();
    compare_rollups(&folder.lake, events, &mut wrong)
        .await
        .unwrap();
    for difference in tidemark_rollup::verify(&folder.lake, &folder.pipelines, |_, _| {})
        .await
        .unwrap()
    {
        wrong.push(format!("{difference:?}"));
    }
    assert!(wrong.is_empty(), "{what}: {}", wrong.join("\n"));
    (what.to_owned(), answers(hot, events).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rankings_do_not_depend_on_how_events_came_in() {
    let made = cases::two_days();
    let input = cases::folder().join("two_days.ndjson");
    if cases::update() {
        std::fs::create_dir_all(cases::folder().join("expected")).unwrap();
        std::fs::write(
            &input,
            made.iter()
                .map(|event| cases::line(event).unwrap())
                .collect::<String>(),
        )
        .unwrap();
    }
    let events = cases::read("two_days").unwrap();
    assert!(
        events == made,
        "{} is not what its generator makes: run with UPDATE_CASES=1 and review",
        input.display()
    );

    let mut ways = Vec::new();
    let dirs: Vec<tempfile::TempDir> = (0..8).map(|_| tempfile::tempdir().unwrap()).collect();

    let (folder, mut worker) = open(dirs[0].path()).await;
    take_in(&folder, &mut worker, &events).await;
    ways.push(finish("whole", &folder, &mut hot(&folder), &events).await);

    for seed in [1, 2] {
        let mut dice = Dice::new(seed);
        let (folder, mut worker) = open(dirs[seed as usize].path()).await;
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (part, more) = rest.split_at((1 + dice.below(60) as usize).min(rest.len()));
            take_in(&folder, &mut worker, part).await;
            rest = more;
        }
        ways.push(
            finish(
                &format!("split {seed}"),
                &folder,
                &mut hot(&folder),
                &events,
            )
            .await,
        );
    }

    let (folder, mut worker) = open(dirs[3].path()).await;
    let mut shuffled = events.clone();
    Dice::new(3).shuffle(&mut shuffled);
    for part in shuffled.chunks(50) {
        take_in(&folder, &mut worker, part).await;
    }
    ways.push(
        finish(
            "shuffled over 48 hours",
            &folder,
            &mut hot(&folder),
            &events,
        )
        .await,
    );

    let (folder, mut worker) = open(dirs[4].path()).await;
    for part in events.chunks(90).chain(shuffled.chunks(70)) {
        take_in(&folder, &mut worker, part).await;
    }
    let counts = worker.tally().borrow().counts;
    assert_eq!(
        (counts.accepted, counts.duplicates),
        (events.len() as u64, events.len() as u64)
    );
    ways.push(finish("replayed twice", &folder, &mut hot(&folder), &events).await);

    let (folder, mut worker) = open(dirs[5].path()).await;
    let (before, after) = events.split_at(170);
    take_in(&folder, &mut worker, before).await;
    // Durable, but not taken in when it stops.
    folder.publish(&after[..90]).await.unwrap();
    drop((worker, folder));
    let (folder, mut worker) = open(dirs[5].path()).await;
    // The client was not told, and sends again.
    take_in(&folder, &mut worker, &after[60..]).await;
    ways.push(finish("stopped and resumed", &folder, &mut hot(&folder), &events).await);

    let (folder, mut worker) = open(dirs[6].path()).await;
    for part in shuffled.chunks(20) {
        take_in(&folder, &mut worker, part).await;
    }
    let mut kept = hot(&folder);
    ways.push(finish("before compaction", &folder, &mut kept, &events).await);
    let report = folder.lake.compact(eager_upkeep()).await.unwrap();
    assert!(
        report.files_after < report.files_before && report.rows_after < report.rows_before,
        "{report:?}"
    );
    ways.push(finish("after compaction", &folder, &mut kept, &events).await);
    ways.push(
        finish(
            "after compaction, opened anew",
            &folder,
            &mut hot(&folder),
            &events,
        )
        .await,
    );

    // A refresh after every commit, compaction in the middle of the traffic.
    let (folder, mut worker) = open(dirs[7].path()).await;
    let mut kept = hot(&folder);
    for (nth, part) in events.chunks(40).enumerate() {
        take_in(&folder, &mut worker, part).await;
        if nth % 3 == 2 {
            folder.lake.compact(eager_upkeep()).await.unwrap();
        }
        if nth % 2 == 0 {
            kept.refresh().await.unwrap();
        }
    }
    ways.push(finish("followed while compacted", &folder, &mut kept, &events).await);

    let (_, first) = &ways[0];
    for (what, answers) in &ways {
        for (board, text) in answers {
            assert_eq!(text, &first[board], "{board}, {what}");
        }
    }
    for (board, text) in first {
        let path = cases::folder().join(format!("expected/two_days.{board}.json"));
        if cases::update() {
            std::fs::write(&path, text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        let _: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(
            *text == expected,
            "{} differs from what {board} answers now: run with UPDATE_CASES=1 and review the difference",
            path.display()
        );
    }
}
