//! A later version's columns are added to facts that an earlier one stored; nothing else is adapted.

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidemark_lake::{Lake, LakeError, Log, Merge, MergeFn, Offsets, TableSpec, Upkeep};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn earlier(n: i64) -> Result<RecordBatch> {
    let at = TimestampMicrosecondArray::from(vec![1_767_312_000_000_000 + n]); // 2026-01-02
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("at", Arc::new(at.with_timezone("UTC")), false),
        ("n", Arc::new(Int64Array::from(vec![n])), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Has a text before the number of the earlier version, as a new field of the wire stands before what the lake adds.
fn later(n: i64) -> Result<RecordBatch> {
    let row = earlier(n)?;
    let why: ArrayRef = Arc::new(StringArray::from(vec!["price"]));
    let columns = [
        ("at", Arc::clone(row.column(0)), false),
        ("why", why, false),
        ("n", Arc::clone(row.column(1)), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

async fn open(root: &Path, rows: &RecordBatch, merge: Merge) -> Result<Lake, LakeError> {
    let spec = TableSpec {
        name: "facts".to_owned(),
        schema: rows.schema(),
        window: "at".to_owned(),
        merge,
    };
    Lake::open(root, vec![spec], &Log::journal(1)).await
}

async fn append(lake: &Lake, rows: RecordBatch, next: u64) -> Result {
    let offsets = Offsets::from([(0, next)]);
    Ok(lake.table("facts")?.append(&[rows], &offsets).await?)
}

async fn stored(lake: &Lake) -> Result<Vec<(i64, Option<String>)>> {
    let rows = lake.sql().await?;
    let rows = rows
        .sql("SELECT n, CAST(why AS VARCHAR) AS why FROM facts ORDER BY n")
        .await?;
    let mut found = Vec::new();
    for batch in rows.collect().await? {
        let why = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Utf8)?;
        let n = batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .copied();
        let why = why
            .as_string::<i32>()
            .iter()
            .map(|why| why.map(str::to_owned));
        found.extend(n.zip(why));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_versions_facts_get_the_columns_that_are_new_since() -> Result {
    let folder = tempfile::tempdir()?;
    let lake = open(folder.path(), &earlier(0)?, Merge::Keep).await?;
    append(&lake, earlier(1)?, 1).await?;
    drop(lake);

    let wanted = [
        (1, None),
        (2, Some("price".to_owned())),
        (3, Some("price".to_owned())),
    ];
    for n in [2, 3] {
        let lake = open(folder.path(), &later(0)?, Merge::Keep).await?;
        assert_eq!(lake.table("facts")?.view().offsets[&0], n as u64 - 1);
        append(&lake, later(n)?, n as u64).await?;
        assert_eq!(stored(&lake).await?, wanted[..n as usize]);
    }

    let lake = open(folder.path(), &later(0)?, Merge::Keep).await?;
    let upkeep = Upkeep {
        grace: Duration::ZERO,
        open_files: 2,
        settle: Duration::ZERO,
        memory: 1 << 20,
        retention: Duration::from_secs(3600),
    };
    assert_eq!(lake.compact(upkeep).await?.files_before, 3);
    assert_eq!(lake.table("facts")?.view().files.len(), 1);
    assert_eq!(stored(&lake).await?, wanted);
    assert_eq!(
        lake.table("facts")?.read_day("2026-01-02").await?[0].num_columns(),
        3
    );
    drop(lake);

    // The earlier version would lose what it does not know.
    let refused = open(folder.path(), &earlier(0)?, Merge::Keep).await.err();
    let said = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("column why is in the lake only"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_with_other_columns_is_refused() -> Result {
    let merge = |values: &[&str]| Merge::ByKey {
        keys: vec!["at".to_owned()],
        values: values
            .iter()
            .map(|name| ((*name).to_owned(), MergeFn::Max))
            .collect(),
    };
    let folder = tempfile::tempdir()?;
    let lake = open(folder.path(), &earlier(0)?, merge(&["n"])).await?;
    append(&lake, earlier(1)?, 1).await?;
    drop(lake);
    let refused = open(folder.path(), &later(0)?, merge(&["why", "n"]))
        .await
        .err();
    let said = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("column why is missing in the lake"), "{said}");
    Ok(())
}
