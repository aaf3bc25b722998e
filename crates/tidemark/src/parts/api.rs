//! `tidemark api`: pages and JSON over a lake that others write, or over its copy in ClickHouse.

use super::{Figures, figures, listen, metrics, named_kafka};
use crate::config::{ApiReads, Config};
use crate::instance::existing_lake;
use crate::newest::{self, Newest, Tables};
use crate::output::line;
use crate::stop::{stopping, until};
use anyhow::Result;
use chrono::Utc;
use std::sync::Arc;
use std::time::Duration;
use tidemark_api::ApiState;
use tidemark_insight::{Policy, Rankings, Source, held};
use tidemark_lake::{Lake, TableSpec};
use tidemark_rollup::{Pipeline, Tally, table_specs};
use tidemark_warehouse::{Server, Warm};
use tokio::sync::watch;

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(config: &Config) -> Result<()> {
    let listener = listen(config)?;
    let address = listener.local_addr()?;
    let newest = Arc::new(Newest::default());
    let rankings = Arc::new(Rankings::embedded(Policy {
        min_accounts: config.min_accounts,
        ..Policy::default()
    })?);
    let app = tidemark_api::router(ApiState::new(
        rankings,
        Arc::clone(&newest) as Arc<dyn Source>,
    ))
    .merge(metrics(freshness(Arc::clone(&newest))));
    let stopped = stopping();
    let (tell, commits) = watch::channel(Tally::default());
    let (_catalogs, known) = watch::channel(newest::catalog(config)?);
    let every = Duration::from_millis(config.commit_interval_ms / 2).max(Duration::from_millis(50));
    let (tables, looking, from) = match config.api_reads {
        ApiReads::Lake => {
            named_kafka(config)?;
            let (lake, _) = existing_lake(config).await?;
            let looking = tokio::spawn(look(lake.clone(), tell, every, stopped.clone()));
            let from = format!("lake in {}", config.place_named());
            (Tables::of(lake), looking, from)
        }
        ApiReads::Clickhouse => {
            let server = Server::new(&config.clickhouse)?;
            server.check().await?;
            let warm = Warm::new(server, held(), &specs().await?)?;
            let looking = tokio::spawn(tick(tell, every, stopped.clone()));
            let from = format!("ClickHouse at {}", config.clickhouse.url);
            (Tables::Warehouse(Box::new(warm)), looking, from)
        }
    };
    let hot = tokio::spawn(newest.keep(tables, known, commits, stopped.clone()));
    line(format!(
        "The api is up: http://{address}/rankings   ({from}, Ctrl-C stops)"
    ));
    axum::serve(tokio::net::TcpListener::from_std(listener)?, app)
        .with_graceful_shutdown(until(stopped))
        .await?;
    looking.await?;
    hot.await?;
    Ok(())
}

/// How far behind the pages are.
fn freshness(newest: Arc<Newest>) -> Figures {
    Arc::new(move || {
        let snapshot = newest.current();
        let (age, version) = snapshot.map_or((f64::NAN, 0), |snapshot| {
            let age = Utc::now() - snapshot.as_of;
            (age.num_milliseconds() as f64 / 1000.0, snapshot.version)
        });
        figures(&[
            (
                "tidemark_api_age_seconds",
                "Time since what the pages show was committed",
                "gauge",
                age,
            ),
            (
                "tidemark_api_snapshots_total",
                "States of the tables that have been shown",
                "counter",
                version as f64,
            ),
        ])
    })
}

/// The tables of this version.
async fn specs() -> Result<Vec<TableSpec>> {
    let wire = tidemark_event::wire::Reader::new(&[])?.schema();
    let pipelines = Pipeline::built_in(&TableSpec::events(&wire).schema).await?;
    Ok(table_specs(&pipelines).await?)
}

/// Has the copy looked at: what has changed is seen there.
async fn tick(tell: watch::Sender<Tally>, every: Duration, stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = until(stopped.clone()) => return,
            () = tokio::time::sleep(every) => tell.send_modify(|tally| tally.commits += 1),
        }
    }
}

/// Sees what workers commit.
async fn look(
    lake: Lake,
    tell: watch::Sender<Tally>,
    every: Duration,
    stopped: watch::Receiver<bool>,
) {
    let versions =
        |lake: &Lake| -> Vec<u64> { lake.tables().map(|table| table.view().version).collect() };
    let mut seen = versions(&lake);
    loop {
        tokio::select! {
            () = until(stopped.clone()) => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = lake.reload().await {
            tracing::warn!(%error, "the lake cannot be read; trying again");
            continue;
        }
        let now = versions(&lake);
        if now != seen {
            seen = now;
            tell.send_modify(|tally| {
                tally.commits += 1;
                tally.newest_us = Utc::now().timestamp_micros();
            });
        }
    }
}
