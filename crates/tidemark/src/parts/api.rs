//! `tidemark api`: pages and JSON over a lake that others write.

use super::{listen, stopping, until, with_kafka};
use crate::config::Config;
use crate::instance::existing_lake;
use crate::newest::{self, Newest};
use crate::output::line;
use anyhow::Result;
use chrono::Utc;
use std::sync::Arc;
use std::time::Duration;
use tidemark_api::ApiState;
use tidemark_insight::{Policy, Rankings, Source};
use tidemark_lake::Lake;
use tidemark_rollup::Tally;
use tokio::sync::watch;

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(config: &Config) -> Result<()> {
    with_kafka(config)?;
    let listener = listen(config)?;
    let address = listener.local_addr()?;
    let (lake, _) = existing_lake(config).await?;
    let newest = Arc::new(Newest::default());
    let rankings = Arc::new(Rankings::embedded(Policy {
        min_accounts: config.min_accounts,
        ..Policy::default()
    })?);
    let app = tidemark_api::router(ApiState::new(
        rankings,
        Arc::clone(&newest) as Arc<dyn Source>,
    ));
    let stopped = stopping();
    let (tell, commits) = watch::channel(Tally::default());
    let (_catalogs, known) = watch::channel(newest::catalog(config)?);
    let every = Duration::from_millis(config.commit_interval_ms / 2).max(Duration::from_millis(50));
    let looking = tokio::spawn(look(lake.clone(), tell, every, stopped.clone()));
    let hot = tokio::spawn(newest.keep(lake, known, commits, stopped.clone()));
    line(format!(
        "The api is up: http://{address}/rankings   (lake in {}, Ctrl-C stops)",
        config.data_dir.display()
    ));
    axum::serve(tokio::net::TcpListener::from_std(listener)?, app)
        .with_graceful_shutdown(until(stopped))
        .await?;
    looking.await?;
    hot.await?;
    Ok(())
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
