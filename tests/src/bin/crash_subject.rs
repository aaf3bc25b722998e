//! The process that the crash harness kills: publishers and a rollup worker over one data folder.
//!
//! `crash_subject DIR load FROM TO` sends the groups FROM to TO and says `sent N` before and `acked N` after each;
//! `crash_subject DIR drain` takes in what is there. Both say `ready` when the folder is open, `recovered MS` when
//! everything that lay in the journal at start is committed, and `done JSON` at the end; `torn` if the folder was left with
//! tables at different places.
//! `FAILPOINTS` says where to die; with `TIDEMARK_TEST_UPKEEP=1` compaction runs beside.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidemark_rollup::Tally;
use tidemark_tests::Result;
use tidemark_tests::folder::{Folder, Sizes, eager_upkeep};
use tidemark_tests::process::subject;
use tidemark_tests::traffic;

/// Publishers at the same time, so that the journal commits groups of several callers.
const PUBLISHERS: u64 = 2;

fn main() -> ExitCode {
    let started = Instant::now();
    // Many threads: some sleep at failpoints.
    subject("crash_subject", 6, |args| run(args, started))
}

/// One line at once, so that nothing said is lost with the process.
fn say(line: &str) -> Result {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}

async fn run(args: Vec<String>, started: Instant) -> Result {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (dir, range) = match args[..] {
        [dir, "load", from, to] => (PathBuf::from(dir), Some((from.parse()?, to.parse()?))),
        [dir, "drain"] => (PathBuf::from(dir), None),
        _ => return Err("usage: crash_subject DIR load FROM TO | crash_subject DIR drain".into()),
    };
    let tally = match range {
        Some((from, to)) => load(&dir, from, to, started).await?,
        None => drain(&dir, started).await?,
    };
    let c = tally.counts;
    let counts = serde_json::json!({
        "received": c.received, "accepted": c.accepted, "duplicates": c.duplicates,
        "dead_letters": c.dead_letters, "damaged": c.damaged, "commits": tally.commits,
    });
    say(&format!("done {counts}"))
}

/// Says how the folder was found, before anything is done to it.
fn open_said(folder: &Folder) -> Result {
    if folder.is_torn() {
        say("torn")?;
    }
    say("ready")
}

async fn drain(dir: &Path, started: Instant) -> Result<Tally> {
    let folder = Folder::open(dir, Sizes::default()).await?;
    open_said(&folder)?;
    let tally = folder.worker()?.drain().await?;
    say(&format!("recovered {}", started.elapsed().as_millis()))?;
    Ok(tally)
}

async fn load(dir: &Path, from: u64, to: u64, started: Instant) -> Result<Tally> {
    let folder = Arc::new(Folder::open(dir, Sizes::default()).await?);
    let ends = folder.ends();
    open_said(&folder)?;
    let worker = folder.worker()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut job = tokio::spawn(worker.run(async {
        stopped.await.ok();
    }));
    let watching = tokio::spawn(say_when_recovered(Arc::clone(&folder), ends, started));
    let over = Arc::new(AtomicBool::new(false));
    let upkeep = std::env::var_os("TIDEMARK_TEST_UPKEEP")
        .map(|_| tokio::spawn(compact(Arc::clone(&folder), Arc::clone(&over))));
    let next = Arc::new(AtomicU64::new(from));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| tokio::spawn(publish(Arc::clone(&folder), Arc::clone(&next), to)))
        .collect();
    for publisher in publishers {
        tokio::select! {
            sent = publisher => sent??,
            ended = &mut job => return Err(format!("the worker stopped under load: {:?}", ended?).into()),
        }
    }
    over.store(true, Ordering::Relaxed);
    if let Some(upkeep) = upkeep {
        upkeep.await??;
    }
    tokio::select! {
        caught_up = watching => caught_up??,
        ended = &mut job => return Err(format!("the worker stopped: {:?}", ended?).into()),
    }
    stop.send(()).ok();
    Ok(job.await??)
}

async fn say_when_recovered(folder: Arc<Folder>, ends: Vec<u64>, started: Instant) -> Result {
    while !folder.holds(&ends) {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    say(&format!("recovered {}", started.elapsed().as_millis()))
}

async fn publish(folder: Arc<Folder>, next: Arc<AtomicU64>, to: u64) -> Result {
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= to {
            return Ok(());
        }
        let records = traffic::group(nth)
            .into_iter()
            .map(|message| {
                let (key, bytes) = traffic::record(&folder.writer, message);
                (folder.journal.partition_for(&key), bytes)
            })
            .collect();
        say(&format!("sent {nth}"))?;
        folder.journal.append(records).await?;
        say(&format!("acked {nth}"))?;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

async fn compact(folder: Arc<Folder>, over: Arc<AtomicBool>) -> Result {
    while !over.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(60)).await;
        folder.lake.compact(eager_upkeep()).await?;
    }
    Ok(())
}
