//! What a journal promises when its files are hurt: nothing intact is lost, nothing lost is silent.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tidemark_bus::{Journal, JournalOptions, Read};

const RECORDS: u64 = 9;

fn options() -> JournalOptions {
    JournalOptions {
        partitions: 1,
        segment_bytes: 200,
        max_bytes: 1 << 30,
        max_record_bytes: 1 << 16,
    }
}

fn payload(n: u64) -> Vec<u8> {
    vec![n as u8 + 1; 10 + (n as usize * 13) % 40]
}

/// A journal of a few segments; answers the segments' paths.
fn make(dir: &Path) -> Vec<PathBuf> {
    let journal = Journal::open(dir, options()).unwrap();
    for n in 0..RECORDS {
        journal.append_blocking(vec![(0, payload(n))]).unwrap();
    }
    drop(journal);
    let mut segments: Vec<_> = fs::read_dir(dir.join("p0000"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    assert!(segments.len() > 2);
    segments
}

/// Intact offsets and damaged offsets, after checking that together they leave no gap.
fn read(journal: &Journal) -> (Vec<u64>, Vec<u64>) {
    let mut reader = journal.reader(0, 0);
    let mut found = Vec::new();
    while reader.poll(3, 1 << 20, &mut found).unwrap() > 0 {}
    let (mut intact, mut damaged) = (Vec::new(), Vec::new());
    let mut next = 0;
    for item in found {
        match item {
            Read::Record(record) => {
                assert_eq!(record.offset, next);
                assert_eq!(&record.payload[..], payload(next));
                intact.push(next);
                next += 1;
            }
            Read::Damaged {
                offset_from,
                offset_to,
                ..
            } => {
                assert_eq!(offset_from, next);
                damaged.extend(offset_from..offset_to);
                next = offset_to;
            }
        }
    }
    assert_eq!(next, journal.end_offset(0));
    (intact, damaged)
}

#[test]
fn a_tail_cut_anywhere_leaves_every_earlier_record() {
    let dir = tempfile::tempdir().unwrap();
    let segments = make(dir.path());
    let last = segments.last().unwrap();
    let whole = fs::read(last).unwrap();
    let base: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    // Where each record of the last segment ends.
    let ends: Vec<usize> = (base..RECORDS)
        .scan(0, |at, n| {
            *at += 32 + payload(n).len();
            Some(*at)
        })
        .collect();
    assert_eq!(ends.last(), Some(&whole.len()));
    for cut in 0..=whole.len() {
        fs::write(last, &whole[..cut]).unwrap();
        let kept = base + ends.iter().filter(|end| **end <= cut).count() as u64;
        let torn = cut > 0 && !ends.contains(&cut);

        let other = Journal::open_read_only(dir.path()).unwrap();
        assert_eq!(read(&other), ((0..kept).collect(), vec![]), "cut {cut}");

        let journal = Journal::open(dir.path(), options()).unwrap();
        assert_eq!(read(&journal), ((0..kept).collect(), vec![]), "cut {cut}");
        assert_eq!(journal.stats().torn_tails, u64::from(torn), "cut {cut}");
        assert_eq!(journal.stats().set_aside, u64::from(torn), "cut {cut}");
        journal.append_blocking(vec![(0, payload(kept))]).unwrap();
        assert_eq!(read(&journal), ((0..=kept).collect(), vec![]), "cut {cut}");
        drop(journal);
        for segment in fs::read_dir(dir.path().join("p0000")).unwrap() {
            let segment = segment.unwrap().path();
            if !segments.contains(&segment) {
                fs::remove_file(segment).unwrap();
            }
        }
    }
}

#[test]
fn any_flipped_bit_costs_one_record_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let segments = make(dir.path());
    for segment in &segments {
        let whole = fs::read(segment).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut hurt = whole.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            fs::write(segment, &hurt).unwrap();
            let journal = Journal::open_read_only(dir.path()).unwrap();
            let (intact, damaged) = read(&journal);
            assert_eq!(damaged.len(), 1, "{} bit {bit}", segment.display());
            assert_eq!(intact.len() as u64, RECORDS - 1);
            assert_eq!(journal.stats().corrupt, 1);
        }
        fs::write(segment, &whole).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_the_last_record_is_not_taken_for_a_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    let segments = make(dir.path());
    let last = segments.last().unwrap();
    let whole = fs::read(last).unwrap();
    let from = whole.len() - 32 - payload(RECORDS - 1).len();
    for bit in (from * 8..whole.len() * 8).step_by(5) {
        let mut hurt = whole.clone();
        hurt[bit / 8] ^= 1 << (bit % 8);
        fs::write(last, &hurt).unwrap();
        let journal = Journal::open(dir.path(), options()).unwrap();
        assert_eq!(journal.end_offset(0), RECORDS, "bit {bit}");
        assert_eq!(journal.stats().torn_tails, 0);
        let next = vec![(0, payload(RECORDS)), (0, payload(RECORDS + 1))];
        journal.append_blocking(next).unwrap();
        let (intact, damaged) = read(&journal);
        assert_eq!(damaged, vec![RECORDS - 1], "bit {bit}");
        assert_eq!(intact.len() as u64, RECORDS + 1);
        drop(journal);
        for segment in fs::read_dir(dir.path().join("p0000")).unwrap() {
            let segment = segment.unwrap().path();
            if !segments.contains(&segment) {
                fs::remove_file(segment).unwrap();
            }
        }
    }
}

#[test]
fn strange_files_are_set_aside_and_offsets_stay_used() {
    let dir = tempfile::tempdir().unwrap();
    let segments = make(dir.path());
    let part = dir.path().join("p0000");
    fs::write(part.join("notes.txt"), "hello").unwrap();
    fs::write(part.join("12.seg"), "hello").unwrap();
    fs::create_dir(part.join("00000000000000000777.seg")).unwrap();
    let misnamed = part.join("00000000000000000555.seg");
    fs::rename(segments.last().unwrap(), &misnamed).unwrap();

    let journal = Journal::open(dir.path(), options()).unwrap();
    assert_eq!(journal.stats().set_aside, 4);
    assert_eq!(
        fs::read_dir(dir.path().join("set-aside")).unwrap().count(),
        4
    );
    assert_eq!(journal.end_offset(0), RECORDS);
    journal
        .append_blocking(vec![(0, payload(RECORDS))])
        .unwrap();
    let (intact, damaged) = read(&journal);
    assert!(!damaged.is_empty());
    assert_eq!((intact.len() + damaged.len()) as u64, RECORDS + 1);
    drop(journal);
    let journal = Journal::open(dir.path(), options()).unwrap();
    assert_eq!(journal.stats().set_aside, 0);
    assert_eq!(read(&journal), (intact, damaged));
}

#[test]
fn a_missing_segment_is_a_reported_gap() {
    let dir = tempfile::tempdir().unwrap();
    let segments = make(dir.path());
    fs::remove_file(&segments[1]).unwrap();
    let journal = Journal::open(dir.path(), options()).unwrap();
    let (intact, damaged) = read(&journal);
    assert!(!damaged.is_empty());
    assert_eq!((intact.len() + damaged.len()) as u64, RECORDS);
}

#[test]
fn a_payload_that_looks_like_a_record_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let decoy = {
        let other = tempfile::tempdir().unwrap();
        let segments = make(other.path());
        fs::read(&segments[0]).unwrap()
    };
    let options = JournalOptions {
        partitions: 1,
        ..JournalOptions::default()
    };
    let journal = Journal::open(dir.path(), options.clone()).unwrap();
    journal.append_blocking(vec![(0, vec![9])]).unwrap();
    for _ in 0..20 {
        journal.append_blocking(vec![(0, decoy.clone())]).unwrap();
    }
    drop(journal);
    let segment = dir.path().join("p0000/00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let hurt = 33 + 15 * (32 + decoy.len());
    bytes[hurt + 5] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let journal = Journal::open(dir.path(), options).unwrap();
    let mut found = Vec::new();
    journal
        .reader(0, 0)
        .poll(1000, 1 << 30, &mut found)
        .unwrap();
    assert_eq!(found.len(), 21);
    assert!(matches!(
        found[16],
        Read::Damaged {
            offset_from: 16,
            offset_to: 17,
            ..
        }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn no_bytes_make_it_fail(
        which in 0..10_usize,
        at in 0.0..1.0_f64,
        noise in prop::collection::vec(any::<u8>(), 0..200),
        insert in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let segments = make(dir.path());
        let segment = &segments[which % segments.len()];
        let mut bytes = fs::read(segment).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        let until = if insert { at } else { bytes.len().min(at + noise.len()) };
        bytes.splice(at..until, noise.iter().copied());
        fs::write(segment, &bytes).unwrap();

        let (intact, _) = read(&Journal::open_read_only(dir.path()).unwrap());
        let journal = Journal::open(dir.path(), options()).unwrap();
        prop_assert_eq!(&read(&journal).0, &intact);
        // Noise of n bytes touches n / 42 whole records and one at each end.
        prop_assert!(intact.len() as u64 + noise.len() as u64 / 42 + 2 >= RECORDS);
        let next = journal.end_offset(0);
        journal.append_blocking(vec![(0, payload(next))]).unwrap();
        prop_assert_eq!(read(&journal).0.len(), intact.len() + 1);
    }
}
