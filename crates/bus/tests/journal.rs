//! What a journal promises when nothing is broken: order, offsets, bounds, following.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should fail loudly"
)]

use std::path::Path;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use tidemark_bus::{Journal, JournalError, JournalOptions, Read};

fn small() -> JournalOptions {
    JournalOptions {
        partitions: 2,
        segment_bytes: 4096,
        max_bytes: 1 << 30,
        max_record_bytes: 1 << 16,
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, small()).unwrap()
}

/// Everything from `from` on; fails on damage.
fn payloads(journal: &Journal, partition: u32, from: u64) -> Vec<Vec<u8>> {
    let mut reader = journal.reader(partition, from);
    let mut found = Vec::new();
    while reader.poll(7, 1000, &mut found).unwrap() > 0 {}
    let mut next = from.max(journal.start_offset(partition));
    let payload = |read| match read {
        Read::Record(record) => {
            assert_eq!(record.offset, next);
            next += 1;
            record.payload.to_vec()
        }
        damaged => panic!("{damaged:?}"),
    };
    let payloads = found.into_iter().map(payload).collect();
    assert_eq!(reader.position(), next);
    payloads
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_goes_in_comes_out(
        groups in prop::collection::vec(
            prop::collection::vec((0..2_u32, prop::collection::vec(any::<u8>(), 0..3000)), 1..12),
            1..12,
        ),
        reopen_after in 0..12_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path());
        let mut expected = [Vec::new(), Vec::new()];
        for (nth, group) in groups.into_iter().enumerate() {
            for (partition, payload) in &group {
                expected[*partition as usize].push(payload.clone());
            }
            journal.append_blocking(group).unwrap();
            if nth == reopen_after {
                drop(journal);
                journal = open(dir.path());
            }
        }
        for partition in 0..2 {
            let all = &expected[partition as usize];
            prop_assert_eq!(journal.end_offset(partition), all.len() as u64);
            prop_assert_eq!(&payloads(&journal, partition, 0), all);
            let half = all.len() / 2;
            prop_assert_eq!(&payloads(&journal, partition, half as u64)[..], &all[half..]);
            let other = Journal::open_read_only(dir.path()).unwrap();
            prop_assert_eq!(&payloads(&other, partition, 0), all);
        }
        prop_assert_eq!(journal.stats().corrupt, 0);
        prop_assert_eq!(journal.stats().torn_tails, 0);
    }
}

#[test]
fn offsets_go_on_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5_u64 {
        let journal = open(dir.path());
        assert_eq!(journal.end_offset(1), round * 10);
        for n in 0..10 {
            let payload = (round * 10 + n).to_string().into_bytes();
            journal.append_blocking(vec![(1, payload)]).unwrap();
        }
    }
    let journal = open(dir.path());
    let expected: Vec<_> = (0..50).map(|n: u64| n.to_string().into_bytes()).collect();
    assert_eq!(payloads(&journal, 1, 0), expected);
    assert_eq!(journal.end_offset(0), 0);
}

#[test]
fn one_writer_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert!(matches!(
        Journal::open(dir.path(), small()),
        Err(JournalError::Locked { .. })
    ));
    drop(journal);
    open(dir.path());
}

#[test]
fn the_number_of_partitions_stays() {
    let dir = tempfile::tempdir().unwrap();
    let place = open(dir.path()).partition_for(b"key");
    let options = JournalOptions {
        partitions: 16,
        ..small()
    };
    let journal = Journal::open(dir.path(), options).unwrap();
    assert_eq!(journal.partitions(), 2);
    assert_eq!(journal.partition_for(b"key"), place);
    let other = Journal::open_read_only(dir.path()).unwrap();
    assert_eq!(other.partitions(), 2);
}

#[test]
fn what_cannot_be_taken_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let records = vec![(0, b"fits".to_vec()), (0, vec![0; (1 << 16) + 1])];
    assert!(matches!(
        journal.append_blocking(records),
        Err(JournalError::TooLarge { .. })
    ));
    assert!(matches!(
        journal.append_blocking(vec![(0, vec![1]), (2, vec![2])]),
        Err(JournalError::UnknownPartition { partition: 2, .. })
    ));
    assert_eq!(journal.end_offset(0), 0);
    assert!(journal.reader(9, 0).poll(1, 1, &mut Vec::new()).is_err());
    journal.append_blocking(Vec::new()).unwrap();
}

#[test]
fn trim_deletes_whole_segments_below() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for n in 0..100_u8 {
        journal.append_blocking(vec![(0, vec![n; 500])]).unwrap();
    }
    let mut behind = journal.reader(0, 0);
    let mut found = Vec::new();
    behind.poll(3, 1 << 20, &mut found).unwrap();

    let before = journal.stats().bytes;
    journal.trim(0, 50).unwrap();
    let start = journal.start_offset(0);
    assert!((40..=50).contains(&start), "{start}");
    assert!(journal.stats().bytes < before * 6 / 10);
    assert_eq!(journal.end_offset(0), 100);
    assert_eq!(payloads(&journal, 0, 0).len() as u64, 100 - start);

    // A reader that was in a trimmed segment goes on at the start.
    found.clear();
    behind.poll(1, 1 << 20, &mut found).unwrap();
    assert!(matches!(&found[0], Read::Record(record) if record.offset == start));

    drop(behind);
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.start_offset(0), start);
    journal.trim(0, 100).unwrap();
    assert_eq!(journal.end_offset(0), 100);
    journal.append_blocking(vec![(0, vec![100])]).unwrap();
    assert_eq!(payloads(&journal, 0, 100), vec![vec![100]]);
}

#[test]
fn full_is_answered_and_trimming_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        max_bytes: 100_000,
        segment_bytes: 64 << 20,
        ..small()
    };
    let journal = Journal::open(dir.path(), options).unwrap();
    for round in 0..5 {
        let refused = loop {
            if let Err(error) = journal.append_blocking(vec![(0, vec![1; 900]), (1, vec![2; 900])])
            {
                break error;
            }
        };
        assert!(matches!(refused, JournalError::Full { .. }), "{refused}");
        assert!(journal.stats().bytes <= 100_000);
        assert_eq!(journal.stats().bytes, on_disk(dir.path()));
        for partition in 0..2 {
            let end = journal.end_offset(partition);
            assert!(end > round * 40);
            journal.trim(partition, end).unwrap();
            assert_eq!(journal.start_offset(partition), end);
        }
        assert_eq!(journal.stats().bytes, 0);
    }
}

fn on_disk(dir: &Path) -> u64 {
    let parts = ["p0000", "p0001"].iter().map(|part| dir.join(part));
    parts
        .flat_map(|part| std::fs::read_dir(part).unwrap())
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn advancing_leaves_used_offsets_alone() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.advance_to(0, 1000).unwrap();
    journal.advance_to(0, 10).unwrap();
    journal
        .append_blocking(vec![(0, b"after".to_vec())])
        .unwrap();
    assert_eq!(
        (journal.start_offset(0), journal.end_offset(0)),
        (1000, 1001)
    );
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(payloads(&journal, 0, 1000), vec![b"after".to_vec()]);
}

#[test]
fn each_appender_keeps_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    thread::scope(|scope| {
        for who in 0..8_u8 {
            let journal = journal.clone();
            scope.spawn(move || {
                for n in 0..50_u8 {
                    journal.append_blocking(vec![(0, vec![who, n])]).unwrap();
                }
            });
        }
    });
    let all = payloads(&journal, 0, 0);
    for who in 0..8 {
        let own: Vec<_> = all.iter().filter(|p| p[0] == who).map(|p| p[1]).collect();
        assert_eq!(own, (0..50).collect::<Vec<_>>());
    }
    // Together they need fewer syncs than appends.
    let stats = journal.stats();
    assert_eq!((stats.appended, stats.records), (400, 400));
    assert!(stats.groups < 400, "{stats:?}");
}

#[tokio::test]
async fn a_reader_follows_without_polling() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut ticks = journal.appended();
    let mut reader = journal.reader(0, 0);
    let writer = tokio::spawn({
        let journal = journal.clone();
        async move {
            for n in 0..200_u32 {
                let payload = n.to_le_bytes().repeat(50);
                journal.append(vec![(0, payload)]).await.unwrap();
            }
        }
    });
    let mut found = Vec::new();
    while found.len() < 200 {
        if reader.poll(1000, 1 << 20, &mut found).unwrap() == 0 {
            let tick = tokio::time::timeout(Duration::from_secs(20), ticks.changed());
            tick.await.unwrap().unwrap();
        }
    }
    writer.await.unwrap();
    for (n, read) in found.iter().enumerate() {
        assert!(matches!(read, Read::Record(record) if record.offset == n as u64));
    }
}

#[test]
fn another_process_reads_along() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Journal::open_read_only(dir.path()),
        Err(JournalError::Missing { .. })
    ));
    let journal = open(dir.path());
    let other = Journal::open_read_only(dir.path()).unwrap();
    let mut reader = other.reader(0, 0);
    let mut found = Vec::new();
    assert_eq!(reader.poll(10, 1000, &mut found).unwrap(), 0);
    let mut expected = 0;
    for n in 0..60_usize {
        journal.append_blocking(vec![(0, vec![7; n * 17])]).unwrap();
        if n % 7 == 0 {
            while reader.poll(100, 1 << 20, &mut found).unwrap() > 0 {}
            expected = n + 1;
            assert_eq!(found.len(), expected);
        }
        if n == 40 {
            journal.trim(0, 30).unwrap();
        }
    }
    while reader.poll(100, 1 << 20, &mut found).unwrap() > 0 {}
    assert!(expected < 60 && found.len() == 60);
    for (n, read) in found.iter().enumerate() {
        assert!(
            matches!(read, Read::Record(r) if r.offset == n as u64 && r.payload.len() == n * 17)
        );
    }
    assert_eq!(other.end_offset(0), 60);
    assert_eq!(other.start_offset(0), journal.start_offset(0));
    assert!(matches!(
        other.append_blocking(vec![(0, vec![1])]),
        Err(JournalError::ReadOnly)
    ));
    assert!(matches!(other.trim(0, 10), Err(JournalError::ReadOnly)));
}

#[test]
fn a_reader_outlives_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.append_blocking(vec![(0, b"one".to_vec())]).unwrap();
    let mut reader = journal.reader(0, 0);
    drop(journal);
    let mut found = Vec::new();
    assert_eq!(reader.poll(10, 1000, &mut found).unwrap(), 1);
}
