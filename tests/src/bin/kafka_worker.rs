//! A rollup worker that the tests with Kafka kill: `kafka_worker DIR BROKERS TOPIC PARTITIONS [ENDPOINT]`, with the
//! lake below DIR or in the bucket at ENDPOINT.
//!
//! It is what `tidemark rollup` is, with small batches and compaction all the time, and it ends when its standard input does.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tidemark_bus::kafka::{KafkaSettings, Registry, TopicReader};
use tidemark_lake::{Lake, Log, Place};
use tidemark_rollup::{Worker, WorkerOptions, open_lake};
use tidemark_tests::Result;
use tidemark_tests::bucket::place;
use tidemark_tests::folder::eager_upkeep;
use tidemark_tests::process::subject;

fn main() -> ExitCode {
    subject("kafka_worker", 3, run)
}

async fn run(args: Vec<String>) -> Result {
    let [dir, brokers, topic, partitions, bucket @ ..] = &args[..] else {
        return Err("usage: kafka_worker DIR BROKERS TOPIC PARTITIONS [ENDPOINT]".into());
    };
    let dir = Path::new(dir);
    let place = match bucket {
        [endpoint, ..] => place(endpoint, topic, &dir.join("scratch"))?,
        [] => Place::from(&dir.join("lake")),
    };
    let settings = KafkaSettings {
        brokers: brokers.clone(),
        topic: topic.clone(),
        dead_letters: format!("{topic}.dead"),
        group: format!("{topic}.workers"),
        partitions: partitions.parse()?,
        session_timeout_ms: 6_000,
        registry: Registry {
            url: std::env::var("TIDEMARK_TEST_REGISTRY").unwrap_or_default(),
            ..Registry::default()
        },
        ..KafkaSettings::default()
    };
    std::fs::create_dir_all(dir)?;
    let lock = |name: &str| {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(name))
    };
    let (lake, pipelines) = {
        let opening = lock("opening.lock")?;
        opening.lock()?;
        open_lake(place, &Log::topic(topic, settings.partitions)).await?
    };
    let options = WorkerOptions {
        commit_interval: Duration::from_millis(50),
        // Under the usual traffic a batch is far smaller; what waited while Kafka was away has to be caught up with.
        max_rows: 5_000,
        retention: None,
        trim_every: Duration::from_millis(500),
    };
    let worker = Worker::new(
        TopicReader::join(&settings)?,
        lake.clone(),
        pipelines,
        options,
    )?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let upkeep = tokio::spawn(compact(lake, lock("upkeep.lock")?, stopped.clone()));
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        std::io::stdin().read_to_end(&mut rest).ok();
        stop.send_replace(true);
    });
    worker
        .run(async {
            stopped.wait_for(|stop| *stop).await.ok();
        })
        .await?;
    Ok(upkeep.await?)
}

/// Beside the others' commits; one worker at a time.
async fn compact(lake: Lake, file: std::fs::File, stopped: tokio::sync::watch::Receiver<bool>) {
    let mut ours = false;
    while !*stopped.borrow() {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ours = ours || file.try_lock().is_ok();
        if !ours {
            continue;
        }
        let done = match lake.reload().await {
            Ok(()) => lake.compact(eager_upkeep()).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            writeln!(std::io::stderr(), "compaction: {error}").ok();
        }
    }
}
