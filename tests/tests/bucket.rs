//! The lake in a bucket: a real object store that speaks S3, and several who write to it at once.
//!
//! Workers as processes that die and sleep, with their lake in a bucket, are in `kafka`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and says what it skips"
)]

use std::time::{Duration, Instant};
use tidemark_bus::{Journal, JournalOptions};
use tidemark_event::wire;
use tidemark_lake::{EVENTS, Log, Place};
use tidemark_rollup::{Worker, WorkerOptions, open_lake};
use tidemark_tests::bucket::{Store, is_wanted, place};
use tidemark_tests::check::{Book, check_lake};
use tidemark_tests::folder::eager_upkeep;
use tidemark_tests::traffic;

fn left_out() -> bool {
    let out = !is_wanted();
    if out {
        eprintln!("left out: Go or curl is missing");
    }
    out
}

fn journal(dir: &std::path::Path) -> Journal {
    let options = JournalOptions {
        partitions: 2,
        ..JournalOptions::default()
    };
    Journal::open(&dir.join("journal"), options).unwrap()
}

fn ends(journal: &Journal) -> Vec<u64> {
    let partitions = 0..journal.partitions();
    partitions
        .map(|partition| journal.end_offset(partition))
        .collect()
}

fn publish(journal: &Journal, book: &mut Book, nth: u64) {
    let writer = wire::Writer::new().unwrap();
    let records = traffic::group(nth).into_iter().map(|message| {
        let (key, bytes) = traffic::record(&writer, message);
        (journal.partition_for(&key), bytes)
    });
    book.note(&format!("sent {nth}"));
    journal.append_blocking(records.collect()).unwrap();
    book.note(&format!("acked {nth}"));
}

async fn worker(journal: &Journal, place: Place) -> Worker {
    let log = Log::journal(journal.partitions());
    let (lake, pipelines) = open_lake(place, &log).await.unwrap();
    let options = WorkerOptions {
        max_rows: 200,
        ..WorkerOptions::default()
    };
    Worker::new(journal.clone(), lake, pipelines, options).unwrap()
}

/// Batches, compaction and vacuum, worker after worker, each of which opens the bucket anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_what_was_sent() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(&dir.path().join("store")).unwrap();
    let place = || place(&store.endpoint, "some/where", &dir.path().join("scratch")).unwrap();
    let journal = journal(dir.path());
    let log = Log::journal(journal.partitions());
    let mut book = Book::default();
    for turn in 0..4 {
        for nth in turn * 5..(turn + 1) * 5 {
            publish(&journal, &mut book, nth);
        }
        worker(&journal, place()).await.drain().await.unwrap();
        let (lake, _) = open_lake(place(), &log).await.unwrap();
        lake.compact(eager_upkeep()).await.unwrap();
        lake.vacuum(eager_upkeep()).await.unwrap();
    }
    let (lake, pipelines) = open_lake(place(), &log).await.unwrap();
    let (wrong, events) = check_lake(&lake, &pipelines, &ends(&journal), &book)
        .await
        .unwrap();
    assert_eq!(wrong, [""; 0]);
    assert_eq!(events as u64, 20 * traffic::GROUP);
    let counted = lake.sql().await.unwrap();
    let counted = counted.sql("SELECT count(*) FROM usage_events").await;
    let counted = counted.unwrap().collect().await.unwrap();
    let counted = arrow::util::display::array_value_to_string(counted[0].column(0), 0).unwrap();
    assert_eq!(counted, events.to_string());
    let Place::Bucket(bucket) = place() else {
        panic!("no bucket");
    };
    assert!(bucket.holds_a_lake(EVENTS).await.unwrap());
}

/// The store decides who was first: with two workers on one log, each batch is committed by one of them.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_commit_one_is_second() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(&dir.path().join("store")).unwrap();
    let place = || place(&store.endpoint, "raced", &dir.path().join("scratch")).unwrap();
    let journal = journal(dir.path());
    let mut book = Book::default();
    for nth in 0..15 {
        publish(&journal, &mut book, nth);
    }
    let (one, two) = tokio::join!(worker(&journal, place()), worker(&journal, place()));
    let (one, two) = tokio::join!(tokio::spawn(one.drain()), tokio::spawn(two.drain()));
    let lost = [one.unwrap(), two.unwrap()]
        .iter()
        .filter(|done| done.is_err())
        .count();
    assert!(lost <= 1, "nobody was first");
    worker(&journal, place()).await.drain().await.unwrap();
    let log = Log::journal(journal.partitions());
    let (lake, pipelines) = open_lake(place(), &log).await.unwrap();
    let (wrong, _) = check_lake(&lake, &pipelines, &ends(&journal), &book)
        .await
        .unwrap();
    assert_eq!(wrong, [""; 0]);
}

/// Nobody answers, or not to this key: a sentence that names the address, and soon.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let Place::Bucket(nowhere) = place("http://127.0.0.1:9", "lake", dir.path()).unwrap() else {
        panic!("no bucket");
    };
    let error = nowhere.holds_a_lake(EVENTS).await.unwrap_err().to_string();
    assert!(error.contains("s3://tidemark/lake"), "{error}");
    assert!(error.contains("[lake]"), "{error}");
    assert!(!error.contains("tidemark-secret"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60));
    let place = Place::Bucket(nowhere);
    let log = Log::journal(1);
    assert!(open_lake(place, &log).await.is_err());
}
