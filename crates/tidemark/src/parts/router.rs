//! `tidemark router`: requests in, events to the spool, and from there to Kafka.

use super::{Figures, figures, listen, with_kafka};
use crate::config::Config;
use crate::observe::Observer;
use crate::output::{grouped, line};
use crate::reload::Reload;
use crate::stop::{stopping, until};
use crate::{front, instance, newest};
use anyhow::Result;
use axum::Router;
use axum::routing::get;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidemark_bus::kafka::{ForwardStats, Forwarder, KafkaSettings, prepare};
use tidemark_bus::{Journal, JournalOptions};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Between looks for brokers that were away at the start.
const AGAIN: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C or SIGTERM; at SIGHUP, `read` gives the settings anew.
pub async fn run(
    config: &Config,
    read: impl Fn() -> Result<Config> + Send + 'static,
) -> Result<()> {
    with_kafka(config)?;
    let listener = listen(config)?;
    let address = listener.local_addr()?;
    let dir = &config.data_dir;
    std::fs::create_dir_all(dir)?;
    instance::check_layout(dir)?;
    let spool = Journal::open(
        &dir.join("journal"),
        JournalOptions {
            partitions: config.partitions,
            max_bytes: config.journal_max_bytes,
            ..JournalOptions::default()
        },
    )?;
    let carrier = Carrier::default();
    let carrying = tokio::spawn(carry(
        carrier.clone(),
        spool.clone(),
        dir.join("forwarded"),
        config.kafka.clone(),
    ));
    let catalog = newest::catalog(config)?;
    let threads = front::Threads::start()?;
    let (gateway, emitted) = front::gateway(&threads, config, &catalog, spool.clone())?;
    let stopped = stopping();
    let (catalogs, _known) = watch::channel(catalog);
    let reload = Reload {
        started: config.clone(),
        read: Box::new(read),
        simulated: Vec::new(),
        catalogs,
    };
    let reloading = tokio::spawn(reload.run(Arc::clone(&gateway)));
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }));
    let observing = config.router.statistics_url.is_some().then(|| {
        let observer = Observer {
            api: Router::new(),
            gateway: Arc::clone(&gateway),
        };
        tokio::spawn(observer.run(stopped.clone()))
    });
    let figures = spool_figures(carrier.clone(), spool.clone());
    let server = threads.handle().spawn(front::serve(
        listener,
        Arc::clone(&gateway),
        pages,
        figures,
        Handle::current(),
        until(stopped),
    ));
    line(format!(
        "The router is up: http://{address}/v1/chat/completions   (events to {} at {}, Ctrl-C stops)",
        config.kafka.topic, config.kafka.brokers
    ));
    server.await??;
    reloading.abort();
    reloading.await.ok();
    if let Some(observing) = observing {
        observing.abort();
        observing.await.ok();
    }
    let keys = gateway.keys().clone();
    drop(gateway);
    let durable = emitted.await?;
    keys.save()?;
    carrying.abort();
    carrying.await.ok();
    let waiting = tokio::task::block_in_place(|| match carrier.get() {
        Some(forwarder) => forwarder.finish(),
        None => spool.stats().records,
    });
    line(format!(
        "Stopped. {} events accepted this time, {} wait in the spool for the next start.",
        grouped(durable),
        grouped(waiting)
    ));
    Ok(())
}

/// What carries the spool to Kafka, once brokers have answered.
type Carrier = Arc<OnceLock<Forwarder>>;

/// Starts to carry as soon as the topics are there. Requests do not wait for that: their events are in the spool.
async fn carry(carrier: Carrier, spool: Journal, file: PathBuf, kafka: KafkaSettings) {
    let mut said = String::new();
    loop {
        let started = async {
            prepare(&kafka).await?;
            Forwarder::start(spool.clone(), &file, kafka.clone()).await
        };
        match started.await {
            Ok(forwarder) => {
                carrier.set(forwarder).ok();
                return;
            }
            Err(error) => {
                let error = error.to_string();
                if error != said {
                    tracing::error!("events wait in the spool: {error}");
                    said = error;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn spool_figures(carrier: Carrier, spool: Journal) -> Figures {
    Arc::new(move || {
        let kept = spool.stats();
        let sent = carrier.get().map_or_else(
            || ForwardStats {
                waiting: kept.records,
                ..ForwardStats::default()
            },
            Forwarder::stats,
        );
        figures(&[
            (
                "tidemark_spool_bytes",
                "Bytes that wait on disk",
                "gauge",
                kept.bytes as f64,
            ),
            (
                "tidemark_spool_max_bytes",
                "Bytes beyond which requests are refused",
                "gauge",
                kept.max_bytes as f64,
            ),
            (
                "tidemark_spool_waiting_events",
                "Events that Kafka does not have yet",
                "gauge",
                sent.waiting as f64,
            ),
            (
                "tidemark_forwarded_events_total",
                "Events that Kafka has stored",
                "counter",
                sent.delivered as f64,
            ),
            (
                "tidemark_spool_damaged_events_total",
                "Events that cannot be read from the spool any more",
                "counter",
                sent.damaged as f64,
            ),
            (
                "tidemark_forward_refused_events_total",
                "Events that Kafka never takes",
                "counter",
                sent.refused as f64,
            ),
            (
                "tidemark_forward_rebuilt_total",
                "Producers made after one failed",
                "counter",
                sent.rebuilt as f64,
            ),
        ])
    })
}
