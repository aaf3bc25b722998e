//! `tidemark rollup`: one worker of the group, from Kafka to the lake.

use super::{Figures, figures, listen, signs_of_life, with_kafka};
use crate::claim::{self, claim};
use crate::config::Config;
use crate::instance::{check_layout, remember_schema, upkeep, worker_options};
use crate::output::{grouped, line};
use crate::stop::{stopping, until};
use crate::warehouse::{self, Following};
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::Duration;
use tidemark_bus::kafka::{TopicReader, prepare};
use tidemark_lake::Lake;
use tidemark_rollup::{Tally, Worker, backfill, open_lake};
use tokio::sync::watch;

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(config: &Config) -> Result<()> {
    with_kafka(config)?;
    let listener = listen(config)?;
    let address = listener.local_addr()?;
    let dir = &config.data_dir;
    std::fs::create_dir_all(dir)?;
    check_layout(dir)?;
    let schemas = remember_schema(dir)?;
    prepare(&config.kafka).await?;
    let (lake, pipelines) = {
        // Workers that start together make and fill tables one after the other.
        let file = claim::file(dir, "opening.lock")?;
        tokio::task::block_in_place(|| file.lock())?;
        let (lake, pipelines) = open_lake(config.place()?, &config.log(0)).await?;
        backfill(&lake, &pipelines).await?;
        (lake, pipelines)
    };
    let reader = TopicReader::join(&config.kafka)?;
    let worker = Worker::new(reader, lake.clone(), pipelines, worker_options(config))?
        .with_schemas(&schemas)?;
    let tally = worker.tally();
    let stopped = stopping();
    let following = Following::default();
    let figures = all_figures([tally_figures(tally), following.figures()]);
    let app = signs_of_life(figures);
    let server = {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stopped = stopped.clone();
        tokio::spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(until(stopped))
                .await
        })
    };
    let warehouse = tokio::spawn(warehouse::keep(
        following,
        lake.clone(),
        config.clone(),
        stopped.clone(),
    ));
    let keeping = tokio::spawn(maintain(lake, config.clone(), stopped.clone()));
    line(format!(
        "A rollup worker is up: group {} on {} at {}, lake in {}   (http://{address}/metrics, Ctrl-C stops)",
        config.kafka.group,
        config.kafka.topic,
        config.kafka.brokers,
        config.place_named()
    ));
    let tally = worker.run(until(stopped)).await.context(
        "the rollup stopped; nothing is lost, the topic keeps what is not committed: start again once the cause is mended",
    )?;
    keeping.await?;
    warehouse.await?;
    server.abort();
    line(format!(
        "Stopped. {} events committed by this worker.",
        grouped(tally.counts.accepted)
    ));
    Ok(())
}

/// Compaction and vacuum, by the one worker that holds the lock; another takes over when it ends.
async fn maintain(lake: Lake, config: Config, stopped: watch::Receiver<bool>) {
    let mut compact = tokio::time::interval(Duration::from_secs(config.compact_every_s.max(1)));
    let mut vacuum = tokio::time::interval(Duration::from_secs(config.vacuum_every_s.max(1)));
    vacuum.reset();
    let mut ours = None;
    loop {
        let vacuums = tokio::select! {
            () = until(stopped.clone()) => return,
            _ = compact.tick() => false,
            _ = vacuum.tick() => true,
        };
        if ours.is_none() {
            ours = claim(&config.data_dir, "upkeep.lock").unwrap_or_else(|error| {
                tracing::warn!("upkeep cannot be claimed: {error:#}");
                None
            });
            if ours.is_none() {
                continue;
            }
        }
        // Others commit, too: files of theirs are to be merged and kept.
        let done = match lake.reload().await {
            Err(error) => Err(error),
            Ok(()) if vacuums => lake.vacuum(upkeep(&config)).await,
            Ok(()) => lake.compact(upkeep(&config)).await,
        };
        match done {
            Ok(report) => tracing::debug!(?report, "upkeep"),
            Err(error) => tracing::warn!(%error, "upkeep failed; it is tried again"),
        }
    }
}

/// One after the other.
fn all_figures(all: [Figures; 2]) -> Figures {
    Arc::new(move || all.iter().map(|figures| figures()).collect())
}

fn tally_figures(tally: watch::Receiver<Tally>) -> Figures {
    Arc::new(move || {
        let now = *tally.borrow();
        let age = match now.newest_us {
            0 => 0.0,
            newest => (chrono::Utc::now().timestamp_micros() - newest) as f64 / 1e6,
        };
        let count = |count: u64| count as f64;
        figures(&[
            (
                "tidemark_rollup_received_total",
                "Records taken from the topic and committed",
                "counter",
                count(now.counts.received),
            ),
            (
                "tidemark_rollup_accepted_total",
                "Events counted",
                "counter",
                count(now.counts.accepted),
            ),
            (
                "tidemark_rollup_duplicates_total",
                "Events seen before",
                "counter",
                count(now.counts.duplicates),
            ),
            (
                "tidemark_rollup_dead_letters_total",
                "Records set aside with a reason",
                "counter",
                count(now.counts.dead_letters),
            ),
            (
                "tidemark_rollup_damaged_total",
                "Records lost before they were read",
                "counter",
                count(now.counts.damaged),
            ),
            (
                "tidemark_rollup_commits_total",
                "Batches committed",
                "counter",
                count(now.commits),
            ),
            (
                "tidemark_rollup_newest_age_seconds",
                "Since the newest committed record arrived",
                "gauge",
                age,
            ),
        ])
    })
}
