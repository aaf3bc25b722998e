//! The lake checked against itself from the ground: every rollup again from the raw events, and the ledger against both.

use crate::erase::is_by_account;
use crate::sums::balances;
use crate::{Pipeline, RollupError};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};
use tidemark_lake::{DEAD_LETTERS, EVENTS, Erased, INTAKE, Lake, Table, conform};

/// Where two accounts of the same events differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Table.
    pub table: String,
    /// UTC day, or empty where the difference is over all days.
    pub date: String,
    /// What differs.
    pub what: String,
}

/// How long to wait for all tables to have come equally far.
const SETTLE: Duration = Duration::from_secs(20);

/// Recomputes every rollup from the raw events, day by day, and balances the ledger. `each` hears of every day done.
///
/// Of a day that has lost events to an erasure, the rollups that keep their sums are balanced instead: what is stored is what the raw
/// events give and what was booked as erased, in every sum.
///
/// Beside a running instance it is checked as of a moment between two commits.
///
/// # Errors
/// When a file cannot be read; differences are not errors.
pub async fn verify(
    lake: &Lake,
    pipelines: &[Pipeline],
    mut each: impl FnMut(usize, usize),
) -> Result<Vec<Difference>, RollupError> {
    settle(lake).await?;
    let mut found = Vec::new();
    let raw = lake.table(EVENTS)?;
    let mut days: BTreeSet<String> = raw.days();
    for pipeline in pipelines {
        days.extend(lake.table(&pipeline.spec().name)?.days());
    }
    let mut ids = HashSet::new();
    let mut events = 0;
    for (done, date) in days.iter().enumerate() {
        let rows = raw.read_day(date).await?;
        let erased = lake.erased(date).await?;
        events += erased.events.len() as i64;
        ids.extend(
            erased
                .events
                .iter()
                .filter_map(|(id, _, _)| <[u8; 16]>::try_from(&id[..]).ok()),
        );
        for batch in &rows {
            events += batch.num_rows() as i64;
            if let Some(column) = batch
                .column_by_name("event_id")
                .and_then(|ids| ids.as_binary_opt::<i32>())
            {
                ids.extend(
                    column
                        .iter()
                        .flatten()
                        .filter_map(|id| <[u8; 16]>::try_from(id).ok()),
                );
            }
        }
        for pipeline in pipelines {
            let table = lake.table(&pipeline.spec().name)?;
            let wanted = table
                .merge_rows(conformed(&pipeline.run(&rows).await?, pipeline)?)
                .await?;
            let stored = table.merge_rows(table.read_day(date).await?).await?;
            let what = match erased.events.is_empty() || is_by_account(table.spec()) {
                true if wanted == stored => continue,
                true => {
                    let (missing, extra) = compare(&wanted, &stored)?;
                    format!(
                        "{missing} rows from raw events are not stored so, {extra} stored rows have no such events"
                    )
                }
                false => match balance(table, &wanted, &stored, &erased).await? {
                    Ok(()) => continue,
                    Err(what) => what,
                },
            };
            found.push(Difference {
                table: table.spec().name.clone(),
                date: date.clone(),
                what,
            });
        }
        each(done + 1, days.len());
    }
    let mut differ = |table: &str, what: String| {
        found.push(Difference {
            table: table.to_owned(),
            date: String::new(),
            what,
        })
    };
    if ids.len() as i64 != events {
        differ(
            EVENTS,
            format!(
                "{events} events, erased ones among them, but only {} ids",
                ids.len()
            ),
        );
    }
    let [received, accepted, duplicates, dead, damaged] = ledger(lake).await?;
    if accepted != events {
        differ(
            INTAKE,
            format!(
                "the ledger accepted {accepted} events, the table holds {events}, erased ones among them"
            ),
        );
    }
    if received != accepted + duplicates + dead + damaged {
        differ(
            INTAKE,
            format!(
                "received {received} is not accepted {accepted} + duplicates {duplicates} + dead letters {dead} + damaged {damaged}"
            ),
        );
    }
    let offsets: u64 = lake.table(INTAKE)?.view().offsets.values().sum();
    if received != offsets as i64 {
        differ(
            INTAKE,
            format!("received {received} records, the journal gave out {offsets} offsets"),
        );
    }
    let mut letters = 0;
    let table = lake.table(DEAD_LETTERS)?;
    for date in table.days() {
        for batch in table.read_day(&date).await? {
            let reasons = batch
                .column_by_name("reason")
                .and_then(|column| column.as_string_opt::<i32>());
            letters += reasons.map_or(0, |reasons| {
                reasons
                    .iter()
                    .flatten()
                    .filter(|reason| *reason != "damaged")
                    .count() as i64
            });
        }
    }
    if letters != dead {
        differ(
            DEAD_LETTERS,
            format!("the ledger counts {dead} dead letters, the table holds {letters}"),
        );
    }
    Ok(found)
}

/// Whether what is stored of a day is what the events that are left give, and what was erased.
async fn balance(
    table: &Table,
    left: &RecordBatch,
    stored: &RecordBatch,
    erased: &Erased,
) -> Result<Result<(), String>, RollupError> {
    let both = table.merge_rows(vec![left.clone(), stored.clone()]).await?;
    let spec = table.spec();
    balances(spec, stored, left, &both, |measure| {
        let key = (spec.name.clone(), measure.to_owned());
        erased.sums.get(&key).copied().unwrap_or(0)
    })
}

/// A running instance commits table after table: looks again until all stand at the same offsets. A lake that nobody writes
/// and whose last commit was cut short never does, and is checked as it is.
pub(crate) async fn settle(lake: &Lake) -> Result<(), RollupError> {
    let give_up = Instant::now() + SETTLE;
    let even = || {
        let mut offsets = lake.filled().map(|table| table.view().offsets);
        let first = offsets.next();
        offsets.all(|other| Some(other) == first)
    };
    while !even() && Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(20)).await;
        lake.reload().await?;
    }
    Ok(())
}

/// The ledger's sums: received, accepted, duplicates, dead letters, damaged.
pub(crate) async fn ledger(lake: &Lake) -> Result<[i64; 5], RollupError> {
    let table = lake.table(INTAKE)?;
    let mut sums = [0; 5];
    for date in table.days() {
        for batch in table.read_day(&date).await? {
            for (sum, name) in sums.iter_mut().zip([
                "received",
                "accepted",
                "duplicates",
                "dead_letters",
                "damaged",
            ]) {
                let column = batch
                    .column_by_name(name)
                    .and_then(|column| column.as_primitive_opt::<Int64Type>());
                *sum += column.and_then(arrow::compute::sum).unwrap_or(0);
            }
        }
    }
    Ok(sums)
}

fn conformed(rows: &[RecordBatch], pipeline: &Pipeline) -> Result<Vec<RecordBatch>, RollupError> {
    let schema = &pipeline.spec().schema;
    Ok(rows
        .iter()
        .map(|rows| conform(rows, schema))
        .collect::<Result<_, _>>()?)
}

/// How many rows of each side the other lacks.
fn compare(wanted: &RecordBatch, stored: &RecordBatch) -> Result<(usize, usize), RollupError> {
    let mut balance: HashMap<String, i64> = HashMap::new();
    for (batch, sign) in [(wanted, 1), (stored, -1)] {
        let options = FormatOptions::default();
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let text: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            *balance.entry(text.join("\u{1f}")).or_default() += sign;
        }
    }
    let missing = balance.values().filter(|n| **n > 0).sum::<i64>();
    let extra = -balance.values().filter(|n| **n < 0).sum::<i64>();
    Ok((missing as usize, extra as usize))
}
