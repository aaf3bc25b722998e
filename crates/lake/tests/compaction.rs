//! Compaction in little memory: what does not fit goes to temporary files, and the result is the same.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::context::SessionContext;
use std::sync::Arc;
use std::time::Duration;
use tidemark_lake::{
    Lake, Log, Merge, MergeFn, Offsets, TableSpec, Upkeep, conform, sketch, timestamp,
};

const DAY: &str = "2026-01-02";
const COMMITS: u64 = 40;
const ROWS: usize = 4000;
type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Events of one day: few enough keys that partials meet, too many to hold with their sketches.
fn events(seed: u64) -> Result<RecordBatch> {
    let mut state = seed;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let start = 1_767_312_000_000_000_i64; // 2026-01-02
    let (mut at, mut who, mut latency) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROWS {
        at.push(start + random(86_400_000_000) as i64);
        who.push(format!(
            "account-{:04}-of-a-name-that-takes-room",
            random(4000)
        ));
        latency.push(random(60_000_000) as i64);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(at).with_timezone("UTC")),
        ),
        ("who", Arc::new(StringArray::from(who))),
        ("latency", Arc::new(Int64Array::from(latency))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

const PARTIALS: &str = "SELECT date_trunc('hour', at) AS hour, who, count(*) AS requests, max(latency) AS slowest, \
    histogram(latency) AS latency, bottom_k(who, 8) AS accounts FROM events GROUP BY 1, 2";

async fn partials(events: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let context = SessionContext::new();
    sketch::register(&context);
    context.register_batch("events", events.clone())?;
    Ok(context.sql(PARTIALS).await?.collect().await?)
}

/// A table that keeps its rows and one that merges them, each with forty commits of one closed day.
async fn filled(root: &std::path::Path) -> Result<Lake> {
    let kept = TableSpec {
        name: "kept".to_owned(),
        schema: events(0)?.schema(),
        window: "at".to_owned(),
        merge: Merge::Keep,
    };
    let first = partials(&events(0)?).await?;
    let schema = first[0].schema();
    let merged = TableSpec {
        name: "merged".to_owned(),
        schema: Arc::new(Schema::new(
            schema
                .fields()
                .iter()
                .map(|field| match field.data_type() {
                    DataType::Timestamp(..) => Field::new(field.name(), timestamp(), true),
                    kind => Field::new(field.name(), kind.clone(), true),
                })
                .collect::<Vec<_>>(),
        )),
        window: "hour".to_owned(),
        merge: Merge::ByKey {
            keys: vec!["hour".to_owned(), "who".to_owned()],
            values: vec![
                ("requests".to_owned(), MergeFn::Sum),
                ("slowest".to_owned(), MergeFn::Max),
                ("latency".to_owned(), MergeFn::Histogram),
                ("accounts".to_owned(), MergeFn::BottomK(8)),
            ],
        },
    };
    let lake = Lake::open(root, vec![kept, merged], &Log::journal(1)).await?;
    for commit in 0..COMMITS {
        let events = events(commit)?;
        let offsets = Offsets::from([(0, (commit + 1) * ROWS as u64)]);
        let table = lake.table("merged")?;
        let rows = partials(&events).await?;
        let rows = rows
            .iter()
            .map(|rows| conform(rows, &table.spec().schema))
            .collect::<Result<Vec<_>, _>>()?;
        table.append(&rows, &offsets).await?;
        lake.table("kept")?.append(&[events], &offsets).await?;
    }
    Ok(lake)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_larger_than_the_memory_given_becomes_one_file_with_the_same_rows() -> Result {
    compacted_in(1 << 20).await
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_too_small_for_one_batch_only_costs_tries() -> Result {
    compacted_in(64 << 10).await
}

/// Compacts in `memory`, which is less than either table takes, and compares every row.
async fn compacted_in(memory: usize) -> Result {
    // A name full of what patterns and addresses would read as something else.
    let folder = tempfile::Builder::new().prefix("[a] 100%? *").tempdir()?;
    let lake = filled(folder.path()).await?;
    let mut before = Vec::new();
    for name in ["kept", "merged"] {
        let table = lake.table(name)?;
        before.push(table.merge_rows(table.read_day(DAY).await?).await?);
    }
    let upkeep = Upkeep {
        grace: Duration::ZERO,
        settle: Duration::ZERO,
        memory,
        ..Upkeep::default()
    };
    let report = lake.compact(upkeep).await?;
    assert_eq!(
        (report.files_before, report.files_after),
        (2 * COMMITS as usize, 2)
    );
    assert!(report.rows_after < report.rows_before, "{report:?}");
    for (name, before) in ["kept", "merged"].into_iter().zip(before) {
        let table = lake.table(name)?;
        let rows = table.read_day(DAY).await?;
        let stored: usize = rows.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(stored, before.num_rows(), "{name}: one row per key");
        assert!(
            table.merge_rows(rows).await? == before,
            "{name}: other rows than before"
        );
    }
    assert_eq!(
        lake.compact(upkeep).await?.files_before,
        0,
        "a second time there is nothing to do"
    );
    Ok(())
}
