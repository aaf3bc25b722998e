//! `tidemark up`: everything in one process.

use crate::config::Config;
use crate::demo::Demo;
use crate::instance::Instance;
use crate::output::{grouped, line};
use anyhow::{Context, Result};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tidemark_api::ApiState;
use tidemark_catalog::Catalog;
use tidemark_insight::{Policy, RANKED, Rankings, Snapshot, Source, register_catalog};
use tidemark_lake::{Hot, Lake};
use tidemark_rollup::Tally;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The newest state of the ranking tables.
#[derive(Default)]
struct Newest(RwLock<Option<Snapshot>>);

impl Source for Newest {
    fn current(&self) -> Option<Snapshot> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(config: &Config, demo: bool) -> Result<()> {
    let listener = TcpListener::bind(&config.listen)
        .await
        .with_context(|| format!("cannot listen on {}: another program may hold it; choose another with --listen 127.0.0.1:0", config.listen))?;
    let address = listener.local_addr()?;
    let instance = Arc::new(Instance::open(config).await?);
    let catalog = Catalog::builtin()?;
    let worker = instance.worker()?;
    let tally = worker.tally();
    let newest = Arc::new(Newest::default());
    let rankings = Arc::new(Rankings::embedded(Policy {
        min_accounts: config.min_accounts,
        ..Policy::default()
    })?);

    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        signal().await;
        stop.send_replace(true);
    });

    let app = tidemark_api::router(ApiState::new(
        Arc::clone(&rankings),
        Arc::clone(&newest) as Arc<dyn Source>,
    ));
    let server = tokio::spawn(tidemark_api::run(listener, app, until(stopped.clone())));
    let hot = tokio::spawn(keep_hot(
        instance.lake.clone(),
        catalog.clone(),
        newest,
        tally.clone(),
        stopped.clone(),
    ));
    let upkeep = tokio::spawn(maintain(
        Arc::clone(&instance),
        config.clone(),
        stopped.clone(),
    ));
    let job = tokio::spawn(worker.run(until(stopped.clone())));

    line(format!(
        "Tidemark is up: http://{address}/rankings   (data in {}, Ctrl-C stops)",
        config.data_dir.display()
    ));
    let mut fed = if demo {
        let demo = Demo::prepare(config, &instance)?;
        Some(tokio::task::spawn_blocking({
            let (instance, tally, stopped) =
                (Arc::clone(&instance), tally.clone(), stopped.clone());
            move || demo.run(&catalog, &instance, &tally, &stopped)
        }))
    } else {
        None
    };

    let mut job = job;
    let tally = tokio::select! {
        done = &mut job => done?.context("the rollup stopped; nothing accepted is lost, start again once the cause is mended")?,
        served = server => { served??; *tally.borrow() }
        failed = failure(&mut fed) => return Err(failed),
    };
    if let Some(fed) = fed {
        fed.await??;
    }
    hot.await?;
    upkeep.await?;
    line(format!(
        "Stopped. {} events committed this time; the next start goes on from here.",
        grouped(tally.counts.accepted)
    ));
    Ok(())
}

/// Ends when feeding the demo has failed; never otherwise.
async fn failure(fed: &mut Option<tokio::task::JoinHandle<Result<()>>>) -> anyhow::Error {
    if let Some(running) = fed {
        let ended = running.await;
        *fed = None;
        match ended {
            Ok(Err(error)) => return error,
            Err(error) => return error.into(),
            Ok(Ok(())) => {}
        }
    }
    std::future::pending().await
}

async fn until(mut stopped: watch::Receiver<bool>) {
    stopped.wait_for(|stop| *stop).await.ok();
}

async fn signal() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => {
            interrupt.await.ok();
        }
    }
}

/// Loads what each commit added, as soon as it is there.
async fn keep_hot(
    lake: Lake,
    catalog: Catalog,
    newest: Arc<Newest>,
    mut tally: watch::Receiver<Tally>,
    stopped: watch::Receiver<bool>,
) {
    let mut hot = Hot::new(lake, RANKED.map(str::to_owned).to_vec());
    loop {
        let committed = *tally.borrow_and_update();
        match hot.refresh().await {
            Ok(Some((version, context))) => match register_catalog(&context, &catalog) {
                Ok(()) => {
                    let as_of = chrono::DateTime::from_timestamp_micros(committed.newest_us)
                        .filter(|_| committed.newest_us > 0);
                    let snapshot = Snapshot {
                        version,
                        context,
                        as_of: as_of.unwrap_or_else(chrono::Utc::now),
                    };
                    *newest.0.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
                }
                Err(error) => tracing::error!(%error, "the ranking tables cannot be prepared"),
            },
            Ok(None) => {}
            // A file may vanish between its listing and its reading when vacuum retention is short: look again.
            Err(error) => {
                tracing::warn!(%error, "the ranking tables could not be refreshed; trying again")
            }
        }
        // Compaction changes files without a tally: look now and then even when nothing is committed.
        tokio::select! {
            () = until(stopped.clone()) => return,
            changed = tally.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}

/// The one owner of compaction and vacuum.
async fn maintain(instance: Arc<Instance>, config: Config, stopped: watch::Receiver<bool>) {
    let mut compact = tokio::time::interval(Duration::from_secs(config.compact_every_s.max(1)));
    let mut vacuum = tokio::time::interval(Duration::from_secs(config.vacuum_every_s.max(1)));
    vacuum.reset();
    loop {
        let done = tokio::select! {
            () = until(stopped.clone()) => return,
            _ = compact.tick() => instance.lake.compact(instance.upkeep).await,
            _ = vacuum.tick() => instance.lake.vacuum(instance.upkeep).await,
        };
        match done {
            Ok(report) => tracing::debug!(?report, "upkeep"),
            Err(error) => tracing::warn!(%error, "upkeep failed; it is tried again"),
        }
    }
}
