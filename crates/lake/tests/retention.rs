//! One retention rules what a table remembers: replaced files, the checkpoint's word of them, and the log.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::prelude::{ParquetReadOptions, SessionContext, col};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidemark_lake::{Lake, Log, Merge, Offsets, TableSpec, Upkeep};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const UPKEEP: Upkeep = Upkeep {
    grace: Duration::ZERO,
    open_files: 8,
    settle: Duration::ZERO,
    memory: 1 << 20,
    retention: Duration::from_secs(1),
};

fn row(n: u64) -> Result<RecordBatch> {
    let at = TimestampMicrosecondArray::from(vec![1_767_312_000_000_000 + n as i64]); // 2026-01-02
    let columns: [(&str, ArrayRef); 2] = [
        ("at", Arc::new(at.with_timezone("UTC"))),
        ("n", Arc::new(Int64Array::from(vec![n as i64]))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

async fn open(root: &Path) -> Result<Lake> {
    let spec = TableSpec {
        name: "rows".to_owned(),
        schema: row(0)?.schema(),
        window: "at".to_owned(),
        merge: Merge::Keep,
    };
    Ok(Lake::open(root, vec![spec], &Log::journal(1)).await?)
}

async fn append(lake: &Lake, rows: std::ops::Range<u64>) -> Result {
    for n in rows {
        lake.table("rows")?
            .append(&[row(n)?], &Offsets::from([(0, n + 1)]))
            .await?;
    }
    Ok(())
}

fn count(folder: &Path, ending: &str) -> Result<usize> {
    let mut found = 0;
    for entry in std::fs::read_dir(folder)? {
        found += usize::from(entry?.file_name().to_string_lossy().ends_with(ending));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_is_neither_kept_nor_remembered() -> Result {
    let folder = tempfile::tempdir()?;
    let lake = open(folder.path()).await?;
    let (data, log) = (
        folder.path().join("rows/date=2026-01-02"),
        folder.path().join("rows/_delta_log"),
    );
    append(&lake, 0..150).await?;
    assert_eq!(lake.compact(UPKEEP).await?.files_before, 150);
    let early = lake.vacuum(Upkeep {
        retention: Duration::from_secs(3600),
        ..UPKEEP
    });
    assert_eq!(early.await?.deleted, 0, "replaced a moment ago");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(lake.vacuum(UPKEEP).await?.deleted, 150);
    assert_eq!(count(&data, ".parquet")?, 1);

    append(&lake, 150..210).await?;
    let checkpoint = log.join("00000000000000000200.checkpoint.parquet");
    let remembered = SessionContext::new()
        .read_parquet(
            checkpoint.to_string_lossy().into_owned(),
            ParquetReadOptions::default(),
        )
        .await?
        .filter(col("remove").is_not_null())?
        .count()
        .await?;
    assert_eq!(remembered, 0, "files that vacuum took are still remembered");

    tokio::time::sleep(Duration::from_millis(2100)).await;
    lake.vacuum(UPKEEP).await?;
    let entries = count(&log, ".json")?;
    assert!(entries < 30, "{entries} log entries are left");

    let again = open(folder.path()).await?;
    let table = again.table("rows")?;
    let stored: usize = table
        .read_day("2026-01-02")
        .await?
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert_eq!(
        (stored, table.view().offsets),
        (210, Offsets::from([(0, 210)]))
    );
    Ok(())
}
