//! Ten thousand hostile messages among valid ones: nothing panics, everything is accounted for, nothing leaks.
//!
//! `TIDEMARK_SEED` chooses other dice, `TIDEMARK_FUZZ` another number of messages.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on should fail loudly, and figures are for people"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidemark_event::wire::Writer;
use tidemark_event::{Micros, UsageEvent};
use tidemark_lake::{DEAD_LETTERS, EVENTS, INTAKE};
use tidemark_tests::check::hex;
use tidemark_tests::folder::{Folder, Sizes, rows};
use tidemark_tests::traffic::event_of;
use tidemark_tests::{Dice, size};

/// In every bad message that holds text at all. It must not get past the intake.
const CANARY: &str = "CANARY-a-prompt-that-nobody-may-see";

/// What must become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Counted.
    Counted,
    /// Counted or a duplicate, as it was sent before.
    Again,
    /// Set aside for this reason, or, if empty, for any.
    SetAside(&'static str),
    /// A flipped bit may leave a valid event.
    Open,
}

/// A bad message: what it is called, its bytes, its fate.
fn bad(dice: &mut Dice, writer: &Writer, base: i64, n: u64) -> (&'static str, Vec<u8>, Fate) {
    let mut event = event_of("bad", base, n);
    let any = Fate::SetAside("");
    if n % 1500 == 7 {
        let mut huge = writer.write(&event);
        huge.extend(CANARY.bytes().cycle().take(10 << 20));
        return ("10 MiB", huge, Fate::SetAside("too_large"));
    }
    match dice.below(14) {
        0 => {
            let len = dice.below(600);
            (
                "random",
                [dice.bytes(len), CANARY.into()].concat(),
                Fate::SetAside("not_avro"),
            )
        }
        1 => {
            let mut bytes = writer.write(&event)[..10].to_vec();
            let len = dice.below(400);
            bytes.extend(dice.bytes(len));
            bytes.extend(CANARY.bytes());
            ("right head, random body", bytes, any)
        }
        2 => {
            let mut bytes = writer.write(&event);
            for _ in 0..=dice.below(4) {
                let bit = dice.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            ("flipped bits", bytes, Fate::Open)
        }
        3 => {
            event.request_id = CANARY.to_owned();
            let bytes = writer.write(&event);
            let keep = dice.below(bytes.len() as u64) as usize;
            ("truncated", bytes[..keep].to_vec(), any)
        }
        4 => {
            let mut bytes = writer.write(&event);
            bytes.extend(CANARY.bytes());
            ("trailing bytes", bytes, Fate::SetAside("undecodable"))
        }
        5 => {
            event.session_id = CANARY.to_owned();
            let mut bytes = writer.write(&event);
            bytes[2 + dice.below(8) as usize] ^= 1 + dice.below(255) as u8;
            ("wrong fingerprint", bytes, Fate::SetAside("unknown_schema"))
        }
        6 => {
            event.request_id = CANARY.to_owned();
            let field = dice.below(4);
            let value = -1 - dice.below(1 << 62) as i64;
            match field {
                0 => event.prompt_tokens = value,
                1 => event.latency_us = value,
                2 => event.ttft_us = Some(value),
                _ => event.tools_called = i32::MIN,
            }
            ("negative", writer.write(&event), Fate::SetAside("negative"))
        }
        7 => {
            event.request_id = CANARY.to_owned();
            match dice.below(3) {
                0 => event.completion_tokens = i64::MAX,
                1 => event.overhead_us = i64::MAX - 1,
                _ => event.status = i32::MAX,
            }
            ("absurd", writer.write(&event), Fate::SetAside("absurd"))
        }
        8 => {
            event.request_id = CANARY.to_owned();
            event.ts = Micros(*dice.pick(&[
                i64::MAX,
                Micros::now().0 + 3_600_000_000,
                253_402_300_800_000_000,
            ]));
            (
                "far future",
                writer.write(&event),
                Fate::SetAside("in_the_future"),
            )
        }
        9 => {
            event.request_id = CANARY.to_owned();
            event.ts = Micros(*dice.pick(&[i64::MIN, -1, 0, 631_152_000_000_000]));
            ("far past", writer.write(&event), Fate::SetAside("too_old"))
        }
        10 => {
            event.request_id = CANARY.to_owned();
            let mut bytes = writer.write(&event);
            let at = bytes
                .windows(CANARY.len())
                .position(|window| window == CANARY.as_bytes())
                .unwrap();
            bytes[at + dice.below(6) as usize] = *dice.pick(&[0xFF, 0xC0, 0x80, 0xF5]);
            ("invalid UTF-8", bytes, Fate::SetAside("undecodable"))
        }
        11 => {
            event.app = CANARY.repeat(20);
            (
                "long text",
                writer.write(&event),
                Fate::SetAside("text_too_long"),
            )
        }
        12 => {
            match dice.below(3) {
                0 => event.outcome = CANARY.to_owned(),
                1 => event.refusal = CANARY.to_owned(),
                _ => event.finish_reason = CANARY.to_owned(),
            }
            (
                "unknown value",
                writer.write(&event),
                Fate::SetAside("unknown_value"),
            )
        }
        _ => {
            // A length or a block count beyond all memory, where a reader might believe it.
            let mut bytes = writer.write(&event)[..10 + 16].to_vec();
            bytes.extend([0x02; 2]);
            let most = dice.below(9) + 1;
            bytes.extend(std::iter::repeat_n(0xFF, most as usize));
            bytes.push(0x01);
            bytes.extend(CANARY.bytes());
            ("absurd length", bytes, any)
        }
    }
}

/// Every file below `dir` whose bytes hold the canary.
fn leaks(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            leaks(&path, found);
        } else if std::fs::read(&path)
            .unwrap()
            .windows(12)
            .any(|window| window == &CANARY.as_bytes()[..12])
        {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_messages_are_counted_and_forgotten() {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counter, before) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counter.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));

    let total = size("TIDEMARK_FUZZ", 10_000);
    let mut dice = Dice::new(size("TIDEMARK_SEED", 7));
    let dir = tempfile::tempdir().unwrap();
    let sizes = Sizes {
        retention: Some(Duration::from_secs(30 * 86_400)),
        segment_bytes: 32 << 20,
        ..Sizes::default()
    };
    let folder = Folder::open(dir.path(), sizes).await.unwrap();
    let mut worker = folder.worker().unwrap();

    // Valid ones are of yesterday and the day before: the retention is a month.
    let base = Micros::now().0 - 36 * 3_600_000_000;
    let mut valid: Vec<UsageEvent> = Vec::new();
    let mut fates: BTreeMap<(&str, Fate), u64> = BTreeMap::new();
    let mut sent = 0;
    while sent < total {
        let mut group = Vec::new();
        for _ in 0..=dice.below(200) {
            let (what, bytes, fate) = match dice.below(20) {
                0 if !valid.is_empty() => {
                    ("again", folder.writer.write(dice.pick(&valid)), Fate::Again)
                }
                0..7 => {
                    let event = event_of("valid", base, valid.len() as u64);
                    let bytes = folder.writer.write(&event);
                    valid.push(event);
                    ("valid", bytes, Fate::Counted)
                }
                _ => bad(&mut dice, &folder.writer, base, sent),
            };
            // An id always goes to the same partition; what has no id may go anywhere.
            let key: Vec<u8> = match fate {
                Fate::Counted | Fate::Again => bytes[10..26].to_vec(),
                _ => sent.to_be_bytes().to_vec(),
            };
            group.push((folder.journal.partition_for(&key), bytes));
            *fates.entry((what, fate)).or_default() += 1;
            sent += 1;
        }
        folder.journal.append(group).await.unwrap();
        if dice.once_in(4) {
            while worker.step().await.unwrap() {}
        }
    }
    while worker.step().await.unwrap() {}

    let counts = worker.tally().borrow().counts;
    let of = |kind: fn(&Fate) -> bool| {
        fates
            .iter()
            .filter(|((_, fate), _)| kind(fate))
            .map(|(_, n)| *n)
            .sum::<u64>()
    };
    let (open, again) = (
        of(|fate| *fate == Fate::Open),
        of(|fate| *fate == Fate::Again),
    );
    eprintln!("{fates:?}\n{counts:?}");
    assert_eq!(counts.received, sent);
    assert_eq!(
        counts.accepted + counts.duplicates + counts.dead_letters,
        sent
    );
    assert_eq!(counts.damaged, 0);
    assert!(counts.accepted >= valid.len() as u64 && counts.accepted <= valid.len() as u64 + open);
    assert!(counts.duplicates >= again && counts.duplicates <= again + open);

    let mut stored: HashMap<String, u32> = HashMap::new();
    let events = rows(folder.lake.table(EVENTS).unwrap(), &["event_id"], &[])
        .await
        .unwrap();
    events
        .into_iter()
        .for_each(|(id, _)| *stored.entry(id[0].clone()).or_default() += 1);
    let uncounted = valid
        .iter()
        .filter(|event| stored.get(&hex(event)) != Some(&1))
        .count();
    assert_eq!(uncounted, 0, "of {} valid events", valid.len());

    let letters = rows(
        folder.lake.table(DEAD_LETTERS).unwrap(),
        &["reason", "arrived"],
        &["partition", "offset", "bytes"],
    )
    .await
    .unwrap();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for (texts, numbers) in &letters {
        *reasons.entry(texts[0].clone()).or_default() += 1;
        assert!(
            places.insert((numbers[0], numbers[1])),
            "two dead letters for one record"
        );
    }
    eprintln!("{reasons:?}");
    assert_eq!(letters.len() as u64, counts.dead_letters);
    for reason in fates.keys().filter_map(|(_, fate)| {
        if let Fate::SetAside(reason) = fate {
            Some(*reason)
        } else {
            None
        }
    }) {
        let at_least: u64 = fates
            .iter()
            .filter(|((_, fate), _)| *fate == Fate::SetAside(reason))
            .map(|(_, n)| *n)
            .sum();
        let got = if reason.is_empty() {
            letters.len() as u64
        } else {
            reasons.get(reason).copied().unwrap_or(0)
        };
        assert!(
            got >= at_least,
            "{at_least} messages should be {reason}, {got} are: {reasons:?}"
        );
    }

    // Parquet is compressed: look at what it says when read as well as at the bytes of every file.
    for table in folder.lake.tables() {
        for date in table.days() {
            for batch in table.read_day(&date).await.unwrap() {
                let text = arrow::util::pretty::pretty_format_batches(&[batch])
                    .unwrap()
                    .to_string();
                assert!(!text.contains("CANARY"), "{}", table.spec().name);
            }
        }
    }
    let mut found = Vec::new();
    leaks(&dir.path().join("lake"), &mut found);
    assert!(found.is_empty(), "{found:?}");
    assert!(
        folder
            .lake
            .table(INTAKE)
            .unwrap()
            .spec()
            .schema
            .fields()
            .iter()
            .all(|field| field.name() != "payload")
    );

    assert_eq!(
        tidemark_rollup::verify(&folder.lake, &folder.pipelines, |_, _| {})
            .await
            .unwrap(),
        []
    );
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}
