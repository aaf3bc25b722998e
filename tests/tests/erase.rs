//! An account is taken out: its rows and nothing else, and what is left still adds up, whatever happens meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tidemark_event::UsageEvent;
use tidemark_lake::{EVENTS, Erased, Lake, LakeError, Merge};
use tidemark_rollup::{ACCOUNT, Pipeline, Worker, erase, survey, verify};
use tidemark_tests::folder::{Folder, PlainRow, Sizes, eager_upkeep, open_lake, rows};
use tidemark_tests::traffic::{BASE_US, event_of};

const WHO: &str = "account-7";
/// Two days and a half: an event every three seconds.
const EVENTS_SENT: u64 = 72_000;

struct Stage {
    dir: tempfile::TempDir,
    folder: Folder,
    worker: Worker,
    sent: Vec<UsageEvent>,
}

impl Stage {
    async fn set(every: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sizes = Sizes {
            commit_interval: Duration::ZERO,
            ..Sizes::default()
        };
        let folder = Folder::open(dir.path(), sizes).await.unwrap();
        let worker = folder.worker().unwrap();
        let mut stage = Self {
            dir,
            folder,
            worker,
            sent: Vec::new(),
        };
        let events = (0..EVENTS_SENT / every).map(|n| event_of("erase", BASE_US, n * every));
        stage.take_in(events.collect()).await;
        stage.folder.lake.compact(eager_upkeep()).await.unwrap();
        stage
    }

    async fn take_in(&mut self, events: Vec<UsageEvent>) {
        self.folder.publish(&events).await.unwrap();
        while self.worker.step().await.unwrap() {}
        self.sent.extend(events);
    }

    fn of(&self, who: &str) -> Vec<&UsageEvent> {
        self.sent.iter().filter(|e| e.account_id == who).collect()
    }

    async fn verify(&self) -> Vec<String> {
        differences(&self.folder.lake, &self.folder.pipelines).await
    }

    /// Every rollup that has no row per account, merged.
    async fn sums(&self) -> Vec<String> {
        let mut all = Vec::new();
        for pipeline in &self.folder.pipelines {
            let table = self.folder.lake.table(&pipeline.spec().name).unwrap();
            let Merge::ByKey { keys, .. } = &table.spec().merge else {
                continue;
            };
            if keys.iter().any(|key| key == ACCOUNT) {
                continue;
            }
            let mut partials = Vec::new();
            for day in table.days() {
                partials.extend(table.read_day(&day).await.unwrap());
            }
            all.push(format!("{:?}", table.merge_rows(partials).await.unwrap()));
        }
        all
    }
}

async fn differences(lake: &Lake, pipelines: &[Pipeline]) -> Vec<String> {
    let found = verify(lake, pipelines, |_, _| {}).await.unwrap();
    found.iter().map(|d| format!("{d:?}")).collect()
}

fn hex(event: &UsageEvent) -> String {
    tidemark_tests::check::hex(event)
}

/// Accounts of the raw events, by id; accounts by day with requests and tokens.
async fn stored(lake: &Lake) -> (BTreeSet<String>, Vec<PlainRow>) {
    let raw = rows(lake.table(EVENTS).unwrap(), &["event_id"], &[]);
    let ids = raw
        .await
        .unwrap()
        .into_iter()
        .map(|(mut id, _)| id.remove(0));
    let by_day = lake.table("accounts_by_day").unwrap();
    let numbers = ["requests", "prompt_tokens", "cost_nanousd"];
    let by_day = rows(by_day, &[ACCOUNT], &numbers).await.unwrap();
    (ids.collect(), by_day)
}

fn total(rows: &[PlainRow], who: impl Fn(&str) -> bool) -> [i64; 3] {
    let mut sums = [0; 3];
    for (texts, numbers) in rows.iter().filter(|(texts, _)| who(&texts[0])) {
        assert!(!texts[0].is_empty());
        sums.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n);
    }
    sums
}

fn sums_of<'a>(events: impl Iterator<Item = &'a UsageEvent>) -> [i64; 3] {
    events.fold([0; 3], |[requests, tokens, cost], event| {
        [
            requests + 1,
            tokens + event.prompt_tokens,
            cost + event.cost_nanousd,
        ]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_goes_and_the_rest_still_adds_up() {
    let mut stage = Stage::set(10).await;
    let before = stage.sums().await;
    let hers = sums_of(stage.of(WHO).into_iter());
    assert!(hers[0] > 50, "{hers:?}");

    let (lake, pipelines) = (stage.folder.lake.clone(), stage.folder.pipelines.clone());
    let found = survey(&lake, &pipelines, WHO, |_, _| {}).await.unwrap();
    assert_eq!(found.rows[EVENTS], hers[0]);
    assert_eq!(stage.verify().await, [""; 0], "a survey changes nothing");
    let gone = erase(&lake, &pipelines, WHO, |_, _| {}).await.unwrap();
    assert_eq!((&gone.rows, &gone.stays), (&found.rows, &found.stays));
    assert!(gone.days.len() > 2 && !gone.in_use, "{gone:?}");
    let stays = |rollup: &str, measure: &str| {
        *gone
            .stays
            .get(&(rollup.to_owned(), measure.to_owned()))
            .unwrap_or(&0)
    };
    let remains = ["requests", "prompt_tokens", "cost_nanousd"].map(|m| stays("models_by_hour", m));
    assert_eq!(remains, hers);

    // By plain code over what was sent: her rows are gone, and no others.
    let (ids, by_day) = stored(&lake).await;
    let left = || stage.sent.iter().filter(|event| event.account_id != WHO);
    assert_eq!(ids, left().map(hex).collect());
    assert_eq!(total(&by_day, |who| who == WHO), [0; 3]);
    assert_eq!(total(&by_day, |_| true), sums_of(left()));
    assert_eq!(stage.sums().await, before, "sums stay");
    assert_eq!(stage.verify().await, [""; 0]);

    // What she had sent is not counted again.
    let again: Vec<UsageEvent> = stage.of(WHO).into_iter().cloned().collect();
    stage.folder.publish(&again).await.unwrap();
    // A worker that remembers nothing: the lake has to know.
    stage.worker = stage.folder.worker().unwrap();
    while stage.worker.step().await.unwrap() {}
    assert_eq!(stored(&lake).await.0, ids);
    assert_eq!(stage.sums().await, before);
    assert_eq!(stage.verify().await, [""; 0]);

    // Life goes on, on the same days, and another one goes.
    let more = (0..3_000).map(|n| event_of("erase", BASE_US, n * 24 + 1));
    stage.take_in(more.collect()).await;
    lake.compact(eager_upkeep()).await.unwrap();
    assert_eq!(stage.verify().await, [""; 0]);
    let gone = erase(&lake, &pipelines, "account-8", |_, _| {})
        .await
        .unwrap();
    assert_eq!(gone.rows[EVENTS], stage.of("account-8").len() as i64);
    lake.compact(eager_upkeep()).await.unwrap();
    assert_eq!(stage.verify().await, [""; 0]);
    let nobody = erase(&lake, &pipelines, "account-8", |_, _| {})
        .await
        .unwrap();
    assert!(
        nobody.rows.is_empty() && nobody.days.is_empty(),
        "{nobody:?}"
    );

    // Two processes see the same.
    let (other, _) = open_lake(stage.dir.path(), 3).await.unwrap();
    assert_eq!(differences(&other, &pipelines).await, [""; 0]);
    assert_eq!(stored(&other).await, stored(&lake).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_between_the_book_and_the_rows_is_made_good() {
    let stage = Stage::set(20).await;
    let (lake, pipelines) = (stage.folder.lake.clone(), &stage.folder.pipelines);
    let day = lake.table(EVENTS).unwrap().days().into_iter().nth(1);
    let day = day.unwrap();
    let raw = lake.table(EVENTS).unwrap();
    // As a killed process leaves it: booked, and still there.
    let found = survey(&lake, pipelines, WHO, |_, _| {}).await.unwrap();
    let rows = raw.find(&day, ACCOUNT, WHO).await.unwrap();
    let mut events = Vec::new();
    for event in stage.of(WHO) {
        let date = chrono::DateTime::from_timestamp_micros(event.ts.0).unwrap();
        if date.date_naive().to_string() == day {
            events.push((event.event_id.0.to_vec(), 0, 0));
        }
    }
    assert_eq!(events.len() as i64, rows.len());
    let mut sums = std::collections::BTreeMap::new();
    for pipeline in pipelines {
        let spec = pipeline.spec();
        let Merge::ByKey { keys, values } = &spec.merge else {
            continue;
        };
        if keys.iter().any(|key| key == ACCOUNT) {
            continue;
        }
        for batch in pipeline.run(&rows.rows).await.unwrap() {
            for (name, how) in values {
                let column = batch.column_by_name(name).unwrap();
                let sum = match how {
                    tidemark_lake::MergeFn::Sum => number(column),
                    tidemark_lake::MergeFn::Histogram => samples(column),
                    _ => continue,
                };
                *sums.entry((spec.name.clone(), name.clone())).or_default() += sum;
            }
        }
    }
    let booked = Erased { events, sums };
    lake.book_erased(&day, &booked).await.unwrap();
    assert!(
        !stage.verify().await.is_empty(),
        "half done is a difference"
    );

    let gone = erase(&lake, pipelines, WHO, |_, _| {}).await.unwrap();
    assert_eq!(gone.rows, found.rows);
    assert_eq!(stage.verify().await, [""; 0], "nothing is booked twice");
}

fn number(column: &dyn arrow::array::Array) -> i64 {
    use arrow::array::AsArray;
    let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).unwrap();
    arrow::compute::sum(column.as_primitive::<arrow::datatypes::Int64Type>()).unwrap_or(0)
}

fn samples(column: &dyn arrow::array::Array) -> i64 {
    use arrow::array::AsArray;
    number(column.as_map().values())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_still_sees_what_is_lost_on_such_a_day() {
    let stage = Stage::set(20).await;
    let (lake, pipelines) = (stage.folder.lake.clone(), &stage.folder.pipelines);
    erase(&lake, pipelines, WHO, |_, _| {}).await.unwrap();
    assert_eq!(stage.verify().await, [""; 0]);
    // A row of somebody else's goes without being booked.
    let raw = lake.table(EVENTS).unwrap();
    let mut gone = 0;
    for day in raw.days() {
        let found = raw.find(&day, "request_id", "req-24000").await.unwrap();
        raw.remove(&found).await.unwrap();
        gone += found.len();
    }
    assert_eq!(gone, 1);
    let differences = stage.verify().await.join("\n");
    for table in ["models_by_hour", "accounts_by_day", "intake"] {
        assert!(differences.contains(table), "{differences}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_beside_a_worker_and_its_upkeep() {
    let mut stage = Stage::set(30).await;
    let dir = stage.dir.path().to_owned();
    let erasing = tokio::spawn(async move { erase_beside(&dir).await });
    let mut n = 0;
    while !erasing.is_finished() {
        let more = (0..200).map(|at| event_of("beside", BASE_US, 5 * (n + at)));
        // Hers arrive no more.
        let more = more.filter(|event| event.account_id != WHO).collect();
        stage.take_in(more).await;
        // Files that the erasure has just written anew are put together the next time.
        match stage.folder.lake.compact(eager_upkeep()).await {
            Ok(_) | Err(LakeError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        n += 200;
    }
    let gone = erasing.await.unwrap();
    assert_eq!(gone, stage.of(WHO).len() as i64);
    stage.folder.lake.reload().await.unwrap();
    assert_eq!(stage.verify().await, [""; 0]);
    let (ids, by_day) = stored(&stage.folder.lake).await;
    let left = || stage.sent.iter().filter(|event| event.account_id != WHO);
    assert_eq!(ids, left().map(hex).collect());
    assert_eq!(total(&by_day, |_| true), sums_of(left()));
}

/// As another process does it, with a lake of its own.
async fn erase_beside(dir: &Path) -> i64 {
    let (lake, pipelines) = open_lake(dir, 3).await.unwrap();
    let gone = erase(&lake, &pipelines, WHO, |_, _| {}).await.unwrap();
    gone.rows[EVENTS]
}
