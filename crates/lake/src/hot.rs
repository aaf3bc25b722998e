//! The tables that rankings read, in memory, kept in step with the lake file by file.

use crate::error::LakeError;
use crate::{Lake, files, sketch};
use arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::execution::context::{SessionConfig, SessionContext};
use std::collections::HashMap;
use std::sync::Arc;

/// In-memory copies of some tables. A refresh reads only the files that commits have added since.
pub struct Hot {
    lake: Lake,
    tables: Vec<String>,
    loaded: HashMap<String, Vec<RecordBatch>>,
    versions: Vec<u64>,
    generation: u64,
}

impl Hot {
    /// Nothing is loaded until the first [`Hot::refresh`].
    pub fn new(lake: Lake, tables: Vec<String>) -> Self {
        Self {
            lake,
            tables,
            loaded: HashMap::new(),
            versions: Vec::new(),
            generation: 0,
        }
    }

    /// A context over the newest committed state and its number, or `None` when nothing has changed.
    ///
    /// # Errors
    /// When a table is unknown or a file cannot be read.
    pub async fn refresh(&mut self) -> Result<Option<(u64, SessionContext)>, LakeError> {
        let views = self
            .tables
            .iter()
            .map(|name| {
                self.lake
                    .table(name)
                    .map(|table| (table.clone(), table.view()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let versions: Vec<u64> = views.iter().map(|(_, view)| view.version).collect();
        if versions == self.versions {
            return Ok(None);
        }
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        sketch::register(&context);
        let mut kept = HashMap::new();
        for (table, view) in &views {
            let store = table.store().await;
            let schema = &table.spec().schema;
            let mut rows = Vec::new();
            for file in view.files.iter() {
                let key = format!("{}/{}", table.spec().name, file.path);
                let batches = match self.loaded.remove(&key) {
                    Some(batches) => batches,
                    None => files::read(store.as_ref(), &file.path, None)
                        .await?
                        .iter()
                        .map(|batch| files::conform(batch, schema))
                        .collect::<Result<Vec<_>, _>>()?,
                };
                rows.extend(batches.iter().cloned());
                kept.insert(key, batches);
            }
            let rows = MemTable::try_new(Arc::clone(schema), vec![rows])?;
            context.register_table(table.spec().name.as_str(), Arc::new(rows))?;
        }
        self.loaded = kept;
        self.versions = versions;
        self.generation += 1;
        Ok(Some((self.generation, context)))
    }
}
