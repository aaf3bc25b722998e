//! What must hold of a data folder after any number of crashes, computed from what was sent, in plain Rust.

use crate::folder::{PlainRow, open_lake, rows};
use crate::traffic::{self, Message};
use crate::{Result, size};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use tidemark_bus::Journal;
use tidemark_event::UsageEvent;
use tidemark_lake::{EVENTS, INTAKE, Lake};
use tidemark_rollup::Pipeline;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// What a publisher knows: the groups it sent, and those that were acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Sent, whatever became of them, and how often.
    pub sent: BTreeMap<u64, u32>,
    /// Acknowledged, and how often.
    pub acked: BTreeMap<u64, u32>,
}

impl Book {
    /// Notes a line of the subject.
    pub fn note(&mut self, line: &str) {
        let (book, nth) = match line.split_once(' ') {
            Some(("sent", nth)) => (&mut self.sent, nth),
            Some(("acked", nth)) => (&mut self.acked, nth),
            _ => return,
        };
        if let Ok(nth) = nth.parse() {
            *book.entry(nth).or_default() += 1;
        }
    }

    /// The first group that was never sent.
    pub fn next_new(&self) -> u64 {
        self.sent.keys().next_back().map_or(0, |last| last + 1)
    }

    /// The first group that was sent and not acknowledged, if there is one.
    pub fn first_unacked(&self) -> Option<u64> {
        self.sent
            .keys()
            .copied()
            .find(|nth| !self.acked.contains_key(nth))
    }
}

/// Events by number and records in all, of some groups.
fn contents(groups: &BTreeMap<u64, u32>) -> (BTreeSet<u64>, i64, i64) {
    let (mut events, mut records, mut garbage) = (BTreeSet::new(), 0, 0);
    for (nth, times) in groups {
        for message in traffic::group(*nth) {
            records += i64::from(*times);
            match message {
                Message::Event(n) => {
                    events.insert(n);
                }
                Message::Garbage(_) => garbage += i64::from(*times),
            }
        }
    }
    (events, records, garbage)
}

/// What is wrong with the folder, nothing if all is well; and how many events it holds.
pub async fn check(dir: &Path, book: &Book) -> Result<(Vec<String>, usize)> {
    let journal = Journal::open_read_only(&dir.join("journal"))?;
    let ends: Vec<u64> = (0..journal.partitions())
        .map(|partition| journal.end_offset(partition))
        .collect();
    let (lake, pipelines) = open_lake(dir, journal.partitions()).await?;
    check_lake(&lake, &pipelines, &ends, book).await
}

/// The same of a lake, which took in a log that ends at `ends`.
pub async fn check_lake(
    lake: &Lake,
    pipelines: &[Pipeline],
    ends: &[u64],
    book: &Book,
) -> Result<(Vec<String>, usize)> {
    let mut wrong = Vec::new();

    let (sent, sent_records, sent_garbage) = contents(&book.sent);
    let (acked, acked_records, acked_garbage) = contents(&book.acked);
    let number_of: HashMap<String, u64> = sent
        .iter()
        .map(|n| (hex(&traffic::event(*n)), *n))
        .collect();
    let stored = rows(
        lake.table(EVENTS)?,
        &["event_id"],
        &["prompt_tokens", "cost_nanousd", "ts", "offset"],
    )
    .await?;
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for (id, numbers) in &stored {
        let Some(n) = number_of.get(&id[0]) else {
            wrong.push(format!("an event is stored that was never sent: {}", id[0]));
            continue;
        };
        *times.entry(*n).or_default() += 1;
        let event = traffic::event(*n);
        if numbers[..3] != [event.prompt_tokens, event.cost_nanousd, event.ts.0] {
            wrong.push(format!(
                "event {n} is stored with other values: {numbers:?}"
            ));
        }
    }
    let lost: Vec<u64> = acked
        .iter()
        .filter(|n| !times.contains_key(n))
        .copied()
        .collect();
    let doubled: Vec<u64> = times
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(n, _)| *n)
        .collect();
    if !lost.is_empty() {
        wrong.push(format!(
            "{} of {} acknowledged events are not stored, the first is {}",
            lost.len(),
            acked.len(),
            lost[0]
        ));
    }
    if !doubled.is_empty() {
        wrong.push(format!(
            "{} events are stored more than once, the first is {}",
            doubled.len(),
            doubled[0]
        ));
    }

    for difference in tidemark_rollup::verify(lake, pipelines, |_, _| {}).await? {
        wrong.push(format!(
            "verify: {} {}: {}",
            difference.table, difference.date, difference.what
        ));
    }

    let names = [
        "received",
        "accepted",
        "duplicates",
        "dead_letters",
        "damaged",
    ];
    let sums = rows(lake.table(INTAKE)?, &[], &names).await?.iter().fold(
        [0; 5],
        |mut sums, (_, numbers)| {
            sums.iter_mut()
                .zip(numbers)
                .for_each(|(sum, number)| *sum += number);
            sums
        },
    );
    let [received, accepted, duplicates, dead, damaged] = sums;
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(format!(
                "ledger: {what}: {names:?} = {sums:?}, the log ends at {ends:?}"
            ));
        }
    };
    must(
        received == accepted + duplicates + dead + damaged,
        "the parts are not the whole",
    );
    must(
        received == ends.iter().sum::<u64>() as i64,
        "not every record of the log is booked once",
    );
    must(
        (acked_records..=sent_records).contains(&received),
        &format!("{acked_records} records were acknowledged and {sent_records} sent"),
    );
    must(
        (acked_garbage..=sent_garbage).contains(&dead),
        &format!("{acked_garbage} garbage records were acknowledged and {sent_garbage} sent"),
    );
    must(
        accepted == times.len() as i64,
        &format!("{} events are stored", times.len()),
    );
    must(damaged == 0, "nothing was damaged");

    let events: Vec<UsageEvent> = times.keys().map(|n| traffic::event(*n)).collect();
    compare_rollups(lake, &events, &mut wrong).await?;
    wrong.truncate(size("TIDEMARK_MAX_COMPLAINTS", 12) as usize);
    Ok((wrong, events.len()))
}

/// An event's id as the table reader shows it.
pub fn hex(event: &UsageEvent) -> String {
    event
        .event_id
        .0
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

type Sums = BTreeMap<Vec<String>, Vec<i64>>;

fn add(sums: &mut Sums, (key, numbers): PlainRow) {
    let sum = sums.entry(key).or_insert_with(|| vec![0; numbers.len()]);
    sum.iter_mut()
        .zip(numbers)
        .for_each(|(sum, number)| *sum += number);
}

/// Every countable column of the rollups, summed over `events` by hand.
pub async fn compare_rollups(
    lake: &Lake,
    events: &[UsageEvent],
    wrong: &mut Vec<String>,
) -> Result {
    for rollup in ROLLUPS {
        let mut wanted = Sums::new();
        for event in events {
            (rollup.of)(event)
                .into_iter()
                .for_each(|row| add(&mut wanted, row));
        }
        let mut stored = Sums::new();
        rows(lake.table(rollup.table)?, rollup.keys, rollup.values)
            .await?
            .into_iter()
            .for_each(|row| add(&mut stored, row));
        if let Some(key) = wanted
            .keys()
            .chain(stored.keys())
            .find(|key| wanted.get(*key) != stored.get(*key))
        {
            let (wanted, stored) = (wanted.get(key), stored.get(key));
            wrong.push(format!(
                "{} at {key:?}: {:?} should be {wanted:?} but is {stored:?}",
                rollup.table, rollup.values
            ));
        }
    }
    Ok(())
}

/// How to compute a rollup's sums without a query engine.
struct Rollup {
    table: &'static str,
    keys: &'static [&'static str],
    values: &'static [&'static str],
    of: fn(&UsageEvent) -> Vec<PlainRow>,
}

fn free(event: &UsageEvent) -> String {
    if event.variant == "free" {
        "free".to_owned()
    } else {
        String::new()
    }
}

fn floor(us: i64, to: i64) -> String {
    (us - us.rem_euclid(to)).to_string()
}

fn counted(status: i32) -> bool {
    ![400, 403, 413, 429].contains(&status)
}

fn tools_right(event: &UsageEvent) -> bool {
    event.tool_invalid_json + event.tool_unknown_name + event.tool_schema_mismatch == 0
}

const ROLLUPS: &[Rollup] = &[
    Rollup {
        table: "accounts_by_day",
        keys: &[
            "day",
            "account_id",
            "app",
            "model",
            "variant",
            "provider",
            "simulated",
        ],
        values: &[
            "requests",
            "prompt_tokens",
            "completion_tokens",
            "reasoning_tokens",
            "cached_tokens",
            "cost_nanousd",
        ],
        of: |e| {
            let keys = vec![
                floor(e.ts.0, DAY_US),
                e.account_id.clone(),
                e.app.clone(),
                e.model.clone(),
                free(e),
                e.provider.clone(),
                e.simulated.to_string(),
            ];
            vec![(
                keys,
                vec![
                    1,
                    e.prompt_tokens,
                    e.completion_tokens,
                    e.reasoning_tokens,
                    e.cached_tokens,
                    e.cost_nanousd,
                ],
            )]
        },
    },
    Rollup {
        table: "models_by_hour",
        keys: &["hour", "model", "variant", "simulated"],
        values: &[
            "requests",
            "prompt_tokens",
            "completion_tokens",
            "cost_nanousd",
            "answered",
            "errors",
            "declined",
            "filtered",
            "tool_requests",
            "tool_requests_ok",
            "tools_called",
        ],
        of: |e| {
            let is = |holds: bool| i64::from(holds);
            let called = e.finish_reason == "tool_calls";
            let numbers = vec![
                1,
                e.prompt_tokens,
                e.completion_tokens,
                e.cost_nanousd,
                is(e.outcome == "ok"),
                is(e.outcome == "error"),
                is(e.refusal == "declined"),
                is(e.refusal == "filtered"),
                is(called),
                is(called && tools_right(e)),
                i64::from(e.tools_called),
            ];
            vec![(
                vec![
                    floor(e.ts.0, HOUR_US),
                    e.model.clone(),
                    free(e),
                    e.simulated.to_string(),
                ],
                numbers,
            )]
        },
    },
    Rollup {
        table: "apps_by_hour",
        keys: &["hour", "app", "model", "simulated"],
        values: &[
            "requests",
            "prompt_tokens",
            "completion_tokens",
            "cost_nanousd",
        ],
        of: |e| {
            let keys = vec![
                floor(e.ts.0, HOUR_US),
                e.app.clone(),
                e.model.clone(),
                e.simulated.to_string(),
            ];
            let row = (
                keys,
                vec![1, e.prompt_tokens, e.completion_tokens, e.cost_nanousd],
            );
            if e.app.is_empty() {
                Vec::new()
            } else {
                vec![row]
            }
        },
    },
    Rollup {
        table: "endpoints_by_minute",
        keys: &[
            "minute",
            "provider",
            "endpoint",
            "model",
            "region",
            "simulated",
        ],
        values: &[
            "requests",
            "prompt_tokens",
            "cost_nanousd",
            "attempts_ok",
            "attempts_failed",
            "rate_limited",
            "overhead_us",
        ],
        of: |e| {
            let keys = vec![
                floor(e.ts.0, MINUTE_US),
                e.provider.clone(),
                e.endpoint.clone(),
                e.model.clone(),
                e.region.clone(),
                e.simulated.to_string(),
            ];
            let failed = e.outcome == "error" && counted(e.status);
            let numbers = vec![
                1,
                e.prompt_tokens,
                e.cost_nanousd,
                i64::from(e.outcome == "ok"),
                i64::from(failed),
                i64::from(e.status == 429),
                e.overhead_us,
            ];
            if e.provider.is_empty() {
                Vec::new()
            } else {
                vec![(keys, numbers)]
            }
        },
    },
    Rollup {
        table: "failed_attempts_by_minute",
        keys: &[
            "minute",
            "provider",
            "endpoint",
            "model",
            "region",
            "simulated",
        ],
        values: &[
            "attempts",
            "attempts_failed",
            "rate_limited",
            "cost_nanousd",
        ],
        of: |e| {
            let row = |a: &tidemark_event::FailedAttempt| {
                let keys = vec![
                    floor(e.ts.0, MINUTE_US),
                    a.provider.clone(),
                    a.endpoint.clone(),
                    a.model.clone(),
                    a.region.clone(),
                    e.simulated.to_string(),
                ];
                (
                    keys,
                    vec![
                        1,
                        i64::from(counted(a.status)),
                        i64::from(a.status == 429),
                        a.cost_nanousd,
                    ],
                )
            };
            e.failed_attempts.iter().map(row).collect()
        },
    },
    Rollup {
        table: "refusals_by_minute",
        keys: &[
            "minute",
            "provider",
            "endpoint",
            "model",
            "region",
            "simulated",
        ],
        values: &["filtered", "declined", "declined_text", "not_ok"],
        of: |e| {
            let is = |holds: bool| i64::from(holds);
            let keys = vec![
                floor(e.ts.0, MINUTE_US),
                e.provider.clone(),
                e.endpoint.clone(),
                e.model.clone(),
                e.region.clone(),
                e.simulated.to_string(),
            ];
            let numbers = vec![
                is(e.refusal == "filtered"),
                is(e.refusal == "declined"),
                is(e.refusal == "declined_text"),
                is(e.outcome != "ok"),
            ];
            if e.provider.is_empty() || e.refusal == "none" {
                Vec::new()
            } else {
                vec![(keys, numbers)]
            }
        },
    },
];
