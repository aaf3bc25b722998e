//! The newest state of the tables that rankings and statistics read, as anyone may see it.

use crate::config::Config;
use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionContext;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tidemark_catalog::Catalog;
use tidemark_insight::{Snapshot, Source, held};
use tidemark_lake::{Hot, Lake};
use tidemark_rollup::Tally;
use tidemark_warehouse::Warm;
use tokio::sync::watch;

/// How often is looked for what no commit announces: files that compaction has changed, an alias whose moment has come.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the api answers from.
#[derive(Default)]
pub struct Newest(RwLock<Option<Snapshot>>);

impl Source for Newest {
    fn current(&self) -> Option<Snapshot> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Where the tables come from.
pub enum Tables {
    /// The lake.
    Lake(Hot),
    /// Its copy in ClickHouse.
    Warehouse(Box<Warm>),
}

impl Tables {
    /// Those of a lake.
    pub fn of(lake: Lake) -> Self {
        Self::Lake(Hot::new(lake, held()))
    }

    async fn refresh(&mut self, now: DateTime<Utc>) -> Result<Option<SessionContext>> {
        let changed = match self {
            Self::Lake(hot) => hot.refresh_at(now).await?,
            Self::Warehouse(warm) => warm.refresh_at(now).await?,
        };
        if let Self::Lake(hot) = self
            && changed.is_some()
        {
            tracing::debug!(bytes = hot.size(), "held in memory");
        }
        Ok(changed.map(|(_, context)| context))
    }
}

/// The built-in catalog, with the operator's aliases.
pub fn catalog(config: &Config) -> Result<Arc<Catalog>> {
    let mut catalog = Catalog::builtin()?;
    let file = &config.aliases_file;
    if !file.as_os_str().is_empty() {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!(
                "the aliases_file {} cannot be read: mend its path or owner",
                file.display()
            )
        })?;
        catalog = catalog
            .with_aliases(&text)
            .with_context(|| format!("the aliases_file {} is refused", file.display()))?;
    }
    Ok(Arc::new(catalog))
}

impl Newest {
    /// Loads what each commit added, as soon as it is there, until `stopped`.
    pub async fn keep(
        self: Arc<Self>,
        mut from: Tables,
        mut catalog: watch::Receiver<Arc<Catalog>>,
        mut tally: watch::Receiver<Tally>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let (mut tables, mut version, mut as_of) = (None, 0, Utc::now());
        let mut today = as_of.date_naive();
        let mut shown: Option<(Arc<Catalog>, usize)> = None;
        loop {
            let committed = *tally.borrow_and_update();
            let known = Arc::clone(&catalog.borrow_and_update());
            let now = Utc::now();
            match from.refresh(now).await {
                Ok(Some(context)) => {
                    tables = Some(context);
                    (as_of, today) = (newest(committed), now.date_naive());
                    shown = None;
                }
                Ok(None) => {}
                // A file may vanish between its listing and its reading when vacuum retention is short: look again.
                Err(error) => {
                    tracing::warn!(%error, "the ranking tables could not be refreshed; trying again")
                }
            }
            let aliases = known.aliases().iter();
            let revealed = aliases.filter(|alias| alias.is_revealed(now)).count();
            let is_shown = shown.as_ref().is_some_and(|(catalog, aliases)| {
                Arc::ptr_eq(catalog, &known) && *aliases == revealed
            });
            if let Some(tables) = tables.as_ref().filter(|_| !is_shown) {
                version += 1;
                let catalog = Arc::clone(&known);
                match Snapshot::publish(version, tables, catalog, as_of, now).await {
                    Ok(snapshot) => {
                        self.show(Snapshot { today, ..snapshot });
                        shown = Some((known, revealed));
                    }
                    Err(error) => tracing::error!(%error, "the ranking tables cannot be prepared"),
                }
            }
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                changed = tally.changed() => if changed.is_err() { return },
                Ok(()) = catalog.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn show(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }
}

/// When the newest committed record arrived.
fn newest(committed: Tally) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(committed.newest_us)
        .filter(|_| committed.newest_us > 0)
        .unwrap_or_else(Utc::now)
}
