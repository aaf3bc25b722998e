//! Who follows what others commit knows the same as who opens the table then.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidemark_lake::{DataFile, Lake, Log, Merge, Offsets, TableSpec, Upkeep};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const DAY_US: i64 = 86_400_000_000;
const UPKEEP: Upkeep = Upkeep {
    grace: Duration::ZERO,
    open_files: 4,
    settle: Duration::ZERO,
    memory: 1 << 20,
    retention: Duration::ZERO,
};

/// Rows of two days.
fn rows(n: u64) -> Result<RecordBatch> {
    let first = 1_767_312_000_000_000 + n as i64; // 2026-01-02
    let at = TimestampMicrosecondArray::from(vec![first, first + DAY_US]);
    let columns: [(&str, ArrayRef); 2] = [
        ("at", Arc::new(at.with_timezone("UTC"))),
        ("n", Arc::new(Int64Array::from(vec![n as i64, -(n as i64)]))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

async fn open(root: &Path) -> Result<Lake> {
    let spec = TableSpec {
        name: "rows".to_owned(),
        schema: rows(0)?.schema(),
        window: "at".to_owned(),
        merge: Merge::Keep,
    };
    Ok(Lake::open(root, vec![spec], &Log::journal(12)).await?)
}

/// Commits of all partitions in turn.
async fn append(lake: &Lake, numbers: std::ops::Range<u64>) -> Result {
    for n in numbers {
        let offsets = Offsets::from([((n % 12) as u32, n / 12 + 1)]);
        lake.table("rows")?.append(&[rows(n)?], &offsets).await?;
    }
    Ok(())
}

fn known(lake: &Lake) -> Result<(u64, Offsets, Vec<DataFile>)> {
    let view = lake.table("rows")?.view();
    let mut files = view.files.to_vec();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok((view.version, view.offsets, files))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_knows_what_an_opener_knows() -> Result {
    let folder = tempfile::tempdir()?;
    let writer = open(folder.path()).await?;
    let follower = open(folder.path()).await?;
    // Some commits behind; with none at all; with files put together; so many behind that the view is loaded; past the end of the log.
    for (step, numbers) in [0..5, 5..5, 5..40, 40..41, 41..200, 200..330]
        .into_iter()
        .enumerate()
    {
        append(&writer, numbers).await?;
        if step % 2 == 0 {
            writer.compact(UPKEEP).await?;
            append(&writer, step as u64..step as u64 + 1).await?;
        }
        if step == 5 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            writer.vacuum(UPKEEP).await?;
        }
        follower.reload().await?;
        let opened = known(&open(folder.path()).await?)?;
        assert_eq!(known(&follower)?, opened, "step {step}");
        assert_eq!(known(&writer)?, opened, "step {step}");
    }
    Ok(())
}

/// A listing that goes on while others commit may leave an entry out and name the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_may_leave_an_entry_out() -> Result {
    let folder = tempfile::tempdir()?;
    let writer = open(folder.path()).await?;
    let follower = open(folder.path()).await?;
    append(&writer, 0..3).await?;
    let entry = folder
        .path()
        .join("rows/_delta_log/00000000000000000002.json");
    let aside = folder.path().join("aside");
    std::fs::rename(&entry, &aside)?;
    assert!(follower.reload().await.is_err(), "it is not there at all");
    let begun = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(25));
        std::fs::rename(aside, entry)
    });
    follower.reload().await?;
    begun.await??;
    assert_eq!(known(&follower)?, known(&writer)?);
    Ok(())
}

/// Nor does a commit fail, or count twice, whose own look at the log meets such a listing.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_may_meet_such_a_listing() -> Result {
    let folder = tempfile::tempdir()?;
    let writer = open(folder.path()).await?;
    append(&writer, 0..1).await?;
    let entry = |version: u64| {
        let name = format!("rows/_delta_log/{version:020}.json");
        folder.path().join(name)
    };
    let after_next = entry(4);
    std::fs::copy(entry(1), &after_next)?;
    let whole_again = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(25));
        std::fs::remove_file(after_next)
    });
    let (from, to) = (Offsets::from([(1, 0)]), Offsets::from([(1, 1)]));
    let table = writer.table("rows")?;
    table.append_between(&[rows(1)?], &from, &to).await?;
    whole_again.await??;
    let (version, offsets, files) = known(&writer)?;
    assert_eq!((version, offsets.get(&1), files.len()), (2, Some(&1), 4));
    assert_eq!(known(&writer)?, known(&open(folder.path()).await?)?);
    Ok(())
}
