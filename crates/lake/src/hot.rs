//! The tables that rankings and statistics read, in memory, kept in step with the lake file by file.

use crate::error::LakeError;
use crate::files::DataFile;
use crate::merge::merged;
use crate::spec::{Merge, TableSpec};
use crate::{Lake, files, sketch};
use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::unary;
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::execution::context::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is held of a table.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its name in SQL.
    pub name: String,
    /// The table of the lake.
    pub table: String,
    /// Which part; none for all.
    pub part: Option<Part>,
}

/// The newest rows of a rollup and some of its values: what bounds the memory of a table that has a row for every minute.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Values to hold beside the keys.
    pub values: &'static [&'static str],
    /// Windows that began longer ago than this need not be held.
    pub since: Duration,
    /// Windows are put together into ones of this length, which must divide a day.
    pub grain: Option<Duration>,
}

impl From<String> for Held {
    /// All of a table.
    fn from(table: String) -> Self {
        Self {
            name: table.clone(),
            table,
            part: None,
        }
    }
}

impl Held {
    /// Part of a table, under a name of its own.
    pub fn part(name: &str, table: &str, part: Part) -> Self {
        Self {
            name: name.to_owned(),
            table: table.to_owned(),
            part: Some(part),
        }
    }
}

/// In-memory copies of some tables. A refresh reads only the files that commits have added since.
pub struct Hot {
    lake: Lake,
    held: Vec<Held>,
    loaded: HashMap<String, Vec<RecordBatch>>,
    versions: Vec<u64>,
    generation: u64,
}

impl Hot {
    /// Nothing is loaded until the first [`Hot::refresh`].
    pub fn new(lake: Lake, held: Vec<impl Into<Held>>) -> Self {
        Self {
            lake,
            held: held.into_iter().map(Into::into).collect(),
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
            .held
            .iter()
            .map(|held| {
                let table = self.lake.table(&held.table)?;
                Ok((held, Arc::clone(table), table.view()))
            })
            .collect::<Result<Vec<_>, LakeError>>()?;
        let versions: Vec<u64> = views.iter().map(|(_, _, view)| view.version).collect();
        if versions == self.versions {
            return Ok(None);
        }
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        sketch::register(&context);
        let mut kept = HashMap::new();
        for (held, table, view) in &views {
            let shape = Shape::of(held, table.spec());
            let store = table.store().await;
            let mut rows = Vec::new();
            for file in view.files.iter().filter(|file| shape.wants(file)) {
                let key = format!("{}/{}", held.name, file.path);
                let batches = match self.loaded.remove(&key) {
                    Some(batches) => batches,
                    None => shape.read(store.as_ref(), &file.path).await?,
                };
                rows.extend(batches.iter().cloned());
                kept.insert(key, batches);
            }
            let rows = MemTable::try_new(Arc::clone(&shape.spec.schema), vec![rows])?;
            context.register_table(held.name.as_str(), Arc::new(rows))?;
        }
        self.loaded = kept;
        self.versions = versions;
        self.generation += 1;
        Ok(Some((self.generation, context)))
    }

    /// Bytes that the held rows take.
    pub fn size(&self) -> usize {
        let batches = self.loaded.values().flatten();
        batches.map(RecordBatch::get_array_memory_size).sum()
    }
}

/// How the rows of one held table are read.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The table, as far as it is held.
    pub spec: TableSpec,
    /// Older windows are left out.
    pub since_us: Option<i64>,
    grain_us: Option<i64>,
}

impl Shape {
    /// That of a table now: what is recent enough moves on.
    pub fn of(held: &Held, table: &TableSpec) -> Self {
        let spec = table.clone();
        let Some(part) = held.part else {
            return Self {
                spec,
                since_us: None,
                grain_us: None,
            };
        };
        let since = Utc::now().timestamp_micros() - part.since.as_micros() as i64;
        let grain_us = part.grain.map(|grain| (grain.as_micros() as i64).max(1));
        Self {
            spec: narrow(spec, part.values),
            // The window that was running then is held whole.
            since_us: Some(grain_us.map_or(since, |grain| since - since.rem_euclid(grain))),
            grain_us,
        }
    }

    fn wants(&self, file: &DataFile) -> bool {
        self.since_us.is_none_or(|since| file.window.1 >= since)
    }

    async fn read(
        &self,
        store: &dyn ObjectStore,
        path: &str,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let schema = &self.spec.schema;
        let rows = match self.since_us {
            None => files::read(store, path, None).await?,
            Some(since) => {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                files::read_since(store, path, &names, &self.spec.window, since).await?
            }
        };
        let rows = rows
            .iter()
            .map(|batch| files::conform(batch, schema))
            .collect::<Result<Vec<_>, _>>()?;
        self.fit(rows).await
    }

    /// Rows of the held columns, with windows of the held length.
    ///
    /// # Errors
    /// When they are not rows of the table.
    pub async fn fit(&self, rows: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, LakeError> {
        match self.grain_us {
            Some(grain) if !rows.is_empty() => self.coarsen(rows, grain).await,
            _ => Ok(rows),
        }
    }

    /// Windows rounded down, and the rows that then have one key as one row.
    async fn coarsen(
        &self,
        rows: Vec<RecordBatch>,
        grain: i64,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let schema = &self.spec.schema;
        let at = schema.index_of(&self.spec.window)?;
        let rows = rows
            .into_iter()
            .map(|batch| {
                let mut columns = batch.columns().to_vec();
                let times = columns[at].as_primitive::<TimestampMicrosecondType>();
                let floored: TimestampMicrosecondArray =
                    unary(times, |us| us - us.rem_euclid(grain));
                columns[at] = Arc::new(floored.with_timezone_opt(times.timezone())) as ArrayRef;
                Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
            })
            .collect::<Result<Vec<_>, LakeError>>()?;
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        merged(context.read_batches(rows)?, &self.spec)?
            .collect()
            .await?
            .iter()
            .map(|batch| files::conform(batch, schema))
            .collect()
    }
}

/// A table with its keys and these of its values only.
fn narrow(spec: TableSpec, values: &[&str]) -> TableSpec {
    let Merge::ByKey { keys, values: all } = &spec.merge else {
        return spec;
    };
    let held = |name: &str| keys.iter().any(|key| key == name) || values.contains(&name);
    let fields: Vec<_> = spec
        .schema
        .fields()
        .iter()
        .filter(|field| held(field.name()))
        .cloned()
        .collect();
    let merge = Merge::ByKey {
        keys: keys.clone(),
        values: all.iter().filter(|(name, _)| held(name)).cloned().collect(),
    };
    TableSpec {
        schema: Arc::new(Schema::new(fields)),
        merge,
        ..spec
    }
}
