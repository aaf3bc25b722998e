//! `tidemark up`: everything in one process.

use crate::config::Config;
use crate::demo::{self, Demo};
use crate::front;
use crate::instance::Instance;
use crate::newest::{self, Newest};
use crate::observe::Observer;
use crate::output::{grouped, line};
use crate::reload::{Reload, add_simulated};
use crate::stop::{stopping, until};
use crate::warehouse::{self, Following};
use anyhow::{Context, Result, bail};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tidemark_api::ApiState;
use tidemark_insight::{Policy, Rankings, Source};
use tidemark_router::keys::DEMO_KEY;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Runs until Ctrl-C or SIGTERM; at SIGHUP, `read` gives the settings anew.
pub async fn run(
    config: &Config,
    demo: bool,
    read: impl Fn() -> Result<Config> + Send + 'static,
) -> Result<()> {
    if config.kafka.is_set() {
        bail!(
            "[kafka] names brokers, and `tidemark up` needs none: start `tidemark router`, `tidemark rollup` and `tidemark api`, or leave \
             brokers out"
        );
    }
    let listener = TcpListener::bind(&config.listen)
        .with_context(|| format!("cannot listen on {}: another program may hold it; choose another with --listen 127.0.0.1:0", config.listen))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let instance = Arc::new(Instance::open(config).await?);
    let catalog = newest::catalog(config)?;
    let (catalogs, known) = watch::channel(Arc::clone(&catalog));
    let worker = instance.worker()?;
    let tally = worker.tally();
    let newest = Arc::new(Newest::default());
    let rankings = Arc::new(Rankings::embedded(Policy {
        min_accounts: config.min_accounts,
        ..Policy::default()
    })?);

    // First no more requests, then, when their events are durable, no more rollup.
    let stopped = stopping();
    let (end, ended) = watch::channel(false);

    let app = tidemark_api::router(ApiState::new(
        Arc::clone(&rankings),
        Arc::clone(&newest) as Arc<dyn Source>,
    ));
    let simulated = if demo {
        demo::providers(&catalog, ended.clone()).await?
    } else {
        Vec::new()
    };
    let started = config.clone();
    let mut config = config.clone();
    add_simulated(&mut config.router.upstreams, &simulated);
    let config = &config;
    let threads = front::Threads::start()?;
    let (gateway, emitted) = front::gateway(&threads, config, &catalog, instance.journal.clone())?;
    if demo {
        gateway.keys().add("demo", DEMO_KEY)?;
    }
    let reload = Reload {
        started,
        read: Box::new(read),
        simulated,
        catalogs,
    };
    let reloading = tokio::spawn(reload.run(Arc::clone(&gateway)));
    let observer = Observer {
        api: app.clone(),
        gateway: Arc::clone(&gateway),
    };
    let observing = tokio::spawn(observer.run(stopped.clone()));
    let following = Following::default();
    let mut server = threads.handle().spawn(front::serve(
        listener,
        Arc::clone(&gateway),
        app,
        following.figures(),
        Handle::current(),
        until(stopped.clone()),
    ));
    let hot = tokio::spawn(newest.keep(
        newest::Tables::of(instance.lake.clone()),
        known,
        tally.clone(),
        ended.clone(),
    ));
    let warehouse = tokio::spawn(warehouse::keep(
        following,
        instance.lake.clone(),
        config.clone(),
        ended.clone(),
    ));
    let upkeep = tokio::spawn(maintain(
        Arc::clone(&instance),
        config.clone(),
        ended.clone(),
    ));
    let mut job = tokio::spawn(worker.run(until(ended)));

    line(format!(
        "Tidemark is up: http://{address}/rankings   (data in {}, Ctrl-C stops)",
        config.data_dir.display()
    ));
    let mut fed = if demo {
        let mut plan = Demo::prepare(config, &instance)?;
        let (instance, tally, stopped) = (Arc::clone(&instance), tally.clone(), stopped.clone());
        let (catalog, gateway) = (Arc::clone(&catalog), Arc::clone(&gateway));
        Some(tokio::spawn(async move {
            let filling = {
                let (catalog, stopped) = (Arc::clone(&catalog), stopped.clone());
                move || {
                    plan.fill(&catalog, &instance, &tally, &stopped)
                        .map(|full| (plan, full))
                }
            };
            let (plan, full) = tokio::task::spawn_blocking(filling).await??;
            if full {
                plan.live(&catalog, &gateway, stopped).await;
            }
            Ok(())
        }))
    } else {
        None
    };

    tokio::select! {
        done = &mut job => {
            done?.context("the rollup stopped; nothing accepted is lost, start again once the cause is mended")?;
            bail!("the rollup ended by itself; nothing accepted is lost, start again");
        }
        served = &mut server => served??,
        failed = failure(&mut fed) => return Err(failed),
    }
    if let Some(fed) = fed {
        fed.await??;
    }
    // They hold the gateway, and with it the emitter.
    reloading.abort();
    reloading.await.ok();
    observing.abort();
    observing.await.ok();
    let keys = gateway.keys().clone();
    drop(gateway);
    emitted.await?;
    // Every request is settled by now.
    keys.save()?;
    end.send_replace(true);
    let tally = job.await?.context(
        "the rollup stopped; nothing accepted is lost, start again once the cause is mended",
    )?;
    hot.await?;
    upkeep.await?;
    warehouse.await?;
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
