//! The tables that rankings and statistics read, in memory, kept in step with the lake file by file.

use crate::error::LakeError;
use crate::held::{Held, Shape, day_of};
use crate::kept::Kept;
use crate::{AT_ONCE, Lake, sketch};
use chrono::{DateTime, Utc};
use datafusion::execution::context::{SessionConfig, SessionContext};
use futures::{StreamExt, stream};
use std::sync::Arc;

/// In-memory copies of some tables. A refresh reads only the files that commits have added since.
pub struct Hot {
    lake: Lake,
    held: Vec<Held>,
    /// By path.
    kept: Kept<String>,
    versions: Vec<u64>,
    /// The day that was today at the last refresh.
    today: i64,
    generation: u64,
}

impl Hot {
    /// Nothing is loaded until the first [`Hot::refresh`].
    pub fn new(lake: Lake, held: Vec<impl Into<Held>>) -> Self {
        Self {
            lake,
            held: held.into_iter().map(Into::into).collect(),
            kept: Kept::default(),
            versions: Vec::new(),
            today: 0,
            generation: 0,
        }
    }

    /// A context over the newest committed state and its number, or `None` when nothing has changed.
    ///
    /// # Errors
    /// When a table is unknown or a file cannot be read.
    pub async fn refresh(&mut self) -> Result<Option<(u64, SessionContext)>, LakeError> {
        self.refresh_at(Utc::now()).await
    }

    /// The same, with the day of `now` as today.
    ///
    /// # Errors
    /// As [`Hot::refresh`].
    pub async fn refresh_at(
        &mut self,
        now: DateTime<Utc>,
    ) -> Result<Option<(u64, SessionContext)>, LakeError> {
        let views = self
            .held
            .iter()
            .map(|held| {
                let table = self.lake.table(&held.table)?;
                Ok((held, Arc::clone(table), table.view()))
            })
            .collect::<Result<Vec<_>, LakeError>>()?;
        let versions: Vec<u64> = views.iter().map(|(_, _, view)| view.version).collect();
        let today = day_of(now.timestamp_micros());
        let has_moved = today != self.today && self.held.iter().any(Held::depends_on_today);
        if versions == self.versions && !has_moved {
            return Ok(None);
        }
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        sketch::register(&context);
        let mut kept = Kept::default();
        for (held, table, view) in &views {
            let shape = Shape::of(held, table.spec(), now);
            let store = table.store().await;
            let files = view.files.iter().filter(|file| shape.wants(file));
            let files = files.map(|file| (day_of(file.window.0), file.path.clone()));
            let read = |paths: Vec<String>| {
                let (shape, store) = (&shape, &store);
                let reads = paths.into_iter().map(move |path| async move {
                    let rows = shape.read(store.as_ref(), &path).await?;
                    Ok::<_, LakeError>((path, rows))
                });
                stream::iter(reads).buffered(AT_ONCE)
            };
            let tables = kept.tables(&mut self.kept, held, &shape, files.collect(), read);
            for (name, table) in tables.await? {
                context.register_table(name.as_str(), Arc::new(table))?;
            }
            for (name, rows) in shape.dimensions()? {
                context.register_batch(&name, rows)?;
            }
        }
        self.kept = kept;
        self.versions = versions;
        self.today = today;
        self.generation += 1;
        Ok(Some((self.generation, context)))
    }

    /// Bytes that the held rows take.
    pub fn size(&self) -> usize {
        self.kept.size()
    }
}
