//! Crashes at every step, and proof that a forgotten sync would be noticed.
//!
//! `cargo test -p tidemark-bus --features failpoints --test failpoints`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fail::FailScenario;
use tidemark_bus::{Journal, JournalError, JournalOptions, Read};

const CHILD_DIR: &str = "TIDEMARK_TEST_CHILD_DIR";

fn options() -> JournalOptions {
    JournalOptions {
        partitions: 2,
        segment_bytes: 1000,
        ..JournalOptions::default()
    }
}

fn record(n: u64) -> Vec<u8> {
    format!("{n:08}").repeat(12).into_bytes()
}

/// Opens a journal that this process has just closed. Until a child that another test is starting runs its own program, it holds a copy of
/// every lock of ours.
fn reopen(dir: &Path) -> Journal {
    for _ in 0..200 {
        match Journal::open(dir, options()) {
            Err(JournalError::Locked { .. }) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the journal stays locked");
}

/// Not a test of its own: the process that the others kill.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let _scenario = FailScenario::setup();
    let journal = Journal::open(&dir.join("journal"), options()).unwrap();
    for n in journal.end_offset(0)..journal.end_offset(0) + 60 {
        let both = vec![(0, record(n)), (1, record(n))];
        journal.append_blocking(both).unwrap();
        fs::write(dir.join("acknowledged"), (n + 1).to_string()).unwrap();
        if n % 20 == 19 {
            journal.trim(0, n - 5).unwrap();
        }
    }
}

/// Runs the child until it dies; answers how many appends it saw acknowledged.
fn run_child(dir: &Path, failpoints: &str, volatile: bool) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(CHILD_DIR, dir)
        .env("FAILPOINTS", failpoints)
        .env(
            "TIDEMARK_VOLATILE_PAGE_CACHE",
            if volatile { "1" } else { "0" },
        )
        .output()
        .unwrap();
    assert!(!output.status.success(), "{failpoints} did not strike");
    let acknowledged = fs::read_to_string(dir.join("acknowledged")).unwrap_or_default();
    acknowledged.parse().unwrap_or(0)
}

#[test]
fn a_crash_at_any_step_loses_nothing_acknowledged() {
    for volatile in [false, true] {
        for point in [
            "before_write",
            "after_write",
            "before_sync",
            "after_sync",
            "before_ack",
            "trim",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut acknowledged = 0;
            for after in [0, 3, 11, 2] {
                if point == "trim" && after > 3 {
                    continue;
                }
                let failpoints = format!("journal::{point}={after}*off->return");
                acknowledged = acknowledged.max(run_child(dir.path(), &failpoints, volatile));
                let journal = Journal::open(&dir.path().join("journal"), options()).unwrap();
                for partition in 0..2 {
                    let start = journal.start_offset(partition);
                    let end = journal.end_offset(partition);
                    let what = format!("{point} {after} {volatile} {partition}");
                    assert!(end >= acknowledged, "{what}: {end} < {acknowledged}");
                    let mut found = Vec::new();
                    let mut reader = journal.reader(partition, 0);
                    reader.poll(usize::MAX, usize::MAX, &mut found).unwrap();
                    assert_eq!(found.len() as u64, end - start, "{what}");
                    for (n, read) in (start..).zip(&found) {
                        let Read::Record(found) = read else {
                            panic!("{what}: {read:?}");
                        };
                        assert_eq!((found.offset, &found.payload[..]), (n, &record(n)[..]));
                    }
                }
                let ends = (journal.end_offset(0), journal.end_offset(1));
                // One partition may have been written when the other was not: level them.
                journal.advance_to(0, ends.1).unwrap();
                journal.advance_to(1, ends.0).unwrap();
                if ends.0 != ends.1 {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_forgotten_sync_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let bug = "bug::skip_fsync=return;journal::before_ack=5*off->return";
    let acknowledged = run_child(dir.path(), bug, true);
    assert_eq!(acknowledged, 5);
    let journal = Journal::open(&dir.path().join("journal"), options()).unwrap();
    assert!(journal.end_offset(0) < acknowledged);
}

#[test]
fn a_failed_write_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = FailScenario::setup();
    let journal = Journal::open(dir.path(), options()).unwrap();
    journal.append_blocking(vec![(0, record(0))]).unwrap();
    // The first segment is filled, the next one begun, the third write fails.
    fail::cfg("journal::fail_write", "2*off->return").unwrap();
    let many = (1..30).map(|n| (0, record(n))).collect();
    let error = journal.append_blocking(many).unwrap_err();
    assert!(matches!(error, JournalError::DiskFull { .. }), "{error}");
    assert_eq!(journal.end_offset(0), 1);
    fail::cfg("journal::fail_write", "off").unwrap();
    let many = (1..30).map(|n| (0, record(n))).collect();
    journal.append_blocking(many).unwrap();
    drop(journal);
    let journal = reopen(dir.path());
    assert_eq!(journal.end_offset(0), 30);
    let mut found = Vec::new();
    journal
        .reader(0, 0)
        .poll(100, usize::MAX, &mut found)
        .unwrap();
    assert_eq!(found.len(), 30);
    assert_eq!(
        (journal.stats().torn_tails, journal.stats().corrupt),
        (0, 0)
    );
    scenario.teardown();
}

/// On a full disk nothing gets complete any more: what is consumed goes all the same, or the disk stayed full for ever.
#[test]
fn a_full_disk_gets_consumed_records_back() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = FailScenario::setup();
    let journal = Journal::open(dir.path(), options()).unwrap();
    journal.append_blocking(vec![(0, record(0))]).unwrap();
    journal.trim(0, 1).unwrap();
    assert!(journal.stats().bytes > 0, "while there is room");
    fail::cfg("journal::fail_write", "return").unwrap();
    let error = journal.append_blocking(vec![(0, record(1))]).unwrap_err();
    assert!(matches!(error, JournalError::DiskFull { .. }), "{error}");
    journal.trim(0, 1).unwrap();
    assert_eq!(journal.stats().bytes, 0);
    fail::cfg("journal::fail_write", "off").unwrap();
    journal.append_blocking(vec![(0, record(1))]).unwrap();
    assert_eq!((journal.start_offset(0), journal.end_offset(0)), (1, 2));
    scenario.teardown();
}

#[test]
fn a_failed_sync_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = FailScenario::setup();
    let journal = Journal::open(dir.path(), options()).unwrap();
    journal.append_blocking(vec![(0, record(0))]).unwrap();
    fail::cfg("journal::fail_sync", "1*return").unwrap();
    for _ in 0..3 {
        let error = journal.append_blocking(vec![(0, record(1))]).unwrap_err();
        assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
    }
    assert!(journal.trim(0, 1).is_err());
    assert_eq!(journal.end_offset(0), 1);
    assert!(journal.stats().poisoned);
    let mut found = Vec::new();
    journal
        .reader(0, 0)
        .poll(100, usize::MAX, &mut found)
        .unwrap();
    assert_eq!(found.len(), 1);
    drop(journal);
    let journal = reopen(dir.path());
    journal.append_blocking(vec![(0, record(2))]).unwrap();
    scenario.teardown();
}

#[test]
fn a_reader_waits_for_what_the_page_cache_model_holds_back() {
    // In a child, because the model is chosen by the environment.
    let Some(dir) = std::env::var_os("TIDEMARK_TEST_HELD_BACK") else {
        let dir = tempfile::tempdir().unwrap();
        let name = "a_reader_waits_for_what_the_page_cache_model_holds_back";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("TIDEMARK_TEST_HELD_BACK", dir.path())
            .env("TIDEMARK_VOLATILE_PAGE_CACHE", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    };
    let scenario = FailScenario::setup();
    let journal = Journal::open(Path::new(&dir), options()).unwrap();
    let mut reader = journal.reader(0, 0);
    let mut found = Vec::new();
    journal.append_blocking(vec![(0, record(0))]).unwrap();
    fail::cfg("bug::skip_fsync", "return").unwrap();
    journal.append_blocking(vec![(0, record(1))]).unwrap();
    assert_eq!(reader.poll(10, usize::MAX, &mut found).unwrap(), 1);
    fail::cfg("bug::skip_fsync", "off").unwrap();
    journal.append_blocking(vec![(0, record(2))]).unwrap();
    assert_eq!(reader.poll(10, usize::MAX, &mut found).unwrap(), 2);
    scenario.teardown();
}
